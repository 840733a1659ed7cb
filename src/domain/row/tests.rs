use super::*;
use crate::domain::ids::RowKey;
use crate::domain::samples::{dead, name, part, part_id, row, shop, told_keys, tombstone};
use proptest::prelude::*;

/// A change of one table row: some columns, or a delete, or both halves of a rebirth. Values follow from the stamp, as
/// equal stamps carry equal values (M4).
fn change(child: u8, columns: &[u8], stamp: i64, delete: bool, reborn: bool) -> WideRow {
    let value = stamp.to_string();
    let names: Vec<String> = columns.iter().map(|c| format!("c{c}")).collect();
    let told: Vec<_> = names.iter().map(|n| (n.as_str(), (stamp % 3 > 0).then_some(value.as_str()))).collect();
    let mut part = part("order_item", &child.to_string(), stamp, if delete { &[] } else { &told });
    part.tombstone = match (delete, reborn) {
        (true, _) => Some(tombstone(stamp)),
        (false, true) if stamp > 0 => Some(tombstone(stamp - 1)),
        (false, _) => None,
    };
    WideRow { parts: [part].into(), ..WideRow::default() }
}

fn changes(stamps: std::ops::Range<i64>) -> impl Strategy<Value = WideRow> {
    let columns = prop::collection::vec(0u8..4, 1..4);
    (0u8..3, columns, stamps, 0u8..6)
        .prop_map(|(child, columns, stamp, kind)| change(child, &columns, stamp, kind == 0, kind == 1))
}

fn merged<'a>(changes: impl IntoIterator<Item = &'a WideRow>) -> WideRow {
    let mut row = WideRow::default();
    changes.into_iter().for_each(|c| row.merge(c));
    row
}

proptest! {
    /// Goal: M4 is commutative and idempotent. Method: the same changes shuffled, some delivered twice.
    #[test]
    fn order_and_repetition_do_not_matter(
        (straight, shuffled) in prop::collection::vec(changes(1..40), 1..20)
            .prop_flat_map(|c| (Just(c.clone()), Just([c.clone(), c].concat()).prop_shuffle())),
    ) {
        prop_assert_eq!(merged(&straight), merged(&shuffled));
        let once = merged(&straight);
        let mut twice = once.clone();
        twice.merge(&once);
        prop_assert_eq!(twice, once);
    }

    /// Goal: M4 is associative, so changes may be merged before they are written (N1). Method: any cut in two.
    #[test]
    fn grouping_does_not_matter(changes in prop::collection::vec(changes(1..40), 1..20), cut in any::<prop::sample::Index>()) {
        let (left, right) = changes.split_at(cut.index(changes.len() + 1));
        let mut grouped = merged(left);
        grouped.merge(&merged(right));
        prop_assert_eq!(grouped, merged(&changes));
    }

    /// Goal: a merge is what a map of newest cells is. Method: a map keyed by table row and column.
    #[test]
    fn the_newest_cell_stands(changes in prop::collection::vec(changes(1..40), 1..20)) {
        let mut newest = std::collections::BTreeMap::new();
        for part in changes.iter().flat_map(|c| &c.parts) {
            for cell in part.cells.iter() {
                let held = newest.entry((part.id.clone(), cell.name)).or_insert((cell.stamp, cell.value.map(str::to_owned)));
                *held = held.clone().max((cell.stamp, cell.value.map(str::to_owned)));
            }
        }
        let row = merged(&changes);
        let cells = row.parts.iter().flat_map(|p| p.cells.iter().map(|c| ((p.id.clone(), c.name), (c.stamp, c.value.map(str::to_owned)))));
        prop_assert_eq!(cells.collect::<std::collections::BTreeMap<_, _>>(), newest);
    }

    /// Goal: V4, both kinds: what alters the content raises the version; known content leaves it where it is.
    /// Method: random changes, deliveries again and purges; after each, version and content against those before.
    #[test]
    fn every_applied_change_raises_the_version(
        steps in prop::collection::vec(prop_oneof![8 => changes(0..30).prop_map(Some), 1 => Just(None)], 1..40),
        counter in any::<bool>(),
        epoch in 0i64..3,
    ) {
        let kind = if counter { VersionKind::Counter } else { VersionKind::Weight };
        let mut row = WideRow::default();
        for step in steps {
            let before = row.clone();
            let (was, write) = (before.version(kind), step.map(|change| in_epoch(change, epoch, counter)));
            match &write {
                Some(write) => row.merge(write),
                None => {
                    let purged = row.purge(Millis(i64::MAX), kind);
                    prop_assert_eq!(purged.is_nothing(), before == row);
                    prop_assert_eq!(seen(&row), seen(&before), "M5: a purge removes what is dead and nothing else");
                }
            }
            let is = row.version(kind);
            prop_assert!(is >= was, "V3: {} fell to {}", was, is);
            if let Some(write) = write {
                prop_assert!(is > was || (row.parts == before.parts && !counter), "V4: content changed under version {}", was);
                let mut again = row.clone();
                again.merge(&write);
                prop_assert!(again.parts == row.parts && again.version(kind) >= is);
                prop_assert!(counter || again.version(kind) == is, "V1: known content moved the weight");
            }
        }
    }

    /// Goal: M8: a fill never hides a live change of its epoch, and a fill of other values over a fill raises the base.
    /// Method: fills and a live change of one cell in any order.
    #[test]
    fn fills_lose_to_live_changes_and_raise_the_base(fills in prop::collection::vec(0u8..3, 1..6), live_at in 0usize..7) {
        let cell = |stamp, value: &str| row(vec![part("orders", "1", stamp, &[("a", Some(value))])]);
        let mut held = WideRow::default();
        let mut live = false;
        for (i, fill) in fills.iter().enumerate() {
            if i == live_at {
                held.merge(&cell(9, "live"));
                live = true;
            }
            let (before, value) = (held.clone(), fill.to_string());
            held.merge(&cell(0, &value));
            let now = held.parts[0].value(name("a"));
            prop_assert_eq!(now, Value::Text(if live { "live" } else { &value }));
            if held.parts != before.parts {
                prop_assert!(held.version(VersionKind::Weight) > before.version(VersionKind::Weight), "V4");
            }
        }
    }

    /// Goal: M1's escaping is undone exactly, and separators never stand bare. Method: any texts.
    #[test]
    fn child_keys_round_trip(parts in prop::collection::vec("[%:,\u{0}-\u{20}a-c0-9门\u{85}]{0,6}", 1..4)) {
        let key = child_key(parts.iter().map(String::as_str));
        prop_assert_eq!(child_key_parts(&key), parts.clone());
        prop_assert!(!key.contains(':') && !key.chars().any(char::is_control), "{}", key);
        prop_assert_eq!(key.matches(',').count(), parts.len() - 1);
    }
}

/// The change at its stamp of a later epoch, with the bump that counter kinds carry.
fn in_epoch(change: WideRow, epoch: i64, counter: bool) -> WideRow {
    let later = |stamp: Stamp| Stamp(stamp.0 + epoch * Stamp::POSITIONS);
    let parts = change.parts.into_iter().map(|part| {
        let mut cells = Cells::default();
        part.cells.iter().for_each(|c| cells.push(Cell { stamp: later(c.stamp), ..c }));
        Part { tombstone: part.tombstone.map(|t| Tombstone { stamp: later(t.stamp), ..t }), cells, id: part.id }
    });
    WideRow { parts: parts.collect(), counter: i64::from(counter), ..WideRow::default() }
}

type Shown = (Name, Option<String>);

/// What a reader sees: living cells.
fn seen(row: &WideRow) -> Vec<(PartId, Vec<Shown>)> {
    let living = row.parts.iter().filter(|p| p.is_alive());
    let cells = |p: &Part| {
        let shown = p.cells.iter().filter(|c| p.value(c.name) != Value::Absent);
        shown.map(|c| (c.name, c.value.map(str::to_owned))).collect::<Vec<_>>()
    };
    living.map(|p| (p.id.clone(), cells(p))).collect()
}

/// Goal: what a tombstone hides (M5). Method: a table of cell stamp, tombstone and what is read.
#[test]
fn tombstones_hide_at_and_below() {
    let held = |stamp| part("orders", "1", stamp, &[("a", Some("x")), ("n", None)]);
    let mut revoked = dead(held(5), 9);
    revoked.tombstone.as_mut().expect("a tombstone").revoked = true;
    for (part, alive) in
        [(held(5), true), (dead(held(5), 4), true), (dead(held(5), 5), false), (dead(held(5), 6), false), (revoked, true)]
    {
        let (a, n) = if alive { (Value::Text("x"), Value::Null) } else { (Value::Absent, Value::Absent) };
        assert_eq!((part.is_alive(), part.value(name("a")), part.value(name("n"))), (alive, a, n), "{part:?}");
    }
    assert!(!Part::new(part_id("orders", "1")).is_alive());
}

/// Goal: M6. Method: root, child and both, dead and alive, with and without `root:`.
#[test]
fn the_root_decides_the_life() {
    let schema = shop(VersionKind::Weight);
    let rooted = schema.kinds[0].clone();
    let rootless = RowKind { root: None, ..rooted.clone() };
    let root = || part("orders", "1", 5, &[("a", Some("x"))]);
    let child = || part("payment", "1", 5, &[("a", Some("x"))]);
    for (parts, with_root, without) in [
        (vec![], false, false),
        (vec![root()], true, true),
        (vec![child()], false, true),
        (vec![dead(root(), 5), child()], false, true),
        (vec![dead(root(), 5), dead(child(), 5)], false, false),
    ] {
        let row = row(parts);
        assert_eq!((row.is_alive(&rooted), row.is_alive(&rootless)), (with_root, without), "{row:?}");
    }
}

/// Goal: worked case 6: insert, delete, insert again, in every order and delivered twice, ends alive with the second
/// insert. Method: all orders of the three changes, doubled.
#[test]
fn born_twice_in_every_order() {
    let first = part("orders", "1", 3, &[("a", Some("1")), ("old", Some("1"))]);
    let gone = dead(Part::new(part_id("orders", "1")), 4);
    let second = part("orders", "1", 5, &[("a", Some("2"))]);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let parts = [&first, &gone, &second];
        let row = row(order.iter().chain(&order).map(|i| parts[*i].clone()).collect());
        let part = &row.parts[0];
        assert!(part.is_alive(), "{order:?}");
        assert_eq!((part.value(name("a")), part.value(name("old"))), (Value::Text("2"), Value::Absent), "{order:?}");
    }
}

/// Goal: purge spares what is young, revoked or above, and takes old marks (M5, C5). Method: one row of each.
#[test]
fn purge_takes_only_what_is_old_and_dead() {
    let mut revoked = dead(part("orders", "3", 5, &[("a", Some("x"))]), 9);
    revoked.tombstone.as_mut().expect("a tombstone").revoked = true;
    let mut reborn = dead(part("orders", "4", 5, &[("a", Some("x")), ("b", Some("y"))]), 6);
    reborn.merge(&part("orders", "4", 8, &[("a", Some("z"))]));
    let old = dead(part("orders", "1", 5, &[("a", Some("x"))]), 6);
    let young = dead(part("orders", "2", 5, &[("a", Some("x"))]), 60);
    let mut row = row(vec![old, young.clone(), revoked.clone(), reborn]);
    row.marks = vec![("moved:orders:1:0".to_owned(), Stamp(4)), ("moved:orders:2:0".to_owned(), Stamp(5))];
    let purged = row.purge(Millis(50), VersionKind::Weight);
    assert_eq!(purged, Purged { cells: 2, tombstones: 2, marks: 1 });
    let left = part("orders", "4", 8, &[("a", Some("z"))]);
    assert_eq!(row.parts.to_vec(), [young, revoked, left]);
    assert_eq!(row.marks, vec![("moved:orders:2:0".to_owned(), Stamp(5))]);
    assert_eq!(row.base, 7 * 4, "V3: tombstone stamp + 1 for each of two cells and two tombstones");
}

/// Goal: keys stand in the row from the first change on, and marks only rise. Method: merges in both orders.
#[test]
fn keys_and_marks() {
    let marked = |stamp| WideRow { marks: vec![("m".to_owned(), Stamp(stamp))], ..WideRow::default() };
    for order in [[3, 8], [8, 3]] {
        assert_eq!(merged(&order.map(marked)).mark("m"), Some(Stamp(8)));
    }
    let keyed = WideRow { keys: told_keys(&[("order_no", "7")]), ..WideRow::default() };
    assert_eq!(merged([&marked(1), &keyed, &marked(2)]).keys, keyed.keys);
}

/// Goal: key texts that share the row key's room are the same texts, whatever stands where. Method: a table of row keys and
/// texts, against keys of their own.
#[test]
fn keys_beside_a_row_key_are_the_keys() {
    let long = "230822154713450000004711";
    let longer = format!("{long}9王");
    for (key, texts) in [
        ("11:4711", vec!["4711"]),
        (&*format!("7119:{longer}"), vec![&*longer]),
        (&*format!("{longer}:x:{longer}y"), vec![&*longer, "x"]),
        ("md5:4711", vec![&*longer, ""]),
        (&*format!("{longer}{long}"), vec![&*longer, long, &*longer]),
    ] {
        let names = ["key_c", "key_a", "key_b"].map(Name::of);
        let told = || names.into_iter().zip(texts.iter().copied());
        let own: Keys = told().map(|(name, text)| (name, Value::Text(text))).collect();
        let beside = Keys::beside(&RowKey::new(key), told());
        assert_eq!(beside, own, "{key}");
        assert_eq!(beside.text_bytes(), own.text_bytes(), "{key}");
        assert!(told().all(|(name, text)| beside.get(name) == Value::Text(text)), "{key}: {beside:?}");
    }
}
