//! What every row store promises (2.2, 2.4, 2.6).

use crate::place::run;
use crate::row_place::{RowPlace, on_every_row_store};
use proptest::prelude::*;
use widerow::domain::change::Value;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Millis, Name, RowId, RowKey, Stamp};
use widerow::domain::row::{Cell, Keys, PartId, Purged, Tombstone, WideRow};
use widerow::domain::schema::VersionKind;
use widerow::ports::rows::{Checked, CheckedWrite, Horizon, RowStore, RowWrite, version_of};

on_every_row_store!(
    what_is_written_is_read,
    a_row_is_the_merge_of_its_writes_in_any_order,
    both_kinds_of_versions_rise,
    a_tombstone_hides_older_cells_and_stays,
    a_checked_write_holds_its_condition,
    purge_never_lowers_a_version,
    purge_of_an_unknown_kind_is_refused,
    a_scan_pages_in_key_order_within_its_kind,
    values_beside_the_rows_are_compared_and_set,
    rows_are_counted_by_kind,
    concurrent_writes_of_one_row_all_count,
);

pub fn row(kind: &str, key: &str) -> RowId {
    RowId { kind: Name::of(kind), key: RowKey::new(key) }
}

pub fn part(table: &str, child: &str) -> PartId {
    PartId { table: Name::of(table), child: child.into() }
}

/// One table row's cells at one stamp.
pub fn change(table: &str, child: &str, stamp: i64, cells: &[(&str, Option<&str>)]) -> WideRow {
    let mut row = WideRow { counter: 1, ..WideRow::default() };
    let part = row.part_mut(&part(table, child));
    for (name, value) in cells {
        part.cells.push(Cell { name: Name::of(name), stamp: Stamp(stamp), value: *value });
    }
    row
}

pub fn tombstone(table: &str, child: &str, stamp: i64, written: i64) -> WideRow {
    let mut row = WideRow { counter: 1, ..WideRow::default() };
    let tombstone = Tombstone { stamp: Stamp(stamp), written: Millis(written), revoked: false };
    row.part_mut(&part(table, child)).tombstone = Some(tombstone);
    row
}

pub fn writes(row: &RowId, changes: impl IntoIterator<Item = WideRow>) -> Vec<RowWrite> {
    changes.into_iter().map(|change| RowWrite { row: row.clone(), change: change.into() }).collect()
}

pub async fn write(store: &dyn RowStore, row: &RowId, changes: impl IntoIterator<Item = WideRow>) {
    for outcome in store.write(writes(row, changes)).await {
        outcome.unwrap();
    }
}

pub async fn read(store: &dyn RowStore, row: &RowId) -> Option<WideRow> {
    store.read(vec![row.clone()]).await.unwrap().remove(0)
}

/// Goal: every piece of a row comes back, and nothing where nothing was. Method: one row with each of them.
async fn what_is_written_is_read(place: &RowPlace) {
    let store = place.rows();
    let id = row("order", "4711:门店");
    assert_eq!(read(&*store, &id).await, None);
    let mut keys = Keys::default();
    keys.set(Name::of("order_no"), Value::Text("门店"));
    keys.set(Name::of("empty"), Value::Null);
    let mut whole = change("payment", "", 7, &[("paid", Some("8.80")), ("note", None), ("text", Some(""))]);
    whole.keys = keys;
    whole.base = 5;
    whole.marks = vec![("moved:order_item:9:0".into(), Stamp(3)), ("other".into(), Stamp(-4))];
    whole.merge(&change("order_item", "1", (3 << 44) + 12, &[("qty", Some("\0\u{1}2")), ("price", Some("1"))]));
    whole.merge(&change("order_item", "1", (3 << 44) + 13, &[("qty", Some("3"))]));
    let revoked = Tombstone { stamp: Stamp(2), written: Millis(1_740_000_000_000), revoked: true };
    whole.part_mut(&part("order_item", "2,%2C")).tombstone = Some(revoked);
    write(&*store, &id, [whole.clone()]).await;
    assert_eq!(read(&*store, &id).await, Some(whole));
    let both = store.read(vec![row("sku", "4711:门店"), id.clone()]).await.unwrap();
    assert!(both[0].is_none() && both[1].is_some(), "answers in the order of the question, kinds apart");
}

/// Goal: M4. Method: random changes written straight; and in another order, doubled, in two batches; same content.
async fn a_row_is_the_merge_of_its_writes_in_any_order(place: &RowPlace) {
    let store = place.rows();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() });
    let stamped = (0..4i64, 1..40i64, any::<bool>(), 0..3usize);
    let cases =
        proptest::collection::vec(stamped, 1..12).prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle(), any::<u32>()));
    let count = std::cell::Cell::new(0);
    runner
        .run(&cases, |(straight, shuffled, split)| {
            count.set(count.get() + 1);
            let (a, b) = (row("order", &format!("a{}", count.get())), row("order", &format!("b{}", count.get())));
            let make = |(child, stamp, delete, column): &(i64, i64, bool, usize)| {
                // Equal stamps carry equal values.
                let (child, value) = (child.to_string(), format!("{stamp}"));
                let column = ["status", "amount", "note"][*column];
                if *delete {
                    tombstone("item", &child, *stamp, 0)
                } else {
                    change("item", &child, *stamp, &[(column, Some(&value))])
                }
            };
            let split = split as usize % shuffled.len();
            let (first, second) = shuffled.split_at(split);
            all_at_once(
                store.write(writes(&a, straight.iter().map(make))),
                store.write(writes(&b, first.iter().map(make))),
                store.write(writes(&b, second.iter().chain(first).map(make))),
            );
            let (a, b, _) = all_at_once(read(&*store, &a), read(&*store, &b), async {});
            prop_assert_eq!(a.unwrap().parts, b.unwrap().parts);
            Ok(())
        })
        .unwrap();
}

/// Three calls at once, each on a thread with a runtime of its own, as actors call.
fn all_at_once<A: Send, B: Send, C: Send>(
    a: impl Future<Output = A> + Send,
    b: impl Future<Output = B> + Send,
    c: impl Future<Output = C> + Send,
) -> (A, B, C) {
    std::thread::scope(|scope| {
        let (a, b, c) = (scope.spawn(|| run(a)), scope.spawn(|| run(b)), scope.spawn(|| run(c)));
        (a.join().unwrap(), b.join().unwrap(), c.join().unwrap())
    })
}

/// Goal: V1 for both kinds. Method: after every applied change the version of the read row is above the one before.
async fn both_kinds_of_versions_rise(place: &RowPlace) {
    let store = place.rows();
    for (kind, version) in [("order", VersionKind::Weight), ("sku", VersionKind::Counter)] {
        let id = row(kind, "1");
        let mut last = version_of(None, version);
        let changes = [
            change("orders", "", 10, &[("status", Some("1"))]),
            change("payment", "", 4, &[("paid", Some("1"))]),
            change("orders", "", 11, &[("status", Some("2"))]),
            tombstone("payment", "", 12, 0),
            change("payment", "", 5, &[("late", Some("x"))]),
            WideRow { base: 1, ..WideRow::default() },
        ];
        for (i, change) in changes.into_iter().enumerate() {
            write(&*store, &id, [change]).await;
            let now = version_of(read(&*store, &id).await.as_ref(), version);
            assert!(now > last, "{kind} change {i}: {now} after {last}");
            last = now;
        }
    }
    // An unknown outcome is written again: the weight stays, content and all.
    let id = row("order", "again");
    let twice = change("orders", "", 10, &[("status", Some("1"))]);
    write(&*store, &id, [twice.clone()]).await;
    let once = version_of(read(&*store, &id).await.as_ref(), VersionKind::Weight);
    write(&*store, &id, [twice]).await;
    assert_eq!(version_of(read(&*store, &id).await.as_ref(), VersionKind::Weight), once);
}

/// Goal: M5. Method: an older and a newer cell around a tombstone, the older one arriving last.
async fn a_tombstone_hides_older_cells_and_stays(place: &RowPlace) {
    let store = place.rows();
    let id = row("order", "1");
    write(&*store, &id, [tombstone("item", "1", 10, 99)]).await;
    write(&*store, &id, [change("item", "1", 9, &[("qty", Some("old"))])]).await;
    let held = read(&*store, &id).await.unwrap();
    assert!(!held.part(&part("item", "1")).unwrap().is_alive());
    write(&*store, &id, [change("item", "1", 11, &[("price", Some("new"))])]).await;
    let held = read(&*store, &id).await.unwrap();
    let item = held.part(&part("item", "1")).unwrap();
    assert!(item.is_alive());
    assert_eq!((item.value(Name::of("qty")), item.value(Name::of("price"))), (Value::Absent, Value::Text("new")));
    assert_eq!(item.tombstone.unwrap().written, Millis(99));
}

/// Goal: a condition on a table row's highest stamp. Method: absent, exact, stale, and a tombstone as the highest.
async fn a_checked_write_holds_its_condition(place: &RowPlace) {
    let store = place.rows();
    let id = row("order", "1");
    let checked = |stamp: i64, highest: Option<i64>| CheckedWrite {
        write: RowWrite { row: id.clone(), change: change("item", "1", stamp, &[("qty", Some("x"))]).into() },
        part: part("item", "1"),
        highest: highest.map(Stamp),
    };
    assert_eq!(store.write_checked(checked(5, Some(4))).await, Ok(Checked::Refused));
    assert_eq!(read(&*store, &id).await, None, "a refused write writes nothing");
    assert_eq!(store.write_checked(checked(5, None)).await, Ok(Checked::Applied));
    assert_eq!(store.write_checked(checked(6, None)).await, Ok(Checked::Refused));
    assert_eq!(store.write_checked(checked(6, Some(5))).await, Ok(Checked::Applied));
    write(&*store, &id, [tombstone("item", "1", 9, 0)]).await;
    assert_eq!(store.write_checked(checked(10, Some(6))).await, Ok(Checked::Refused));
    assert_eq!(store.write_checked(checked(10, Some(9))).await, Ok(Checked::Applied));
    assert_eq!(read(&*store, &id).await.unwrap().part(&part("item", "1")).unwrap().highest(), Some(Stamp(10)));
}

/// Goal: M5's purge and V3. Method: two deletes around the horizon; what went, what stayed, the version before and after.
async fn purge_never_lowers_a_version(place: &RowPlace) {
    let store = place.rows();
    for (kind, version) in [("order", VersionKind::Weight), ("sku", VersionKind::Counter)] {
        let id = row(kind, "1");
        let cells = [("a", Some("1")), ("b", Some("2"))];
        write(&*store, &id, [change("item", "1", 5, &cells), tombstone("item", "1", 8, 100)]).await;
        write(&*store, &id, [change("item", "2", 6, &cells), tombstone("item", "2", 9, 200)]).await;
        let marks = vec![("moved:item:1:0".into(), Stamp(3)), ("moved:item:2:0".into(), Stamp(30))];
        let marked = WideRow { marks, ..WideRow::default() };
        write(&*store, &id, [marked]).await;
        let before = version_of(read(&*store, &id).await.as_ref(), version);
        let horizon = Horizon { written_before: Millis(150) };
        assert_eq!(store.purge(id.clone(), horizon).await, Ok(Purged { cells: 2, tombstones: 1, marks: 1 }));
        let held = read(&*store, &id).await.unwrap();
        assert!(held.part(&part("item", "1")).is_none() && held.part(&part("item", "2")).is_some());
        assert_eq!((held.mark("moved:item:1:0"), held.mark("moved:item:2:0")), (None, Some(Stamp(30))));
        assert!(held.version(version) > before, "{kind}: {} after {before}", held.version(version));
        assert_eq!(store.purge(id.clone(), horizon).await, Ok(Purged::default()), "nothing is left to purge");
        assert_eq!(read(&*store, &id).await, Some(held), "a purge of nothing changes nothing");
        assert!(store.purge(row(kind, "none"), horizon).await.unwrap().is_nothing());
        assert_eq!(read(&*store, &row(kind, "none")).await, None, "a purge makes no row");
    }
}

/// Goal: no guess at a version kind. Method: a kind the schema does not hold.
async fn purge_of_an_unknown_kind_is_refused(place: &RowPlace) {
    let horizon = Horizon { written_before: Millis(1) };
    let refused = place.rows().purge(row("gone", "1"), horizon).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Invalid);
}

/// Goal: scans. Method: keys written out of order in two kinds; every page size, bounds, and a start between keys.
async fn a_scan_pages_in_key_order_within_its_kind(place: &RowPlace) {
    let store = place.rows();
    let keys = ["0007:7", "0001", "b", "a", "0010:10", "", "门"];
    for key in keys {
        write(&*store, &row("order", key), [change("orders", "", 1, &[("id", Some(key))])]).await;
        write(&*store, &row("order2", key), [change("orders", "", 1, &[("id", Some(key))])]).await;
    }
    let mut sorted = keys;
    sorted.sort_unstable();
    for max in 1..=8 {
        let (mut found, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.scan(Name::of("order"), from, None, max).await.unwrap();
            assert!(page.rows.len() <= max);
            pages += 1;
            found.extend(page.rows.iter().map(|r| r.row.key.as_str().to_owned()));
            assert!(page.rows.iter().all(|r| r.row.kind == Name::of("order") && !r.content.parts.is_empty()));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(found, sorted, "page size {max}");
        assert_eq!(pages, keys.len().div_ceil(max), "no empty page at the end");
    }
    let some = store.scan(Name::of("order"), Some(RowKey::new("0002")), Some(RowKey::new("b")), 10).await.unwrap();
    let some: Vec<&str> = some.rows.iter().map(|r| r.row.key.as_str()).collect();
    assert_eq!(some, ["0007:7", "0010:10", "a"], "from is included, to is not");
    assert!(store.scan(Name::of("none"), None, None, 10).await.unwrap().rows.is_empty());
    let upside_down = store.scan(Name::of("order"), Some(RowKey::new("b")), Some(RowKey::new("a")), 10).await.unwrap();
    assert!(upside_down.rows.is_empty() && upside_down.next.is_none());
}

/// Goal: compare and set. Method: absent, wrong, right; then a hundred racers of which one wins each round.
async fn values_beside_the_rows_are_compared_and_set(place: &RowPlace) {
    let store = place.rows();
    assert_eq!(store.meta("epoch:shop").await, Ok(None));
    assert_eq!(store.set_meta("epoch:shop", Some("1"), "2").await, Ok(false));
    assert_eq!(store.set_meta("epoch:shop", None, "1").await, Ok(true));
    assert_eq!(store.set_meta("epoch:shop", None, "9").await, Ok(false));
    assert_eq!(store.set_meta("epoch:shop", Some("1"), "2").await, Ok(true));
    assert_eq!(store.meta("epoch:shop").await, Ok(Some("2".into())));
    assert_eq!(store.meta("epoch:sho").await, Ok(None), "no other key answers");
    let race = (0..20).map(|i| store.set_meta("race", None, ["a", "b"][i % 2]));
    let won = futures_util::future::join_all(race).await;
    assert_eq!(won.into_iter().filter(|w| *w == Ok(true)).count(), 1);
}

/// Goal: the count by kind. Method: new rows, rows written again, two kinds.
async fn rows_are_counted_by_kind(place: &RowPlace) {
    let store = place.rows();
    for round in 1..=2 {
        for i in 0..5 {
            write(&*store, &row("order", &i.to_string()), [change("orders", "", round, &[("id", None)])]).await;
        }
    }
    write(&*store, &row("sku", "1"), [change("sku", "", 1, &[("id", None)])]).await;
    if !matches!(place, RowPlace::Plain(_)) {
        // HBase does not know it cheaply.
        assert_eq!(store.approximate_rows(Name::of("order")), None);
        return;
    }
    assert_eq!(store.approximate_rows(Name::of("order")), Some(5));
    assert_eq!(store.approximate_rows(Name::of("sku")), Some(1));
    assert_eq!(store.approximate_rows(Name::of("none")), Some(0));
}

/// Goal: no merge is lost between writers. Method: four threads with runtimes of their own raise two rows' counters, in
/// opposite row order.
async fn concurrent_writes_of_one_row_all_count(place: &RowPlace) {
    let store = place.rows();
    let (a, b) = (row("sku", "a"), row("sku", "b"));
    std::thread::scope(|scope| {
        for worker in 0..4i64 {
            let (store, a, b) = (&store, &a, &b);
            scope.spawn(move || {
                run(async move {
                    for i in 0..25i64 {
                        let mut batch = [a, b].map(|row| RowWrite {
                            row: row.clone(),
                            change: change("sku", &worker.to_string(), i + 1, &[("n", Some(&i.to_string()))]).into(),
                        });
                        if worker % 2 == 1 {
                            batch.reverse();
                        }
                        assert!(store.write(batch.into()).await.iter().all(Result::is_ok));
                    }
                });
            });
        }
    });
    for id in [a, b] {
        let held = read(&*store, &id).await.unwrap();
        assert_eq!(held.counter, 100);
        assert!(held.parts.len() == 4 && held.parts.iter().all(|p| p.highest() == Some(Stamp(25))));
    }
}
