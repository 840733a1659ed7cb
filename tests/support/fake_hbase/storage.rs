//! Cells of one table as HBase keeps them: timestamps, delete markers, versions, what is in files, what is in the log.
//!
//! The highest timestamp answers; of equal ones the later write. A marker hides what lies at or below it whatever the order
//! of arrival, until a major compaction takes it away. A crash loses what is neither flushed nor logged. Knows no regions.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use widerow::io::hbase::cell::{Cell, CellType, LATEST};
use widerow::io::hbase::pb;

/// Family and qualifier.
type Column = (Bytes, Bytes);
type Row = BTreeMap<Column, Vec<Stored>>;

/// How far a write is safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log {
    Never,
    /// Safe once its server has synced this or a later sequence number.
    Later,
    Synced,
}

impl Log {
    /// From the number in a mutation: a table's own durability is a synced log here.
    pub fn of(durability: Option<i32>) -> Self {
        match durability {
            Some(1) => Self::Never,
            Some(2) => Self::Later,
            _ => Self::Synced,
        }
    }
}

#[derive(Clone, Debug)]
struct Stored {
    timestamp: i64,
    kind: CellType,
    value: Bytes,
    seq: u64,
    log: Log,
    in_file: bool,
}

impl Stored {
    fn cell(&self, row: &Bytes, column: &Column) -> Cell {
        let (family, qualifier) = column.clone();
        let (timestamp, kind, value) = (self.timestamp, self.kind, self.value.clone());
        Cell { row: row.clone(), family, qualifier, timestamp, kind, value }
    }
}

/// Which cells a reader wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Families with their qualifiers (none: all of them); empty: every family.
    pub columns: Vec<pb::Column>,
    pub versions: usize,
    pub range: (i64, i64),
    /// Also what is hidden, and markers.
    pub raw: bool,
}

impl Wanted {
    pub fn of(columns: &[pb::Column], versions: Option<u32>, range: Option<pb::TimeRange>) -> Self {
        let bound = |n: Option<u64>, none| n.map_or(none, |n| i64::try_from(n).unwrap_or(i64::MAX));
        let range = range.map_or((0, i64::MAX), |r| (bound(r.from, 0), bound(r.to, i64::MAX)));
        Self { columns: columns.to_vec(), versions: versions.unwrap_or(1) as usize, range, raw: false }
    }

    pub fn all() -> Self {
        Self::of(&[], None, None)
    }

    fn takes(&self, column: &Column) -> bool {
        self.columns.is_empty()
            || self.columns.iter().any(|c| c.family == column.0 && (c.qualifier.is_empty() || c.qualifier.contains(&column.1)))
    }
}

/// A table's families (with the versions each keeps) and rows.
pub struct Storage {
    pub families: BTreeMap<Bytes, usize>,
    rows: BTreeMap<Bytes, Row>,
}

/// A stretch of rows: from, included, to, not included; empty is open.
pub type Stretch<'a> = (&'a Bytes, &'a Bytes);

impl Storage {
    /// An empty table of these families.
    pub fn new(families: BTreeMap<Bytes, usize>) -> Self {
        Self { families, rows: BTreeMap::new() }
    }

    /// Writes one cell; [`LATEST`] stands for `now`.
    pub fn write(&mut self, cell: &Cell, seq: u64, log: Log, now: i64) {
        let row = self.rows.entry(cell.row.clone()).or_default();
        let family_wide = matches!(cell.kind, CellType::DeleteFamily | CellType::DeleteFamilyVersion);
        let column = (cell.family.clone(), if family_wide { Bytes::new() } else { cell.qualifier.clone() });
        let newest = row.get(&column).and_then(|c| c.iter().filter(|s| s.kind == CellType::Put).map(|s| s.timestamp).max());
        let timestamp = match (cell.timestamp, cell.kind) {
            // Deleting "the latest version" costs the server a read.
            (LATEST, CellType::Delete) => newest.unwrap_or(now),
            (LATEST, _) => now,
            (given, _) => given,
        };
        let stored = Stored { timestamp, kind: cell.kind, value: cell.value.clone(), seq, log, in_file: false };
        row.entry(column).or_default().push(stored);
    }

    /// The cells of a row, in column order, newest first; empty where there is none.
    pub fn read(&self, key: &Bytes, wanted: &Wanted) -> Vec<Cell> {
        let Some(row) = self.rows.get(key) else { return Vec::new() };
        let mut out = Vec::new();
        for (column, stored) in row.iter().filter(|(column, _)| wanted.takes(column)) {
            let in_range = |s: &&Stored| s.timestamp >= wanted.range.0 && s.timestamp < wanted.range.1;
            if wanted.raw {
                let lying = as_they_lie(stored.iter().filter(in_range), wanted.versions);
                out.extend(lying.into_iter().map(|s| s.cell(key, column)));
                continue;
            }
            let kept = self.families.get(&column.0).copied().unwrap_or(1);
            let hidden = Hidden::by(row, column, |_| true);
            let mut puts = newest_first(stored.iter().filter(in_range));
            puts.retain(|s| !hidden.hides(s));
            out.extend(puts.into_iter().take(wanted.versions.min(kept)).map(|s| s.cell(key, column)));
        }
        out
    }

    /// Keys of rows that may hold something, in order.
    pub fn keys<'a>(&'a self, stretch: Stretch<'_>) -> impl DoubleEndedIterator<Item = &'a Bytes> {
        self.rows.range(bounds(stretch)).map(|(key, _)| key)
    }

    /// Memory goes to files; versions beyond those kept go away.
    pub fn flush(&mut self, stretch: Stretch<'_>) {
        for (_, row) in self.rows.range_mut(bounds(stretch)) {
            prune(&self.families, row, |s| !s.in_file, false);
            row.values_mut().flatten().for_each(|s| s.in_file = true);
        }
    }

    /// Files become one: markers go, and with them what they hid there. What is in memory stays as it is.
    pub fn compact(&mut self, stretch: Stretch<'_>) {
        for (_, row) in self.rows.range_mut(bounds(stretch)) {
            prune(&self.families, row, |s| s.in_file, true);
        }
        self.rows.retain(|_, row| !row.is_empty());
    }

    /// A server died that had synced its log through `synced`.
    pub fn crash(&mut self, stretch: Stretch<'_>, synced: u64) {
        for (_, row) in self.rows.range_mut(bounds(stretch)) {
            for stored in row.values_mut() {
                stored.retain(|s| s.in_file || s.log == Log::Synced || (s.log == Log::Later && s.seq <= synced));
            }
            row.retain(|_, stored| !stored.is_empty());
        }
        self.rows.retain(|_, row| !row.is_empty());
    }
}

fn bounds((from, to): Stretch<'_>) -> (Bound<Bytes>, Bound<Bytes>) {
    let to = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded((*to).clone().max(from.clone())) };
    (Bound::Included(from.clone()), to)
}

/// One put per timestamp, the later write; highest timestamp first.
fn newest_first<'a>(stored: impl Iterator<Item = &'a Stored>) -> Vec<&'a Stored> {
    let mut puts: Vec<&Stored> = stored.filter(|s| s.kind == CellType::Put).collect();
    puts.sort_by_key(|s| std::cmp::Reverse((s.timestamp, s.seq)));
    puts.dedup_by_key(|s| s.timestamp);
    puts
}

/// Puts and markers of a column until there would be more puts than asked for; one of each kind per timestamp, the later
/// write, and markers before puts.
fn as_they_lie<'a>(stored: impl Iterator<Item = &'a Stored>, versions: usize) -> Vec<&'a Stored> {
    let mut all: Vec<&Stored> = stored.collect();
    all.sort_by_key(|s| std::cmp::Reverse((s.timestamp, s.kind as u8, s.seq)));
    all.dedup_by_key(|s| (s.timestamp, s.kind));
    let mut puts = 0;
    let goes_on = |s: &&Stored| {
        puts += usize::from(s.kind == CellType::Put);
        puts <= versions
    };
    all.into_iter().take_while(goes_on).collect()
}

/// What a column's markers and its family's hide.
struct Hidden {
    below: i64,
    exactly: BTreeSet<i64>,
}

impl Hidden {
    fn by(row: &Row, column: &Column, counts: impl Fn(&Stored) -> bool) -> Self {
        let mut hidden = Self { below: -1, exactly: BTreeSet::new() };
        let family = (column.0.clone(), Bytes::new());
        let of_family = row.get(&family).into_iter().flatten();
        let of_column = row.get(column).into_iter().flatten();
        let of_family = of_family.filter(|s| matches!(s.kind, CellType::DeleteFamily | CellType::DeleteFamilyVersion));
        let of_column = of_column.filter(|s| matches!(s.kind, CellType::Delete | CellType::DeleteColumn));
        for marker in of_family.chain(of_column).filter(|s| counts(s)) {
            match marker.kind {
                CellType::DeleteFamily | CellType::DeleteColumn => hidden.below = hidden.below.max(marker.timestamp),
                _ => drop(hidden.exactly.insert(marker.timestamp)),
            }
        }
        hidden
    }

    fn hides(&self, put: &Stored) -> bool {
        put.timestamp <= self.below || self.exactly.contains(&put.timestamp)
    }
}

/// Drops hidden puts and versions too many among the cells that take part; markers too when `markers` says so.
fn prune(families: &BTreeMap<Bytes, usize>, row: &mut Row, takes_part: impl Fn(&Stored) -> bool, markers: bool) {
    let mut kept: Vec<(Column, BTreeSet<u64>)> = Vec::new();
    for (column, stored) in row.iter() {
        let hidden = Hidden::by(row, column, &takes_part);
        let mut puts = newest_first(stored.iter().filter(|s| takes_part(s)));
        puts.retain(|s| !hidden.hides(s));
        let versions = families.get(&column.0).copied().unwrap_or(1);
        kept.push((column.clone(), puts.into_iter().take(versions).map(|s| s.seq).collect()));
    }
    for (column, puts) in kept {
        let Some(stored) = row.get_mut(&column) else { continue };
        stored.retain(|s| !takes_part(s) || if s.kind == CellType::Put { puts.contains(&s.seq) } else { !markers });
    }
    row.retain(|_, stored| !stored.is_empty());
}
