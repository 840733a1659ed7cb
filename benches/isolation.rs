//! How much later do other rows' documents come while one row takes a tenth of all events, one line is ten times slower, one
//! sink is dead, or one partition is stopped?
//!
//! One process on the embedded stores, open loop: every event has the moment it is meant for, and its delay ends where the
//! sink has acknowledged its document. Every stretch with a disturbance stands between two without, and is held against them.
//! A stretch in which a row's document never came, or is not the last, has no figure.

mod common;

use common::measure::{Report, argument, median, say};
use common::shop::{self, PARTITIONS};
use futures_util::future::{BoxFuture, join_all, ready};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use widerow::domain::epoch::Epochs;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Generation, Millis, Name, NextOffset, Partition, RecordOffset};
use widerow::domain::record::{Delivery, Record};
use widerow::ports::Answer;
use widerow::ports::sink::{Held, Sink, SinkOutcome, SinkWrite};
use widerow::ports::source::{Assigned, Intake, Source, SourceControl};
use widerow::settings::{self, OnBadRecord, Settings};
use widerow::supervisor::{Engine, Parts, SourcePart, wiring};
use widerow::telemetry::Totals;

/// What others must bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    None,
    HotRow,
    SlowLine,
    DeadSink,
    StoppedPartition,
}

const DISTURBANCES: [(Disturbance, &str); 4] = [
    (Disturbance::HotRow, "hot_row"),
    (Disturbance::SlowLine, "slow_line"),
    (Disturbance::DeadSink, "dead_sink"),
    (Disturbance::StoppedPartition, "stopped_partition"),
];
/// The row that is hot; every other event is a row of its own.
const HOT: usize = 0;
/// Every so many events one goes to it.
const HOT_EVERY: usize = 10;
/// How much longer the slow line's sink takes.
const SLOWER: u32 = 10;
/// What a write of the line beside takes at least where it is not slow.
const SINK: Duration = Duration::from_millis(2);
/// The partition that stops; its rows are measured in no stretch.
const STOPPED: usize = PARTITIONS - 1;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(2);
/// The first part of a stretch warms up what begins cold, and is not measured.
const WARM_UP: f64 = 0.2;
/// So much later than the last event every document is there, or the stretch has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const DELAY_US_MAX: u64 = 3_600_000_000;

/// One stretch's events: the row of each, and when it is meant to come.
struct Load {
    rows: Vec<usize>,
    per_second: usize,
    begun: Instant,
}

impl Load {
    fn of(events: usize, per_second: usize, disturbance: Disturbance) -> Self {
        let hot = |n: usize| disturbance == Disturbance::HotRow && n.is_multiple_of(HOT_EVERY);
        let rows = (0..events).map(|n| if hot(n) { HOT } else { n + 1 }).collect();
        Self { rows, per_second, begun: Instant::now() }
    }

    fn meant(&self, n: usize) -> Instant {
        self.begun + Duration::from_secs_f64(n as f64 / self.per_second as f64)
    }

    /// Rows of their own, after the warm-up, with the event that made each.
    fn measured(&self) -> impl Iterator<Item = (usize, usize)> {
        let first = (self.rows.len() as f64 * WARM_UP) as usize;
        let all = self.rows.iter().copied().enumerate().skip(first);
        all.filter(|(_, row)| *row != HOT && row % PARTITIONS != STOPPED)
    }

    fn record(&self, n: usize, offset: i64, bad: bool) -> Record {
        let row = self.rows[n];
        let writes = if row == HOT { n as u32 + 1 } else { 1 };
        Record {
            partition: partition(row % PARTITIONS),
            position: RecordOffset(offset),
            offset,
            timestamp: Some(Millis(0)),
            key: None,
            value: Some(if bad { "no json".into() } else { shop::written(row, writes, n) }),
            headers: Vec::new(),
        }
    }
}

fn partition(number: usize) -> Partition {
    Partition { topic: Name::of("shop.trade.orders"), number: number as i32 }
}

/// Hands over what is due, each partition by its own.
struct Paced {
    load: Arc<Load>,
    bad: bool,
}

impl Source for Paced {
    fn name(&self) -> &str {
        "shop"
    }
    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let Self { load, bad } = *self;
        let assigned = |number| Assigned {
            partition: partition(number),
            start: NextOffset(0),
            partitions: PARTITIONS as u32,
            epochs: Epochs::default(),
            high_watermark: None,
        };
        actix_rt::spawn(async move {
            intake.assigned("shop", (0..PARTITIONS).map(assigned).collect()).await;
            let partitions =
                (0..PARTITIONS).map(|number| hand_over(Arc::clone(&load), number, bad && number == STOPPED, &intake));
            join_all(partitions).await;
        });
        Ok(Arc::new(Control))
    }
}

/// A partition that is to stop meets its bad record when half of the warm-up is over.
async fn hand_over(load: Arc<Load>, number: usize, stops: bool, intake: &Arc<dyn Intake>) {
    let events: Vec<usize> = (0..load.rows.len()).filter(|n| load.rows[*n] % PARTITIONS == number).collect();
    let bad = (events.len() as f64 * WARM_UP / 2.0) as usize;
    let mut at = 0;
    while at < events.len() {
        let now = Instant::now();
        let due = events[at..].iter().take_while(|n| load.meant(**n) <= now).count();
        if due == 0 {
            tokio::time::sleep(TICK).await;
            continue;
        }
        let records = (at..at + due).map(|n| load.record(events[n], n as i64, stops && n == bad)).collect();
        at += due;
        let partition = partition(number);
        intake.deliver(Delivery { partition, reading: Generation(0), records, high_watermark: None }).await;
    }
}

struct Control;

impl SourceControl for Control {
    fn commit(&self, _: Vec<(Partition, NextOffset)>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(ready(Ok(())))
    }
    fn rewind(&self, _: Partition, _: NextOffset) -> Generation {
        // Only the partition that stops is asked to, and it never goes on.
        Generation(1)
    }
    fn pause(&self, _: Partition) {}
    fn resume(&self, _: Partition) {}
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

/// When each document was acknowledged first.
type Acknowledged = Arc<Mutex<HashMap<String, Instant>>>;

/// The sink that is measured.
struct Measured {
    inner: Arc<dyn Sink>,
    acknowledged: Acknowledged,
}

impl Sink for Measured {
    fn kind(&self) -> &'static str {
        "measured"
    }
    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(async move {
            let ids: Vec<String> = batch.iter().map(|write| write.id.clone()).collect();
            let outcomes = self.inner.write(batch).await;
            let now = Instant::now();
            let mut acknowledged = self.acknowledged.lock().unwrap_or_else(|e| e.into_inner());
            for (id, _) in ids.into_iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, SinkOutcome::Written)) {
                acknowledged.entry(id).or_insert(now);
            }
            outcomes
        })
    }
    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        self.inner.get(id)
    }
    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        self.inner.list(after, max)
    }
}

/// The sink of the line beside it.
struct Beside(Disturbance);

impl Sink for Beside {
    fn kind(&self) -> &'static str {
        "beside"
    }
    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(async move {
            if self.0 == Disturbance::DeadSink {
                let fault = Fault::new(FaultKind::Unreachable, "sink", "it is dead");
                return vec![SinkOutcome::Retry { fault, counts: false }; batch.len()];
            }
            tokio::time::sleep(if self.0 == Disturbance::SlowLine { SINK * SLOWER } else { SINK }).await;
            vec![SinkOutcome::Written; batch.len()]
        })
    }
    fn get(&self, _: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        Box::pin(ready(Ok(None)))
    }
    fn list(&self, _: Option<String>, _: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}

/// The benches' configuration with a second line of the same rows.
fn settings_in(folder: &std::path::Path, disturbance: Disturbance) -> Settings {
    let (head, line) = shop::CONFIG.split_once("lines:\n").expect("the benches' configuration has lines");
    let text = format!("{head}lines:\n{line}{}", line.replace("order_search:", "order_beside:"));
    let loaded = settings::load_text("bench.yaml", &text, &|_| None);
    let mut settings = loaded.unwrap_or_else(|findings| panic!("{findings:?}")).settings;
    folder.clone_into(&mut settings.node.data_dir);
    settings.node.drain_deadline = Duration::from_secs(1);
    if disturbance == Disturbance::StoppedPartition {
        settings.sources[0].on_bad_record = OnBadRecord::Stop;
    }
    settings
}

/// One stretch on fresh stores; the delays of the measured rows in microseconds.
fn stretch(disturbance: Disturbance, per_second: usize, seconds: usize) -> Histogram<u64> {
    let folder = tempfile::tempdir_in("target").expect("a folder for the stores");
    let settings = Arc::new(settings_in(folder.path(), disturbance));
    let mut doors = wiring::open(&settings).unwrap_or_else(|fault| panic!("{fault}"));
    let acknowledged = Acknowledged::default();
    let name = Name::of("order_search");
    let inner = Arc::clone(&doors.sinks[&name]);
    doors.sinks.insert(name, Arc::new(Measured { inner: Arc::clone(&inner), acknowledged: Arc::clone(&acknowledged) }));
    doors.sinks.insert(Name::of("order_beside"), Arc::new(Beside(disturbance)));
    widerow::supervisor::block_on(async {
        let load = Arc::new(Load::of(per_second * seconds, per_second, disturbance));
        let source = Paced { load: Arc::clone(&load), bad: disturbance == Disturbance::StoppedPartition };
        let source = SourcePart { settings: settings.sources[0].clone(), source: Box::new(source) };
        let parts = Parts { doors, sources: vec![source] };
        let engine = Engine::start(Arc::clone(&settings), parts, Arc::new(Totals::default()), wiring::clock);
        wait(&load, &acknowledged, &*inner, disturbance).await;
        engine.drain().await;
        delays(&load, &acknowledged)
    })
}

/// Until every measured row's document came, and the hot row's is its last.
async fn wait(load: &Load, acknowledged: &Acknowledged, sink: &dyn Sink, disturbance: Disturbance) {
    let until = load.meant(load.rows.len()) + PATIENCE;
    let hot = (disturbance == Disturbance::HotRow).then(|| load.rows.iter().rposition(|row| *row == HOT)).flatten();
    loop {
        assert!(Instant::now() < until, "{disturbance:?}: a document never came: no figure");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let missing = {
            let acknowledged = acknowledged.lock().unwrap_or_else(|e| e.into_inner());
            load.measured().any(|(_, row)| !acknowledged.contains_key(&shop::order_no(row)))
        };
        if missing {
            continue;
        }
        let Some(last) = hot else { return };
        let held = sink.get(shop::order_no(HOT)).await.unwrap_or_else(|fault| panic!("{fault}"));
        let document: Value =
            serde_json::from_slice(held.and_then(|held| held.document).as_deref().unwrap_or_default()).unwrap_or_default();
        if document["note"] == format!("w{}", last + 1) {
            return;
        }
    }
}

fn delays(load: &Load, acknowledged: &Acknowledged) -> Histogram<u64> {
    let acknowledged = acknowledged.lock().unwrap_or_else(|e| e.into_inner());
    let mut delays = Histogram::new_with_max(DELAY_US_MAX, 3).expect("three digits");
    for (n, row) in load.measured() {
        let seen = acknowledged[&shop::order_no(row)];
        delays.saturating_record(seen.saturating_duration_since(load.meant(n)).as_micros() as u64);
    }
    delays
}

fn quantiles(delays: &Histogram<u64>) -> Value {
    let ms = |q: f64| (delays.value_at_quantile(q) as f64 / 10.0).round() / 100.0;
    json!({ "p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99), "p999_ms": ms(0.999), "max_ms": ms(1.0), "rows": delays.len() })
}

fn main() {
    let (per_second, seconds, rounds) = (argument("--rate", 3_000), argument("--seconds", 4), argument("--rounds", 3));
    let mut report = Report::new("isolation");
    say(format!("{per_second} events/s, two lines, {seconds} s a stretch"));
    report.put("events_per_second", per_second);
    let p99 = |delays: &Histogram<u64>| delays.value_at_quantile(0.99) as f64;
    let (mut all, mut ratios): (Vec<Histogram<u64>>, Vec<Vec<f64>>) = (Vec::new(), vec![Vec::new(); DISTURBANCES.len()]);
    let empty = || Histogram::new_with_max(DELAY_US_MAX, 3).expect("three digits");
    all.resize_with(DISTURBANCES.len() + 1, empty);
    for round in 1..=rounds {
        let mut before = stretch(Disturbance::None, per_second, seconds);
        all[0] += &before;
        for (place, (disturbance, name)) in DISTURBANCES.into_iter().enumerate() {
            let disturbed = stretch(disturbance, per_second, seconds);
            let after = stretch(Disturbance::None, per_second, seconds);
            let ratio = p99(&disturbed) * 2.0 / (p99(&before) + p99(&after));
            say(format!("round {round}: {name} p99 {:.1} ms, {ratio:.2} times the calm beside it", p99(&disturbed) / 1e3));
            ratios[place].push(ratio);
            all[place + 1] += &disturbed;
            all[0] += &after;
            before = after;
        }
    }
    report.put("calm", quantiles(&all[0]));
    for (place, (_, name)) in DISTURBANCES.into_iter().enumerate() {
        let ratio = median(std::mem::take(&mut ratios[place]));
        say(format!("{name}: p99 {ratio:.2} times (median of {rounds} rounds; must be at most 2, then 1.2)"));
        let mut figures = quantiles(&all[place + 1]);
        figures["p99_ratio"] = json!((ratio * 100.0).round() / 100.0);
        report.put(name, figures);
    }
    report.finish();
}
