//! One worker of a line: takes jobs, reads rows, builds documents, writes them under the row's version.
//!
//! Keeps J3 (the row is read after the job was taken), J7, J10, K1, K4, K5, V2 (version and data of one read), V5. One
//! run is a batch: one take, one read, one write, one finish. Knows nothing of how a queue or a sink works.

use super::batching::rest_after;
use super::delivery::{Delivery, Plan, Policy, Target};

use crate::domain::breaker::{Breaker, Leave, Side};
use crate::domain::fault::{Advice, Fault};
use crate::domain::ids::{Millis, RowId, RowKey, RowVersion};
use crate::domain::line::Line;
use crate::domain::portion::Portion;
use crate::domain::row::WideRow;
use crate::domain::schema::{RowKind, Schema};
use crate::domain::steps::{self, Step};
use crate::messages::control::{Drain, Stop};
use crate::messages::observe::{ActorKind, ActorState, Observation, Observe};
use crate::ports::clock::Moment;
use crate::ports::queue::{Batch, JobQueue};
use crate::ports::rows::RowStore;
use crate::ports::sink::{Freshness, Sink};
use crate::telemetry::{JobOutcome, LineMeters, SinkAhead, StoreMeters, StoreOp};
use actix::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// An idle worker looks again at least this often: due retries have no other bell.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The longest rest of a worker after a batch that was not full: what gathers meanwhile is one read and one write, and a row
/// that changed twice is one document.
const REST_MAX: Duration = Duration::from_millis(50);
/// Jobs that a probe takes: enough to learn whether the other side is back.
const PROBE_JOBS: usize = 10;

/// What the workers of one line share.
pub struct SinkSetup {
    pub line: Line,
    pub kind: RowKind,
    pub schema: Arc<Schema>,
    pub queue: Arc<dyn JobQueue>,
    pub rows: Arc<dyn RowStore>,
    pub sink: Arc<dyn Sink>,
    /// What a worker begins with.
    pub portion: Portion,
    pub policy: Policy,
    pub lease: Duration,
    /// K5's switch at run time.
    pub skip_equal: Arc<AtomicBool>,
    /// Shared by the line's workers.
    pub breaker: LineBreaker,
    pub meters: LineMeters,
    pub store_meters: StoreMeters,
    pub clock: fn() -> Millis,
}

/// The breaker of one line with the clock it is asked by.
#[derive(Clone)]
pub struct LineBreaker {
    breaker: Arc<Mutex<Breaker>>,
    start: tokio::time::Instant,
}

impl Default for LineBreaker {
    fn default() -> Self {
        Self { breaker: Arc::default(), start: tokio::time::Instant::now() }
    }
}

impl LineBreaker {
    /// The breaker, held for a moment, and now.
    fn now(&self) -> (MutexGuard<'_, Breaker>, Duration) {
        (self.breaker.lock().unwrap_or_else(|e| e.into_inner()), self.start.elapsed())
    }
}

pub struct SinkActor {
    setup: Arc<SinkSetup>,
    portion: Portion,
    worker: usize,
    thread: usize,
    restarts: u64,
    state: ActorState,
    since: Millis,
    in_flight: u64,
    handled: u64,
    last_error: Option<String>,
    last_progress: Millis,
    busy: Duration,
    looked: Instant,
    draining: Vec<oneshot::Sender<u64>>,
}

/// How one run ended.
struct Ran {
    jobs: u64,
    /// Rows that were read, and what they weighed.
    rows: usize,
    bytes: usize,
    /// A side that does not answer: the line waits (J7).
    waiting_for: Option<(Side, Fault)>,
    took: Duration,
}

impl SinkActor {
    pub fn new(setup: Arc<SinkSetup>, worker: usize, thread: usize, restarts: u64) -> Self {
        let now = (setup.clock)();
        Self {
            portion: setup.portion,
            setup,
            worker,
            thread,
            restarts,
            state: ActorState::Running,
            since: now,
            in_flight: 0,
            handled: 0,
            last_error: None,
            last_progress: now,
            busy: Duration::ZERO,
            looked: Instant::now(),
            draining: Vec::new(),
        }
    }

    fn take(&mut self, ctx: &mut Context<Self>) {
        if !self.draining.is_empty() {
            return super::answer_all(&mut self.draining);
        }
        let leave = {
            let (mut breaker, now) = self.setup.breaker.now();
            breaker.ask(now)
        };
        let jobs = match leave {
            Leave::Take => self.portion.next(),
            Leave::Probe => self.portion.next().min(PROBE_JOBS),
            Leave::Wait(pause) => return self.wait(pause, ctx),
        };
        let setup = Arc::clone(&self.setup);
        let taking = async move {
            let asked = Moment::now();
            let taken = setup.queue.take(setup.line.name, jobs).await;
            if matches!(&taken, Ok(batch) if batch.jobs.is_empty()) {
                // Elapsed is as good as rung: look again.
                let _ = tokio::time::timeout(LOOK_AGAIN, setup.queue.wait(setup.line.name)).await;
            }
            taken.map(|batch| (batch, asked))
        };
        let taken = taking.into_actor(self).map(move |taken, act, ctx| match taken {
            Ok((batch, asked)) => act.run(batch, jobs, asked, ctx),
            Err(fault) => act.wait_for(Side::Queue, &fault, ctx),
        });
        ctx.spawn(taken);
    }

    /// `wanted`: jobs that were asked for. `asked`: before they were taken, so that their leases end no earlier than one lease
    /// after it.
    fn run(&mut self, batch: Batch, wanted: usize, asked: Moment, ctx: &mut Context<Self>) {
        self.setup.meters.jobs(JobOutcome::Parked, batch.parked);
        self.setup.meters.jobs(JobOutcome::Dropped, batch.dropped);
        if batch.jobs.is_empty() {
            let ended = {
                let (mut breaker, now) = self.setup.breaker.now();
                breaker.idle(now)
            };
            self.well_again(ended);
            return ctx.notify(Next);
        }
        self.in_flight = batch.jobs.len() as u64;
        self.last_progress = (self.setup.clock)();
        let setup = Arc::clone(&self.setup);
        let running = async move { deliver(&setup, batch, asked).await };
        let ran = running.into_actor(self).map(move |ran, act, ctx| {
            act.in_flight = 0;
            act.handled += ran.jobs;
            act.busy += ran.took;
            act.portion.weighed(ran.rows, ran.bytes);
            act.last_progress = (act.setup.clock)();
            match ran.waiting_for {
                Some((side, fault)) => act.wait_for(side, &fault, ctx),
                None => {
                    let ended = act.setup.breaker.now().0.answered();
                    act.well_again(ended);
                    act.enter(ActorState::Running);
                    let full = ran.jobs >= wanted as u64;
                    match rest_after(ran.took, REST_MAX) {
                        rest if full || rest.is_zero() => ctx.notify(Next),
                        rest => {
                            ctx.run_later(rest, Self::take);
                        }
                    }
                }
            }
        });
        ctx.spawn(ran);
    }

    /// A side did not answer: the line waits, all its workers together.
    fn wait_for(&mut self, side: Side, fault: &Fault, ctx: &mut Context<Self>) {
        let (after, attempts) = {
            let (mut breaker, now) = self.setup.breaker.now();
            (breaker.failed(side, fault.clone(), now, (self.setup.clock)()), breaker.tries())
        };
        self.setup.meters.open(true);
        crate::telemetry::WaitingFor { fault, attempts, after }.emit();
        self.wait(after, ctx);
    }

    fn wait(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        let outage = self.setup.breaker.now().0.outage().map(|outage| outage.fault.to_string());
        self.last_error = outage.or(self.last_error.take());
        self.enter(ActorState::BackingOff);
        ctx.run_later(pause, Self::take);
    }

    fn well_again(&mut self, ended: bool) {
        if ended {
            self.setup.meters.open(false);
            tracing::info!(line = %self.setup.line.name, "the line goes on");
        }
        if self.state == ActorState::BackingOff && self.setup.breaker.now().0.outage().is_none() {
            self.enter(ActorState::Running);
        }
    }

    fn enter(&mut self, state: ActorState) {
        if self.state != state {
            self.state = state;
            self.since = (self.setup.clock)();
        }
    }
}

/// One run of a batch of jobs under their leases.
async fn deliver(setup: &SinkSetup, batch: Batch, asked: Moment) -> Ran {
    let started = tokio::time::Instant::now();
    let jobs = batch.jobs.len() as u64;
    steps::reached(Step::JobTaken);
    let leases: Vec<_> = batch.jobs.iter().map(|j| (j.key.clone(), j.lease)).collect();
    let mut delivery = Delivery::new(batch.jobs, setup.policy);
    let fresh = Freshness::new(Moment::now(), Moment(asked.0 + setup.lease));
    let mut weighed = (0, 0);
    let working = async {
        let ids = delivery.rows(setup.line.kind);
        match read(setup, ids).await {
            Err(fault) => delivery.unreadable(&fault, (setup.clock)()),
            Ok(rows) => {
                steps::reached(Step::RowRead);
                weighed = (rows.len(), rows.iter().flatten().map(WideRow::weight).sum());
                let skip = setup.skip_equal.load(Ordering::Relaxed);
                let target = Target { line: &setup.line, kind: &setup.kind, schema: &setup.schema, skip };
                let plan = delivery.plan(&rows, &target, (setup.clock)());
                write(setup, &mut delivery, plan, fresh.clone()).await;
                look_behind(setup, &delivery.superseded()).await;
            }
        }
    };
    keep_leases(setup, leases, &fresh, working).await;
    // A sink that takes some and asks for fewer has slowed down by itself; its refused jobs pause on their own.
    let slowed = |fault: &Fault| fault.advice() == Advice::SlowDown && delivery.got_through();
    let mut waiting_for = delivery.waiting_for().filter(|fault| !slowed(fault)).map(|fault| (Side::Work, fault.clone()));
    match setup.queue.finish(delivery.finishes()).await {
        Ok(settled) => {
            steps::reached(Step::JobFinished);
            delivery.tell(&settled, &setup.meters);
        }
        Err(fault) => {
            // The leases run out and the jobs come again: a run may be repeated (J10).
            if !matches!(fault.advice(), Advice::Wait | Advice::SlowDown) {
                tracing::error!(line = %setup.line.name, %fault, "queue refuses verdicts, the jobs come again");
            }
            waiting_for = Some((Side::Queue, fault));
        }
    }
    let (rows, bytes) = weighed;
    Ran { jobs, rows, bytes, waiting_for, took: started.elapsed() }
}

async fn read(setup: &SinkSetup, ids: Vec<RowId>) -> Result<Vec<Option<WideRow>>, Fault> {
    let started = Instant::now();
    let rows = setup.rows.read(ids).await;
    setup.store_meters.request(StoreOp::Read, started.elapsed());
    rows
}

async fn write(setup: &SinkSetup, delivery: &mut Delivery, plan: Plan, fresh: Freshness) {
    if plan.writes.is_empty() {
        return;
    }
    steps::reached(Step::DocumentBuilt);
    let started = Instant::now();
    let outcomes = setup.sink.write_fresh(plan.writes, fresh).await;
    setup.meters.request(started.elapsed());
    steps::reached(Step::DocumentWritten);
    delivery.written(&plan.jobs, outcomes, (setup.clock)());
}

/// V5: a version comes from a row that was stored, so a row that is read after the sink told of a newer document is at least as
/// new. One that is not was lost.
async fn look_behind(setup: &SinkSetup, superseded: &[(RowKey, RowVersion)]) {
    if superseded.is_empty() {
        return;
    }
    let ids = superseded.iter().map(|(key, _)| RowId { kind: setup.line.kind, key: key.clone() });
    // Who cannot look raises no alarm: the next document of the row will.
    let Ok(rows) = read(setup, ids.collect()).await else { return };
    let version = |row: &Option<WideRow>| row.as_ref().map_or(RowVersion::default(), |row| row.version(setup.kind.version));
    let behind = superseded.iter().zip(rows.iter().map(version)).filter(|((_, held), version)| held > version);
    let behind: Vec<_> = behind.collect();
    if let Some(((row, held), version)) = behind.first() {
        SinkAhead { row, version: *version, held: *held, rows: behind.len() }.emit(&setup.meters);
    }
}

/// Progress keeps the leases: they are extended while the work goes on, and no longer.
async fn keep_leases<F: Future<Output = ()>>(
    setup: &SinkSetup,
    leases: Vec<(crate::domain::job::JobKey, crate::domain::job::Lease)>,
    fresh: &Freshness,
    working: F,
) {
    let mut working = std::pin::pin!(working);
    let mut ticks = tokio::time::interval(setup.lease / 3);
    ticks.tick().await;
    loop {
        tokio::select! {
            // Done is done, also when a beat is due.
            biased;
            () = &mut working => return,
            _ = ticks.tick() => {
                let asked = Moment::now();
                match setup.queue.extend(leases.clone()).await {
                    Ok(()) => fresh.extended(Moment::now(), Moment(asked.0 + setup.lease)),
                    Err(fault) => tracing::warn!(line = %setup.line.name, %fault, "leases cannot be extended"),
                }
            }
        }
    }
}

impl Actor for SinkActor {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        self.take(ctx);
    }
}

/// The next batch, after the thread's other actors had their turn.
#[derive(Message)]
#[rtype(result = "()")]
struct Next;

impl Handler<Next> for SinkActor {
    type Result = ();
    fn handle(&mut self, _: Next, ctx: &mut Self::Context) {
        self.take(ctx);
    }
}

impl Handler<Drain> for SinkActor {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let (done, answer) = oneshot::channel();
        self.enter(ActorState::Draining);
        self.draining.push(done);
        Box::pin(async move { answer.await.unwrap_or(0) })
    }
}

impl Handler<Stop> for SinkActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Observe> for SinkActor {
    type Result = Observation;
    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Observation {
        let looked = std::mem::replace(&mut self.looked, Instant::now()).elapsed();
        let busy = std::mem::take(&mut self.busy).as_secs_f64() / looked.as_secs_f64().max(1e-9);
        let backing_off = self.state == ActorState::BackingOff;
        Observation {
            state: self.state,
            reason: self.last_error.clone().filter(|_| backing_off).unwrap_or_default(),
            since: self.since.0,
            thread: self.thread,
            in_flight: self.in_flight,
            handled: self.handled,
            busy: busy.min(1.0),
            blocked: if backing_off { 1.0 } else { 0.0 },
            restarts: self.restarts,
            last_error: self.last_error.clone(),
            last_progress: self.last_progress.0,
            ..Observation::new(format!("sink:{}:{}", self.setup.line.name, self.worker), ActorKind::Sink, self.since)
        }
    }
}
