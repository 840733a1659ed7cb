//! Limits, sniffing, dispatch; and that nothing a topic can hold makes a decoder panic.

use super::*;
use crate::domain::change::{Image, Value};
use crate::domain::ids::{Partition, RecordOffset};
use crate::domain::schema::{ColumnType, KindTable, RowKind, Table, TableId, VersionKind};
use crate::domain::template::Template;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

/// `shop.orders`, keyed by `id`, with declared types; nothing else is configured.
pub(super) fn schema(types: &[(&str, &str)]) -> Schema {
    let id = vec![Name::of("id")];
    let table = Table {
        name: Name::of("shop.orders"),
        short: Name::of("orders"),
        types: types.iter().map(|(c, t)| (Name::of(c), ColumnType::parse(t).unwrap())).collect(),
    };
    let used =
        KindTable { table: TableId(0), short: Name::of("orders"), id: id.clone(), many: false, route: id.clone(), single: true };
    let kind = RowKind {
        name: Name::of("orders"),
        key: Template::parse("{id}").unwrap(),
        key_columns: id,
        root: Some(0),
        version: VersionKind::Weight,
        tables: vec![used],
    };
    Schema::new(vec![table], vec![kind], Vec::new())
}

pub(super) fn record(topic: &str, value: impl Into<Bytes>) -> Record {
    Record {
        partition: Partition { topic: Name::of(topic), number: 0 },
        position: RecordOffset(0),
        offset: 0,
        timestamp: None,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Decodes a body from a topic that tells nothing, with the default settings.
pub(super) fn decode_text(body: &str, schema: &Schema) -> Result<Decoded, BadRecord> {
    decode(&record("t", body.to_owned()), &DecodeSettings::default(), schema)
}

pub(super) fn changes(body: &str, schema: &Schema) -> Vec<Change> {
    match decode_text(body, schema) {
        Ok(Decoded::Changes(changes)) => changes.into_vec(),
        other => panic!("no changes but {other:?} of {body}"),
    }
}

/// `a=1 b=NULL`, by column name.
pub(super) fn shown(image: Option<&Image>) -> String {
    let Some(image) = image else { return "none".to_owned() };
    let mut cells: Vec<String> = image
        .iter()
        .map(|(name, value)| format!("{name}={}", if value == Value::Null { "NULL" } else { value.text().unwrap() }))
        .collect();
    cells.sort();
    cells.join(" ")
}

pub(super) fn ignored(body: &str, schema: &Schema) -> Ignored {
    match decode_text(body, schema) {
        Ok(Decoded::Ignored(ignored)) => ignored,
        other => panic!("not ignored but {other:?}: {body}"),
    }
}

pub(super) fn reason(body: &str, schema: &Schema) -> BadReason {
    decode_text(body, schema).expect_err(body).reason
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

const UPDATE: &str = r#"{"before":{"id":1,"n":"a"},"after":{"id":1,"n":"b"},"source":{"db":"shop","table":"orders","file":"mysql-bin.000012","pos":9120,"ts_ms":1740794401000},"op":"u"}"#;

/// Goal: sniffing tells the formats apart and makes up none (C7). Method: a body per shape, and bodies that only look so.
#[test]
fn bodies_are_told_apart() {
    let schema = schema(&[]);
    for (body, want) in [
        ("", Ok(Ignored::Tombstone)),
        (r#"{"schema":null,"payload":null}"#, Ok(Ignored::Tombstone)),
        (r#"{"status":"BEGIN","id":"7-11-61","event_count":null,"data_collections":null}"#, Ok(Ignored::Transaction)),
        (r#"{"type":"bootstrap-start","database":"shop","table":"orders","ts":1,"data":{}}"#, Ok(Ignored::Marker)),
        (r#"{"type":"QUERY","isDdl":false,"database":"","table":"","data":null}"#, Ok(Ignored::Ddl)),
        (r#"{"hello":1}"#, Err(BadReason::UnknownFormat)),
        (r#"{}"#, Err(BadReason::UnknownFormat)),
        (r#"{"payload":{"hello":1}}"#, Err(BadReason::UnknownFormat)),
        (r#"{"payload":[1]}"#, Err(BadReason::Malformed)),
        (r#"{"op":"u","n":1}"#, Err(BadReason::UnknownFormat)),
        (r#"{"ts_ms":1}"#, Err(BadReason::UnknownFormat)),
        (r#"{"type":"click","database":1}"#, Err(BadReason::UnknownFormat)),
        (r#"{"type":"UPDATE","database":"shop","table":"orders","ts":1}"#, Err(BadReason::UnknownFormat)),
        ("[1]", Err(BadReason::NotJson)),
        ("hello", Err(BadReason::NotJson)),
        ("{", Err(BadReason::NotJson)),
        (r#"{"a":1} {"a":2}"#, Err(BadReason::NotJson)),
        (r#"{"op":1,"source":{}}"#, Err(BadReason::Malformed)),
        ("\u{0}\u{0}\u{0}\u{1}avro", Err(BadReason::Unsupported)),
        (r#"{"encrypted":{"iv":"a","bytes":"b"}}"#, Err(BadReason::Unsupported)),
    ] {
        match (decode_text(body, &schema), want) {
            (Ok(Decoded::Ignored(got)), Ok(want)) => assert_eq!(got, want, "{body}"),
            (Err(got), Err(want)) => assert_eq!(got.reason, want, "{body}: {got}"),
            (got, want) => panic!("{body}: wanted {want:?}, got {got:?}"),
        }
    }
    let null = Record { value: None, ..record("t", "") };
    let got = decode(&null, &DecodeSettings::default(), &schema);
    assert!(matches!(got, Ok(Decoded::Ignored(Ignored::Tombstone))), "{got:?}");
}

/// Goal: a source that names its format takes no other. Method: one Debezium body under every setting.
#[test]
fn a_named_format_is_held_to() {
    let schema = schema(&[]);
    for (format, want) in [
        (Format::Auto, None),
        (Format::Debezium, None),
        (Format::Canal, Some(BadReason::UnknownFormat)),
        (Format::Maxwell, Some(BadReason::UnknownFormat)),
        (Format::Dts, Some(BadReason::Unsupported)),
    ] {
        let settings = DecodeSettings { format, ..DecodeSettings::default() };
        let got = decode(&record("t", UPDATE), &settings, &schema).err().map(|bad| bad.reason);
        assert_eq!(got, want, "{format:?}");
    }
}

/// Goal: C8's limits stand before any parser. Method: bodies on both sides of each.
#[test]
fn limits_come_first() {
    let schema = schema(&[]);
    let decode_bytes = |body: Vec<u8>, settings: &DecodeSettings| decode(&record("t", body), settings, &schema);
    let small = DecodeSettings { record_bytes_max: UPDATE.len(), inflate_ratio_max: 20, ..DecodeSettings::default() };
    let reason = |body: Vec<u8>, settings: &DecodeSettings| decode_bytes(body, settings).err().map(|bad| bad.reason);

    assert_eq!(reason(UPDATE.into(), &small), None, "exactly the cap");
    assert_eq!(reason(format!("{UPDATE} ").into(), &small), Some(BadReason::TooLarge));
    assert_eq!(reason(gzip(UPDATE.as_bytes()), &small), None, "inflated, exactly the cap");
    assert_eq!(reason(gzip(format!("{UPDATE} ").as_bytes()), &small), Some(BadReason::TooLarge));
    let bomb = gzip(&vec![b' '; 900_000]);
    assert!(bomb.len() < 2_000, "the bomb is small: {}", bomb.len());
    assert_eq!(reason(bomb, &DecodeSettings::default()), Some(BadReason::TooLarge), "the ratio, below the size cap");
    let whole = gzip(UPDATE.as_bytes());
    assert_eq!(reason(whole[..whole.len() / 2].into(), &small), Some(BadReason::BadGzip));

    let brackets = "[".repeat(200_000);
    assert_eq!(reason(format!(r#"{{"after":{brackets}"#).into(), &DecodeSettings::default()), Some(BadReason::TooDeep));
    let mut not_text = UPDATE.as_bytes().to_vec();
    not_text[30] = 0xff;
    assert_eq!(reason(not_text, &DecodeSettings::default()), Some(BadReason::NotUtf8));
}

/// Goal: duplicate members: the last wins, at every level (C8). Method: one body with duplicates in three places.
#[test]
fn the_last_of_two_members_wins() {
    let schema = schema(&[]);
    let body = r#"{"op":"d","before":{"id":9},"after":{"id":1,"n":"a","id":2},"source":{"db":"x","table":"orders","db":"shop"},"before":null,"op":"c"}"#;
    let [change] = changes(body, &schema).try_into().unwrap();
    assert_eq!((change.op, shown(change.after()).as_str()), (crate::domain::change::Op::Insert, "id=2 n=a"));
}

/// Goal: an error names the place, what was found and what is allowed (house rule). Method: one value of a wrong type.
#[test]
fn a_refused_value_says_where_and_why() {
    let schema = schema(&[("n", "long")]);
    let bad = decode_text(UPDATE, &schema).unwrap_err();
    assert_eq!(bad.reason, BadReason::BadValue);
    for part in ["shop.orders", "`n`", "Long", "\"b\"", "allowed: an integer of 64 bits"] {
        assert!(bad.detail.contains(part), "`{part}` is missing in: {}", bad.detail);
    }
}

/// Recorded bodies of every format, the smaller ones.
fn recorded() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut bodies = Vec::new();
    for name in ["debezium", "debezium-schemas", "debezium-unwrap", "canal", "maxwell145", "maxwell145-array"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        for line in text.lines() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(value) = json["value"].as_str().filter(|v| v.contains("orders")) {
                bodies.push(value.as_bytes().to_vec());
            }
        }
    }
    assert!(bodies.len() > 50, "only {} bodies", bodies.len());
    bodies
}

const RECORDED_TYPES: [(&str, &str); 8] = [
    ("amount", "decimal(18,2)"),
    ("created", "datetime"),
    ("t", "time(6)"),
    ("bits", "bit(10)"),
    ("ext", "json"),
    ("kind", "enum('web','app','门店')"),
    ("ts0", "timestamp"),
    ("img", "binary"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Goal: no bytes panic. Method: arbitrary bytes, plain and as gzip would begin.
    #[test]
    fn no_bytes_panic(mut body in prop::collection::vec(any::<u8>(), 0..300), zipped: bool) {
        let schema = schema(&RECORDED_TYPES);
        if zipped {
            body.splice(0..0, GZIP);
        }
        let _ = decode(&record("t", body), &DecodeSettings::default(), &schema);
    }

    /// Goal: no damaged record panics or changes a table it does not name. Method: recorded bodies, bytes flipped, cut, spliced.
    #[test]
    fn no_damaged_record_panics(
        which: prop::sample::Index,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        splice in prop::option::weighted(0.3, (any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9a-z\\\\]{1,6}")),
    ) {
        let schema = schema(&RECORDED_TYPES);
        let bodies = BODIES.with(|bodies| bodies.get(which).clone());
        let mut body = bodies;
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some((at, text)) = splice {
            let at = at.index(body.len());
            body.splice(at..at, text.bytes());
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(Decoded::Changes(changes)) = decode(&record("a.shop.orders", body), &DecodeSettings::default(), &schema) {
            for change in changes {
                prop_assert_eq!(change.table, TableId(0));
                prop_assert_eq!(change.after().is_none(), change.op == crate::domain::change::Op::Delete);
            }
        }
    }
}

/// Recorded bodies, read once per test thread.
struct Bodies(Vec<Vec<u8>>);
impl Bodies {
    fn get(&self, which: prop::sample::Index) -> &Vec<u8> {
        &self.0[which.index(self.0.len())]
    }
}
thread_local! {
    static BODIES: Bodies = Bodies(recorded());
}
