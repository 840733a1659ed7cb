//! The wide row: cells with stamps, tombstones, marks; what is alive in it.
//!
//! Keeps M1 (parts by table and child key), M4 through `merge.rs`, M5 (tombstone cells), M6 (alive), M8 (a fill over a
//! fill raises the base), M9 (key columns stand in the row). Knows nothing of stores and packs nothing.

mod keys;

pub use keys::Keys;

use super::change::{Image, Value};
use super::ids::{Millis, Name, RowVersion, Stamp};
use super::merge;
use super::packed::{Packed, Slot};
use super::schema::{RowKind, VersionKind};
use super::version;
use smallvec::SmallVec;

/// A table row's own primary key inside its entity, escaped and joined (M1); empty where cells carry none. Nearly all are
/// short enough to need no allocation.
pub type ChildKey = compact_str::CompactString;

/// Which table row of the entity.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartId {
    /// The table's short name (M1).
    pub table: Name,
    pub child: ChildKey,
}

/// A delete, kept as a cell (M5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tombstone {
    pub stamp: Stamp,
    /// When we wrote it; the purge horizon counts from here.
    pub written: Millis,
    /// R3: a delete that a check took back; it hides nothing.
    pub revoked: bool,
}

/// One column's newest value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell<'a> {
    pub name: Name,
    pub stamp: Stamp,
    /// `None` is SQL null.
    pub value: Option<&'a str>,
}

/// The cells of one table row, packed: two allocations whatever the number of columns.
#[derive(Default)]
pub struct Cells(Packed);

impl Clone for Cells {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
    /// Keeps its own room: a row that is replaced whole is the usual write.
    fn clone_from(&mut self, source: &Self) {
        self.0.clone_from(&source.0);
    }
}

impl Cells {
    pub fn with_capacity(cells: usize, bytes: usize) -> Self {
        Self(Packed::with_capacity(cells, bytes))
    }

    /// Every column of an image at one stamp (M7: changed or not).
    pub fn of_image(image: Image, stamp: Stamp) -> Self {
        let Image(mut packed) = image;
        packed.stamp(stamp);
        Self(packed)
    }

    /// Sets a cell whatever was there; merging is [`Cells::merge`]'s.
    pub fn push(&mut self, cell: Cell<'_>) {
        self.0.set(cell.name, cell.stamp, cell.value);
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

    /// Cells in name order.
    pub fn iter(&self) -> impl Iterator<Item = Cell<'_>> {
        self.0.slots().iter().map(|s| self.cell(*s))
    }

    pub fn get(&self, name: Name) -> Option<Cell<'_>> {
        self.0.find(name).map(|slot| self.cell(slot))
    }

    fn cell(&self, slot: Slot) -> Cell<'_> {
        Cell { name: slot.name, stamp: slot.stamp, value: self.0.value(slot) }
    }

    pub fn highest(&self) -> Option<Stamp> {
        self.0.slots().iter().map(|s| s.stamp).max()
    }

    /// M4, cell by cell. Says how many fills met a fill of another value (M8).
    pub fn merge(&mut self, coming: &Cells) -> u32 {
        if self.replaced_whole_by(coming) {
            self.clone_from(coming);
            return 0;
        }
        let mut refilled = 0;
        let mut out = Cells::with_capacity(self.len() + coming.len(), self.text_bytes() + coming.text_bytes());
        let (mut held, mut new) = (self.0.slots().iter().peekable(), coming.0.slots().iter().peekable());
        loop {
            let cell = match (held.peek(), new.peek()) {
                (None, None) => break,
                (Some(h), None) => (self.cell(**h), held.next()).0,
                (None, Some(n)) => (coming.cell(**n), new.next()).0,
                (Some(h), Some(n)) if h.name < n.name => (self.cell(**h), held.next()).0,
                (Some(h), Some(n)) if h.name > n.name => (coming.cell(**n), new.next()).0,
                (Some(h), Some(n)) => {
                    let (h, n) = (self.cell(**h), coming.cell(**n));
                    held.next();
                    new.next();
                    if h.stamp == n.stamp && n.stamp.is_fill() && h.value != n.value {
                        refilled += 1;
                    }
                    if merge::wins(h.stamp, n.stamp) { n } else { h }
                }
            };
            out.push(cell);
        }
        *self = out;
        refilled
    }

    /// The usual case: an after image with every column we hold, newer than all of them.
    fn replaced_whole_by(&self, coming: &Cells) -> bool {
        let (held, coming) = (self.0.slots(), coming.0.slots());
        let Some(lowest) = coming.iter().map(|s| s.stamp).min() else { return false };
        held.len() == coming.len() && held.iter().zip(coming).all(|(h, n)| h.name == n.name && h.stamp < lowest)
    }

    /// Drops what the tombstone covers (purge, M5); says how many, whose stamps the base takes over (V3).
    pub fn retain_above(&mut self, stamp: Stamp) -> u32 {
        let before = self.len();
        let mut out = Cells::with_capacity(before, self.text_bytes());
        for cell in self.iter().filter(|c| c.stamp > stamp) {
            out.push(cell);
        }
        *self = out;
        (before - self.len()) as u32
    }
}

impl PartialEq for Cells {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}
impl Eq for Cells {}
impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|c| (c.name, (c.stamp.0, c.value)))).finish()
    }
}

/// One table row inside an entity: its cells and its tombstone, if it was ever deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub id: PartId,
    pub tombstone: Option<Tombstone>,
    pub cells: Cells,
}

impl Part {
    pub fn new(id: PartId) -> Self {
        Self { id, tombstone: None, cells: Cells::default() }
    }

    /// M4 for the tombstone and every cell. Says how many fills met a fill of another value (M8).
    pub fn merge(&mut self, coming: &Part) -> u32 {
        if let Some(new) = coming.tombstone
            && self.tombstone.is_none_or(|held| merge::wins(held.stamp, new.stamp))
        {
            self.tombstone = Some(new);
        }
        self.cells.merge(&coming.cells)
    }

    /// The stamp at or below which cells are dead (M5); a revoked tombstone hides nothing.
    pub fn dead_through(&self) -> Option<Stamp> {
        self.tombstone.filter(|t| !t.revoked).map(|t| t.stamp)
    }

    /// M5: alive when any cell lies above the tombstone.
    pub fn is_alive(&self) -> bool {
        let dead = self.dead_through();
        self.cells.iter().any(|c| !merge::is_dead(c.stamp, dead))
    }

    /// A column's value as a reader sees it: dead cells are absent.
    pub fn value(&self, name: Name) -> Value<'_> {
        match self.cells.get(name) {
            Some(cell) if !merge::is_dead(cell.stamp, self.dead_through()) => cell.value.map_or(Value::Null, Value::Text),
            _ => Value::Absent,
        }
    }

    pub fn highest(&self) -> Option<Stamp> {
        self.cells.highest().max(self.tombstone.map(|t| t.stamp))
    }
}

/// One entity's row, or a change to it: merging a row into a row is how every write is applied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WideRow {
    /// M9: the key columns' values.
    pub keys: Keys,
    /// V3: changed only by increments. In a change: by how much.
    pub base: i64,
    /// V1 `counter`. In a change: by how much.
    pub counter: i64,
    /// Marks of the `m` family by name (C5 `moved:…`); the highest stands.
    pub marks: Vec<(String, Stamp)>,
    /// Sorted by [`PartId`].
    pub parts: Parts,
}

/// What a cell takes besides its text, in memory as in an HBase cell block.
const CELL_BYTES: usize = 64;

/// Many a row, and nearly every change, has one.
pub type Parts = SmallVec<[Part; 1]>;

impl WideRow {
    pub fn part(&self, id: &PartId) -> Option<&Part> {
        self.parts.binary_search_by(|p| p.id.cmp(id)).ok().map(|at| &self.parts[at])
    }

    /// The part of this id, made when missing.
    pub fn part_mut(&mut self, id: &PartId) -> &mut Part {
        match self.parts.binary_search_by(|p| p.id.cmp(id)) {
            Ok(at) => &mut self.parts[at],
            Err(at) => {
                self.parts.insert(at, Part::new(id.clone()));
                &mut self.parts[at]
            }
        }
    }

    /// Table rows of one table, by child key.
    pub fn parts_of(&self, table: Name) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |p| p.id.table == table)
    }

    pub fn mark(&self, name: &str) -> Option<Stamp> {
        self.marks.iter().find(|(n, _)| n == name).map(|(_, stamp)| *stamp)
    }

    /// Applies a change: M4 per cell, sums for base and counter, the highest mark; M8's raise of the base.
    pub fn merge(&mut self, change: &WideRow) {
        self.base += change.base;
        self.counter += change.counter;
        if self.keys.is_empty() {
            self.keys = change.keys.clone();
        }
        for (name, stamp) in &change.marks {
            match self.marks.iter_mut().find(|(n, _)| n == name) {
                Some((_, held)) => *held = (*held).max(*stamp),
                None => self.marks.push((name.clone(), *stamp)),
            }
        }
        for part in &change.parts {
            match self.parts.binary_search_by(|p| p.id.cmp(&part.id)) {
                Ok(at) => self.base += i64::from(self.parts[at].merge(part)),
                Err(at) => self.parts.insert(at, part.clone()),
            }
        }
    }

    /// M6: the root table's row is alive; without a root, any table row.
    pub fn is_alive(&self, kind: &RowKind) -> bool {
        match kind.root {
            Some(root) => self.parts_of(kind.tables[root].short).any(Part::is_alive),
            None => self.parts.iter().any(Part::is_alive),
        }
    }

    /// Whether it was ever alive, as far as is known: the root table's row left cells or a tombstone. Without a root every row
    /// was.
    pub fn was_born(&self, kind: &RowKind) -> bool {
        kind.root.is_none_or(|root| self.parts_of(kind.tables[root].short).next().is_some())
    }

    /// V1: computed from this one read (V2).
    pub fn version(&self, kind: VersionKind) -> RowVersion {
        version::of(self, kind)
    }

    /// About what it weighs in bytes wherever it is held or sent: texts, and for each cell what names and stamps it.
    pub fn weight(&self) -> usize {
        let part = |part: &Part| CELL_BYTES + part.id.child.len() + part.cells.text_bytes() + part.cells.len() * CELL_BYTES;
        self.keys.text_bytes() + self.parts.iter().map(part).sum::<usize>() + self.marks.len() * CELL_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.marks.is_empty() && self.base == 0 && self.counter == 0
    }

    /// M5 `purge`: removes what tombstones written before `horizon` cover, and those tombstones; with each the marks of
    /// moves out of its table row, which were written in the same step and so are as old (C5). The base takes over what
    /// the weight loses, so the version does not fall (V3). Says what went.
    pub fn purge(&mut self, horizon: Millis, kind: VersionKind) -> Purged {
        let mut purged = Purged::default();
        let mut marks_of = Vec::new();
        for part in &mut self.parts {
            let Some(tomb) = part.tombstone.filter(|t| t.written < horizon && !t.revoked) else { continue };
            let cells = part.cells.retain_above(tomb.stamp);
            part.tombstone = None;
            marks_of.push(moved_mark(part.id.table, &part.id.child, ""));
            purged.cells += u64::from(cells);
            purged.tombstones += 1;
            if kind == VersionKind::Weight {
                self.base += version::weight_of(tomb.stamp) * (i64::from(cells) + 1);
            } else {
                self.base += 1;
            }
        }
        self.parts.retain(|p| p.tombstone.is_some() || !p.cells.is_empty());
        let before = self.marks.len();
        self.marks.retain(|(name, _)| !marks_of.iter().any(|mark| name.starts_with(mark.as_str())));
        purged.marks += (before - self.marks.len()) as u64;
        purged
    }
}

/// C5: the name of the mark that a row left its old key, by partition.
pub fn moved_mark(table: Name, child: &str, partition: impl std::fmt::Display) -> String {
    format!("moved:{table}:{child}:{partition}")
}

/// What a purge removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    pub cells: u64,
    pub tombstones: u64,
    pub marks: u64,
}
impl Purged {
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Joins and escapes the parts of a composite primary key (M1): `,` between, `%` `:` `,` and control characters escaped.
pub fn child_key<'a>(parts: impl IntoIterator<Item = &'a str>) -> ChildKey {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_alphanumeric();
    let second = parts.next();
    if second.is_none() && first.bytes().all(is_plain) {
        return first.into();
    }
    let mut out = ChildKey::default();
    for (i, part) in [first].into_iter().chain(second).chain(parts).enumerate() {
        if i > 0 {
            out.push(',');
        }
        for c in part.chars() {
            if matches!(c, '%' | ':' | ',') || c.is_control() {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    out.push('%');
                    out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0').to_ascii_uppercase());
                    out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0').to_ascii_uppercase());
                }
            } else {
                out.push(c);
            }
        }
    }
    out
}

/// The parts a child key was joined from.
pub fn child_key_parts(key: &str) -> Vec<String> {
    key.split(',').map(unescape).collect()
}

fn unescape(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
