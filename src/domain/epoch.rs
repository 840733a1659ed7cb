//! When offsets stop meaning time: what is remembered of a topic, what is seen of it, and what a difference means (E3, E4).
//!
//! A stamp orders one row's changes only while offsets only grow in one life of one partition. So every life is
//! remembered, and a topic that is no longer the one remembered is stopped until a person raises its epoch. An epoch
//! belongs to the record: each partition holds from which offset on which epoch counts. Knows nothing of brokers,
//! stores or time.

use super::ids::{Epoch, NextOffset};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The epochs of one partition's offsets, lowest first; each counts from its offset on (E4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs(Vec<(i64, u32)>);

impl Default for Epochs {
    fn default() -> Self {
        Self::whole(Epoch(0))
    }
}

impl Epochs {
    /// One epoch for every offset.
    pub fn whole(epoch: Epoch) -> Self {
        Self(vec![(0, epoch.0)])
    }

    /// The epoch of the record at this offset.
    pub fn at(&self, offset: i64) -> Epoch {
        Epoch(self.entry(offset).1)
    }

    /// Every epoch with the offset it begins at, lowest first.
    pub fn begins(&self) -> &[(i64, u32)] {
        &self.0
    }

    /// Where the epoch of this offset begins.
    fn begin_of(&self, offset: i64) -> i64 {
        self.entry(offset).0
    }

    fn entry(&self, offset: i64) -> (i64, u32) {
        let at = self.0.iter().rev().find(|(from, _)| *from <= offset).or(self.0.first());
        at.copied().unwrap_or_default()
    }

    /// The same with a later epoch from this offset on.
    fn raised(&self, from: i64, epoch: u32) -> Self {
        let mut raised: Vec<_> = self.0.iter().copied().filter(|(old, _)| *old < from).collect();
        raised.push((if raised.is_empty() { 0 } else { from }, epoch));
        Self(raised)
    }
}

/// What is remembered of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartMemory {
    /// The highest end of the log ever seen.
    pub high: i64,
    pub epochs: Epochs,
}

/// What is remembered of one topic, in the row store, so that every process that writes rows shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMemory {
    /// The broker's id of this life of the topic; brokers before 2.8 have none.
    pub id: Option<String>,
    /// The highest epoch given so far.
    pub epoch: u32,
    /// One entry for each partition.
    pub parts: BTreeMap<i32, PartMemory>,
}

/// The log of one partition as it lies at the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartSeen {
    pub low: i64,
    pub high: i64,
    pub committed: Option<Committed>,
}

/// A group's position, with the epoch it was committed in where we wrote one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub next: NextOffset,
    pub epoch: Option<u32>,
}

/// A topic as it lies at the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSeen {
    pub id: Option<String>,
    pub partitions: u32,
    /// The partitions that were looked at; a member looks at its own.
    pub parts: BTreeMap<i32, PartSeen>,
}

/// Why a topic is no longer the one that is remembered (E3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    Recreated { was: String, is: String },
    Grown { from: u32, to: u32 },
    Shrunk { from: u32, to: u32 },
    Truncated { partition: i32, remembered: i64, high: i64 },
    CommittedAbove { partition: i32, committed: i64, high: i64 },
}

impl Break {
    /// A log that lost its end may be a leader that has not caught up: worth a second look.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::CommittedAbove { .. })
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recreated { was, is } => write!(f, "was deleted and created again (its id was {was} and is {is})"),
            Self::Grown { from, to } => write!(f, "has {to} partitions and had {from}"),
            Self::Shrunk { from, to } => write!(f, "has {to} partitions and had {from}, which no broker does to a living topic"),
            Self::Truncated { partition, remembered, high } => {
                write!(f, "lost records: partition {partition} ends at {high} and once ended at {remembered}")
            }
            Self::CommittedAbove { partition, committed, high } => {
                write!(f, "lost records: partition {partition} ends at {high} and the group has committed {committed}")
            }
        }
    }
}

impl TopicMemory {
    /// A topic met for the first time.
    pub fn first(seen: &TopicSeen) -> Self {
        let part = |number: i32| PartMemory { high: seen.parts.get(&number).map_or(0, |p| p.high), epochs: Epochs::default() };
        Self { id: seen.id.clone(), epoch: 0, parts: numbers(seen.partitions).map(|n| (n, part(n))).collect() }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    /// E3: what is wrong, if anything. A topic that was made again is nothing else besides.
    pub fn judge(&self, seen: &TopicSeen) -> Vec<Break> {
        if let (Some(was), Some(is)) = (&self.id, &seen.id)
            && was != is
        {
            return vec![Break::Recreated { was: was.clone(), is: is.clone() }];
        }
        let mut breaks = Vec::new();
        let (from, to) = (self.count(), seen.partitions);
        match to.cmp(&from) {
            std::cmp::Ordering::Greater => breaks.push(Break::Grown { from, to }),
            std::cmp::Ordering::Less => breaks.push(Break::Shrunk { from, to }),
            std::cmp::Ordering::Equal => {}
        }
        for (partition, seen) in &seen.parts {
            let (partition, high) = (*partition, seen.high);
            let remembered = self.parts.get(&partition).map_or(0, |p| p.high);
            if high < remembered {
                breaks.push(Break::Truncated { partition, remembered, high });
            } else if let Some(committed) = self.trusted(partition, seen).filter(|next| *next > high) {
                breaks.push(Break::CommittedAbove { partition, committed, high });
            }
        }
        breaks
    }

    /// The committed position, unless it is of an earlier life.
    fn trusted(&self, partition: i32, seen: &PartSeen) -> Option<i64> {
        let committed = seen.committed?;
        let held = self.epochs(partition).at(committed.next.0).0;
        committed.epoch.is_none_or(|epoch| epoch == held).then_some(committed.next.0)
    }

    pub fn epochs(&self, partition: i32) -> Epochs {
        self.parts.get(&partition).map(|p| p.epochs.clone()).unwrap_or_default()
    }

    /// Where reading begins: at the committed position of this life, else where the epoch begins, and never before the log.
    pub fn start(&self, partition: i32, seen: &PartSeen) -> Start {
        let wanted = match (self.trusted(partition, seen), seen.committed) {
            (Some(next), _) => Some(next),
            (None, Some(old)) => Some(self.epochs(partition).begin_of(old.next.0)),
            (None, None) => None,
        };
        match wanted {
            Some(next) if next >= seen.low => Start { at: NextOffset(next), missing: 0 },
            // The group was here once and the log no longer reaches back; an epoch's beginning owes nothing.
            Some(next) if self.trusted(partition, seen).is_some() => Start { at: NextOffset(seen.low), missing: seen.low - next },
            _ => Start { at: NextOffset(seen.low), missing: 0 },
        }
    }

    /// Where a partition of a stopped topic stands: at what was committed. A commit that went with the topic leaves the end
    /// that is remembered, never the beginning: its jobs are still owed to a queue that loses them (J11).
    pub fn held(&self, partition: i32, seen: &PartSeen) -> NextOffset {
        let end = self.parts.get(&partition).map_or(0, |p| p.high).max(1);
        seen.committed.map_or(NextOffset(end), |committed| committed.next)
    }

    /// Takes in how far the logs reach. `true`: worth keeping.
    pub fn remember(&mut self, seen: &TopicSeen) -> bool {
        let mut grew = false;
        if self.id.is_none() && seen.id.is_some() {
            self.id.clone_from(&seen.id);
            grew = true;
        }
        for (number, seen) in &seen.parts {
            if let Some(part) = self.parts.get_mut(number)
                && seen.high > part.high
            {
                part.high = seen.high;
                grew = true;
            }
        }
        grew
    }

    /// E4: the memory under the next epoch, for a topic of which every partition was looked at.
    pub fn bump(&self, seen: &TopicSeen) -> Bump {
        let epoch = self.epoch.saturating_add(1);
        let breaks = self.judge(seen);
        let again = breaks.iter().any(|b| matches!(b, Break::Recreated { .. } | Break::Shrunk { .. }));
        let lost = |number: i32| {
            breaks.iter().any(|b| match b {
                Break::Truncated { partition, .. } | Break::CommittedAbove { partition, .. } => *partition == number,
                _ => false,
            })
        };
        let mut parts = BTreeMap::new();
        let mut boundaries = Vec::new();
        for number in numbers(seen.partitions) {
            let high = seen.parts.get(&number).map_or(0, |p| p.high);
            let held = self.parts.get(&number).filter(|_| !again);
            let epochs = match held {
                // What was written over the lost end lies under offsets that were given before: all of it is read again.
                Some(_) if lost(number) => Epochs::whole(Epoch(epoch)),
                Some(part) if breaks.is_empty() => part.epochs.raised(high, epoch),
                Some(part) => part.epochs.clone(),
                None => Epochs::whole(Epoch(epoch)),
            };
            if let Some((from, _)) = epochs.0.iter().find(|(_, e)| *e == epoch) {
                boundaries.push((number, *from));
            }
            parts.insert(number, PartMemory { high, epochs });
        }
        let memory = Self { id: seen.id.clone().or_else(|| self.id.clone()), epoch, parts };
        let keys_moved = breaks.iter().any(|b| matches!(b, Break::Grown { from, to } if *from == 0 || to % from != 0));
        let records_lost = numbers(seen.partitions).any(lost);
        Bump { memory, breaks, boundaries, keys_moved, records_lost }
    }
}

/// Where a partition is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub at: NextOffset,
    /// Committed positions up to there that the log no longer holds: an alarm, and a check is owed (E3).
    pub missing: i64,
}

/// What raising an epoch comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bump {
    pub memory: TopicMemory,
    /// What it answers; empty for a raise that nothing asked for.
    pub breaks: Vec<Break>,
    /// By partition, from which offset on the new epoch counts.
    pub boundaries: Vec<(i32, i64)>,
    /// The new count is no multiple of the old: rows moved between old partitions, a check is owed (E4).
    pub keys_moved: bool,
    /// Changes may be in the database and nowhere in the log: a check is owed.
    pub records_lost: bool,
}

fn numbers(count: u32) -> impl Iterator<Item = i32> {
    0..i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
