//! One recorded event as one line of JSON, both ways (3-interfaces 3.3).
//!
//! Bodies that are UTF-8 travel as text, others as base64 under `key_b64` and `value_b64`; a header that is not UTF-8
//! travels as `["name", "<base64>", "b64"]`. `value` must be told, if only as null: a misspelt member must not become a
//! null body, which carries no data (C6). Knows nothing of files.

use crate::domain::ids::{Millis, Name, Partition, RecordOffset};
use crate::domain::record::Record;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// What is wrong with a line, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct LineError {
    /// Counts from 1.
    pub column: usize,
    pub what: String,
}

/// A line as read. The position is the reader's to give; an offset that is not told is counted by the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub partition: Partition,
    pub offset: Option<i64>,
    timestamp: Option<Millis>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
}

impl Event {
    /// The record at this position of its source.
    pub fn into_record(self, position: RecordOffset, offset: i64) -> Record {
        let Self { partition, timestamp, key, value, headers, .. } = self;
        Record { partition, position, offset, timestamp, key, value, headers }
    }
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: i32,
    #[serde(default)]
    offset: Option<i64>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_b64: Option<String>,
    #[serde(default, deserialize_with = "told")]
    value: Option<Option<String>>,
    #[serde(default)]
    value_b64: Option<String>,
    #[serde(default)]
    headers: Option<Vec<Vec<Option<String>>>>,
}

/// Tells a null member from one that is not there.
fn told<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

/// Reads one line, without its line end.
///
/// # Errors
/// Not a JSON object of this form, or a member that cannot be what it says: with the column.
pub fn parse(line: &[u8]) -> Result<Event, LineError> {
    // A struct could also be read from an array of its members.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(LineError { column: 1, what: "not a JSON object".into() });
    }
    let read: Read<'_> = serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned();
        LineError { column: error.column().max(1), what }
    })?;
    let wrong = |what: String| LineError { column: 1, what };
    let topic = Name::intern(&read.topic).map_err(|e| wrong(format!("`topic`: {e}")))?;
    if read.topic.is_empty() {
        return Err(wrong("`topic` is empty".into()));
    }
    if read.partition < 0 {
        return Err(wrong(format!("`partition` is {}; partitions count from 0", read.partition)));
    }
    if let Some(offset) = read.offset.filter(|o| *o < 0) {
        return Err(wrong(format!("`offset` is {offset}; offsets count from 0")));
    }
    let key = body("key", read.key, read.key_b64.as_deref()).map_err(wrong)?;
    let value = match (read.value, &read.value_b64) {
        (None, None) => {
            return Err(wrong("neither `value` nor `value_b64` is told; a null body is written `\"value\":null`".into()));
        }
        (text, encoded) => body("value", text.flatten(), encoded.as_deref()).map_err(wrong)?,
    };
    let headers = read.headers.unwrap_or_default().into_iter().map(header).collect::<Result<_, _>>().map_err(wrong)?;
    let partition = Partition { topic, number: read.partition };
    Ok(Event { partition, offset: read.offset, timestamp: read.timestamp.map(Millis), key, value, headers })
}

fn body(name: &str, text: Option<String>, encoded: Option<&str>) -> Result<Option<Bytes>, String> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err(format!("both `{name}` and `{name}_b64` are told; one of them is allowed")),
        (text, None) => Ok(text.map(Bytes::from)),
        (None, Some(encoded)) => from_base64(&format!("{name}_b64"), encoded).map(Some),
    }
}

fn from_base64(name: &str, encoded: &str) -> Result<Bytes, String> {
    STANDARD.decode(encoded).map(Bytes::from).map_err(|e| format!("`{name}` is not base64: {e}"))
}

fn header(parts: Vec<Option<String>>) -> Result<(String, Bytes), String> {
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(name)), Some(value), None, None) => Ok((name, value.map_or_else(Bytes::new, Bytes::from))),
        (Some(Some(name)), Some(Some(value)), Some(Some(mark)), None) if mark == "b64" => {
            from_base64(&name, &value).map(|value| (name, value))
        }
        _ => Err("a header is written `[\"name\", \"value\"]`, or `[\"name\", \"<base64>\", \"b64\"]`".into()),
    }
}

#[derive(Serialize)]
struct Written<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<WrittenHeader<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenHeader<'a> {
    Text(&'a str, &'a str),
    Bytes(&'a str, String, &'static str),
}

/// Appends the record as one line with its line end. The position is not told: it is the reader's.
pub fn print(record: &Record, out: &mut Vec<u8>) {
    let (key, key_b64) = texts(record.key.as_deref());
    let (value, value_b64) = texts(record.value.as_deref());
    let headers = record.headers.iter().map(|(name, value)| match std::str::from_utf8(value) {
        Ok(text) => WrittenHeader::Text(name, text),
        Err(_) => WrittenHeader::Bytes(name, STANDARD.encode(value), "b64"),
    });
    let Partition { topic, number } = record.partition;
    let written = Written {
        topic: topic.as_str(),
        partition: number,
        offset: record.offset,
        timestamp: record.timestamp.map(|t| t.0),
        key,
        key_b64,
        value,
        value_b64,
        headers: headers.collect(),
    };
    // Writing text into memory cannot fail: every member is text, a number or null.
    let _ = serde_json::to_writer(&mut *out, &written);
    out.push(b'\n');
}

/// A body as text, where it is text, else as base64.
fn texts(body: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match body.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (Some(None), None),
        Some(Ok(text)) => (Some(Some(text)), None),
        Some(Err(bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(text: &str) -> Result<Record, LineError> {
        let event = parse(text.as_bytes())?;
        let offset = event.offset.unwrap_or(7);
        Ok(event.into_record(RecordOffset(3), offset))
    }

    /// Goal: 3.3 as users write it. Method: a table of lines and what each says.
    #[test]
    fn lines_say_what_they_say() {
        let r = record(
            r#"{"topic":"t","partition":2,"offset":12,"timestamp":5,"key":null,"value":"{\"a\":1}","headers":[["n","v"]]}"#,
        )
        .unwrap();
        assert_eq!((r.partition.topic.as_str(), r.partition.number, r.offset, r.position.0), ("t", 2, 12, 3));
        assert_eq!((r.timestamp, r.key, r.value.as_deref()), (Some(Millis(5)), None, Some(&b"{\"a\":1}"[..])));
        assert_eq!(r.headers, [("n".to_owned(), Bytes::from("v"))]);
        let r = record(
            r#"{"topic":"t","partition":0,"key_b64":"/w==","value_b64":"AP8=","headers":[["n","/w==","b64"],["z",null]]}"#,
        )
        .unwrap();
        assert_eq!((r.key.as_deref(), r.value.as_deref(), r.offset), (Some(&b"\xff"[..]), Some(&b"\x00\xff"[..]), 7));
        assert_eq!(r.headers, [("n".to_owned(), Bytes::from(&b"\xff"[..])), ("z".to_owned(), Bytes::new())]);
        assert_eq!(record(r#"{"topic":"t","partition":0,"value":null}"#).unwrap().value, None);
    }

    /// Goal: what is not an event is refused with its place. Method: a table of lines, columns and words of the message.
    #[test]
    fn broken_lines_name_the_fault() {
        for (line, column, words) in [
            ("{\"topic\":\"t\"", 12, "EOF"),
            ("[1]", 1, "object"),
            (r#"["t",0,1,2,null,null,null,null,null]"#, 1, "object"),
            (r#"{"topic":"t","partition":0}"#, 1, "`value`"),
            (r#"{"topic":"t","partition":0,"vlaue":"x"}"#, 1, "`value`"),
            (r#"{"partition":0,"value":null}"#, 28, "topic"),
            (r#"{"topic":"","partition":0,"value":null}"#, 1, "empty"),
            (r#"{"topic":"t","partition":-1,"value":null}"#, 1, "count from 0"),
            (r#"{"topic":"t","partition":0,"offset":-3,"value":null}"#, 1, "count from 0"),
            (r#"{"topic":"t","partition":0,"value":"a","value_b64":"AA=="}"#, 1, "both"),
            (r#"{"topic":"t","partition":0,"value_b64":"?"}"#, 1, "base64"),
            (r#"{"topic":"t","partition":0,"value":null,"headers":[["a"]]}"#, 1, "header"),
            (r#"{"topic":"t","partition":0,"value":{}}"#, 35, "string"),
            (r#"{"topic":"t","partition":0,"value":null} x"#, 42, "trailing"),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.what.contains(words), "{line}: {}", error.what);
            assert_eq!(error.column, column, "{line}: {}", error.what);
        }
        assert!(parse(b"{\"topic\":\"\xff\",\"partition\":0,\"value\":null}").is_err(), "a line that is not UTF-8");
    }

    proptest! {
        /// Goal: what is printed is read back as it was. Method: records of any bytes.
        #[test]
        fn a_printed_record_reads_back(
            partition in 0..9_i32, offset in 0..i64::MAX, timestamp in any::<Option<i64>>(),
            key in any::<Option<Vec<u8>>>(), value in any::<Option<Vec<u8>>>(),
            text in ".*", headers in prop::collection::vec((".{0,9}", any::<Vec<u8>>()), 0..3),
        ) {
            for value in [value, Some(text.into_bytes())] {
                let record = Record {
                    partition: Partition { topic: Name::of("a.b"), number: partition },
                    position: RecordOffset(0),
                    offset,
                    timestamp: timestamp.map(Millis),
                    key: key.clone().map(Bytes::from),
                    value: value.map(Bytes::from),
                    headers: headers.iter().map(|(n, v)| (n.clone(), Bytes::from(v.clone()))).collect(),
                };
                let mut line = Vec::new();
                print(&record, &mut line);
                prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
                let event = parse(&line).unwrap();
                prop_assert_eq!(event.offset, Some(offset));
                prop_assert_eq!(event.into_record(RecordOffset(0), offset), record);
            }
        }
    }
}
