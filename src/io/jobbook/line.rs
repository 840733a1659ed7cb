//! One line's jobs in memory: slots by row key, and what follows from their states: lanes, due times, leases, counts.
//!
//! Every change of a state goes through [`LineBook::change_at`], or [`LineBook::unlink`] and [`LineBook::link`], so that no
//! index can disagree with it.

use super::hashes::Hashes;
use super::shelf::{Aside, Entry, Filed};
use crate::domain::ids::{Millis, RowKey};
use crate::domain::job::{Hold, KeyState, Lane, Lease};
use crate::domain::quick::QuickMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// A key in memory.
#[derive(Clone, Default)]
pub(super) struct Slot {
    pub(super) entry: Entry,
    /// Its place aside as it is on the shelf, which may differ from the entry's: a job back from the overflow.
    pub(super) filed: Option<Filed>,
}

/// One lane's jobs.
#[derive(Default)]
pub(super) struct LaneBook {
    /// Jobs that may be taken now, in order.
    ready: BTreeMap<u64, RowKey>,
    pub(super) waiting: usize,
    pub(super) retry: usize,
    pub(super) active: usize,
    aside: [usize; 3],
    /// J9: the overflow up to here is in memory.
    pub(super) cursor: u64,
    /// Smooth weighted round-robin (J6).
    credit: i64,
}

impl LaneBook {
    /// Jobs in memory that have not started.
    pub(super) fn pending(&self) -> usize {
        self.waiting + self.retry
    }

    pub(super) fn aside(&self, aside: Aside) -> usize {
        self.aside[aside as usize]
    }
}

pub(super) struct LineBook {
    pub(super) slots: QuickMap<RowKey, Slot>,
    index: Index,
    pub(super) hashes: Hashes,
}

impl LineBook {
    pub(super) fn new(lanes: usize, bell: Arc<Notify>) -> Self {
        let lanes = (0..lanes).map(|_| LaneBook::default()).collect();
        let index = Index { lanes, due: BTreeSet::new(), leases: BTreeMap::new(), bell };
        Self { slots: QuickMap::default(), index, hashes: Hashes::default() }
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (Lane, &LaneBook)> {
        self.index.lanes.iter().enumerate().map(|(i, lane)| (Lane(i as u8), lane))
    }

    /// Lanes are checked against the rules before they come here.
    pub(super) fn lane(&mut self, lane: Lane) -> &mut LaneBook {
        &mut self.index.lanes[usize::from(lane.0)]
    }

    /// Jobs that lie on the shelf or have an entry of that kind there.
    pub(super) fn any_aside(&self) -> bool {
        self.index.lanes.iter().any(|lane| lane.aside.iter().any(|count| *count > 0))
    }

    pub(super) fn link(&mut self, row: &RowKey, entry: &Entry) {
        self.index.put(row, &Standing::of(entry), true);
    }

    pub(super) fn unlink(&mut self, row: &RowKey, entry: &Entry) {
        self.index.put(row, &Standing::of(entry), false);
    }

    /// Changes an entry where it lies, `held` where it does not lie in memory yet: what is aside is counted already.
    pub(super) fn change_at<R>(&mut self, row: &RowKey, held: impl FnOnce() -> Slot, change: impl FnOnce(&mut Entry) -> R) -> R {
        let slot = self.slots.entry(row.clone()).or_insert_with(held);
        self.index.follow(row, &mut slot.entry, change)
    }

    /// Changes a state in memory only; `None` when the key is not in memory.
    pub(super) fn change<R>(&mut self, row: &RowKey, change: impl FnOnce(&mut KeyState) -> R) -> Option<R> {
        let slot = self.slots.get_mut(row)?;
        Some(self.index.follow(row, &mut slot.entry, |entry| change(&mut entry.state)))
    }

    /// Retries whose time has come go into their lanes; says how many.
    pub(super) fn promote(&mut self, now: Millis) -> u64 {
        let mut moved = 0;
        while let Some((_, _, row)) = self.index.due.first().filter(|(at, ..)| *at <= now).cloned() {
            let set = |state: &mut KeyState| state.waiting.iter_mut().for_each(|w| w.hold = Hold::Ready);
            if self.change(&row, set).is_none() {
                break;
            }
            moved += 1;
        }
        moved
    }

    /// J6: the row whose turn it is. It stays in its lane until its state changes.
    pub(super) fn pick(&mut self, weights: &[i64], strict: bool) -> Option<RowKey> {
        let ready = |lane: &LaneBook| !lane.ready.is_empty();
        let at = if strict {
            self.index.lanes.iter().position(ready)?
        } else {
            let mut total = 0;
            let mut best: Option<(usize, i64)> = None;
            for (i, lane) in self.index.lanes.iter_mut().enumerate().filter(|(_, lane)| ready(lane)) {
                lane.credit += weights[i];
                total += weights[i];
                if best.is_none_or(|(_, credit)| lane.credit > credit) {
                    best = Some((i, lane.credit));
                }
            }
            let (at, _) = best?;
            self.index.lanes[at].credit -= total;
            at
        };
        self.index.lanes[at].ready.values().next().cloned()
    }

    /// Rows whose lease ran out before `now`.
    pub(super) fn expired(&self, now: Millis) -> Vec<RowKey> {
        self.index.leases.iter().take_while(|((until, _), _)| *until < now).map(|(_, row)| row.clone()).collect()
    }

    pub(super) fn has_ready(&self) -> bool {
        self.index.lanes.iter().any(|lane| !lane.ready.is_empty())
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.index.due.first().map(|(at, ..)| *at)
    }
}

/// All that the indexes tell of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    seq: u64,
    waiting: Option<(Lane, Place)>,
    active: Option<(Lane, Millis, Lease)>,
}

/// Where a job waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Until(Millis),
    Aside(Aside),
}

impl Standing {
    fn of(entry: &Entry) -> Self {
        let place = |hold: &Hold| match hold {
            Hold::Ready => Place::Ready,
            Hold::Until(at) => Place::Until(*at),
            Hold::Parked => Place::Aside(Aside::Parked),
            Hold::Spilled => Place::Aside(Aside::Spilled),
            Hold::Buried { .. } => Place::Aside(Aside::Buried),
        };
        let KeyState { waiting, active } = &entry.state;
        Self {
            seq: entry.seq,
            waiting: waiting.as_ref().map(|waiting| (waiting.lane, place(&waiting.hold))),
            active: active.as_ref().map(|active| (active.lane, active.until, active.lease)),
        }
    }
}

/// What follows from the slots' states.
struct Index {
    lanes: Vec<LaneBook>,
    due: BTreeSet<(Millis, u64, RowKey)>,
    /// By their ends. The book gives every job a lease of its own, also where many are taken at once.
    leases: BTreeMap<(Millis, Lease), RowKey>,
    bell: Arc<Notify>,
}

impl Index {
    /// Changes an entry and what the indexes tell of it.
    fn follow<R>(&mut self, row: &RowKey, entry: &mut Entry, change: impl FnOnce(&mut Entry) -> R) -> R {
        let was = Standing::of(entry);
        let answer = change(entry);
        let now = Standing::of(entry);
        if was != now {
            self.put(row, &was, false);
            self.put(row, &now, true);
        }
        answer
    }

    fn put(&mut self, row: &RowKey, standing: &Standing, add: bool) {
        if let Some((lane, until, lease)) = standing.active {
            count(&mut self.lanes[usize::from(lane.0)].active, add);
            if add {
                self.leases.insert((until, lease), row.clone())
            } else {
                self.leases.remove(&(until, lease))
            };
        }
        let Some((lane, place)) = standing.waiting else { return };
        // J2: a follow-up is counted, and taken only once the run before it has ended.
        let free = standing.active.is_none();
        let lane = &mut self.lanes[usize::from(lane.0)];
        match place {
            Place::Ready => {
                count(&mut lane.waiting, add);
                if free && add {
                    if lane.ready.is_empty() {
                        self.bell.notify_waiters();
                    }
                    lane.ready.insert(standing.seq, row.clone());
                } else if free {
                    lane.ready.remove(&standing.seq);
                }
            }
            Place::Until(at) => {
                count(&mut lane.retry, add);
                let due = (at, standing.seq, row.clone());
                if free && add {
                    if self.due.first().is_none_or(|first| due < *first) {
                        self.bell.notify_waiters();
                    }
                    self.due.insert(due);
                } else if free {
                    self.due.remove(&due);
                }
            }
            Place::Aside(aside) => count(&mut lane.aside[aside as usize], add),
        }
    }
}

fn count(counter: &mut usize, add: bool) {
    *counter = if add { *counter + 1 } else { counter.saturating_sub(1) };
}
