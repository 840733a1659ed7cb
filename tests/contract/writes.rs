//! What order, doubling and a store's own upkeep must not change (M4, M5, V1, N4).

use crate::place::run;
use crate::row_place::{RowPlace, on_every_row_store};
use crate::rows::{change, part, read, row, tombstone, write, writes};
use widerow::domain::ids::Stamp;
use widerow::domain::row::WideRow;
use widerow::domain::schema::VersionKind;
use widerow::ports::rows::version_of;

on_every_row_store!(
    a_read_sees_every_write_before_it,
    a_row_that_comes_twice_in_a_batch_is_merged,
    batches_in_opposite_orders_both_end,
    tombstones_outlast_the_stores_upkeep,
    fills_that_meet_raise_the_version,
);

/// Goal: a write is seen by every read that begins after its answer, through another process's door too. Method: a write, a
/// read, many times, the stamp of what is read.
async fn a_read_sees_every_write_before_it(place: &RowPlace) {
    let store = place.rows();
    // The embedded store is one process's; the others have a second door.
    let other = if matches!(place, RowPlace::Plain(_)) { store.clone() } else { place.rows() };
    let ids = [row("order", "1"), row("sku", "1")];
    for stamp in 1..=15 {
        for id in &ids {
            write(&*store, id, [change("item", "1", stamp, &[("n", Some(&stamp.to_string()))])]).await;
            for door in [&store, &other] {
                let held = read(&**door, id).await.unwrap();
                assert_eq!(held.part(&part("item", "1")).unwrap().highest(), Some(Stamp(stamp)));
            }
        }
    }
}

/// Goal: a batch may name a row as often as it likes. Method: rising, falling and equal stamps of one row in one batch, two
/// kinds, other rows between.
async fn a_row_that_comes_twice_in_a_batch_is_merged(place: &RowPlace) {
    let store = place.rows();
    for kind in ["order", "sku"] {
        let (a, b) = (row(kind, "a"), row(kind, "b"));
        let stamps = [3, 1, 7, 7, 2, 9, 4];
        let all = |id| writes(id, stamps.map(|stamp| change("item", "1", stamp, &[("n", Some(&stamp.to_string()))])));
        let batch = all(&a).into_iter().zip(all(&b)).flat_map(|(a, b)| [a, b]).collect();
        assert!(store.write(batch).await.iter().all(Result::is_ok));
        for id in [a, b] {
            let held = read(&*store, &id).await.unwrap();
            assert_eq!(held.part(&part("item", "1")).unwrap().cells.iter().map(|c| c.value).collect::<Vec<_>>(), [Some("9")]);
            assert!(kind == "order" || held.counter >= 1);
        }
    }
}

/// Goal: no two batches lock each other out. Method: batches of the same rows in opposite orders at the same time, several
/// times, both kinds.
async fn batches_in_opposite_orders_both_end(place: &RowPlace) {
    let store = place.rows();
    for kind in ["order", "sku"] {
        std::thread::scope(|scope| {
            for worker in 0..2i64 {
                let store = &store;
                scope.spawn(move || {
                    run(async move {
                        for round in 1..=4 {
                            let mut batch: Vec<_> = (0..60)
                                .flat_map(|n| {
                                    writes(
                                        &row(kind, &format!("{n:02}")),
                                        [change("item", &worker.to_string(), round, &[("n", None)])],
                                    )
                                })
                                .collect();
                            if worker == 1 {
                                batch.reverse();
                            }
                            assert!(store.write(batch).await.iter().all(Result::is_ok));
                        }
                    });
                });
            }
        });
        let ids = (0..60).map(|n| row(kind, &format!("{n:02}"))).collect();
        for held in store.read(ids).await.unwrap() {
            let held = held.unwrap();
            assert_eq!(held.parts.iter().map(|p| p.highest()).collect::<Vec<_>>(), [Some(Stamp(4)); 2]);
            assert!(kind == "order" || held.counter == 8, "{}", held.counter);
        }
    }
}

/// Goal: M5 whatever the store does between calls. Method: cells, a tombstone, an older cell after it, a newer one; the store's
/// upkeep after each; against the same changes merged by hand.
async fn tombstones_outlast_the_stores_upkeep(place: &RowPlace) {
    let store = place.rows();
    let id = row("order", "1");
    let mut model = WideRow::default();
    let steps = [
        (change("item", "1", 5, &[("a", Some("5")), ("b", None)]), true),
        (tombstone("item", "1", 10, 99), true),
        (change("item", "1", 9, &[("a", Some("9"))]), true),
        (change("item", "1", 11, &[("b", Some("11"))]), false),
        (tombstone("item", "1", 12, 100), false),
        (tombstone("item", "1", 12, 101), true),
        (change("item", "1", 11, &[("c", Some("late"))]), false),
    ];
    let mut last = version_of(None, VersionKind::Weight);
    for (n, (step, upkeep)) in steps.into_iter().enumerate() {
        model.merge(&step);
        write(&*store, &id, [step]).await;
        if upkeep {
            place.compact();
        }
        let held = read(&*store, &id).await.unwrap();
        assert_eq!(held.parts, model.parts, "step {n}");
        let version = held.version(VersionKind::Weight);
        // A tombstone's time is no content of its own: the version may stay.
        assert!(version > last || (n == 5 && version == last), "step {n}: {version} after {last}");
        last = version;
    }
    assert!(!model.part(&part("item", "1")).unwrap().is_alive());
}

/// Goal: M8 and V4: a fill over a fill of another value raises the version. Method: fills of one cell, the same and others.
async fn fills_that_meet_raise_the_version(place: &RowPlace) {
    let store = place.rows();
    let id = row("order", "1");
    let fill = |value| change("item", "1", 0, &[("a", Some(value))]);
    let mut last = version_of(None, VersionKind::Weight);
    for (n, value) in ["1", "2", "1", "3"].into_iter().enumerate() {
        write(&*store, &id, [fill(value)]).await;
        let held = read(&*store, &id).await.unwrap();
        assert_eq!(held.part(&part("item", "1")).unwrap().cells.iter().map(|c| c.value).collect::<Vec<_>>(), [Some(value)]);
        let version = held.version(VersionKind::Weight);
        assert!(version > last, "fill {n}: {version} after {last}");
        last = version;
    }
    let live = change("item", "1", 7, &[("a", Some("live"))]);
    write(&*store, &id, [live]).await;
    write(&*store, &id, [fill("late")]).await;
    let held = read(&*store, &id).await.unwrap();
    assert_eq!(held.part(&part("item", "1")).unwrap().highest(), Some(Stamp(7)), "a fill never covers a live change");
}
