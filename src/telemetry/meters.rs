//! Meters: counters, gauges and histograms resolved once and held where they are used.
//!
//! Gauges are guards: a meter that sets one takes its series along when it is dropped, so a partition or a lane that
//! went to another process does not stay on this one's page. The recorder cannot remove a series; it is set to *not a
//! number* instead, which [`super::Metrics::render`] leaves out.

use super::names::*;
use super::totals::Totals;
use crate::domain::decode::Ignored;
use crate::domain::health::{ActorKind, ActorState};
use crate::domain::ids::{Name, Partition};
use crate::domain::job::LaneGuard;
use metrics::{Counter, Gauge, Histogram};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// What a topic of a source delivers.
#[derive(Clone)]
pub struct TopicMeters {
    received: Counter,
    ignored: Arc<[Counter]>,
    totals: Arc<Totals>,
}

impl TopicMeters {
    pub fn new(source: &str, topic: Name, totals: &Arc<Totals>) -> Self {
        Self {
            received: metrics::counter!(EVENTS_RECEIVED, "source" => source.to_owned(), "topic" => topic.as_str()),
            ignored: IGNORED.iter().map(|reason| metrics::counter!(EVENTS_IGNORED, "reason" => *reason)).collect(),
            totals: totals.clone(),
        }
    }

    /// Records delivered, repeated deliveries included.
    pub fn received(&self, records: u64) {
        self.received.increment(records);
        self.totals.add_records(records);
    }
    /// Row changes decoded from a chunk of them, and changes of entities, after routing and folding: what threads share is
    /// added to once a chunk.
    pub fn chunk(&self, changes: u64, rows: u64) {
        self.totals.add_changes(changes);
        self.totals.add_rows(rows);
    }
    /// C6: a record without data for us. A destructive one is told by `TableDestroyed` besides.
    pub fn ignored(&self, what: Ignored) {
        self.ignored[ignored_index(what)].increment(1);
    }
}

/// How far behind a partition is. Its series leave with it.
pub struct PartitionMeters {
    lag_records: OwnedGauge,
    lag_seconds: OwnedGauge,
}

impl PartitionMeters {
    pub fn new(partition: Partition) -> Self {
        let labels = [("topic", partition.topic.as_str().to_owned()), ("partition", partition.number.to_string())];
        Self {
            lag_records: OwnedGauge::new(SOURCE_LAG_RECORDS, &labels),
            lag_seconds: OwnedGauge::new(SOURCE_LAG_SECONDS, &labels),
        }
    }
    /// Records between the read position and the end of the log.
    pub fn lag_records(&self, records: i64) {
        self.lag_records.set(records as f64);
    }
    /// Age of the newest record read.
    pub fn lag_seconds(&self, lag: Duration) {
        self.lag_seconds.set(lag.as_secs_f64());
    }
}

/// What the row store is asked.
#[derive(Clone)]
pub struct StoreMeters {
    outcomes: Arc<[Counter]>,
    requests: Arc<[Histogram]>,
    cells: Counter,
    stale: Counter,
    moves_unseen: Counter,
    totals: Arc<Totals>,
}

impl StoreMeters {
    pub fn new(totals: &Arc<Totals>) -> Self {
        let outcome = |o: &RowWriteOutcome| metrics::counter!(ROW_WRITES, "outcome" => o.label());
        let request = |op: &StoreOp| metrics::histogram!(STORE_REQUEST, "op" => op.label());
        Self {
            outcomes: RowWriteOutcome::ALL.iter().map(outcome).collect(),
            requests: StoreOp::ALL.iter().map(request).collect(),
            cells: metrics::counter!(ROW_CELLS),
            stale: metrics::counter!(EVENTS_STALE),
            moves_unseen: metrics::counter!(MOVES_UNSEEN),
            totals: totals.clone(),
        }
    }
    /// N2: changes whose write was skipped because their stamps were written before.
    pub fn stale(&self, changes: u64) {
        self.stale.increment(changes);
    }
    /// C5: an old half of a key change that was left alone because it did not compare.
    pub fn move_unseen(&self) {
        self.moves_unseen.increment(1);
    }
    /// Acknowledged rows, and the cells in them.
    pub fn written(&self, rows: u64, cells: u64) {
        self.outcomes[RowWriteOutcome::Written.index()].increment(rows);
        self.cells.increment(cells);
        self.totals.add_row_writes(rows);
    }
    /// Rows that go again unchanged: outcome unknown, or the store was away.
    pub fn retried(&self, rows: u64) {
        self.outcomes[RowWriteOutcome::Retried.index()].increment(rows);
    }
    pub fn failed(&self, rows: u64) {
        self.outcomes[RowWriteOutcome::Failed.index()].increment(rows);
    }
    /// How long one request took.
    pub fn request(&self, op: StoreOp, took: Duration) {
        self.requests[op.index()].record(took.as_secs_f64());
    }
}

/// What happens to a line's jobs and documents.
#[derive(Clone)]
pub struct LineMeters {
    line: Name,
    jobs: Arc<[Counter]>,
    documents: Arc<[Counter]>,
    stages: Arc<[Histogram]>,
    request: Histogram,
    breaker: Gauge,
    ambiguous: Counter,
    late: Counter,
    totals: Arc<Totals>,
}

impl LineMeters {
    pub fn new(line: Name, totals: &Arc<Totals>) -> Self {
        let name = line.as_str();
        let job = |o: &JobOutcome| metrics::counter!(JOBS, "line" => name, "outcome" => o.label());
        let document = |o: &DocumentOutcome| metrics::counter!(SINK_DOCUMENTS, "line" => name, "outcome" => o.label());
        let stage = |s: &Stage| metrics::histogram!(STAGE_DELAY, "line" => name, "stage" => s.label());
        Self {
            line,
            jobs: JobOutcome::ALL.iter().map(job).collect(),
            documents: DocumentOutcome::ALL.iter().map(document).collect(),
            stages: Stage::ALL.iter().map(stage).collect(),
            request: metrics::histogram!(SINK_REQUEST, "line" => name),
            breaker: metrics::gauge!(SINK_BREAKER_OPEN, "line" => name),
            ambiguous: metrics::counter!(AMBIGUOUS_COLUMNS, "line" => name),
            late: metrics::counter!(JOBS_LATE, "line" => name),
            totals: totals.clone(),
        }
    }
    pub fn line(&self) -> Name {
        self.line
    }
    pub fn jobs(&self, outcome: JobOutcome, n: u64) {
        self.jobs[outcome.index()].increment(n);
        self.totals.add_jobs(outcome, n);
    }
    pub fn documents(&self, outcome: DocumentOutcome, n: u64) {
        self.documents[outcome.index()].increment(n);
        self.totals.add_documents(outcome, n);
    }
    /// Time a change spent in one stage, from its own clock readings.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages[stage.index()].record(took.as_secs_f64());
    }
    /// How long one request to the sink took.
    pub fn request(&self, took: Duration) {
        self.request.record(took.as_secs_f64());
    }
    /// Whether the line waits for a side that does not answer (J7).
    pub fn open(&self, open: bool) {
        self.breaker.set(if open { 1.0 } else { 0.0 });
    }
    /// M1: fields that found several living rows of a one-to-one table.
    pub fn ambiguous(&self, fields: u64) {
        self.ambiguous.increment(fields);
    }
    /// V5: counted here, told by `SinkAhead`.
    pub(super) fn ahead(&self, rows: u64) {
        metrics::counter!(INVARIANT_VIOLATIONS, "id" => Invariant::VersionsRise.label()).increment(rows);
        self.totals.add_sinks_ahead(rows);
    }
    /// J8: counted here, told by `JobLate`.
    pub(super) fn late(&self) {
        self.late.increment(1);
    }
}

/// How full a line's lane is. Its series leave with it.
pub struct LaneMeters {
    pending: OwnedGauge,
    oldest: OwnedGauge,
    guards: [OwnedGauge; 2],
}

impl LaneMeters {
    pub fn new(line: Name, lane: Name) -> Self {
        let labels = [("line", line.as_str().to_owned()), ("lane", lane.as_str().to_owned())];
        let guarded = |label: &'static str| {
            let [line, lane] = labels.clone();
            OwnedGauge::new(LANE_GUARD, &[line, lane, ("guard", label.to_owned())])
        };
        Self {
            pending: OwnedGauge::new(JOBS_PENDING, &labels),
            oldest: OwnedGauge::new(JOB_OLDEST, &labels),
            guards: LaneGuard::ALL.map(|guard| guarded(guard.label())),
        }
    }
    /// Which guards are on, in the order of [`LaneGuard::ALL`].
    pub fn guards(&self, on: [bool; 2]) {
        self.guards.iter().zip(on).for_each(|(gauge, on)| gauge.set(f64::from(u8::from(on))));
    }
    /// Jobs that wait, and the age of the oldest; an empty lane is of age 0.
    pub fn set(&self, pending: u64, oldest: Option<Duration>) {
        self.pending.set(pending as f64);
        self.oldest.set(oldest.map_or(0.0, |age| age.as_secs_f64()));
    }
}

/// What the actors of one kind are doing.
#[derive(Clone)]
pub struct ActorMeters {
    states: Arc<[Gauge]>,
    depth: Gauge,
    busy: Gauge,
}

impl ActorMeters {
    pub fn new(kind: ActorKind) -> Self {
        let state = |s: &ActorState| metrics::gauge!(ACTOR_STATE, "kind" => kind.label(), "state" => s.label());
        Self {
            states: ActorState::ALL.iter().map(state).collect(),
            depth: metrics::gauge!(ACTOR_MAILBOX_DEPTH, "kind" => kind.label()),
            busy: metrics::gauge!(ACTOR_BUSY, "kind" => kind.label()),
        }
    }
    /// How many actors of the kind are in each state.
    pub fn states(&self, seen: impl Iterator<Item = ActorState>) {
        let mut counts = [0_u64; ActorState::ALL.len()];
        seen.for_each(|state| counts[state as usize] += 1);
        for (state, count) in ActorState::ALL.into_iter().zip(counts) {
            self.counts(state, count);
        }
    }
    /// How many are in one state.
    pub fn counts(&self, state: ActorState, count: u64) {
        self.states[state as usize].set(count as f64);
    }
    /// Messages waiting in all mailboxes of the kind.
    pub fn mailbox_depth(&self, messages: u64) {
        self.depth.set(messages as f64);
    }
    /// Share of time spent working, 0 to 1.
    pub fn busy(&self, ratio: f64) {
        self.busy.set(ratio);
    }
}

/// Whether readers are told that data may be old.
pub fn degraded(is: bool) {
    metrics::gauge!(DEGRADED).set(f64::from(u8::from(is)));
}

/// The configuration in force, by its hash.
pub struct ConfigInfo(OwnedGauge);

impl ConfigInfo {
    pub fn new(hash: &str) -> Self {
        let info = Self(OwnedGauge::new(CONFIG_INFO, &[("hash", hash.to_owned())]));
        info.0.set(1.0);
        info
    }
}

pub(super) fn build_info() {
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Owners per series: a new life of a partition may begin before the old one has ended.
static OWNERS: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);

/// A gauge whose series is shown while somebody owns it.
struct OwnedGauge {
    gauge: Gauge,
    series: String,
}

impl OwnedGauge {
    fn new(name: &'static str, labels: &[(&'static str, String)]) -> Self {
        let series = format!("{name}{labels:?}");
        *OWNERS.lock().unwrap_or_else(|e| e.into_inner()).entry(series.clone()).or_default() += 1;
        Self { gauge: metrics::gauge!(name, labels), series }
    }
    fn set(&self, value: f64) {
        self.gauge.set(value);
    }
}

impl Drop for OwnedGauge {
    fn drop(&mut self) {
        let mut owners = OWNERS.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(count) = owners.get_mut(&self.series) {
            *count -= 1;
            if *count == 0 {
                owners.remove(&self.series);
                self.gauge.set(f64::NAN);
            }
        }
    }
}
