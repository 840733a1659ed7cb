//! The law of versions (V4): G(t, v) > v for every applied change t and version v.
//!
//! Keeps V1 for both kinds and V3 through what `row.rs` adds to the base. The law is the property test.

use super::ids::{RowVersion, Stamp};
use super::row::WideRow;
use super::schema::VersionKind;

/// V1: what one data cell adds to a row's weight. Stamp + 1, so that a cell at stamp 0 (a fill of epoch 0) counts too.
pub fn weight_of(stamp: Stamp) -> i64 {
    stamp.0 + 1
}

/// V1: the sum over the row's data cells, tombstones included.
pub fn weight(row: &WideRow) -> i64 {
    row.parts
        .iter()
        .map(|part| {
            let cells: i64 = part.cells.iter().map(|c| weight_of(c.stamp)).sum();
            cells + part.tombstone.map_or(0, |t| weight_of(t.stamp))
        })
        .sum()
}

/// V1: base + (weight | counter).
pub fn of(row: &WideRow, kind: VersionKind) -> RowVersion {
    RowVersion(
        row.base
            + match kind {
                VersionKind::Weight => weight(row),
                VersionKind::Counter => row.counter,
            },
    )
}
