//! Where a contract runs: plain memory, an embedded store in a folder of its own, or a real Redis with keys of its own; with a
//! clock the test owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::Lane;
use widerow::domain::schema::{RowKind, Schema, VersionKind};
use widerow::domain::template::Template;
#[cfg(feature = "redis")]
use widerow::io::asynq::{AsynqQueue, Setup};
#[cfg(feature = "redis")]
use widerow::io::embedded::overflow_shelf;
use widerow::io::embedded::{EmbeddedDocuments, EmbeddedLedger, EmbeddedQueue, EmbeddedRowStore, EmbeddedStore};
#[cfg(feature = "redis")]
use widerow::io::jobbook::Shelf;
use widerow::io::jobbook::wait::Clock;
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
#[cfg(feature = "redis")]
use widerow::io::redis::Redis;
use widerow::ports::ledger::Ledger;
use widerow::ports::queue::JobQueue;
use widerow::ports::rows::RowStore;
use widerow::ports::sink::Sink;
#[cfg(feature = "redis")]
use widerow::settings::{AsynqSettings, RedisAddress, RedisMode};
use widerow::settings::{OnLate, Queue, QueueKind, Retry};

pub enum Place {
    Memory,
    Embedded(TempDir),
    /// Jobs on Redis (or a cluster) under a prefix; what overflows lies in the folder.
    #[cfg(feature = "redis")]
    Redis(TempDir, String, crate::servers::Kind),
    /// The same on one Redis; what overflows lies in a real MariaDB, under the prefix as the node.
    #[cfg(all(feature = "mysql", feature = "redis"))]
    Mysql(String),
}

impl Place {
    #[cfg(feature = "redis")]
    pub fn redis() -> Self {
        Self::redis_of(crate::servers::Kind::Redis)
    }

    #[cfg(feature = "redis")]
    pub fn redis_of(kind: crate::servers::Kind) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        Self::Redis(tempfile::tempdir().unwrap(), format!("p{}", NUMBER.fetch_add(1, Ordering::SeqCst)), kind)
    }

    #[cfg(all(feature = "mysql", feature = "redis"))]
    pub fn mysql() -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        Self::Mysql(format!("m{}", NUMBER.fetch_add(1, Ordering::SeqCst)))
    }

    pub fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    pub fn store(&self) -> Option<Arc<EmbeddedStore>> {
        match self {
            Self::Memory => None,
            #[cfg(all(feature = "mysql", feature = "redis"))]
            Self::Mysql(..) => None,
            #[cfg(feature = "redis")]
            Self::Redis(dir, ..) => Some(EmbeddedStore::open(dir.path()).unwrap()),
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
        #[cfg(feature = "redis")]
        if let Self::Redis(dir, prefix, kind) = self {
            let store = EmbeddedStore::open(dir.path()).unwrap();
            return Arc::new(asynq(settings, clock, (prefix, *kind), overflow_shelf(store, settings)));
        }
        #[cfg(all(feature = "mysql", feature = "redis"))]
        if let Self::Mysql(prefix) = self {
            let shelf = widerow::io::mysql::overflow_shelf(&ledger_in_mysql(), prefix, settings).unwrap();
            return Arc::new(asynq(settings, clock, (prefix, crate::servers::Kind::Redis), shelf));
        }
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

/// A table of the shared MariaDB.
#[cfg(all(feature = "mysql", feature = "redis"))]
pub fn ledger_in_mysql() -> widerow::settings::MysqlSettings {
    static MADE: std::sync::Once = std::sync::Once::new();
    let server = crate::servers::shared(crate::servers::Kind::Mariadb);
    MADE.call_once(|| drop(server.script("sql", &["-e", "create database aside"])));
    let url = format!("mysql://widerow:widerow@{}/aside", server.address());
    widerow::settings::MysqlSettings { url: widerow::settings::Secret::new(url), tls: None, table: "widerow_overflow".to_owned() }
}

/// A queue of the shared Redis.
#[cfg(feature = "redis")]
fn asynq(
    settings: &Queue,
    clock: &TestClock,
    (prefix, kind): (&str, crate::servers::Kind),
    overflow: Box<dyn Shelf>,
) -> AsynqQueue {
    let cluster = kind == crate::servers::Kind::RedisCluster;
    let redis = RedisAddress {
        mode: if cluster { RedisMode::Cluster } else { RedisMode::Single },
        hosts: vec![crate::servers::shared(kind).address()],
        database: 0,
        username: None,
        password: None,
        tls: None,
        timeout: Duration::from_secs(20),
    };
    let way = Redis::new(&redis).unwrap();
    let asynq = AsynqSettings { redis, queue: format!("{prefix}-{{line}}_{{lane}}"), allow_eviction: false };
    let (queue, clock) = (settings.clone(), Some(clock.as_clock()));
    AsynqQueue::new(Setup { redis: way, asynq, queue, lines: vec![], overflow, own: None, clock }).unwrap()
}

/// Runs every body on Redis.
#[cfg(feature = "redis")]
macro_rules! on_redis {
    ($($body:ident),* $(,)?) => {
        mod asynq {
            $(#[test] fn $body() { $crate::place::run(super::$body(&$crate::place::Place::redis())); })*
        }
    };
}

/// Runs every body on Redis, with the overflow in MariaDB.
#[cfg(all(feature = "mysql", feature = "redis"))]
macro_rules! on_mysql {
    ($($body:ident),* $(,)?) => {
        mod mysql {
            $(#[test] fn $body() { $crate::place::run(super::$body(&$crate::place::Place::mysql())); })*
        }
    };
}
#[cfg(all(feature = "mysql", feature = "redis"))]
pub(crate) use on_mysql;

/// Runs every body on a Redis Cluster.
#[cfg(feature = "redis")]
macro_rules! on_cluster {
    ($($body:ident),* $(,)?) => {
        mod cluster {
            use $crate::place::{Place, run};
            $(#[test] fn $body() { run(super::$body(&Place::redis_of($crate::servers::Kind::RedisCluster))); })*
        }
    };
}
#[cfg(feature = "redis")]
pub(crate) use {on_cluster, on_redis};

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
