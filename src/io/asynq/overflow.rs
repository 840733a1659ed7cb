//! What does not lie in Redis: spilled and parked jobs (J8, J9), on a shelf that survives a lost Redis.
//!
//! Rows lie in order of arrival per line, kind and lane. A row that came back to its lane stays until its run ends (J9): the
//! cursor of its lane says that it is there. Its sequence is its generation: a change that spills anew meanwhile is a
//! later row of the same key, which that end leaves alone. A new life of the queue puts the cursors back (J11).
//! Counts and cursors are in memory, rows are not. What one step changes goes to the shelf at once, all or nothing: a
//! disk is waited for once a step, not once a job. Knows nothing of Redis.

use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, KeyState, Lane, Load, Offered, Waiting};
use crate::domain::quick::QuickMap;
use crate::io::jobbook::{Aside, Change, Entry, Filed, Shelf};
use crate::ports::queue::{JobState, Listed, Which};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Entries;

/// Rows read at once.
const PAGE: usize = 500;

#[derive(Clone, Copy, Default)]
struct LaneBook {
    spilled: u64,
    parked: u64,
    /// Spilled rows up to here are back in their lane.
    cursor: u64,
}

/// A row as it lies aside.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub key: JobKey,
    pub seq: u64,
    pub waiting: Waiting,
}

/// What lies aside in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asides {
    pub spilled: u64,
    pub parked: u64,
    /// First offer of the first that is spilled, and of the first that is parked.
    pub oldest_spilled: Option<Millis>,
    pub oldest_parked: Option<Millis>,
}

pub(super) struct Overflow {
    shelf: Box<dyn Shelf>,
    lanes: usize,
    lines: HashMap<Name, Vec<LaneBook>>,
    next_seq: u64,
    /// Keys that the step in hand has looked at.
    seen: QuickMap<JobKey, Seen>,
}

/// One key within a step.
struct Seen {
    /// Its place aside as it is on the shelf.
    filed: Option<Filed>,
    entry: Option<Entry>,
    changed: bool,
}

impl Overflow {
    pub(super) fn new(shelf: Box<dyn Shelf>, lanes: usize) -> Self {
        Self { shelf, lanes, lines: HashMap::new(), next_seq: 1, seen: QuickMap::default() }
    }

    /// Runs a step, and puts what it changed on the shelf. One that fails changes nothing.
    pub(super) fn step<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let done = step(self).and_then(|answer| self.settle().map(|()| answer));
        self.seen.clear();
        done
    }

    /// Reads many keys at once, before a step asks for each.
    pub(super) fn look_at<'a>(&mut self, keys: impl Iterator<Item = &'a JobKey>) -> Result<(), Fault> {
        let keys: Vec<&JobKey> = keys.filter(|key| !self.seen.contains_key(*key)).collect();
        for (key, entry) in keys.iter().zip(self.shelf.load_all(&keys)?) {
            self.seen.insert((*key).clone(), Seen::read(entry));
        }
        Ok(())
    }

    fn seen(&mut self, key: &JobKey) -> Result<&mut Seen, Fault> {
        Ok(match self.seen.entry(key.clone()) {
            Entries::Occupied(seen) => seen.into_mut(),
            Entries::Vacant(free) => free.insert(Seen::read(self.shelf.load(key)?)),
        })
    }

    /// What lies on the shelf is what was stored so far; the counts say the same.
    fn settle(&mut self) -> Result<(), Fault> {
        let seen = std::mem::take(&mut self.seen);
        let changed: Vec<(JobKey, Seen)> = seen.into_iter().filter(|(_, seen)| seen.changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let changes = changed.iter().map(|(key, seen)| Change { key, before: seen.filed, after: seen.entry.as_ref() });
        self.shelf.commit(&changes.collect::<Vec<_>>())?;
        for (key, Seen { filed, entry, .. }) in &changed {
            let now = entry.as_ref().and_then(Entry::filed);
            for (filed, add) in [(*filed, false), (now, true)] {
                let Some(Filed { aside, lane, seq }) = filed else { continue };
                let book = self.book(key.line, lane)?;
                let count = match aside {
                    Aside::Spilled if seq > book.cursor => &mut book.spilled,
                    Aside::Parked => &mut book.parked,
                    _ => continue,
                };
                *count = if add { *count + 1 } else { count.saturating_sub(1) };
            }
        }
        Ok(())
    }

    /// Keys aside after `after`, in order.
    fn filed(&mut self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
        self.settle()?;
        self.shelf.filed(line, aside, lane, after, max)
    }

    /// Counts what lies there, the first time a line is met.
    fn line(&mut self, line: Name) -> Result<&mut Vec<LaneBook>, Fault> {
        if !self.lines.contains_key(&line) {
            let mut books = vec![LaneBook::default(); self.lanes];
            for (at, book) in books.iter_mut().enumerate() {
                for aside in [Aside::Spilled, Aside::Parked] {
                    let mut after = 0;
                    loop {
                        let page = self.shelf.filed(line, aside, Lane(at as u8), after, PAGE)?;
                        let Some((last, _)) = page.last() else { break };
                        after = *last;
                        self.next_seq = self.next_seq.max(after + 1);
                        let count = if aside == Aside::Spilled { &mut book.spilled } else { &mut book.parked };
                        *count += page.len() as u64;
                    }
                }
            }
            self.lines.insert(line, books);
        }
        Ok(self.lines.entry(line).or_default())
    }

    fn book(&mut self, line: Name, lane: Lane) -> Result<&mut LaneBook, Fault> {
        let books = self.line(line)?;
        let at = usize::from(lane.0).min(books.len().saturating_sub(1));
        Ok(&mut books[at])
    }

    /// How many jobs of the line lie aside.
    pub(super) fn held(&mut self, line: Name) -> Result<u64, Fault> {
        self.settle()?;
        Ok(self.line(line)?.iter().map(|book| book.spilled + book.parked).sum())
    }

    /// How many jobs of all lines met so far lie aside.
    pub(super) fn total(&self) -> u64 {
        self.lines.values().flatten().map(|book| book.spilled + book.parked).sum()
    }

    /// Per lane, whether jobs of it are spilled: newer ones queue up behind them.
    pub(super) fn spilling(&mut self, line: Name) -> Result<Vec<bool>, Fault> {
        self.settle()?;
        Ok(self.line(line)?.iter().map(|book| book.spilled > 0).collect())
    }

    /// A row that lies aside and is not back in its lane.
    fn aside(&mut self, key: &JobKey) -> Result<Option<Row>, Fault> {
        let Some(entry) = self.seen(key)?.entry.clone() else { return Ok(None) };
        let Some(Filed { aside, lane, seq }) = entry.filed() else { return Ok(None) };
        let back = aside == Aside::Spilled && seq <= self.book(key.line, lane)?.cursor;
        let Some(waiting) = entry.state.waiting.filter(|_| !back && aside != Aside::Buried) else { return Ok(None) };
        Ok(Some(Row { key: key.clone(), seq, waiting }))
    }

    /// J2, J4: onto a job that lies aside; `None` when there is none.
    pub(super) fn coalesce(&mut self, key: &JobKey, lane: Lane, load: &Load) -> Result<Option<Offered>, Fault> {
        let Some(row) = self.aside(key)? else { return Ok(None) };
        let mut state = KeyState { waiting: Some(row.waiting.clone()), active: None };
        let mut load = load.clone();
        load.first_offered = row.waiting.load.first_offered.max(load.first_offered);
        let answer = state.offer(lane, &load, true);
        let raised = state.waiting.as_ref().is_some_and(|waiting| waiting.lane != row.waiting.lane);
        let seq = if raised { self.next() } else { row.seq };
        self.store(key, Some(Entry { state, seq }))?;
        Ok(Some(answer))
    }

    /// Puts a job aside, in place of whatever lies there of its key.
    pub(super) fn put(&mut self, key: &JobKey, lane: Lane, attempts: u32, load: Load, hold: Hold) -> Result<(), Fault> {
        self.line(key.line)?;
        let seq = self.next();
        let mut waiting = Waiting { lane, load, attempts, hold };
        if let Some(row) = self.aside(key)? {
            waiting.lane = waiting.lane.raised_to(row.waiting.lane);
            waiting.load.absorb(&row.waiting.load);
        }
        self.store(key, Some(Entry { state: KeyState { waiting: Some(waiting), active: None }, seq }))
    }

    /// The next spilled rows of a lane, in order.
    pub(super) fn page(&mut self, line: Name, lane: Lane, max: usize) -> Result<Vec<Row>, Fault> {
        let after = self.book(line, lane)?.cursor;
        let mut rows = Vec::new();
        let filed = self.filed(line, Aside::Spilled, lane, after, max)?;
        let filed: Vec<(u64, JobKey)> = filed.into_iter().map(|(seq, row)| (seq, JobKey { line, row })).collect();
        self.look_at(filed.iter().map(|(_, key)| key))?;
        for (seq, key) in filed {
            match self.seen(&key)?.entry.clone().and_then(|entry| entry.state.waiting) {
                Some(waiting) => rows.push(Row { key, seq, waiting }),
                None => self.pass(line, lane, seq)?,
            }
        }
        Ok(rows)
    }

    /// Rows up to this one are back in their lane.
    pub(super) fn pass(&mut self, line: Name, lane: Lane, seq: u64) -> Result<(), Fault> {
        let book = self.book(line, lane)?;
        book.cursor = book.cursor.max(seq);
        book.spilled = book.spilled.saturating_sub(1);
        Ok(())
    }

    /// J9: the run ended; its row goes, if it is still the one that was read.
    pub(super) fn ended(&mut self, key: &JobKey, seq: u64) -> Result<(), Fault> {
        match self.seen(key)?.entry.as_ref().and_then(Entry::filed) {
            Some(filed)
                if filed.seq == seq && filed.aside == Aside::Spilled && seq <= self.book(key.line, filed.lane)?.cursor =>
            {
                self.store(key, None)
            }
            _ => Ok(()),
        }
    }

    /// Parked jobs queue up in the overflow of their lanes, to run whatever their age; says how many.
    pub(super) fn unpark(&mut self, line: Name, lane: Lane, max: usize) -> Result<u64, Fault> {
        let page = self.filed(line, Aside::Parked, lane, 0, max)?;
        for (_, row) in &page {
            self.unpark_one(&JobKey { line, row: row.clone() })?;
        }
        Ok(page.len() as u64)
    }

    /// As [`Overflow::unpark`], for one key.
    pub(super) fn unpark_one(&mut self, key: &JobKey) -> Result<bool, Fault> {
        let Some(row) = self.aside(key)?.filter(|row| row.waiting.hold == Hold::Parked) else { return Ok(false) };
        let mut state = KeyState { waiting: Some(row.waiting), active: None };
        state.release();
        state.waiting.iter_mut().for_each(|waiting| waiting.hold = Hold::Spilled);
        let seq = self.next();
        self.store(key, Some(Entry { state, seq }))?;
        Ok(true)
    }

    /// J11: nothing that came back is there any more.
    pub(super) fn life_lost(&mut self) -> Result<(), Fault> {
        let lines: Vec<Name> = std::mem::take(&mut self.lines).into_keys().collect();
        lines.into_iter().try_for_each(|line| self.line(line).map(drop))
    }

    pub(super) fn counts(&mut self, line: Name) -> Result<Vec<Asides>, Fault> {
        self.settle()?;
        let books = self.line(line)?.clone();
        let mut out = Vec::with_capacity(books.len());
        for (at, book) in books.into_iter().enumerate() {
            let lane = Lane(at as u8);
            let mut first = |aside: Aside, count: u64, after: u64| -> Result<Option<Millis>, Fault> {
                if count == 0 {
                    return Ok(None);
                }
                let Some((_, row)) = self.filed(line, aside, lane, after, 1)?.pop() else { return Ok(None) };
                let entry = self.seen(&JobKey { line, row })?.entry.clone();
                Ok(entry.and_then(|entry| entry.state.waiting).map(|waiting| waiting.load.first_offered))
            };
            let oldest_spilled = first(Aside::Spilled, book.spilled, book.cursor)?;
            let oldest_parked = first(Aside::Parked, book.parked, 0)?;
            out.push(Asides { spilled: book.spilled, parked: book.parked, oldest_spilled, oldest_parked });
        }
        Ok(out)
    }

    pub(super) fn list(&mut self, line: Name, which: &Which, max: usize) -> Result<Vec<Listed>, Fault> {
        let mut out = Vec::new();
        if let Some(row) = &which.row {
            let row = self.aside(&JobKey { line, row: RowKey::new(row) })?;
            out.extend(row.map(listed));
        } else {
            for (aside, state) in [(Aside::Parked, JobState::Parked), (Aside::Spilled, JobState::Spilled)] {
                for at in 0..self.lanes {
                    let lane = Lane(at as u8);
                    let mut after = if aside == Aside::Spilled { self.book(line, lane)?.cursor } else { 0 };
                    while which.state.is_none_or(|s| s == state) && out.len() < max {
                        let page = self.filed(line, aside, lane, after, PAGE.min(max - out.len()))?;
                        let Some((last, _)) = page.last() else { break };
                        after = *last;
                        for (_, row) in page {
                            let row = self.aside(&JobKey { line, row })?;
                            out.extend(row.map(listed));
                        }
                    }
                }
            }
        }
        out.retain(|job| which.state.is_none_or(|state| state == job.state));
        out.truncate(max);
        Ok(out)
    }

    fn next(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// One key's entry, on the shelf when the step ends.
    fn store(&mut self, key: &JobKey, after: Option<Entry>) -> Result<(), Fault> {
        let seen = self.seen(key)?;
        (seen.entry, seen.changed) = (after, true);
        Ok(())
    }
}

impl Seen {
    fn read(entry: Option<Entry>) -> Self {
        Self { filed: entry.as_ref().and_then(Entry::filed), entry, changed: false }
    }
}

fn listed(row: Row) -> Listed {
    let state = if row.waiting.hold == Hold::Parked { JobState::Parked } else { JobState::Spilled };
    let Waiting { lane, load, attempts, .. } = row.waiting;
    Listed { key: row.key, state, lane, load, attempts, until: None, reason: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::FaultKind;
    use crate::io::jobbook::MemoryShelf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn key(row: &str) -> JobKey {
        JobKey { line: Name::of("l"), row: RowKey::new(row) }
    }

    fn spill(overflow: &mut Overflow, row: &str) {
        overflow.step(|o| o.put(&key(row), Lane(0), 0, Load::default(), Hold::Spilled)).unwrap();
    }

    fn end(overflow: &mut Overflow, row: &str, seq: u64) {
        overflow.step(|o| o.ended(&key(row), seq)).unwrap();
    }

    fn page(overflow: &mut Overflow) -> Vec<(String, u64)> {
        let rows = overflow.step(|o| o.page(Name::of("l"), Lane(0), 10)).unwrap();
        rows.into_iter().map(|row| (row.key.row.to_string(), row.seq)).collect()
    }

    /// Counts what it is asked to commit, and refuses when told to.
    #[derive(Default)]
    struct Watched {
        shelf: MemoryShelf,
        refuses: Arc<AtomicBool>,
        commits: Arc<AtomicUsize>,
    }

    impl Shelf for Watched {
        fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault> {
            self.shelf.load(key)
        }
        fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
            self.shelf.filed(line, aside, lane, after, max)
        }
        fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault> {
            if self.refuses.load(Ordering::Relaxed) {
                return Err(Fault::new(FaultKind::Full, "shelf", "no room"));
            }
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.shelf.commit(changes)
        }
    }

    /// Goal: a disk is waited for once a step, and a step that fails changes nothing, its counts included. Method: steps of
    /// many jobs on a shelf that counts, then refuses.
    #[test]
    fn a_step_is_one_commit_or_none() {
        let watched = Watched::default();
        let (commits, refuses) = (Arc::clone(&watched.commits), Arc::clone(&watched.refuses));
        let mut overflow = Overflow::new(Box::new(watched), 1);
        let many = |o: &mut Overflow, rows: std::ops::Range<u32>| {
            rows.clone().try_for_each(|n| o.put(&key(&n.to_string()), Lane(0), 0, Load::default(), Hold::Spilled))?;
            // Read back within the step: onto the one that was just put.
            rows.map(|n| o.coalesce(&key(&n.to_string()), Lane(0), &Load::default())).collect::<Result<Vec<_>, _>>()
        };
        let answers = overflow.step(|o| many(o, 0..300)).unwrap();
        assert_eq!(answers, vec![Some(Offered::Coalesced); 300]);
        assert_eq!((commits.load(Ordering::Relaxed), overflow.total()), (1, 300));
        refuses.store(true, Ordering::Relaxed);
        assert!(overflow.step(|o| many(o, 200..400)).is_err());
        let late = Fault::new(FaultKind::Timeout, "step", "in its middle");
        refuses.store(false, Ordering::Relaxed);
        assert!(overflow.step(|o| many(o, 200..400).and(Err::<(), _>(late))).is_err());
        assert_eq!((commits.load(Ordering::Relaxed), overflow.total(), overflow.held(Name::of("l"))), (1, 300, Ok(300)));
        assert_eq!(overflow.step(|o| o.coalesce(&key("399"), Lane(0), &Load::default())), Ok(None));
        let order: Vec<String> = page(&mut overflow).into_iter().map(|(row, _)| row).collect();
        assert_eq!(order, (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "in the order of arrival");
    }

    /// Goal: J9's generation. Method: a row comes back; its key spills anew; the end of the first leaves the second.
    #[test]
    fn a_row_goes_with_its_own_end_only() {
        let mut overflow = Overflow::new(Box::new(MemoryShelf::default()), 1);
        spill(&mut overflow, "a");
        spill(&mut overflow, "b");
        let rows = page(&mut overflow);
        assert_eq!(rows.iter().map(|(row, _)| row.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let first = rows[0].1;
        end(&mut overflow, "a", first);
        assert_eq!(page(&mut overflow).len(), 2, "a row that never came back is not ended by anything");
        overflow.pass(Name::of("l"), Lane(0), first).unwrap();
        let answer = overflow.step(|o| o.coalesce(&key("a"), Lane(0), &Load::default()));
        assert_eq!(answer, Ok(None), "it is in its lane");
        spill(&mut overflow, "a");
        end(&mut overflow, "a", first);
        let rows = page(&mut overflow);
        assert_eq!(rows.iter().map(|(row, _)| row.as_str()).collect::<Vec<_>>(), ["b", "a"], "the later change stays");
        overflow.pass(Name::of("l"), Lane(0), rows[0].1).unwrap();
        overflow.pass(Name::of("l"), Lane(0), rows[1].1).unwrap();
        end(&mut overflow, "b", rows[0].1);
        assert_eq!(overflow.held(Name::of("l")), Ok(0));
        overflow.life_lost().unwrap();
        assert_eq!(page(&mut overflow).len(), 1, "J11: what came back in the lost life lies aside again, what ended does not");
    }
}
