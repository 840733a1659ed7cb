//! Images from a format's row objects: which column is read how, learnt once per table and kept from record to record.
//!
//! Keeps C1 (what stands for a value that was not sent is absent), C2, C8 (the last of two equal members wins). The
//! event's own types go before the declared ones. Knows nothing of where in a record its rows stand.

use super::json::{Json, Member, Noted, each_member};
use super::text::{self, Kind, Unfit, Wire};
use super::{BadReason, BadRecord, Context};
use crate::domain::change::{Before, Image, Value};
use crate::domain::ids::{Name, NameError};
use crate::domain::schema::{Table, TableId};
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
pub struct Plans {
    columns: RefCell<Vec<Vec<Column>>>,
    /// Of a body, and of the one inside it.
    noted: [RefCell<Noted>; 2],
}

impl Plans {
    pub(super) fn noted(&self, level: usize) -> RefMut<'_, Noted> {
        self.noted[level].borrow_mut()
    }

    fn of(&self, table: TableId) -> RefMut<'_, Vec<Column>> {
        RefMut::map(self.columns.borrow_mut(), |plans| {
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
    declared: Option<Kind<'static>>,
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

/// Which of a row's members tells each column, by the columns' place among the known.
type Places = SmallVec<[Option<u32>; 32]>;

/// The member that tells the column at `at`.
fn member<'m>(row: &'m [Member], places: &Places, at: usize) -> Option<&'m Member> {
    places.get(at).copied().flatten().map(|place| &row[place as usize])
}

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
                    self.put(image, at, raw, Json::of(raw))?;
                }
                Ok(())
            })
        })
    }

    /// The row after a change, and how it differed before; both are members of the body. What is written alike means the same,
    /// so only what is not is read twice.
    ///
    /// # Errors
    /// As [`Columns::image`].
    pub(super) fn images(
        &mut self,
        body: &'a str,
        before: &'a str,
        after: &'a str,
        noted: &Noted,
    ) -> Result<(Image, Before), BadRecord> {
        let (old, new) = (noted.of(body, before), noted.of(body, after));
        let old_places = self.places(body, old, |_, _| false)?;
        let told_before = |at, new: &Member| member(old, &old_places, at).is_some_and(|old| old.is(new));
        let new_places = self.places(body, new, told_before)?;
        let mut was = Before::default();
        let row = Image::filled(|row| {
            for at in 0..old_places.len().max(new_places.len()) {
                let (old, new) = (member(old, &old_places, at), member(new, &new_places, at));
                if let Some(new) = new {
                    self.put(row, at, new.raw(body), new.json(body))?;
                }
                let same = match (old, new) {
                    (Some(old), Some(new)) => old.is(new) || old.raw(body) == new.raw(body),
                    (old, new) => old.is_none() && new.is_none(),
                };
                if same {
                    continue;
                }
                let name = self.known[at].name;
                was.told(name, row.get_near(name, at), |image| match old {
                    Some(old) => self.put(image, at, old.raw(body), old.json(body)),
                    None => Ok(()),
                })?;
            }
            Ok::<_, BadRecord>(())
        })?;
        Ok((row, was))
    }

    /// Where each column stands in a row. A member of which `known` says that it tells the next column need not be searched.
    fn places(&mut self, body: &'a str, row: &[Member], known: impl Fn(usize, &Member) -> bool) -> Result<Places, BadRecord> {
        let mut places = Places::new();
        let mut next = 0;
        for (place, member) in row.iter().enumerate() {
            let at = if known(next, member) { next } else { self.find(&member.name(body)?, next)? };
            next = at + 1;
            match places.get_mut(at) {
                Some(held) => *held = Some(place as u32),
                None => {
                    places.resize(at, None);
                    places.push(Some(place as u32));
                }
            }
        }
        Ok(places)
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
        let declared = self.table.column_type(name).map(|declared| Kind::declared(declared).into_owned());
        self.known.push(Column { text: member.into(), name, declared });
        Ok(self.known.len() - 1)
    }

    /// How a column is read: by what the record tells of it, completed by what is declared.
    fn kind(&self, at: usize) -> Cow<'_, Kind<'a>> {
        let column = &self.known[at];
        if !self.told.is_empty() {
            let here = self.told.get(at).filter(|(text, _)| **text == *column.text);
            if let Some((_, told)) = here.or_else(|| self.told.iter().find(|(text, _)| **text == *column.text)) {
                return Cow::Owned(told.clone().refined(column.declared.clone()));
            }
        }
        Cow::Borrowed(column.declared.as_ref().unwrap_or(&Kind::AsIs))
    }

    fn put(&self, image: &mut Image, at: usize, raw: &str, value: Result<Json<'_>, BadRecord>) -> Result<(), BadRecord> {
        let column = &self.known[at];
        let value = value.map_err(|e| self.refused(column, raw, &e.detail, e.reason))?;
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
        match (&value, &*self.kind(at)) {
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
