//! A document as the script's arguments, and back from what a hash holds.
//!
//! With a field each, texts stand as they are, numbers and other values as JSON, and null is a field that is not there: so
//! a reader of one field needs no JSON, and what is read back is all text. Knows nothing of keys.

use crate::domain::ids::RowVersion;
use crate::ports::sink::{Body, Held, SinkWrite};
use crate::settings::HashForm;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The field that holds the version.
pub const VERSION: &str = "v";

/// Stands for a delete where a document stands; no JSON text begins so.
const DELETED: &[u8] = b"\0";

/// One write's arguments.
pub struct Packed {
    args: Vec<Vec<u8>>,
}

impl Packed {
    /// # Errors
    /// A document that this form cannot hold.
    pub fn new(write: SinkWrite, form: HashForm) -> Result<Self, String> {
        let version = format!("{:019}", write.version.0).into_bytes();
        let args = match (form, write.body) {
            (HashForm::Document, Body::Delete) => vec![version, DELETED.to_vec()],
            (HashForm::Document, Body::Index(json)) => vec![version, json.into()],
            (HashForm::Fields, Body::Delete) => vec![version, b"-1".to_vec()],
            (HashForm::Fields, Body::Index(json)) => {
                let fields = fields(&json)?;
                let mut args = vec![version, fields.len().to_string().into_bytes()];
                args.extend(fields.into_iter().flat_map(|(name, value)| [name.into_bytes(), value.into_bytes()]));
                args
            }
        };
        Ok(Self { args })
    }

    pub fn bytes(&self) -> usize {
        self.args.iter().map(Vec::len).sum()
    }

    pub fn push_to(self, args: &mut Vec<Vec<u8>>) {
        args.extend(self.args);
    }
}

fn fields(json: &[u8]) -> Result<Vec<(String, String)>, String> {
    let read: BTreeMap<String, &RawValue> =
        serde_json::from_slice(json).map_err(|e| format!("the document is no object: {e}"))?;
    let mut fields = Vec::with_capacity(read.len());
    for (name, value) in read {
        if name == VERSION {
            return Err(format!("a field named `{VERSION}` would overwrite the version; give it another name"));
        }
        match value.get() {
            "null" => {}
            text if text.starts_with('"') => {
                fields.push((name, serde_json::from_str(text).map_err(|e| format!("the document is not JSON: {e}"))?));
            }
            other => fields.push((name, other.to_owned())),
        }
    }
    Ok(fields)
}

/// What a hash holds.
pub struct Hash {
    version: Option<String>,
    document: Option<Bytes>,
}

impl Hash {
    pub fn of_document((version, document): (Option<String>, Option<Vec<u8>>)) -> Self {
        Self { version, document: document.map(Bytes::from) }
    }

    /// A hash without any field but the version was deleted.
    pub fn of_fields(mut fields: BTreeMap<String, String>) -> Self {
        let version = fields.remove(VERSION);
        let document = if fields.is_empty() { None } else { serde_json::to_vec(&fields).ok() };
        Self { version, document: document.map(Bytes::from) }
    }

    /// # Errors
    /// A version that is not ours.
    pub fn held(self, id: String) -> Result<Option<Held>, String> {
        let Some(version) = self.version else { return Ok(None) };
        match version.parse() {
            Ok(number) if version.len() == 19 => Ok(Some(Held { id, version: RowVersion(number), document: self.document })),
            _ => Err(format!("field `{VERSION}` is `{version}`, which is no version of ours")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RowKey;

    fn packed(form: HashForm, version: i64, body: Option<&str>) -> Result<Vec<String>, String> {
        let body = body.map_or(Body::Delete, |json| Body::Index(Bytes::copy_from_slice(json.as_bytes())));
        let write = SinkWrite { id: "7".into(), version: RowVersion(version), body, row: RowKey::new("7"), types: vec![] };
        Ok(Packed::new(write, form)?.args.into_iter().map(|arg| String::from_utf8(arg).unwrap()).collect())
    }

    /// Goal: what the script is handed. Method: both forms, with values of every kind, deletes, and versions of 19 digits.
    #[test]
    fn writes_become_arguments() {
        use HashForm::{Document, Fields};
        let mixed = r#"{"s":"a\"b","n":1.10,"x":null,"l":[1,"2"]}"#;
        for (form, version, body, want) in [
            (Document, 7, Some(mixed), vec!["0000000000000000007", mixed]),
            (Document, i64::MAX, None, vec!["9223372036854775807", "\0"]),
            (Fields, 1 << 53, Some(mixed), vec!["0009007199254740992", "3", "l", "[1,\"2\"]", "n", "1.10", "s", "a\"b"]),
            (Fields, 0, None, vec!["0000000000000000000", "-1"]),
        ] {
            let want: Vec<String> = want.into_iter().map(str::to_owned).collect();
            assert_eq!(packed(form, version, body), Ok(want));
        }
        for (form, body, word) in [(Fields, "[1]", "object"), (Fields, r#"{"v":1}"#, "overwrite")] {
            assert!(packed(form, 1, Some(body)).unwrap_err().contains(word), "{body}");
        }
    }

    /// Goal: what hashes mean. Method: hashes that are not there, deleted, living, and of somebody else.
    #[test]
    fn hashes_become_documents() {
        let version = || Some("0000000000000000007".to_owned());
        let document = |version, document: Option<&str>| Hash::of_document((version, document.map(|d| d.as_bytes().to_vec())));
        let held = |document: Option<&'static str>| {
            Some(Held { id: "1".into(), version: RowVersion(7), document: document.map(Bytes::from) })
        };
        assert_eq!(document(None, None).held("1".into()), Ok(None));
        assert_eq!(document(version(), None).held("1".into()), Ok(held(None)));
        assert_eq!(document(version(), Some("{}")).held("1".into()), Ok(held(Some("{}"))));
        assert!(document(Some("7".into()), None).held("1".into()).is_err());
        let fields = BTreeMap::from([("v".to_owned(), "0000000000000000007".to_owned()), ("n".to_owned(), "1.10".to_owned())]);
        assert_eq!(Hash::of_fields(fields).held("1".into()), Ok(held(Some(r#"{"n":"1.10"}"#))));
    }
}
