//! Changes of one chunk of records, grouped by row: one message per entity and batch.

use crate::domain::ids::{RecordOffset, RowId};
use crate::domain::quick::QuickMap;
use crate::domain::route::RowChange;
use crate::messages::entity::{ApplyChanges, RowDirectory};
use crate::messages::ticket::TicketHome;
use smallvec::SmallVec;
use std::sync::Arc;

/// Changes of one chunk, grouped by row in order of first mention.
#[derive(Default)]
pub(super) struct RowBatch {
    rows: Vec<ApplyChanges>,
    index: QuickMap<RowId, usize>,
}

impl RowBatch {
    pub(super) fn add(&mut self, changes: impl IntoIterator<Item = RowChange>, at: RecordOffset, home: &Arc<TicketHome>) {
        for change in changes {
            let slot = *self.index.entry(change.row.clone()).or_insert_with(|| {
                self.rows.push(ApplyChanges { row: change.row.clone(), changes: SmallVec::new() });
                self.rows.len() - 1
            });
            self.rows[slot].changes.push((change, home.ticket(at)));
        }
    }

    pub(super) fn send(self, directory: &dyn RowDirectory) {
        if !self.rows.is_empty() {
            directory.apply_all(self.rows);
        }
    }
}
