//! What does a job cost the Redis that holds it, from offer to finish? Beside it stock Go asynq on the same server, in turns, with
//! and without its unique lock; the floor, which is asynq's commands alone; and offers per second, new and coalesced.
//!
//! Redis is the thing that does not scale by itself, so its CPU per job is the figure; the client's time stands beside it.
//! After each phase the end state is looked at: a fast queue that lost a job would count for nothing.
//! Whatever else runs on the machine makes a turn dearer, never cheaper: many short rounds are run, what is compared runs turn
//! beside turn, and the cheapest turn stands beside the median.
//! `--jobs` of each turn (default 30000), `--rounds` (default 7).

#[path = "queue/bare.rs"]
mod bare;
mod common;
#[path = "../tests/stack/servers.rs"]
mod servers;

use bare::Bare;
use common::measure::{Report, argument, median, say};
use servers::Server;
use std::path::{Path, PathBuf};
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
/// What a job may cost from offer to finish, in µs of Redis CPU, and the offers a second there should be.
const GOAL_JOB_US: f64 = 10.0;
const GOAL_NEW: f64 = 50_000.0;
const GOAL_COALESCED: f64 = 130_000.0;

fn main() {
    let (jobs, rounds) = (argument("--jobs", 30_000), argument("--rounds", 7));
    let mut report = Report::new("queue");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(jobs, rounds, &mut report));
    report.finish();
}

/// One turn's figures: µs of Redis CPU a job, and how many a second.
#[derive(Clone, Copy)]
struct Turn {
    each: f64,
    rate: f64,
}

impl Turn {
    /// The same jobs' next phase.
    fn and(self, next: Self) -> Self {
        Self { each: self.each + next.each, rate: 1.0 / (1.0 / self.rate + 1.0 / next.rate) }
    }
}

async fn run(jobs: usize, rounds: usize, report: &mut Report) {
    let server = servers::redis();
    // A rewrite of Redis's log would fall on one side or the other by chance.
    let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut no_rewrite = redis::cmd("CONFIG");
    no_rewrite.arg("SET").arg("auto-aof-rewrite-percentage").arg(0).exec_async(&mut connection).await.unwrap();
    let bare = Bare::new(connection).await;
    let queue = open(&server, jobs);
    let peer = stock_peer();
    if peer.is_none() {
        say("stock asynq: left out, Go is not installed");
    }
    report.put("jobs", jobs);
    say(format!("{jobs} jobs a turn, {rounds} rounds, one Redis on this machine"));
    let mut sheet = Sheet::default();
    // The first round is not counted: connections, scripts, memory.
    for round in 0..=rounds {
        let jobs = if round == 0 { jobs / 10 } else { jobs };
        let mut kept = Sheet::default();
        // Each side goes first, second and last equally often.
        let mut sides = ["ours", "stock", "bare"];
        sides.rotate_left(round % 3);
        for side in sides {
            match (side, &peer) {
                ("ours", _) => own_turn(&server, &queue, jobs, &mut kept).await,
                ("bare", _) => kept.add("asynq's commands alone", bare_turn(&server, &bare, jobs).await),
                (_, Some(program)) => kept.add("stock asynq", stock(&server, program, "plain", jobs).await),
                (_, None) => {}
            }
        }
        let new = phase(&server, jobs, offers(&queue, jobs, Offered::Created)).await;
        let done = phase(&server, jobs, finishes(&queue, jobs, true)).await;
        kept.add("offer to finish, with K5", new.and(done));
        if let Some(program) = &peer {
            kept.add("stock asynq, unique", stock(&server, program, "unique", jobs).await);
        }
        if round > 0 {
            sheet.rows.extend(kept.rows);
        }
    }
    sheet.tell(report);
}

async fn own_turn(server: &Server, queue: &AsynqQueue, jobs: usize, kept: &mut Sheet) {
    let new = phase(server, jobs, offers(queue, jobs, Offered::Created)).await;
    kept.add("offer, coalesced", phase(server, jobs, offers(queue, jobs, Offered::Coalesced)).await);
    let done = phase(server, jobs, finishes(queue, jobs, false)).await;
    kept.add("offer, new", new);
    kept.add("take and finish", done);
    kept.add("offer to finish", new.and(done));
}

async fn bare_turn(server: &Server, bare: &Bare, jobs: usize) -> Turn {
    let new = phase(server, jobs, bare.offer(jobs)).await;
    new.and(phase(server, jobs, bare.finish(jobs)).await)
}

/// Figures of all rounds by what they are of.
#[derive(Default)]
struct Sheet {
    rows: Vec<(&'static str, Turn)>,
}

impl Sheet {
    fn add(&mut self, what: &'static str, turn: Turn) {
        self.rows.push((what, turn));
    }
    fn all(&self, what: &str, of: impl Fn(&Turn) -> f64) -> Vec<f64> {
        self.rows.iter().filter(|(name, _)| *name == what).map(|(_, turn)| of(turn)).collect()
    }

    /// Medians of the rounds, the goals beside them, and the ratios of turns of the same round.
    fn tell(&self, report: &mut Report) {
        let goals = [
            ("offer, new", format!("goal {GOAL_NEW:.0} a second")),
            ("offer, coalesced", format!("goal {GOAL_COALESCED:.0} a second")),
            ("take and finish", String::new()),
            ("offer to finish", format!("goal {GOAL_JOB_US} µs")),
            ("asynq's commands alone", String::from("the floor: offer to finish, nothing looked for or checked")),
            ("offer to finish, with K5", String::new()),
            ("stock asynq", String::from("offer to finish")),
            ("stock asynq, unique", String::from("offer to finish, each under its lock")),
        ];
        for (what, goal) in goals {
            let costs = self.all(what, |turn| turn.each);
            if costs.is_empty() {
                continue;
            }
            let (each, least) = (median(costs.clone()), costs.into_iter().fold(f64::INFINITY, f64::min));
            let rate = median(self.all(what, |turn| turn.rate));
            let line = format!("{what:<26} {each:>7.2} µs of Redis CPU a job (least {least:.2}), {rate:>8.0} a second  {goal}");
            say(line.trim_end());
            let name = what.replace(", ", "_").replace(' ', "_").replace('\'', "").to_lowercase();
            report.put(&format!("{name}_us"), each);
            report.put(&format!("{name}_least_us"), least);
            report.put(&format!("{name}_per_second"), rate);
        }
        let ours = self.all("offer to finish", |turn| turn.each);
        for other in ["stock asynq", "stock asynq, unique", "asynq's commands alone"] {
            let ratios: Vec<f64> = self.all(other, |turn| turn.each).iter().zip(&ours).map(|(other, own)| other / own).collect();
            if !ratios.is_empty() {
                let rounds = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ");
                let ratio = median(ratios);
                say(format!("ratio, ours : {other:<22} 1 : {ratio:.2} of Redis CPU a job, same run (rounds: {rounds})"));
                let name = other.replace(", ", "_").replace(' ', "_").replace('\'', "");
                report.put(&format!("{name}_of_ours"), ratio);
            }
        }
    }
}

/// The program of `peers/asynq`, built; `None` without Go.
fn stock_peer() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".stack/bin/asynqpeer");
    let _ = std::fs::create_dir_all(root.join(".stack/bin"));
    let mut build = Command::new("go");
    build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(root.join("peers/asynq"));
    build.status().is_ok_and(|status| status.success()).then_some(program)
}

/// Stock asynq: as many tasks through 16 senders and 64 workers. `how`: plain, or unique with asynq's lock on each task.
async fn stock(server: &Server, program: &Path, how: &str, jobs: usize) -> Turn {
    let before = cpu(server).await;
    let output = Command::new(program).args([&server.address(), "bench", "stock", &jobs.to_string(), how]).output().unwrap();
    let spent = cpu(server).await - before;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let took = |what: &str| told[what].as_f64().unwrap_or(f64::NAN);
    Turn { each: spent * 1e6 / jobs as f64, rate: jobs as f64 / (took("offered_s") + took("worked_s")) }
}

async fn phase(server: &Server, jobs: usize, work: impl Future<Output = ()>) -> Turn {
    let (before, began) = (cpu(server).await, Instant::now());
    work.await;
    let (took, spent) = (began.elapsed().as_secs_f64(), cpu(server).await - before);
    Turn { each: spent * 1e6 / jobs as f64, rate: jobs as f64 / took }
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
    AsynqQueue::new(Setup { redis: way, asynq, queue, lines: vec![Name::of(LINE)], overflow, own: None, clock: None }).unwrap()
}
