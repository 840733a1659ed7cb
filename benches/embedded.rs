//! How many events a second pass through the whole engine on the embedded stores, every batch synced before it counts?
//!
//! The same records as `engine`; rows, jobs and documents in one fjall database in a fresh folder.

mod common;

use common::measure::{Report, argument, median, say};
use common::{node, shop};
use widerow::supervisor::wiring;

fn main() {
    let (events, rounds) = (argument("--events", 200_000), argument("--rounds", 3));
    let log = shop::Log::of(events);
    let mut report = Report::new("embedded");
    say(format!("{events} records of {} bytes on average, {} rows, zipf {}", log.bytes / events, shop::ROWS, shop::SKEW));
    let (mut ours, mut rates, mut allocations) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let folder = tempfile::tempdir_in("target").expect("a folder for the store");
        let mut settings = shop::settings();
        settings.node.data_dir = folder.path().to_owned();
        let doors = wiring::open(&settings).unwrap_or_else(|fault| panic!("{fault}"));
        let ran = node::run(&log, &settings, doors);
        let (micros, rate) = (ran.took.micros_per(events), ran.took.per_second(events));
        say(format!(
            "round {round}: {:.1} k events/s, {micros:.1} µs CPU, {:.1} allocations an event; {} row writes, {} jobs done",
            rate / 1e3,
            ran.took.allocations_per(events),
            ran.summary.row_writes,
            ran.summary.jobs.done
        ));
        ours.push(micros);
        rates.push(rate);
        allocations.push(ran.took.allocations_per(events));
    }
    report.put("events", events);
    report.put("cpu_us_per_event", median(ours));
    report.put("events_per_second", median(rates));
    report.put("allocations_per_event", median(allocations));
    report.finish();
}
