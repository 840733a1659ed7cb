//! How much CPU does an event cost in the whole engine, actors included, and how many a second pass on two cores?
//!
//! Records from memory, rows and jobs in memory, documents built and thrown away. Beside it: the obvious loop over
//! `serde_json::Value` and hash maps, one thread. A run whose rows end otherwise than the table prints no figure.

mod common;

use common::measure::{Report, Watch, Whose, argument, median, say};
use common::naive::Naive;
use common::{node, shop};
use std::collections::HashMap;
use std::sync::Arc;
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::{MemoryLedger, MemoryQueue, MemoryRowStore, NullSink};
use widerow::ports::Doors;
use widerow::ports::sink::Sink;
use widerow::settings::Settings;

fn main() {
    let (events, rounds) = (argument("--events", 500_000), argument("--rounds", 3));
    let log = shop::Log::of(events);
    let settings = shop::settings();
    let mut report = Report::new("engine");
    say(format!(
        "{events} records of {} bytes on average, {} columns, {} rows, zipf {}, {} partitions, {} threads, {} live entities at most",
        log.bytes / events,
        shop::COLUMNS,
        shop::ROWS,
        shop::SKEW,
        shop::PARTITIONS,
        settings.node.threads,
        settings.node.entities_max
    ));
    let (mut ours, mut rates, mut allocations, mut naives) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let naive = naive(&log);
        let ran = node::run(&log, &settings, doors(&settings));
        let (micros, rate) = (ran.took.micros_per(events), ran.took.per_second(events));
        say(format!(
            "round {round}: {micros:.2} µs CPU, {:.0} k events/s, {:.1} allocations an event; {} row writes, {} jobs done, {} live; \
             naive {naive:.2} µs",
            rate / 1e3,
            ran.took.allocations_per(events),
            ran.summary.row_writes,
            ran.summary.jobs.done,
            ran.live
        ));
        ours.push(micros);
        rates.push(rate);
        allocations.push(ran.took.allocations_per(events));
        naives.push(naive);
    }
    let ratios = ours.iter().zip(&naives).map(|(ours, naive)| naive / ours).collect();
    let (ours, ratio) = (median(ours), median(ratios));
    say(format!("median: {ours:.2} µs CPU an event, {ratio:.2} times fewer than the naive loop"));
    report.put("events", events);
    report.put("cpu_us_per_event", ours);
    report.put("events_per_second", median(rates));
    report.put("allocations_per_event", median(allocations));
    report.put("naive_cpu_us_per_event", median(naives));
    report.put("naive_ratio", ratio);
    report.finish();
}

fn naive(log: &shop::Log) -> f64 {
    let watch = Watch::start(Whose::Thread);
    let naive = Naive::run(log);
    let took = watch.stop();
    assert!(naive.is_right(log), "the naive loop is wrong: no figure");
    took.micros_per(log.bodies.len())
}

fn doors(settings: &Settings) -> Doors {
    let sinks: HashMap<_, _> = settings.lines.iter().map(|l| (l.line.name, Arc::new(NullSink) as Arc<dyn Sink>)).collect();
    Doors {
        rows: Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema))),
        queue: Arc::new(MemoryQueue::new(&settings.queue, wall_clock())),
        ledger: Arc::new(MemoryLedger::new()),
        sinks,
    }
}
