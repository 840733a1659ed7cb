//! The worked cases of the design (semantics 2.12) as scripts: what happens in the shop, and nothing of when it arrives.
//!
//! A case is played several times in one run, each time with ids of its own. Records of different partitions are shuffled,
//! those of one keep their order; crashes, rebalances and losses are the seed's. Cases 7, 8, 10, 12 and 13 are what every
//! seed does to every script; case 11, a topic made anew, needs a broker and is tested there.

use crate::world::{Dice, Shop};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Ids that one play of a case may use.
pub const IDS: i64 = 100;

/// One case: its name, and what happens in the shop from this id on.
pub struct Case {
    pub name: &'static str,
    pub play: fn(&mut Shop, i64),
}

pub const CASES: [Case; 7] = [
    Case { name: "1: two mutable tables, the later change of one before the earlier of the other", play: two_mutable_tables },
    Case { name: "2: a child at a low offset after its root at a high one", play: root_before_child },
    Case { name: "3: children first, root last", play: root_last },
    Case { name: "4: the last child goes", play: last_child_goes },
    Case { name: "5: a child moves to another parent and back", play: there_and_back },
    Case { name: "6: born, gone and born again", play: born_twice },
    Case { name: "9: a document goes there and back again", play: back_to_what_it_was },
];

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
