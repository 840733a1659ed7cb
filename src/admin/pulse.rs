//! The last minutes of a node in numbers: a sample of its totals every second, and what follows from two of them.
//!
//! Also keeps how the stores answered when last asked. Bounded: a quarter of an hour of samples.

use super::answers::Office;
use crate::domain::fault::Fault;
use crate::domain::ids::Millis;
use crate::telemetry::{Metrics, Summary, Totals};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Samples kept.
const SAMPLES_MAX: usize = 900;
const BEAT: Duration = Duration::from_secs(1);
/// Rates are means over this many samples.
const RATE_SAMPLES: usize = 5;
/// Measured times are folded after so many beats, where nobody scrapes.
const UPKEEP_BEATS: u64 = 5;
/// An answer of a store is believed this long.
const BELIEVED_MS: i64 = 3_000;
/// How long a store may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Totals at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Millis,
    totals: Summary,
}

/// What happens per second, over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub records: f64,
    pub changes: f64,
    pub row_writes: f64,
    pub jobs_done: f64,
    pub documents: f64,
}

/// Totals since the start, and rates.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TotalsAnswer {
    pub totals: Summary,
    pub per_second: Rates,
}

/// Something a node needs, and how it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// `store`, `queue`, `ledger`, or `sink:LINE`.
    pub name: String,
    /// `reachable`, `unreachable` or `unknown`.
    pub state: &'static str,
    /// In this state since, and seen in it last, in ms since 1970.
    pub since: i64,
    pub checked: i64,
    pub age_ms: i64,
    pub cause: Option<String>,
}

/// The node's recent past.
pub struct Pulse {
    totals: Arc<Totals>,
    clock: fn() -> Millis,
    samples: Mutex<VecDeque<Sample>>,
    stores: Mutex<Vec<Dependency>>,
}

impl Pulse {
    pub fn new(totals: Arc<Totals>, clock: fn() -> Millis) -> Self {
        let pulse = Self { totals, clock, samples: Mutex::default(), stores: Mutex::default() };
        pulse.sample();
        pulse
    }

    /// Samples for as long as it is polled.
    pub async fn beat(&self, metrics: &Metrics) {
        let mut ticks = tokio::time::interval(BEAT);
        let mut beats = 0_u64;
        loop {
            ticks.tick().await;
            self.sample();
            beats += 1;
            if beats.is_multiple_of(UPKEEP_BEATS) {
                metrics.upkeep();
            }
        }
    }

    fn sample(&self) {
        let sample = Sample { at: (self.clock)(), totals: self.totals.summary() };
        let mut samples = self.samples.lock().unwrap_or_else(|e| e.into_inner());
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    pub fn totals(&self) -> TotalsAnswer {
        let now = Sample { at: (self.clock)(), totals: self.totals.summary() };
        let samples = self.samples.lock().unwrap_or_else(|e| e.into_inner());
        let before = samples.len().checked_sub(RATE_SAMPLES).or(Some(0)).and_then(|at| samples.get(at));
        TotalsAnswer { totals: now.totals, per_second: before.map_or_else(Rates::default, |before| rates(*before, now)) }
    }

    /// Records and documents per second over the last `n` samples, oldest first.
    pub fn history(&self, n: usize) -> Vec<Rates> {
        let samples = self.samples.lock().unwrap_or_else(|e| e.into_inner());
        let first = samples.len().saturating_sub(n + 1);
        let recent: Vec<_> = samples.range(first..).copied().collect();
        recent.windows(2).map(|pair| rates(pair[0], pair[1])).collect()
    }

    /// How store, queue and ledger answer; asked again when the last answer is old.
    pub async fn stores(&self, office: &Office) -> Vec<Dependency> {
        let now = (self.clock)();
        let held = self.held();
        if held.first().is_some_and(|d| now.since(Millis(d.checked)) < BELIEVED_MS) {
            return held.into_iter().map(|d| Dependency { age_ms: now.since(Millis(d.since)), ..d }).collect();
        }
        let doors = &office.doors;
        let (store, queue, ledger) = tokio::join!(
            asked(async { doors.rows.meta("admin/asked").await.map(drop) }),
            asked(async { doors.queue.life().await.map(drop) }),
            asked(async { doors.ledger.note("admin/asked").await.map(drop) }),
        );
        let now = (self.clock)();
        let fresh = [("store", store), ("queue", queue), ("ledger", ledger)].map(|(name, cause)| {
            let state = if cause.is_none() { "reachable" } else { "unreachable" };
            let before = held.iter().find(|d| d.name == name && d.state == state);
            let since = before.map_or(now.0, |d| d.since);
            Dependency { name: name.to_owned(), state, since, checked: now.0, age_ms: now.0 - since, cause }
        });
        *self.stores.lock().unwrap_or_else(|e| e.into_inner()) = fresh.to_vec();
        fresh.to_vec()
    }

    fn held(&self) -> Vec<Dependency> {
        self.stores.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

/// Why something does not answer.
async fn asked(asking: impl Future<Output = Result<(), Fault>>) -> Option<String> {
    match tokio::time::timeout(ANSWER_MAX, asking).await {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault.to_string()),
        Err(_) => Some(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    }
}

fn rates(before: Sample, after: Sample) -> Rates {
    let seconds = (after.at.since(before.at) as f64 / 1000.0).max(0.001);
    let rate = |count: fn(&Summary) -> u64| count(&after.totals).saturating_sub(count(&before.totals)) as f64 / seconds;
    Rates {
        records: rate(|t| t.records),
        changes: rate(|t| t.changes),
        row_writes: rate(|t| t.row_writes),
        jobs_done: rate(|t| t.jobs.done),
        documents: rate(|t| t.documents.written + t.documents.deleted),
    }
}
