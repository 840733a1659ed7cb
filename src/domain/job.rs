//! A job: "line L must look at row R again", and the rules by which offers of it coalesce (J1–J4, J7, J8, J10).
//!
//! [`KeyState`] is one (line, row key)'s whole life as a state machine without clock or store; the embedded queue and
//! the Redis scripts do what it does.

use super::ids::{Millis, Name, RowKey};
use smallvec::SmallVec;

/// J1: a job's identity, and its whole payload.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct JobKey {
    pub line: Name,
    pub row: RowKey,
}

/// A lane's place, 0 the most urgent (3-interfaces 3.2: lanes are listed highest first).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Lane(pub u8);

impl Lane {
    /// The more urgent of two.
    pub fn raised_to(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// What travels beside the job and survives coalescing (J4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// The job's age counts from here (J8): the time of its first offer, by the queue's own clock.
    pub first_offered: Millis,
    /// Oldest and newest database time of the changes behind it, where a format tells them.
    pub oldest: Option<Millis>,
    pub newest: Option<Millis>,
    /// The log's own time of the oldest record behind it. For stage delays on the way to the queue; not kept there.
    pub logged: Option<Millis>,
    /// Named change types, in no order, each once.
    pub types: SmallVec<[Name; 2]>,
    /// K5: the write may not be skipped.
    pub must_write: bool,
    /// J8: released from parking; it runs whatever its age.
    pub run_late: bool,
}

impl Load {
    /// J4: the union of both; ages count from the older.
    pub fn absorb(&mut self, other: &Load) {
        self.first_offered = self.first_offered.min(other.first_offered);
        self.oldest = match (self.oldest, other.oldest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.newest = self.newest.max(other.newest);
        self.logged = match (self.logged, other.logged) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.must_write |= other.must_write;
        self.run_late |= other.run_late;
        for name in &other.types {
            if !self.types.contains(name) {
                self.types.push(*name);
            }
        }
    }
}

/// One offer: the row changed, the line wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    pub key: JobKey,
    pub lane: Lane,
    /// `first_offered` is set by the queue.
    pub load: Load,
}

/// What became of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    Created,
    /// Onto a job that has not started (J2).
    Coalesced,
    /// Into the overflow ledger (J9).
    Spilled,
}

/// A job that waits for a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    pub lane: Lane,
    pub load: Load,
    /// Failed tries so far (J7).
    pub attempts: u32,
    pub hold: Hold,
}

/// Why a job that has not started does not start now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// In its lane.
    Ready,
    /// J7: not before this time.
    Until(Millis),
    /// J8: late and put aside.
    Parked,
    /// J9: in the overflow ledger.
    Spilled,
    /// J7: a dead letter, until a change revives it or a person replays it.
    Buried { reason: String },
}

/// A job a worker holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Active {
    pub lane: Lane,
    pub load: Load,
    pub attempts: u32,
    pub lease: Lease,
    pub until: Millis,
}

/// Names one taking of a job; a verdict under another lease is dropped (J10). Jobs of one taking may share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Lease(pub u64);

/// One (line, row key): at most one job that has not started and one that runs (J2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyState {
    pub waiting: Option<Waiting>,
    pub active: Option<Active>,
}

/// How a run ended, as its worker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Done,
    /// J7: again at this time; `counts` says whether it uses up a try.
    Retry {
        at: Millis,
        counts: bool,
    },
    /// J7: the sink will never accept it, or its tries are used up.
    Bury {
        reason: String,
    },
    /// Given back unstarted at drain: no try is used up.
    Requeue,
}

/// What became of a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// As asked.
    Applied,
    /// J4: a follow-up was waiting, and took over what the retry carried.
    GaveWay,
    /// J10: the lease is gone; nothing was done.
    LeaseGone,
}

impl KeyState {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.active.is_none()
    }

    /// J2, J4: coalesces onto the job that has not started, else creates one. `spill` says the lane is full (J9).
    pub fn offer(&mut self, lane: Lane, load: &Load, spill: bool) -> Offered {
        let Some(waiting) = &mut self.waiting else {
            let hold = if spill { Hold::Spilled } else { Hold::Ready };
            self.waiting = Some(Waiting { lane, load: load.clone(), attempts: 0, hold });
            return if spill { Offered::Spilled } else { Offered::Created };
        };
        waiting.lane = waiting.lane.raised_to(lane);
        if matches!(waiting.hold, Hold::Buried { .. }) {
            // J7: a later change revives it; its age starts anew.
            waiting.load.first_offered = load.first_offered;
            waiting.load.absorb(load);
            waiting.attempts = 0;
            waiting.hold = if spill { Hold::Spilled } else { Hold::Ready };
            return if spill { Offered::Spilled } else { Offered::Created };
        }
        waiting.load.absorb(load);
        Offered::Coalesced
    }

    /// Hands the waiting job to a worker, unless one runs already (J2: two runs of one key do not overlap).
    pub fn take(&mut self, now: Millis, lease: Lease, until: Millis) -> Option<&Active> {
        if self.active.is_some() {
            return None;
        }
        let ready = match self.waiting.as_ref()?.hold {
            Hold::Ready => true,
            Hold::Until(at) => at <= now,
            Hold::Parked | Hold::Spilled | Hold::Buried { .. } => false,
        };
        if !ready {
            return None;
        }
        let Waiting { lane, load, attempts, .. } = self.waiting.take()?;
        self.active = Some(Active { lane, load, attempts, lease, until });
        self.active.as_ref()
    }

    /// Ends a run.
    pub fn settle(&mut self, lease: Lease, verdict: Verdict) -> Settled {
        let Some(active) = self.active.take_if(|a| a.lease == lease) else { return Settled::LeaseGone };
        let (hold, attempts) = match verdict {
            Verdict::Done => return Settled::Applied,
            Verdict::Retry { at, counts } => (Hold::Until(at), active.attempts + u32::from(counts)),
            Verdict::Bury { reason } => (Hold::Buried { reason }, active.attempts + 1),
            Verdict::Requeue => (Hold::Ready, active.attempts),
        };
        if let Some(follow_up) = &mut self.waiting {
            follow_up.lane = follow_up.lane.raised_to(active.lane);
            follow_up.load.absorb(&active.load);
            // A sink that keeps failing must still run out of tries on a row that keeps changing.
            if matches!(hold, Hold::Until(_)) {
                follow_up.attempts = follow_up.attempts.max(attempts);
                if follow_up.hold == Hold::Ready {
                    follow_up.hold = hold;
                }
            }
            return Settled::GaveWay;
        }
        self.waiting = Some(Waiting { lane: active.lane, load: active.load, attempts, hold });
        Settled::Applied
    }

    /// J10: a lease that ran out is a try that failed.
    pub fn expire(&mut self, now: Millis) -> bool {
        match &self.active {
            Some(active) if active.until < now => {
                let lease = active.lease;
                self.settle(lease, Verdict::Retry { at: now, counts: true });
                true
            }
            _ => false,
        }
    }

    /// Progress keeps the lease.
    pub fn extend(&mut self, lease: Lease, until: Millis) -> bool {
        match &mut self.active {
            Some(active) if active.lease == lease => {
                active.until = active.until.max(until);
                true
            }
            _ => false,
        }
    }

    /// J8 `park`: puts a late job that has not started aside.
    pub fn park(&mut self) -> bool {
        match &mut self.waiting {
            Some(waiting) if matches!(waiting.hold, Hold::Ready | Hold::Until(_)) => {
                waiting.hold = Hold::Parked;
                true
            }
            _ => false,
        }
    }

    /// Back into its lane: from parked, spilled or buried. A replayed job has all its tries again.
    pub fn release(&mut self) -> bool {
        match &mut self.waiting {
            Some(waiting) if !matches!(waiting.hold, Hold::Ready | Hold::Until(_)) => {
                waiting.attempts = 0;
                waiting.load.run_late = true;
                waiting.hold = Hold::Ready;
                true
            }
            _ => false,
        }
    }
}

/// What keeps a lane from growing without bound (J9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneGuard {
    /// Offers go to the overflow ledger, behind those that lie there.
    Overflow,
    /// Offers go to the line's lowest lane.
    Bulk,
}

impl LaneGuard {
    pub const ALL: [Self; 2] = [Self::Overflow, Self::Bulk];
    pub const fn label(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Bulk => "bulk",
        }
    }
}

#[cfg(test)]
mod tests;
