//! The door to the wide rows (2.2 to 2.6).

use super::Answer;
use crate::domain::fault::Fault;
use crate::domain::ids::{Name, RowId, RowKey, RowVersion};
use crate::domain::row::{Purged, WideRow};
pub use crate::domain::write::{CheckedWrite, RowWrite};
use std::time::Duration;

/// What became of one row of a batch.
pub type WriteOutcome = Result<(), Fault>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    Applied,
    /// The condition did not hold; nothing was written.
    Refused,
}

/// A row as one read saw it; its version is computed from this value and no other (V2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    pub row: RowId,
    pub content: WideRow,
}

/// One stretch of a scan.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub rows: Vec<StoredRow>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<RowKey>,
}

/// Where wide rows live. Every call may be repeated: writes merge (M4).
pub trait RowStore: Send + Sync {
    /// Merges each write into its row; atomic per row, acknowledged as durable as the store's WAL mode says (W1).
    /// Outcomes in the order of the batch. A row that fails does not keep the others back.
    fn write(&self, batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>>;

    /// Content of one moment per row (V2); `None` where nothing was ever written.
    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>>;

    /// One write under a condition, always synced.
    fn write_checked(&self, write: CheckedWrite) -> Answer<'_, Result<Checked, Fault>>;

    /// Rows of a kind in key order, from `from` (included) to `to` (not included).
    fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Answer<'_, Result<Page, Fault>>;

    /// Purges one row (M5) in one atomic step; says what went.
    fn purge(&self, row: RowId, horizon: Horizon) -> Answer<'_, Result<Purged, Fault>>;

    /// A value of our own kept beside the rows: fingerprints (E5), epochs, topic state.
    fn meta(&self, key: &str) -> Answer<'_, Result<Option<String>, Fault>>;

    /// Compare and set of such a value; says whether it was set.
    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Answer<'_, Result<bool, Fault>>;

    /// W2: every write acknowledged before this call is durable once it answers. It fails when some of them may be gone;
    /// [`RowStore::losses`] has risen then.
    fn make_durable(&self) -> Answer<'_, Result<(), Fault>>;

    /// W3: how often, as far as this process has seen, writes that were acknowledged and not made durable may have been lost.
    /// A store that logs every write loses none.
    fn losses(&self) -> u64 {
        0
    }

    /// How long commits had better lie apart, because [`RowStore::make_durable`] is dear. Whoever cannot wait may call it any
    /// time.
    fn commit_pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Rows that exist, by kind, where the store knows it cheaply.
    fn approximate_rows(&self, kind: Name) -> Option<u64>;
}

/// What a purge may remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Tombstones written before this wall time.
    pub written_before: crate::domain::ids::Millis,
}

/// The version a reader gives a row it read: `None` for a row never written.
pub fn version_of(row: Option<&WideRow>, kind: crate::domain::schema::VersionKind) -> RowVersion {
    row.map_or(RowVersion(0), |row| row.version(kind))
}
