//! The queue on a real Redis beyond its contract: asynq's own tools and workers, faults of the server, random load.
//!
//! The contract's bodies and the random histories run on Redis too (`tests/contract`).

mod batches;
mod faults;
mod order;
mod peer;
mod places;
mod soundness;
mod stress;
mod workers;

use crate::servers::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use widerow::domain::ids::{Millis, Name, RowKey};
use widerow::domain::job::{JobKey, Lane, Lease, Load, Offer, Offered, Settled, Verdict};
use widerow::io::asynq::{AsynqQueue, Setup};
use widerow::io::jobbook::MemoryShelf;
use widerow::io::redis::Redis;
use widerow::ports::ledger::Ledger;
use widerow::ports::queue::{Finish, JobQueue, Taken};
use widerow::settings::{AsynqSettings, OnLate, Queue, QueueKind, RedisAddress, RedisMode, Retry, Secret, Tls};

const LINE: &str = "search";

/// A clock that a test moves; without one the server's own clock counts.
#[derive(Clone)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
    fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// What a test's queue differs in.
struct Wish {
    prefix: &'static str,
    clock: Option<TestClock>,
    login: Option<(&'static str, &'static str)>,
    allow_eviction: bool,
    max_pending: usize,
    timeout: Duration,
    lease: Duration,
    tls: Option<Tls>,
    own: Option<Arc<dyn Ledger>>,
}

impl Default for Wish {
    fn default() -> Self {
        let timeout = Duration::from_secs(20);
        let lease = Duration::from_secs(30);
        Self {
            prefix: "",
            clock: None,
            login: None,
            allow_eviction: false,
            max_pending: 5_000,
            timeout,
            lease,
            tls: None,
            own: None,
        }
    }
}

/// A plain server at `host:port`.
fn address_of(host: &str) -> RedisAddress {
    let (hosts, timeout) = (vec![host.to_owned()], Duration::from_secs(20));
    RedisAddress { mode: RedisMode::Single, hosts, database: 0, username: None, password: None, tls: None, timeout }
}

fn address(server: &Server, wish: &Wish) -> RedisAddress {
    RedisAddress {
        username: wish.login.map(|(user, _)| user.to_owned()),
        password: wish.login.map(|(_, password)| Secret::new(password.to_owned())),
        tls: wish.tls.clone(),
        timeout: wish.timeout,
        ..address_of(&server.address())
    }
}

fn queue(server: &Server, wish: Wish) -> AsynqQueue {
    queue_at(address(server, &wish), wish)
}

fn queue_at(redis: RedisAddress, wish: Wish) -> AsynqQueue {
    let settings = Queue {
        kind: QueueKind::Embedded,
        lanes: [("urgent", 6), ("normal", 3), ("bulk", 1)].map(|(name, weight)| (Name::of(name), weight)).into(),
        strict: false,
        default_lane: Lane(1),
        max_pending: wish.max_pending,
        expire_after: Duration::from_secs(1_200),
        on_late: OnLate::Run,
        lease: wish.lease,
        retry: Retry { max: 25, base: Duration::from_secs(1), cap: Duration::from_secs(300) },
    };
    let way = Redis::new(&redis).unwrap();
    let pattern = format!("{}{{line}}_{{lane}}", wish.prefix);
    let asynq = AsynqSettings { redis, queue: pattern, allow_eviction: wish.allow_eviction };
    let clock = wish.clock.map(|clock| Arc::new(move || clock.now()) as widerow::io::jobbook::wait::Clock);
    let overflow = Box::<MemoryShelf>::default();
    AsynqQueue::new(Setup { redis: way, asynq, queue: settings, lines: vec![Name::of(LINE)], overflow, own: wish.own, clock })
        .unwrap()
}

fn key(row: &str) -> JobKey {
    JobKey { line: Name::of(LINE), row: RowKey::new(row) }
}

fn offer(row: &str, lane: u8) -> Offer {
    Offer { key: key(row), lane: Lane(lane), load: Load::default() }
}

async fn offer_one(queue: &AsynqQueue, row: &str, lane: u8) -> Offered {
    queue.offer(vec![offer(row, lane)]).await.unwrap().remove(0)
}

async fn take(queue: &AsynqQueue, max: usize) -> Vec<Taken> {
    queue.take(Name::of(LINE), max).await.unwrap().jobs
}

async fn finish(queue: &AsynqQueue, job: &Taken, verdict: Verdict) -> Settled {
    let (key, lease): (JobKey, Lease) = (job.key.clone(), job.lease);
    queue.finish(vec![Finish { key, lease, verdict, document: None }]).await.unwrap().remove(0)
}

/// A plain connection beside the queue's.
async fn plain(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(connection: &mut redis::aio::MultiplexedConnection, words: &[&str]) -> T {
    let mut cmd = redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    cmd.query_async(connection).await.unwrap_or_else(|e| panic!("{words:?}: {e}"))
}
