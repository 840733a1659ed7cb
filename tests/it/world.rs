//! What the other modules stand on: a small shop and its oracle, a node in this process on memory parts, the real binary
//! in a folder of its own.
//!
//! The oracle keeps the shop's tables itself and builds the documents from them; it shares no code with the product.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;
use widerow::domain::epoch::Epochs;
use widerow::domain::fault::Fault;
use widerow::domain::ids::{Generation, Name, NextOffset, Partition, RecordOffset, RowId, RowVersion};
use widerow::domain::record::Record;
use widerow::domain::row::WideRow;
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::messages::control::Picture;
use widerow::ports::queue::JobQueue;
use widerow::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, WriteOutcome};
use widerow::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};
use widerow::ports::source::{Assigned, Delivery, Intake, Source, SourceControl};
use widerow::ports::{Answer, Doors};
use widerow::settings::{self, Settings};
use widerow::supervisor::wiring::{self, RunMode};
use widerow::supervisor::{Engine, IdleState, Parts, SourcePart};
use widerow::telemetry::Totals;

/// Whatever is waited for comes well within this; only a defect makes a test wait so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// One shop: orders with items. `${OUT}` is the folder of the run; a module appends lines and settings of its own.
pub const SHOP: &str = r#"
version: 1
node: { id: it, data_dir: "${OUT}/data", threads: 2, drain_deadline: 5s }
sources: { shop: { jsonl: { path: "${OUT}/records.jsonl" } } }
queue: { lease: 2s, retry: { base: 20ms, cap: 200ms } }
admin: { listen: "127.0.0.1:0" }
rows:
  order:
    key: "{order_no}"
    root: trade.orders
    tables:
      trade.orders: { id: [id], columns: { id: long, status: long } }
      trade.order_item: { id: [id], many: true, columns: { id: long, qty: long } }
lines:
  orders:
    row: order
    document:
      id: "{order_no}"
      fields:
        order_no: trade.orders.order_no
        status: trade.orders.status
        note: trade.orders.note
        items: { each: trade.order_item, order_by: id, fields: { id: id, qty: qty } }
        qty_total: { sum: trade.order_item.qty }
    sink: { jsonl: { path: "${OUT}/orders.jsonl" } }
"#;

/// A configuration text as meant, its `${OUT}` filled.
pub fn load(text: &str, out: &Path) -> Settings {
    let out = out.display().to_string();
    let env = |name: &str| (name == "OUT").then(|| out.clone());
    match settings::load_text("test.yaml", text, &env) {
        Ok(loaded) => loaded.settings,
        Err(found) => panic!("{found:#?}"),
    }
}

/// Numbers from a seed (xorshift64*), the same on every machine.
pub struct Dice(u64);

impl Dice {
    /// The seed is printed, so that a failure can be played again.
    pub fn new(seed: u64) -> Self {
        let _ = writeln!(std::io::stderr(), "seed {seed}");
        Self::silent(seed)
    }
    /// The same where somebody else prints it.
    pub fn silent(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n.max(1)
    }
}

/// One recorded event, as the file format of recorded events has it.
pub fn event(topic: &str, partition: i64, offset: i64, value: &str) -> String {
    json!({ "topic": topic, "partition": partition, "offset": offset, "key": null, "value": value }).to_string()
}

/// The shop's tables, and every record they gave.
pub struct Shop {
    tables: BTreeMap<(&'static str, i64), Map<String, Value>>,
    offsets: HashMap<(&'static str, i64), i64>,
    pub partitions: i64,
    grown: HashMap<&'static str, i64>,
    pub lines: Vec<String>,
}

impl Shop {
    pub fn new(partitions: i64) -> Self {
        Self { tables: BTreeMap::new(), offsets: HashMap::new(), partitions, grown: HashMap::new(), lines: Vec::new() }
    }

    pub fn put(&mut self, table: &'static str, id: i64, row: Value) {
        let Value::Object(mut row) = row else { panic!("a row is an object") };
        row.insert("id".to_owned(), id.into());
        let old = self.tables.insert((table, id), row.clone());
        let mut body =
            json!({ "database": "trade", "table": table, "ts": 1_740_794_400, "xid": 1, "commit": true, "data": row.clone() });
        body["type"] = if old.is_some() { "update" } else { "insert" }.into();
        if let Some(old) = old {
            let changed = old.into_iter().filter(|(name, value)| row.get(name) != Some(value));
            body["old"] = Value::Object(changed.collect());
        }
        self.record(table, id, &body);
    }

    pub fn delete(&mut self, table: &'static str, id: i64) {
        let Some(old) = self.tables.remove(&(table, id)) else { return };
        let body = json!({ "database": "trade", "table": table, "type": "delete", "ts": 1_740_794_400, "xid": 1, "commit": true, "data": old });
        self.record(table, id, &body);
    }

    #[allow(dead_code, reason = "the tests on real servers use it")]
    /// From here on the rows of a table lie in so many partitions.
    pub fn repartition(&mut self, table: &'static str, partitions: i64) {
        self.grown.insert(table, partitions);
    }

    fn record(&mut self, table: &'static str, id: i64, body: &Value) {
        let partition = id % self.grown.get(table).copied().unwrap_or(self.partitions);
        let offset = self.offsets.entry((table, partition)).or_default();
        self.lines.push(event(&format!("shop.trade.{table}"), partition, *offset, &body.to_string()));
        *offset += 1;
    }

    /// One random thing happens to one of `orders` orders.
    pub fn trade(&mut self, dice: &mut Dice, orders: u64) {
        let order = dice.below(orders) as i64;
        let order_no = format!("n{order}");
        let known = |shop: &Self, table, id| shop.tables.contains_key(&(table, id));
        match dice.below(20) {
            0 if known(self, "orders", order) => self.delete("orders", order),
            0..9 => {
                self.put(
                    "orders",
                    order,
                    json!({ "order_no": order_no, "status": dice.below(9), "note": format!("次{}", dice.below(99)) }),
                );
            }
            9 => self.delete("order_item", order * 4 + dice.below(4) as i64),
            10 => {
                // The item moves to another order.
                let other = format!("n{}", dice.below(orders));
                self.put("order_item", order * 4, json!({ "order_no": other, "qty": dice.below(50) }));
            }
            _ => {
                let id = order * 4 + dice.below(4) as i64;
                let order_no = self.tables.get(&("order_item", id)).map_or(order_no.into(), |held| held["order_no"].clone());
                self.put("order_item", id, json!({ "order_no": order_no, "qty": dice.below(50) }));
            }
        }
    }

    /// The documents that line `orders` must end with.
    pub fn documents(&self) -> BTreeMap<String, Value> {
        let rows = |table| self.tables.iter().filter(move |((t, _), _)| *t == table).map(|(_, row)| row);
        let mut documents = BTreeMap::new();
        for order in rows("orders") {
            let order_no = order["order_no"].as_str().unwrap().to_owned();
            let items: Vec<_> = rows("order_item").filter(|item| item["order_no"] == order["order_no"]).collect();
            let total: i64 = items.iter().filter_map(|item| item["qty"].as_i64()).sum();
            let items: Vec<_> = items.iter().map(|item| json!({ "id": item["id"], "qty": item["qty"] })).collect();
            let mut document = json!({ "order_no": order_no, "status": order["status"], "items": items, "qty_total": total });
            if let Some(note) = order.get("note") {
                document["note"] = note.clone();
            }
            documents.insert(order_no, document);
        }
        documents
    }

    pub fn text(&self) -> String {
        text_of(&self.lines)
    }
}

/// A file of these lines.
pub fn text_of(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// A door that opens and shuts.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn new(open: bool) -> Self {
        Self(Arc::new(watch::channel(open).0))
    }
    pub fn open(&self) {
        self.0.send_replace(true);
    }
    pub fn shut(&self) {
        self.0.send_replace(false);
    }
    pub async fn pass(&self) {
        // The sender lives as long as the gate.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// What a test says of one row's write.
pub enum Word {
    Pass,
    Refuse(Fault),
    /// Hold the whole batch until the gate opens.
    Hold,
}

type Judge = Box<dyn Fn(&RowId) -> Word + Send + Sync>;

/// Rows behind a judge.
pub struct JudgedRows {
    pub inner: MemoryRowStore,
    pub gate: Gate,
    /// Before anything is made durable.
    pub durable: Gate,
    judge: Mutex<Judge>,
}

impl JudgedRows {
    fn over(inner: MemoryRowStore) -> Self {
        Self { inner, gate: Gate::new(true), durable: Gate::new(true), judge: Mutex::new(Box::new(|_| Word::Pass)) }
    }
    pub fn set(&self, judge: impl Fn(&RowId) -> Word + Send + Sync + 'static) {
        *self.judge.lock().unwrap_or_else(|e| e.into_inner()) = Box::new(judge);
    }
}

impl RowStore for JudgedRows {
    fn write(&self, batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>> {
        Box::pin(async move {
            let words: Vec<_> =
                batch.iter().map(|write| self.judge.lock().unwrap_or_else(|e| e.into_inner())(&write.row)).collect();
            if words.iter().any(|word| matches!(word, Word::Hold)) {
                self.gate.pass().await;
            }
            let mut outcomes = Vec::new();
            for (write, word) in batch.into_iter().zip(words) {
                outcomes.push(match word {
                    Word::Refuse(fault) => Err(fault),
                    Word::Pass | Word::Hold => self.inner.write(vec![write]).await.remove(0),
                });
            }
            outcomes
        })
    }
    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>> {
        self.inner.read(rows)
    }
    fn write_checked(&self, write: CheckedWrite) -> Answer<'_, Result<Checked, Fault>> {
        self.inner.write_checked(write)
    }
    fn scan(
        &self,
        kind: Name,
        from: Option<widerow::domain::ids::RowKey>,
        to: Option<widerow::domain::ids::RowKey>,
        max: usize,
    ) -> Answer<'_, Result<Page, Fault>> {
        self.inner.scan(kind, from, to, max)
    }
    fn purge(&self, row: RowId, horizon: Horizon) -> Answer<'_, Result<widerow::domain::row::Purged, Fault>> {
        self.inner.purge(row, horizon)
    }
    fn meta(&self, key: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        self.inner.meta(key)
    }
    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Answer<'_, Result<bool, Fault>> {
        self.inner.set_meta(key, expected, value)
    }
    fn make_durable(&self) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            self.durable.pass().await;
            self.inner.make_durable().await
        })
    }
    fn losses(&self) -> u64 {
        self.inner.losses()
    }
    fn approximate_rows(&self, kind: Name) -> Option<u64> {
        self.inner.approximate_rows(kind)
    }
}

/// Documents behind a gate, with every write that was answered.
pub struct GatedSink {
    pub inner: MemoryDocuments,
    /// Before the write is done.
    pub before: Gate,
    /// After it is done and before it is answered.
    pub after: Gate,
    /// Writes handed in, with their versions.
    pub came: Mutex<Vec<(String, RowVersion, Option<Value>)>>,
    /// So many calls to come panic.
    pub panics: AtomicUsize,
    /// So many calls to come block their thread, as no sink should, until they are let go.
    pub blocks: AtomicUsize,
    let_go: (Mutex<bool>, std::sync::Condvar),
}

impl GatedSink {
    fn new() -> Self {
        let (before, after) = (Gate::new(true), Gate::new(true));
        Self {
            inner: MemoryDocuments::new(),
            before,
            after,
            came: Mutex::default(),
            panics: AtomicUsize::new(0),
            blocks: AtomicUsize::new(0),
            let_go: Default::default(),
        }
    }
    /// Lets blocked threads go on.
    pub fn let_go(&self) {
        *self.let_go.0.lock().unwrap() = true;
        self.let_go.1.notify_all();
    }
    pub fn came(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

fn one_less(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Sink for GatedSink {
    fn kind(&self) -> &'static str {
        "gated"
    }
    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(async move {
            let parsed = |write: &SinkWrite| match &write.body {
                Body::Index(text) => Some(serde_json::from_slice(text).unwrap()),
                Body::Delete => None,
            };
            self.came.lock().unwrap().extend(batch.iter().map(|w| (w.id.clone(), w.version, parsed(w))));
            assert!(!one_less(&self.panics), "scripted panic in the sink");
            if one_less(&self.blocks) {
                drop(self.let_go.1.wait_while(self.let_go.0.lock().unwrap(), |gone| !*gone).unwrap());
            }
            self.before.pass().await;
            let outcomes = self.inner.write(batch).await;
            self.after.pass().await;
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
        self.begin_at(0, None).await;
    }

    /// The partition is here from this record on, of a log that ends there, where the source can tell.
    pub async fn begin_at(&self, next: i64, end: Option<i64>) {
        let assigned = Assigned {
            partition: Self::partition(),
            start: NextOffset(next),
            partitions: 1,
            epochs: Epochs::default(),
            high_watermark: end,
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

/// A folder in which the real binary runs: `config.yaml`, `records.jsonl`, and what it makes of them.
pub struct Site {
    pub dir: TempDir,
}

/// How one run of the binary ended.
pub struct Ran {
    pub code: Option<i32>,
    pub summary: Value,
    pub log: String,
}

impl Site {
    pub fn new(config: &str, records: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), config).unwrap();
        std::fs::write(dir.path().join("records.jsonl"), records).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary with `OUT` set, in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_widerow"));
        command.args(args).env("OUT", self.dir.path()).current_dir(self.dir.path());
        command.env_remove("WIDEROW_STEP").env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `run --until-idle` with more flags, and a scripted step.
    pub fn run(&self, args: &[&str], step: Option<&str>) -> Ran {
        let mut command = self.command(&[&["run", "-c", "config.yaml", "--until-idle"], args].concat());
        if let Some(step) = step {
            command.env("WIDEROW_STEP", step);
        }
        Ran::of(finished(command.spawn().unwrap(), &format!("{args:?} {step:?}")))
    }

    /// `run` in the background; the log goes to `log.txt`.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let log = std::fs::File::options().append(true).create(true).open(self.path("log.txt")).unwrap();
        self.command(&[&["run", "-c", "config.yaml"], args].concat()).stderr(log).spawn().unwrap()
    }

    /// The jsonl sink's writes in their order.
    pub fn writes(&self, line: &str) -> Vec<(String, i64, Option<Value>)> {
        let text = std::fs::read_to_string(self.path(&format!("{line}.jsonl"))).unwrap_or_default();
        // A torn last line is of a process that was killed; the next one cuts it.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let write = |line: &str| {
            let write: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let id = write["id"].as_str().unwrap().to_owned();
            let document = (write["op"] == "index").then(|| write["doc"].clone());
            (id, write["version"].as_str().unwrap().parse().unwrap(), document)
        };
        whole.lines().map(write).collect()
    }

    /// The writes folded by id. Versions of one id never fall (I4), and one version has one content.
    pub fn fold(&self, line: &str) -> BTreeMap<String, Value> {
        let mut held: BTreeMap<String, (i64, Option<Value>)> = BTreeMap::new();
        for (id, version, document) in self.writes(line) {
            if let Some((before, old)) = held.get(&id) {
                assert!(version >= *before, "{line}: version of {id} falls from {before} to {version}");
                assert!(version > *before || *old == document, "{line}: {id} has two contents under version {version}");
            }
            held.insert(id, (version, document));
        }
        held.into_iter().filter_map(|(id, (_, document))| Some((id, document?))).collect()
    }
}

/// Waits for a process, at most [`PATIENCE`]; then it is killed and its log shown.
pub fn finished(child: Child, what: &str) -> Output {
    let id = child.id();
    let (done, outcome) = std::sync::mpsc::sync_channel(1);
    let waiting = std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    let (output, late) = match outcome.recv_timeout(PATIENCE) {
        Ok(output) => (output, false),
        Err(_) => {
            signal(id, "KILL");
            (outcome.recv().unwrap(), true)
        }
    };
    waiting.join().unwrap().unwrap();
    assert!(!late, "{what} does not end\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Sends a process a signal by its name.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let summary = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        Self { code: output.status.code(), summary, log: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    /// One number of the summary.
    pub fn count(&self, path: &str) -> u64 {
        self.summary
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no {path} in {}\n{}", self.summary, self.log))
    }
}
