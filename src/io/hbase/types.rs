//! What callers say: gets, puts, mutations of a row, conditions, scans; in `tables.rs` what they say of tables and servers.
//!
//! Mutations hold their cells in wire form, written once when they are built and copied into each frame that carries them.
//! Knows nothing of servers.

use super::cell::{Cell, CellError, CellRun, CellType, LATEST, check_row};
use super::pb;
use bytes::Bytes;

mod tables;

pub use tables::{
    Address, ClusterStatus, Ensured, FamilyDescriptor, ServerLives, TableDescriptor, TableName, TableNameError, TableState,
};

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Durability {
    /// As the table says.
    #[default]
    Table,
    /// Not logged: gone with its server unless flushed.
    Skip,
    /// Logged soon after the answer.
    Async,
    /// Logged by all of the log's servers before the answer.
    Sync,
    /// The same, and on their disks.
    Fsync,
}

impl Durability {
    pub(super) const fn code(self) -> i32 {
        match self {
            Self::Table => 0,
            Self::Skip => 1,
            Self::Async => 2,
            Self::Sync => 3,
            Self::Fsync => 4,
        }
    }
}

/// From, included, to, not included, in the cells' own timestamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeRange {
    pub from: i64,
    pub to: i64,
}

impl TimeRange {
    pub(super) fn to_pb(self) -> pb::TimeRange {
        pb::TimeRange { from: Some(self.from.max(0) as u64), to: Some(self.to.max(0) as u64) }
    }
}

/// A server-side filter: its Java class and serialized form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    pub class: String,
    pub serialized: Bytes,
}

impl Filter {
    pub(super) fn to_pb(&self) -> pb::Filter {
        pb::Filter { name: self.class.clone(), serialized_filter: Some(self.serialized.clone()) }
    }
}

/// Which cells of a row: a family, whole or some qualifiers of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Columns {
    pub family: Bytes,
    /// Empty: every one.
    pub qualifiers: Vec<Bytes>,
}

impl Columns {
    /// A whole family.
    pub fn family(name: impl Into<Bytes>) -> Self {
        Self { family: name.into(), qualifiers: Vec::new() }
    }

    pub(super) fn to_pb(&self) -> pb::Column {
        pb::Column { family: self.family.clone(), qualifier: self.qualifiers.clone() }
    }
}

/// One row to read, as of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Get {
    pub row: Bytes,
    /// Empty: the whole row.
    pub columns: Vec<Columns>,
    /// Of each column, newest first; 1 unless said otherwise.
    pub max_versions: u32,
    pub time_range: Option<TimeRange>,
    pub filter: Option<Filter>,
    /// Also what is hidden or overwritten and still there, as many puts of a column as `max_versions` says, and delete markers
    /// (HBase's `Scan.setRaw`). Of whole families only.
    pub raw: bool,
}

impl Get {
    /// The newest cells of the whole row.
    pub fn new(row: impl Into<Bytes>) -> Self {
        Self { row: row.into(), columns: Vec::new(), max_versions: 1, time_range: None, filter: None, raw: false }
    }

    pub(super) fn to_pb(&self) -> pb::Get {
        pb::Get {
            row: self.row.clone(),
            column: self.columns.iter().map(Columns::to_pb).collect(),
            attribute: self.raw.then(raw).into_iter().collect(),
            filter: self.filter.as_ref().map(Filter::to_pb),
            time_range: self.time_range.map(TimeRange::to_pb),
            max_versions: (self.max_versions != 1).then_some(self.max_versions),
            cache_blocks: None,
            existence_only: None,
        }
    }
}

/// `Scan.RAW_ATTR`, which a get hands on to the scan that a region server makes of it.
fn raw() -> pb::NameBytesPair {
    pb::NameBytesPair { name: "_raw_".into(), value: Some(Bytes::from_static(&[0xff])) }
}

/// Cells to be put into one row. Sending it twice is as sending it once: the cells carry their timestamps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    pub(super) row: Bytes,
    pub(super) cells: CellRun,
    pub(super) durability: Durability,
}

impl Put {
    /// # Errors
    /// The row key is empty or too long.
    pub fn new(row: impl Into<Bytes>, durability: Durability) -> Result<Self, CellError> {
        Self::with_capacity(row, durability, 0)
    }

    /// The same with room for cells of this many bytes together.
    ///
    /// # Errors
    /// As [`Put::new`].
    pub fn with_capacity(row: impl Into<Bytes>, durability: Durability, bytes: usize) -> Result<Self, CellError> {
        let row = row.into();
        check_row(&row)?;
        Ok(Self { row, cells: CellRun::with_capacity(bytes), durability })
    }

    /// One cell more.
    ///
    /// # Errors
    /// A part is too long, or the timestamp negative.
    pub fn cell(&mut self, family: &[u8], qualifier: &[u8], timestamp: i64, value: &[u8]) -> Result<(), CellError> {
        self.cells.push(&self.row, family, qualifier, timestamp, CellType::Put, value)
    }

    pub fn row(&self) -> &Bytes {
        &self.row
    }

    /// Cells so far.
    pub fn count(&self) -> u32 {
        self.cells.count()
    }
}

/// What a mutation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MutationKind {
    Increment = 1,
    Put = 2,
    Delete = 3,
}

/// One mutation among those of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mutation {
    pub(super) kind: MutationKind,
    pub(super) cells: CellRun,
    pub(super) durability: Durability,
}

/// Puts, increments and deletes of one row, done together or not at all.
///
/// Increments are sent with a nonce, so that a reply that got lost does not make them count twice while the region stays
/// where it is. A region that moves in between, or a server that dies, can make them count twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowMutations {
    pub(super) row: Bytes,
    pub(super) mutations: Vec<Mutation>,
    /// Ask for the increments' results; off unless wanted.
    pub wants_results: bool,
}

impl RowMutations {
    /// # Errors
    /// The row key is empty or too long.
    pub fn new(row: impl Into<Bytes>) -> Result<Self, CellError> {
        let row = row.into();
        check_row(&row)?;
        Ok(Self { row, mutations: Vec::new(), wants_results: false })
    }

    pub fn row(&self) -> &Bytes {
        &self.row
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// A cell to put. Cells of one durability in a row travel as one mutation.
    ///
    /// # Errors
    /// A part is too long, or the timestamp negative.
    pub fn put(
        &mut self,
        durability: Durability,
        family: &[u8],
        qualifier: &[u8],
        timestamp: i64,
        value: &[u8],
    ) -> Result<(), CellError> {
        self.push(MutationKind::Put, durability, family, qualifier, timestamp, CellType::Put, value)
    }

    /// Adds to a counter cell of eight bytes. Two increments of one cell in one `RowMutations` lose the first.
    ///
    /// # Errors
    /// A part is too long.
    pub fn increment(&mut self, durability: Durability, family: &[u8], qualifier: &[u8], by: i64) -> Result<(), CellError> {
        self.push(MutationKind::Increment, durability, family, qualifier, LATEST, CellType::Put, &by.to_be_bytes())
    }

    /// A delete marker: `kind` says what it hides. With the timestamp [`LATEST`] the server's clock decides, which hides
    /// every cell stamped with smaller numbers.
    ///
    /// # Errors
    /// A part is too long, or the timestamp negative.
    pub fn delete(
        &mut self,
        durability: Durability,
        kind: CellType,
        family: &[u8],
        qualifier: &[u8],
        timestamp: i64,
    ) -> Result<(), CellError> {
        self.push(MutationKind::Delete, durability, family, qualifier, timestamp, kind, b"")
    }

    #[expect(clippy::too_many_arguments, reason = "a cell has that many parts")]
    fn push(
        &mut self,
        kind: MutationKind,
        durability: Durability,
        family: &[u8],
        qualifier: &[u8],
        timestamp: i64,
        cell: CellType,
        value: &[u8],
    ) -> Result<(), CellError> {
        match self.mutations.last_mut() {
            Some(last) if last.kind == kind && last.durability == durability => {
                last.cells.push(&self.row, family, qualifier, timestamp, cell, value)
            }
            _ => {
                let mut cells = CellRun::default();
                cells.push(&self.row, family, qualifier, timestamp, cell, value)?;
                self.mutations.push(Mutation { kind, cells, durability });
                Ok(())
            }
        }
    }
}

/// How the given value must stand to the stored one: `Less` means *given < stored*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    Less = 0,
    LessOrEqual = 1,
    Equal = 2,
    NotEqual = 3,
    GreaterOrEqual = 4,
    Greater = 5,
}

/// What must hold of the row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// A cell compares so with this value. A cell that is not there holds for no comparison.
    Value { family: Bytes, qualifier: Bytes, compare: Compare, value: Bytes, time_range: Option<TimeRange> },
    /// There is no such cell, or, with a time range, none stamped within it.
    Absent { family: Bytes, qualifier: Bytes, time_range: Option<TimeRange> },
    /// A get of the row under this filter answers something.
    Filter { filter: Filter, time_range: Option<TimeRange> },
}

impl Condition {
    pub(super) fn to_pb(&self, row: &Bytes) -> pb::Condition {
        const PACKAGE: &str = "org.apache.hadoop.hbase.filter.";
        let mut out = pb::Condition { row: row.clone(), ..Default::default() };
        let range = match self {
            Self::Value { family, qualifier, compare, value, time_range } => {
                let comparable = pb::ByteArrayComparable { value: Some(value.clone()) };
                let serialized = prost::Message::encode_to_vec(&pb::BinaryComparator { comparable });
                out.family = Some(family.clone());
                out.qualifier = Some(qualifier.clone());
                out.compare_type = Some(*compare as i32);
                out.comparator = Some(pb::Comparator {
                    name: format!("{PACKAGE}BinaryComparator"),
                    serialized_comparator: Some(serialized.into()),
                });
                time_range
            }
            Self::Absent { family, qualifier, time_range } => {
                out.family = Some(family.clone());
                out.qualifier = Some(qualifier.clone());
                out.compare_type = Some(Compare::Equal as i32);
                let name = format!("{PACKAGE}NullComparator");
                out.comparator = Some(pb::Comparator { name, serialized_comparator: Some(Bytes::new()) });
                time_range
            }
            Self::Filter { filter, time_range } => {
                out.filter = Some(filter.to_pb());
                time_range
            }
        };
        out.time_range = range.map(TimeRange::to_pb);
        out
    }
}

/// Mutations of one row that are done only if a condition holds, in one step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckAndMutate {
    pub condition: Condition,
    pub mutations: RowMutations,
}

/// A stretch of rows in key order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Included; empty is the table's start.
    pub start: Bytes,
    /// Not included; empty is the table's end.
    pub stop: Bytes,
    /// Empty: whole rows.
    pub columns: Vec<Columns>,
    /// At most this many rows in a page; at least one is asked for.
    pub rows_max: usize,
    /// A page ends after the row that brings it to this many bytes.
    pub bytes_max: usize,
    /// Of each column, newest first; 1 unless said otherwise.
    pub max_versions: u32,
    pub time_range: Option<TimeRange>,
    pub filter: Option<Filter>,
    /// Keep what is read in the server's cache; a sweep had better not.
    pub cache_blocks: bool,
}

impl Scan {
    /// Whole rows from `start` on.
    pub fn from(start: impl Into<Bytes>, rows_max: usize) -> Self {
        Self {
            start: start.into(),
            stop: Bytes::new(),
            columns: Vec::new(),
            rows_max,
            bytes_max: 16 << 20,
            max_versions: 1,
            time_range: None,
            filter: None,
            cache_blocks: false,
        }
    }
}

/// What one page of a scan found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScanPage {
    /// Each row's cells; no row is without one.
    pub rows: Vec<Vec<Cell>>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Bytes>,
}
