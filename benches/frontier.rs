//! What does one record's account in the frontier cost, opened in order and settled in disorder?
//!
//! Beside it: a set of open offsets, whose least element is what may be committed.

mod common;

use common::measure::{Report, nanos_each};
use common::shop::Dice;
use std::collections::BTreeSet;
use std::hint::black_box;
use widerow::domain::frontier::Frontier;
use widerow::domain::ids::{NextOffset, RecordOffset};

/// Records open at once.
const OPEN: usize = 4_096;

fn main() {
    let mut dice = Dice(7);
    let mut order: Vec<i64> = (0..OPEN as i64).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, (dice.next() % (at as u64 + 1)) as usize);
    }
    let mut report = Report::new("frontier");
    let ours = nanos_each(OPEN, || {
        let mut frontier = Frontier::starting_at(NextOffset(0));
        for at in 0..OPEN as i64 {
            assert!(frontier.open(RecordOffset(at), 1, 900));
        }
        for at in &order {
            frontier.settle(RecordOffset(*at));
            black_box(frontier.committable());
        }
        assert_eq!(frontier.committable(), NextOffset(OPEN as i64));
    });
    let naive = nanos_each(OPEN, || {
        let mut open: BTreeSet<i64> = (0..OPEN as i64).collect();
        for at in &order {
            open.remove(at);
            black_box(open.first());
        }
    });
    report.compare("open and settle", ours, naive);
    report.finish();
}
