//! A decoded row change: what happened to one row of one table.
//!
//! Keeps C1 (value, null and absent are three things) and C2 (values are canonical text, never floats).
//! Knows nothing of formats, entities or stamps.

use super::ids::{Millis, Name, Stamp};
use super::packed::{Packed, Slot};
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
pub struct Image(pub(super) Packed);

impl Image {
    pub fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self(Packed::with_capacity(columns, bytes))
    }

    /// What `fill` sets, in room of just that size; copies of it share the room.
    pub(super) fn filled<E>(fill: impl FnOnce(&mut Image) -> Result<(), E>) -> Result<Self, E> {
        let mut image = Self(Packed::in_used_room());
        let filled = fill(&mut image).map(|()| Self(image.0.to_shared()));
        image.0.give_back();
        filled
    }

    /// Sets a column; the last one told wins (C8). `Absent` tells nothing.
    pub fn set(&mut self, name: Name, value: Value<'_>) {
        if value != Value::Absent {
            self.0.set(name, Stamp::default(), value.text());
        }
    }

    /// Sets a column to text that `write` appends in place.
    pub fn set_with(&mut self, name: Name, write: impl FnOnce(&mut String)) {
        self.0.set_with(name, Stamp::default(), write);
    }

    pub fn get(&self, name: Name) -> Value<'_> {
        self.0.find(name).map_or(Value::Absent, |slot| self.value(slot))
    }

    /// As [`Image::get`], looking at one place first.
    pub fn get_near(&self, name: Name, hint: usize) -> Value<'_> {
        match self.0.slots().get(hint) {
            Some(slot) if slot.name == name => self.value(*slot),
            _ => self.get(name),
        }
    }

    fn value(&self, slot: Slot) -> Value<'_> {
        self.0.value(slot).map_or(Value::Null, Value::Text)
    }

    /// Columns that are told, in name order; never `Absent`.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Value<'_>)> {
        self.0.slots().iter().map(|slot| (slot.name, self.value(*slot)))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn text_bytes(&self) -> usize {
        self.0.text_bytes()
    }

    /// `self` with every column `over` tells replaced: a before image from an after image and the producer's old values (C5).
    pub fn overlaid(&self, over: &Image) -> Image {
        let mut out = self.clone();
        for (name, value) in over.iter() {
            out.set(name, value);
        }
        out
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
        if !self.told.0.has_room() {
            // Differences last from one record's decoding to its routing: the room of the last ones does for the next.
            self.told = Image(Packed::in_used_room());
        }
        tell(&mut self.told)?;
        let was = self.told.get(name);
        if was == Value::Absent && now != Value::Absent {
            self.untold.push(name);
        } else if was == now {
            self.told.0.unset(name);
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

impl Drop for Before {
    fn drop(&mut self) {
        std::mem::take(&mut self.told.0).give_back();
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
