//! Canal's flat message.

use super::super::tests::{changes, ignored, reason, schema, shown};
use super::*;
use crate::domain::ids::Name;

const TYPES: &str = r#""mysqlType":{"id":"bigint(20) unsigned","price":"decimal(10,2)","note":"varchar(64)"}"#;

fn message(kind: &str, data: &str, old: &str) -> String {
    format!(
        r#"{{"data":{data},"database":"shop","es":1740794401000,"id":3,"isDdl":false,{TYPES},"old":{old},"pkNames":["id"],"sql":"","table":"orders","ts":1,"type":"{kind}"}}"#
    )
}

fn told(body: &str) -> Vec<String> {
    let schema = schema(&[]);
    let show = |c: &Change| format!("{:?} {} > {}", c.op, shown(c.before().as_ref()), shown(c.after()));
    changes(body, &schema).iter().map(show).collect()
}

/// Goal: rows pair with their old values, whatever shape those have in the wild (C3, C5). Method: a table.
#[test]
fn rows_and_their_before_images() {
    let two = r#"[{"id":"9","price":"8.80","note":null},{"id":"10","price":"3.0","note":"x"}]"#;
    for (kind, data, old, want) in [
        ("INSERT", two, "null", vec!["Insert none > id=9 note=NULL price=8.80", "Insert none > id=10 note=x price=3.00"]),
        ("INSERT", r#"[{"id":"9"}]"#, "[null]", vec!["Insert none > id=9"]),
        // The running union: row 10 lists `note`, which did not change.
        (
            "UPDATE",
            two,
            r#"[{"price":"9.90","note":null},{"price":"3.50","note":"x"}]"#,
            vec![
                "Update id=9 note=NULL price=9.90 > id=9 note=NULL price=8.80",
                "Update id=10 note=x price=3.50 > id=10 note=x price=3.00",
            ],
        ),
        ("UPDATE", r#"[{"id":"10","note":"x"}]"#, r#"[{"id":"9"}]"#, vec!["Update id=9 note=x > id=10 note=x"]),
        ("UPDATE", r#"[{"id":"9","note":"x"}]"#, "null", vec!["Update none > id=9 note=x"]),
        ("UPDATE", r#"[{"id":"9","note":"x"}]"#, "[null]", vec!["Update none > id=9 note=x"]),
        ("UPDATE", r#"[{"id":"9"},{"id":"8"}]"#, r#"[{"note":"y"}]"#, vec!["Update id=9 note=y > id=9", "Update none > id=8"]),
        // MINIMAL: no key; routing refuses it.
        ("UPDATE", r#"[{"note":"min"}]"#, "[{}]", vec!["Update note=min > note=min"]),
        ("DELETE", r#"[{"id":"9","price":"2.0"}]"#, "null", vec!["Delete id=9 price=2.00 > none"]),
        ("DELETE", "null", r#"[{"id":"9"}]"#, vec!["Delete id=9 > none"]),
    ] {
        assert_eq!(told(&message(kind, data, old)), want, "{kind} {data} {old}");
    }
    let [change] = changes(&message("INSERT", r#"[{"id":"9"}]"#, "null"), &schema(&[])).try_into().unwrap();
    assert_eq!((change.at, change.binlog), (Some(Millis(1_740_794_401_000)), None));
}

/// Goal: the computed changes of a union are the true ones (C4). Method: the row whose `note` only seems to change.
#[test]
fn a_union_of_old_columns_changes_nothing_by_itself() {
    let body = message("UPDATE", r#"[{"id":"10","price":"3.0","note":"x"}]"#, r#"[{"price":"3.50","note":"x"}]"#);
    let [change] = changes(&body, &schema(&[])).try_into().unwrap();
    let Rows::Written(after, Some(before)) = change.rows else { panic!("{change:?}") };
    assert_eq!(before.changed(&after).as_slice(), [Name::of("price")]);
}

/// Goal: statements and DDL touch no row (C6). Method: a table.
#[test]
fn statements_and_ddl() {
    let schema = schema(&[]);
    let orders = Ignored::Destructive { table: Name::of("shop.orders") };
    let ddl = |kind: &str, table: &str, sql: &str| {
        format!(
            r#"{{"data":null,"database":"shop","isDdl":true,"mysqlType":null,"old":null,"sql":"{sql}","table":"{table}","type":"{kind}"}}"#
        )
    };
    for (body, want) in [
        (ddl("QUERY", "", "update orders set a=1").replace("true", "false"), Ignored::Ddl),
        (ddl("CREATE", "orders", "create table orders (id int)"), Ignored::Ddl),
        (ddl("CINDEX", "orders", "create index i on orders (a)"), Ignored::Ddl),
        (ddl("ALTER", "orders", "alter table orders add x int"), orders),
        (ddl("TRUNCATE", "orders", "truncate orders"), orders),
        (ddl("ERASE", "orders", "drop table orders"), orders),
        (ddl("ERASE", "other", "drop table other"), Ignored::Ddl),
        (ddl("RENAME", "old_orders", "rename table orders to old_orders"), orders),
        (ddl("RENAME", "orders", "rename table x to orders"), orders),
        (message("INSERT", r#"[{"id":"9"}]"#, "null").replace("\"orders\"", "\"other\""), Ignored::UnknownTable),
        (r#"{"type":"TIDB_WATERMARK","isDdl":false,"data":null}"#.to_owned(), Ignored::Heartbeat),
    ] {
        assert_eq!(ignored(&body, &schema), want, "{body}");
    }
}

/// Goal: what is broken is bad, for a table nobody configured too (C7). Method: a table.
#[test]
fn broken_messages() {
    let schema = schema(&[]);
    for (body, want) in [
        (message("INSERT", "null", "null"), BadReason::Malformed),
        (message("INSERT", "[]", "null"), BadReason::Malformed),
        (message("INSERT", "7", "null").replace("\"orders\"", "\"other\""), BadReason::Malformed),
        (message("INSERT", "[7]", "null"), BadReason::Malformed),
        (message("INSERT", "[null]", "null"), BadReason::Malformed),
        (message("UPDATE", r#"[{"id":"9"}]"#, "[7]"), BadReason::Malformed),
        (message("UPSERT", r#"[{"id":"9"}]"#, "null"), BadReason::Malformed),
        (message("INSERT", r#"[{"id":"nine"}]"#, "null"), BadReason::BadValue),
    ] {
        assert_eq!(reason(&body, &schema), want, "{body}");
    }
}

/// Goal: `mysqlType` reads every family of types. Method: a table of type texts as servers print them.
#[test]
fn mysql_types() {
    let labels = |all: &[&str]| Cow::Owned(all.iter().map(|l| (*l).to_owned()).collect());
    for (text, want) in [
        ("bigint(20) unsigned", Some(Kind::Long)),
        ("int", Some(Kind::Long)),
        ("tinyint(1)", Some(Kind::Long)),
        ("DECIMAL(18, 2)", Some(Kind::Decimal { scale: Some(2) })),
        ("decimal(10) unsigned zerofill", Some(Kind::Decimal { scale: Some(0) })),
        ("float", Some(Kind::Double)),
        ("datetime(3)", Some(Kind::DateTime { unit: Unit::Millis, digits: Some(3), utc: false })),
        ("timestamp", Some(Kind::DateTime { unit: Unit::Millis, digits: Some(0), utc: true })),
        ("year(4)", Some(Kind::Year)),
        ("bit(10)", Some(Kind::Bit { bits: 10 })),
        ("binary(4)", Some(Kind::Binary { length: 4 })),
        ("blob", Some(Kind::Binary { length: 0 })),
        ("enum('a','it''s (b)')", Some(Kind::Enum(labels(&["a", "it's (b)"])))),
        ("set('x')", Some(Kind::Set(labels(&["x"])))),
        ("varchar(32)", Some(Kind::AsIs)),
        ("geometry", None),
        ("", None),
    ] {
        assert_eq!(kind_of(text), want, "{text}");
    }
}
