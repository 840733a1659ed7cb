use super::*;
use crate::domain::change::Image;
use crate::domain::fault::FaultKind;
use crate::domain::job::Lane;
use crate::domain::line::{Selector, When};
use crate::domain::route::{MoveOut, Touched};
use crate::domain::row::{PartId, Parts};
use crate::domain::samples::{dead, line, name, part, part_id, row, row_id, shop, told, told_keys};

const NOW: Millis = Millis(1_000);

fn order() -> RowId {
    row_id("order", "0007:7")
}

fn entity(version: VersionKind) -> EntityState<usize> {
    EntityState::new(order(), &shop(version).kinds[0])
}

fn change(part: PartId, stamp: i64, effect: Effect) -> RowChange {
    let touched = Touched { table: Some(part.table), all: true, ..Touched::default() };
    let keys = told_keys(&[("order_no", "7")]);
    RowChange { row: order(), part, stamp: Stamp(stamp), effect, keys, touched, at: Some(Millis(stamp)), logged: None }
}

/// Every column, as M7 asks; the values follow from the stamp.
fn put(child: &str, stamp: i64) -> RowChange {
    let value = stamp.to_string();
    let image = told(&[("id", child), ("qty", &value), ("price", &value)]);
    change(part_id("order_item", child), stamp, Effect::Put { image, reborn: false })
}

fn reborn(child: &str, stamp: i64) -> RowChange {
    let mut change = put(child, stamp);
    if let Effect::Put { reborn, .. } = &mut change.effect {
        *reborn = true;
    }
    change
}

fn delete(child: &str, stamp: i64) -> RowChange {
    change(part_id("order_item", child), stamp, Effect::Delete)
}

fn fault(kind: FaultKind) -> Result<(), Fault> {
    Err(Fault::new(kind, "a store", "scripted"))
}

fn written<T>(entity: &mut EntityState<T>) -> Batch<T> {
    match entity.written(Ok(())) {
        Acknowledged::Written(batch) => batch,
        Acknowledged::Again(_) | Acknowledged::Failed { .. } => panic!("an acknowledged write was not taken as written"),
    }
}

/// Goal: N1, J3, coalescing. Method: two changes while one flies go together in the next write, behind its answer.
#[test]
fn one_write_flies_and_the_rest_goes_together() {
    let (lines, mut entity) = ([line("search", "order")], entity(VersionKind::Weight));
    assert!(entity.apply([(put("1", 5), 0)], &lines, NOW).at_once.is_empty(), "J3: nothing is offered before the write");
    let first = entity.next_write().expect("a write");
    assert_eq!(first.change.keys, told_keys(&[("order_no", "7")]), "M9");
    entity.apply([(put("1", 6), 1), (put("2", 7), 2)], &lines, NOW);
    assert!(entity.next_write().is_none(), "N1: a second write was let out");
    let batch = written(&mut entity);
    assert_eq!((batch.tickets.to_vec(), batch.offers.len()), (vec![0], 1));
    let second = entity.next_write().expect("a write");
    assert_eq!(second.change.parts.len(), 2);
    let batch = written(&mut entity);
    assert_eq!((batch.tickets.to_vec(), batch.offers.len()), (vec![1, 2], 1), "one offer a line");
    assert_eq!((batch.offers[0].load.oldest, batch.offers[0].load.newest), (Some(Millis(6)), Some(Millis(7))));
    assert!(entity.is_idle());
}

/// Goal: N2 to the letter. Method: a table of what is acknowledged and whether a coming change is written.
#[test]
fn known_writes_are_skipped_but_never_their_jobs() {
    let lines = [line("search", "order")];
    for (acked, coming, stale) in [
        (vec![put("1", 5)], put("1", 5), true),
        (vec![put("1", 5)], put("1", 4), true),
        (vec![put("1", 5)], put("1", 6), false),
        (vec![put("1", 5)], put("2", 5), false),
        (vec![put("1", 5)], delete("1", 5), false),
        (vec![delete("1", 5)], delete("1", 5), true),
        (vec![delete("1", 5)], put("1", 5), false),
        (vec![delete("1", 5)], delete("1", 6), false),
        (vec![put("1", 5)], reborn("1", 5), false),
        (vec![reborn("1", 5)], reborn("1", 5), true),
        (vec![reborn("1", 5)], delete("1", 4), true),
        (vec![put("1", 5), delete("1", 6)], put("1", 5), true),
        (vec![put("1", 0)], put("1", 0), false),
        (vec![put("1", Stamp::POSITIONS)], put("1", Stamp::POSITIONS), false),
        (vec![put("1", 5)], put("1", 0), false),
    ] {
        let mut entity = entity(VersionKind::Weight);
        let what = format!("{coming:?} after {acked:?}");
        entity.apply(acked.into_iter().map(|c| (c, 0)), &lines, NOW);
        entity.next_write().expect("a write");
        written(&mut entity);
        let applied = entity.apply([(coming, 1)], &lines, NOW);
        assert_eq!(applied.stale == 1, stale, "{what}");
        assert_eq!(entity.next_write().is_none(), stale, "{what}");
        let batch = if stale { applied.at_once } else { written(&mut entity) };
        assert_eq!((batch.tickets.to_vec(), batch.offers.len()), (vec![1], 1), "N2: the job of {what} was lost");
    }
}

/// Goal: a change is skipped only by an acknowledgement, and its jobs wait for newer content of its table row.
/// Method: the same change again while its write flies, then an older one behind a newer write.
#[test]
fn jobs_without_a_write_wait_behind_what_flies() {
    let (lines, mut entity) = ([line("search", "order")], entity(VersionKind::Weight));
    entity.apply([(put("1", 5), 0)], &lines, NOW);
    entity.next_write().expect("a write");
    assert_eq!(entity.apply([(put("1", 5), 1)], &lines, NOW).stale, 0, "nothing is acknowledged yet");
    written(&mut entity);
    entity.next_write().expect("the same content again");
    assert_eq!(written(&mut entity).tickets.to_vec(), vec![1]);

    entity.apply([(put("1", 6), 2)], &lines, NOW);
    assert!(entity.apply([(put("1", 5), 3)], &lines, NOW).at_once.is_empty(), "a newer write of this table row waits");
    assert_eq!(entity.apply([(put("2", 1), 4)], &lines, NOW).stale, 0);
    entity.next_write().expect("a write");
    assert!(entity.apply([(put("1", 5), 5)], &lines, NOW).at_once.is_empty(), "a newer write of this table row flies");
    assert_eq!(written(&mut entity).tickets.to_vec(), vec![2, 3, 4, 5]);
    assert_eq!(entity.apply([(put("1", 5), 6)], &lines, NOW).at_once.tickets.to_vec(), vec![6]);
}

/// Goal: N3 and V1 after an unknown outcome; tickets of what never passes fail. Method: a table of faults.
#[test]
fn faults_are_answered_by_their_advice() {
    let lines = [line("search", "order")];
    for (kind, again) in [
        (FaultKind::Timeout, true),
        (FaultKind::Unreachable, true),
        (FaultKind::Throttled, true),
        (FaultKind::Full, true),
        (FaultKind::Rejected, false),
        (FaultKind::Invalid, false),
        (FaultKind::Corrupt, false),
        (FaultKind::Forbidden, false),
    ] {
        let mut entity = entity(VersionKind::Counter);
        entity.apply([(put("9", 1), 0)], &lines, NOW);
        entity.next_write().expect("a write");
        written(&mut entity);
        entity.apply([(put("1", 5), 1)], &lines, NOW);
        let first = entity.next_write().expect("a write");
        entity.apply([(put("2", 6), 2)], &lines, NOW);
        match entity.written(fault(kind)) {
            Acknowledged::Again(_) => assert!(again, "{kind:?}"),
            Acknowledged::Failed { tickets, .. } => assert_eq!((again, tickets.to_vec()), (false, vec![1]), "{kind:?}"),
            Acknowledged::Written(_) => panic!("{kind:?} was taken for an acknowledgement"),
        }
        assert_eq!(entity.remembered(), 0, "N3 after {kind:?}");
        let second = entity.next_write().expect("a write");
        assert_eq!(second.change.part(&part_id("order_item", "1")).is_some(), again, "{kind:?}");
        assert_eq!((first.change.counter, second.change.counter), (1, 1), "V1: each write bumps once");
        assert_eq!(written(&mut entity).tickets.to_vec(), if again { vec![1, 2] } else { vec![2] });
        assert!(entity.is_idle());
    }
}

/// Goal: N3 for a write that was overtaken by doubt. Method: forget between sending and the acknowledgement.
#[test]
fn a_doubted_acknowledgement_teaches_nothing() {
    let (lines, mut entity) = ([line("search", "order")], entity(VersionKind::Weight));
    entity.apply([(put("1", 5), 0)], &lines, NOW);
    entity.next_write().expect("a write");
    entity.forget();
    assert_eq!(written(&mut entity).tickets.to_vec(), vec![0]);
    assert_eq!(entity.apply([(put("1", 5), 1)], &lines, NOW).stale, 0);
    entity.next_write().expect("a write");
    written(&mut entity);
    assert_eq!(entity.apply([(put("1", 5), 2)], &lines, NOW).stale, 1, "the write after the doubt is known");
}

/// Goal: N3's bound, and the estimate that passivation goes by. Method: more table rows than are remembered.
#[test]
fn memory_is_bounded_and_measured() {
    let mut entity = entity(VersionKind::Weight);
    let empty = entity.bytes();
    for child in 0..=PARTS_MAX {
        entity.apply([(put(&child.to_string(), 5), 0)], &[], NOW);
        assert!(entity.bytes() > empty);
        entity.next_write().expect("a write");
        written(&mut entity);
    }
    assert_eq!(entity.remembered(), PARTS_MAX);
    assert_eq!(entity.apply([(put("0", 5), 0)], &[], NOW).stale, 0, "the oldest gave way");
    assert_eq!(entity.apply([(put("1", 5), 0)], &[], NOW).stale, 1);
    let full = entity.bytes();
    entity.forget();
    assert!(entity.bytes() < full && entity.remembered() == 0);
}

/// Goal: lanes rise and types add up across coalesced changes (J4). Method: an urgent column, then an ordinary one.
#[test]
fn offers_of_one_write_coalesce() {
    let mut urgent = line("search", "order");
    let price = Selector { table: name("order_item"), column: Some(name("price")) };
    urgent.when = When::Columns(vec![Selector { table: name("order_item"), column: None }]);
    urgent.lanes.by_column = vec![(Lane(0), vec![price])];
    urgent.types = vec![(name("price"), vec![price])];
    let lines = [urgent, line("cache", "order")];
    let touching = |column: &str, stamp| {
        let mut change = put("1", stamp);
        change.touched.all = false;
        change.touched.columns = [name(column)].into_iter().collect();
        change
    };
    let mut entity = entity(VersionKind::Weight);
    entity.apply([(touching("price", 5), 0), (touching("qty", 6), 1)], &lines, NOW);
    entity.next_write().expect("a write");
    let batch = written(&mut entity);
    let told: Vec<_> = batch.offers.iter().map(|o| (o.key.line, o.lane, o.load.types.to_vec())).collect();
    assert_eq!(told, [(name("search"), Lane(0), vec![name("price")]), (name("cache"), Lane(1), vec![])]);
}

fn move_out(stamp: i64, before: Image) -> RowChange {
    let out = MoveOut { before, mark: "moved:order_item:1:3".to_owned() };
    change(part_id("order_item", "1"), stamp, Effect::MoveOut(Box::new(out)))
}

/// Goal: C5's judgement. Method: a table of the row as read.
#[test]
fn a_move_is_judged_by_mark_and_content() {
    let held = |stamp| part("order_item", "1", stamp, &[("qty", Some("2")), ("note", None), ("more", Some("m"))]);
    let before = crate::domain::samples::image(&[("qty", Some("2")), ("note", None)]);
    let change = move_out(50, before.clone());
    let marked = |stamp| {
        let mut row = row(vec![held(9)]);
        row.marks.push(("moved:order_item:1:3".to_owned(), Stamp(stamp)));
        row
    };
    let judge = |row: Option<&WideRow>| judge_move(row, &change, VersionKind::Weight, NOW, false);
    for (read, want) in [
        (None, MoveVerdict::NotYet),
        (Some(row(vec![])), MoveVerdict::NotYet),
        (Some(row(vec![part("order_item", "1", 9, &[("qty", Some("1")), ("note", None)])])), MoveVerdict::NotYet),
        (Some(row(vec![part("order_item", "1", 9, &[("note", None)])])), MoveVerdict::NotYet),
        (Some(row(vec![part("order_item", "1", 9, &[("qty", Some("2")), ("note", Some(""))])])), MoveVerdict::NotYet),
        (Some(row(vec![dead(held(9), 9)])), MoveVerdict::NotYet),
        (Some(row(vec![held(9)])).map(|r| WideRow { parts: Parts::new(), ..r }), MoveVerdict::NotYet),
        (Some(marked(50)), MoveVerdict::AlreadyDone),
        (Some(marked(51)), MoveVerdict::AlreadyDone),
    ] {
        assert_eq!(judge(read.as_ref()), want, "{read:?}");
    }
    for (read, highest) in
        [(row(vec![held(9)]), 9), (row(vec![held(900)]), 900), (row(vec![dead(held(9), 4)]), 9), (marked(49), 9)]
    {
        let MoveVerdict::Write(write) = judge(Some(&read)) else { panic!("no write for {read:?}") };
        assert_eq!((write.part.clone(), write.highest), (part_id("order_item", "1"), Some(Stamp(highest))));
        let mut after = read.clone();
        after.merge(&write.write.change);
        assert!(!after.part(&write.part).expect("the part").is_alive(), "the row still shows under its old key");
        assert_eq!(judge(Some(&after)), MoveVerdict::AlreadyDone);
        assert!(after.version(VersionKind::Weight) > read.version(VersionKind::Weight), "V4");
    }
}

/// Goal: V4 where weight cannot tell: a delete that was taken back is made again at its own stamp, and counter kinds.
/// Method: the versions before and after.
#[test]
fn a_move_raises_every_version() {
    let mut revoked = dead(part("order_item", "1", 8, &[("qty", Some("2"))]), 9);
    revoked.tombstone.as_mut().expect("a tombstone").revoked = true;
    let change = move_out(50, told(&[("qty", "2")]));
    for kind in [VersionKind::Weight, VersionKind::Counter] {
        let mut stored = row(vec![revoked.clone()]);
        let before = stored.version(kind);
        let MoveVerdict::Write(write) = judge_move(Some(&stored), &change, kind, NOW, false) else { panic!("no write") };
        stored.merge(&write.write.change);
        assert!(!stored.parts[0].is_alive());
        assert!(stored.version(kind) > before, "{kind}");
    }
}

/// Goal: a column that ALTER added after the row was told last keeps no move waiting for ever (C5, C6). Method: its null, its
/// default, a row that is dead or tells otherwise, each before waiting is over and after.
#[test]
fn a_column_added_later_does_not_keep_a_move() {
    let told = |qty: &str| part("order_item", "1", 9, &[("id", Some("1")), ("qty", Some(qty))]);
    for (added, read, at_once, at_last) in [
        (None, told("2"), true, true),
        (Some("5"), told("2"), false, true),
        (None, told("3"), false, false),
        (Some("5"), told("3"), false, false),
        (Some("5"), dead(told("2"), 9), false, false),
    ] {
        let before = crate::domain::samples::image(&[("id", Some("1")), ("qty", Some("2")), ("gift", added)]);
        for (last, want) in [(false, at_once), (true, at_last)] {
            let verdict =
                judge_move(Some(&row(vec![read.clone()])), &move_out(50, before.clone()), VersionKind::Weight, NOW, last);
            assert_eq!(matches!(verdict, MoveVerdict::Write(_)), want, "{added:?} {read:?} {last}");
        }
    }
}

/// Goal: moves go one at a time, in order, and their jobs are never lost. Method: two moves.
#[test]
fn moves_are_handed_out_one_by_one() {
    let (lines, mut entity) = ([line("search", "order")], entity(VersionKind::Weight));
    let applied = entity.apply([(move_out(50, Image::default()), 0), (move_out(51, Image::default()), 1)], &lines, NOW);
    assert!(applied.at_once.is_empty() && entity.next_write().is_none() && !entity.is_idle());
    for ticket in 0..2 {
        let (change, got) = entity.next_move().expect("a move");
        assert_eq!(got, ticket);
        assert!(entity.next_move().is_none(), "a second move was handed out");
        let batch = entity.moved(&change, got, &lines);
        assert_eq!((batch.tickets.to_vec(), batch.offers.len()), (vec![ticket], 1));
    }
    assert!(entity.is_idle());
}

mod schedules;
