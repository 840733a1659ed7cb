//! Open records of one partition, and the position that may be committed (O1, O4).
//!
//! Positions may have holes (compacted topics, other partitions' lines in a file). The only place that turns a
//! [`RecordOffset`] into a [`NextOffset`]. Knows nothing of time, actors or sources.

use super::ids::{NextOffset, RecordOffset};
use std::collections::VecDeque;

/// The contiguous-prefix ledger of one partition.
#[derive(Clone, Debug)]
pub struct Frontier {
    /// Records in log order that are open, or settled behind an open one: (position, parts still open, bytes).
    open: VecDeque<(RecordOffset, u32, usize)>,
    committable: NextOffset,
    unsettled: usize,
    bytes: usize,
}

impl Frontier {
    /// Nothing open; the next record is expected at or after `start`.
    pub fn starting_at(start: NextOffset) -> Self {
        Self { open: VecDeque::new(), committable: start, unsettled: 0, bytes: 0 }
    }

    /// Takes a record in with its number of parts; one of no parts is settled at once. Positions must rise; one that
    /// does not is refused with `false`.
    #[must_use]
    pub fn open(&mut self, at: RecordOffset, parts: u32, bytes: usize) -> bool {
        let last = self.open.back().map_or(self.committable.0 - 1, |(p, _, _)| p.0);
        if at.0 <= last {
            return false;
        }
        self.open.push_back((at, parts, bytes));
        if parts == 0 {
            self.advance();
        } else {
            self.unsettled += 1;
            self.bytes += bytes;
        }
        true
    }

    /// Settles one part. `false` for a record that is not open: a verdict of another life.
    pub fn settle(&mut self, at: RecordOffset) -> bool {
        let Ok(index) = self.open.binary_search_by_key(&at, |(p, _, _)| *p) else { return false };
        let (_, parts, bytes) = &mut self.open[index];
        if *parts == 0 {
            return false;
        }
        *parts -= 1;
        if *parts == 0 {
            self.unsettled -= 1;
            self.bytes -= *bytes;
            self.advance();
        }
        true
    }

    fn advance(&mut self) {
        while let Some((position, 0, _)) = self.open.front() {
            self.committable = NextOffset(position.0 + 1);
            self.open.pop_front();
        }
    }

    /// O1: the first position not yet settled.
    pub fn committable(&self) -> NextOffset {
        self.committable
    }

    /// Records without a verdict.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Bytes of records without a verdict.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records between the frontier and the highest taken, settled ones included (O4).
    pub fn span(&self) -> usize {
        self.open.len()
    }

    /// The oldest record without a verdict.
    pub fn oldest_open(&self) -> Option<RecordOffset> {
        self.open.front().map(|(position, _, _)| *position)
    }

    /// The highest record taken that is still tracked.
    pub fn highest_taken(&self) -> Option<RecordOffset> {
        self.open.back().map(|(position, _, _)| *position)
    }
}

#[cfg(test)]
mod tests;
