//! The book of jobs that the embedded queue and the queue in memory share: every transition is `domain::job::KeyState`'s.
//!
//! Keeps J1, J2, J4 (`KeyState`), J6 (lanes), J8 (late jobs), J9 (overflow), J10 (leases), K5 (hashes).
//! In memory are the jobs that wait, retry or run. Those that lie aside (spilled, parked, buried) are only on the
//! [`Shelf`], with counters here, so memory does not grow with them. J9's ledger row is the shelf's entry: a job that
//! came back from the overflow stays spilled on the shelf until its run finishes, so a crash finds it there again; a
//! change that arrives meanwhile is a new entry of the same key, which that finish leaves alone.
//!
//! A change is worked out in memory, put on the shelf in one atomic commit, and taken back if that fails (`txn.rs`).
//! `take` puts nothing on the shelf: a job that was handed out when the process died waits again, no try used up.
//!
//! Knows nothing of disks, threads or clocks: callers hand in *now*, lock the book, and sync the shelf before they answer.

mod hashes;
mod line;
mod shelf;
mod txn;
mod upkeep;
pub mod wait;

pub use shelf::{Aside, Change, Entry, Filed, MemoryShelf, Shelf};
pub use upkeep::Outlook;

use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{Hold, JobKey, KeyState, Lane, Lease, Offer, Offered, Settled, Verdict};
use crate::domain::quick::QuickMap;
use crate::ports::queue::{Batch, Finish, Taken};
use crate::settings::{OnLate, Queue};
use line::{LineBook, Slot};
use txn::Txn;
use wait::Bells;

/// Late jobs one taking puts aside at most, so that it ends soon.
const LATE_PER_TAKE: u64 = 1_000;

/// What the book needs of the configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    weights: Vec<i64>,
    strict: bool,
    default_lane: Lane,
    max_pending: usize,
    expire_after: i64,
    on_late: OnLate,
    lease: i64,
}

impl From<&Queue> for Rules {
    fn from(queue: &Queue) -> Self {
        let weights: Vec<i64> = queue.lanes.iter().map(|(_, weight)| i64::from((*weight).max(1))).collect();
        let lanes = weights.len().max(1);
        Self {
            weights: if weights.is_empty() { vec![1] } else { weights },
            strict: queue.strict,
            default_lane: Lane(queue.default_lane.0.min((lanes - 1) as u8)),
            max_pending: queue.max_pending.max(1),
            expire_after: millis(queue.expire_after),
            on_late: queue.on_late,
            lease: millis(queue.lease),
        }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Rules {
    /// The lane as configured; one that is not goes to the default lane.
    pub fn lane(&self, lane: Lane) -> Lane {
        if usize::from(lane.0) < self.weights.len() { lane } else { self.default_lane }
    }

    /// J9: whether a lane with so many jobs may take some back from the overflow.
    fn is_low(&self, pending: usize) -> bool {
        pending == 0 || pending.saturating_mul(2) < self.max_pending
    }
}

/// The jobs of all lines.
pub struct JobBook<S> {
    rules: Rules,
    shelf: S,
    lines: QuickMap<Name, LineBook>,
    bells: Bells,
    /// Orders jobs in their lane and aside; only ever rises.
    next_seq: u64,
    next_lease: u64,
}

impl<S: Shelf> JobBook<S> {
    /// An empty book. `first_lease` lies above every lease of an earlier life of the same shelf.
    pub fn new(rules: Rules, shelf: S, bells: Bells, first_lease: u64) -> Self {
        Self { rules, shelf, lines: QuickMap::default(), bells, next_seq: 1, next_lease: first_lease }
    }

    /// Takes in an entry that lies on the shelf, when it is opened: a job that was running waits again.
    pub fn admit(&mut self, key: JobKey, entry: Entry) {
        self.next_seq = self.next_seq.max(entry.seq.saturating_add(1));
        let filed = entry.filed();
        let entry = entry.settled();
        if entry.state.is_empty() {
            return;
        }
        let line = self.line_mut(key.line);
        line.link(&key.row, &entry);
        if !entry.is_aside() {
            line.slots.insert(key.row, Slot { entry, filed });
        }
    }

    pub fn shelf(&self) -> &S {
        &self.shelf
    }

    fn line_mut(&mut self, name: Name) -> &mut LineBook {
        let (rules, bells) = (&self.rules, &self.bells);
        self.lines.entry(name).or_insert_with(|| LineBook::new(rules.weights.len(), bells.of(name)))
    }

    /// J2, J4, J9. All or nothing.
    ///
    /// # Errors
    /// The shelf's; then nothing was accepted.
    pub fn offer(&mut self, now: Millis, offers: Vec<Offer>) -> Result<Vec<Offered>, Fault> {
        let mut txn = Txn::of(offers.len());
        let mut answers = Vec::with_capacity(offers.len());
        for Offer { key, lane, mut load } in offers {
            let lane = self.rules.lane(lane);
            load.first_offered = now;
            let max_pending = self.rules.max_pending;
            let book = self.line_mut(key.line).lane(lane);
            // While older jobs of the lane lie in the overflow, newer ones queue up behind them.
            let spill = book.pending() >= max_pending || book.aside(Aside::Spilled) > 0;
            match self.modify(&mut txn, &key, |state| state.offer(lane, &load, spill)) {
                Ok(answer) => answers.push(answer),
                Err(fault) => return Err(self.roll_back(txn, fault)),
            }
        }
        self.commit(txn)?;
        Ok(answers)
    }

    /// J6, J8: up to `max` jobs under new leases.
    ///
    /// # Errors
    /// The shelf's; then nothing was taken.
    pub fn take(&mut self, now: Millis, line: Name, max: usize) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        let mut late = Txn::default();
        if !self.lines.contains_key(&line) {
            return Ok(batch);
        }
        if let Err(fault) = self.draw(now, line, max, &mut batch, &mut late) {
            let fault = self.roll_back(late, fault);
            self.give_back(batch.jobs);
            return Err(fault);
        }
        if let Err(fault) = self.commit(late) {
            self.give_back(batch.jobs);
            return Err(fault);
        }
        Ok(batch)
    }

    fn draw(&mut self, now: Millis, line: Name, max: usize, batch: &mut Batch, late: &mut Txn) -> Result<(), Fault> {
        self.line_mut(line).promote(now);
        while batch.jobs.len() < max && batch.parked + batch.dropped < LATE_PER_TAKE {
            self.refill(line)?;
            let Rules { weights, strict, .. } = &self.rules;
            let Some(row) = self.lines.get_mut(&line).and_then(|book| book.pick(weights, *strict)) else { break };
            let key = JobKey { line, row };
            if self.is_late(&key, now) {
                self.set_late_aside(&key, now, batch, late)?;
                continue;
            }
            let lease = Lease(self.next_lease);
            self.next_lease += 1;
            let until = Millis(now.0.saturating_add(self.rules.lease));
            let book = self.line_mut(line);
            let Some(taken) = book.change(&key.row, |state| state.take(now, lease, until).cloned()).flatten() else { break };
            let last_document = book.hashes.take(&key.row, now);
            let attempts = taken.attempts;
            batch.jobs.push(Taken { key, lane: taken.lane, load: taken.load, attempts, lease, last_document });
        }
        Ok(())
    }

    fn is_late(&self, key: &JobKey, now: Millis) -> bool {
        let waiting = self.lines.get(&key.line).and_then(|l| l.slots.get(&key.row)).and_then(|s| s.entry.state.waiting.as_ref());
        self.rules.on_late != OnLate::Run
            && waiting.is_some_and(|w| !w.load.run_late && now.since(w.load.first_offered) > self.rules.expire_after)
    }

    fn set_late_aside(&mut self, key: &JobKey, now: Millis, batch: &mut Batch, late: &mut Txn) -> Result<(), Fault> {
        if self.rules.on_late == OnLate::Park {
            self.modify(late, key, KeyState::park)?;
            batch.parked += 1;
            return Ok(());
        }
        let allowed = self.rules.expire_after / 1000;
        self.modify(late, key, |state| {
            if let Some(waiting) = &mut state.waiting {
                let waited = now.since(waiting.load.first_offered) / 1000;
                waiting.hold = Hold::Buried { reason: format!("late: waited {waited} s, {allowed} s are allowed") };
            }
        })?;
        batch.dropped += 1;
        Ok(())
    }

    /// Undoes a taking whose answer cannot be given.
    fn give_back(&mut self, jobs: Vec<Taken>) {
        for job in jobs {
            let book = self.line_mut(job.key.line);
            book.change(&job.key.row, |state| state.settle(job.lease, Verdict::Requeue));
            if let Some(hash) = job.last_document {
                book.hashes.restore(&job.key.row, hash);
            }
        }
    }

    /// J10, K5. All or nothing.
    ///
    /// # Errors
    /// The shelf's; then no run was ended.
    pub fn finish(&mut self, now: Millis, verdicts: Vec<Finish>) -> Result<Vec<Settled>, Fault> {
        let mut txn = Txn::of(verdicts.len());
        let mut answers = Vec::with_capacity(verdicts.len());
        let mut written = Vec::with_capacity(verdicts.len());
        for Finish { key, lease, verdict, document } in verdicts {
            if !self.holds(&key, lease) {
                answers.push(Settled::LeaseGone);
                continue;
            }
            let done = verdict == Verdict::Done;
            match self.modify(&mut txn, &key, |state| state.settle(lease, verdict)) {
                Ok(answer) => answers.push(answer),
                Err(fault) => return Err(self.roll_back(txn, fault)),
            }
            written.extend(document.filter(|_| done).map(|hash| (key, hash)));
        }
        self.commit(txn)?;
        for (key, hash) in written {
            self.line_mut(key.line).hashes.put(key.row, hash, now);
        }
        Ok(answers)
    }

    fn holds(&self, key: &JobKey, lease: Lease) -> bool {
        let slot = self.lines.get(&key.line).and_then(|line| line.slots.get(&key.row));
        slot.and_then(|slot| slot.entry.state.active.as_ref()).is_some_and(|active| active.lease == lease)
    }

    /// Keeps leases alive; those that are gone stay gone.
    pub fn extend(&mut self, now: Millis, leases: Vec<(JobKey, Lease)>) {
        let until = Millis(now.0.saturating_add(self.rules.lease));
        for (key, lease) in leases {
            if self.holds(&key, lease) {
                self.line_mut(key.line).change(&key.row, |state| state.extend(lease, until));
            }
        }
    }
}

#[cfg(test)]
mod tests;
