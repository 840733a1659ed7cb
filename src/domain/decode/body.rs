//! The members of a record's body that any format knows, borrowed, and which format they speak of.
//!
//! Knows nothing of what the members mean.

use super::json::{Json, Noted};
use super::{BadReason, BadRecord};
use std::borrow::Cow;

/// The known members of one JSON object, each as its raw JSON text; the last of two equal names stands (C8).
#[derive(Default)]
pub(super) struct Body<'a> {
    /// The whole object.
    pub(super) text: &'a str,
    /// How many members it has.
    pub(super) members: usize,
    /// A member that ExtractNewRecordState adds.
    pub(super) unwrapped: bool,
    pub(super) schema: Option<&'a str>,
    pub(super) payload: Option<&'a str>,
    pub(super) before: Option<&'a str>,
    pub(super) after: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) op: Option<&'a str>,
    pub(super) ddl: Option<&'a str>,
    pub(super) table_changes: Option<&'a str>,
    pub(super) database_name: Option<&'a str>,
    pub(super) status: Option<&'a str>,
    pub(super) event_count: Option<&'a str>,
    pub(super) ts_ms: Option<&'a str>,
    pub(super) is_ddl: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) database: Option<&'a str>,
    pub(super) table: Option<&'a str>,
    pub(super) data: Option<&'a str>,
    pub(super) old: Option<&'a str>,
    pub(super) mysql_type: Option<&'a str>,
    pub(super) sql: Option<&'a str>,
    pub(super) es: Option<&'a str>,
    pub(super) ts: Option<&'a str>,
    pub(super) position: Option<&'a str>,
    pub(super) def: Option<&'a str>,
    pub(super) encrypted: Option<&'a str>,
}

/// What a body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Debezium,
    /// What ExtractNewRecordState leaves of a Debezium event.
    Unwrapped,
    Canal,
    Maxwell,
}

impl<'a> Body<'a> {
    /// Reads an object's members; what those hold that are objects themselves is noted.
    ///
    /// # Errors
    /// [`BadReason::NotJson`].
    pub(super) fn read(text: &'a str, noted: &mut Noted) -> Result<Self, BadRecord> {
        let mut body = Self { text, ..Self::default() };
        noted.read(text, |name, raw| {
            body.members += 1;
            if let Some(slot) = body.slot(&name) {
                *slot = Some(raw);
            }
        })?;
        Ok(body)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "before" => &mut self.before,
            "after" => &mut self.after,
            "source" => &mut self.source,
            "op" => &mut self.op,
            "ts_ms" => &mut self.ts_ms,
            "schema" => &mut self.schema,
            "payload" => &mut self.payload,
            "data" => &mut self.data,
            "old" => &mut self.old,
            "type" => &mut self.kind,
            "database" => &mut self.database,
            "table" => &mut self.table,
            "isDdl" => &mut self.is_ddl,
            "mysqlType" => &mut self.mysql_type,
            "es" => &mut self.es,
            "ts" => &mut self.ts,
            "sql" => &mut self.sql,
            "position" => &mut self.position,
            "def" => &mut self.def,
            "encrypted" => &mut self.encrypted,
            "ddl" => &mut self.ddl,
            "tableChanges" => &mut self.table_changes,
            "databaseName" => &mut self.database_name,
            "status" => &mut self.status,
            "event_count" => &mut self.event_count,
            "__op" | "__deleted" => {
                self.unwrapped = true;
                return None;
            }
            _ => return None,
        })
    }

    /// Which format this is, by its members alone.
    pub(super) fn shape(&self) -> Option<Shape> {
        let debezium = (self.op.is_some() && self.source.is_some())
            || (self.ddl.is_some() && self.source.is_some())
            || (self.status.is_some() && self.event_count.is_some())
            || (self.ts_ms.is_some() && self.members == 1);
        // Canal's types are in capitals, Maxwell's never.
        let lower = |raw: Option<&str>| raw.and_then(|r| r.as_bytes().get(1)).is_some_and(u8::is_ascii_lowercase);
        let encrypted = self.encrypted.is_some_and(|e| e.starts_with('{'));
        if self.unwrapped {
            Some(Shape::Unwrapped)
        } else if debezium {
            Some(Shape::Debezium)
        } else if self.is_ddl.is_some() && self.kind.is_some() {
            Some(Shape::Canal)
        } else if encrypted || (self.database.is_some() && self.ts.is_some() && lower(self.kind)) {
            Some(Shape::Maxwell)
        } else {
            None
        }
    }
}

/// A member that is there and not null.
pub(super) fn told(raw: Option<&str>) -> Option<&str> {
    raw.filter(|r| *r != "null")
}

/// The text of a member that is a string.
pub(super) fn string<'a>(raw: Option<&'a str>) -> Option<Cow<'a, str>> {
    match Json::of(raw?) {
        Ok(Json::Text(text)) => Some(text),
        _ => None,
    }
}

/// The text of a member that must be a string.
///
/// # Errors
/// [`BadReason::Malformed`] with the member's name.
pub(super) fn needed<'a>(raw: Option<&'a str>, member: &str) -> Result<Cow<'a, str>, BadRecord> {
    string(raw).ok_or_else(|| {
        let found: String = raw.unwrap_or("nothing").chars().take(80).collect();
        BadRecord::new(BadReason::Malformed, format!("`{member}` must be a string, found {found}"))
    })
}

/// A member that is a row object; null is no row.
///
/// # Errors
/// [`BadReason::Malformed`] for anything else.
pub(super) fn object<'a>(raw: Option<&'a str>, member: &str) -> Result<Option<&'a str>, BadRecord> {
    match told(raw) {
        None => Ok(None),
        Some(object) if object.starts_with('{') => Ok(Some(object)),
        Some(other) => {
            let found: String = other.chars().take(80).collect();
            Err(BadRecord::new(BadReason::Malformed, format!("`{member}` must be an object or null, found {found}")))
        }
    }
}

/// A whole number, from a number or its text.
pub(super) fn integer(raw: Option<&str>) -> Option<i64> {
    told(raw)?.trim_matches('"').parse().ok()
}

/// Binlog file number × 2^32 + position (E2); `mysql-bin.000012` is file 12.
pub(super) fn binlog(file: &str, position: Option<i64>) -> Option<i64> {
    let (_, number) = file.rsplit_once('.')?;
    let number = number.parse::<i64>().ok().filter(|n| (0..1 << 30).contains(n))?;
    let position = position.filter(|p| (0..1 << 32).contains(p))?;
    Some((number << 32) + position)
}
