//! What a record on the topic holds: a notice of what changed, or the whole document in an envelope.
//!
//! Both carry the row's version as text (V3): a log has no compare-and-set, so a reader keeps the highest version it has
//! seen of an id and drops what is lower. Knows nothing of brokers.

use crate::domain::ids::{Millis, Name};
use crate::ports::sink::{Body, Held, SinkWrite};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::Write;

/// A document of more characters travels compressed in its envelope.
pub const PLAIN_CHARACTERS_MAX: usize = 10_000;

/// One write on its way to the topic.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub line: Name,
    pub write: &'a SinkWrite,
    /// What was last told of the document, where that is kept.
    pub last: Option<&'a Held>,
    pub at: Millis,
}

#[derive(Serialize)]
struct Notice<'a> {
    line: &'a str,
    id: &'a str,
    row: &'a str,
    version: String,
    op: &'static str,
    types: Vec<&'a str>,
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<BTreeMap<String, Change<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a RawValue>,
}

/// A field's values; one that is not there is left out.
#[derive(Serialize)]
struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'a RawValue>,
}

/// The envelope's names are those of an interface that exists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    index_name: &'a str,
    index_id: &'a str,
    system_name: &'a str,
    timestamp: i64,
    compress: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_json: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_byte: Option<String>,
    param_ext: Extra<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extra<'a> {
    op: &'static str,
    version: String,
    row_key: &'a str,
    types: Vec<&'a str>,
}

/// `index` or `delete`.
pub fn op(body: &Body) -> &'static str {
    match body {
        Body::Index(_) => "index",
        Body::Delete => "delete",
    }
}

impl Told<'_> {
    fn types(&self) -> Vec<&'static str> {
        self.write.types.iter().map(|name| name.as_str()).collect()
    }

    /// The notice's JSON.
    ///
    /// # Errors
    /// A document that is no JSON object.
    pub fn notice(&self) -> serde_json::Result<Vec<u8>> {
        let document = match &self.write.body {
            Body::Index(json) => Some(serde_json::from_slice::<&RawValue>(json)?),
            Body::Delete => None,
        };
        let changed = self.last.map(|last| {
            let old = last.document.as_deref().map(fields).transpose()?.unwrap_or_default();
            let new = document.map(|d| fields(d.get().as_bytes())).transpose()?.unwrap_or_default();
            Ok(difference(&old, &new))
        });
        serde_json::to_vec(&Notice {
            line: self.line.as_str(),
            id: &self.write.id,
            row: self.write.row.as_str(),
            version: self.write.version.to_string(),
            op: op(&self.write.body),
            types: self.types(),
            at: self.at.0,
            since: self.last.map(|last| last.version.to_string()),
            changed: changed.transpose()?,
            document,
        })
    }

    /// The envelope's JSON. `system` is its `systemName`.
    ///
    /// # Errors
    /// A document that is not text.
    pub fn envelope(&self, system: &str) -> serde_json::Result<Vec<u8>> {
        let json = match &self.write.body {
            Body::Index(json) => Some(std::str::from_utf8(json).map_err(serde::ser::Error::custom)?),
            Body::Delete => None,
        };
        let long = json.filter(|json| json.chars().nth(PLAIN_CHARACTERS_MAX).is_some());
        serde_json::to_vec(&Envelope {
            index_name: self.line.as_str(),
            index_id: &self.write.id,
            system_name: system,
            timestamp: self.at.0,
            compress: long.is_some(),
            data_json: if long.is_some() { None } else { json },
            data_byte: long.map(gzip).transpose().map_err(serde::ser::Error::custom)?,
            param_ext: Extra {
                op: op(&self.write.body),
                version: self.write.version.to_string(),
                row_key: self.write.row.as_str(),
                types: self.types(),
            },
        })
    }
}

fn gzip(text: &str) -> std::io::Result<String> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    encoder.write_all(text.as_bytes())?;
    Ok(STANDARD.encode(encoder.finish()?))
}

fn fields(json: &[u8]) -> serde_json::Result<BTreeMap<String, &RawValue>> {
    serde_json::from_slice(json)
}

/// Fields whose text differs. Both sides were printed by one mapping, so equal values have equal texts; a changed mapping
/// shows as a change, which it is to a reader.
fn difference<'a>(old: &BTreeMap<String, &'a RawValue>, new: &BTreeMap<String, &'a RawValue>) -> BTreeMap<String, Change<'a>> {
    let same = |name: &String| old.get(name).map(|v| v.get()) == new.get(name).map(|v| v.get());
    let names = old.keys().chain(new.keys()).filter(|name| !same(name));
    names.map(|name| (name.clone(), Change { old: old.get(name).copied(), new: new.get(name).copied() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{RowKey, RowVersion};
    use bytes::Bytes;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::io::Read;

    fn write(body: Option<&str>) -> SinkWrite {
        SinkWrite {
            id: "7".into(),
            version: RowVersion(i64::MAX),
            body: body.map_or(Body::Delete, |text| Body::Index(Bytes::copy_from_slice(text.as_bytes()))),
            row: RowKey::new("0007:7"),
            types: vec![Name::of("price")],
        }
    }

    fn told(write: &SinkWrite, last: Option<&str>) -> Value {
        let last = last.map(|text| Held {
            id: "7".into(),
            version: RowVersion(3),
            document: (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes())),
        });
        let told = Told { line: Name::of("orders"), write, last: last.as_ref(), at: Millis(5) };
        serde_json::from_slice(&told.notice().unwrap()).unwrap()
    }

    /// Goal: a notice says what it knows and no more. Method: a table of what was kept and what is written.
    #[test]
    fn notices_tell_what_changed() {
        for (last, now, changed, since) in [
            (None, Some(r#"{"a":1}"#), Value::Null, Value::Null),
            (Some(r#"{"a":1,"b":"x"}"#), Some(r#"{"a":2,"b":"x"}"#), json!({"a": {"old": 1, "new": 2}}), json!("3")),
            (Some(r#"{"a":1}"#), Some(r#"{"a":1}"#), json!({}), json!("3")),
            (Some(r#"{"a":null}"#), Some(r#"{"b":[1]}"#), json!({"a": {"old": null}, "b": {"new": [1]}}), json!("3")),
            (Some(""), Some(r#"{"a":1}"#), json!({"a": {"new": 1}}), json!("3")),
            (Some(r#"{"a":1}"#), None, json!({"a": {"old": 1}}), json!("3")),
        ] {
            let notice = told(&write(now), last);
            assert_eq!((&notice["changed"], &notice["since"]), (&changed, &since), "{last:?} {now:?}");
            assert_eq!(notice["version"], "9223372036854775807", "past 2^53 only a text is exact");
            assert_eq!((&notice["row"], &notice["types"], &notice["at"]), (&json!("0007:7"), &json!(["price"]), &json!(5)));
            assert_eq!(notice["op"], if now.is_some() { "index" } else { "delete" });
            assert_eq!(notice.get("document").is_some(), now.is_some());
        }
        // Digits of a number are not touched on the way.
        let exact = write(Some(r#"{"a":1.10,"b":18446744073709551615}"#));
        let told = Told { line: Name::of("orders"), write: &exact, last: None, at: Millis(5) };
        let text = String::from_utf8(told.notice().unwrap()).unwrap();
        assert!(text.contains(r#""document":{"a":1.10,"b":18446744073709551615}"#), "{text}");
    }

    fn envelope(write: &SinkWrite) -> Value {
        let told = Told { line: Name::of("orders"), write, last: None, at: Millis(5) };
        serde_json::from_slice(&told.envelope("shop").unwrap()).unwrap()
    }

    /// The document in an envelope, as a reader takes it out.
    fn opened(envelope: &Value) -> Option<String> {
        if envelope["compress"] == json!(false) {
            return envelope.get("dataJson").map(|text| text.as_str().unwrap().to_owned());
        }
        let bytes = STANDARD.decode(envelope["dataByte"].as_str().unwrap()).unwrap();
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        Some(text)
    }

    /// Goal: the envelope's names, and no document for a delete. Method: both kinds of write, whole.
    #[test]
    fn envelopes_have_their_names() {
        let extra = |op| json!({"op": op, "version": "9223372036854775807", "rowKey": "0007:7", "types": ["price"]});
        let want = json!({"indexName": "orders", "indexId": "7", "systemName": "shop", "timestamp": 5, "compress": false,
            "dataJson": "{\"a\":1}", "paramExt": extra("index")});
        assert_eq!(envelope(&write(Some(r#"{"a":1}"#))), want);
        let want = json!({"indexName": "orders", "indexId": "7", "systemName": "shop", "timestamp": 5, "compress": false,
            "paramExt": extra("delete")});
        assert_eq!(envelope(&write(None)), want);
    }

    /// Goal: characters are counted, not bytes, and the bound is exact. Method: documents at the bound and one above.
    #[test]
    fn long_documents_are_compressed() {
        for (filler, count, compressed) in [("x", 9_992, false), ("x", 9_993, true), ("门", 9_992, false), ("门", 9_993, true)]
        {
            let json = format!(r#"{{"a":"{}"}}"#, filler.repeat(count));
            let envelope = envelope(&write(Some(&json)));
            assert_eq!(envelope["compress"], compressed, "{count} times {filler}");
            assert_eq!(opened(&envelope), Some(json));
        }
    }

    proptest! {
        /// Goal: applying a notice's changes to the old document gives the new one. Method: any two flat documents.
        #[test]
        fn changes_lead_from_old_to_new(
            old in proptest::collection::btree_map("[a-d]", 0..4u8, 0..4), new in proptest::collection::btree_map("[a-d]", 0..4u8, 0..4),
        ) {
            let notice = told(&write(Some(&json!(new).to_string())), Some(&json!(old).to_string()));
            let mut document = json!(old);
            for (name, change) in notice["changed"].as_object().unwrap() {
                prop_assert_eq!(change.get("old"), document.get(name));
                match change.get("new") {
                    Some(value) => document[name] = value.clone(),
                    None => drop(document.as_object_mut().unwrap().remove(name)),
                }
            }
            prop_assert_eq!(&document, &json!(new));
            prop_assert_eq!(&notice["document"], &json!(new));
        }
    }
}
