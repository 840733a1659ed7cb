//! What does a job cost the Redis that holds it, from offer to finish? Beside it stock Go asynq on the same server, and offers per
//! second, new and coalesced.
//!
//! Redis is the thing that does not scale by itself, so its CPU per job is the figure; the client's time stands beside it.
//! After each phase the end state is looked at: a fast queue that lost a job would count for nothing.
//! `JOBS` sets the number of jobs (default 50000).

mod common;
#[path = "../tests/stack/servers.rs"]
mod servers;

use common::measure::say;
use servers::Server;
use std::process::Command;
use std::time::{Duration, Instant};
use widerow::domain::ids::{Millis, Name, RowKey};
use widerow::domain::job::{JobKey, Lane, Load, Offer, Offered, Settled, Verdict};
use widerow::io::asynq::{AsynqQueue, Setup};
use widerow::io::jobbook::MemoryShelf;
use widerow::io::redis::Redis;
use widerow::ports::queue::{Finish, JobQueue};
use widerow::settings::{AsynqSettings, OnLate, Queue, QueueKind, RedisAddress, RedisMode, Retry};

const LINE: &str = "bench";
/// As a node does by default: what an offerer sends at once, and what a sink actor takes (`batch`).
const OFFERS_PER_BATCH: usize = 512;
const TAKEN_PER_BATCH: usize = 200;
const IN_FLIGHT: usize = 4;

fn main() {
    let jobs: usize = std::env::var("JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(50_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(jobs));
}

async fn run(jobs: usize) {
    let server = servers::redis();
    let queue = open(&server, jobs);
    say(format!("{jobs} jobs, one Redis on this machine"));
    // One round that nothing is counted of: connections, scripts, memory.
    let few = jobs / 10;
    phase(&server, "", few, offers(&queue, few, Offered::Created)).await;
    phase(&server, "", few, finishes(&queue, few, false)).await;
    let new = phase(&server, "offer, new", jobs, offers(&queue, jobs, Offered::Created)).await;
    phase(&server, "offer, coalesced", jobs, offers(&queue, jobs, Offered::Coalesced)).await;
    let done = phase(&server, "take and finish", jobs, finishes(&queue, jobs, false)).await;
    say(format!("{:<28} {:>7.2} µs of Redis CPU a job (goal 6)", "offer to finish", new + done));
    let new = phase(&server, "offer, new", jobs, offers(&queue, jobs, Offered::Created)).await;
    let done = phase(&server, "take and finish, with K5", jobs, finishes(&queue, jobs, true)).await;
    say(format!("{:<28} {:>7.2} µs of Redis CPU a job", "offer to finish, with K5", new + done));
    stock(&server, jobs).await;
}

/// Stock asynq: as many tasks through 16 senders and 64 workers.
async fn stock(server: &Server, jobs: usize) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".stack/bin/asynqpeer");
    let _ = std::fs::create_dir_all(root.join(".stack/bin"));
    let mut build = Command::new("go");
    build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(root.join("peers/asynq"));
    if !build.status().is_ok_and(|status| status.success()) {
        say("stock asynq: left out, Go is not installed");
        return;
    }
    let before = cpu(server).await;
    let output = Command::new(&program).args([&server.address(), "bench", "stock", &jobs.to_string()]).output().unwrap();
    let spent = cpu(server).await - before;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = |what: &str| jobs as f64 / told[what].as_f64().unwrap_or(f64::NAN);
    say(format!(
        "{:<28} {:>7.2} µs of Redis CPU a job, {:.0} offers/s, {:.0} jobs/s",
        "stock asynq, offer to finish",
        spent * 1e6 / jobs as f64,
        rate("offered_s"),
        rate("worked_s")
    ));
}

/// Runs a phase; Redis CPU a job, in µs.
async fn phase(server: &Server, name: &str, jobs: usize, work: impl Future<Output = ()>) -> f64 {
    let (before, began) = (cpu(server).await, Instant::now());
    work.await;
    let (took, spent) = (began.elapsed().as_secs_f64(), cpu(server).await - before);
    let each = spent * 1e6 / jobs as f64;
    if !name.is_empty() {
        say(format!("{name:<28} {each:>7.2} µs of Redis CPU a job, {:>8.0} a second", jobs as f64 / took));
    }
    each
}

async fn offers(queue: &AsynqQueue, jobs: usize, want: Offered) {
    let offer = |i: usize| Offer {
        key: JobKey { line: Name::of(LINE), row: RowKey::new(&format!("{:04}:{i:012}", i % 10_000)) },
        lane: Lane((i % 3) as u8),
        load: Load { oldest: Some(Millis(1_740_794_401_000)), newest: Some(Millis(1_740_794_402_000)), ..Load::default() },
    };
    let batches: Vec<Vec<Offer>> = (0..jobs.div_ceil(OFFERS_PER_BATCH))
        .map(|b| (b * OFFERS_PER_BATCH..((b + 1) * OFFERS_PER_BATCH).min(jobs)).map(offer).collect())
        .collect();
    let send = async |part: usize| {
        for batch in batches.iter().skip(part).step_by(IN_FLIGHT) {
            let answers = queue.offer(batch.clone()).await.unwrap();
            assert!(answers.iter().all(|answer| *answer == want), "not every offer was {want:?}");
        }
    };
    futures_util::future::join_all((0..IN_FLIGHT).map(send)).await;
    let waiting: u64 = queue.counts(Name::of(LINE)).await.unwrap().iter().map(|lane| lane.waiting).sum();
    assert_eq!(waiting, jobs as u64);
}

async fn finishes(queue: &AsynqQueue, jobs: usize, documents: bool) {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let work = async |_: usize| {
        loop {
            let taken = queue.take(Name::of(LINE), TAKEN_PER_BATCH).await.unwrap().jobs;
            if taken.is_empty() {
                return;
            }
            let document = documents.then_some(0x1234_5678_9abc_def0);
            let ends: Vec<Finish> = taken
                .into_iter()
                .map(|job| Finish { key: job.key, lease: job.lease, verdict: Verdict::Done, document })
                .collect();
            let settled = queue.finish(ends).await.unwrap();
            done.fetch_add(settled.iter().filter(|s| **s == Settled::Applied).count(), std::sync::atomic::Ordering::Relaxed);
        }
    };
    futures_util::future::join_all((0..IN_FLIGHT).map(work)).await;
    assert_eq!(done.into_inner(), jobs, "each job ended once");
    let left: u64 = queue.counts(Name::of(LINE)).await.unwrap().iter().map(|lane| lane.waiting + lane.retry + lane.active).sum();
    assert_eq!(left, 0);
}

/// Seconds of CPU the server has spent.
async fn cpu(server: &Server) -> f64 {
    let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut connection).await.unwrap();
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(0.0);
    field("used_cpu_user:") + field("used_cpu_sys:")
}

fn open(server: &Server, jobs: usize) -> AsynqQueue {
    let redis = RedisAddress {
        mode: RedisMode::Single,
        hosts: vec![server.address()],
        database: 0,
        username: None,
        password: None,
        tls: None,
        timeout: Duration::from_secs(20),
    };
    let settings = Queue {
        kind: QueueKind::Embedded,
        lanes: [("urgent", 6), ("normal", 3), ("bulk", 1)].map(|(name, weight)| (Name::of(name), weight)).into(),
        strict: false,
        default_lane: Lane(1),
        max_pending: jobs + 1,
        expire_after: Duration::from_secs(1_200),
        on_late: OnLate::Run,
        lease: Duration::from_secs(30),
        retry: Retry { max: 25, base: Duration::from_secs(1), cap: Duration::from_secs(300) },
    };
    let way = Redis::new(&redis).unwrap();
    let asynq = AsynqSettings { redis, queue: "{line}_{lane}".into(), allow_eviction: false };
    let (queue, overflow) = (settings, Box::<MemoryShelf>::default());
    AsynqQueue::new(Setup { redis: way, asynq, queue, lines: vec![Name::of(LINE)], overflow, clock: None }).unwrap()
}
