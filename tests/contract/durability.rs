//! What the embedded store alone promises: W1 and J5 across reopening and kill -9, refusals, damage, a full disk.

use crate::place::{Place, TestClock, run, schema, settings};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use widerow::domain::decode::BadReason;
use widerow::domain::fault::{Advice, FaultKind};
use widerow::domain::ids::{Millis, Name, Partition, RecordOffset, RowId, RowKey, RowVersion, Stamp};
use widerow::domain::job::{JobKey, Lane, Load, Offer, Offered, Verdict};
use widerow::domain::record::Record;
use widerow::domain::row::{Cell, PartId, WideRow};
use widerow::io::embedded::{EmbeddedDocuments, EmbeddedLedger, EmbeddedQueue, EmbeddedRowStore, EmbeddedStore, ROOM_BYTES_MIN};
use widerow::ports::ledger::{DeadLetter, Kept, Ledger};
use widerow::ports::queue::{Finish, JobQueue, JobState, Which};
use widerow::ports::rows::{RowStore, RowWrite};
use widerow::ports::sink::{Body, Sink, SinkOutcome, SinkWrite};
use widerow::settings::Queue;

const LINE: &str = "search";

fn row(i: u64) -> RowId {
    RowId { kind: Name::of("order"), key: RowKey::new(&format!("r{i}")) }
}

fn write(i: u64, stamp: i64, value: &str) -> RowWrite {
    let mut change = WideRow::default();
    let part = change.part_mut(&PartId { table: Name::of("orders"), child: "".into() });
    for column in ["status", &format!("column{}", i % 5)] {
        part.cells.push(Cell { name: Name::of(column), stamp: Stamp(stamp), value: Some(value) });
    }
    RowWrite { row: row(i), change: change.into() }
}

fn offer(i: u64, lane: u8) -> Offer {
    Offer { key: JobKey { line: Name::of(LINE), row: RowKey::new(&format!("r{i}")) }, lane: Lane(lane), load: Load::default() }
}

fn queue(store: &Arc<EmbeddedStore>, clock: &TestClock) -> EmbeddedQueue {
    EmbeddedQueue::open(store.clone(), &settings(), clock.as_clock()).unwrap()
}

fn index(id: &str, version: i64) -> SinkWrite {
    let body = Body::Index("{}".into());
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(id), types: vec![] }
}

/// Goal: everything acknowledged is there after a clean reopening. Method: all four doors, each job state.
#[test]
fn reopening_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1_000);
    let letter = DeadLetter {
        id: "t/0/00005".into(),
        source: "shop".into(),
        record: Record {
            partition: Partition { topic: Name::of("t"), number: 0 },
            position: RecordOffset(5),
            offset: 5,
            timestamp: None,
            key: Some("k".into()),
            value: None,
            headers: vec![],
        },
        reason: BadReason::Malformed,
        detail: "no `op`".into(),
        first: Millis(1),
        last: Millis(1),
        deliveries: 1,
        replayed: false,
    };
    let (content, life) = run(async {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let rows = EmbeddedRowStore::open(store.clone(), schema()).unwrap();
        assert!(rows.write((0..300).map(|i| write(i, 5, &i.to_string())).collect()).await.iter().all(Result::is_ok));
        assert_eq!(rows.set_meta("epoch", None, "1").await, Ok(true));
        let ledger = EmbeddedLedger::open(store.clone()).unwrap();
        assert_eq!(ledger.keep_dead_letter(letter.clone()).await, Ok(Kept::New));
        ledger.set_notes(vec![("commit".into(), Some("7".into()))]).await.unwrap();
        let documents = EmbeddedDocuments::open(store.clone(), Name::of(LINE));
        documents.write(vec![index("a", 9)]).await;
        let queue = queue(&store, &clock);
        for (i, verdict) in
            [(1, Verdict::Bury { reason: "never".into() }), (2, Verdict::Retry { at: Millis(5_000), counts: true })]
        {
            queue.offer(vec![offer(i, 0)]).await.unwrap();
            let job = queue.take(Name::of(LINE), 1).await.unwrap().jobs.remove(0);
            queue.finish(vec![Finish { key: job.key, lease: job.lease, verdict, document: None }]).await.unwrap();
        }
        queue.offer(vec![offer(3, 0), offer(4, 1), offer(5, 0), offer(4, 2)]).await.unwrap();
        let taken = queue.take(Name::of(LINE), 1).await.unwrap().jobs.remove(0);
        assert_eq!(taken.key, offer(3, 0).key);
        queue.offer(vec![offer(3, 2)]).await.unwrap();
        (rows.read(vec![row(7)]).await.unwrap().remove(0).unwrap(), queue.life().await.unwrap())
    });
    clock.pass(60);
    run(async {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let rows = EmbeddedRowStore::open(store.clone(), schema()).unwrap();
        assert_eq!(rows.read(vec![row(7)]).await.unwrap(), [Some(content)]);
        assert_eq!(rows.approximate_rows(Name::of("order")), Some(300));
        assert_eq!(rows.meta("epoch").await, Ok(Some("1".into())));
        let ledger = EmbeddedLedger::open(store.clone()).unwrap();
        assert_eq!(ledger.dead_letters(None, 9).await, Ok(vec![letter]));
        assert_eq!((ledger.dead_letter_count().await, ledger.note("commit").await), (Ok(1), Ok(Some("7".into()))));
        let documents = EmbeddedDocuments::open(store.clone(), Name::of(LINE));
        assert_eq!(documents.write(vec![index("a", 8)]).await, [SinkOutcome::Superseded(Some(RowVersion(9)))]);
        let queue = queue(&store, &clock);
        assert_eq!(queue.life().await.unwrap(), life);
        let buried = queue.list(Which { state: Some(JobState::Buried), ..Which::default() }, 9).await.unwrap();
        assert_eq!((&buried[0].key, buried[0].reason.as_deref()), (&offer(1, 0).key, Some("never")));
        let jobs = queue.take(Name::of(LINE), 9).await.unwrap().jobs;
        let mut runs: Vec<_> = jobs.iter().map(|job| (job.key.row.as_str(), job.lane.0, job.attempts)).collect();
        runs.sort_unstable();
        assert_eq!(runs, [("r3", 0, 0), ("r4", 1, 0), ("r5", 0, 0)], "what ran waits again, no try used up");
        assert_eq!(jobs[0].load.first_offered, Millis(1_000));
        clock.pass(5_000);
        let retry = queue.take(Name::of(LINE), 9).await.unwrap().jobs.remove(0);
        assert_eq!((retry.key, retry.attempts), (offer(2, 0).key, 1));
    });
}

/// The folder a child writes into until it is killed.
const CHILD: &str = "WIDEROW_TEST_CHILD_DIR";
/// Batches the parent waits for before it kills.
const ACKNOWLEDGED: u64 = 25;

/// Goal: W1, J5: kill -9 loses nothing acknowledged. Method: this test starts itself as a child that writes rows and offers
/// jobs and tells each acknowledged batch; the parent kills it in the middle, reopens, and looks for all of them.
#[test]
fn kill_nine_loses_nothing_acknowledged() {
    if let Ok(dir) = std::env::var(CHILD) {
        return run(write_until_killed(Path::new(&dir)));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::kill_nine_loses_nothing_acknowledged", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix("acknowledged ").and_then(|n| n.parse::<u64>().ok());
    let mut last = lines.by_ref().filter_map(number).find(|n| *n >= ACKNOWLEDGED).expect("the child ended early");
    child.kill().unwrap();
    child.wait().unwrap();
    last = lines.filter_map(number).last().unwrap_or(last);
    let clock = TestClock::at(1);
    run(async {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let rows = EmbeddedRowStore::open(store.clone(), schema()).unwrap();
        let queue = queue(&store, &clock);
        let jobs = queue.list(Which::default(), 10_000).await.unwrap();
        let jobs: HashMap<&str, JobState> = jobs.iter().map(|job| (job.key.row.as_str(), job.state)).collect();
        for batch in 0..=last {
            for i in batch * 10..batch * 10 + 10 {
                let held = rows.read(vec![row(i)]).await.unwrap().remove(0);
                let held = held.unwrap_or_else(|| panic!("row {i} of acknowledged batch {batch} is gone"));
                assert_eq!(held.parts[0].cells.len(), 2);
                let want = if i % 10 == 0 { None } else { Some(&JobState::Waiting) };
                assert_eq!(jobs.get(format!("r{i}").as_str()), want, "job {i} of acknowledged batch {batch}");
            }
        }
    });
}

async fn write_until_killed(dir: &Path) {
    let store = EmbeddedStore::open(dir).unwrap();
    let rows = EmbeddedRowStore::open(store.clone(), schema()).unwrap();
    let strict = Queue { strict: true, ..settings() };
    let queue = EmbeddedQueue::open(store.clone(), &strict, TestClock::at(1).as_clock()).unwrap();
    for batch in 0.. {
        let numbers = batch * 10..batch * 10 + 10;
        assert!(rows.write(numbers.clone().map(|i| write(i, 5, "x")).collect()).await.iter().all(Result::is_ok));
        // The urgent job of each batch is done, the others wait.
        queue.offer(vec![offer(batch * 10, 0)]).await.unwrap();
        let job = queue.take(Name::of(LINE), 1).await.unwrap().jobs.remove(0);
        queue.finish(vec![Finish { key: job.key, lease: job.lease, verdict: Verdict::Done, document: None }]).await.unwrap();
        queue.offer(numbers.skip(1).map(|i| offer(i, 2)).collect()).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {batch}").unwrap();
        out.flush().unwrap();
    }
}

/// Goal: one process at a time. Method: a second opening while the first lives, and after it.
#[test]
fn a_second_opening_is_refused() {
    let place = Place::embedded();
    let Place::Embedded(dir) = &place else { unreachable!() };
    let first = place.store();
    let refused = EmbeddedStore::open(dir.path()).err().unwrap();
    assert_eq!((refused.kind, refused.advice()), (FaultKind::Incompatible, Advice::Stop));
    assert!(refused.what.contains("another process has it open") && refused.place.contains("store"), "{refused}");
    drop(first);
    assert!(EmbeddedStore::open(dir.path()).is_ok());
}

/// Goal: unknown formats are left alone. Method: the format file of another version, a foreign one, none beside data.
#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(dir.path()).unwrap());
    let file = dir.path().join("store/format");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "widerow store 1\n");
    for (text, says) in
        [("widerow store 2\n", "format 2"), ("hello", "not a format file"), ("widerow store x", "not a format file")]
    {
        std::fs::write(&file, text).unwrap();
        let refused = EmbeddedStore::open(dir.path()).err().unwrap();
        assert_eq!(refused.kind, FaultKind::Incompatible);
        assert!(refused.what.contains(says), "{text}: {refused}");
    }
    std::fs::remove_file(&file).unwrap();
    let refused = EmbeddedStore::open(dir.path()).err().unwrap();
    assert!(refused.kind == FaultKind::Incompatible && refused.what.contains("missing"), "{refused}");
    std::fs::write(&file, "widerow store 1\n").unwrap();
    assert!(EmbeddedStore::open(dir.path()).is_ok());
}

/// Goal: a full disk changes nothing and passes. Method: a scripted word on the free space; each door before and after.
#[test]
fn a_full_disk_changes_nothing_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let probe = free.clone();
    let clock = TestClock::at(1);
    run(async {
        let store = EmbeddedStore::open_with(dir.path(), Arc::new(move |_| Some(probe.load(Ordering::SeqCst)))).unwrap();
        let rows = EmbeddedRowStore::open(store.clone(), schema()).unwrap();
        let queue = queue(&store, &clock);
        let documents = EmbeddedDocuments::open(store.clone(), Name::of(LINE));
        let ledger = EmbeddedLedger::open(store.clone()).unwrap();
        assert!(rows.write(vec![write(1, 5, "before")]).await[0].is_ok());
        queue.offer(vec![offer(1, 0)]).await.unwrap();
        let job = queue.take(Name::of(LINE), 1).await.unwrap().jobs.remove(0);
        let done = Finish { key: job.key.clone(), lease: job.lease, verdict: Verdict::Done, document: Some(5) };

        free.store(ROOM_BYTES_MIN - 1, Ordering::SeqCst);
        // New names come with this write: they must not stay behind without their entries.
        let refused = rows.write(vec![write(1, 6, "after"), write(2, 6, "after")]).await;
        assert!(refused.iter().all(|r| r.as_ref().is_err_and(|f| f.kind == FaultKind::Full && f.advice() == Advice::Wait)));
        assert_eq!(rows.approximate_rows(Name::of("order")), Some(1));
        let full = queue.offer(vec![offer(1, 0), offer(2, 0)]).await.unwrap_err();
        assert!(full.kind == FaultKind::Full && full.what.contains("free some space"), "{full}");
        assert_eq!(queue.finish(vec![done.clone()]).await.unwrap_err().kind, FaultKind::Full);
        assert!(matches!(&documents.write(vec![index("a", 1)]).await[0], SinkOutcome::Retry { counts: false, .. }));
        assert!(ledger.set_notes(vec![("a".into(), Some("b".into()))]).await.is_err());
        assert_eq!(queue.counts(Name::of(LINE)).await.unwrap()[0].active, 1, "the run goes on");
        let held = rows.read(vec![row(1), row(2)]).await.unwrap();
        assert_eq!(held[0].as_ref().unwrap().parts[0].highest(), Some(Stamp(5)));
        assert_eq!(held[1], None);

        free.store(u64::MAX, Ordering::SeqCst);
        assert!(rows.write(vec![write(1, 6, "after"), write(2, 6, "after")]).await.iter().all(Result::is_ok));
        assert_eq!(queue.offer(vec![offer(2, 0)]).await, Ok(vec![Offered::Created]));
        queue.finish(vec![done]).await.unwrap();
    });
    run(async {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let rows = EmbeddedRowStore::open(store.clone(), schema()).unwrap();
        let held = rows.read(vec![row(1), row(2)]).await.unwrap();
        assert!(held.iter().all(|row| row.as_ref().is_some_and(|row| row.parts[0].highest() == Some(Stamp(6)))));
        let jobs = queue(&store, &clock).take(Name::of(LINE), 9).await.unwrap().jobs;
        assert_eq!(jobs.iter().map(|job| job.key.row.as_str()).collect::<Vec<_>>(), ["r2"]);
    });
}

/// Goal: lanes are kept by name. Method: reopened with other lanes in another order; one that is gone goes to the default.
#[test]
fn lanes_keep_their_names_when_the_configuration_changes() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1);
    run(async {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let mut settings = settings();
        settings.max_pending = 2;
        let queue = EmbeddedQueue::open(store, &settings, clock.as_clock()).unwrap();
        let offers = (0..5).map(|i| offer(i, 0)).chain((5..7).map(|i| offer(i, 2)));
        queue.offer(offers.collect()).await.unwrap();
    });
    let mut changed = settings();
    changed.lanes = [("bulk", 1), ("new", 1)].map(|(name, weight)| (Name::of(name), weight)).into();
    changed.default_lane = Lane(1);
    changed.strict = true;
    for opening in 0..2 {
        run(async {
            let store = EmbeddedStore::open(dir.path()).unwrap();
            let queue = EmbeddedQueue::open(store, &changed, clock.as_clock()).unwrap();
            let jobs = queue.take(Name::of(LINE), 9).await.unwrap().jobs;
            let found: Vec<_> = jobs.iter().map(|job| (job.key.row.as_str(), job.lane.0)).collect();
            let want = [("r5", 0), ("r6", 0), ("r0", 1), ("r1", 1), ("r2", 1), ("r3", 1), ("r4", 1)];
            assert_eq!(found, want, "opening {opening}");
        });
    }
}

/// Goal: the overflow outlives the process, in order. Method: some of it was back in its lane when the process ended.
#[test]
fn the_overflow_comes_back_in_order_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1);
    let mut settings = settings();
    settings.max_pending = 4;
    let mut rows: Vec<String> = Vec::new();
    for opening in 0..4 {
        run(async {
            let store = EmbeddedStore::open(dir.path()).unwrap();
            let queue = EmbeddedQueue::open(store, &settings, clock.as_clock()).unwrap();
            if opening == 0 {
                queue.offer((0..20).map(|i| offer(i, 1)).collect()).await.unwrap();
            }
            for _ in 0..5 {
                let job = queue.take(Name::of(LINE), 1).await.unwrap().jobs.remove(0);
                rows.push(job.key.row.to_string());
                queue
                    .finish(vec![Finish { key: job.key, lease: job.lease, verdict: Verdict::Done, document: None }])
                    .await
                    .unwrap();
            }
        });
    }
    assert_eq!(rows, (0..20).map(|i| format!("r{i}")).collect::<Vec<_>>());
}

/// Goal: a follow-up in the overflow is found after a crash. Method: it waits in another lane than the run it follows; when
/// that run is given back at opening, the job is in the more urgent lane.
#[test]
fn a_spilled_follow_up_of_an_interrupted_run_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::at(1);
    let mut settings = settings();
    settings.max_pending = 1;
    for opening in 0..2 {
        run(async {
            let store = EmbeddedStore::open(dir.path()).unwrap();
            let queue = EmbeddedQueue::open(store, &settings, clock.as_clock()).unwrap();
            if opening == 0 {
                queue.offer(vec![offer(1, 0)]).await.unwrap();
                queue.take(Name::of(LINE), 1).await.unwrap();
                assert_eq!(queue.offer(vec![offer(2, 2), offer(1, 2)]).await, Ok(vec![Offered::Created, Offered::Spilled]));
                return;
            }
            let jobs = queue.take(Name::of(LINE), 9).await.unwrap().jobs;
            let found: Vec<_> = jobs.iter().map(|job| (job.key.row.as_str(), job.lane.0)).collect();
            assert_eq!(found, [("r1", 0), ("r2", 2)]);
            let counts = queue.counts(Name::of(LINE)).await.unwrap();
            assert!(counts.iter().all(|count| count.spilled == 0 && count.waiting == 0), "{counts:?}");
        });
    }
}
