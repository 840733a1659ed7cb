//! The book's own bounds and its undoing. What a queue promises is in `tests/contract`.

use super::*;
use crate::domain::fault::FaultKind;
use crate::domain::ids::RowKey;
use crate::domain::job::Load;
use crate::ports::queue::Which;
use crate::settings::{QueueKind, Retry};
use std::time::Duration;

/// A shelf whose commits fail while told so.
#[derive(Default)]
struct Fragile {
    shelf: MemoryShelf,
    broken: bool,
    commits: usize,
}

impl Shelf for Fragile {
    fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault> {
        self.shelf.load(key)
    }
    fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
        self.shelf.filed(line, aside, lane, after, max)
    }
    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::new(FaultKind::Full, "shelf", "full"));
        }
        self.commits += 1;
        self.shelf.commit(changes)
    }
}

fn book(max_pending: usize, on_late: OnLate) -> JobBook<Fragile> {
    let settings = Queue {
        kind: QueueKind::Embedded,
        lanes: vec![(Name::of("high"), 2), (Name::of("low"), 1)],
        strict: false,
        default_lane: Lane(1),
        max_pending,
        expire_after: Duration::from_secs(10),
        on_late,
        lease: Duration::from_secs(30),
        retry: Retry { max: 1, base: Duration::ZERO, cap: Duration::ZERO },
    };
    JobBook::new(Rules::from(&settings), Fragile::default(), Bells::default(), 1)
}

fn line() -> Name {
    Name::of("book")
}

fn offer(row: usize, lane: u8) -> Offer {
    Offer { key: JobKey { line: line(), row: RowKey::new(&format!("{row:06}")) }, lane: Lane(lane), load: Load::default() }
}

fn picture<S: Shelf>(book: &mut JobBook<S>) -> (Vec<crate::ports::queue::LaneCount>, Vec<crate::ports::queue::Listed>) {
    (book.counts(line()).unwrap(), book.list(&Which::default(), 1_000).unwrap())
}

/// Goal: J9: memory does not grow with the overflow. Method: 20,000 offers over a bound of 100; slots in memory counted.
#[test]
fn the_overflow_is_not_in_memory() {
    let mut book = book(100, OnLate::Run);
    book.offer(Millis(1), (0..20_000).map(|i| offer(i, 1)).collect()).unwrap();
    assert_eq!(book.lines[&line()].slots.len(), 100);
    book.offer(Millis(1), (5_000..15_000).map(|i| offer(i, 1)).collect()).unwrap();
    assert_eq!(book.lines[&line()].slots.len(), 100, "nor by offers that coalesce there");
    let mut done = 0;
    loop {
        let jobs = book.take(Millis(2), line(), 64).unwrap().jobs;
        if jobs.is_empty() {
            break;
        }
        done += jobs.len();
        let ended = |job: Taken| Finish { key: job.key, lease: job.lease, verdict: Verdict::Done, document: None };
        book.finish(Millis(2), jobs.into_iter().map(ended).collect()).unwrap();
        assert!(book.lines[&line()].slots.len() <= 100);
    }
    assert_eq!((done, book.lines[&line()].slots.len()), (20_000, 0));
}

/// Goal: a commit that fails changes nothing. Method: every kind of step against a broken shelf; the picture before and after.
#[test]
fn a_failed_commit_changes_nothing() {
    let mut book = book(3, OnLate::Park);
    book.offer(Millis(1), (0..6).map(|i| offer(i, 0)).collect()).unwrap();
    let jobs = book.take(Millis(2), line(), 2).unwrap().jobs;
    book.offer(Millis(2), vec![offer(0, 1)]).unwrap();
    let bury = |job: &Taken| Finish {
        key: job.key.clone(),
        lease: job.lease,
        verdict: Verdict::Bury { reason: "never".into() },
        document: Some(1),
    };
    book.finish(Millis(2), vec![bury(&jobs[1])]).unwrap();
    let before = picture(&mut book);
    book.shelf.broken = true;
    // New ones, coalesced ones in memory and aside, a revived one, and one key twice.
    let offers = [9, 2, 5, 1, 9].map(|row| offer(row, 0)).to_vec();
    assert_eq!(book.offer(Millis(3), offers).unwrap_err().kind, FaultKind::Full);
    assert_eq!(picture(&mut book), before, "after an offer");
    assert!(book.finish(Millis(3), vec![bury(&jobs[0])]).is_err());
    assert_eq!(picture(&mut book), before, "after a verdict");
    assert!(book.tend(Millis(90_000)).is_err());
    assert_eq!(picture(&mut book), before, "after upkeep with an expired lease");
    assert!(book.release(&Which { state: Some(crate::ports::queue::JobState::Buried), ..Which::default() }).is_err());
    assert_eq!(picture(&mut book), before, "after a release");
    assert!(book.take(Millis(90_000), line(), 9).is_err(), "late jobs cannot be put aside");
    assert_eq!(book.counts(line()).unwrap()[0].parked, 0);
    book.shelf.broken = false;
    assert_eq!(book.finish(Millis(3), vec![bury(&jobs[0])]), Ok(vec![Settled::GaveWay]));
    let batch = book.take(Millis(3), line(), 9).unwrap();
    assert_eq!(batch.jobs.len(), 5, "all but the buried one");
}

/// Goal: a taking that cannot put late jobs aside gives back what it took, hashes too. Method: one job with a hash and one
/// late one, a broken shelf, then a whole one.
#[test]
fn a_failed_taking_gives_back() {
    let mut book = book(9, OnLate::Park);
    book.offer(Millis(1), vec![offer(1, 0)]).unwrap();
    let job = book.take(Millis(1), line(), 1).unwrap().jobs.remove(0);
    book.finish(Millis(1), vec![Finish { key: job.key, lease: job.lease, verdict: Verdict::Done, document: Some(7) }]).unwrap();
    book.offer(Millis(1), vec![offer(2, 1)]).unwrap();
    book.offer(Millis(20_000), vec![offer(1, 0)]).unwrap();
    book.shelf.broken = true;
    assert!(book.take(Millis(20_000), line(), 9).is_err());
    assert_eq!(book.counts(line()).unwrap()[0].waiting, 1);
    book.shelf.broken = false;
    let batch = book.take(Millis(20_000), line(), 9).unwrap();
    assert_eq!((batch.parked, batch.jobs.len()), (1, 1));
    assert_eq!(batch.jobs[0].last_document, Some(7));
}

/// Goal: an offer that changes nothing costs no commit. Method: the same offer again at the same time.
#[test]
fn a_repeated_offer_is_not_written_again() {
    let mut book = book(9, OnLate::Run);
    for _ in 0..3 {
        book.offer(Millis(1), vec![offer(1, 0)]).unwrap();
    }
    assert_eq!(book.shelf.commits, 1);
    book.take(Millis(1), line(), 1).unwrap();
    assert_eq!(book.shelf.commits, 1, "nor does a taking");
}

/// Goal: K5's bound. Method: more hashes than are kept; the oldest are gone.
#[test]
fn hashes_are_bounded() {
    let mut hashes = hashes::Hashes::default();
    let row = |i: u64| RowKey::new(&i.to_string());
    for i in 0..200_010 {
        hashes.put(row(i), i, Millis(1));
    }
    assert_eq!(hashes.len(), 200_000);
    assert_eq!((hashes.take(&row(5), Millis(1)), hashes.take(&row(10), Millis(1))), (None, Some(10)));
    hashes.expire(Millis(i64::MAX));
    assert_eq!(hashes.len(), 0);
}
