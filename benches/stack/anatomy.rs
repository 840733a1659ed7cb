//! Where a change waits during a stretch, how many calls carry it, and whose cores are busy with it.

use crate::bed::Bed;
use crate::cost::{Cost, Meter};
use crate::node::Node;
use serde_json::{Value, json};

const STAGES: [&str; 4] = ["binlog_to_log", "log_to_row", "row_to_job", "job_to_sink"];
/// The kinds of calls: their histogram, its label, and what they are called here.
const CALLS: [(&str, &str, &str); 3] = [
    ("widerow_store_request_seconds", "op=\"write\"", "row writes"),
    ("widerow_store_request_seconds", "op=\"read\"", "row reads"),
    ("widerow_sink_request_seconds", "line=\"order_search\"", "search writes"),
];

/// Counts of a node at one moment.
struct Counts {
    stages: [(f64, f64); 4],
    calls: [(f64, f64); 3],
    jobs: f64,
    coalesced: f64,
}

/// A stretch that is being watched.
pub struct Anatomy {
    before: Counts,
    meter: Meter,
}

/// What was seen of it.
pub struct Seen {
    counts: Counts,
    cost: Cost,
}

impl Counts {
    fn of(node: &Node) -> Self {
        let text = node.ask_text("/metrics").unwrap_or_default();
        let of = |name: &str, labels: [&str; 2]| {
            let lines =
                text.lines().filter(|l| l.starts_with(&format!("{name}{{")) && labels.iter().all(|label| l.contains(label)));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let both = |name: &str, labels: [&str; 2]| (of(&format!("{name}_sum"), labels), of(&format!("{name}_count"), labels));
        Self {
            stages: STAGES
                .map(|stage| both("widerow_stage_delay_seconds", ["line=\"order_search\"", &format!("stage=\"{stage}\"")])),
            calls: CALLS.map(|(name, label, _)| both(name, [label, ""])),
            jobs: of("widerow_jobs_total", ["outcome=\"done\"", ""]),
            coalesced: of("widerow_jobs_total", ["outcome=\"coalesced\"", ""]),
        }
    }

    fn since(&self, before: &Self) -> Self {
        let less = |now: (f64, f64), then: (f64, f64)| (now.0 - then.0, now.1 - then.1);
        Self {
            stages: std::array::from_fn(|at| less(self.stages[at], before.stages[at])),
            calls: std::array::from_fn(|at| less(self.calls[at], before.calls[at])),
            jobs: self.jobs - before.jobs,
            coalesced: self.coalesced - before.coalesced,
        }
    }
}

impl Anatomy {
    pub fn begin(bed: &Bed, node: &Node) -> Self {
        Self { before: Counts::of(node), meter: Meter::start(bed, node.pid()) }
    }

    pub fn end(&self, node: &Node) -> Seen {
        let cost = self.meter.stop();
        Seen { counts: Counts::of(node).since(&self.before), cost }
    }
}

/// Milliseconds, on average.
fn mean((sum, count): (f64, f64)) -> f64 {
    (sum / count.max(1.0) * 1e4).round() / 10.0
}

impl Seen {
    pub fn figures(&self) -> Value {
        let stages =
            STAGES.iter().zip(self.counts.stages).map(|(name, stage)| ((*name).to_owned(), json!(mean(stage)))).collect();
        let calls = CALLS.iter().zip(self.counts.calls).map(|((_, _, name), call)| {
            (name.replace(' ', "_"), json!({ "per_second": call.1 / self.cost.seconds, "mean_ms": mean(call) }))
        });
        let cores = self.cost.cpu.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds / self.cost.seconds)));
        json!({
            "stage_ms": Value::Object(stages),
            "calls": Value::Object(calls.collect()),
            "cores": Value::Object(cores.collect()),
            "compiling": self.cost.compiling(),
            "jobs_per_second": self.counts.jobs / self.cost.seconds,
            "coalesced_per_second": self.counts.coalesced / self.cost.seconds,
        })
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_second = |count: f64| count / self.cost.seconds;
        write!(f, "  mean ms: ")?;
        for (name, stage) in STAGES.iter().zip(self.counts.stages) {
            write!(f, "{name} {}, ", mean(stage))?;
        }
        write!(f, "{:.0} jobs/s, {:.0} coalesced/s\n  calls: ", per_second(self.counts.jobs), per_second(self.counts.coalesced))?;
        for ((_, _, name), call) in CALLS.iter().zip(self.counts.calls) {
            write!(f, "{name} {:.0}/s of {} ms, ", per_second(call.1), mean(call))?;
        }
        let cores = self.cost.cpu.iter().map(|(name, seconds)| format!("{name} {:.2}", seconds / self.cost.seconds));
        let compiling = self.cost.compiling() * 100.0;
        write!(f, "cores: {}; {compiling:.0} % of all by Java's compilers", cores.collect::<Vec<_>>().join(", "))
    }
}
