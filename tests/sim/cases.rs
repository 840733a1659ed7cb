//! The worked cases of the design (semantics 2.12) as scripts: what happens in the shop, and what a case asks of the run.
//!
//! A case is played several times in one run, each time with ids of its own. Records of different partitions are shuffled,
//! those of one keep their order; crashes, rebalances and losses are the seed's. Case 7 is `killed_at_every_step` of
//! `tests/sim.rs`, and with real processes `tests/it/kill.rs`. Case 8 is also played against gates in `tests/it/delivery.rs`,
//! 10 in `tests/it/lost_queue.rs`, 12 with real brokers in `tests/it/kafka.rs`. Case 11, a topic made anew, needs a broker:
//! `tests/stack/kafka.rs`.

use super::sea::Seen;
use crate::world::{Dice, Shop};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Ids that one play of a case may use.
pub const IDS: i64 = 100;

/// What a case asks of its run, whatever the seed does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Free,
    /// Every write into the sink takes longer than the next change takes to come.
    SlowSink,
    /// The queue is lost, and again while intake goes back over that.
    QueueLostTwice,
    /// Two nodes, each with every second partition.
    Halves,
    /// The sink is away for the first hour.
    SinkAway,
}

/// One case: its name, what happens in the shop from this id on, and what its runs together must have reached.
pub struct Case {
    pub name: &'static str,
    pub play: fn(&mut Shop, i64),
    pub how: How,
    pub must: &'static [Seen],
}

const fn free(name: &'static str, play: fn(&mut Shop, i64)) -> Case {
    Case { name, play, how: How::Free, must: &[] }
}

const fn with(how: How, must: &'static [Seen], name: &'static str, play: fn(&mut Shop, i64)) -> Case {
    Case { name, play, how, must }
}

pub const CASES: [Case; 11] = [
    free("1: two mutable tables, the later change of one before the earlier of the other", two_mutable_tables),
    free("2: a child at a low offset after its root at a high one", root_before_child),
    free("3: children first, root last", root_last),
    free("4: the last child goes", last_child_goes),
    free("5: a child moves to another parent and back", there_and_back),
    free("6: born, gone and born again", born_twice),
    free("9: a document goes there and back again", back_to_what_it_was),
    with(How::SlowSink, &[Seen::ChangedAmidRun], "8: a change lands while the job for its row is running", busy_row),
    with(How::QueueLostTwice, &[Seen::LostWhileGoingBack], "10: the queue is lost, and again on the way back", busy_row),
    with(How::Halves, &[Seen::TwoNodesOneRow], "12: two nodes, each with half of the partitions, feed the same rows", busy_row),
    with(How::SinkAway, &[Seen::SinkRefused], "13: the sink is down for an hour", busy_row),
];

/// What case 7 is played on: births, a death, children; not so much that it cannot be killed at every step.
pub const KILLED: Case = free("7: killed at any point between poll and commit", born_twice);

fn order(id: i64, status: i64) -> Value {
    json!({ "order_no": format!("n{id}"), "status": status, "note": "worked" })
}

fn item(order: i64, qty: i64) -> Value {
    json!({ "order_no": format!("n{order}"), "qty": qty })
}

fn two_mutable_tables(shop: &mut Shop, at: i64) {
    shop.put("orders", at, order(at, 1));
    shop.put("order_item", at, item(at, 1));
    for (status, qty) in [(2, 3), (5, 4)] {
        shop.put("order_item", at, item(at, qty));
        shop.put("orders", at, order(at, status));
    }
}

fn root_before_child(shop: &mut Shop, at: i64) {
    (0..10).for_each(|status| shop.put("orders", at, order(at, status)));
    shop.put("order_item", at, item(at, 7));
}

fn root_last(shop: &mut Shop, at: i64) {
    (0..4).for_each(|child| shop.put("order_item", at + child, item(at, child)));
    shop.put("orders", at, order(at, 1));
}

fn last_child_goes(shop: &mut Shop, at: i64) {
    shop.put("orders", at, order(at, 1));
    (0..2).for_each(|child| shop.put("order_item", at + child, item(at, 5)));
    (0..2).for_each(|child| shop.delete("order_item", at + child));
}

fn there_and_back(shop: &mut Shop, at: i64) {
    let (here, there) = (at, at + 1);
    shop.put("orders", here, order(here, 1));
    shop.put("orders", there, order(there, 1));
    for parent in [here, there, here] {
        shop.put("order_item", at, item(parent, 2));
    }
}

fn born_twice(shop: &mut Shop, at: i64) {
    for status in [1, 2] {
        shop.delete("orders", at);
        shop.put("orders", at, order(at, status));
        shop.put("order_item", at, item(at, status));
        shop.delete("order_item", at);
    }
    shop.put("order_item", at, item(at, 9));
}

fn back_to_what_it_was(shop: &mut Shop, at: i64) {
    shop.put("order_item", at, item(at, 1));
    for status in [1, 2, 1, 2, 1] {
        shop.put("orders", at, order(at, status));
    }
}

fn busy_row(shop: &mut Shop, at: i64) {
    shop.put("orders", at, order(at, 0));
    for n in 1..6 {
        shop.put("order_item", at + n % 2, item(at, n));
        shop.put("orders", at, order(at, n));
    }
}

/// Records of different partitions in any order, those of one in theirs.
pub fn shuffle(lines: &mut Vec<String>, dice: &mut Dice) {
    let mut partitions: BTreeMap<String, std::collections::VecDeque<String>> = BTreeMap::new();
    for line in std::mem::take(lines) {
        let record: Value = serde_json::from_str(&line).unwrap();
        partitions.entry(format!("{}/{}", record["topic"], record["partition"])).or_default().push_back(line);
    }
    let mut left: Vec<_> = partitions.into_values().collect();
    while !left.is_empty() {
        let at = dice.below(left.len() as u64) as usize;
        match left[at].pop_front() {
            Some(line) => lines.push(line),
            None => drop(left.swap_remove(at)),
        }
    }
}
