//! The moving part of the page: the flow, and the tables under it.

use super::shown::{age, bytes, count, percent, points, rate, time};
use super::words::Words;
use crate::admin::answers::{LaneAnswer, LettersAnswer};
use crate::admin::client::path;
use crate::admin::desk::{RunAnswer, RunsAnswer};
use crate::admin::pulse::{Dependency, Rates, TotalsAnswer};
use crate::domain::ids::Millis;
use crate::messages::control::Picture;
use crate::messages::observe::{ActorKind, ActorState, Observation};

/// Dead letters and exits shown.
const SHOWN_MAX: usize = 20;
/// Seconds of history shown, one value a second.
pub const HISTORY: usize = 300;

/// What the moving part is made from.
pub struct Seen {
    pub picture: Picture,
    pub totals: TotalsAnswer,
    pub history: Vec<Rates>,
    pub lanes: Vec<LaneAnswer>,
    pub letters: LettersAnswer,
    pub runs: RunsAnswer,
    pub dependencies: Vec<Dependency>,
    pub status: &'static str,
    /// Buttons work: the token was shown, or none is needed.
    pub may_change: bool,
    /// What could not be asked.
    pub faults: Vec<String>,
}

/// What the template shows.
pub struct Live {
    pub node: String,
    pub status: &'static str,
    pub up: String,
    pub now: String,
    pub version: &'static str,
    pub may_change: bool,
    pub faults: Vec<String>,
    pub stages: Vec<Stage>,
    pub chart: Option<Chart>,
    pub dependencies: Vec<Dependency>,
    pub lanes: Vec<LaneRow>,
    pub partitions: Vec<PartitionRow>,
    pub actors: Vec<ActorRow>,
    pub letters: Vec<LetterRow>,
    pub letters_total: String,
    pub letters_more: Option<String>,
    pub runs: Vec<RunRow>,
    pub left: Vec<String>,
    pub exits: Vec<ExitRow>,
}

/// One box of the flow.
pub struct Stage {
    pub name: &'static str,
    pub figure: String,
    pub unit: &'static str,
    pub rate: String,
    pub notes: Vec<String>,
    pub share: Share,
    /// Where the figure comes from.
    pub metric: &'static str,
}

pub struct Chart {
    pub records: String,
    pub documents: String,
    pub highest: String,
}

pub struct LaneRow {
    pub lane: LaneAnswer,
    pub oldest: String,
    pub waiting: String,
    pub guards: String,
    pub release_parked: String,
    pub release_buried: String,
}

pub struct PartitionRow {
    pub name: String,
    pub path: String,
    pub state: &'static str,
    pub why: String,
    pub position: String,
    pub committed: String,
    pub lag: String,
    pub open: String,
    pub generation: String,
    pub paused: bool,
}

pub struct ActorRow {
    pub id: String,
    pub path: String,
    pub state: &'static str,
    pub why: String,
    pub since: String,
    pub handled: String,
    pub in_hand: String,
    pub busy: u32,
    pub blocked: u32,
    pub restarts: u64,
    /// The root and entities are not restarted by hand.
    pub restartable: bool,
}

pub struct LetterRow {
    pub id: String,
    pub path: String,
    pub reason: String,
    pub detail: String,
    pub seen: String,
    pub last: String,
}

pub struct RunRow {
    pub run: RunAnswer,
    pub progress: String,
    pub since: String,
    pub ended: bool,
}

pub struct ExitRow {
    pub actor: String,
    pub when: String,
    pub ago: String,
    pub reason: &'static str,
    pub cause: String,
}

/// Puts the moving part together.
pub fn live(seen: Seen, w: &Words) -> Live {
    let now = seen.picture.now;
    let stages = stages(&seen, w);
    let chart = chart(&seen.history);
    let Seen { picture, lanes, letters, runs, dependencies, status, may_change, faults, .. } = seen;
    let waits = picture.faults().map(|(source, why)| format!("source {source}: {why}"));
    let faults = faults.into_iter().chain(waits).collect();
    let more = letters.total.saturating_sub(letters.dead_letters.len().min(SHOWN_MAX) as u64);
    Live {
        up: age(now - picture.started),
        now: time(Millis(now)),
        version: env!("CARGO_PKG_VERSION"),
        status: if picture.draining { "draining" } else { status },
        node: picture.node,
        may_change,
        faults,
        stages,
        chart,
        dependencies,
        lanes: lanes.into_iter().map(lane_row).collect(),
        partitions: partitions(&picture.actors),
        actors: picture.actors.iter().map(|actor| actor_row(actor, now)).collect(),
        letters: letters
            .dead_letters
            .into_iter()
            .take(SHOWN_MAX)
            .map(|head| LetterRow {
                path: path(&["dead-letters", &head.id], &[]),
                seen: if head.deliveries == 1 { "1×".to_owned() } else { format!("{}×", count(head.deliveries)) },
                last: age(now - head.last),
                id: head.id,
                reason: head.reason,
                detail: head.detail,
            })
            .collect(),
        letters_total: count(letters.total),
        letters_more: (more > 0).then(|| count(more)),
        runs: runs.runs.into_iter().take(SHOWN_MAX).map(|run| run_row(run, now)).collect(),
        left: runs.left.iter().map(|left| format!("rebuild {} {} {}", left.line, w.left_at, left.at)).collect(),
        exits: picture
            .exits
            .into_iter()
            .take(SHOWN_MAX)
            .map(|e| ExitRow { actor: e.actor, when: time(Millis(e.at)), ago: age(now - e.at), reason: e.reason, cause: e.cause })
            .collect(),
    }
}

/// Source → partitions → entities → rows → jobs → sinks.
fn stages(seen: &Seen, w: &Words) -> Vec<Stage> {
    let (first, last) = (intake_stages(seen, w), delivery_stages(seen, w));
    first.into_iter().chain(last).collect()
}

fn per_second(rate_of: f64, w: &Words) -> String {
    format!("{} {}", rate(rate_of), w.per_second)
}

fn intake_stages(seen: &Seen, w: &Words) -> [Stage; 3] {
    let (picture, entities) = (&seen.picture, &seen.picture.entities);
    let views: Vec<_> = picture.actors.iter().filter_map(|a| a.partition.as_ref()).collect();
    let lag: u64 = views.iter().filter_map(|v| v.lag).sum();
    let open: u64 = views.iter().map(|v| v.open_tickets).sum();
    let mut sources: Vec<String> = views.iter().map(|v| v.source.clone()).chain(picture.starting.iter().cloned()).collect();
    sources.extend(picture.waiting.iter().map(|(source, _)| source.clone()));
    sources.sort_unstable();
    sources.dedup();
    [
        Stage {
            name: w.sources,
            figure: count(seen.totals.totals.records),
            unit: w.records,
            rate: per_second(seen.totals.per_second.records, w),
            notes: vec![sources.join(", ")],
            share: Share { tone: if picture.faults().next().is_none() { "ok" } else { "bad" }, ..Share::default() },
            metric: "events_received_total",
        },
        Stage {
            name: w.partitions,
            figure: count(views.len() as u64),
            unit: w.read,
            rate: format!("{} {}", w.lag, count(lag)),
            notes: vec![format!("{} {}", count(open), w.open)],
            share: Share::of(picture, ActorKind::Partition),
            metric: "source_lag_records",
        },
        Stage {
            name: w.entities,
            figure: count(entities.live),
            unit: w.live,
            rate: format!("{} {}", count(entities.working), w.working),
            notes: vec![format!("{} {}", count(entities.idle), w.idle), bytes(entities.bytes)],
            share: Share { tone: if entities.panicked > 0 { "warn" } else { "ok" }, ..Share::default() },
            metric: "actor_state",
        },
    ]
}

fn delivery_stages(seen: &Seen, w: &Words) -> [Stage; 3] {
    let (picture, totals, rates) = (&seen.picture, &seen.totals.totals, &seen.totals.per_second);
    let pending: u64 = seen.lanes.iter().map(|l| l.waiting + l.retry + l.active).sum();
    let oldest = seen.lanes.iter().filter_map(|l| l.oldest_age_ms).max();
    let documents = &totals.documents;
    let aside = [(documents.superseded, w.superseded), (documents.skipped, w.skipped), (documents.rejected, w.rejected)];
    let coalesced = format!("{} {}", count(totals.jobs.coalesced), w.coalesced);
    [
        Stage {
            name: w.rows,
            figure: count(totals.row_writes),
            unit: w.writes,
            rate: per_second(rates.row_writes, w),
            notes: Vec::new(),
            share: Share::of(picture, ActorKind::Writer),
            metric: "row_writes_total",
        },
        Stage {
            name: w.jobs,
            figure: count(pending),
            unit: w.pending,
            rate: per_second(rates.jobs_done, w),
            notes: std::iter::once(coalesced).chain(oldest.map(|ms| format!("{} {}", w.oldest, age(ms)))).collect(),
            share: Share::of(picture, ActorKind::Offerer),
            metric: "jobs_pending",
        },
        Stage {
            name: w.sinks,
            figure: count(documents.written + documents.deleted),
            unit: w.documents,
            rate: per_second(rates.documents, w),
            notes: aside.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(n))).collect(),
            share: Share::of(picture, ActorKind::Sink),
            metric: "sink_documents_total",
        },
    ]
}

/// What the actors of one kind do with their time in percent, and whether any of them is not well.
pub struct Share {
    pub busy: u32,
    pub blocked: u32,
    /// `ok`, `warn` or `bad`.
    pub tone: &'static str,
}

impl Default for Share {
    fn default() -> Self {
        Self { busy: 0, blocked: 0, tone: "ok" }
    }
}

impl Share {
    fn of(picture: &Picture, kind: ActorKind) -> Self {
        let (mut n, mut busy, mut blocked, mut tone) = (0_u32, 0.0, 0.0, "ok");
        for actor in picture.actors.iter().filter(|a| a.kind == kind) {
            n += 1;
            busy += actor.busy;
            blocked += actor.blocked;
            match actor.state {
                ActorState::Failed | ActorState::Stuck => tone = "bad",
                ActorState::BackingOff | ActorState::Paused | ActorState::Stopped if tone == "ok" => tone = "warn",
                _ => {}
            }
        }
        let n = f64::from(n.max(1));
        Self { busy: percent(busy / n), blocked: percent(blocked / n), tone }
    }
}

fn chart(history: &[Rates]) -> Option<Chart> {
    if history.len() < 2 {
        return None;
    }
    let records: Vec<f64> = history.iter().map(|r| r.records).collect();
    let documents: Vec<f64> = history.iter().map(|r| r.documents).collect();
    // The picture grows from one minute to the whole, so that a young node shows more than a corner.
    let places = history.len().clamp(60, HISTORY);
    let highest = records.iter().chain(&documents).copied().fold(1.0, f64::max);
    Some(Chart {
        records: points(&records, places, highest),
        documents: points(&documents, places, highest),
        highest: rate(highest),
    })
}

fn lane_row(lane: LaneAnswer) -> LaneRow {
    let release = |state| path(&["jobs:release"], &[("state", state), ("line", &lane.line)]);
    LaneRow {
        oldest: lane.oldest_age_ms.map_or_else(|| "–".to_owned(), age),
        waiting: count(lane.waiting),
        guards: lane.guards.join(" "),
        release_parked: release("parked"),
        release_buried: release("buried"),
        lane,
    }
}

/// By topic and number.
fn partitions(actors: &[Observation]) -> Vec<PartitionRow> {
    let mut of_kind: Vec<_> = actors.iter().filter(|a| a.kind == ActorKind::Partition).collect();
    let place = |a: &Observation| a.partition.as_ref().map(|v| (v.topic.clone(), v.partition));
    of_kind.sort_by_cached_key(|a| (place(a), a.id.clone()));
    of_kind.into_iter().map(partition_row).collect()
}

fn partition_row(actor: &Observation) -> PartitionRow {
    let view = actor.partition.as_ref();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let paused = view.and_then(|v| v.paused.clone());
    let ended = view.is_some_and(|v| v.ended);
    let why = paused.clone().filter(|why| !why.is_empty()).unwrap_or_else(|| actor.reason.clone());
    PartitionRow {
        name: view.map_or_else(|| actor.id.clone(), |v| format!("{}/{}", v.topic, v.partition)),
        path: view.map_or_else(String::new, |v| path(&["partitions", &v.topic, &v.partition.to_string()], &[])),
        state: actor.state.label(),
        why: if why.is_empty() && ended { "read to its end".to_owned() } else { why },
        position: or_dash(view.map(|v| v.position.clone())),
        committed: or_dash(view.map(|v| v.committed.clone())),
        lag: or_dash(view.and_then(|v| v.lag).map(count)),
        open: or_dash(view.map(|v| count(v.open_tickets))),
        generation: or_dash(view.map(|v| v.generation.clone())),
        paused: paused.is_some() || actor.state == ActorState::Paused,
    }
}

fn actor_row(actor: &Observation, now: i64) -> ActorRow {
    let why = if actor.reason.is_empty() { actor.last_error.clone().unwrap_or_default() } else { actor.reason.clone() };
    ActorRow {
        path: path(&["actors", &actor.id], &[]),
        id: actor.id.clone(),
        state: actor.state.label(),
        why,
        since: age(now - actor.since),
        handled: count(actor.handled),
        in_hand: count(actor.in_flight + actor.depth),
        busy: percent(actor.busy),
        blocked: percent(actor.blocked),
        restarts: actor.restarts,
        restartable: matches!(actor.kind, ActorKind::Partition | ActorKind::Writer | ActorKind::Offerer | ActorKind::Sink),
    }
}

fn run_row(run: RunAnswer, now: i64) -> RunRow {
    let about = run.rows_about.filter(|n| *n > 0).map(|n| format!(" of about {}", count(n)));
    let progress = format!("{} rows{}, {} done", count(run.rows), about.unwrap_or_default(), count(run.done));
    RunRow { progress, since: age(now - run.started), ended: run.ended.is_some(), run }
}
