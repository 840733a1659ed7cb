//! What does not lie in Redis: spilled and parked jobs (J8, J9), on a shelf that survives a lost Redis.
//!
//! Rows lie in order of arrival per line, kind and lane. A row that came back to its lane stays until its run ends (J9): the
//! cursor of its lane says that it is there. Its sequence is its generation: a change that spills anew meanwhile is a
//! later row of the same key, which that end leaves alone. A new life of the queue puts the cursors back (J11).
//! Counts and cursors are in memory, rows are not. Knows nothing of Redis.

use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, KeyState, Lane, Load, Offered, Waiting};
use crate::io::jobbook::{Aside, Change, Entry, Filed, Shelf};
use crate::ports::queue::{JobState, Listed, Which};
use std::collections::HashMap;

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
}

impl Overflow {
    pub(super) fn new(shelf: Box<dyn Shelf>, lanes: usize) -> Self {
        Self { shelf, lanes, lines: HashMap::new(), next_seq: 1 }
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
        Ok(self.line(line)?.iter().map(|book| book.spilled + book.parked).sum())
    }

    /// How many jobs of all lines met so far lie aside.
    pub(super) fn total(&self) -> u64 {
        self.lines.values().flatten().map(|book| book.spilled + book.parked).sum()
    }

    /// Per lane, whether jobs of it are spilled: newer ones queue up behind them.
    pub(super) fn spilling(&mut self, line: Name) -> Result<Vec<bool>, Fault> {
        Ok(self.line(line)?.iter().map(|book| book.spilled > 0).collect())
    }

    /// A row that lies aside and is not back in its lane.
    fn aside(&mut self, key: &JobKey) -> Result<Option<Row>, Fault> {
        let Some(entry) = self.shelf.load(key)? else { return Ok(None) };
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
        for (seq, row) in self.shelf.filed(line, Aside::Spilled, lane, after, max)? {
            let key = JobKey { line, row };
            match self.shelf.load(&key)?.and_then(|entry| entry.state.waiting) {
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
        let Some(entry) = self.shelf.load(key)? else { return Ok(()) };
        match entry.filed() {
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
        let page = self.shelf.filed(line, Aside::Parked, lane, 0, max)?;
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
        let books = self.line(line)?.clone();
        let mut out = Vec::with_capacity(books.len());
        for (at, book) in books.into_iter().enumerate() {
            let lane = Lane(at as u8);
            let first = |aside: Aside, count: u64, after: u64| -> Result<Option<Millis>, Fault> {
                if count == 0 {
                    return Ok(None);
                }
                let Some((_, row)) = self.shelf.filed(line, aside, lane, after, 1)?.pop() else { return Ok(None) };
                let entry = self.shelf.load(&JobKey { line, row })?;
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
                        let page = self.shelf.filed(line, aside, lane, after, PAGE.min(max - out.len()))?;
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

    /// Puts one key's entry on the shelf and keeps the counts.
    fn store(&mut self, key: &JobKey, after: Option<Entry>) -> Result<(), Fault> {
        let before = self.shelf.load(key)?.and_then(|entry| entry.filed());
        let now = after.as_ref().and_then(Entry::filed);
        self.shelf.commit(&[Change { key, before, after: after.as_ref() }])?;
        for (filed, add) in [(before, false), (now, true)] {
            let Some(Filed { aside, lane, seq }) = filed else { continue };
            let book = self.book(key.line, lane)?;
            let count = match aside {
                Aside::Spilled if seq > book.cursor => &mut book.spilled,
                Aside::Parked => &mut book.parked,
                _ => continue,
            };
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
        }
        Ok(())
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
    use crate::io::jobbook::MemoryShelf;

    fn key(row: &str) -> JobKey {
        JobKey { line: Name::of("l"), row: RowKey::new(row) }
    }

    fn spill(overflow: &mut Overflow, row: &str) {
        overflow.put(&key(row), Lane(0), 0, Load::default(), Hold::Spilled).unwrap();
    }

    fn page(overflow: &mut Overflow) -> Vec<(String, u64)> {
        let rows = overflow.page(Name::of("l"), Lane(0), 10).unwrap();
        rows.into_iter().map(|row| (row.key.row.to_string(), row.seq)).collect()
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
        overflow.ended(&key("a"), first).unwrap();
        assert_eq!(page(&mut overflow).len(), 2, "a row that never came back is not ended by anything");
        overflow.pass(Name::of("l"), Lane(0), first).unwrap();
        assert_eq!(overflow.coalesce(&key("a"), Lane(0), &Load::default()).unwrap(), None, "it is in its lane");
        spill(&mut overflow, "a");
        overflow.ended(&key("a"), first).unwrap();
        let rows = page(&mut overflow);
        assert_eq!(rows.iter().map(|(row, _)| row.as_str()).collect::<Vec<_>>(), ["b", "a"], "the later change stays");
        overflow.pass(Name::of("l"), Lane(0), rows[0].1).unwrap();
        overflow.pass(Name::of("l"), Lane(0), rows[1].1).unwrap();
        overflow.ended(&key("b"), rows[0].1).unwrap();
        assert_eq!(overflow.held(Name::of("l")), Ok(0));
        overflow.life_lost().unwrap();
        assert_eq!(page(&mut overflow).len(), 1, "J11: what came back in the lost life lies aside again, what ended does not");
    }
}
