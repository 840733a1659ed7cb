//! Images from a format's row objects: which column is read how, learnt once per record.
//!
//! Keeps C1 (what stands for a value that was not sent is absent), C2, C8 (the last of two equal members wins). The
//! event's own types go before the declared ones. Knows nothing of where in a record its rows stand.

use super::json::{Json, each_member};
use super::text::{self, Kind, Unfit, Wire};
use super::{BadReason, BadRecord};
use crate::domain::change::{Image, Value};
use crate::domain::ids::{Name, NameError};
use crate::domain::schema::Table;
use std::borrow::Cow;

/// More columns than a MySQL table can have.
const COLUMNS_MAX: usize = 4096;

/// What Debezium sends for a large value that did not change, plain and as bytes.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
const UNAVAILABLE_BYTES: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";

/// The types a record tells of its columns, in its own order.
pub(super) type Told<'a> = Vec<(Cow<'a, str>, Kind<'a>)>;

/// The columns of one table as one record writes them.
pub(super) struct Columns<'a> {
    table: &'a Table,
    wire: Wire,
    told: Told<'a>,
    known: Vec<Column<'a>>,
}

struct Column<'a> {
    text: Cow<'a, str>,
    name: Name,
    kind: Kind<'a>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(table: &'a Table, wire: Wire, told: Told<'a>) -> Self {
        Self { table, wire, known: Vec::with_capacity(told.len().max(24)), told }
    }

    /// The image of one row object.
    ///
    /// # Errors
    /// [`BadReason::BadValue`] with the column, what was found and what is allowed; too many columns or too long names.
    pub(super) fn image(&mut self, row: &'a str) -> Result<Image, BadRecord> {
        self.image_of(row, |_| true)
    }

    /// The image of the members `wanted` says yes to.
    pub(super) fn image_of(&mut self, row: &'a str, wanted: impl Fn(&str) -> bool) -> Result<Image, BadRecord> {
        let mut image = Image::with_capacity(self.known.len().max(16), row.len());
        let mut next = 0;
        each_member(row, |member, raw| {
            if wanted(&member) {
                let at = self.find(member, next)?;
                next = at + 1;
                self.put(&mut image, at, raw)?;
            }
            Ok(())
        })?;
        Ok(image)
    }

    /// Where the column is known; rows of one record nearly always repeat their order, so `hint` is nearly always right.
    fn find(&mut self, member: Cow<'a, str>, hint: usize) -> Result<usize, BadRecord> {
        if self.known.get(hint).is_some_and(|c| c.text == member) {
            return Ok(hint);
        }
        if let Some(at) = self.known.iter().position(|c| c.text == member) {
            return Ok(at);
        }
        if self.known.len() == COLUMNS_MAX {
            let detail = format!("table `{}` with more than {COLUMNS_MAX} columns, the most MySQL allows", self.table.name);
            return Err(BadRecord::new(BadReason::TooManyColumns, detail));
        }
        let name = Name::intern(&member).map_err(|e| {
            let reason = if e == NameError::TooMany { BadReason::TooManyColumns } else { BadReason::Malformed };
            BadRecord::new(reason, format!("table `{}`: {e}", self.table.name))
        })?;
        let declared = self.table.column_type(name).map(Kind::declared);
        let at = self.known.len();
        let here = self.told.get(at).filter(|(text, _)| *text == member);
        let kind = match here.or_else(|| self.told.iter().find(|(text, _)| *text == member)) {
            Some((_, told)) => told.clone().refined(declared),
            None => declared.unwrap_or(Kind::AsIs),
        };
        self.known.push(Column { text: member, name, kind });
        Ok(at)
    }

    fn put(&self, image: &mut Image, at: usize, raw: &str) -> Result<(), BadRecord> {
        let column = &self.known[at];
        let value = Json::of(raw).map_err(|e| self.refused(column, raw, &e.detail, e.reason))?;
        match (&value, &column.kind) {
            (Json::Null, _) => image.set(column.name, Value::Null),
            (Json::Text(text), _) if self.wire == Wire::Debezium && (text == UNAVAILABLE || text == UNAVAILABLE_BYTES) => {}
            (Json::Text(text), Kind::AsIs) => image.set(column.name, Value::Text(text)),
            (Json::Number(number), Kind::AsIs) => image.set(column.name, Value::Text(number)),
            (value, kind) => {
                let mut fit = Ok(());
                image.set_with(column.name, |out| fit = text::write(out, value, kind, self.wire));
                fit.map_err(|Unfit(allowed)| self.refused(column, raw, &format!("allowed: {allowed}"), BadReason::BadValue))?;
            }
        }
        Ok(())
    }

    fn refused(&self, column: &Column<'_>, raw: &str, why: &str, reason: BadReason) -> BadRecord {
        let declared = match self.table.column_type(column.name) {
            Some(declared) => format!("{declared:?}"),
            None => "not declared".to_owned(),
        };
        let found: String = raw.chars().take(80).collect();
        let (table, name) = (self.table.name, column.name);
        BadRecord::new(reason, format!("table `{table}`, column `{name}` ({declared}): found {found}; {why}"))
    }
}
