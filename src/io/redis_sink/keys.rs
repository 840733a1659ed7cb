//! From a document's id to its hash's key and back.
//!
//! The key's template is filled with key columns, and a sink is told only the document's id: so the id is read back into
//! columns. Values are percent-escaped as in URLs (RFC 3986): no value can end a literal, or bring a `{hash tag}` of its own
//! that would scatter keys over a Cluster. Knows nothing of connections.

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::template::Template;
use std::fmt::Write;

/// Both templates of one line.
#[derive(Clone, Debug)]
pub struct Keys {
    id: Template,
    key: Template,
}

impl Keys {
    /// # Errors
    /// `incompatible`: ids or keys that cannot be read back, or a key made of columns that the id does not hold.
    pub fn new(id: Template, key: Template) -> Result<Self, Fault> {
        let known = id.columns();
        let stranger = key.columns().into_iter().find(|column| !known.contains(column));
        let what = match stranger {
            Some(stranger) => format!("its column `{stranger}` does not stand in the document's id `{}`", id.source()),
            None if !id.is_readable() => {
                format!(
                    "the document's id `{}` does not tell its columns: let each stand whole, a text between them",
                    id.source()
                )
            }
            None if !key.is_readable() => "let each of its columns stand whole, with a text between them".to_owned(),
            None if key.columns().len() < known.len() => {
                format!("two documents can share it: use every column of the document's id `{}`", id.source())
            }
            None => return Ok(Self { id, key }),
        };
        Err(Fault::new(FaultKind::Incompatible, format!("redis key `{}`", key.source()), what))
    }

    /// The hash of a document.
    ///
    /// # Errors
    /// Why this id names no hash.
    pub fn key_of(&self, id: &str) -> Result<String, String> {
        let Some(values) = self.id.read(id) else {
            return Err(format!(
                "the id `{id}` can be read in more than one way by `{}`, so it names no hash; separate its columns by a text \
                 that their values do not hold",
                self.id.source()
            ));
        };
        let escaped: Vec<_> = values.iter().map(|(name, value)| (*name, escape(value))).collect();
        let value = |name| escaped.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        self.key.render(value).map_err(|column| format!("the id `{id}` does not tell `{column}`"))
    }

    /// The document of a hash; `None` for keys that are not ours.
    pub fn id_of(&self, key: &str) -> Option<String> {
        let values = self.key.read(key)?;
        let values: Vec<_> = values.into_iter().map(|(name, value)| Some((name, unescape(&value)?))).collect::<Option<_>>()?;
        self.id.render(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())).ok()
    }

    /// A glob that every hash's key matches.
    pub fn pattern(&self) -> String {
        self.key.pattern(escape_glob, "*")
    }
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(out).ok()
}

fn escape_glob(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(id: &str, key: &str) -> Result<Keys, Fault> {
        Keys::new(Template::parse(id).unwrap(), Template::parse(key).unwrap())
    }

    /// Goal: keys as other programs make them. Method: a table.
    #[test]
    fn ids_become_keys() {
        for (id, key, text, want) in [
            ("{n}", "order:{n}", "7", "order:7"),
            ("{n}", "{{{n}}}:doc", "7", "{7}:doc"),
            ("{n}", "order:{n}", "a{b}:门 %", "order:a%7Bb%7D%3A%E9%97%A8%20%25"),
            ("{a}-{b}", "s:{b}:{a}", "1-2", "s:2:1"),
            ("{n}", "{last4(n)}:{n}", "123456", "3456:123456"),
        ] {
            let keys = keys(id, key).unwrap();
            assert_eq!(keys.key_of(text).as_deref(), Ok(want));
            assert_eq!(keys.id_of(want).as_deref(), Some(text));
        }
        let two = keys("{a}-{b}", "s:{b}:{a}").unwrap();
        assert!(two.key_of("1-2-3").unwrap_err().contains("more than one way"));
        assert_eq!((two.id_of("s:1"), two.id_of("t:1:2"), two.id_of("s:%zz:1")), (None, None, None));
        assert_eq!(keys("{n}", "a*[{{{n}").unwrap().pattern(), "a\\*\\[{*");
    }

    /// Goal: templates that would lose or share documents are refused. Method: a table with the word of each reason.
    #[test]
    fn templates_that_cannot_work_are_refused() {
        for (id, key, word) in [
            ("{a}", "k:{b}", "`b`"),
            ("{pad(a, 4)}", "k:{a}", "whole"),
            ("{a}{b}", "k:{a}:{b}", "text between"),
            ("{a}:{b}", "k:{a}{b}", "text between"),
            ("{a}:{b}", "k:{a}", "share"),
        ] {
            let fault = keys(id, key).unwrap_err();
            assert!(fault.what.contains(word), "{id} {key}: {fault}");
        }
    }

    proptest! {
        /// Goal: any value comes back, makes one hash tag at most and no glob. Method: any text.
        #[test]
        fn any_value_comes_back(value in any::<String>()) {
            let keys = keys("{n}", "{{o}}:{n}").unwrap();
            let key = keys.key_of(&value).unwrap();
            prop_assert_eq!(key.matches(['{', '}']).count(), 2);
            prop_assert_eq!(keys.id_of(&key), Some(value));
        }
    }
}
