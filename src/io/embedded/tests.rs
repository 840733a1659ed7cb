//! The embedded store's own bytes: damage, packing, names, group commit.

use super::codec::scoped;
use super::names::Dictionary;
use super::*;
use crate::domain::change::Value;
use crate::domain::fault::Advice;
use crate::domain::ids::{Millis, Name, RowId, RowKey, RowVersion, Stamp};
use crate::domain::job::{JobKey, Lane, Load, Offer, Verdict};
use crate::domain::row::{Cell, Keys, Part, PartId, Tombstone, WideRow};
use crate::domain::schema::Schema;
use crate::ports::ledger::Ledger;
use crate::ports::queue::{Finish, JobQueue, Which};
use crate::ports::rows::{CheckedWrite, RowStore, RowWrite};
use crate::ports::sink::{Body, Sink, SinkWrite};
use crate::settings::{OnLate, Queue, QueueKind, Retry};
use proptest::prelude::*;
use std::time::Duration;

fn run<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(body)
}

fn put(store: &EmbeddedStore, keyspace: &Keyspace, key: Vec<u8>, value: &[u8]) {
    let mut batch = store.batch();
    batch.insert(keyspace, key, value);
    store.commit(batch).unwrap();
}

fn queue_settings() -> Queue {
    Queue {
        kind: QueueKind::Embedded,
        lanes: vec![(Name::of("only"), 1)],
        strict: false,
        default_lane: Lane(0),
        max_pending: 10,
        expire_after: Duration::from_secs(60),
        on_late: OnLate::Run,
        lease: Duration::from_secs(30),
        retry: Retry { max: 1, base: Duration::ZERO, cap: Duration::ZERO },
    }
}

fn clock() -> crate::io::jobbook::wait::Clock {
    Arc::new(|| Millis(1))
}

fn row() -> impl Strategy<Value = WideRow> {
    let name = prop::sample::select(vec!["status", "amount", "note", "qty", "门"]);
    let value = prop::option::of("[a\\x00-\\x02门]{0,5}");
    let cell = (name.clone(), -5..(1i64 << 62), value.clone());
    let tombstone = prop::option::of((any::<i64>(), any::<i64>(), any::<bool>()));
    let part = (name.clone(), "[0-9,%]{0,3}", tombstone, prop::collection::vec(cell, 0..6), any::<bool>());
    let marks = prop::collection::vec(("[a-z:]{0,6}", any::<i64>()), 0..3);
    let keys = prop::collection::vec((name, value), 0..3);
    (any::<i64>(), any::<i64>(), keys, marks, prop::collection::vec(part, 0..5)).prop_map(
        |(base, counter, keys, marks, parts)| {
            let mut row = WideRow { base, counter, ..WideRow::default() };
            row.keys = Keys::default();
            for (name, value) in &keys {
                row.keys.set(Name::of(name), value.as_deref().map_or(Value::Null, Value::Text));
            }
            row.marks = marks.into_iter().map(|(name, stamp)| (name, Stamp(stamp))).collect();
            for (table, child, tombstone, cells, same) in parts {
                let part = row.part_mut(&PartId { table: Name::of(table), child: child.as_str().into() });
                *part = Part::new(part.id.clone());
                part.tombstone = tombstone.map(|(stamp, written, revoked)| Tombstone {
                    stamp: Stamp(stamp),
                    written: Millis(written),
                    revoked,
                });
                for (name, stamp, value) in &cells {
                    let stamp = Stamp(if same { 7 } else { *stamp });
                    part.cells.push(Cell { name: Name::of(name), stamp, value: value.as_deref() });
                }
            }
            row
        },
    )
}

/// A dictionary that numbers names in this order.
fn dictionary(names: &[&str]) -> (tempfile::TempDir, Dictionary) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    for (i, name) in names.iter().enumerate() {
        put(&store, &store.names, (i as u32).to_be_bytes().to_vec(), name.as_bytes());
    }
    let dictionary = Dictionary::load(&store).unwrap();
    (dir, dictionary)
}

/// Goal: a row comes back whatever order names were met in, and damage never panics. Method: random rows packed under one
/// dictionary; every cut and one flipped byte of each.
#[test]
fn rows_come_back_and_damage_is_told() {
    let (_dir, names) = dictionary(&["门", "qty", "status", "note", "amount"]);
    let number = |name: Name| names.number(name).unwrap();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&(row(), any::<(usize, u8)>()), |(row, (at, flip))| {
            let bytes = row_format::pack(&row, number);
            prop_assert_eq!(row_format::unpack(&bytes, &names), Ok(row));
            for end in 0..bytes.len() {
                prop_assert!(row_format::unpack(&bytes[..end], &names).is_err(), "cut at {}", end);
            }
            let mut damaged = bytes.clone();
            damaged[at % bytes.len()] ^= flip;
            // It may still be a row, but reading it must end.
            let _ = row_format::unpack(&damaged, &names);
            Ok(())
        })
        .unwrap();
}

/// Goal: rows written before this process met its names in another order. Method: the parts and cells of a packed row stand
/// in the reverse of this process's order.
#[test]
fn a_row_of_another_process_is_sorted_again() {
    let (first, second) = (Name::of("met_first"), Name::of("met_second"));
    assert!(first < second);
    let (_dir, names) = dictionary(&["met_second", "met_first"]);
    // One part per table; each with cells in the writer's order.
    let part = |table: u8| [table, 0, 0, 2, 0, 10, 2, b'b', 1, 4, 2, b'a'];
    let bytes = [[1u8, 0, 0, 0, 0, 2].as_slice(), &part(0), &part(1)].concat();
    let row = row_format::unpack(&bytes, &names).unwrap();
    assert_eq!(row.parts.iter().map(|p| p.id.table).collect::<Vec<_>>(), [first, second]);
    assert_eq!(row.parts[0].cells.get(first).unwrap().value, Some("a"));
    assert_eq!(row.parts[1].cells.get(second).unwrap().stamp, Stamp(5));
    let twice = [[1u8, 0, 0, 0, 0, 2].as_slice(), &part(0), &part(0)].concat();
    assert!(row_format::unpack(&twice, &names).is_err(), "one table row twice");
}

/// Goal: damage names its place and asks for a person. Method: a bad value under each keyspace's key.
#[test]
fn damage_names_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    put(&store, &store.rows, scoped("order", b"4711"), b"\x01\xff");
    put(&store, &store.documents, scoped("search", b"d1"), b"\x07");
    put(&store, &store.letters, b"lt/0/5".to_vec(), b"");
    put(&store, &store.jobs, scoped("search", b"j1"), b"\x01");
    run(async {
        let rows = EmbeddedRowStore::open(store.clone(), Arc::new(Schema::default())).unwrap();
        let id = |key: &str| RowId { kind: Name::of("order"), key: RowKey::new(key) };
        let mut change = WideRow::default();
        change.part_mut(&PartId { table: Name::of("orders"), child: "".into() });
        let outcomes =
            rows.write(["4711", "1"].map(|key| RowWrite { row: id(key), change: change.clone().into() }).to_vec()).await;
        assert!(outcomes[1].is_ok(), "a row that fails does not keep the others back");
        assert_eq!(rows.read(vec![id("1")]).await, Ok(vec![Some(change)]));
        let documents = EmbeddedDocuments::open(store.clone(), Name::of("search"));
        let ledger = EmbeddedLedger::open(store.clone()).unwrap();
        let faults = [
            (outcomes[0].clone().unwrap_err(), "row order/4711"),
            (rows.read(vec![id("4711")]).await.unwrap_err(), "row order/4711"),
            (rows.scan(Name::of("order"), None, None, 9).await.unwrap_err(), "row order/4711"),
            (documents.get("d1".into()).await.unwrap_err(), "document d1 of line search"),
            (ledger.dead_letter("t/0/5").await.unwrap_err(), "dead letter t/0/5"),
            (EmbeddedQueue::open(store.clone(), &queue_settings(), clock()).err().unwrap(), "job of line search row j1"),
        ];
        for (fault, place) in faults {
            assert_eq!((fault.kind, fault.advice()), (FaultKind::Corrupt, Advice::Stop));
            assert!(fault.place.contains(place) && fault.place.contains("embedded store in"), "{fault}");
        }
    });
    put(&store, &store.names, 9u32.to_be_bytes().to_vec(), b"hole");
    assert_eq!(EmbeddedRowStore::open(store, Arc::new(Schema::default())).err().unwrap().kind, FaultKind::Corrupt);
}

/// Goal: the word on the free space is the disk's own. Method: of a folder that is there, and of one that is not.
#[test]
fn the_disk_tells_its_free_space() {
    let dir = tempfile::tempdir().unwrap();
    assert!(free_bytes_of_disk(dir.path()).is_some_and(|free| free > 0));
    assert_eq!(free_bytes_of_disk(&dir.path().join("none")), None);
}

/// Goal: keys the store cannot take. Method: a row key of 70,000 bytes beside a good one.
#[test]
fn a_key_that_is_too_long_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    run(async {
        let rows = EmbeddedRowStore::open(store, Arc::new(Schema::default())).unwrap();
        let mut change = WideRow { base: 1, ..WideRow::default() };
        change.marks = vec![("m".into(), Stamp(1))];
        let write =
            |key: &str| RowWrite { row: RowId { kind: Name::of("order"), key: RowKey::new(key) }, change: change.clone().into() };
        let outcomes = rows.write(vec![write(&"x".repeat(70_000)), write("short")]).await;
        assert_eq!(outcomes[0].as_ref().unwrap_err().kind, FaultKind::Rejected);
        assert!(outcomes[1].is_ok());
    });
}

/// Goal: one sync serves every batch committed before it. Method: the count of what is known to be synced.
#[test]
fn a_sync_serves_all_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    for i in 0..3u8 {
        put(&store, &store.notes, vec![b'n', i], b"x");
    }
    assert_eq!(*store.synced.lock().unwrap(), 0);
    store.sync().unwrap();
    assert_eq!(*store.synced.lock().unwrap(), 3);
    store.commit(store.batch()).unwrap();
    store.sync().unwrap();
    assert_eq!(*store.synced.lock().unwrap(), 3, "an empty batch changes nothing");
}

/// Goal: W1, J5: nothing is acknowledged before its sync (kill -9 cannot show this, a lost machine would). Method: after
/// each door's call, what was committed is what was synced.
#[test]
fn what_is_acknowledged_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    run(async {
        let rows = EmbeddedRowStore::open(store.clone(), Arc::new(Schema::default())).unwrap();
        let queue = EmbeddedQueue::open(store.clone(), &queue_settings(), clock()).unwrap();
        let ledger = EmbeddedLedger::open(store.clone()).unwrap();
        let documents = EmbeddedDocuments::open(store.clone(), Name::of("search"));
        let mut before = store.committed.load(Ordering::Acquire);
        let mut synced = |call: &str| {
            let committed = store.committed.load(Ordering::Acquire);
            assert!(committed > before, "{call} committed nothing");
            assert_eq!(*store.synced.lock().unwrap(), committed, "{call}");
            before = committed;
        };
        let id = RowId { kind: Name::of("order"), key: RowKey::new("1") };
        let change = WideRow { base: 1, ..WideRow::default() };
        let write = RowWrite { row: id, change: change.into() };
        assert!(rows.write(vec![write.clone()]).await[0].is_ok());
        synced("write");
        let part = PartId { table: Name::of("orders"), child: "".into() };
        rows.write_checked(CheckedWrite { write, part, highest: None }).await.unwrap();
        synced("write_checked");
        rows.set_meta("a", None, "b").await.unwrap();
        synced("set_meta");
        let key = JobKey { line: Name::of("search"), row: RowKey::new("1") };
        queue.offer(vec![Offer { key, lane: Lane(0), load: Load::default() }]).await.unwrap();
        synced("offer");
        let job = queue.take(Name::of("search"), 1).await.unwrap().jobs.remove(0);
        queue.finish(vec![Finish { key: job.key, lease: job.lease, verdict: Verdict::Done, document: None }]).await.unwrap();
        synced("finish");
        ledger.set_notes(vec![("a".into(), Some("b".into()))]).await.unwrap();
        synced("set_notes");
        let body = Body::Index("{}".into());
        documents
            .write(vec![SinkWrite { id: "a".into(), version: RowVersion(1), body, row: RowKey::new("1"), types: vec![] }])
            .await;
        synced("documents");
    });
}

/// Goal: jobs of a line that is no longer configured stay and are listed. Method: offered, reopened; nobody takes them.
#[test]
fn a_line_that_is_gone_keeps_its_jobs() {
    let dir = tempfile::tempdir().unwrap();
    for opening in 0..2 {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        run(async {
            let queue = EmbeddedQueue::open(store, &queue_settings(), clock()).unwrap();
            if opening == 0 {
                let key = |i: usize| JobKey { line: Name::of("gone"), row: RowKey::new(&i.to_string()) };
                queue
                    .offer((0..15).map(|i| Offer { key: key(i), lane: Lane(0), load: Load::default() }).collect())
                    .await
                    .unwrap();
            }
            let listed = queue.list(Which { line: Some(Name::of("gone")), ..Which::default() }, 100).await.unwrap();
            assert_eq!(listed.len(), 15, "opening {opening}");
            assert_eq!(queue.counts(Name::of("gone")).await.unwrap()[0].spilled, 5);
        });
    }
}
