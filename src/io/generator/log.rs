//! The order of delivery: offsets and partitions, and what a real log does to a reader.
//!
//! Within a partition, records come in offset order, except that a stretch may come again from an earlier offset on
//! (a consumer that fell back). Across partitions any order may happen: a partition is held back for a while, so that its
//! records arrive late against other tables' of the same order. Positions count deliveries and never fall.

use super::body::Message;
use super::chance::Chance;
use super::tables::Table;
use crate::domain::ids::{Millis, Name, Partition, RecordOffset};
use crate::domain::record::Record;
use crate::settings::GeneratorSettings;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Events a partition is held back at most.
const HELD_EVENTS_MAX: u64 = 100;
/// Records of a repeated stretch at most.
const STRETCH_MAX: usize = 16;
/// Records a replay goes back at most.
const REPLAY_MAX: usize = 1_000;

#[derive(Debug)]
pub(super) struct Log {
    chance: Chance,
    disorder: f64,
    /// Probability that a stretch begins after a record: the share over a stretch's mean length.
    stretch: f64,
    /// Probability per event.
    replay: f64,
    partitions: u32,
    parts: Vec<Part>,
    /// When which partition is let go.
    held: BinaryHeap<Reverse<(u64, usize)>>,
    events: u64,
}

#[derive(Debug)]
struct Part {
    partition: Partition,
    next_offset: i64,
    next_position: i64,
    /// Held back; in offset order.
    waiting: VecDeque<Record>,
    /// The last ones delivered, for coming again.
    recent: VecDeque<Record>,
}

impl Log {
    pub(super) fn new(settings: &GeneratorSettings, chance: Chance) -> Self {
        let part = |topic: Name, number| Part {
            partition: Partition { topic, number },
            next_offset: 0,
            next_position: 0,
            waiting: VecDeque::new(),
            recent: VecDeque::new(),
        };
        let partitions = settings.partitions.max(1);
        let numbers = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
        Self {
            chance,
            disorder: settings.disorder,
            stretch: settings.duplicates / ((STRETCH_MAX + 1) as f64 / 2.0),
            replay: settings.replay / 1_000.0,
            partitions,
            parts: Table::ALL.iter().flat_map(|table| numbers.clone().map(|n| part(table.topic(), n))).collect(),
            held: BinaryHeap::new(),
            events: 0,
        }
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.parts.iter().map(|part| part.partition).collect()
    }

    /// Takes in a message made at `at`; appends to `out` what is delivered now.
    pub(super) fn append(&mut self, message: Message, at: Millis, out: &mut VecDeque<Record>) {
        let index = message.table as usize * self.partitions as usize + message.partition as usize;
        let part = &mut self.parts[index];
        let record = Record {
            partition: part.partition,
            position: RecordOffset(0),
            offset: part.next_offset,
            timestamp: Some(at),
            key: message.key,
            value: message.value,
            headers: message.headers,
        };
        part.next_offset += 1;
        if !part.waiting.is_empty() {
            part.waiting.push_back(record);
        } else if self.chance.once_in(self.disorder) {
            part.waiting.push_back(record);
            let until = self.events + 1 + self.chance.below(HELD_EVENTS_MAX);
            self.held.push(Reverse((until, index)));
        } else {
            self.deliver(index, record, out);
        }
    }

    /// One event is over: lets go what was held back until now, and now and then a partition is read again.
    pub(super) fn tick(&mut self, out: &mut VecDeque<Record>) {
        self.events += 1;
        while let Some(Reverse((until, index))) = self.held.peek().copied()
            && until <= self.events
        {
            self.held.pop();
            self.let_go(index, out);
        }
        if self.chance.once_in(self.replay) {
            let index = self.chance.below(self.parts.len() as u64) as usize;
            let back = 1 + self.chance.below(REPLAY_MAX as u64) as usize;
            self.again(index, back, out);
        }
    }

    /// Lets everything go that is held back.
    pub(super) fn flush(&mut self, out: &mut VecDeque<Record>) {
        self.held.clear();
        (0..self.parts.len()).for_each(|index| self.let_go(index, out));
    }

    fn let_go(&mut self, index: usize, out: &mut VecDeque<Record>) {
        while let Some(record) = self.parts[index].waiting.pop_front() {
            self.deliver(index, record, out);
        }
    }

    fn deliver(&mut self, index: usize, record: Record, out: &mut VecDeque<Record>) {
        let keep = if self.replay > 0.0 {
            REPLAY_MAX
        } else if self.stretch > 0.0 {
            STRETCH_MAX
        } else {
            0
        };
        if keep > 0 {
            let recent = &mut self.parts[index].recent;
            if recent.len() == keep {
                recent.pop_front();
            }
            recent.push_back(record.clone());
        }
        self.hand(index, record, out);
        if self.chance.once_in(self.stretch) {
            let back = 1 + self.chance.below(STRETCH_MAX as u64) as usize;
            self.again(index, back, out);
        }
    }

    /// The last `back` records once more.
    fn again(&mut self, index: usize, back: usize, out: &mut VecDeque<Record>) {
        let recent = &self.parts[index].recent;
        let from = recent.len().saturating_sub(back);
        let records: Vec<Record> = recent.range(from..).cloned().collect();
        records.into_iter().for_each(|record| self.hand(index, record, out));
    }

    fn hand(&mut self, index: usize, mut record: Record, out: &mut VecDeque<Record>) {
        let part = &mut self.parts[index];
        record.position = RecordOffset(part.next_position);
        part.next_position += 1;
        out.push_back(record);
    }
}
