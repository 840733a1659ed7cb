//! A row store and a sink that do as the test says: held, refused, lost.

use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use widerow::domain::fault::Fault;
use widerow::domain::ids::{Name, RowId, RowVersion};
use widerow::domain::row::WideRow;
use widerow::io::memory::{MemoryDocuments, MemoryRowStore};
use widerow::ports::Answer;
use widerow::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, WriteOutcome};
use widerow::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};

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
    pub(super) fn over(inner: MemoryRowStore) -> Self {
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
    /// How many writes each call handed in.
    pub calls: Mutex<Vec<usize>>,
    /// So many calls to come panic.
    pub panics: AtomicUsize,
    /// So many calls to come block their thread, as no sink should, until they are let go.
    pub blocks: AtomicUsize,
    let_go: (Mutex<bool>, std::sync::Condvar),
}

impl GatedSink {
    pub(super) fn new() -> Self {
        let (before, after) = (Gate::new(true), Gate::new(true));
        Self {
            inner: MemoryDocuments::new(),
            before,
            after,
            came: Mutex::default(),
            calls: Mutex::default(),
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
            self.calls.lock().unwrap().push(batch.len());
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
