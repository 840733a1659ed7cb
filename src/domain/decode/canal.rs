//! Canal's flat message: many rows, every value a string, types beside them.
//!
//! Keeps C3 (all rows of the message, in order), C4 and C5 (`old` is a running union over the rows, so it is
//! compared with each), C6 (DDL, QUERY). TIMESTAMP text is in canal's own zone, which must be
//! UTC. A row of a MINIMAL image may lack its key: routing refuses it.

use super::body::{Body, integer, needed, object, string, told};
use super::columns::{Columns, Told};
use super::ddl;
use super::json::{each_element, each_member};
use super::text::{Kind, Unit, Wire};
use super::{BadReason, BadRecord, Context, Decoded, Ignored};
use crate::domain::change::{Before, Change, Image, Op, Rows};
use crate::domain::ids::Millis;
use crate::domain::schema::quoted_list;
use smallvec::SmallVec;
use std::borrow::Cow;

pub(super) fn decode<'a>(body: &Body<'a>, context: &Context<'a>) -> Result<Decoded, BadRecord> {
    let kind = needed(body.kind, "type")?;
    let op = match kind.as_ref() {
        "INSERT" => Op::Insert,
        "UPDATE" => Op::Update,
        "DELETE" => Op::Delete,
        // TiCDC's clock, in the same format.
        "TIDB_WATERMARK" => return Ok(Decoded::Ignored(Ignored::Heartbeat)),
        other => return not_rows(other, body, context),
    };
    let (db, table) = (needed(body.database, "database")?, needed(body.table, "table")?);
    let rows = elements(body.data, "data")?;
    let old = elements(body.old, "old")?;
    if rows.is_empty() && old.is_empty() {
        return Err(BadRecord::new(BadReason::Malformed, format!("`{kind}` without rows: both `data` and `old` are empty")));
    }
    let Some(id) = context.schema.find(&db, &table) else { return Ok(Decoded::Ignored(Ignored::UnknownTable)) };
    let mut columns = Columns::new(id, Wire::Canal, told_types(body.mysql_type)?, context);
    let at = integer(body.es).filter(|ms| *ms > 0).map(Millis);
    let mut changes = SmallVec::with_capacity(rows.len());
    // Some producers put the rows of a delete into `old` and leave `data` null.
    let misplaced = op == Op::Delete && rows.is_empty();
    let (rows, old) = if misplaced { (old, Vec::new()) } else { (rows, old) };
    for (i, row) in rows.into_iter().enumerate() {
        let Some(row) = object(Some(row), "data[]")? else {
            return Err(BadRecord::new(BadReason::Malformed, "`data` holds null where a row must stand"));
        };
        let row = columns.image(row)?;
        let rows = match op {
            Op::Delete => Rows::Deleted(Some(row)),
            Op::Update => {
                let before = before(&row, old.get(i).copied(), &mut columns)?;
                Rows::Written(row, before)
            }
            Op::Insert | Op::Snapshot(_) => Rows::Written(row, None),
        };
        changes.push(Change { table: id, op, rows, at, binlog: None });
    }
    Ok(Decoded::Changes(changes))
}

fn before<'a>(after: &Image, old: Option<&'a str>, columns: &mut Columns<'a>) -> Result<Option<Before>, BadRecord> {
    match object(old, "old[]")? {
        None => Ok(None),
        Some(old) => Ok(Some(Before::of(&columns.image(old)?, after, true))),
    }
}

fn elements<'a>(raw: Option<&'a str>, member: &str) -> Result<Vec<&'a str>, BadRecord> {
    let mut elements = Vec::new();
    match told(raw) {
        None => {}
        Some(array) if array.starts_with('[') => each_element(array, |element| {
            elements.push(element);
            Ok(())
        })?,
        Some(other) => {
            let found: String = other.chars().take(80).collect();
            return Err(BadRecord::new(BadReason::Malformed, format!("`{member}` must be an array or null, found {found}")));
        }
    }
    Ok(elements)
}

/// C6: everything whose type is no row change.
fn not_rows(kind: &str, body: &Body<'_>, context: &Context<'_>) -> Result<Decoded, BadRecord> {
    let destructive = matches!(kind, "ALTER" | "ERASE" | "TRUNCATE" | "RENAME");
    let known = destructive || matches!(kind, "CREATE" | "CINDEX" | "DINDEX" | "QUERY");
    if !known && body.is_ddl != Some("true") {
        let found: String = kind.chars().take(40).collect();
        let detail = format!("`type` is `{found}`; canal sends INSERT, UPDATE, DELETE, QUERY and DDL types");
        return Err(BadRecord::new(BadReason::Malformed, detail));
    }
    // Row annotations are statements of any database, already told by their row events.
    if kind == "QUERY" {
        return Ok(Decoded::Ignored(Ignored::Ddl));
    }
    let (db, table) = (string(body.database).unwrap_or_default(), string(body.table).unwrap_or_default());
    let hit = if destructive { context.schema.find(&db, &table) } else { None };
    Ok(ddl::verdict(hit, &db, &string(body.sql).unwrap_or_default(), context.schema))
}

fn told_types(mysql_type: Option<&str>) -> Result<Told<'_>, BadRecord> {
    let mut types = Vec::with_capacity(24);
    if let Some(section) = object(mysql_type, "mysqlType")? {
        each_member(section, |column, raw| {
            if let Some(kind) = string(Some(raw)).and_then(|text| kind_of(&text)) {
                types.push((column, kind));
            }
            Ok(())
        })?;
    }
    Ok(types)
}

/// How canal writes a column of this MySQL type; `None` for types of no known encoding.
fn kind_of(mysql_type: &str) -> Option<Kind<'static>> {
    let head_end = mysql_type.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(mysql_type.len());
    let (head, rest) = mysql_type.split_at(head_end);
    let args = rest.trim_start().strip_prefix('(').and_then(|r| r.rsplit_once(')')).map(|(args, _)| args);
    let number = |at: usize| args.and_then(|a| a.split(',').nth(at)).and_then(|n| n.trim().parse::<u32>().ok());
    let digits = || Some(number(0).unwrap_or(0).min(6) as u8);
    let labels = || args.and_then(quoted_list).map(Cow::Owned);
    let lower = head.to_ascii_lowercase();
    Some(match lower.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => Kind::Long,
        "decimal" | "numeric" | "dec" => Kind::Decimal { scale: Some(number(1).unwrap_or(0)) },
        "float" | "double" | "real" => Kind::Double,
        "bool" | "boolean" => Kind::Long,
        "date" => Kind::Date,
        "time" => Kind::Time { unit: Unit::Micros, digits: digits() },
        "datetime" => Kind::DateTime { unit: Unit::Millis, digits: digits(), utc: false },
        "timestamp" => Kind::DateTime { unit: Unit::Millis, digits: digits(), utc: true },
        "year" => Kind::Year,
        "json" => Kind::Json,
        "bit" => Kind::Bit { bits: number(0).unwrap_or(1).clamp(1, 64) as u8 },
        "binary" => Kind::Binary { length: number(0).unwrap_or(1).min(255) as usize },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Binary { length: 0 },
        "enum" => Kind::Enum(labels()?),
        "set" => Kind::Set(labels()?),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Kind::AsIs,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
