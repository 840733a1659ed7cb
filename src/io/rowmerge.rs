//! One change into one held row, for every store that merges itself.
//!
//! Keeps M4 by `WideRow::merge`, and M9: where the key columns of a change are not those the row holds, two entities share
//! one row key, and that is told.

use crate::domain::ids::RowId;
use crate::domain::row::WideRow;
use crate::telemetry::RowKeyClash;

/// Merges a change into what is held under `row`.
pub(super) fn merge(row: &RowId, held: &mut WideRow, change: &WideRow) {
    if held.keys != change.keys && !held.keys.is_empty() && !change.keys.is_empty() {
        let detail = format!("the row holds {:?}, the change says {:?}", held.keys, change.keys);
        RowKeyClash { kind: row.kind, row: &row.key, detail: &detail }.emit();
    }
    held.merge(change);
}
