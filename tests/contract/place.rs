//! Where a contract runs: plain memory or an embedded store in a folder of its own, with a clock the test owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::Lane;
use widerow::domain::schema::{RowKind, Schema, VersionKind};
use widerow::domain::template::Template;
use widerow::io::embedded::{EmbeddedDocuments, EmbeddedLedger, EmbeddedQueue, EmbeddedRowStore, EmbeddedStore};
use widerow::io::jobbook::wait::Clock;
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::ports::ledger::Ledger;
use widerow::ports::queue::JobQueue;
use widerow::ports::rows::RowStore;
use widerow::ports::sink::Sink;
use widerow::settings::{OnLate, Queue, QueueKind, Retry};

pub enum Place {
    Memory,
    Embedded(TempDir),
}

impl Place {
    pub fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    pub fn store(&self) -> Option<Arc<EmbeddedStore>> {
        match self {
            Self::Memory => None,
            Self::Embedded(dir) => Some(EmbeddedStore::open(dir.path()).unwrap()),
        }
    }

    pub fn rows(&self) -> Arc<dyn RowStore> {
        match self.store() {
            None => Arc::new(MemoryRowStore::new(schema())),
            Some(store) => Arc::new(EmbeddedRowStore::open(store, schema()).unwrap()),
        }
    }

    pub fn queue(&self, settings: &Queue, clock: &TestClock) -> Arc<dyn JobQueue> {
        match self.store() {
            None => Arc::new(MemoryQueue::new(settings, clock.as_clock())),
            Some(store) => Arc::new(EmbeddedQueue::open(store, settings, clock.as_clock()).unwrap()),
        }
    }

    pub fn sink(&self, line: &str) -> Arc<dyn Sink> {
        match self.store() {
            None => Arc::new(MemoryDocuments::new()),
            Some(store) => Arc::new(EmbeddedDocuments::open(store, Name::of(line))),
        }
    }

    pub fn ledger(&self) -> Arc<dyn Ledger> {
        match self.store() {
            None => Arc::new(MemoryLedger::new()),
            Some(store) => Arc::new(EmbeddedLedger::open(store).unwrap()),
        }
    }
}

/// Runs every body on both places.
macro_rules! on_both {
    ($($body:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $body() { $crate::place::run(super::$body(&$crate::place::Place::Memory)); })*
        }
        mod embedded {
            $(#[test] fn $body() { $crate::place::run(super::$body(&$crate::place::Place::embedded())); })*
        }
    };
}
pub(crate) use on_both;

/// As an actor's thread does: one single-threaded runtime.
pub fn run<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(body)
}

/// Row kinds: `order` and `order2` by weight, `sku` by counter.
pub fn schema() -> Arc<Schema> {
    let kind = |name: &str, version| RowKind {
        name: Name::of(name),
        key: Template::parse("{id}").unwrap(),
        key_columns: vec![Name::of("id")],
        root: None,
        version,
        tables: vec![],
    };
    let kinds = [("order", VersionKind::Weight), ("order2", VersionKind::Weight), ("sku", VersionKind::Counter)];
    Arc::new(Schema::new(vec![], kinds.map(|(name, version)| kind(name, version)).into(), vec![]))
}

/// Three lanes of weights 6, 3, 1.
pub fn settings() -> Queue {
    Queue {
        kind: QueueKind::Embedded,
        lanes: [("urgent", 6), ("normal", 3), ("bulk", 1)].map(|(name, weight)| (Name::of(name), weight)).into(),
        strict: false,
        default_lane: Lane(1),
        max_pending: 5_000,
        expire_after: Duration::from_secs(1_200),
        on_late: OnLate::Run,
        lease: Duration::from_secs(30),
        retry: Retry { max: 25, base: Duration::from_secs(1), cap: Duration::from_secs(300) },
    }
}

#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub fn at(ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(ms)))
    }
    pub fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
    pub fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
    pub fn as_clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
