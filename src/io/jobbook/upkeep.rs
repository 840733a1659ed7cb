//! What the book does by itself (J8, J9, J10, K5), and what people ask of it: counts, lists, releases.

use super::JobBook;
use super::line::{LaneBook, Slot};
use super::shelf::{Aside, Entry, Shelf};
use super::txn::Txn;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, KeyState, Lane};
use crate::ports::queue::{JobState, LaneCount, Listed, Which};

/// Keys of one transaction when many are moved.
const PAGE: usize = 500;
/// The longest list, whatever was asked for.
const LIST_MAX: usize = 10_000;

impl<S: Shelf> JobBook<S> {
    /// J10, J8, J9, K5; says how many jobs moved.
    ///
    /// # Errors
    /// The shelf's; what was moved before stays moved.
    pub fn tend(&mut self, now: Millis) -> Result<u64, Fault> {
        let mut moved = 0;
        let names: Vec<Name> = self.lines.keys().copied().collect();
        for name in names {
            moved += self.expire(name, now)?;
            let line = self.line_mut(name);
            line.hashes.expire(now);
            moved += line.promote(now);
            moved += self.refill(name)?;
            moved += self.unpark(name)?;
        }
        Ok(moved)
    }

    fn expire(&mut self, name: Name, now: Millis) -> Result<u64, Fault> {
        let mut moved = 0;
        for rows in self.line_mut(name).expired(now).chunks(PAGE) {
            let mut txn = Txn::default();
            for row in rows {
                let key = JobKey { line: name, row: row.clone() };
                match self.modify(&mut txn, &key, |state| state.expire(now)) {
                    Ok(expired) => moved += u64::from(expired),
                    Err(fault) => return Err(self.roll_back(txn, fault)),
                }
            }
            self.commit(txn)?;
        }
        Ok(moved)
    }

    /// J9: lanes below half take back from the overflow, in order. The shelf's entries stay until their runs finish.
    pub(super) fn refill(&mut self, name: Name) -> Result<u64, Fault> {
        let line = self.line_mut(name);
        if !line.any_aside() {
            return Ok(0);
        }
        let mut moved = 0;
        for at in 0..self.rules.weights.len() {
            let at = Lane(at as u8);
            let lane = self.line_mut(name).lane(at);
            let (spilled, pending) = (lane.aside(Aside::Spilled), lane.pending());
            if spilled > 0 && self.rules.is_low(pending) {
                moved += self.refill_lane(name, at)?;
            }
        }
        Ok(moved)
    }

    fn refill_lane(&mut self, name: Name, at: Lane) -> Result<u64, Fault> {
        let max_pending = self.rules.max_pending;
        let lane = self.line_mut(name).lane(at);
        let (cursor, room) = (lane.cursor, max_pending.saturating_sub(lane.pending()).min(PAGE));
        let page = self.shelf.filed(name, Aside::Spilled, at, cursor, room)?;
        let mut moved = 0;
        for (seq, row) in page {
            self.line_mut(name).lane(at).cursor = seq;
            let key = JobKey { line: name, row };
            let Some(Slot { mut entry, filed }) = self.fetch(&key)? else { continue };
            if entry.state.waiting.as_ref().is_none_or(|w| w.hold != Hold::Spilled) {
                continue;
            }
            let seq = self.next_seq;
            self.next_seq += 1;
            let line = self.line_mut(name);
            line.unlink(&key.row, &entry);
            entry.state.waiting.iter_mut().for_each(|w| w.hold = Hold::Ready);
            entry.seq = seq;
            line.link(&key.row, &entry);
            line.slots.insert(key.row, Slot { entry, filed });
            moved += 1;
        }
        Ok(moved)
    }

    /// J8: parked jobs of a calm lane come back.
    fn unpark(&mut self, name: Name) -> Result<u64, Fault> {
        let calm = |(_, lane): &(Lane, &super::line::LaneBook)| {
            lane.aside(Aside::Parked) > 0 && lane.pending() == 0 && lane.aside(Aside::Spilled) == 0
        };
        let calm: Vec<Lane> = self.line_mut(name).lanes().filter(calm).map(|(at, _)| at).collect();
        let mut moved = 0;
        for lane in calm {
            let room = self.rules.max_pending.min(PAGE);
            let page = self.shelf.filed(name, Aside::Parked, lane, 0, room)?;
            moved += self.release_rows(name, Aside::Parked, page.into_iter().map(|(_, row)| row))?;
        }
        Ok(moved)
    }

    /// Back into their lanes, or into the overflow of a full one, in one transaction.
    fn release_rows(&mut self, line: Name, from: Aside, rows: impl Iterator<Item = RowKey>) -> Result<u64, Fault> {
        let mut txn = Txn::default();
        let mut moved = 0;
        for row in rows {
            let key = JobKey { line, row };
            let released = self.release_one(&mut txn, &key, from);
            match released {
                Ok(released) => moved += u64::from(released),
                Err(fault) => return Err(self.roll_back(txn, fault)),
            }
        }
        self.commit(txn)?;
        Ok(moved)
    }

    fn release_one(&mut self, txn: &mut Txn, key: &JobKey, from: Aside) -> Result<bool, Fault> {
        let Some(slot) = self.fetch(key)? else { return Ok(false) };
        let Some(lane) = slot.entry.filed().filter(|filed| filed.aside == from).map(|filed| filed.lane) else { return Ok(false) };
        let max_pending = self.rules.max_pending;
        let book = self.line_mut(key.line).lane(lane);
        let full = book.pending() >= max_pending || book.aside(Aside::Spilled) > 0;
        self.modify(txn, key, |state| {
            let released = state.release();
            if released && full {
                state.waiting.iter_mut().for_each(|w| w.hold = Hold::Spilled);
            }
            released
        })
    }

    /// Parked or buried jobs go back; says how many.
    ///
    /// # Errors
    /// `invalid` for other states; the shelf's.
    pub fn release(&mut self, which: &Which) -> Result<u64, Fault> {
        let from = match which.state {
            None | Some(JobState::Parked) => Aside::Parked,
            Some(JobState::Buried) => Aside::Buried,
            Some(other) => {
                let what = format!("`{}` jobs are not released; allowed: parked, buried", other.label());
                return Err(Fault::new(FaultKind::Invalid, "release of jobs", what));
            }
        };
        let mut moved = 0;
        for line in self.lines_of(which) {
            if let Some(row) = &which.row {
                moved += self.release_rows(line, from, std::iter::once(RowKey::new(row)))?;
                continue;
            }
            let lanes: Vec<Lane> = self.line_mut(line).lanes().map(|(at, _)| at).collect();
            for lane in lanes {
                let mut after = 0;
                loop {
                    let page = self.shelf.filed(line, from, lane, after, PAGE)?;
                    let Some((last, _)) = page.last() else { break };
                    after = *last;
                    moved += self.release_rows(line, from, page.into_iter().map(|(_, row)| row))?;
                }
            }
        }
        Ok(moved)
    }

    fn lines_of(&self, which: &Which) -> Vec<Name> {
        let mut lines: Vec<Name> = self.lines.keys().copied().filter(|line| which.line.is_none_or(|l| l == *line)).collect();
        lines.sort_by_key(|line| line.as_str());
        lines
    }

    /// Counts per lane, most urgent first.
    ///
    /// # Errors
    /// The shelf's.
    pub fn counts(&mut self, name: Name) -> Result<Vec<LaneCount>, Fault> {
        let Some(line) = self.lines.get(&name) else { return Ok(vec![LaneCount::default(); self.rules.weights.len()]) };
        let mut counts: Vec<LaneCount> = line
            .lanes()
            .map(|(_, lane)| LaneCount {
                waiting: lane.waiting as u64,
                retry: lane.retry as u64,
                active: lane.active as u64,
                parked: lane.aside(Aside::Parked) as u64,
                spilled: lane.aside(Aside::Spilled) as u64,
                buried: lane.aside(Aside::Buried) as u64,
                oldest: None,
                unfinished: None,
                diverted: false,
            })
            .collect();
        let waiting = line.slots.values().filter_map(|slot| slot.entry.state.waiting.as_ref());
        for waiting in waiting.filter(|w| matches!(w.hold, Hold::Ready | Hold::Until(_) | Hold::Spilled)) {
            older(&mut counts[usize::from(waiting.lane.0)].oldest, waiting.load.first_offered);
        }
        for active in line.slots.values().filter_map(|slot| slot.entry.state.active.as_ref()) {
            older(&mut counts[usize::from(active.lane.0)].unfinished, active.load.first_offered);
        }
        let firsts = |aside: Aside| {
            move |(at, lane): (Lane, &LaneBook)| {
                let cursor = if aside == Aside::Spilled { lane.cursor } else { 0 };
                (lane.aside(aside) > 0).then_some((aside, at, cursor))
            }
        };
        let asides: Vec<_> =
            [Aside::Spilled, Aside::Parked].into_iter().flat_map(|aside| line.lanes().filter_map(firsts(aside))).collect();
        for (aside, at, cursor) in asides {
            for (_, row) in self.shelf.filed(name, aside, at, cursor, 1)? {
                let slot = self.fetch(&JobKey { line: name, row })?;
                if let Some(waiting) = slot.and_then(|slot| slot.entry.state.waiting) {
                    let count = &mut counts[usize::from(at.0)];
                    let first = if aside == Aside::Spilled { &mut count.oldest } else { &mut count.unfinished };
                    older(first, waiting.load.first_offered);
                }
            }
        }
        for count in &mut counts {
            if let Some(oldest) = count.oldest {
                older(&mut count.unfinished, oldest);
            }
        }
        Ok(counts)
    }

    /// Jobs as people see them: first those in memory by line and row key, then those aside in their order.
    ///
    /// # Errors
    /// The shelf's.
    pub fn list(&mut self, which: &Which, max: usize) -> Result<Vec<Listed>, Fault> {
        let max = max.min(LIST_MAX);
        let mut jobs = Vec::new();
        for line in self.lines_of(which) {
            let mut here: Vec<Listed> = Vec::new();
            match &which.row {
                Some(row) => {
                    let key = JobKey { line, row: RowKey::new(row) };
                    here.extend(self.fetch(&key)?.into_iter().flat_map(|slot| listed(&key, &slot.entry.state)));
                }
                None => {
                    let slots = self.line_mut(line).slots.iter();
                    here.extend(slots.flat_map(|(row, slot)| listed(&JobKey { line, row: row.clone() }, &slot.entry.state)));
                }
            }
            here.retain(|job| which.state.is_none_or(|state| state == job.state));
            here.sort_by(|a, b| a.key.row.cmp(&b.key.row));
            here.truncate(max - jobs.len());
            jobs.extend(here);
            if which.row.is_none() {
                self.list_aside(line, which.state, max, &mut jobs)?;
            }
        }
        Ok(jobs)
    }

    fn list_aside(&mut self, line: Name, state: Option<JobState>, max: usize, jobs: &mut Vec<Listed>) -> Result<(), Fault> {
        let lanes: Vec<Lane> = self.line_mut(line).lanes().map(|(at, _)| at).collect();
        for aside in Aside::ALL.into_iter().filter(|aside| state.is_none_or(|s| s == state_of_aside(*aside))) {
            for lane in &lanes {
                let mut after = 0;
                while jobs.len() < max && self.line_mut(line).lane(*lane).aside(aside) > 0 {
                    let page = self.shelf.filed(line, aside, *lane, after, PAGE.min(max))?;
                    let Some((last, _)) = page.last() else { break };
                    after = *last;
                    for (_, row) in page {
                        if jobs.len() >= max || self.line_mut(line).slots.contains_key(&row) {
                            continue;
                        }
                        let key = JobKey { line, row };
                        let entry: Option<Entry> = self.fetch(&key)?.map(|slot| slot.entry);
                        jobs.extend(entry.into_iter().flat_map(|entry| listed(&key, &entry.state)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a taking would find something, and when the next retry is due.
    pub fn outlook(&self, name: Name, now: Millis) -> Outlook {
        let Some(line) = self.lines.get(&name) else { return Outlook::Idle };
        let refills = || line.lanes().any(|(_, lane)| lane.aside(Aside::Spilled) > 0 && self.rules.is_low(lane.pending()));
        match line.next_due() {
            _ if line.has_ready() || refills() => Outlook::Ready,
            Some(at) if at <= now => Outlook::Ready,
            Some(at) => Outlook::Due(at),
            None => Outlook::Idle,
        }
    }
}

/// What a worker of a line may expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outlook {
    Ready,
    Due(Millis),
    Idle,
}

fn older(oldest: &mut Option<Millis>, time: Millis) {
    *oldest = Some(oldest.map_or(time, |o| o.min(time)));
}

fn state_of_aside(aside: Aside) -> JobState {
    match aside {
        Aside::Parked => JobState::Parked,
        Aside::Spilled => JobState::Spilled,
        Aside::Buried => JobState::Buried,
    }
}

/// A key's jobs: the one that runs and the one that has not started.
fn listed(key: &JobKey, state: &KeyState) -> Vec<Listed> {
    let active = state.active.as_ref().map(|active| Listed {
        key: key.clone(),
        state: JobState::Active,
        lane: active.lane,
        load: active.load.clone(),
        attempts: active.attempts,
        until: Some(active.until),
        reason: None,
    });
    let waiting = state.waiting.as_ref().map(|waiting| {
        let (state, until, reason) = match &waiting.hold {
            Hold::Ready => (JobState::Waiting, None, None),
            Hold::Until(at) => (JobState::Retry, Some(*at), None),
            Hold::Parked => (JobState::Parked, None, None),
            Hold::Spilled => (JobState::Spilled, None, None),
            Hold::Buried { reason } => (JobState::Buried, None, Some(reason.clone())),
        };
        let (key, load) = (key.clone(), waiting.load.clone());
        Listed { key, state, lane: waiting.lane, load, attempts: waiting.attempts, until, reason }
    });
    active.into_iter().chain(waiting).collect()
}
