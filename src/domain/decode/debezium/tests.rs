//! Debezium's envelope and all that travels beside it.

use super::super::tests::{changes, decode_text, ignored, reason, record, schema, shown};
use super::*;
use crate::domain::decode::{DecodeSettings, decode as decode_record};
use crate::domain::ids::Name;
use proptest::prelude::*;

const SOURCE: &str =
    r#""source":{"db":"shop","table":"orders","ts_ms":1740794401000,"file":"mysql-bin.000012","pos":9120,"snapshot":"false"}"#;

fn event(op: &str, before: &str, after: &str) -> String {
    format!(r#"{{"before":{before},"after":{after},{SOURCE},"op":"{op}","ts_ms":1740794401210}}"#)
}

/// A row object of few columns in any order; `w` may be told more than once.
fn row() -> impl Strategy<Value = String> {
    let told = vec!["null", "1", "2", r#""x""#, r#""y\n""#, r#""1.50""#, r#""1.5""#, r#""__debezium_unavailable_value""#];
    let columns =
        prop::collection::hash_map(prop::sample::select(vec!["id", "price", "n", "v"]), prop::sample::select(told), 0..5);
    let again = prop::collection::vec(prop::sample::select(vec!["null", "1", "2"]), 0..3);
    (columns, again).prop_map(|(columns, again)| {
        let members: Vec<_> = columns.into_iter().chain(again.into_iter().map(|value| ("w", value))).collect();
        let members: Vec<_> = members.iter().map(|(column, value)| format!("\"{column}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    /// Goal: an update's two rows are what each is alone, and what changed follows from them (C4, C8). Method: random
    /// rows; the same as a delete and as an insert.
    #[test]
    fn an_update_tells_both_rows(before in row(), after in row()) {
        let schema = schema(&[("price", "decimal(9,2)")]);
        let one = |op: &str, before: &str, after: &str| -> Result<Change, BadReason> {
            let Decoded::Changes(mut got) = decode_text(&event(op, before, after), &schema).map_err(|bad| bad.reason)? else {
                panic!("no change")
            };
            Ok(got.remove(0))
        };
        let (old, new) = (one("d", &before, "null"), one("c", "null", &after));
        let update = one("u", &before, &after);
        let (Ok(old), Ok(new)) = (old, new) else {
            prop_assert!(update.is_err());
            return Ok(());
        };
        let (update, old, new) = (update.unwrap(), old.before().unwrap(), new.after().unwrap().clone());
        prop_assert_eq!(update.before(), Some(old.clone()));
        prop_assert_eq!(update.after(), Some(&new));
        let Rows::Written(_, Some(differs)) = update.rows else { panic!("an update") };
        let mut changed: Vec<_> = differs.changed(&new).to_vec();
        changed.sort_unstable();
        let naive: Vec<_> = new.iter().filter(|(name, value)| old.get(*name) != *value).map(|(name, _)| name).collect();
        prop_assert_eq!(changed, naive);
    }
}

/// Goal: op, images, time and position of each kind of event. Method: a table.
#[test]
fn events_become_changes() {
    let schema = schema(&[]);
    let (old, new) = (r#"{"id":1,"n":"a","v":null}"#, r#"{"id":1,"n":"b","v":2}"#);
    for (op, before, after, want) in [
        ("c", "null", new, (Op::Insert, "none", "id=1 n=b v=2")),
        ("u", old, new, (Op::Update, "id=1 n=a v=NULL", "id=1 n=b v=2")),
        ("u", "null", new, (Op::Update, "none", "id=1 n=b v=2")),
        ("d", old, "null", (Op::Delete, "id=1 n=a v=NULL", "none")),
        ("r", "null", new, (Op::Snapshot(Snapshot::Ordered), "none", "id=1 n=b v=2")),
    ] {
        let [change] = changes(&event(op, before, after), &schema).try_into().unwrap();
        let got = (change.op, shown(change.before().as_ref()), shown(change.after()));
        assert_eq!((got.0, got.1.as_str(), got.2.as_str()), want, "{op}");
        assert_eq!((change.at, change.binlog), (Some(Millis(1_740_794_401_000)), Some((12 << 32) + 9120)), "{op}");
    }
}

/// Goal: the setting overrides how a snapshot row is ordered (M8). Method: an `r` event under each setting.
#[test]
fn the_snapshot_setting_overrides() {
    let schema = schema(&[]);
    let body = event("r", "null", r#"{"id":1}"#);
    for (setting, want) in [(None, Snapshot::Ordered), (Some(Snapshot::Fill), Snapshot::Fill)] {
        let settings = DecodeSettings { snapshot: setting, ..DecodeSettings::default() };
        let Ok(Decoded::Changes(got)) = decode_record(&record("t", body.clone()), &settings, &schema) else { panic!() };
        assert_eq!(got[0].op, Op::Snapshot(want));
    }
}

/// Goal: what is no row of a configured table is told apart (C6), and broken records stay bad. Method: a table.
#[test]
fn beside_the_rows() {
    let schema = schema(&[]);
    let orders = Ignored::Destructive { table: Name::of("shop.orders") };
    let other = SOURCE.replace("orders", "other");
    let ddl = |source: &str, sql: &str, changes: &str| {
        format!(r#"{{{source},"databaseName":"shop","ddl":"{sql}","tableChanges":{changes}}}"#)
    };
    let change = |kind: &str, table: &str| format!(r#"[{{"type":"{kind}","id":"\"shop\".\"{table}\"","table":null}}]"#);
    let signal = r#"{"id":"x-open","type":"snapshot-window-open","data":"{}"}"#;
    for (body, want) in [
        (event("t", "null", "null"), orders),
        (event("m", "null", "null"), Ignored::Marker),
        (event("c", "null", r#"{"id":1}"#).replace("orders", "other"), Ignored::UnknownTable),
        (event("c", "null", signal).replace("orders", "dbz_signal"), Ignored::Marker),
        (ddl(SOURCE, "alter table orders add x int", &change("ALTER", "orders")), orders),
        (ddl(SOURCE, "drop table orders", &change("DROP", "orders")), orders),
        (ddl(SOURCE, "create table orders (id int)", &change("CREATE", "orders")), Ignored::Ddl),
        (ddl(&other, "alter table other add x int", &change("ALTER", "other")), Ignored::Ddl),
        (ddl(&other, "rename table `orders` to other", &change("ALTER", "other")), orders),
        (ddl(SOURCE, "create index i on orders (n)", "[]"), Ignored::Ddl),
        // A snapshot replays how the tables were made.
        (ddl(&SOURCE.replace("false", "true"), "drop table if exists orders", &change("DROP", "orders")), Ignored::Ddl),
    ] {
        assert_eq!(ignored(&body, &schema), want, "{body}");
    }
    for (body, want) in [
        (event("x", "null", r#"{"id":1}"#), BadReason::Malformed),
        (event("x", "null", r#"{"id":1}"#).replace("orders", "other"), BadReason::Malformed),
        (event("c", "null", "null"), BadReason::Malformed),
        (event("c", "null", "7").replace("orders", "other"), BadReason::Malformed),
        (event("c", "null", r#"{"id":"\ud83d"}"#), BadReason::NotUtf8),
    ] {
        assert_eq!(reason(&body, &schema), want, "{body}");
    }
}

/// Goal: a heartbeat is known by its topic or its key, whatever the prefix. Method: both, and neither.
#[test]
fn heartbeats_need_a_sign_of_their_own() {
    let schema = schema(&[]);
    let beat = r#"{"ts_ms":1795237668757}"#;
    let by_topic = record("__debezium-heartbeat.shop", beat);
    let mut by_key = record("beats", beat);
    by_key.key = Some(r#"{"serverName":"shop"}"#.into());
    for record in [by_topic, by_key] {
        let got = decode_record(&record, &DecodeSettings::default(), &schema);
        assert!(matches!(got, Ok(Decoded::Ignored(Ignored::Heartbeat))), "{got:?}");
    }
    assert!(decode_text(beat, &schema).is_err());
}

/// Goal: a value that was not sent is absent, not null and not a text (C1). Method: the stand-in, plain and as bytes.
#[test]
fn an_unavailable_value_is_absent() {
    let schema = schema(&[("img", "binary")]);
    let after = format!(
        r#"{{"id":1,"txt":"{}","img":"{}"}}"#,
        "__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="
    );
    let [change] = changes(&event("u", "null", &after), &schema).try_into().unwrap();
    assert_eq!(shown(change.after()), "id=1");
}

/// Goal: a schema section tells the types, over the declared ones. Method: one field of every logical type.
#[test]
fn schemas_tell_the_types() {
    let schema = schema(&[("big", "string"), ("t3", "time(3)"), ("ext", "json")]);
    let field = |name: &str, kind: &str, logical: &str, parameters: &str| {
        format!(r#"{{"type":"{kind}","optional":true,"name":{logical},"parameters":{parameters},"field":"{name}"}}"#)
    };
    let data = |l: &str| format!(r#""io.debezium.data.{l}""#);
    let time = |l: &str| format!(r#""io.debezium.time.{l}""#);
    let connect = |l: &str| format!(r#""org.apache.kafka.connect.data.{l}""#);
    let rows = [
        (field("id", "int64", "null", "null"), "7", "7"),
        (
            field("big", "bytes", &connect("Decimal"), r#"{"scale":"0","connect.decimal.precision":"20"}"#),
            r#""AP//////////""#,
            "18446744073709551615",
        ),
        (field("amount", "bytes", &connect("Decimal"), r#"{"scale":"2"}"#), r#""A+g=""#, "10.00"),
        (field("bits", "bytes", &data("Bits"), r#"{"length":"10"}"#), r#""qgI=""#, "682"),
        (field("kind", "string", &data("Enum"), r#"{"allowed":"web,app"}"#), r#""new""#, "new"),
        (field("flags", "string", &data("EnumSet"), r#"{"allowed":"a,b"}"#), r#""a,b""#, "a,b"),
        (field("js", "string", &data("Json"), "null"), r#""{\"a\": 1}""#, r#"{"a":1}"#),
        (field("ext", "string", "null", "null"), r#""{\"a\": 1}""#, r#"{"a":1}"#),
        (field("d", "int32", &time("Date"), "null"), "20148", "2025-03-01"),
        (field("cd", "int32", &connect("Date"), "null"), "20148", "2025-03-01"),
        (field("dt", "int64", &time("Timestamp"), "null"), "1740823200123", "2025-03-01 10:00:00.123"),
        (field("mdt", "int64", &time("MicroTimestamp"), "null"), "1740823200123456", "2025-03-01 10:00:00.123456"),
        (field("ndt", "int64", &time("NanoTimestamp"), "null"), "1740823200000000000", "2025-03-01 10:00:00"),
        (field("ts", "string", &time("ZonedTimestamp"), "null"), r#""2025-03-01T02:00:00Z""#, "2025-03-01 02:00:00"),
        (field("t", "int64", &time("MicroTime"), "null"), "36672500000", "10:11:12.500"),
        (field("t3", "int32", &connect("Time"), "null"), "36672000", "10:11:12.000"),
        (field("y", "int32", &time("Year"), "null"), "2025", "2025"),
        (field("b", "boolean", "null", "null"), "true", "1"),
        (field("f", "double", "null", "null"), "1.0E-20", "1e-20"),
        (field("img", "bytes", "null", "null"), r#""AP8Q""#, "AP8Q"),
    ];
    let fields: Vec<&str> = rows.iter().map(|(f, _, _)| f.as_str()).collect();
    let name = |field: &str| field.rsplit('"').nth(1).unwrap().to_owned();
    let values: Vec<String> = rows.iter().map(|(f, raw, _)| format!("\"{}\":{raw}", name(f))).collect();
    let body = format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","fields":[{}],"field":"after"}}]}},"payload":{}}}"#,
        fields.join(","),
        event("c", "null", &format!("{{{}}}", values.join(",")))
    );
    let [change] = changes(&body, &schema).try_into().unwrap();
    for (field, raw, want) in &rows {
        let column = name(field);
        let got = change.after().unwrap().get(Name::of(&column)).text();
        assert_eq!(got, Some(*want), "{column}: {raw}");
    }
}

/// Goal: unwrapped rows: table by member or topic, deletes by rewrite, no before image. Method: a table.
#[test]
fn unwrapped_rows() {
    let schema = schema(&[]);
    let decode = |topic: &str, body: &str| decode_record(&record(topic, body.to_owned()), &DecodeSettings::default(), &schema);
    for (topic, body, want) in [
        ("p.shop.orders", r#"{"id":1,"__op":"c","__deleted":"false"}"#, (Op::Insert, "none", "id=1")),
        ("p.shop.orders", r#"{"id":1,"op":"x","type":"y","__deleted":"false"}"#, (Op::Update, "none", "id=1 op=x type=y")),
        ("p.shop.orders", r#"{"id":1,"payload":"x","__op":"u"}"#, (Op::Update, "none", "id=1 payload=x")),
        ("flat", r#"{"id":1,"__op":"r","__db":"shop","__table":"orders"}"#, (Op::Snapshot(Snapshot::Ordered), "none", "id=1")),
        ("p.shop.x", r#"{"id":1,"__op":"d","__table":"orders","__deleted":"true"}"#, (Op::Delete, "id=1", "none")),
        (
            "p.shop.orders",
            r#"{"schema":{"fields":[{"field":"id","type":"int64"}]},"payload":{"id":1,"__deleted":"true"}}"#,
            (Op::Delete, "id=1", "none"),
        ),
    ] {
        let Ok(Decoded::Changes(got)) = decode(topic, body) else { panic!("{body}: {:?}", decode(topic, body)) };
        let seen = (got[0].op, shown(got[0].before().as_ref()), shown(got[0].after()));
        assert_eq!((seen.0, seen.1.as_str(), seen.2.as_str()), want, "{topic} {body}");
    }
    let other = decode("p.shop.other", r#"{"id":1,"__op":"c"}"#);
    assert!(matches!(other, Ok(Decoded::Ignored(Ignored::UnknownTable))), "{other:?}");
}
