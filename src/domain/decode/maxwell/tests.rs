//! Maxwell's rows, bootstrap and DDL.

use super::super::tests::{changes, ignored, reason, schema, shown};
use super::*;

fn message(kind: &str, data: &str, old: &str) -> String {
    format!(
        r#"{{"database":"shop","table":"orders","type":"{kind}","ts":1740794401,"xid":9,"position":"bin.000012:9120","data":{data}{old}}}"#
    )
}

/// Goal: op, images, time and position of each kind of row. Method: a table; `old` leaves out nulls where the row shows none.
#[test]
fn rows_become_changes() {
    let schema = schema(&[("amount", "decimal(18,2)")]);
    let fill = Op::Snapshot(Snapshot::Fill);
    for (kind, data, old, want) in [
        ("insert", r#"{"id":1,"amount":8.80,"n":null}"#, "", (Op::Insert, "none", "amount=8.80 id=1 n=NULL")),
        ("bootstrap-insert", r#"{"id":1}"#, "", (fill, "none", "id=1")),
        ("delete", r#"{"id":1,"n":"x"}"#, "", (Op::Delete, "id=1 n=x", "none")),
        ("update", r#"{"id":1,"a":2}"#, "", (Op::Update, "none", "a=2 id=1")),
        // A null in the record: nulls are told, so the before image is whole.
        (
            "update",
            r#"{"id":1,"a":2,"b":3,"n":null}"#,
            r#","old":{"a":1}"#,
            (Op::Update, "a=1 b=3 id=1 n=NULL", "a=2 b=3 id=1 n=NULL"),
        ),
        ("update", r#"{"id":1,"a":2,"b":3}"#, r#","old":{"a":null}"#, (Op::Update, "a=NULL b=3 id=1", "a=2 b=3 id=1")),
        // None: `b` may have been null before, and only what is certain stands in the before image.
        ("update", r#"{"id":1,"a":2,"b":3}"#, r#","old":{"a":1}"#, (Op::Update, "a=1 id=1", "a=2 b=3 id=1")),
        // `n` had a value and is gone: it is null now.
        ("update", r#"{"id":1,"a":2}"#, r#","old":{"n":"x"}"#, (Op::Update, "id=1 n=x", "a=2 id=1 n=NULL")),
        // A move keeps all that is told of the old row.
        ("update", r#"{"id":2,"a":2}"#, r#","old":{"id":1}"#, (Op::Update, "a=2 id=1", "a=2 id=2")),
    ] {
        let [change] = changes(&message(kind, data, old), &schema).try_into().unwrap();
        let got = (change.op, shown(change.before().as_ref()), shown(change.after()));
        assert_eq!((got.0, got.1.as_str(), got.2.as_str()), want, "{kind} {data} {old}");
        assert_eq!((change.at, change.binlog), (Some(Millis(1_740_794_401_000)), Some((12 << 32) + 9120)));
    }
}

/// Goal: bootstrap's ends and DDL touch no row (C6). Method: a table.
#[test]
fn markers_and_ddl() {
    let schema = schema(&[]);
    let orders = Ignored::Destructive { table: Name::of("shop.orders") };
    let ddl = |kind: &str, table: &str, more: &str| {
        format!(r#"{{"type":"{kind}","database":"shop","table":"{table}","ts":1795237809000,"sql":"…"{more}}}"#)
    };
    for (body, want) in [
        (message("bootstrap-start", "{}", ""), Ignored::Marker),
        (message("bootstrap-complete", "{}", ""), Ignored::Marker),
        (message("insert", r#"{"id":1}"#, "").replace("orders", "other"), Ignored::UnknownTable),
        (ddl("table-create", "orders", ""), Ignored::Ddl),
        (ddl("table-alter", "orders", ""), orders),
        (ddl("table-drop", "orders", ""), orders),
        (ddl("table-drop", "other", ""), Ignored::Ddl),
        (ddl("table-alter", "other", r#","def":{"database":"shop","table":"orders"}"#), orders),
        (ddl("database-drop", "", ""), orders),
        (ddl("database-drop", "", "").replace("shop", "else"), Ignored::Ddl),
        (ddl("database-create", "", ""), Ignored::Ddl),
    ] {
        assert_eq!(ignored(&body, &schema), want, "{body}");
    }
}

/// Goal: what is broken or encrypted is bad, for a table nobody configured too (C7). Method: a table.
#[test]
fn broken_messages() {
    let schema = schema(&[]);
    for (body, want) in [
        (message("insert", "null", ""), BadReason::Malformed),
        (message("insert", "[]", "").replace("orders", "other"), BadReason::Malformed),
        (message("update", r#"{"id":1}"#, r#","old":7"#), BadReason::Malformed),
        (message("upsert", r#"{"id":1}"#, ""), BadReason::Malformed),
        (message("insert", "{}", r#","encrypted":{"iv":"a","bytes":"b"}"#), BadReason::Unsupported),
    ] {
        assert_eq!(reason(&body, &schema), want, "{body}");
    }
}
