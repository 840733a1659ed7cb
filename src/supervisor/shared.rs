//! What the supervisor and the actors' threads share: the board of positions, the byte budget, the routes to partitions.

use crate::actors::partition::{Budget, CommitBoard};
use crate::domain::ids::{Generation, NextOffset, Partition};
use crate::domain::mark::Positions;
use crate::messages::intake::{SourceEnded, TakeRecords};
use crate::telemetry::late_verdicts;
use actix::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

/// O4: bytes of open records over all partitions.
#[derive(Debug)]
pub struct ByteBudget {
    max: usize,
    open: AtomicUsize,
}

impl ByteBudget {
    pub fn new(max: usize) -> Self {
        Self { max, open: AtomicUsize::new(0) }
    }
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Budget for ByteBudget {
    fn take(&self, bytes: usize) {
        self.open.fetch_add(bytes, Ordering::Relaxed);
    }
    fn give_back(&self, bytes: usize) {
        self.open.fetch_sub(bytes, Ordering::Relaxed);
    }
    fn is_spent(&self) -> bool {
        self.open() >= self.max
    }
}

/// Where each partition is: settled in memory, and committed durably.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<Partition, Place>>);

#[derive(Clone, Copy, Debug)]
struct Place {
    generation: Generation,
    settled: NextOffset,
    committed: NextOffset,
}

impl Board {
    /// A partition begins here; nothing before is owed. Nobody may note anything until [`Self::give_to`].
    pub fn begin(&self, partition: Partition, start: NextOffset) {
        let mut places = self.0.lock().unwrap_or_else(|e| e.into_inner());
        places.insert(partition, Place { generation: Generation::default(), settled: start, committed: start });
    }
    /// From here on only this generation's notes count.
    pub fn give_to(&self, partition: Partition, generation: Generation) {
        if let Some(place) = self.0.lock().unwrap_or_else(|e| e.into_inner()).get_mut(&partition) {
            place.generation = generation;
        }
    }
    /// O3: what an old generation says from now on commits nothing.
    pub fn forget(&self, partition: Partition) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).remove(&partition);
    }
    pub fn settled(&self, partition: Partition) -> Option<NextOffset> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).get(&partition).map(|p| p.settled)
    }
    pub fn all_settled(&self) -> Positions {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).iter().map(|(partition, p)| (*partition, p.settled)).collect()
    }
    pub fn all_committed(&self) -> Positions {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).iter().map(|(partition, p)| (*partition, p.committed)).collect()
    }
    /// Positions settled beyond what is committed.
    pub fn owed(&self) -> Vec<(Partition, NextOffset)> {
        let places = self.0.lock().unwrap_or_else(|e| e.into_inner());
        places.iter().filter(|(_, p)| p.settled > p.committed).map(|(partition, p)| (*partition, p.settled)).collect()
    }
    /// Whether this position is still to be committed: the partition may have left, and come back to begin elsewhere, since
    /// it was owed (O3).
    pub fn owes(&self, partition: Partition, next: NextOffset) -> bool {
        let places = self.0.lock().unwrap_or_else(|e| e.into_inner());
        places.get(&partition).is_some_and(|p| p.committed < next && next <= p.settled)
    }
    pub fn mark_committed(&self, positions: &[(Partition, NextOffset)]) {
        let mut places = self.0.lock().unwrap_or_else(|e| e.into_inner());
        for (partition, next) in positions {
            if let Some(place) = places.get_mut(partition) {
                place.committed = place.committed.max(*next);
            }
        }
    }
}

impl CommitBoard for Board {
    fn note(&self, partition: Partition, generation: Generation, next: NextOffset) {
        match self.0.lock().unwrap_or_else(|e| e.into_inner()).get_mut(&partition) {
            Some(place) if place.generation == generation => place.settled = place.settled.max(next),
            _ => late_verdicts(1),
        }
    }
    fn committed(&self, partition: Partition) -> Option<NextOffset> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).get(&partition).map(|p| p.committed)
    }
}

/// Where a partition's records go now.
#[derive(Default)]
pub struct Routes(RwLock<HashMap<Partition, Route>>);

#[derive(Clone)]
struct Route {
    records: Recipient<TakeRecords>,
    ended: Recipient<SourceEnded>,
}

impl Routes {
    pub fn point(&self, partition: Partition, records: Recipient<TakeRecords>, ended: Recipient<SourceEnded>) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).insert(partition, Route { records, ended });
    }
    pub fn clear(&self, partition: Partition) {
        self.0.write().unwrap_or_else(|e| e.into_inner()).remove(&partition);
    }
    pub fn records(&self, partition: Partition) -> Option<Recipient<TakeRecords>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).get(&partition).map(|r| r.records.clone())
    }
    pub fn ended(&self, partition: Partition) -> Option<Recipient<SourceEnded>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).get(&partition).map(|r| r.ended.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Name;

    /// Goal: O3, nothing is committed for a partition that left, nor by an earlier generation of one that came back.
    /// Method: late notes.
    #[test]
    fn a_verdict_of_an_old_generation_commits_nothing() {
        let partition = Partition { topic: Name::of("t"), number: 0 };
        let board = Board::default();
        board.begin(partition, NextOffset(5));
        board.give_to(partition, Generation(1));
        assert_eq!(board.owed(), []);
        board.note(partition, Generation(1), NextOffset(9));
        assert_eq!(board.owed(), [(partition, NextOffset(9))]);
        board.mark_committed(&[(partition, NextOffset(7))]);
        assert_eq!(board.committed(partition), Some(NextOffset(7)));
        assert!(board.owes(partition, NextOffset(9)));
        board.forget(partition);
        assert!(!board.owes(partition, NextOffset(9)));
        board.note(partition, Generation(1), NextOffset(12));
        assert_eq!(board.owed(), []);
        board.begin(partition, NextOffset(0));
        board.give_to(partition, Generation(2));
        board.note(partition, Generation(1), NextOffset(12));
        assert_eq!(board.owed(), [], "the topic may have been made again meanwhile");
    }
}
