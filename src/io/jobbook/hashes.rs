//! K5: the hash of the document last written, beside the job's key.
//!
//! In memory only: a process that starts has none, so its first write of each document is made. Bounded in number; what
//! is forgotten early costs one write.

use crate::domain::ids::{Millis, RowKey};
use crate::domain::quick::QuickMap;
use std::collections::VecDeque;

/// K5: how long a hash counts.
const LIFE_MS: i64 = 3_600_000;
/// Hashes of one line at most.
const HASHES_MAX: usize = 200_000;

#[derive(Default)]
pub(super) struct Hashes {
    /// Hash and when it ends.
    held: QuickMap<RowKey, (u64, Millis)>,
    /// In the order they end. May name hashes that were taken or replaced since.
    order: VecDeque<(Millis, RowKey)>,
}

impl Hashes {
    /// Put by the run that wrote the document.
    pub(super) fn put(&mut self, row: RowKey, hash: u64, now: Millis) {
        let ends = Millis(now.0.saturating_add(LIFE_MS));
        self.held.insert(row.clone(), (hash, ends));
        self.order.push_back((ends, row));
        while self.order.len() > HASHES_MAX {
            self.forget_first();
        }
    }

    /// Taking the job removes it.
    pub(super) fn take(&mut self, row: &RowKey, now: Millis) -> Option<u64> {
        self.held.remove(row).filter(|(_, ends)| *ends > now).map(|(hash, _)| hash)
    }

    /// Back after a taking that was undone, for the rest of its life.
    pub(super) fn restore(&mut self, row: &RowKey, hash: u64) {
        if let Some((ends, _)) = self.order.iter().rev().find(|(_, r)| r == row) {
            self.held.insert(row.clone(), (hash, *ends));
        }
    }

    /// Drops those that ended.
    pub(super) fn expire(&mut self, now: Millis) {
        while self.order.front().is_some_and(|(ends, _)| *ends <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((ends, row)) = self.order.pop_front()
            && self.held.get(&row).is_some_and(|(_, e)| *e == ends)
        {
            self.held.remove(&row);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len().max(self.order.len())
    }
}
