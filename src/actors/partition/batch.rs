//! Changes of one chunk of records, grouped by row: one message per entity and batch.

use crate::domain::ids::{Millis, RecordOffset, RowId};
use crate::domain::quick::QuickMap;
use crate::domain::route::RowChange;
use crate::messages::entity::{ApplyChanges, RowDirectory};
use crate::messages::ticket::TicketHome;
use smallvec::SmallVec;
use std::sync::Arc;

/// Changes of one chunk, grouped by row in order of first mention.
pub(super) struct RowBatch {
    rows: Vec<ApplyChanges>,
    index: QuickMap<RowId, usize>,
    changes: u64,
}

impl RowBatch {
    /// Of about so many rows.
    pub(super) fn of(rows: usize) -> Self {
        let mut index = QuickMap::default();
        index.reserve(rows);
        Self { rows: Vec::with_capacity(rows), index, changes: 0 }
    }

    /// How many changes are in it.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn add(&mut self, changes: impl IntoIterator<Item = RowChange>, at: RecordOffset, home: &Arc<TicketHome>) {
        for change in changes {
            self.changes += 1;
            let slot = *self.index.entry(change.row.clone()).or_insert_with(|| {
                self.rows.push(ApplyChanges { row: change.row.clone(), changes: SmallVec::new(), now: Millis::default() });
                self.rows.len() - 1
            });
            self.rows[slot].changes.push((change, home.ticket(at)));
        }
    }

    pub(super) fn send(mut self, directory: &dyn RowDirectory, now: Millis) {
        if !self.rows.is_empty() {
            self.rows.iter_mut().for_each(|row| row.now = now);
            directory.apply_all(self.rows);
        }
    }
}
