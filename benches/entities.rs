//! What does an actor per row cost: resident bytes while it lives and once it is passivated, its spawn, a message to it?
//!
//! Changes of 14 cells go straight to the directory; the row store takes everything and keeps nothing. Beside it: the
//! same state machines in a hash map, without actors or messages (a slot).

mod common;

use actix::prelude::*;
use common::measure::{Report, Took, Watch, Whose, argument, resident_bytes, say};
use common::node::row_id;
use common::shop::{self, Log};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot};
use widerow::domain::change::Image;
use widerow::domain::decode::{DecodeSettings, Decoded, decode};
use widerow::domain::entity::EntityState;
use widerow::domain::fault::Fault;
use widerow::domain::ids::{Generation, Millis, Name, RecordOffset, RowId, RowKey, Stamp};
use widerow::domain::route::{Effect, RowChange, Touched};
use widerow::domain::row::{Keys, PartId, Purged, WideRow};
use widerow::domain::schema::RowKind;
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::{MemoryLedger, MemoryQueue};
use widerow::messages::entity::{ApplyChanges, RowDirectory};
use widerow::messages::ticket::{TicketHome, TicketsClosed};
use widerow::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, WriteOutcome};
use widerow::ports::{Answer, Doors};
use widerow::settings::Settings;
use widerow::supervisor::{Engine, Parts, wiring};
use widerow::telemetry::Totals;

/// Changes without a verdict at most: what partitions let in.
const OPEN_MAX: usize = 8_192;
/// Changes of one chunk, as a partition hands them over.
const CHUNK: usize = 256;

fn main() {
    let entities = argument("--entities", 200_000);
    let mut report = Report::new("entities");
    let mut settings = shop::settings();
    settings.lines.clear();
    settings.node.entities_max = usize::MAX;
    settings.node.entity_bytes_max = usize::MAX;
    let image = image(&settings);
    say(format!("{entities} entities, {} cells a change, {} threads", image.len(), settings.node.threads));
    let slots = slots(entities, &image, &settings.schema.kinds[0]);
    widerow::supervisor::block_on(run(entities, &image, settings, slots, &mut report));
    report.finish();
}

/// The after image of a usual record.
fn image(settings: &Settings) -> Image {
    let record = Log::of(1).records().into_iter().flatten().next().expect("one record");
    match decode(&record, &DecodeSettings::default(), &settings.schema) {
        Ok(Decoded::Changes(mut changes)) => {
            changes.pop().and_then(|c| c.after().cloned()).expect("an insert has an after image")
        }
        other => panic!("{other:?}"),
    }
}

fn change(row: RowId, image: &Image, round: i64) -> RowChange {
    RowChange {
        row,
        part: PartId { table: Name::of("orders"), child: "4711".into() },
        stamp: Stamp(round),
        effect: Effect::Put { image: image.clone(), reborn: false },
        keys: Keys::default(),
        touched: Touched::default(),
        at: None,
        logged: None,
    }
}

/// The same work in slots: apply, write, acknowledge.
fn slots(entities: usize, image: &Image, kind: &RowKind) -> [Took; 2] {
    let mut slots: HashMap<RowId, EntityState<()>> = HashMap::new();
    [1, 2].map(|round| {
        let watch = Watch::start(Whose::Thread);
        for row in 0..entities {
            let row = row_id(kind.name, row);
            let slot = slots.entry(row.clone()).or_insert_with(|| EntityState::new(row.clone(), kind));
            slot.apply([(change(row, image, round), ())], &[], Millis(0));
            std::hint::black_box(slot.next_write());
            slot.written(Ok(()));
        }
        watch.stop()
    })
}

async fn run(entities: usize, image: &Image, settings: Settings, slots: [Took; 2], report: &mut Report) {
    let kind = settings.schema.kinds[0].name;
    let queue = Arc::new(MemoryQueue::new(&settings.queue, wall_clock()));
    let doors = Doors { rows: Arc::new(Nowhere), queue, ledger: Arc::new(MemoryLedger::new()), sinks: HashMap::new() };
    let parts = Parts { doors, sources: Vec::new() };
    let engine = Engine::start(Arc::new(settings), parts, Arc::new(Totals::default()), wiring::clock);
    let before = resident_bytes();
    let names = ["spawn and first message", "message"];
    for (round, (name, slot)) in (1..).zip(names.into_iter().zip(slots)) {
        let took = apply_all(&engine, kind, entities, image, round).await;
        say(format!(
            "{name}: {:.2} µs CPU, {:.1} allocations; in a slot {:.2} µs, {:.1} allocations",
            took.micros_per(entities),
            took.allocations_per(entities),
            slot.micros_per(entities),
            slot.allocations_per(entities)
        ));
        report.put(name, took.micros_per(entities));
        report.put(&format!("{name}, slot"), slot.micros_per(entities));
    }
    let per_million = |now: u64| now.saturating_sub(before) as f64 / entities as f64 * 1e6 / 1e9;
    let live = per_million(resident_bytes());
    say(format!("{} live: {live:.2} GB per million", engine.directory().len()));
    engine.directory().forget_all();
    let left = engine.directory().len();
    // The ends of the actors are behind these messages on every thread.
    apply_all(&engine, kind, 1_000, image, 3).await;
    engine.directory().forget_all();
    let passivated = per_million(resident_bytes());
    say(format!("{left} live after passivation: {passivated:.2} GB per million that lived"));
    report.put("entities", entities);
    report.put("live_gb_per_million", live);
    report.put("passivated_gb_per_million", passivated);
    engine.drain().await;
}

/// One change for each of so many rows; done when every ticket is settled.
async fn apply_all(engine: &Engine, kind: Name, entities: usize, image: &Image, round: i64) -> Took {
    let (done, answer) = oneshot::channel();
    let settled = Arc::new((AtomicUsize::new(0), Notify::new()));
    let counter = Counter { wanted: entities, settled: Arc::clone(&settled), done: Some(done) }.start();
    let home = TicketHome::new(Generation(1), counter.recipient());
    let watch = Watch::start(Whose::Process);
    for first in (0..entities).step_by(CHUNK) {
        let message = |at: usize| {
            let row = row_id(kind, at);
            let ticket = home.ticket(RecordOffset(at as i64));
            let changes = [(change(row.clone(), image, round), ticket)].into();
            ApplyChanges { row, changes, now: wiring::clock() }
        };
        engine.directory().apply_all((first..entities.min(first + CHUNK)).map(message).collect());
        while first + CHUNK > settled.0.load(Ordering::Acquire) + OPEN_MAX {
            settled.1.notified().await;
        }
    }
    answer.await.expect("the counter lives until it is done");
    watch.stop()
}

struct Counter {
    wanted: usize,
    settled: Arc<(AtomicUsize, Notify)>,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<TicketsClosed> for Counter {
    type Result = ();
    fn handle(&mut self, message: TicketsClosed, ctx: &mut Self::Context) {
        assert!(message.failed.is_empty(), "a change failed: no figure");
        let settled = self.settled.0.fetch_add(message.settled.len(), Ordering::AcqRel) + message.settled.len();
        self.settled.1.notify_one();
        if settled == self.wanted {
            self.done.take().map(|done| done.send(()));
            ctx.stop();
        }
    }
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl RowStore for Nowhere {
    fn write(&self, batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>> {
        Box::pin(async move { vec![Ok(()); batch.len()] })
    }
    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>> {
        Box::pin(async move { Ok(vec![None; rows.len()]) })
    }
    fn write_checked(&self, _: CheckedWrite) -> Answer<'_, Result<Checked, Fault>> {
        Box::pin(async { Ok(Checked::Applied) })
    }
    fn scan(&self, _: Name, _: Option<RowKey>, _: Option<RowKey>, _: usize) -> Answer<'_, Result<Page, Fault>> {
        Box::pin(async { Ok(Page::default()) })
    }
    fn purge(&self, _: RowId, _: Horizon) -> Answer<'_, Result<Purged, Fault>> {
        Box::pin(async { Ok(Purged::default()) })
    }
    fn meta(&self, _: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        Box::pin(async { Ok(None) })
    }
    fn set_meta(&self, _: &str, _: Option<&str>, _: &str) -> Answer<'_, Result<bool, Fault>> {
        Box::pin(async { Ok(true) })
    }
    fn make_durable(&self) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
    fn approximate_rows(&self, _: Name) -> Option<u64> {
        None
    }
}
