//! Maxwell's rows, bootstrap and DDL.
//!
//! Keeps C1 (a null that `output_nulls=false` leaves out is recognised where `old` tells of it), C5 (the before image is
//! the row overlaid with `old`), C6, M8 (bootstrap rows fill). TIMESTAMP text is in Maxwell's own zone, which must be UTC.
//! Truncate never shows in this format, TIME is wrong at its source, and BINARY arrives without its padding.

use super::body::{Body, binlog, integer, needed, object, string};
use super::columns::Columns;
use super::ddl;
use super::json::each_member;
use super::text::Wire;
use super::{BadReason, BadRecord, Context, Decoded, Ignored};
use crate::domain::change::{Before, Change, Image, Op, Rows, Snapshot, Value};
use crate::domain::ids::{Millis, Name};
use crate::domain::schema::{Schema, TableId};
use smallvec::smallvec;

pub(super) fn decode<'a>(body: &Body<'a>, context: &Context<'a>) -> Result<Decoded, BadRecord> {
    if body.encrypted.is_some_and(|e| e.starts_with('{')) {
        let detail = "an encrypted Maxwell record; set `encrypt=none` for this topic";
        return Err(BadRecord::new(BadReason::Unsupported, detail));
    }
    let kind = needed(body.kind, "type")?;
    let op = match kind.as_ref() {
        "insert" => Op::Insert,
        "update" => Op::Update,
        "delete" => Op::Delete,
        "bootstrap-insert" => Op::Snapshot(context.snapshot(Snapshot::Fill)),
        "bootstrap-start" | "bootstrap-complete" => return Ok(Decoded::Ignored(Ignored::Marker)),
        other => return schema_change(other, body, context),
    };
    let (db, table) = (needed(body.database, "database")?, needed(body.table, "table")?);
    let data =
        object(body.data, "data")?.ok_or_else(|| BadRecord::new(BadReason::Malformed, format!("`{kind}` without `data`")))?;
    let old = object(body.old, "old")?;
    let Some(id) = context.schema.find(&db, &table) else { return Ok(Decoded::Ignored(Ignored::UnknownTable)) };
    let mut columns = Columns::new(id, Wire::Maxwell, Vec::new(), context);
    let mut row = columns.image(data)?;
    let rows = match (op, old) {
        (Op::Delete, _) => Rows::Deleted(Some(row)),
        (Op::Update, Some(old)) => {
            let old = columns.image(old)?;
            let certain = nulls_told(&row, &old) || moves(&old, id, context.schema);
            let told = if certain { old.clone() } else { only_certain(&row, &old, id, context.schema) };
            row_of_nulls(&mut row, &old);
            let before = Before::of(&told, &row, certain);
            Rows::Written(row, Some(before))
        }
        _ => Rows::Written(row, None),
    };
    let at = integer(body.ts).and_then(|seconds| seconds.checked_mul(1_000)).filter(|ms| *ms > 0).map(Millis);
    let change = Change { table: id, op, rows, at, binlog: position(body) };
    Ok(Decoded::Changes(smallvec![change]))
}

/// Whether the record shows a null, so that nulls are not left out of it.
fn nulls_told(row: &Image, old: &Image) -> bool {
    row.iter().chain(old.iter()).any(|(_, value)| value == Value::Null)
}

/// A column that had a value and is missing now has become null: Maxwell always tells the columns that changed.
fn row_of_nulls(row: &mut Image, old: &Image) {
    for (name, _) in old.iter() {
        if row.get(name) == Value::Absent {
            row.set(name, Value::Null);
        }
    }
}

/// Where nulls may be left out, a column that `old` does not tell may have been null before. What is certain of the row
/// before is then what `old` tells, and the key columns; all others count as changed (C4).
fn only_certain(row: &Image, old: &Image, id: TableId, schema: &Schema) -> Image {
    row.iter().filter(|(name, _)| is_key(*name, id, schema)).collect::<Image>().overlaid(old)
}

/// A row that moves counts as changed whole; its old half is known by all that is told of it (C5).
fn moves(old: &Image, id: TableId, schema: &Schema) -> bool {
    old.iter().any(|(name, _)| is_key(name, id, schema))
}

fn is_key(name: Name, id: TableId, schema: &Schema) -> bool {
    schema.uses(id).any(|(kind, at)| {
        let table = &kind.tables[at];
        table.id.contains(&name) || table.route.contains(&name)
    })
}

/// `mysql-bin.000012:9120`
fn position(body: &Body<'_>) -> Option<i64> {
    let position = string(body.position)?;
    let (file, at) = position.rsplit_once(':')?;
    binlog(file, at.parse().ok())
}

/// C6: `table-alter` and its like; a rename tells its old name in `table` and its new one in `def`.
fn schema_change(kind: &str, body: &Body<'_>, context: &Context<'_>) -> Result<Decoded, BadRecord> {
    let db = string(body.database).unwrap_or_default();
    let table = string(body.table).unwrap_or_default();
    let schema = context.schema;
    let hit = match kind {
        "table-alter" | "table-drop" => match schema.find(&db, &table) {
            None => renamed_to(body, schema)?,
            hit => hit,
        },
        "database-drop" => ddl::first_of(&db, schema),
        "table-create" | "database-create" | "database-alter" => None,
        other => {
            let found: String = other.chars().take(40).collect();
            let detail = format!("`type` is `{found}`; Maxwell sends insert, update, delete, bootstrap-* and DDL types");
            return Err(BadRecord::new(BadReason::Malformed, detail));
        }
    };
    let sql = string(body.sql).unwrap_or_default();
    Ok(ddl::verdict(hit, &db, &sql, schema))
}

fn renamed_to(body: &Body<'_>, schema: &Schema) -> Result<Option<TableId>, BadRecord> {
    let (mut db, mut table) = (None, None);
    if let Some(def) = object(body.def, "def")? {
        each_member(def, |name, raw| {
            match name.as_ref() {
                "database" => db = string(Some(raw)),
                "table" => table = string(Some(raw)),
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(db.zip(table).and_then(|(db, table)| schema.find(&db, &table)))
}

#[cfg(test)]
mod tests;
