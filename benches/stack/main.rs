//! What does the whole stack do on this machine, and beside what?
//!
//! Kafka, HBase, Redis, Elasticsearch and widerow share the cores. The first argument says which run; every run ends with
//! both sinks held against the shop's books, document by document, and one that ends otherwise has no figure.

mod anatomy;
mod bed;
#[path = "../common/mod.rs"]
mod common;
mod cost;
mod gate;
mod load;
#[path = "../../tests/end_to_end/node.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod node;
mod open;
mod peers;
#[path = "../../tests/stack/servers.rs"]
mod servers;
mod sheet;
mod truth;
mod watch;

use bed::{Bed, Round};
use common::measure::{Report, argument, median, say};
use load::{Load, shop_settings};
use serde_json::{Value, json};

/// Rounds of warming up at most.
const WARM_UPS_MAX: usize = 20;

fn main() {
    let run = std::env::args().nth(1).filter(|name| !name.starts_with('-')).unwrap_or_else(|| "stack".to_owned());
    match run.as_str() {
        "stack" => stack("stack", argument("--events", 120_000), argument("--rounds", 3)),
        "backlog" => stack("backlog", argument("--events", 500_000), argument("--rounds", 1)),
        "freshness" => open::freshness(),
        "hot" => open::hot(),
        "recover" => open::recover(),
        "rebuild" => open::rebuild(),
        "peers" => peers::run(),
        "table" => sheet::write(),
        _ => panic!("unknown run {run}; allowed: stack, backlog, freshness, hot, recover, rebuild, peers, table"),
    }
}

/// A log that is written before anything reads it: events a second, and whose CPU they cost.
fn stack(name: &'static str, events: usize, rounds: usize) {
    let mut warmth = Warmth::asked();
    let mut report = Report::new(name);
    let bed = Bed::new();
    let mut load = poured(&bed, &mut report, events);
    load.close();
    let mut begun = 0;
    let mut round = || {
        begun += 1;
        let name = format!("{name}{begun}");
        let figures = widerow_round(&bed, &load, &name);
        bed.forget(&name);
        figures
    };
    while warmth.is_cold() {
        warmth.after(&[&round()]);
    }
    let done: Vec<Value> = (0..rounds).map(|_| round()).collect();
    report.put("warm_ups", warmth.rounds);
    report.put("system", bed.described());
    report.put("events_per_second", median(done.iter().map(|f| number(f, "events_per_second")).collect()));
    report.put("seconds", median(done.iter().map(|f| number(f, "seconds")).collect()));
    report.put("rounds", done);
    report.finish();
}

/// Rounds that do not count, `--warm-ups` of them: fresh Java servers compile for minutes, at the cost of all who share their
/// cores. When none is said, until their compilers are done, as a server's are that has run for a day.
struct Warmth {
    said: usize,
    rounds: usize,
    compiling: f64,
}

impl Warmth {
    /// Made before any server starts, so that a number that is none is refused at once.
    fn asked() -> Self {
        Self { said: argument("--warm-ups", usize::MAX), rounds: 0, compiling: 1.0 }
    }

    fn is_cold(&self) -> bool {
        match self.said {
            usize::MAX => self.compiling > cost::WARM && self.rounds < WARM_UPS_MAX,
            said => self.rounds < said,
        }
    }

    /// Another one, of one or more sides.
    fn after(&mut self, sides: &[&Value]) {
        self.rounds += 1;
        self.compiling = sides.iter().map(|side| number(side, "compiling")).fold(0.0, f64::max);
    }
}

/// Writes the log of a run.
fn poured(bed: &Bed, report: &mut Report, events: usize) -> Load {
    let entities = argument("--entities", 20_000) as u64;
    let mut load = Load::new(bed, &shop_settings(entities));
    load.pour(events as u64);
    say(format!("{} events of {entities} orders are in Kafka", load.events()));
    report.put("events", load.events());
    report.put("entities", entities);
    report.put("skew", 0.99);
    load
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or(f64::NAN)
}

/// One round of widerow on the whole log.
fn widerow_round(bed: &Bed, load: &Load, name: &str) -> Value {
    let mut node = bed.node(&Round::named(name));
    let ran = watch::work_off(bed, &mut node);
    let documents = watch::metric(&node, "widerow_sink_documents_total", "outcome=\"written\"");
    let batches = watch::Batches::of(&node);
    let resident = resident_mb(node.pid());
    let judged = truth::judge(bed, name, load.expected());
    judged.demand(load.probes, &node);
    assert_eq!(node.stop(), Some(0), "the node's exit code");
    let events = load.events();
    let rate = events as f64 / ran.working.as_secs_f64();
    say(format!(
        "{name}: {rate:.0} events/s, {:.1} s from start to done, {:.2} documents an event, {resident} MB, {} documents right",
        ran.whole.as_secs_f64(),
        documents / events as f64,
        judged.right
    ));
    say(format!("  CPU in us an event: {}", ran.cost.told(events)));
    say(format!("  in one request: {batches}"));
    bed.flush_redis();
    json!({
        "in_one_request": batches.split(),
        "events_per_second": rate.round(), "seconds": ran.whole.as_secs_f64(), "documents_per_event": documents / events as f64,
        "cpu_us_per_event": ran.cost.split(events), "busy_cores": ran.cost.cpu.iter().map(|c| c.1).sum::<f64>() / ran.cost.seconds,
        "compiling": ran.cost.compiling(), "resident_mb": resident, "documents_right": judged.right,
    })
}

fn resident_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
