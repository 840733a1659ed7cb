//! The partitions of one member, shared by its poll loop and the engine's calls.
//!
//! Keeps O4's half of a broker: what is fetched ahead waits here, within two marks. Records that were fetched before a
//! rewind are dropped until the client has sought. Knows nothing of groups and clients.

use crate::domain::epoch::Epochs;
use crate::domain::ids::{Generation, NextOffset, Partition};
use crate::domain::record::{Delivery, Record};
use crate::domain::tide::{Level, Tide};
use crate::io::feed::{DELIVERY_BYTES_MAX, DELIVERY_RECORDS_MAX, Gate};
use futures_util::future::AbortRegistration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// What may wait of one partition. Below the low mark there is still a few deliveries' worth.
const TIDE: Tide = Tide {
    high: Level { records: 16 * DELIVERY_RECORDS_MAX, bytes: 8 * DELIVERY_BYTES_MAX },
    low: Level { records: 4 * DELIVERY_RECORDS_MAX, bytes: 2 * DELIVERY_BYTES_MAX },
};

#[derive(Default)]
pub(super) struct Parts(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    pub parts: BTreeMap<Partition, Part>,
    pub stopped: bool,
}

/// What became of a record that the client handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    Kept,
    /// Not wanted: the partition is elsewhere, leaves, or seeks.
    Dropped,
    /// Below what came before: the log may not be the one it was (E3).
    Fell,
}

/// One partition while it is here.
pub(super) struct Part {
    pub gate: Gate,
    pub epochs: Epochs,
    /// Partitions of the topic.
    pub count: u32,
    /// The lowest offset that may come next.
    pub expected: i64,
    /// Where the client still has to seek.
    pub seek: Option<i64>,
    /// Why nothing of it is delivered (E3).
    pub halted: Option<String>,
    pub leaving: bool,
    /// What the client was told last.
    pub held_back: bool,
    /// The client has it in its assignment.
    pub fetched: bool,
    pub end: Option<i64>,
    full: bool,
    waiting: VecDeque<Record>,
    bytes: usize,
}

impl Part {
    pub(super) fn new(start: NextOffset, epochs: Epochs, count: u32, end: i64) -> Self {
        Self {
            gate: Gate::default(),
            epochs,
            count,
            expected: start.0,
            seek: None,
            halted: None,
            leaving: false,
            held_back: false,
            fetched: false,
            end: Some(end),
            full: false,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn land(&mut self, record: Record) -> Landed {
        if self.leaving || self.halted.is_some() || self.seek.is_some() || !self.fetched {
            return Landed::Dropped;
        }
        if record.offset < self.expected {
            return Landed::Fell;
        }
        self.expected = record.offset + 1;
        self.bytes += record.bytes();
        self.waiting.push_back(record);
        Landed::Kept
    }

    /// Forgets what waits; the client is to read on from here.
    fn drop_waiting(&mut self, from: i64) {
        self.waiting.clear();
        self.bytes = 0;
        self.expected = from;
    }

    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.drop_waiting(self.expected);
    }

    pub(super) fn halt(&mut self, reason: String) {
        // What waits was not delivered: it is read again when the topic goes on.
        self.drop_waiting(self.undelivered());
        self.halted = Some(reason);
    }

    fn undelivered(&self) -> i64 {
        self.waiting.front().map_or(self.expected, |record| record.offset)
    }

    /// The client lost its place: what was not delivered is fetched again.
    pub(super) fn fetch_again(&mut self) {
        self.seek_to(self.undelivered());
    }

    /// Reads on from this offset, whatever was fetched.
    pub(super) fn seek_to(&mut self, to: i64) {
        self.drop_waiting(to);
        self.seek = Some(to);
    }

    /// The log begins here now. `true`: beyond what comes next, reading goes on there. What was fetched before the cut is
    /// handed over first.
    pub(super) fn pass_to(&mut self, low: i64) -> bool {
        let passed = self.fetched && self.expected < low && self.waiting.is_empty() && !self.gate.is_busy();
        if passed {
            self.seek_to(low);
        }
        passed
    }

    /// Whether the client should hold it back now; `None` when it was told so already.
    pub(super) fn hold_back(&mut self) -> Option<bool> {
        self.full = TIDE.holds(Level { records: self.waiting.len(), bytes: self.bytes }, self.full);
        let hold = self.full || self.leaving || self.halted.is_some() || self.gate.is_paused();
        (self.fetched && hold != self.held_back).then_some(hold)
    }

    fn next_delivery(&mut self, partition: Partition) -> Option<(Delivery, AbortRegistration)> {
        if self.waiting.is_empty() || self.gate.is_busy() || self.gate.is_paused() {
            return None;
        }
        let (mut records, mut bytes) = (Vec::with_capacity(self.waiting.len().min(DELIVERY_RECORDS_MAX)), 0);
        while records.len() < DELIVERY_RECORDS_MAX && bytes < DELIVERY_BYTES_MAX {
            let Some(record) = self.waiting.pop_front() else { break };
            bytes += record.bytes();
            records.push(record);
        }
        self.bytes -= bytes;
        let high_watermark = self.end.map(|end| end.max(self.expected));
        let delivery = Delivery { partition, reading: self.gate.reading(), records, high_watermark };
        Some((delivery, self.gate.begin()))
    }
}

impl Parts {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn change<T>(&self, partition: Partition, change: impl FnOnce(&mut Part) -> T) -> Option<T> {
        self.lock().parts.get_mut(&partition).map(change)
    }

    /// O2: begins the next reading from here.
    pub(super) fn rewind(&self, partition: Partition, to: NextOffset) -> Generation {
        let rewind = |part: &mut Part| {
            part.seek_to(to.0);
            part.gate.rewound()
        };
        self.change(partition, rewind).unwrap_or_default()
    }
}

impl State {
    /// What may be handed over now.
    pub(super) fn deliveries(&mut self) -> Vec<(Delivery, AbortRegistration)> {
        self.parts.iter_mut().filter_map(|(partition, part)| part.next_delivery(*partition)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Name, RecordOffset};

    fn record(offset: i64, bytes: usize) -> Record {
        Record {
            partition: Partition { topic: Name::of("t"), number: 0 },
            position: RecordOffset(offset),
            offset,
            timestamp: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Vec::new(),
        }
    }

    fn part() -> Part {
        Part { fetched: true, ..Part::new(NextOffset(5), Epochs::default(), 1, 100) }
    }

    /// Goal: a rewind reads everything from its offset on once, whatever the client still hands over. Method: records of
    /// before and after the seek.
    #[test]
    fn what_was_fetched_before_a_rewind_is_dropped() {
        let mut part = part();
        assert_eq!((5..9).map(|o| part.land(record(o, 1))).collect::<Vec<_>>(), [Landed::Kept; 4]);
        part.seek_to(6);
        assert_eq!(part.land(record(9, 1)), Landed::Dropped, "fetched before the seek");
        part.seek = None;
        assert_eq!(part.land(record(6, 1)), Landed::Kept);
        assert_eq!(part.land(record(8, 1)), Landed::Kept, "a compacted log has holes");
        assert_eq!(part.land(record(7, 1)), Landed::Fell);
        let (delivery, _) = part.next_delivery(Partition { topic: Name::of("t"), number: 0 }).unwrap();
        assert_eq!(delivery.records.iter().map(|r| r.offset).collect::<Vec<_>>(), [6, 8]);
        assert!(part.gate.is_busy() && part.next_delivery(delivery.partition).is_none());
    }

    /// Goal: nothing that waits is lost where the client loses its place, or the log its beginning. Method: records wait; an
    /// offset falls, then the log begins beyond them.
    #[test]
    fn what_waits_is_neither_skipped_nor_dropped() {
        let mut part = part();
        (5..9).for_each(|o| assert_eq!(part.land(record(o, 1)), Landed::Kept));
        assert_eq!(part.land(record(3, 1)), Landed::Fell);
        part.fetch_again();
        assert_eq!((part.seek.take(), part.expected), (Some(5), 5));
        (5..9).for_each(|o| assert_eq!(part.land(record(o, 1)), Landed::Kept));
        assert!(!part.pass_to(20), "5 to 8 are handed over first");
        assert!(part.next_delivery(Partition { topic: Name::of("t"), number: 0 }).is_some());
        assert!(!part.pass_to(20), "they are not taken yet");
        part.gate.answered(part.gate.reading());
        assert!(!part.pass_to(9), "the next is still there");
        assert!(part.pass_to(20));
        assert_eq!(part.seek, Some(20));
    }

    /// Goal: O4's marks, and that a halted topic is read again from what was not delivered. Method: fill, look, halt.
    #[test]
    fn a_full_partition_is_held_back_and_a_halted_one_forgets_nothing() {
        let mut part = part();
        assert_eq!(part.hold_back(), None);
        let high = TIDE.high.records as i64;
        (5..5 + high).for_each(|o| assert_eq!(part.land(record(o, 1)), Landed::Kept));
        assert_eq!(part.hold_back(), Some(true));
        part.held_back = true;
        part.halt("made again".into());
        assert_eq!((part.expected, part.hold_back()), (5, None));
    }
}
