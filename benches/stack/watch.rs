//! A node at work: when its first record came, when its last job was done.

use crate::bed::Bed;
use crate::cost::{Cost, Meter};
use crate::node::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);
/// Lanes are counted one after the other, so a job that changes its place may be missed by one look, not by all of these.
const QUIET_LOOKS: u32 = 4;
/// Only a defect makes a run wait so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// Lets time pass between two looks, or until something is due; nothing counts on what it brings.
pub fn pause(time: Duration) {
    let (_keep, never) = std::sync::mpsc::sync_channel::<()>(0);
    let _ = never.recv_timeout(time);
}

type Places = BTreeMap<(String, i64), i64>;

/// What a run from start to rest took.
pub struct Ran {
    /// From the start of the process to its last finished job.
    pub whole: Duration,
    /// From the first record taken to the last finished job.
    pub working: Duration,
    pub cost: Cost,
}

/// Starts a node on a log that is written, and waits until everything in it is done.
pub fn work_off(bed: &Bed, node: &mut Node) -> Ran {
    let ends = bed.log_ends();
    let began = Instant::now();
    node.start();
    let meter = Meter::start(bed, node.pid());
    let first = loop {
        check(node, began);
        if places(node).is_some_and(|places| places.iter().any(|(_, (position, _))| *position > 0)) {
            break Instant::now();
        }
        pause(LOOK);
    };
    let (done, cost) = await_rest(node, &ends, || meter.stop());
    Ran { whole: done - began, working: done - first, cost }
}

/// Waits until a running node has read everything there is and owes nothing. When that was first seen, and what `note` said
/// then.
pub fn await_rest<T>(node: &mut Node, ends: &Places, note: impl Fn() -> T) -> (Instant, T) {
    let began = Instant::now();
    let (mut looks, mut first) = (0, None);
    loop {
        check(node, began);
        let read = places(node).is_some_and(|places| {
            ends.iter().all(|(place, end)| *end == 0 || places.get(place).is_some_and(|(at, open)| at == end && *open == 0))
        });
        if read && lanes_are_empty(node) {
            looks += 1;
            let seen = first.take().unwrap_or_else(|| (Instant::now(), note()));
            if looks == QUIET_LOOKS {
                return seen;
            }
            first = Some(seen);
        } else {
            (looks, first) = (0, None);
        }
        pause(LOOK);
    }
}

fn check(node: &mut Node, began: Instant) {
    assert!(node.runs(), "the node has ended by itself:\n{}", node.last_words());
    assert!(began.elapsed() < PATIENCE, "the node is not done after {PATIENCE:?}:\n{}", node.last_words());
}

/// Position and open tickets of each partition; nothing while the node does not answer.
fn places(node: &Node) -> Option<BTreeMap<(String, i64), (i64, u64)>> {
    let answer = node.ask("/api/v1/partitions")?;
    let number = |text: &Value| text.as_str().and_then(|text| text.parse().ok()).unwrap_or(-1);
    let place = |p: &Value| {
        let name = (p["topic"].as_str().unwrap_or_default().to_owned(), p["partition"].as_i64().unwrap_or(-1));
        (name, (number(&p["position"]), p["open_tickets"].as_u64().unwrap_or(1)))
    };
    Some(answer["partitions"].as_array()?.iter().map(place).collect())
}

fn lanes_are_empty(node: &Node) -> bool {
    let Some(answer) = node.ask("/api/v1/lanes") else { return false };
    let lanes = answer["lanes"].as_array().cloned().unwrap_or_default();
    let lost = |lane: &Value| ["parked", "buried"].iter().any(|state| lane[*state] != json!(0));
    assert!(!lanes.iter().any(lost), "jobs were given up: no figure\n{answer}\n{}", node.last_words());
    !lanes.is_empty() && lanes.iter().all(|lane| ["waiting", "retry", "active", "spilled"].iter().all(|s| lane[*s] == json!(0)))
}

/// The node's own count of something, over all label values that are told.
pub fn metric(node: &Node, name: &str, label: &str) -> f64 {
    let text = node.ask_text("/metrics").unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// How much went in one request, on average: what a request costs by itself is shared by so many.
pub struct Batches {
    rows_written: f64,
    rows_read: f64,
    /// Of the line that writes to the search server.
    documents: f64,
}

impl Batches {
    pub fn of(node: &Node) -> Self {
        let search = "line=\"order_search\"";
        let requests = |name: &str, label: &str| metric(node, &format!("{name}_count"), label).max(1.0);
        let done = metric(node, "widerow_jobs_total", "outcome=\"done\"");
        let written = metric(node, "widerow_row_writes_total", "outcome=\"written\"");
        let documents = metric(node, "widerow_sink_documents_total", search);
        Self {
            rows_written: written / requests("widerow_store_request_seconds", "op=\"write\""),
            rows_read: done / requests("widerow_store_request_seconds", "op=\"read\""),
            documents: documents / requests("widerow_sink_request_seconds", search),
        }
    }

    pub fn split(&self) -> Value {
        json!({ "rows_written": self.rows_written, "rows_read": self.rows_read, "search_documents": self.documents })
    }
}

impl std::fmt::Display for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} rows written, {:.0} rows read, {:.0} search documents",
            self.rows_written, self.rows_read, self.documents
        )
    }
}
