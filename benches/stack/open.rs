//! Runs in open loop: events come when they are due, whether or not the last ones are done.
//!
//! Measured is a probe order's way from the moment it was meant to be written to the search server's answer, as the gate in
//! front of the server sees it; a probe that is never acknowledged fails the run.

use crate::anatomy::Anatomy;
use crate::bed::{Bed, Round};
use crate::common::measure::{Report, argument, say};
use crate::cost::{Meter, WARM};
use crate::gate::Gate;
use crate::load::{HOT, Load, shop_settings};
use crate::node::Node;
use crate::watch::pause;
use crate::{truth, watch};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

const PROBES_PER_SECOND: f64 = 100.0;
/// Stretches of warming up at most.
const WARM_UPS_MAX: usize = 12;
/// An hour: longer than any run.
const DELAY_US_MAX: u64 = 3_600_000_000;

/// A running node behind a gate, and its load.
struct Site {
    bed: Bed,
    gate: Gate,
    round: Round,
    node: Node,
    load: Load,
}

impl Site {
    fn new(name: &str) -> Self {
        Self::with(name, Bed::new(), None)
    }

    fn with(name: &str, bed: Bed, slow_line: Option<String>) -> Self {
        let gate = Gate::to(&bed.search.address());
        let round = Round { search: Some(gate.address.clone()), slow_line, ..Round::named(name) };
        let load = Load::new(&bed, &shop_settings(argument("--entities", 20_000) as u64));
        let node = bed.node(&round);
        Self { bed, gate, round, node, load }
    }

    /// Starts the node on a first log, and says its rate on a second.
    fn begin(&mut self, events: u64) -> f64 {
        // Half of it warms the servers up.
        self.load.pour(events / 2);
        watch::work_off(&self.bed, &mut self.node);
        self.maximum(events)
    }

    /// What is written is worked off; the rate of that, which is what the open loops are a share of.
    fn maximum(&mut self, events: u64) -> f64 {
        let before = self.load.events();
        let began = Instant::now();
        self.load.pour(events);
        self.rest();
        (self.load.events() - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// Stretches that nobody counts, until Java's compilers are done: fresh servers compile for minutes, and on few cores that
    /// is all one would see.
    fn warm(&mut self, rate: f64, length: Duration) {
        for _ in 0..WARM_UPS_MAX {
            let meter = Meter::start(&self.bed, self.node.pid());
            let median = self.stretch(rate, 0.0, length).value_at_quantile(0.5) as f64 / 1e3;
            let cost = meter.stop();
            say(format!("warming up: p50 {median:.0} ms, {:.0} % of all CPU by Java's compilers", cost.compiling() * 100.0));
            if cost.compiling() <= WARM {
                break;
            }
        }
    }

    fn rest(&mut self) {
        watch::await_rest(&mut self.node, &self.bed.log_ends(), || ());
    }

    /// One stretch at this rate, a share of it to one order; the delays of its probes in microseconds.
    fn stretch(&mut self, rate: f64, hot: f64, length: Duration) -> Histogram<u64> {
        let first = self.load.probes;
        let meant = self.load.stream(rate, hot, PROBES_PER_SECOND, length);
        self.rest();
        self.delays(first, &meant)
    }

    fn delays(&self, first: u64, meant: &[Instant]) -> Histogram<u64> {
        let notes = self.gate.notes();
        let mut delays = Histogram::new_with_max(DELAY_US_MAX, 3).expect("three digits");
        for (number, meant) in (first..).zip(meant) {
            let seen = notes.probes.get(&number).unwrap_or_else(|| {
                let (of, bulks) = (notes.probes.len(), notes.bulks.len());
                let dead = watch::metric(&self.node, "widerow_dead_letters_total", "");
                panic!(
                    "probe {number} was never acknowledged (seen: {of} in {bulks} requests; {dead} dead letters): no figure\n{}",
                    self.node.last_words()
                )
            });
            delays.saturating_record(u64::try_from(seen.saturating_duration_since(*meant).as_micros()).unwrap_or(u64::MAX));
        }
        delays
    }

    /// The hot order's document is its last change.
    fn demand_hot(&self) {
        let path = format!("/{}-orders/_doc/{HOT}", self.round.name);
        let held: Value = serde_json::from_str(&self.bed.ask_search("GET", &path, None)).expect("a document");
        assert_eq!(held["_source"]["status"], json!(self.load.hot), "the hot order's last status: no figure");
    }

    /// Stops the node and holds every document against the books.
    fn finish(mut self) -> Value {
        self.load.close();
        self.rest();
        truth::judge(&self.bed, &self.round.name, self.load.expected()).demand(self.load.probes, &self.node);
        assert_eq!(self.node.stop(), Some(0), "the node's exit code");
        self.bed.described()
    }
}

fn quantiles(delays: &Histogram<u64>) -> Value {
    let ms = |q: f64| (delays.value_at_quantile(q) as f64 / 100.0).round() / 10.0;
    json!({
        "p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99), "p999_ms": ms(0.999),
        "max_ms": ms(1.0), "probes": delays.len(),
    })
}

fn told(figures: &Value) -> String {
    format!(
        "p50 {} ms, p90 {}, p99 {}, p99.9 {}, max {}",
        figures["p50_ms"], figures["p90_ms"], figures["p99_ms"], figures["p999_ms"], figures["max_ms"]
    )
}

fn stretch_length() -> Duration {
    Duration::from_secs(argument("--seconds", 20) as u64)
}

/// The rate that shares are taken of: `--rate`, or what the stack does now.
fn full_rate(site: &mut Site) -> f64 {
    let given = argument("--rate", 0);
    let events = argument("--events", 60_000) as u64;
    let cold = site.begin(events);
    site.warm(cold / 2.0, stretch_length());
    let maximum = site.maximum(events);
    let rate = if given > 0 { given as f64 } else { maximum };
    say(format!("full rate: {rate:.0} events/s (measured now: {maximum:.0})"));
    rate
}

/// Change to search at shares of the maximum.
pub fn freshness() {
    let mut report = Report::new("freshness");
    let mut site = Site::new("freshness");
    let full = full_rate(&mut site);
    let mut steps = Vec::new();
    for share in [25, 50, 75, 90] {
        let rate = full * f64::from(share) / 100.0;
        let anatomy = Anatomy::begin(&site.bed, &site.node);
        let figures = quantiles(&site.stretch(rate, 0.0, stretch_length()));
        let seen = anatomy.end(&site.node);
        say(format!("{share} % ({rate:.0} events/s): {}\n{seen}", told(&figures)));
        steps.push(json!({ "share": share, "events_per_second": rate.round(), "delay": figures, "anatomy": seen.figures() }));
    }
    report.put("full_rate", full.round());
    report.put("steps", steps);
    report.put("system", site.finish());
    report.finish();
}

/// Others' delays while one order takes a tenth of all events, and while another line's search answers ten times slower.
pub fn hot() {
    let mut report = Report::new("hot");
    let (rate, length) = (argument("--rate", 3_000) as f64, stretch_length());
    let bed = Bed::new();
    let slow = Gate::to(&bed.search.address());
    let mut site = Site::with("hot", bed, Some(slow.address.clone()));
    site.begin(argument("--events", 30_000) as u64);
    site.warm(rate, length);
    let usual = bulk_time(&site);
    let mut tails = Vec::new();
    for (name, hot, delay) in [("even", 0.0, Duration::ZERO), ("hot_row", 0.1, Duration::ZERO), ("slow_line", 0.0, usual * 9)] {
        slow.delay(delay);
        let figures = quantiles(&site.stretch(rate, hot, length));
        slow.delay(Duration::ZERO);
        say(format!("{name}: {}", told(&figures)));
        tails.push(figures["p99_ms"].as_f64().unwrap_or(f64::NAN));
        report.put(name, figures);
    }
    site.demand_hot();
    let (row, line) = (tails[1] / tails[0], tails[2] / tails[0]);
    say(format!("others' p99: {row:.2} times beside a hot row, {line:.2} times beside a slow line"));
    report.put("rate", rate);
    report.put("usual_bulk_ms", usual.as_secs_f64() * 1e3);
    report.put("hot_row_p99_ratio", row);
    report.put("slow_line_p99_ratio", line);
    report.put("system", site.finish());
    report.finish();
}

/// What a bulk request takes, from the node's own histogram.
fn bulk_time(site: &Site) -> Duration {
    let of = |part: &str| watch::metric(&site.node, &format!("widerow_sink_request_seconds_{part}"), "line=\"order_search\"");
    Duration::from_secs_f64((of("sum") / of("count").max(1.0)).clamp(0.005, 0.5))
}

/// Killed at half load: how long until the search server acknowledges again.
pub fn recover() {
    let mut report = Report::new("recover");
    let mut site = Site::new("recover");
    let rate = argument("--rate", 3_000) as f64;
    site.begin(30_000);
    let mut lives = Vec::new();
    for life in 1..=argument("--kills", 3) {
        let first = site.load.probes;
        let (load, node) = (&mut site.load, &mut site.node);
        let (killed, meant) = thread::scope(|scope| {
            let writing = scope.spawn(move || load.stream(rate, 0.0, PROBES_PER_SECOND, Duration::from_secs(15)));
            pause(Duration::from_secs(5));
            let killed = Instant::now();
            node.kill();
            node.start();
            (killed, writing.join().expect("the writer"))
        });
        site.rest();
        let again = site.gate.notes().bulks.iter().find(|at| **at > killed).map(|at| at.duration_since(killed).as_secs_f64());
        let again = again.expect("an acknowledgement after the kill");
        let figures = quantiles(&site.delays(first, &meant));
        say(format!("life {life}: first acknowledged after {again:.2} s; {}", told(&figures)));
        lives.push(json!({ "first_acknowledged_seconds": again, "delay": figures }));
    }
    report.put("rate", rate);
    report.put("lives", lives);
    report.put("system", site.finish());
    report.finish();
}

/// Every document written anew while changes flow.
pub fn rebuild() {
    let mut report = Report::new("rebuild");
    let mut site = Site::new("rebuild");
    let rate = argument("--rate", 1_000) as f64;
    site.begin(argument("--events", 60_000) as u64);
    let (began, first) = (Instant::now(), site.load.probes);
    let address = std::fs::read_to_string(site.bed.folder.path().join("rebuild/data/admin.addr")).expect("the node's address");
    let url = format!("http://{}/api/v1/lines/order_search:rebuild", address.trim().trim_start_matches("http://"));
    let asked = ureq::post(&url).content_type("application/json").send(r#"{"reason":"a measurement"}"#);
    let mut run: Value =
        serde_json::from_str(&asked.expect("the run begins").body_mut().read_to_string().expect("an answer")).expect("JSON");
    let path = format!("/api/v1/runs/{}", run["id"].as_str().map_or_else(|| run["id"].to_string(), ToOwned::to_owned));
    let (load, node) = (&mut site.load, &site.node);
    let (took, meant) = thread::scope(|scope| {
        let writing = scope.spawn(move || load.stream(rate, 0.0, PROBES_PER_SECOND, stretch_length()));
        let took = loop {
            run = node.ask(&path).unwrap_or(Value::Null);
            if matches!(run["state"].as_str(), Some("done" | "failed" | "cancelled")) {
                break began.elapsed().as_secs_f64();
            }
            pause(Duration::from_millis(50));
        };
        (took, writing.join().expect("the writer"))
    });
    assert_eq!(run["state"], "done", "{run}");
    site.rest();
    let figures = quantiles(&site.delays(first, &meant));
    say(format!("rebuild: {run} in {took:.1} s; live changes meanwhile: {}", told(&figures)));
    report.put("seconds", took);
    report.put("jobs_per_second", run["done"].as_f64().unwrap_or(f64::NAN) / took);
    report.put("run", run);
    report.put("rate", rate);
    report.put("delay", figures);
    report.put("system", site.finish());
    report.finish();
}
