//! Debezium's envelope, with schemas or without, its side topics, and what ExtractNewRecordState leaves of it.
//!
//! Keeps C5 (a key change comes as two records, each with its image), C6 (tombstones, heartbeats, transactions, DDL,
//! signals), M8 (op `r` is ordered by its topic). An unwrapped row has no before image. Types are those of Debezium's
//! default modes where the record carries no schema.

use super::body::{Body, binlog, integer, needed, object, string, told};
use super::columns::{Columns, Told};
use super::ddl;
use super::json::{each_element, each_member};
use super::text::{Kind, Unit, Wire};
use super::{BadReason, BadRecord, Context, Decoded, Ignored};
use crate::domain::change::{Change, Op, Rows, Snapshot};
use crate::domain::ids::Millis;
use smallvec::smallvec;
use std::borrow::Cow;

/// One envelope or side-topic record; `types` is its schema section, if it has one.
pub(super) fn decode<'a>(body: &Body<'a>, types: Option<&'a str>, context: &Context<'a>) -> Result<Decoded, BadRecord> {
    if body.op.is_none() {
        return side_topic(body, context);
    }
    let source = Source::read(needed_object(body.source, "source")?, body, context)?;
    let op = needed(body.op, "op")?;
    if op == "m" {
        // A logical message speaks of no table.
        return Ok(Decoded::Ignored(Ignored::Marker));
    }
    let (db, table) = (needed(source.db, "source.db")?, needed(source.table, "source.table")?);
    let known = context.schema.find(&db, &table);
    let (before, after) = (object(body.before, "before")?, object(body.after, "after")?);
    let Some(id) = known else {
        check_op(&op)?;
        let signal = after.is_some_and(is_signal);
        return Ok(Decoded::Ignored(if signal { Ignored::Marker } else { Ignored::UnknownTable }));
    };
    let table = context.schema.table(id);
    let op = match op.as_ref() {
        "c" => Op::Insert,
        "u" => Op::Update,
        "d" => Op::Delete,
        "r" => Op::Snapshot(context.snapshot(Snapshot::Ordered)),
        "t" => return Ok(Decoded::Ignored(Ignored::Destructive { table: table.name })),
        _ => return check_op(&op).map(|()| Decoded::Ignored(Ignored::Marker)),
    };
    let row = if op == Op::Delete { "before" } else { "after" };
    let types = types.map(|section| told_types(section, row)).transpose()?.unwrap_or_default();
    let mut columns = Columns::new(id, Wire::Debezium, types, context);
    let rows = match (op, before) {
        (Op::Delete, before) => Rows::Deleted(before.map(|row| columns.image(row)).transpose()?),
        (Op::Update, Some(before)) => {
            let (after, before) = columns.images(body.text, before, needed_object(after, "after")?, context.noted)?;
            Rows::Written(after, Some(before))
        }
        _ => Rows::Written(columns.image(needed_object(after, "after")?)?, None),
    };
    let change = Change { table: id, op, rows, at: source.at(), binlog: source.binlog() };
    Ok(Decoded::Changes(smallvec![change]))
}

fn needed_object<'a>(raw: Option<&'a str>, member: &str) -> Result<&'a str, BadRecord> {
    object(raw, member)?.ok_or_else(|| BadRecord::new(BadReason::Malformed, format!("`{member}` is missing or null")))
}

fn check_op(op: &str) -> Result<(), BadRecord> {
    if matches!(op, "c" | "u" | "d" | "r" | "t") {
        return Ok(());
    }
    let found: String = op.chars().take(40).collect();
    Err(BadRecord::new(BadReason::Malformed, format!("`op` is `{found}`; Debezium sends c, u, d, r, t or m")))
}

/// The source block, as far as it is read.
#[derive(Default)]
struct Source<'a> {
    db: Option<&'a str>,
    table: Option<&'a str>,
    ts_ms: Option<&'a str>,
    file: Option<&'a str>,
    pos: Option<&'a str>,
    snapshot: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn read(raw: &'a str, body: &Body<'a>, context: &Context<'_>) -> Result<Self, BadRecord> {
        let mut source = Self::default();
        context.noted.each_member(body.text, raw, |name, raw| {
            match name.as_ref() {
                "db" => source.db = Some(raw),
                "table" => source.table = Some(raw),
                "ts_ms" => source.ts_ms = Some(raw),
                "file" => source.file = Some(raw),
                "pos" => source.pos = Some(raw),
                "snapshot" => source.snapshot = Some(raw),
                _ => {}
            }
            Ok(())
        })?;
        Ok(source)
    }

    /// The database's time; 0 is sent in some snapshots and tells nothing.
    fn at(&self) -> Option<Millis> {
        integer(self.ts_ms).filter(|ms| *ms > 0).map(Millis)
    }

    fn binlog(&self) -> Option<i64> {
        binlog(&string(self.file)?, integer(self.pos))
    }

    /// Older versions send a boolean, or nothing when false.
    fn in_snapshot(&self) -> bool {
        told(self.snapshot).is_some_and(|s| !matches!(s, "\"false\"" | "false"))
    }
}

/// Heartbeats, transaction markers and DDL: everything without `op`.
fn side_topic(body: &Body<'_>, context: &Context<'_>) -> Result<Decoded, BadRecord> {
    if body.ddl.is_some() && body.source.is_some() {
        return schema_change(body, context);
    }
    if body.status.is_some() && body.event_count.is_some() {
        return Ok(Decoded::Ignored(Ignored::Transaction));
    }
    let topic = context.record.partition.topic.as_str();
    let key = context.record.key.as_deref().unwrap_or_default();
    if body.members == 1 && (topic.contains("heartbeat") || contains(key, b"\"serverName\"")) {
        return Ok(Decoded::Ignored(Ignored::Heartbeat));
    }
    Err(BadRecord::new(
        BadReason::UnknownFormat,
        "neither a row event (`op`, `source`), DDL, a transaction marker nor a heartbeat of Debezium",
    ))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// C6: DDL. What a snapshot replays of it harms nothing; afterwards it may.
fn schema_change(body: &Body<'_>, context: &Context<'_>) -> Result<Decoded, BadRecord> {
    let source = Source::read(needed_object(body.source, "source")?, body, context)?;
    if source.in_snapshot() {
        return Ok(Decoded::Ignored(Ignored::Ddl));
    }
    let db = string(body.database_name).or_else(|| string(source.db)).unwrap_or_default();
    let sql = string(body.ddl).unwrap_or_default();
    let mut hit = None;
    if let Some(changes) = told(body.table_changes) {
        each_element(changes, |change| {
            let (mut kind, mut id) = (None, None);
            each_member(change, |name, raw| {
                match name.as_ref() {
                    "type" => kind = string(Some(raw)),
                    "id" => id = string(Some(raw)),
                    _ => {}
                }
                Ok(())
            })?;
            if let (Some("ALTER" | "DROP"), Some(id)) = (kind.as_deref(), id) {
                // `"shop"."orders"`
                let id = id.replace('"', "");
                if let Some((db, table)) = id.split_once('.') {
                    hit = hit.or(context.schema.find(db, table));
                }
            }
            Ok(())
        })?;
    }
    Ok(ddl::verdict(hit, &db, &sql, context.schema))
}

/// Whether a row of an unconfigured table is one of the signals that Debezium writes to itself.
fn is_signal(row: &str) -> bool {
    let (mut members, mut signal) = (0, false);
    let read = each_member(row, |name, raw| {
        members += 1;
        signal |= name == "type"
            && matches!(
                raw.trim_matches('"'),
                "snapshot-window-open"
                    | "snapshot-window-close"
                    | "execute-snapshot"
                    | "stop-snapshot"
                    | "pause-snapshot"
                    | "resume-snapshot"
            );
        Ok(())
    });
    read.is_ok() && signal && members == 3
}

/// Members that ExtractNewRecordState adds to the row, by their default prefix.
const ADDED: &str = "__";

/// A row that ExtractNewRecordState took out of its envelope. The database comes from `__db`, else from the topic
/// (`prefix.db.table`).
pub(super) fn decode_unwrapped<'a>(row: &'a str, types: Option<&'a str>, context: &Context<'a>) -> Result<Decoded, BadRecord> {
    let (mut source, mut op, mut deleted) = (Source::default(), None, false);
    each_member(row, |name, raw| {
        match name.as_ref() {
            "__op" => op = string(Some(raw)),
            "__deleted" => deleted = matches!(raw, "\"true\"" | "true"),
            "__db" | "__source_db" => source.db = Some(raw),
            "__table" | "__source_table" => source.table = Some(raw),
            "__source_ts_ms" => source.ts_ms = Some(raw),
            "__source_file" => source.file = Some(raw),
            "__source_pos" => source.pos = Some(raw),
            _ => {}
        }
        Ok(())
    })?;
    let mut segments = context.record.partition.topic.as_str().rsplit('.');
    let (last, second) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let table = string(source.table).unwrap_or(Cow::Borrowed(last));
    let db = string(source.db).unwrap_or(Cow::Borrowed(second));
    let Some(id) = context.schema.find(&db, &table) else { return Ok(Decoded::Ignored(Ignored::UnknownTable)) };
    let table = context.schema.table(id);
    let op = match op.as_deref() {
        _ if deleted => Op::Delete,
        Some("d") => Op::Delete,
        Some("c") => Op::Insert,
        Some("u") | None => Op::Update,
        Some("r") => Op::Snapshot(context.snapshot(Snapshot::Ordered)),
        Some("t") => return Ok(Decoded::Ignored(Ignored::Destructive { table: table.name })),
        Some(other) => return check_op(other).map(|()| Decoded::Ignored(Ignored::Marker)),
    };
    let types = types.map(fields_of).transpose()?.unwrap_or_default();
    let image = Columns::new(id, Wire::Debezium, types, context).image_of(row, |name| !name.starts_with(ADDED))?;
    let rows = if op == Op::Delete { Rows::Deleted(Some(image)) } else { Rows::Written(image, None) };
    let change = Change { table: id, op, rows, at: source.at(), binlog: source.binlog() };
    Ok(Decoded::Changes(smallvec![change]))
}

/// The types of `row` (`before` or `after`) in an envelope's schema section.
fn told_types<'a>(section: &'a str, row: &str) -> Result<Told<'a>, BadRecord> {
    let mut told = Vec::new();
    each_field(section, |field| {
        if string(field.field).as_deref() == Some(row) {
            told = fields_of(field.text)?;
        }
        Ok(())
    })?;
    Ok(told)
}

/// The types a struct's schema tells of its fields.
fn fields_of(section: &str) -> Result<Told<'_>, BadRecord> {
    let mut told = Vec::with_capacity(24);
    each_field(section, |field| {
        if let (Some(column), Some(kind)) = (string(field.field), field.kind()?) {
            told.push((column, kind));
        }
        Ok(())
    })?;
    Ok(told)
}

/// One field of a Connect schema, each member as its raw JSON.
#[derive(Default)]
struct Field<'a> {
    text: &'a str,
    field: Option<&'a str>,
    kind: Option<&'a str>,
    name: Option<&'a str>,
    parameters: Option<&'a str>,
}

fn each_field<'a>(section: &'a str, mut each: impl FnMut(Field<'a>) -> Result<(), BadRecord>) -> Result<(), BadRecord> {
    each_member(section, |name, raw| {
        if name != "fields" || told(Some(raw)).is_none() {
            return Ok(());
        }
        each_element(raw, |text| {
            let mut field = Field { text, ..Field::default() };
            each_member(text, |name, raw| {
                match name.as_ref() {
                    "field" => field.field = Some(raw),
                    "type" => field.kind = Some(raw),
                    "name" => field.name = Some(raw),
                    "parameters" => field.parameters = Some(raw),
                    _ => {}
                }
                Ok(())
            })?;
            each(field)
        })
    })
}

impl<'a> Field<'a> {
    /// How values of this field are read; `None` where the schema tells nothing we know.
    fn kind(&self) -> Result<Option<Kind<'a>>, BadRecord> {
        let time = |unit| Kind::Time { unit, digits: None };
        let date_time = |unit| Kind::DateTime { unit, digits: None, utc: false };
        let name = string(self.name).unwrap_or_default();
        let base = string(self.kind).unwrap_or_default();
        let logical = match name.rsplit_once('.') {
            Some(("io.debezium.time" | "io.debezium.data" | "org.apache.kafka.connect.data", logical)) => logical,
            _ => "",
        };
        let connect = name.starts_with("org.apache.");
        Ok(Some(match (logical, base.as_ref()) {
            ("Decimal", _) => Kind::Decimal { scale: self.parameter("scale")? },
            ("Bits", _) => Kind::Bit { bits: self.parameter("length")?.and_then(|n| u8::try_from(n).ok()).unwrap_or(64) },
            ("Json", _) => Kind::Json,
            ("Enum", _) => Kind::Enum(Cow::Borrowed(&[])),
            ("EnumSet", _) => Kind::Set(Cow::Borrowed(&[])),
            ("Date" | "IsoDate", _) => Kind::Date,
            ("Time", _) => time(Unit::Millis),
            ("MicroTime" | "ZonedTime" | "IsoTime", _) => time(Unit::Micros),
            ("NanoTime", _) => time(Unit::Nanos),
            ("Timestamp" | "IsoTimestamp", _) => date_time(Unit::Millis),
            ("MicroTimestamp", _) => date_time(Unit::Micros),
            ("NanoTimestamp", _) => date_time(Unit::Nanos),
            ("ZonedTimestamp", _) => Kind::DateTime { unit: Unit::Millis, digits: None, utc: true },
            ("Year", _) => Kind::Year,
            (_, _) if connect => return Ok(None),
            (_, "int8" | "int16" | "int32" | "int64") => Kind::Long,
            (_, "float" | "double") => Kind::Double,
            (_, "boolean") => Kind::Bool,
            (_, "bytes") => Kind::Binary { length: 0 },
            (_, "string") => Kind::AsIs,
            _ => return Ok(None),
        }))
    }

    fn parameter(&self, wanted: &str) -> Result<Option<u32>, BadRecord> {
        let mut found = None;
        if let Some(parameters) = object(self.parameters, "parameters")? {
            each_member(parameters, |name, raw| {
                if name == wanted {
                    found = integer(Some(raw)).and_then(|n| u32::try_from(n).ok());
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
