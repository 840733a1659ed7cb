//! What the tests of several rooms are made of: a small shop, and short ways to say images and rows.

use super::change::{Image, Value};
use super::ids::{Name, RowId, RowKey, Stamp};
use super::line::{DeleteMode, LaneRules, Line, When};
use super::row::{Cells, Keys, Part, PartId, Tombstone, WideRow};
use super::schema::{ColumnType, KindTable, RowKind, Schema, Table, TableId, VersionKind};
use super::template::Template;

pub fn name(text: &str) -> Name {
    Name::of(text)
}

/// An image; `None` is SQL null.
pub fn image(columns: &[(&str, Option<&str>)]) -> Image {
    columns.iter().map(|(n, v)| (name(n), v.map_or(Value::Null, Value::Text))).collect()
}

/// Key columns without nulls.
pub fn told_keys(columns: &[(&str, &str)]) -> Keys {
    columns.iter().map(|(column, value)| (name(column), Value::Text(value))).collect()
}

/// An image without nulls.
pub fn told(columns: &[(&str, &str)]) -> Image {
    columns.iter().map(|(n, v)| (name(n), Value::Text(v))).collect()
}

const DECIMAL: ColumnType = ColumnType::Decimal { scale: None };

/// Orders with a payment and items, and products with attributes under a composite key. Tables in this order:
/// orders 0, payment 1, order_item 2, product_info 3, product_attr 4.
pub fn shop(version: VersionKind) -> Schema {
    let table = |db: &str, short: &str, types: &[(&str, ColumnType)]| Table {
        name: name(&format!("{db}.{short}")),
        short: name(short),
        types: types.iter().map(|(n, t)| (name(n), t.clone())).collect(),
    };
    let long = || ColumnType::Long;
    let tables = vec![
        table("trade", "orders", &[("id", long()), ("status", long()), ("amount", DECIMAL), ("weight", ColumnType::Double)]),
        table("trade", "payment", &[("id", long()), ("paid", DECIMAL)]),
        table("trade", "order_item", &[("id", long()), ("qty", long()), ("price", DECIMAL), ("weight", ColumnType::Double)]),
        table("goods", "product_info", &[("product_id", long())]),
        table("goods", "product_attr", &[("product_id", long()), ("sort", long())]),
    ];
    let used = |id: u16, ids: &[&str], many: bool, route: &str, single: bool| KindTable {
        table: TableId(id),
        short: tables[usize::from(id)].short,
        id: ids.iter().map(|n| name(n)).collect(),
        many,
        route: vec![name(route)],
        single,
    };
    let kind = |text: &str, key: &str, tables: Vec<KindTable>| {
        let key = Template::parse(key).expect("a sound template");
        RowKind { name: name(text), key_columns: key.columns(), key, root: Some(0), version, tables }
    };
    let order = vec![
        used(0, &["id"], false, "order_no", false),
        used(1, &["id"], false, "order_no", false),
        used(2, &["id"], true, "order_no", false),
    ];
    let product =
        vec![used(3, &["product_id"], false, "product_id", true), used(4, &["product_id", "attr"], true, "product_id", false)];
    let kinds = vec![kind("order", "{last4(order_no)}:{order_no}", order), kind("product", "p{pad(product_id, 6)}", product)];
    Schema::new(tables.clone(), kinds, Vec::new())
}

pub fn row_id(kind: &str, key: &str) -> RowId {
    RowId { kind: name(kind), key: RowKey::new(key) }
}

pub fn part_id(table: &str, child: &str) -> PartId {
    PartId { table: name(table), child: child.into() }
}

/// A table row with these columns at one stamp.
pub fn part(table: &str, child: &str, stamp: i64, columns: &[(&str, Option<&str>)]) -> Part {
    Part { cells: Cells::of_image(image(columns), Stamp(stamp)), ..Part::new(part_id(table, child)) }
}

pub fn dead(mut part: Part, stamp: i64) -> Part {
    part.tombstone = Some(tombstone(stamp));
    part
}

pub fn tombstone(stamp: i64) -> Tombstone {
    Tombstone { stamp: Stamp(stamp), written: super::ids::Millis(stamp), revoked: false }
}

/// A row of these parts under order number 7.
pub fn row(parts: Vec<Part>) -> WideRow {
    let mut out = WideRow { keys: told_keys(&[("order_no", "7"), ("product_id", "7")]), ..WideRow::default() };
    for part in parts {
        out.merge(&WideRow { parts: [part].into(), ..WideRow::default() });
    }
    out
}

/// A line of a kind that wants every change on lane 1.
pub fn line(text: &str, kind: &str) -> Line {
    Line {
        name: name(text),
        kind: name(kind),
        when: When::Any,
        lanes: LaneRules { default: super::job::Lane(1), ..LaneRules::default() },
        types: Vec::new(),
        document: None,
        delete: DeleteMode::Delete,
        skip_equal: false,
    }
}
