//! What only HBase goes through: crashes in each WAL mode (W1–W3), splits under load, a master that restarts; and a model
//! check of the whole store under faults by chance.

use crate::fake_hbase::{Chance, Dice, FakeHbase, Fault};
use crate::row_place::{RowPlace, holds};
use crate::rows::{change, part, read, row, tombstone, write, writes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use widerow::domain::change::Value;
use widerow::domain::ids::{Name, RowId, RowVersion, Stamp};
use widerow::domain::row::{Keys, Parts, WideRow};
use widerow::domain::schema::VersionKind;
use widerow::ports::rows::version_of;
use widerow::settings::Wal;

/// Goal: W1 to W3. Method: writes made durable, writes after that, every server killed; what is there, and what the store says
/// of it, on the fake and on a real server in each mode.
fn crashes_are_survived_as_the_mode_says(place: &RowPlace, wal: Wal) {
    holds(place, async |place| {
        let store = place.rows();
        let ids = [row("order", "1"), row("sku", "1")];
        for id in &ids {
            write(&*store, id, [change("item", "1", 1, &[("a", Some("early"))])]).await;
        }
        store.make_durable().await.unwrap();
        for id in &ids {
            write(&*store, id, [change("item", "1", 2, &[("a", Some("late"))])]).await;
        }
        let raised = WideRow { base: 3, ..WideRow::default() };
        write(&*store, &ids[0], [raised]).await;
        let before = read(&*store, &ids[1]).await.unwrap();
        assert_eq!(store.losses(), 0);
        place.crash();
        let held = [read(&*store, &ids[0]).await.unwrap(), read(&*store, &ids[1]).await.unwrap()];
        for held in &held {
            let highest = held.part(&part("item", "1")).unwrap().highest();
            match wal {
                Wal::Sync => assert_eq!(highest, Some(Stamp(2))),
                // Unlogged cells are gone; asynchronous ones may have been written by a synced one behind them.
                Wal::Async | Wal::Skip => assert!(highest >= Some(Stamp(1)), "what was made durable is there: {highest:?}"),
            }
        }
        if wal == Wal::Skip {
            assert_eq!(held[0].part(&part("item", "1")).unwrap().highest(), Some(Stamp(1)), "unlogged cells do not survive");
        }
        assert_eq!(held[0].base, 3, "family m is logged in every mode");
        assert_eq!(held[1].counter, before.counter, "so a counter never falls");
        if wal == Wal::Sync {
            store.make_durable().await.unwrap();
            assert_eq!(store.losses(), 0);
        } else {
            assert!(store.make_durable().await.is_err() || store.losses() > 0, "a loss is told");
            assert!(store.losses() > 0);
        }
        // The replay, from the mark: the same changes, the same versions, nothing missing.
        for id in &ids {
            write(&*store, id, [change("item", "1", 2, &[("a", Some("late"))])]).await;
            let held = read(&*store, id).await.unwrap();
            assert_eq!(held.part(&part("item", "1")).unwrap().highest(), Some(Stamp(2)));
        }
        store.make_durable().await.unwrap();
        let weight = read(&*store, &ids[0]).await.unwrap().version(VersionKind::Weight);
        assert_eq!(weight, RowVersion(3 + 3), "the base and one cell at stamp 2");
    });
}

#[test]
fn the_fake_crashes_synced() {
    crashes_are_survived_as_the_mode_says(&RowPlace::fake(Wal::Sync), Wal::Sync);
}
#[test]
fn the_fake_crashes_asynchronous() {
    crashes_are_survived_as_the_mode_says(&RowPlace::fake(Wal::Async), Wal::Async);
}
#[test]
fn the_fake_crashes_unlogged() {
    crashes_are_survived_as_the_mode_says(&RowPlace::fake(Wal::Skip), Wal::Skip);
}
#[test]
fn a_server_crashes_synced() {
    crashes_are_survived_as_the_mode_says(&RowPlace::real_alone(Wal::Sync), Wal::Sync);
}
#[test]
fn a_server_crashes_asynchronous() {
    crashes_are_survived_as_the_mode_says(&RowPlace::real_alone(Wal::Async), Wal::Async);
}
#[test]
fn a_server_crashes_unlogged() {
    crashes_are_survived_as_the_mode_says(&RowPlace::real_alone(Wal::Skip), Wal::Skip);
}

/// Goal: M1 to M3, M9: other clients read plain values under plain names, and what they put there is read. Method: a row
/// written here and read by HBase's own client; a cell put there and read here.
#[test]
fn foreign_clients_meet_plain_values() {
    let place = RowPlace::real();
    holds(&place, async |place| {
        let store = place.rows();
        let id = row("order", "4711:门店");
        let mut keys = Keys::default();
        keys.set(Name::of("order_no"), Value::Text("门店"));
        let mut whole = change("item", "2", (1 << 44) + 7, &[("qty", Some("8.80")), ("note", None), ("text", Some(""))]);
        whole.keys = keys;
        whole.merge(&tombstone("item", "3", 9, 1_740_000_000_000));
        write(&*store, &id, [whole]).await;
        let RowPlace::Real(real, _) = place else { panic!("a real server is needed") };
        let mut found = Vec::new();
        let mut line = real.peer().ask(&["read"]);
        while line[0] == "cell" {
            let value = STANDARD.decode(&line[5]).unwrap();
            if line[1].ends_with("4711:门店") && line[3] != "base" && line[3] != "counter" {
                found.push((line[2].clone(), line[3].clone(), line[4].clone(), String::from_utf8(value).unwrap()));
            }
            line = real.peer().answer();
        }
        let stamp = ((1i64 << 44) + 7).to_string();
        let cell = |family: &str, name: &str, stamp: &str, value: &str| (family.into(), name.into(), stamp.into(), value.into());
        let wanted: [(String, String, String, String); 5] = [
            cell("cf", "item:#del:3", "9", "1740000000000"),
            cell("cf", "item:note:2", &stamp, "\0"),
            cell("cf", "item:qty:2", &stamp, "8.80"),
            cell("cf", "item:text:2", &stamp, ""),
            cell("m", "k:order_no", "1", "门店"),
        ];
        assert_eq!(found, wanted);
        let later = ((1i64 << 44) + 8).to_string();
        let key = real.row_of(&id);
        assert_eq!(real.peer().ask(&["write", &key, "cf", "item:qty:2", &later, &STANDARD.encode("9")]), ["ok"]);
        let held = read(&*store, &id).await.unwrap();
        assert_eq!(held.part(&part("item", "2")).unwrap().value(Name::of("qty")), Value::Text("9"));
    });
}

const ROWS: u64 = 16;
const WRITERS: usize = 3;

struct Run {
    place: RowPlace,
    stamp: AtomicI64,
    writing: AtomicUsize,
    model: Mutex<HashMap<RowId, WideRow>>,
    contents: Mutex<HashMap<(RowId, RowVersion), Parts>>,
}

fn id_of(n: u64) -> (RowId, VersionKind) {
    if n.is_multiple_of(2) {
        (row("order", &format!("{n:04}")), VersionKind::Weight)
    } else {
        (row("sku", &format!("{n:04}")), VersionKind::Counter)
    }
}

async fn write_by_chance(run: &Run, seed: u64) {
    let store = run.place.rows();
    let mut dice = Dice(seed);
    for _ in 0..25 {
        let mut batch = Vec::new();
        for _ in 0..5 {
            let (id, _) = id_of(dice.below(ROWS));
            let child = dice.below(2).to_string();
            let stamp = run.stamp.fetch_add(1, Ordering::Relaxed);
            let change = match dice.below(4) {
                0 => tombstone("item", &child, stamp, stamp),
                n => change("item", &child, stamp, &[(["a", "b", "c"][n as usize - 1], Some(&stamp.to_string()))]),
            };
            run.model.lock().unwrap().entry(id.clone()).or_default().merge(&change);
            batch.extend(writes(&id, [change]));
        }
        for outcome in store.write(batch).await {
            outcome.unwrap();
        }
    }
    run.writing.fetch_sub(1, Ordering::SeqCst);
}

/// V1 and V2 for a reader: versions never fall, and one version is one content, for whoever reads.
async fn read_on(run: &Run) {
    let store = run.place.rows();
    let mut last: HashMap<RowId, RowVersion> = HashMap::new();
    while run.writing.load(Ordering::SeqCst) > 0 {
        let ids: Vec<_> = (0..ROWS).map(id_of).collect();
        let rows = store.read(ids.iter().map(|(id, _)| id.clone()).collect()).await.unwrap();
        for ((id, kind), held) in ids.into_iter().zip(rows) {
            let version = version_of(held.as_ref(), kind);
            let before = last.insert(id.clone(), version).unwrap_or(RowVersion(0));
            assert!(version >= before, "{id:?}: {version} after {before}");
            let parts = held.map(|row| row.parts).unwrap_or_default();
            let mut contents = run.contents.lock().unwrap();
            let known = contents.entry((id.clone(), version)).or_insert_with(|| parts.clone());
            assert_eq!(*known, parts, "{id:?}: two contents of {version}");
        }
    }
}

async fn strike(run: &Run, fake: &FakeHbase, seed: u64) {
    let mut dice = Dice(seed);
    for blow in 1..=6 {
        let over = |fake: &FakeHbase| fake.seen().len() > 20 * blow || run.writing.load(Ordering::SeqCst) == 0;
        fake.until("more calls", over).await;
        let (n, server) = (dice.below(ROWS), dice.below(2) as usize);
        let (id, _) = id_of(n);
        let table = format!("shop:rows_{}", id.kind);
        match dice.below(6) {
            0 => drop(fake.split(&table, id.key.as_str())),
            1 => drop(fake.merge(&table, id.key.as_str())),
            2 => drop(fake.move_region(&table, id.key.as_str(), server)),
            3 => fake.compact(&table),
            4 => {
                fake.kill(server);
                fake.revive(server);
            }
            _ => {
                fake.kill_master();
                fake.revive_master();
            }
        }
    }
}

async fn history(run: &Run, seed: u64) {
    // The tables are there before anything goes wrong.
    run.place.rows().meta("any").await.unwrap();
    if let RowPlace::Fake(fake, _) = &run.place {
        let faults = vec![
            Fault::Late(Duration::from_millis(5)),
            Fault::DropCall,
            Fault::CloseBefore,
            Fault::CloseAfter,
            Fault::CloseMidFrame,
            Fault::Garbage,
            Fault::FailRegion("RegionTooBusyException"),
            Fault::FailRegion("NotServingRegionException"),
            Fault::ReplyFull(1),
        ];
        fake.by_chance(Some(Chance { one_in: 8, faults, left: 25 }));
    }
    let writers = (0..WRITERS as u64).map(|n| write_by_chance(run, seed.wrapping_mul(31) + n));
    let (writers, readers) =
        (futures_util::future::join_all(writers), futures_util::future::join_all([read_on(run), read_on(run)]));
    let striking = async {
        if let RowPlace::Fake(fake, _) = &run.place {
            strike(run, fake, seed).await;
        }
    };
    tokio::join!(writers, readers, striking);
    let store = run.place.rows();
    let model = run.model.lock().unwrap().clone();
    for (id, wanted) in model {
        let held = store.read(vec![id.clone()]).await.unwrap().remove(0).unwrap();
        assert_eq!(held.parts, wanted.parts, "seed {seed}: {id:?}");
    }
    let all = store.scan(Name::of("order"), None, None, 100).await.unwrap();
    assert!(all.rows.iter().all(|found| found.row.kind == Name::of("order")) && !all.rows.is_empty());
}

fn model_holds(place: RowPlace, seed: u64) {
    let (model, contents) = Default::default();
    let run = Run { place, stamp: AtomicI64::new(1), writing: AtomicUsize::new(WRITERS), model, contents };
    holds(&run.place, async |_| history(&run, seed).await);
}

/// Goal: many writers, readers and misfortunes end as the merge of all changes; versions never fall, one version is one
/// content. Method: histories by seed on the fake.
#[test]
fn histories_on_the_fake_end_as_the_merge_of_all() {
    for seed in 1..=4 {
        model_holds(RowPlace::fake(Wal::Sync), seed);
    }
}

/// Goal and method: the same, in peace, on a real server: the fake must not have taught us wrong.
#[test]
fn a_history_on_a_server_ends_as_the_merge_of_all() {
    model_holds(RowPlace::real(), 9);
}
