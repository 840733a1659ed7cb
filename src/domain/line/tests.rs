use super::*;
use crate::domain::samples::{line, name};

fn selector(text: &str) -> Selector {
    let (table, column) = text.split_once('.').unwrap();
    Selector { table: name(table), column: (column != "*").then(|| name(column)) }
}

fn touched(table: &str, columns: &[&str]) -> Touched {
    Touched { table: Some(name(table)), columns: columns.iter().map(|c| name(c)).collect(), ..Touched::default() }
}

/// Lanes 0 urgent, 1 normal, 2 bulk.
fn sample(when: &[&str]) -> Line {
    let selectors = |texts: &[&str]| texts.iter().map(|t| selector(t)).collect::<Vec<_>>();
    let mut line = line("search", "order");
    if !when.is_empty() {
        line.when = When::Columns(selectors(when));
    }
    line.lanes.by_column = vec![(Lane(2), selectors(&["order_item.note"])), (Lane(0), selectors(&["orders.status"]))];
    line.lanes.first_seen = Some(Lane(0));
    line.lanes.snapshot = Some(Lane(2));
    line.types = vec![(name("price"), selectors(&["order_item.price"])), (name("paid"), selectors(&["payment.*"]))];
    line
}

/// Goal: who wants what, how urgently, as which types (C4, 3-interfaces 3.2). Method: a table.
#[test]
fn changes_find_their_lines() {
    let life = |mut t: Touched| (t.life = true, t).1;
    let all = |mut t: Touched| (t.all = true, t).1;
    let first = |mut t: Touched| (t.first_seen = true, t).1;
    let snapshot = |mut t: Touched| (t.snapshot = true, t).1;
    for (when, change, want) in [
        (&[][..], touched("orders", &["note"]), Some((1, vec![]))),
        (&[], touched("orders", &["status"]), Some((0, vec![]))),
        (&[], touched("orders", &[]), Some((1, vec![]))),
        (&[], touched("order_item", &["price", "note"]), Some((2, vec!["price"]))),
        (&[], touched("payment", &["paid"]), Some((1, vec!["paid"]))),
        (&[], touched("payment", &[]), Some((1, vec![]))),
        (&[], all(touched("payment", &[])), Some((1, vec!["paid"]))),
        (&["orders.status"], touched("orders", &["status", "note"]), Some((0, vec![]))),
        (&["orders.status"], touched("orders", &["note"]), None),
        (&["orders.status"], touched("payment", &["status"]), None),
        (&["orders.status"], all(touched("orders", &[])), Some((0, vec![]))),
        (&["order_item.*"], touched("order_item", &["any"]), Some((1, vec![]))),
        (&["order_item.*"], touched("order_item", &[]), None),
        (&["order_item.*"], touched("orders", &["status"]), None),
        (&["order_item.*"], life(touched("orders", &[])), Some((1, vec![]))),
        (&["order_item.*"], first(life(all(touched("orders", &[])))), Some((0, vec![]))),
        (&["order_item.*"], first(touched("order_item", &["note"])), Some((0, vec![]))),
        (&[], snapshot(first(all(touched("orders", &[])))), Some((2, vec![]))),
    ] {
        let got = sample(when).wants(&change);
        let want = want.map(|(lane, types)| Wanted { lane: Lane(lane), types: types.iter().map(|t| name(t)).collect() });
        assert_eq!(got, want, "{change:?} when {when:?}");
    }
}

/// Goal: a line without lane rules takes the default everywhere. Method: a snapshot and a first insert.
#[test]
fn without_rules_the_default_lane_answers() {
    let plain = line("cache", "order");
    for change in [
        Touched { snapshot: true, ..touched("orders", &["a"]) },
        Touched { first_seen: true, life: true, ..touched("orders", &["a"]) },
    ] {
        assert_eq!(plain.wants(&change).map(|w| w.lane), Some(Lane(1)), "{change:?}");
    }
}
