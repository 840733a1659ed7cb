//! What a row store is asked to write.
//!
//! Plain data between the rooms that decide a write and the door that carries it. Knows nothing of stores.

use super::ids::{RowId, Stamp};
use super::row::{PartId, WideRow};
use std::sync::Arc;

/// One row's change: cells with their stamps, tombstones, marks, and what is added to base and counter (V1, V3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWrite {
    pub row: RowId,
    /// Shared: who sent it keeps it until the answer, and may send it again unchanged (V1).
    pub change: Arc<WideRow>,
}

/// A write that applies only while a condition holds (C5, R3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedWrite {
    pub write: RowWrite,
    /// This table row's highest stamp, tombstone included, is still this one.
    pub part: PartId,
    pub highest: Option<Stamp>,
}
