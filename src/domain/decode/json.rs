//! Reading JSON without copying it: members in order, scalars as the text they were sent as, limits on depth.
//!
//! Keeps C2 (a number stays the text it came as), C8 (depth by a byte scan, duplicate members in order so that the last
//! one wins). Knows nothing of formats.

use super::{BadReason, BadRecord, DEPTH_MAX};
use scan::{NotJson, Scanner};
use std::borrow::Cow;

mod noted;
mod scan;

pub(super) use noted::{Member, Noted};

/// One JSON value, borrowed from the body.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// The number's own text.
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An object or array, as sent.
    Nested(&'a str),
}

impl<'a> Json<'a> {
    /// The value of a whole, valid JSON text.
    ///
    /// # Errors
    /// A string whose escapes are no Unicode text (half a surrogate pair).
    pub(super) fn of(raw: &'a str) -> Result<Self, BadRecord> {
        Self::of_known(raw, raw.as_bytes().contains(&b'\\'))
    }

    /// As [`Json::of`], where it is known whether anything in a string is escaped.
    #[inline]
    pub(super) fn of_known(raw: &'a str, escaped: bool) -> Result<Self, BadRecord> {
        Ok(match raw.as_bytes().first() {
            Some(b'"') if escaped => Self::Text(unescaped_text(raw)?),
            Some(b'"') => Self::Text(Cow::Borrowed(&raw[1..raw.len() - 1])),
            Some(b'{' | b'[') => Self::Nested(raw),
            Some(b'n') | None => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(_) => Self::Number(raw),
        })
    }
}

/// The text of a JSON string in which something is escaped.
fn unescaped_text(raw: &str) -> Result<Cow<'_, str>, BadRecord> {
    serde_json::from_str::<String>(raw)
        .map(Cow::Owned)
        .map_err(|e| BadRecord::new(BadReason::NotUtf8, format!("a string whose escapes are not Unicode text: {e}")))
}

/// Calls `each` with every member of a JSON object, in order, duplicates included.
///
/// # Errors
/// [`BadReason::NotJson`] for what is not one JSON object, and whatever `each` refuses.
pub(super) fn each_member<'a>(
    object: &'a str,
    mut each: impl FnMut(Cow<'a, str>, &'a str) -> Result<(), BadRecord>,
) -> Result<(), BadRecord> {
    let mut scanner = Scanner::new(object);
    members(&mut scanner, |scanner| {
        let (quoted, escaped) = scanner.key()?;
        each(name(quoted, escaped)?, scanner.value()?)
    })?;
    Ok(scanner.end()?)
}

/// Passes an object, whose members `each` passes one by one.
#[inline(always)]
fn members<'a, E: From<NotJson>>(
    scanner: &mut Scanner<'a>,
    mut each: impl FnMut(&mut Scanner<'a>) -> Result<(), E>,
) -> Result<(), E> {
    scanner.expect(b'{', "an object")?;
    if !scanner.passes(b'}') {
        loop {
            each(scanner)?;
            if !scanner.passes(b',') {
                break;
            }
        }
        scanner.expect(b'}', "`,` or `}`")?;
    }
    Ok(())
}

/// A member's name from its quoted text.
fn name(quoted: &str, escaped: bool) -> Result<Cow<'_, str>, BadRecord> {
    if escaped { unescaped(quoted) } else { Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1])) }
}

/// Calls `each` with every element of a JSON array, in order.
///
/// # Errors
/// [`BadReason::NotJson`] for what is not one JSON array, and whatever `each` refuses.
pub(super) fn each_element<'a>(array: &'a str, mut each: impl FnMut(&'a str) -> Result<(), BadRecord>) -> Result<(), BadRecord> {
    let mut scanner = Scanner::new(array);
    scanner.expect(b'[', "an array")?;
    if !scanner.passes(b']') {
        loop {
            each(scanner.value()?)?;
            if !scanner.passes(b',') {
                break;
            }
        }
        scanner.expect(b']', "`,` or `]`")?;
    }
    Ok(scanner.end()?)
}

fn unescaped(quoted: &str) -> Result<Cow<'static, str>, BadRecord> {
    serde_json::from_str::<String>(quoted)
        .map(Cow::Owned)
        .map_err(|e| BadRecord::new(BadReason::NotJson, format!("a member's name that is not the JSON expected: {e}")))
}

impl From<NotJson> for BadRecord {
    fn from(NotJson { wanted, at }: NotJson) -> Self {
        Self::new(BadReason::NotJson, format!("the body is not the JSON that was expected: byte {at} should be {wanted}"))
    }
}

/// C8: whether brackets nest deeper than [`DEPTH_MAX`]; a scan over bytes, safe on any input.
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    // Few brackets cannot nest deeply, and counting them is far cheaper than following strings.
    if opening_brackets(body) <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Counted in bytes over short chunks, which the compiler turns into vector instructions.
fn opening_brackets(body: &[u8]) -> usize {
    body.chunks(255).map(|chunk| usize::from(chunk.iter().map(|b| u8::from(b | 0x20 == b'{')).sum::<u8>())).sum()
}

/// Appends a valid JSON text without the white space between its tokens.
pub(super) fn push_compact(out: &mut String, json: &str) {
    let (mut in_text, mut escaped, mut from) = (false, false, 0);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b' ' | b'\t' | b'\n' | b'\r' if !in_text => {
                out.push_str(&json[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push_str(&json[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// What `serde_json` says of the same text, members and elements apart.
    fn peer(text: &str) -> Option<Vec<String>> {
        if text.trim_start().starts_with('[') {
            let elements: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            return Some(elements.iter().map(|raw| raw.get().to_owned()).collect());
        }
        struct Members(Vec<String>);
        impl<'de> serde::Deserialize<'de> for Members {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visit;
                impl<'de> serde::de::Visitor<'de> for Visit {
                    type Value = Members;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                        let mut members = Vec::new();
                        while let Some((name, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                            members.push(format!("{name}={}", raw.get()));
                        }
                        Ok(Members(members))
                    }
                }
                deserializer.deserialize_map(Visit)
            }
        }
        serde_json::from_str::<Members>(text).ok().map(|members| members.0)
    }

    fn ours(text: &str) -> Option<Vec<String>> {
        let mut seen = Vec::new();
        let read = if text.trim_start().starts_with('[') {
            each_element(text, |raw| {
                seen.push(raw.to_owned());
                Ok(())
            })
        } else {
            each_member(text, |name, raw| {
                seen.push(format!("{name}={raw}"));
                Ok(())
            })
        };
        read.ok().map(|()| seen)
    }

    /// Pieces that JSON is made of, and some that spoil it.
    fn piece() -> impl Strategy<Value = String> {
        let fixed = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u00e9",
            "\\ud83d",
            "\\n",
            "\\x",
            " ",
            "\n",
            "\u{1}",
            "null",
            "true",
            "fals",
            "0",
            "-",
            "-0",
            "01",
            "1.5",
            "1.",
            "1e9",
            "1e",
            "E+",
            "\"a\":",
            "\"a\":1,",
            "\"\":[]",
            "{}",
            "[]",
            "[1,2]",
            "门店",
            "\u{7f}",
            "\"text of many bytes\"",
        ]);
        prop_oneof![8 => fixed.prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        /// Goal: the scanner takes and splits exactly what `serde_json` does. Method: pieces of JSON in any order, in a
        /// frame that makes about half of them valid.
        #[test]
        fn any_text_reads_as_the_peer_reads_it(pieces in prop::collection::vec(piece(), 0..12), frame in 0..4) {
            let inner = pieces.concat();
            let text = match frame {
                0 => format!("{{\"m\":{inner}}}"),
                1 => format!("[{inner}]"),
                2 => format!("{{\"m\":\"{inner}\"}}"),
                _ => format!(" {inner} "),
            };
            prop_assert_eq!(ours(&text), peer(&text), "{:?}", text);
        }

        /// Goal: the same for real values. Method: random trees, written compact and pretty, one byte cut out or none.
        #[test]
        fn any_tree_reads_as_the_peer_reads_it(tree in tree(), pretty: bool, cut in prop::option::of(any::<prop::sample::Index>())) {
            let mut text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
            if let Some(cut) = cut {
                let at = cut.index(text.len());
                if text.is_char_boundary(at) {
                    text.remove(at);
                }
            }
            prop_assert_eq!(ours(&text), peer(&text), "{:?}", text);
        }
    }

    proptest! {
        /// Goal: what is noted of inner objects is what a scan of them finds, noting refuses nothing that a scan takes, and
        /// what was foretold by other bodies changes neither. Method: objects of random trees and of pieces, one after the
        /// other and again, both ways.
        #[test]
        fn noted_members_are_those_a_scan_finds(tree in tree(), other in tree(), pieces in prop::collection::vec(piece(), 0..8)) {
            let mut inner = Noted::default();
            let first = format!("{{\"a\":{tree},\"b\":{tree}}}");
            let second = format!("{{\"a\":{other},\"b\" :{tree},\"a\":{tree}}}");
            let third = format!("{{\"m\":{{\"k\":{}}}}}", pieces.concat());
            for text in [first.clone(), second.clone(), third.clone(), first, third, second] {
                let (mut noted, mut scanned) = (Vec::new(), Vec::new());
                let read = inner.read(&text, |name, raw| noted.push((name.into_owned(), raw)));
                let plain = each_member(&text, |name, raw| {
                    scanned.push((name.into_owned(), raw));
                    Ok(())
                });
                prop_assert_eq!(read.is_ok(), plain.is_ok(), "{:?}", &text);
                if read.is_err() {
                    continue;
                }
                prop_assert_eq!(&noted, &scanned);
                for (_, raw) in noted.iter().filter(|(_, raw)| raw.starts_with('{')) {
                    let mut members = Vec::new();
                    let known = inner.each_member(&text, raw, |name, raw| {
                        members.push(format!("{name}={raw}"));
                        Ok(())
                    });
                    prop_assert_eq!(known.ok().map(|()| members), ours(raw), "{:?}", raw);
                }
            }
        }
    }

    fn tree() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// Goal: nothing of a value is lost or rounded. Method: one row per kind of JSON value.
    #[test]
    fn values_keep_their_text() {
        for (raw, want) in [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("12345678901234567890.10", Json::Number("12345678901234567890.10")),
            ("1E-10", Json::Number("1E-10")),
            (r#""a\u00e9\n""#, Json::Text("aé\n".into())),
            (r#""""#, Json::Text("".into())),
            (r#"{"a": 1}"#, Json::Nested(r#"{"a": 1}"#)),
        ] {
            assert_eq!(Json::of(raw), Ok(want), "{raw}");
        }
        assert_eq!(Json::of(r#""\ud83d""#).unwrap_err().reason, BadReason::NotUtf8, "half a surrogate pair");
    }

    /// Goal: order and duplicates are kept for "last wins" (C8). Method: an object with a member twice, a name escaped.
    #[test]
    fn members_come_in_order() {
        let mut seen = Vec::new();
        each_member(r#"{"a":1,"b":[2],"a":3,"\u0063":null}"#, |name, raw| {
            seen.push((name.into_owned(), raw.to_owned()));
            Ok(())
        })
        .unwrap();
        let want = [("a", "1"), ("b", "[2]"), ("a", "3"), ("c", "null")];
        assert_eq!(seen, want.map(|(n, r)| (n.to_owned(), r.to_owned())));
        for broken in ["", "[]", "{", "{\"a\":1}x", "{\"a\":1,}", "{\"a\":tru}", "nul"] {
            assert_eq!(each_member(broken, |_, _| Ok(())).unwrap_err().reason, BadReason::NotJson, "{broken}");
        }
        let stop = || BadRecord::new(BadReason::BadValue, "mine");
        assert_eq!(each_member("{\"a\":1}", |_, _| Err(stop())).unwrap_err(), stop());
        assert_eq!(each_element("[1]", |_| Err(stop())).unwrap_err(), stop());
    }

    /// Goal: depth is counted exactly, and brackets in strings are not depth. Method: both sides of the limit.
    #[test]
    fn depth_is_exact_and_blind_to_strings() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(!is_too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(is_too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(is_too_deep("[".repeat(200_000).as_bytes()));
        assert!(!is_too_deep("{},".repeat(500).as_bytes()), "many, but not deep");
        let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(500));
        assert!(!is_too_deep(text.as_bytes()), "brackets of a string, after an escaped quote");
    }

    /// Goal: compact text is the same JSON. Method: white space everywhere, also inside a string.
    #[test]
    fn compact_drops_only_space_between_tokens() {
        let mut out = String::new();
        push_compact(&mut out, "{ \"a b\" : [ 1 ,\n2.50 ], \"c\\\" \":null }");
        assert_eq!(out, r#"{"a b":[1,2.50],"c\" ":null}"#);
    }
}
