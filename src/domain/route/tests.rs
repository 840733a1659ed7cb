use super::*;
use crate::domain::samples::{image, name, part_id, row_id, shop, told, told_keys};
use crate::domain::schema::{TableId, VersionKind};

const ORDERS: TableId = TableId(0);
const ITEM: TableId = TableId(2);
const INFO: TableId = TableId(3);
const ATTR: TableId = TableId(4);

fn change(table: TableId, op: Op, before: Option<Image>, after: Option<Image>) -> Change {
    let rows = match after {
        None => Rows::Deleted(before),
        Some(after) => {
            let before = before.map(|before| Before::of(&before, &after, false));
            Rows::Written(after, before)
        }
    };
    Change { table, op, rows, at: Some(Millis(7)), binlog: None }
}
fn insert(table: TableId, after: Image) -> Change {
    change(table, Op::Insert, None, Some(after))
}
fn update(table: TableId, before: Image, after: Image) -> Change {
    change(table, Op::Update, Some(before), Some(after))
}
fn delete(table: TableId, before: Image) -> Change {
    change(table, Op::Delete, Some(before), None)
}

fn order(id: &str, order_no: &str, status: &str) -> Image {
    told(&[("id", id), ("order_no", order_no), ("status", status)])
}
fn item(id: &str, order_no: &str, qty: &str) -> Image {
    told(&[("id", id), ("order_no", order_no), ("qty", qty)])
}

fn origin(partitions: u32) -> Origin {
    Origin { partition: Partition { topic: name("t"), number: 3 }, partitions, epoch: Epoch(0), offset: 9, logged: None }
}

fn routed(changes: &[Change]) -> Vec<RowChange> {
    route(changes.iter().cloned(), &origin(4), &RouteSettings::default(), &shop(VersionKind::Weight)).unwrap()
}

/// The effects of each table row, in words.
fn words(changes: &[RowChange]) -> Vec<(String, String)> {
    let word = |effect: &Effect| match effect {
        Effect::Put { image, reborn } => {
            let mut told: Vec<_> = image.iter().map(|(n, v)| format!("{n}={}", v.text().unwrap_or("null"))).collect();
            told.sort_unstable();
            format!("{}{}", if *reborn { "reborn " } else { "" }, told.join(" "))
        }
        Effect::Delete => "delete".to_owned(),
        Effect::MoveOut(out) => format!("move out {}", out.mark),
    };
    changes.iter().map(|c| (format!("{} {} {}", c.row.key, c.part.table, c.part.child), word(&c.effect))).collect()
}

/// Goal: C3 for every pair of changes of one table row. Method: a table; the stamp is the record's throughout.
#[test]
fn changes_of_one_table_row_fold() {
    let (a, b) = (|| item("1", "7", "1"), || item("1", "7", "2"));
    let partial = || told(&[("id", "1"), ("order_no", "7"), ("note", "n")]);
    for (changes, want) in [
        (vec![insert(ITEM, a()), update(ITEM, a(), b())], "id=1 order_no=7 qty=2"),
        (vec![insert(ITEM, a()), insert(ITEM, partial())], "id=1 note=n order_no=7 qty=1"),
        (vec![insert(ITEM, a()), delete(ITEM, a())], "delete"),
        (vec![delete(ITEM, a()), insert(ITEM, partial())], "reborn id=1 note=n order_no=7"),
        (vec![delete(ITEM, a()), insert(ITEM, b()), update(ITEM, b(), a())], "reborn id=1 order_no=7 qty=1"),
        (vec![delete(ITEM, a()), insert(ITEM, b()), delete(ITEM, b())], "delete"),
        (vec![insert(ITEM, a()), delete(ITEM, a()), insert(ITEM, b())], "reborn id=1 order_no=7 qty=2"),
        (vec![delete(ITEM, a()), delete(ITEM, a())], "delete"),
    ] {
        let got = routed(&changes);
        assert_eq!(words(&got), [("0007:7 order_item 1".to_owned(), want.to_owned())], "{changes:?}");
        assert_eq!(got[0].stamp, Stamp(10), "E1: position = offset + 1");
        assert_eq!(got[0].keys, told_keys(&[("order_no", "7")]), "M9");
    }
}

/// Goal: folding keeps table rows apart, in first order, however many there are. Method: a record of two thousand rows,
/// each changed twice.
#[test]
fn folding_keeps_rows_apart() {
    let rows = |qty: &'static str| (0..2_000).map(move |i| insert(ITEM, item(&i.to_string(), "7", qty)));
    let got = routed(&rows("1").chain(rows("2")).collect::<Vec<_>>());
    assert_eq!(got.len(), 2_000);
    for (i, change) in got.iter().enumerate() {
        assert_eq!(change.part, part_id("order_item", &i.to_string()));
        let Effect::Put { image, .. } = &change.effect else { panic!("{change:?}") };
        assert_eq!(image.get(name("qty")), Value::Text("2"));
    }
}

/// Goal: C4, what counts as touched. Method: a table over the kinds of change.
#[test]
fn touched_is_computed() {
    let a = || order("1", "7", "1");
    for (changes, all, columns, life, first_seen, snapshot) in [
        (vec![insert(ORDERS, a())], true, &[][..], true, true, false),
        (vec![update(ORDERS, a(), order("1", "7", "2"))], false, &["status"], false, false, false),
        (vec![update(ORDERS, a(), a())], false, &[], false, false, false),
        (vec![change(ORDERS, Op::Update, None, Some(a()))], true, &[], true, false, false),
        (vec![delete(ORDERS, a())], true, &[], true, false, false),
        (vec![change(ORDERS, Op::Snapshot(Snapshot::Ordered), None, Some(a()))], true, &[], true, false, true),
        (vec![insert(ITEM, item("1", "7", "1"))], true, &[], false, false, false),
        (vec![delete(ITEM, item("1", "7", "1"))], true, &[], false, false, false),
        (vec![update(ITEM, item("1", "7", "1"), item("1", "7", "2"))], false, &["qty"], false, false, false),
        (
            vec![change(ORDERS, Op::Snapshot(Snapshot::Ordered), None, Some(a())), update(ORDERS, a(), order("1", "7", "2"))],
            true,
            &["status"],
            true,
            false,
            false,
        ),
    ] {
        let got = routed(&changes);
        let touched = &got[0].touched;
        let names: Vec<_> = touched.columns.iter().map(|n| n.as_str()).collect();
        assert_eq!(names, columns, "{changes:?}");
        let told = (touched.all, touched.life, touched.first_seen, touched.snapshot);
        assert_eq!(told, (all, life, first_seen, snapshot), "{changes:?}");
    }
    let mut rootless = shop(VersionKind::Weight);
    rootless.kinds[0].root = None;
    let got = route([insert(ITEM, item("1", "7", "1"))], &origin(1), &RouteSettings::default(), &rootless).unwrap();
    assert!(got[0].touched.life, "without a root every table row is one");
}

/// Goal: C5, both ways and what keeps the message's own stamp. Method: a table of what changed and how the topic is keyed.
#[test]
fn a_changed_key_is_two_changes() {
    let by = |columns: &[&str]| PartitionedBy::Columns(columns.iter().map(|c| name(c)).collect());
    let to_order_8 = || update(ITEM, item("1", "7", "2"), item("1", "8", "2"));
    let to_id_2 = || update(ITEM, item("1", "7", "2"), item("2", "7", "2"));
    let version = StampKind::Column(name("qty"));
    let moved = "move out moved:order_item:1:3";
    for (change, partitions, partitioned_by, stamp, old) in [
        (to_order_8(), 4, PartitionedBy::PrimaryKey, StampKind::Offset, "delete"),
        (to_order_8(), 4, by(&["order_no"]), StampKind::Offset, moved),
        (to_order_8(), 4, by(&["id"]), StampKind::Offset, "delete"),
        (to_order_8(), 1, by(&["order_no"]), StampKind::Offset, "delete"),
        (to_order_8(), 4, by(&["order_no"]), version, "delete"),
        (to_id_2(), 4, PartitionedBy::PrimaryKey, StampKind::Offset, moved),
        (to_id_2(), 4, by(&["order_no"]), StampKind::Offset, "delete"),
        (to_id_2(), 1, PartitionedBy::PrimaryKey, StampKind::Offset, "delete"),
    ] {
        let settings = RouteSettings { stamp, partitioned_by };
        let got = route([change.clone()], &origin(partitions), &settings, &shop(VersionKind::Weight)).unwrap();
        let after = change.after().unwrap();
        let (id, no) = (after.get(name("id")).text().unwrap(), after.get(name("order_no")).text().unwrap());
        let new = (format!("000{no}:{no} order_item {id}"), format!("id={id} order_no={no} qty=2"));
        assert_eq!(words(&got), [("0007:7 order_item 1".to_owned(), old.to_owned()), new], "{change:?} under {settings:?}");
        assert_eq!(got[0].keys, told_keys(&[("order_no", "7")]), "M9: the old half carries the old keys");
        assert!(got.iter().all(|c| c.touched.all), "C4");
        if let Effect::MoveOut(out) = &got[0].effect {
            assert_eq!(Some(&out.before), change.before().as_ref());
        }
    }
}

/// Goal: a move of a root row concerns every line of both entities (C4), of another row only by its columns.
#[test]
fn a_moved_root_row_is_a_matter_of_life() {
    let root = routed(&[update(ORDERS, order("1", "7", "1"), order("1", "8", "1"))]);
    assert_eq!(root.iter().map(|c| c.touched.life).collect::<Vec<_>>(), [true, true]);
    let child = routed(&[update(ITEM, item("1", "7", "1"), item("1", "8", "1"))]);
    assert_eq!(child.iter().map(|c| c.touched.life).collect::<Vec<_>>(), [false, false]);
}

/// Goal: worked case 5 in one record: away and back folds to a rebirth at home and a delete abroad.
#[test]
fn away_and_back_in_one_record() {
    let (home, abroad) = (|| item("1", "7", "2"), || item("1", "8", "2"));
    let got = routed(&[update(ITEM, home(), abroad()), update(ITEM, abroad(), home())]);
    let want = [("0007:7 order_item 1", "reborn id=1 order_no=7 qty=2"), ("0008:8 order_item 1", "delete")];
    assert_eq!(words(&got), want.map(|(row, effect)| (row.to_owned(), effect.to_owned())));
}

/// Goal: a key that stays is no move, even where the before image tells less. Method: equal keys, null elsewhere.
#[test]
fn an_unmoved_row_is_one_change() {
    let before = image(&[("id", Some("1")), ("order_no", Some("7")), ("qty", None)]);
    assert_eq!(routed(&[update(ITEM, before, item("1", "7", "2"))]).len(), 1);
}

/// Goal: M1, where child keys stand and how they are escaped. Method: a single-row table, a composite key with separators.
#[test]
fn child_keys_stand_where_the_table_needs_them() {
    let got = routed(&[
        insert(INFO, told(&[("product_id", "12"), ("title", "t")])),
        insert(ATTR, told(&[("product_id", "12"), ("attr", "a:b,c%"), ("val", "v")])),
        insert(ORDERS, order("5", "7", "1")),
    ]);
    let parts: Vec<_> = got.iter().map(|c| (c.row.clone(), c.part.clone())).collect();
    assert_eq!(
        parts,
        [
            (row_id("product", "p000012"), part_id("product_info", "")),
            (row_id("product", "p000012"), part_id("product_attr", "12,a%3Ab%2Cc%25")),
            (row_id("order", "0007:7"), part_id("orders", "5")),
        ]
    );
}

/// Goal: a row key that cannot be made is a dead letter that says which column and how (C7, M9). Method: a table.
#[test]
fn a_missing_key_says_which() {
    for (change, want) in [
        (insert(ITEM, told(&[("id", "1"), ("qty", "2")])), "`order_no` for row kind `order`, and it is missing"),
        (insert(ITEM, image(&[("id", Some("1")), ("order_no", None)])), "`order_no` for row kind `order`, and it is null"),
        (insert(ITEM, told(&[("order_no", "7")])), "`id` for row kind `order`, and it is missing"),
        (delete(ITEM, told(&[("id", "1")])), "`order_no` for row kind `order`, and it is missing"),
        (update(ITEM, image(&[("id", Some("1")), ("order_no", None)]), item("1", "7", "1")), "and it is null"),
    ] {
        let bad = route([change.clone()], &origin(4), &RouteSettings::default(), &shop(VersionKind::Weight));
        let bad = bad.expect_err("a row without its key was routed");
        assert_eq!(bad.reason, BadReason::MissingKey);
        assert!(bad.detail.contains(want), "{} lacks {want}", bad.detail);
    }
    let nothing = change(ITEM, Op::Delete, None, None);
    let bad = route([nothing], &origin(4), &RouteSettings::default(), &shop(VersionKind::Weight)).expect_err("no image");
    assert_eq!(bad.reason, BadReason::Malformed);
}

/// Goal: E1, E2, M8. Method: a table of kinds, positions and columns.
#[test]
fn stamps_follow_their_kind() {
    let qty = |text: &str| insert(ITEM, item("1", "7", text));
    let at = |position: i64| Change { binlog: Some(position), ..qty("5") };
    let fill = || change(ITEM, Op::Snapshot(Snapshot::Fill), None, Some(item("1", "7", "5")));
    let ordered = || change(ITEM, Op::Snapshot(Snapshot::Ordered), None, Some(item("1", "7", "5")));
    let column = || StampKind::Column(name("qty"));
    let e = Stamp::POSITIONS;
    for (kind, change, epoch, want) in [
        (StampKind::Offset, qty("5"), 0, Ok(10)),
        (StampKind::Offset, qty("5"), 2, Ok(2 * e + 10)),
        (StampKind::Offset, ordered(), 2, Ok(2 * e + 10)),
        (StampKind::Offset, fill(), 2, Ok(2 * e)),
        (column(), fill(), 1, Ok(e)),
        (column(), qty("5"), 1, Ok(e + 5)),
        (column(), qty("17592186044415"), 0, Ok(e - 1)),
        (column(), qty("17592186044416"), 0, Err(BadReason::BadValue)),
        (column(), qty("-1"), 0, Err(BadReason::BadValue)),
        (column(), qty("1.5"), 0, Err(BadReason::BadValue)),
        (StampKind::Column(name("none")), qty("5"), 0, Err(BadReason::BadValue)),
        (StampKind::Position, at((3 << 32) + 4), 0, Ok((3 << 32) + 4)),
        (StampKind::Position, qty("5"), 0, Err(BadReason::Malformed)),
        (column(), delete(ITEM, item("1", "7", "6")), 0, Ok(6)),
        (column(), update(ITEM, item("1", "7", "6"), item("1", "8", "7")), 0, Ok(7)),
    ] {
        let origin = Origin { epoch: Epoch(epoch), ..origin(1) };
        let settings = RouteSettings { stamp: kind, ..RouteSettings::default() };
        let got = route([change.clone()], &origin, &settings, &shop(VersionKind::Weight));
        assert_eq!(got.map(|c| c[0].stamp.0).map_err(|e| e.reason), want, "{kind:?} of {change:?}");
    }
}
