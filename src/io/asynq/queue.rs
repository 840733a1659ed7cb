//! The port, and what its parts share: connection, names, lines met so far, what lies aside, the life.

use super::former::Former;
use super::guard;
use super::keys::{self, Names};
use super::overflow::Overflow;
use super::scripts::{Scope, Scripts};
use super::servers::ServerEntry;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{JobKey, Lane, Lease, Offer, Offered, Settled};
use crate::io::jobbook::wait::{Bells, Clock, wall_clock};
use crate::io::jobbook::{Outlook, Shelf};
use crate::io::redis::Redis;
use crate::ports::Answer;
use crate::ports::ledger::Ledger;
use crate::ports::queue::{Batch, Finish, JobQueue, LaneCount, Listed, Which};
use crate::settings::{AsynqSettings, OnLate, Queue};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a queue's name is trusted to be known to asynq's tools: somebody may have removed it there.
const ANNOUNCED_FOR: Duration = Duration::from_secs(30);

/// What the queue is made of.
pub struct Setup {
    pub redis: Redis,
    pub asynq: AsynqSettings,
    pub queue: Queue,
    /// The configured lines; others are met when they come.
    pub lines: Vec<Name>,
    /// Where spilled and parked jobs lie.
    pub overflow: Box<dyn Shelf>,
    /// Notes in the node's own folder, which no two living processes have open: its former lives are known by them.
    /// `None`: the jobs those had in hand come back when their leases end.
    pub own: Option<Arc<dyn Ledger>>,
    /// `None`: the server's own clock.
    pub clock: Option<Clock>,
}

/// The door to the jobs. A clone is the same queue.
#[derive(Clone)]
pub struct AsynqQueue {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) redis: Redis,
    pub(super) names: Names,
    pub(super) scripts: Scripts,
    pub(super) rules: Rules,
    pub(super) clock: Option<Clock>,
    /// For what this process waits or notes by itself.
    wall: Clock,
    pub(super) bells: Bells,
    pub(super) lines: Mutex<HashMap<Name, LineState>>,
    pub(super) overflow: Arc<Mutex<Overflow>>,
    /// Jobs that lie aside, of all lines met so far.
    aside: Arc<AtomicU64>,
    /// Held while rows come back from the overflow: an offer must see them there or in their lane, not between.
    pub(super) gate: tokio::sync::Mutex<()>,
    pub(super) next_lease: AtomicU64,
    pub(super) former: Former,
    /// Tells the overflow rows of this process from those of others.
    pub(super) token: String,
    looked: AtomicBool,
    pub(super) life: Mutex<Option<String>>,
    pub(super) server: ServerEntry,
}

#[derive(Default)]
pub(super) struct LineState {
    pub(super) credits: String,
    pub(super) diversion: super::diversion::Diversion,
    announced: Option<Instant>,
    /// What former lives of this node had in hand has been given back.
    recalled: bool,
    /// Where the sweep of the book goes on, per scope.
    pub(super) sweep: HashMap<usize, String>,
}

/// What the queue needs of the configuration.
pub(super) struct Rules {
    pub(super) weights: Vec<u32>,
    pub(super) strict: bool,
    pub(super) default_lane: Lane,
    pub(super) max_pending: usize,
    pub(super) expire_after: i64,
    pub(super) on_late: OnLate,
    pub(super) lease: i64,
    pub(super) retries: u32,
    allow_eviction: bool,
}

impl Rules {
    fn new(queue: &Queue, asynq: &AsynqSettings) -> Self {
        let weights: Vec<u32> = queue.lanes.iter().map(|(_, weight)| (*weight).max(1)).collect();
        let weights = if weights.is_empty() { vec![1] } else { weights };
        Self {
            strict: queue.strict,
            default_lane: Lane(queue.default_lane.0.min((weights.len() - 1) as u8)),
            max_pending: queue.max_pending.max(1),
            expire_after: millis(queue.expire_after),
            on_late: queue.on_late,
            lease: millis(queue.lease),
            retries: queue.retry.max,
            allow_eviction: asynq.allow_eviction,
            weights,
        }
    }

    pub(super) fn lane(&self, lane: Lane) -> Lane {
        if usize::from(lane.0) < self.weights.len() { lane } else { self.default_lane }
    }

    /// J9: whether a lane with so many jobs may take some back from the overflow.
    pub(super) fn is_low(&self, pending: u64) -> bool {
        pending == 0 || pending.saturating_mul(2) < self.max_pending as u64
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One number or text as an argument.
pub(super) fn arg(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

impl AsynqQueue {
    /// The queue of one Redis; nothing is reached before the first call.
    ///
    /// # Errors
    /// `invalid` for a queue name that asynq's tools could not show.
    pub fn new(setup: Setup) -> Result<Self, Fault> {
        let Setup { redis, asynq, queue, lines, overflow, own, clock } = setup;
        let lanes: Vec<Name> = queue.lanes.iter().map(|(name, _)| *name).collect();
        let lanes = if lanes.is_empty() { vec![Name::of("normal")] } else { lanes };
        let names = Names::new(&asynq.queue, lanes);
        for line in &lines {
            let name = names.queue(*line, Lane(0));
            if name.len() > 200 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-~".contains(&b)) {
                let what =
                    format!("queue name `{name}`; allowed: letters, digits and _ . - ~ in `queue.asynq.queue`, at most 200");
                return Err(Fault::new(FaultKind::Invalid, redis.place(), what));
            }
        }
        let chance = RandomState::new().build_hasher().finish();
        let server = ServerEntry::new(chance, &queue, &names, &lines);
        // Leases pass through Lua's numbers: whole below 2^53.
        let first_lease = (chance >> 12) + 1;
        let known = Inner {
            rules: Rules::new(&queue, &asynq),
            overflow: Arc::new(Mutex::new(Overflow::new(overflow, names.lanes()))),
            aside: Arc::default(),
            scripts: Scripts::new(),
            wall: clock.clone().unwrap_or_else(wall_clock),
            bells: Bells::default(),
            lines: Mutex::new(lines.into_iter().map(|line| (line, LineState::default())).collect()),
            gate: tokio::sync::Mutex::default(),
            next_lease: AtomicU64::new(first_lease),
            former: Former::new(own, first_lease),
            token: format!("{chance:x}"),
            looked: AtomicBool::new(false),
            life: Mutex::default(),
            redis,
            names,
            clock,
            server,
        };
        Ok(Self { inner: Arc::new(known) })
    }

    pub(super) fn now(&self) -> Millis {
        (self.inner.wall)()
    }

    pub(super) fn scopes(&self, line: Name) -> Vec<Scope> {
        Scope::of(line, &self.inner.names, self.inner.redis.is_cluster())
    }

    /// Runs a script of one scope.
    pub(super) async fn run<T: redis::FromRedisValue + Send + 'static>(
        &self,
        scope: &Scope,
        script: &crate::io::redis::Script,
        args: Vec<Vec<u8>>,
    ) -> Result<T, Fault> {
        let Inner { redis, names, clock, .. } = &*self.inner;
        scope.call(redis, names, clock.as_ref(), script, args).await
    }

    /// Runs a step on what lies aside, away from this thread: it may wait for a disk.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Overflow) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (overflow, aside) = (Arc::clone(&self.inner.overflow), Arc::clone(&self.inner.aside));
        let work = move || {
            let mut overflow = overflow.lock().unwrap_or_else(|e| e.into_inner());
            let answer = overflow.step(step);
            aside.store(overflow.total(), Ordering::Release);
            answer
        };
        let ended = |e: tokio::task::JoinError| Fault::new(FaultKind::Panicked, "overflow", e);
        tokio::task::spawn_blocking(work).await.map_err(ended)?
    }

    pub(super) fn any_aside(&self) -> bool {
        self.inner.aside.load(Ordering::Acquire) > 0
    }

    /// The server is fit, the line's queues are known to asynq's tools, and what lies aside of it has been counted.
    pub(super) async fn ready(&self, line: Name) -> Result<(), Fault> {
        let Inner { redis, names, lines, looked, .. } = &*self.inner;
        if !looked.load(Ordering::Acquire) {
            self.live().await?;
            looked.store(true, Ordering::Release);
        }
        let (fresh, known, recalled) = {
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            let state = lines.entry(line).or_default();
            (state.announced.is_some_and(|at| at.elapsed() < ANNOUNCED_FOR), state.announced.is_some(), state.recalled)
        };
        if !recalled {
            self.recall(line).await?;
            self.with_line(line, |state| state.recalled = true);
        }
        if !fresh {
            if !known {
                self.aside(move |overflow| overflow.held(line)).await?;
            }
            let mut add = redis::cmd("SADD");
            add.arg(keys::QUEUES);
            for lane in 0..names.lanes() {
                add.arg(names.queue(line, Lane(lane as u8)));
            }
            redis.call::<i64>(add).await?;
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            lines.entry(line).or_default().announced = Some(Instant::now());
        }
        Ok(())
    }

    /// J11. A new life forgets what came back from the overflow into the lost one.
    pub(super) async fn live(&self) -> Result<String, Fault> {
        let Inner { redis, rules, life, lines, .. } = &*self.inner;
        let servers = guard::look(redis).await?;
        guard::check(&servers, redis.place(), rules.allow_eviction)?;
        let now = guard::life(redis, &servers).await?;
        let before = life.lock().unwrap_or_else(|e| e.into_inner()).replace(now.clone());
        if before.is_some_and(|before| before != now) {
            tracing::error!(place = redis.place(), life = %now, "redis lives another life, jobs may be lost");
            lines.lock().unwrap_or_else(|e| e.into_inner()).values_mut().for_each(|line| line.announced = None);
            let _gate = self.inner.gate.lock().await;
            self.aside(Overflow::life_lost).await?;
        }
        Ok(now)
    }
}

impl JobQueue for AsynqQueue {
    fn offer(&self, offers: Vec<Offer>) -> Answer<'_, Result<Vec<Offered>, Fault>> {
        Box::pin(self.offer_all(offers))
    }

    fn take(&self, line: Name, max: usize) -> Answer<'_, Result<Batch, Fault>> {
        Box::pin(self.take_jobs(line, max))
    }

    fn finish(&self, verdicts: Vec<Finish>) -> Answer<'_, Result<Vec<Settled>, Fault>> {
        Box::pin(self.finish_all(verdicts))
    }

    fn extend(&self, leases: Vec<(JobKey, Lease)>) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.extend_all(leases))
    }

    fn wait(&self, line: Name) -> Answer<'_, ()> {
        Box::pin(async move {
            let outlook = || async {
                // A fault here shows at the next taking.
                self.outlook(line).await.unwrap_or(Outlook::Ready)
            };
            self.inner.bells.wait(line, &self.inner.wall, outlook).await;
        })
    }

    fn tend(&self) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(self.tend_all())
    }

    fn counts(&self, line: Name) -> Answer<'_, Result<Vec<LaneCount>, Fault>> {
        Box::pin(self.count(line))
    }

    fn list(&self, which: Which, max: usize) -> Answer<'_, Result<Vec<Listed>, Fault>> {
        Box::pin(self.list_all(which, max))
    }

    fn release(&self, which: Which) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(self.release_all(which))
    }

    fn life(&self) -> Answer<'_, Result<String, Fault>> {
        Box::pin(self.live())
    }
}
