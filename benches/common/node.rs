//! A whole node on prepared records: the real engine, from a source in memory to its end.

use super::measure::{Took, Watch, Whose};
use super::shop::{Log, PARTITIONS, order_no};
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all, ready};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use widerow::domain::epoch::Epochs;
use widerow::domain::fault::Fault;
use widerow::domain::ids::{Generation, Name, NextOffset, Partition, RecordOffset, RowId, RowKey};
use widerow::domain::record::{Delivery, Record};
use widerow::ports::Doors;
use widerow::ports::rows::RowStore;
use widerow::ports::source::{Assigned, Intake, Source, SourceControl};
use widerow::settings::Settings;
use widerow::supervisor::{Engine, IdleState, Parts, SourcePart, wiring};
use widerow::telemetry::{Summary, Totals};

/// Records of one delivery.
const DELIVERY: usize = 500;

/// Hands prepared records over, each partition as fast as it takes them.
struct Prepared(Vec<Vec<Record>>);

impl Source for Prepared {
    fn name(&self) -> &str {
        "shop"
    }

    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let reading = async move {
            let partitions = self.0.iter().filter_map(|records| records.first()).map(|record| Assigned {
                partition: record.partition,
                start: NextOffset(0),
                partitions: PARTITIONS as u32,
                epochs: Epochs::default(),
                high_watermark: None,
            });
            intake.assigned("shop", partitions.collect()).await;
            join_all(self.0.into_iter().map(|records| hand_over(records, &intake))).await;
        };
        // The supervisor's own thread only passes on: the records go to the actors' threads.
        actix_rt::spawn(reading);
        Ok(Arc::new(Control))
    }
}

async fn hand_over(records: Vec<Record>, intake: &Arc<dyn Intake>) {
    let Some(partition) = records.first().map(|r| r.partition) else { return };
    let mut left = records.into_iter().peekable();
    while left.peek().is_some() {
        let records = left.by_ref().take(DELIVERY).collect();
        intake.deliver(Delivery { partition, reading: Generation(0), records, high_watermark: None }).await;
    }
    intake.ended(partition, Generation(0));
}

/// Files of bodies, one a line: each the only partition of its topic.
pub struct Files(pub Vec<(String, PathBuf)>);

impl Source for Files {
    fn name(&self) -> &str {
        "shop"
    }

    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let partition = |topic: &str| Partition { topic: Name::of(topic), number: 0 };
        let reading = async move {
            let partitions = self.0.iter().map(|(topic, _)| Assigned {
                partition: partition(topic),
                start: NextOffset(0),
                partitions: 1,
                epochs: Epochs::default(),
                high_watermark: None,
            });
            intake.assigned("shop", partitions.collect()).await;
            join_all(self.0.iter().map(|(topic, path)| read_over(partition(topic), path, &intake))).await;
        };
        actix_rt::spawn(reading);
        Ok(Arc::new(Control))
    }
}

async fn read_over(partition: Partition, path: &Path, intake: &Arc<dyn Intake>) {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = BufReader::with_capacity(1 << 20, file).split(b'\n').enumerate().peekable();
    while lines.peek().is_some() {
        let records = lines.by_ref().take(DELIVERY).map(|(at, line)| Record {
            partition,
            position: RecordOffset(at as i64),
            offset: at as i64,
            timestamp: None,
            key: None,
            value: Some(Bytes::from(line.unwrap_or_else(|e| panic!("{}: {e}", path.display())))),
            headers: Vec::new(),
        });
        let records = records.collect();
        intake.deliver(Delivery { partition, reading: Generation(0), records, high_watermark: None }).await;
    }
    intake.ended(partition, Generation(0));
}

struct Control;

impl SourceControl for Control {
    fn commit(&self, _: Vec<(Partition, NextOffset)>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(ready(Ok(())))
    }
    fn rewind(&self, partition: Partition, to: NextOffset) -> Generation {
        panic!("{partition} was rewound to {to:?}: a run that fails has no figure");
    }
    fn pause(&self, _: Partition) {}
    fn resume(&self, _: Partition) {}
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

/// What one run took and did.
pub struct Ran {
    pub took: Took,
    pub summary: Summary,
    pub live: usize,
}

/// Runs the log through a node on these doors. The clock starts before the first actor and stops at the last finished job.
pub fn run(log: &Log, settings: &Settings, doors: Doors) -> Ran {
    let source = SourcePart { settings: settings.sources[0].clone(), source: Box::new(Prepared(log.records())) };
    run_on(log, settings, Parts { doors, sources: vec![source] })
}

/// The same from any source that holds this log. One without an end is over once everything it had is done.
pub fn run_on(log: &Log, settings: &Settings, parts: Parts) -> Ran {
    run_checked(log.bodies.len(), settings, parts, async |rows| check(log, rows).await)
}

/// The same for any so many records, whose end is held against what they mean by `check`.
pub fn run_checked(records: usize, settings: &Settings, parts: Parts, check: impl AsyncFnOnce(&dyn RowStore)) -> Ran {
    let settings = Arc::new(settings.clone());
    let ran = Mutex::new(None);
    widerow::supervisor::block_on(async {
        let rows = Arc::clone(&parts.doors.rows);
        let totals = Arc::new(Totals::default());
        let watch = Watch::start(Whose::Process);
        let engine = Engine::start(Arc::clone(&settings), parts, Arc::clone(&totals), wiring::clock);
        wait(&engine, &totals, records).await;
        let took = watch.stop();
        let live = engine.directory().len();
        check(&*rows).await;
        engine.drain().await;
        *ran.lock().unwrap_or_else(|e| e.into_inner()) = Some(Ran { took, summary: totals.summary(), live });
    });
    ran.into_inner().unwrap_or_else(|e| e.into_inner()).expect("the run told what it did")
}

/// Nothing is in hand or owed, whether or not the source has an end.
async fn settled(engine: &Engine) -> bool {
    let Ok(picture) = engine.look().await else { return false };
    let open = picture.actors.iter().any(|a| a.depth > 0 || a.partition.as_ref().is_some_and(|view| view.open_tickets > 0));
    for line in &engine.delivered {
        let lanes = engine.doors.queue.counts(*line).await.unwrap_or_else(|fault| panic!("{fault}"));
        if lanes.iter().any(|c| c.waiting + c.retry + c.active + c.spilled > 0) {
            return false;
        }
    }
    !open
}

async fn wait(engine: &Engine, totals: &Totals, records: usize) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        ticks.tick().await;
        // A look at everybody is not free, and tells nothing new before the last record is taken.
        if totals.records() < records as u64 {
            continue;
        }
        match engine.idle().await {
            Ok(IdleState::Busy) if !settled(engine).await => {}
            Ok(IdleState::Idle | IdleState::Busy) => return,
            Ok(IdleState::Stopped(why)) => panic!("the run stopped: {why}"),
            Err(fault) => panic!("the run cannot be looked at: {fault}"),
        }
    }
}

/// Every row ends as the table did, or there is no figure.
async fn check(log: &Log, rows: &dyn RowStore) {
    let (kind, status) = (Name::of("order"), Name::of("status"));
    let written: Vec<_> = log.table.iter().enumerate().filter(|(_, order)| order.writes > 0).collect();
    for chunk in written.chunks(1_000) {
        let ids = chunk.iter().map(|(row, _)| row_id(kind, *row)).collect();
        let held = rows.read(ids).await.unwrap_or_else(|fault| panic!("rows cannot be read: {fault}"));
        for ((row, order), held) in chunk.iter().zip(held) {
            let value = held.as_ref().and_then(|held| held.parts.first()).map(|part| part.value(status));
            let text = value.and_then(|v| v.text().map(str::to_owned));
            assert_eq!(text, Some(order.status.to_string()), "row {row} ended otherwise than the table: no figure");
        }
    }
}

/// The wide row of a table row.
pub fn row_id(kind: Name, row: usize) -> RowId {
    let number = order_no(row);
    RowId { kind, key: RowKey::new(&format!("{}:{number}", &number[number.len() - 4..])) }
}
