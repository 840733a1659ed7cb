//! A decoded row change: what happened to one row of one table.
//!
//! Keeps C1 (value, null and absent are three things) and C2 (values are canonical text, never floats).
//! Knows nothing of formats, entities or stamps.

use super::ids::{Millis, Name, Stamp};
use super::schema::TableId;
use smallvec::SmallVec;

/// One column's state in one image (C1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Not told; never erases what is known.
    Absent,
    Null,
    /// Canonical text (C2): what MySQL prints, binary as base64.
    Text(&'a str),
}

impl<'a> Value<'a> {
    pub fn text(self) -> Option<&'a str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Absent | Value::Null => None,
        }
    }
}

/// The columns of one row at one moment, packed: two allocations whatever the number of columns.
#[derive(Clone, Default)]
pub struct Image {
    pub(super) slots: Vec<Slot>,
    pub(super) text: String,
}

/// Where a column's text lies. Images and cells share it, so that an image becomes cells where it stands.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) name: Name,
    /// Of a cell; an image's columns have none yet.
    pub(super) stamp: Stamp,
    pub(super) start: u32,
    /// [`NULL`] marks SQL null.
    pub(super) len: u32,
}
pub(super) const NULL: u32 = u32::MAX;

impl Image {
    pub fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self { slots: Vec::with_capacity(columns), text: String::with_capacity(bytes) }
    }

    /// Sets a column; the last one told wins (C8). `Absent` tells nothing.
    pub fn set(&mut self, name: Name, value: Value<'_>) {
        let slot = match value {
            Value::Absent => return,
            Value::Null => Slot { name, stamp: Stamp::default(), start: 0, len: NULL },
            Value::Text(text) => {
                let start = self.text.len() as u32;
                self.text.push_str(text);
                Slot { name, stamp: Stamp::default(), start, len: text.len() as u32 }
            }
        };
        self.place(slot);
    }

    /// Sets a column to text that `write` appends in place.
    pub fn set_with(&mut self, name: Name, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        let len = (self.text.len() - start) as u32;
        self.place(Slot { name, stamp: Stamp::default(), start: start as u32, len });
    }

    fn place(&mut self, slot: Slot) {
        // Wire order is nearly always the order names were first met in, so this is nearly always a push.
        match self.slots.last() {
            Some(last) if last.name >= slot.name => match self.slots.binary_search_by_key(&slot.name, |s| s.name) {
                Ok(at) => self.slots[at] = slot,
                Err(at) => self.slots.insert(at, slot),
            },
            _ => self.slots.push(slot),
        }
    }

    pub fn get(&self, name: Name) -> Value<'_> {
        match self.slots.binary_search_by_key(&name, |s| s.name) {
            Ok(at) => self.value(self.slots[at]),
            Err(_) => Value::Absent,
        }
    }

    /// As [`Image::get`], looking at one place first.
    pub fn get_near(&self, name: Name, hint: usize) -> Value<'_> {
        match self.slots.get(hint) {
            Some(slot) if slot.name == name => self.value(*slot),
            _ => self.get(name),
        }
    }

    fn value(&self, slot: Slot) -> Value<'_> {
        if slot.len == NULL {
            return Value::Null;
        }
        let start = slot.start as usize;
        Value::Text(&self.text[start..start + slot.len as usize])
    }

    /// Columns that are told, in name order; never `Absent`.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Value<'_>)> {
        self.slots.iter().map(|slot| (slot.name, self.value(*slot)))
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// `self` with every column `over` tells replaced: a before image from an after image and the producer's old values (C5).
    pub fn overlaid(&self, over: &Image) -> Image {
        let mut out = self.clone();
        for (name, value) in over.iter() {
            out.set(name, value);
        }
        out
    }

    fn unset(&mut self, name: Name) {
        self.slots.retain(|slot| slot.name != name);
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}
impl Eq for Image {}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(Name, Value<'a>)> for Image {
    fn from_iter<I: IntoIterator<Item = (Name, Value<'a>)>>(columns: I) -> Self {
        let mut image = Self::default();
        for (name, value) in columns {
            image.set(name, value);
        }
        image
    }
}

/// Room for the columns that a change usually changes, and for their text.
const FEW_COLUMNS: usize = 8;
const SHORT_BYTES: usize = 16;

/// How the row before a change differed from the row after it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Before {
    /// Columns that had another value, or that are told of the row before alone.
    told: Image,
    /// Columns that are told of the row after alone.
    untold: SmallVec<[Name; 2]>,
}

impl Before {
    /// From what is told of the row before, whole or in part; `rest`: what it does not tell was as it is now.
    pub fn of(told: &Image, after: &Image, rest: bool) -> Self {
        let differs = |(name, value): &(Name, Value<'_>)| after.get(*name) != *value;
        let untold = after.iter().map(|(name, _)| name).filter(|name| !rest && told.get(*name) == Value::Absent).collect();
        Self { told: told.iter().filter(differs).collect(), untold }
    }

    /// Notes a column of the row before by what `tell` sets in an image, unless it is as in the row after.
    pub(super) fn told<E>(
        &mut self,
        name: Name,
        now: Value<'_>,
        tell: impl FnOnce(&mut Image) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.told.slots.capacity() == 0 {
            self.told = Image::with_capacity(FEW_COLUMNS, FEW_COLUMNS * SHORT_BYTES);
        }
        tell(&mut self.told)?;
        let was = self.told.get(name);
        if was == Value::Absent && now != Value::Absent {
            self.untold.push(name);
        } else if was == now {
            self.told.unset(name);
        }
        Ok(())
    }

    /// Whether the column's value was another.
    pub fn differs(&self, name: Name) -> bool {
        self.told.get(name) != Value::Absent || self.untold.contains(&name)
    }

    /// C4: the columns that a change to `after` changed: told of both rows, or of `after` alone.
    pub fn changed(&self, after: &Image) -> SmallVec<[Name; 8]> {
        let told = self.told.iter().map(|(name, _)| name).filter(|name| after.get(*name) != Value::Absent);
        told.chain(self.untold.iter().copied()).collect()
    }

    /// The whole row before the change.
    pub fn whole(&self, after: &Image) -> Image {
        let kept = after.iter().filter(|(name, _)| !self.untold.contains(name));
        kept.collect::<Image>().overlaid(&self.told)
    }
}

/// What happened to the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Insert,
    Update,
    Delete,
    /// A row read from a table rather than from the binlog.
    Snapshot(Snapshot),
}

/// How a snapshot row is ordered against live changes (M8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Snapshot {
    /// The topic already orders it: its own position counts.
    Ordered,
    /// It fills only what no live change has written.
    Fill,
}

/// The rows that a change tells.
#[derive(Clone, Debug)]
pub enum Rows {
    /// The row that is gone, if it is told.
    Deleted(Option<Image>),
    /// The row after the change, and how it differed before. The latter is `None` on inserts and snapshots, and where the
    /// format tells nothing: then every column counts as changed (C4).
    Written(Image, Option<Before>),
}

/// One row's insert, update, delete or snapshot read, decoded.
#[derive(Clone, Debug)]
pub struct Change {
    pub table: TableId,
    pub op: Op,
    pub rows: Rows,
    /// When the database made the change, as the format tells it; whole seconds in most. Never orders anything.
    pub at: Option<Millis>,
    /// Binlog file number × 2^32 + position, where the format tells both (E2 `position`).
    pub binlog: Option<i64>,
}

impl Change {
    /// The whole row before the change, where it is told (C5).
    pub fn before(&self) -> Option<Image> {
        match &self.rows {
            Rows::Deleted(row) => row.clone(),
            Rows::Written(after, before) => before.as_ref().map(|before| before.whole(after)),
        }
    }

    /// The row after it; `None` of deletes.
    pub fn after(&self) -> Option<&Image> {
        match &self.rows {
            Rows::Deleted(_) => None,
            Rows::Written(after, _) => Some(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(columns: &[(&str, Option<&str>)]) -> Image {
        columns.iter().map(|(n, v)| (Name::of(n), v.map_or(Value::Null, Value::Text))).collect()
    }

    #[test]
    fn absent_null_and_value_differ_and_the_last_told_wins() {
        let mut row = image(&[("b", Some("1")), ("a", None)]);
        assert_eq!(row.get(Name::of("a")), Value::Null);
        assert_eq!(row.get(Name::of("c")), Value::Absent);
        row.set(Name::of("a"), Value::Text("x"));
        row.set(Name::of("a"), Value::Absent);
        assert_eq!(row.get(Name::of("a")), Value::Text("x"), "C1: absent never erases");
        assert_eq!(row.len(), 2);
    }

    /// Goal: what a change changed, and the row before it, come out of the differences alone (C4, C5). Method: two images,
    /// whole and in part.
    #[test]
    fn differences_tell_the_row_before() {
        let before = image(&[("id", Some("1")), ("note", Some("x")), ("qty", Some("2")), ("gone", Some("g"))]);
        let after = image(&[("id", Some("1")), ("note", None), ("qty", Some("2")), ("new", Some("n"))]);
        let differs = Before::of(&before, &after, false);
        let mut changed: Vec<_> = differs.changed(&after).iter().map(|n| n.as_str()).collect();
        changed.sort_unstable();
        assert_eq!(changed, ["new", "note"]);
        assert_eq!(differs.whole(&after), before);
        assert!(differs.differs(Name::of("new")) && differs.differs(Name::of("gone")) && !differs.differs(Name::of("qty")));
        let part = Before::of(&image(&[("note", Some("x")), ("qty", Some("2"))]), &after, true);
        assert_eq!(part.changed(&after).as_slice(), [Name::of("note")]);
        assert_eq!(part.whole(&after), after.overlaid(&image(&[("note", Some("x"))])));
    }
}
