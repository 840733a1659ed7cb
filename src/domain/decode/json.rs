//! Reading JSON without copying it: members in order, scalars as the text they were sent as, limits on depth.
//!
//! Keeps C2 (a number stays the text it came as), C8 (depth by a byte scan, duplicate members in order so that the last
//! one wins). Knows nothing of formats.

use super::{BadReason, BadRecord, DEPTH_MAX};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

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
        Ok(match raw.as_bytes().first() {
            Some(b'"') => Self::Text(text(raw)?),
            Some(b'{' | b'[') => Self::Nested(raw),
            Some(b'n') | None => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(_) => Self::Number(raw),
        })
    }
}

/// The text of a JSON string, borrowed where nothing is escaped.
fn text(raw: &str) -> Result<Cow<'_, str>, BadRecord> {
    let inner = &raw[1..raw.len() - 1];
    if !inner.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(inner));
    }
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
    each: impl FnMut(Cow<'a, str>, &'a str) -> Result<(), BadRecord>,
) -> Result<(), BadRecord> {
    let mut refused = None;
    let mut parser = serde_json::Deserializer::from_str(object);
    let done = parser.deserialize_map(Members { each, refused: &mut refused }).and_then(|()| parser.end());
    outcome(done, refused)
}

/// Calls `each` with every element of a JSON array, in order.
///
/// # Errors
/// [`BadReason::NotJson`] for what is not one JSON array, and whatever `each` refuses.
pub(super) fn each_element<'a>(array: &'a str, each: impl FnMut(&'a str) -> Result<(), BadRecord>) -> Result<(), BadRecord> {
    let mut refused = None;
    let mut parser = serde_json::Deserializer::from_str(array);
    let done = parser.deserialize_seq(Elements { each, refused: &mut refused }).and_then(|()| parser.end());
    outcome(done, refused)
}

fn outcome(done: Result<(), serde_json::Error>, refused: Option<BadRecord>) -> Result<(), BadRecord> {
    match (done, refused) {
        (_, Some(bad)) => Err(bad),
        (Err(e), None) => Err(BadRecord::new(BadReason::NotJson, format!("the body is not the JSON that was expected: {e}"))),
        (Ok(()), None) => Ok(()),
    }
}

struct Members<'r, F> {
    each: F,
    refused: &'r mut Option<BadRecord>,
}

impl<'a, F: FnMut(Cow<'a, str>, &'a str) -> Result<(), BadRecord>> Visitor<'a> for Members<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let value: &'a RawValue = map.next_value()?;
            if let Err(bad) = (self.each)(key, value.get()) {
                *self.refused = Some(bad);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

struct Elements<'r, F> {
    each: F,
    refused: &'r mut Option<BadRecord>,
}

impl<'a, F: FnMut(&'a str) -> Result<(), BadRecord>> Visitor<'a> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'a RawValue>()? {
            if let Err(bad) = (self.each)(element.get()) {
                *self.refused = Some(bad);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// A member's name, borrowed unless it is escaped.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
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
