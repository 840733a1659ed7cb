//! Images from a format's row objects: which column is read how, learnt once per table and kept from record to record.
//!
//! Keeps C1 (what stands for a value that was not sent is absent), C2, C8 (the last of two equal members wins). The
//! event's own types go before the declared ones. Knows nothing of where in a record its rows stand.

use super::json::{Inner, Json, each_member};
use super::text::{self, Kind, Unfit, Wire};
use super::{BadReason, BadRecord, Context};
use crate::domain::change::{Before, Image, Value};
use crate::domain::ids::{Name, NameError};
use crate::domain::schema::{ColumnType, Table, TableId};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::{RefCell, RefMut};

/// More columns than a MySQL table can have.
const COLUMNS_MAX: usize = 4096;

/// What Debezium sends for a large value that did not change, plain and as bytes.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
const UNAVAILABLE_BYTES: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";

/// The types a record tells of its columns, in its own order.
pub(super) type Told<'a> = Vec<(Cow<'a, str>, Kind<'a>)>;

/// Columns kept from one record to the next; a table that shows more has generated names, and is learnt anew.
const KEPT_MAX: usize = 512;

/// What one reader has learnt of each table's columns, for one schema: names, and their declared types.
#[derive(Default)]
pub struct Plans(RefCell<Vec<Vec<Column>>>);

impl Plans {
    fn of(&self, table: TableId) -> RefMut<'_, Vec<Column>> {
        RefMut::map(self.0.borrow_mut(), |plans| {
            let at = usize::from(table.0);
            if plans.len() <= at {
                plans.resize_with(at + 1, Vec::new);
            }
            let plan = &mut plans[at];
            if plan.len() > KEPT_MAX {
                plan.clear();
            }
            plan
        })
    }
}

struct Column {
    text: Box<str>,
    name: Name,
    declared: Option<ColumnType>,
}

/// The columns of one table as one record writes them.
pub(super) struct Columns<'a> {
    table: &'a Table,
    wire: Wire,
    told: Told<'a>,
    known: RefMut<'a, Vec<Column>>,
    /// How many were known before this record.
    kept: usize,
}

/// The raw JSON of a row's columns, by their place among the known; empty where the row has none.
type Raws<'a> = SmallVec<[&'a str; 32]>;

impl<'a> Columns<'a> {
    pub(super) fn new(id: TableId, wire: Wire, told: Told<'a>, context: &Context<'a>) -> Self {
        let known = context.plans.of(id);
        Self { table: context.schema.table(id), wire, told, kept: known.len(), known }
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
        let mut next = 0;
        Image::filled(|image| {
            each_member(row, |member, raw| {
                if wanted(&member) {
                    let at = self.find(&member, next)?;
                    next = at + 1;
                    self.put(image, at, raw)?;
                }
                Ok(())
            })
        })
    }

    /// The row after a change, and how it differed before. What is written alike means the same, so only what is not is
    /// read twice.
    ///
    /// # Errors
    /// As [`Columns::image`].
    pub(super) fn images(&mut self, inner: &Inner<'a>, before: &'a str, after: &'a str) -> Result<(Image, Before), BadRecord> {
        let old = self.raws(inner, before, &[])?;
        let new = self.raws(inner, after, &old)?;
        let mut was = Before::default();
        let nothing = "";
        let row = Image::filled(|row| {
            for at in 0..old.len().max(new.len()) {
                let (old, new) = (*old.get(at).unwrap_or(&nothing), *new.get(at).unwrap_or(&nothing));
                if !new.is_empty() {
                    self.put(row, at, new)?;
                }
                if std::ptr::eq(old, new) || old == new {
                    continue;
                }
                let name = self.known[at].name;
                was.told(name, row.get_near(name, at), |image| if old.is_empty() { Ok(()) } else { self.put(image, at, old) })?;
            }
            Ok::<_, BadRecord>(())
        })?;
        Ok((row, was))
    }

    /// The raw values of a row object. Members that `likely` has from the same place need no search.
    fn raws(&mut self, inner: &Inner<'a>, row: &'a str, likely: &[&'a str]) -> Result<Raws<'a>, BadRecord> {
        let mut raws = Raws::new();
        let mut next = 0;
        inner.each_member(row, |member, raw| {
            let at = if likely.get(next).is_some_and(|told| std::ptr::eq(*told, raw)) { next } else { self.find(&member, next)? };
            next = at + 1;
            if raws.len() <= at {
                raws.resize(at + 1, "");
            }
            raws[at] = raw;
            Ok(())
        })?;
        Ok(raws)
    }

    /// Where the column is known; rows of one table nearly always repeat their order, so `hint` is nearly always right.
    fn find(&mut self, member: &str, hint: usize) -> Result<usize, BadRecord> {
        if self.known.get(hint).is_some_and(|c| *c.text == *member) {
            return Ok(hint);
        }
        if let Some(at) = self.known.iter().position(|c| *c.text == *member) {
            return Ok(at);
        }
        if self.known.len() - self.kept == COLUMNS_MAX {
            let detail = format!("table `{}` with more than {COLUMNS_MAX} columns, the most MySQL allows", self.table.name);
            return Err(BadRecord::new(BadReason::TooManyColumns, detail));
        }
        let name = Name::intern(member).map_err(|e| {
            let reason = if e == NameError::TooMany { BadReason::TooManyColumns } else { BadReason::Malformed };
            BadRecord::new(reason, format!("table `{}`: {e}", self.table.name))
        })?;
        let declared = self.table.column_type(name).cloned();
        self.known.push(Column { text: member.into(), name, declared });
        Ok(self.known.len() - 1)
    }

    /// How a column is read: by what the record tells of it, completed by what is declared.
    fn kind(&self, at: usize) -> Kind<'_> {
        let column = &self.known[at];
        let declared = column.declared.as_ref().map(Kind::declared);
        if self.told.is_empty() {
            return declared.unwrap_or(Kind::AsIs);
        }
        let here = self.told.get(at).filter(|(text, _)| **text == *column.text);
        match here.or_else(|| self.told.iter().find(|(text, _)| **text == *column.text)) {
            Some((_, told)) => told.clone().refined(declared),
            None => declared.unwrap_or(Kind::AsIs),
        }
    }

    fn put(&self, image: &mut Image, at: usize, raw: &str) -> Result<(), BadRecord> {
        let column = &self.known[at];
        let value = Json::of(raw).map_err(|e| self.refused(column, raw, &e.detail, e.reason))?;
        match &value {
            Json::Null => {
                image.set(column.name, Value::Null);
                return Ok(());
            }
            Json::Text(text) if self.wire == Wire::Debezium && (text == UNAVAILABLE || text == UNAVAILABLE_BYTES) => {
                return Ok(());
            }
            _ => {}
        }
        match (&value, &self.kind(at)) {
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

    fn refused(&self, column: &Column, raw: &str, why: &str, reason: BadReason) -> BadRecord {
        let declared = match self.table.column_type(column.name) {
            Some(declared) => format!("{declared:?}"),
            None => "not declared".to_owned(),
        };
        let found: String = raw.chars().take(80).collect();
        let (table, name) = (self.table.name, column.name);
        BadRecord::new(reason, format!("table `{table}`, column `{name}` ({declared}): found {found}; {why}"))
    }
}
