//! What the other modules stand on: a small shop and its oracle, a node in this process on memory parts, the real binary
//! in a folder of its own.
//!
//! The oracle keeps the shop's tables itself and builds the documents from them; it shares no code with the product.

mod doors;
mod shop;
mod site;

pub use doors::*;
pub use shop::*;
// Other test binaries use this world without the real binary.
#[allow(unused_imports)]
pub use site::*;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use widerow::domain::epoch::Epochs;
use widerow::domain::fault::Fault;
use widerow::domain::ids::{Generation, Name, NextOffset, Partition, RecordOffset};
use widerow::domain::record::Record;
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::{MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::messages::control::Picture;
use widerow::ports::queue::JobQueue;
use widerow::ports::sink::Sink;
use widerow::ports::source::{Assigned, Delivery, Intake, Source, SourceControl};
use widerow::ports::{Answer, Doors};
use widerow::settings::Settings;
use widerow::supervisor::wiring::{self, RunMode};
use widerow::supervisor::{Engine, IdleState, Parts, SourcePart};
use widerow::telemetry::Totals;

/// Whatever is waited for comes well within this; only a defect makes a test wait so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// A node's surroundings in memory; they outlive engines that start on them.
pub struct World {
    /// Holds the log while the world stands.
    _dir: TempDir,
    pub settings: Settings,
    pub rows: Arc<JudgedRows>,
    pub queue: MemoryQueue,
    /// The queue a node works on: the one above, unless the test brings another.
    pub jobs: Arc<dyn JobQueue>,
    pub ledger: Arc<MemoryLedger>,
    pub sink: Arc<GatedSink>,
    pub totals: Arc<Totals>,
}

impl World {
    /// A world whose log is these lines. `change` adjusts the settings.
    pub fn new(config: &str, records: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("records.jsonl"), records).unwrap();
        let mut settings = load(config, dir.path());
        change(&mut settings);
        let rows = Arc::new(JudgedRows::over(MemoryRowStore::new(Arc::clone(&settings.schema))));
        let queue = MemoryQueue::new(&settings.queue, wall_clock());
        let jobs = Arc::new(queue.clone());
        let (ledger, sink) = (Arc::new(MemoryLedger::new()), Arc::new(GatedSink::new()));
        Self { _dir: dir, settings, rows, queue, jobs, ledger, sink, totals: Arc::default() }
    }

    /// The same world on another queue, made for its settings in its folder.
    pub fn on_queue(self, make: impl FnOnce(&Settings, &Path) -> Arc<dyn JobQueue>) -> Self {
        let jobs = make(&self.settings, self._dir.path());
        Self { jobs, ..self }
    }

    /// The same world on rows that can be lost until they are made durable.
    pub fn on_unlogged_rows(self) -> Self {
        let rows = Arc::new(JudgedRows::over(MemoryRowStore::unlogged(Arc::clone(&self.settings.schema))));
        Self { rows, ..self }
    }

    pub fn shop(shop: &Shop, change: impl FnOnce(&mut Settings)) -> Self {
        Self::new(SHOP, &shop.text(), change)
    }

    /// Another node's world on the same rows, queue and sink, with a ledger of its own.
    #[cfg(feature = "kafka")]
    pub fn beside(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Self {
            _dir: tempfile::tempdir().unwrap(),
            settings,
            rows: Arc::clone(&self.rows),
            queue: self.queue.clone(),
            jobs: Arc::clone(&self.jobs),
            ledger: Arc::new(MemoryLedger::new()),
            sink: Arc::clone(&self.sink),
            totals: Arc::default(),
        }
    }

    /// A node on this world, reading its file.
    pub fn start(&self) -> Engine {
        let parts = wiring::parts(&self.settings, self.doors(), RunMode::default()).unwrap();
        self.start_on(parts)
    }

    /// A node on this world, fed by the test.
    pub fn start_fed(&self) -> (Engine, Feed) {
        let feed = Feed::default();
        let source = SourcePart { settings: self.settings.sources[0].clone(), source: Box::new(feed.clone()) };
        (self.start_on(Parts { doors: self.doors(), sources: vec![source] }), feed)
    }

    fn start_on(&self, parts: Parts) -> Engine {
        Engine::start(Arc::new(self.settings.clone()), parts, Arc::clone(&self.totals), wiring::clock)
    }

    fn doors(&self) -> Doors {
        let sink: Arc<dyn Sink> = self.sink.clone();
        Doors {
            rows: self.rows.clone(),
            queue: self.jobs.clone(),
            ledger: self.ledger.clone(),
            sinks: self.settings.lines.iter().map(|line| (line.line.name, sink.clone())).collect(),
        }
    }

    /// What the sink holds.
    pub async fn documents(&self) -> BTreeMap<String, Value> {
        let held = self.sink.list(None, usize::MAX).await.unwrap();
        held.into_iter().map(|held| (held.id, serde_json::from_slice(&held.document.unwrap()).unwrap())).collect()
    }
}

type Committed = Arc<Mutex<Vec<NextOffset>>>;

/// A source of one partition whose records the test delivers.
#[derive(Clone, Default)]
pub struct Feed {
    intake: Arc<Mutex<Option<Arc<dyn Intake>>>>,
    next: Arc<AtomicUsize>,
    committed: Committed,
}

impl Feed {
    const TOPIC: &str = "shop.trade.orders";

    fn partition() -> Partition {
        Partition { topic: Name::of(Self::TOPIC), number: 0 }
    }

    async fn intake(&self) -> Arc<dyn Intake> {
        until("the source starts", async || self.intake.lock().unwrap().clone()).await
    }

    pub async fn begin(&self) {
        self.begin_at(0).await;
    }

    /// The partition is here from this record on.
    pub async fn begin_at(&self, next: i64) {
        let assigned = Assigned {
            partition: Self::partition(),
            start: NextOffset(next),
            partitions: 1,
            epochs: Epochs::default(),
            high_watermark: None,
        };
        self.intake().await.assigned("shop", vec![assigned]).await;
    }

    /// Delivers one body; answers when the partition takes more.
    pub async fn deliver(&self, body: &Value) {
        let offset = self.next.fetch_add(1, Ordering::SeqCst) as i64;
        let record = Record {
            partition: Self::partition(),
            position: RecordOffset(offset),
            offset,
            timestamp: None,
            key: None,
            value: Some(body.to_string().into()),
            headers: Vec::new(),
        };
        let delivery =
            Delivery { partition: Self::partition(), reading: Generation(0), records: vec![record], high_watermark: None };
        self.intake().await.deliver(delivery).await;
    }

    /// The partition goes to somebody else; answers once the engine has let it go.
    pub async fn revoke(&self) {
        self.intake().await.revoked(vec![Self::partition()]).await;
    }

    /// The partition is here again, from its first record on.
    pub async fn begin_again(&self) {
        self.next.store(0, Ordering::SeqCst);
        self.begin().await;
    }

    /// Every position that was committed, in order.
    pub fn committed(&self) -> Vec<i64> {
        self.committed.lock().unwrap().iter().map(|next| next.0).collect()
    }

    pub async fn end(&self) {
        self.intake().await.ended(Self::partition(), Generation(0));
    }
}

impl Source for Feed {
    fn name(&self) -> &str {
        "shop"
    }
    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        *self.intake.lock().unwrap() = Some(intake);
        Ok(Arc::new(FeedControl(Arc::clone(&self.committed))))
    }
}

struct FeedControl(Committed);

impl SourceControl for FeedControl {
    fn commit(&self, positions: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>> {
        self.0.lock().unwrap().extend(positions.into_iter().map(|(_, next)| next));
        Box::pin(async { Ok(()) })
    }
    fn rewind(&self, partition: Partition, _: NextOffset) -> Generation {
        panic!("nothing fails where a test feeds, but {partition} is rewound");
    }
    fn pause(&self, _: Partition) {}
    fn resume(&self, _: Partition) {}
    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(async {})
    }
}

/// Looks again until `seen` answers, at most [`PATIENCE`].
pub async fn until<T>(what: &str, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        if let Some(found) = seen().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE + LOOK * 100, "waited in vain: {what}");
        looks.tick().await;
    }
}

/// Waits until the run is over; how.
pub async fn ended(engine: &Engine) -> IdleState {
    let begun = Instant::now();
    until("the node becomes idle or stops", async || match engine.idle().await {
        Ok(IdleState::Busy) | Err(_) => {
            assert!(begun.elapsed() < PATIENCE, "neither idle nor stopped: {:#?}", look(engine).await);
            None
        }
        Ok(state) => Some(state),
    })
    .await
}

/// Runs a world to its end and says what its sink holds.
pub async fn run_to_end(world: &World) -> BTreeMap<String, Value> {
    let engine = world.start();
    assert_eq!(ended(&engine).await, IdleState::Idle);
    engine.drain().await;
    world.documents().await
}

pub async fn look(engine: &Engine) -> Picture {
    engine.look().await.unwrap()
}

/// Open records and the distance from the commit to the highest taken, over all partitions.
pub fn open_and_span(picture: &Picture) -> (u64, i64) {
    let views: Vec<_> = picture.actors.iter().filter_map(|actor| actor.partition.as_ref()).collect();
    let span = |view: &&widerow::messages::observe::PartitionView| {
        view.position.parse::<i64>().unwrap() - view.committed.parse::<i64>().unwrap()
    };
    (views.iter().map(|v| v.open_tickets).max().unwrap_or(0), views.iter().map(span).max().unwrap_or(0))
}

/// Holds two sets of documents against each other and names the first few differences.
pub fn assert_same(got: &BTreeMap<String, Value>, want: &BTreeMap<String, Value>, when: &str) {
    let ids: std::collections::BTreeSet<_> = got.keys().chain(want.keys()).collect();
    let differ: Vec<_> = ids.into_iter().filter(|id| got.get(*id) != want.get(*id)).collect();
    let shown: Vec<_> =
        differ.iter().take(3).map(|id| format!("\n{id}\n   got {:?}\n  want {:?}", got.get(*id), want.get(*id))).collect();
    assert!(differ.is_empty(), "{when}: {} documents differ{}", differ.len(), shown.concat());
}

/// Runs a test's future on a system of its own.
pub fn run<F: Future>(future: F) -> F::Output {
    widerow::supervisor::block_on(future)
}

/// Does every job, some side by side; a panic of one is the test's.
pub fn side_by_side<T: Sync>(jobs: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(job);
                }
            });
        }
    });
}

/// Looks again until `seen` answers, outside of any runtime, at most [`PATIENCE`].
pub fn watch<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let (_keep, never) = std::sync::mpsc::sync_channel::<()>(0);
    loop {
        if let Some(found) = seen() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        let _ = never.recv_timeout(LOOK);
    }
}
