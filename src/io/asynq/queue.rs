//! The port: offers, takings, verdicts, leases; each one script call for many jobs of a line.

use super::keys::{self, Names};
use super::overflow::Overflow;
use super::scripts::{Scope, Scripts};
use super::servers::ServerEntry;
use super::{guard, message, record};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, Lane, Lease, Load, Offer, Offered, Settled, Verdict};
use crate::io::jobbook::wait::{Bells, Clock, wall_clock};
use crate::io::jobbook::{Outlook, Shelf};
use crate::io::redis::Redis;
use crate::ports::Answer;
use crate::ports::queue::{Batch, Finish, JobQueue, LaneCount, Listed, Taken, Which};
use crate::settings::{AsynqSettings, OnLate, Queue};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Offers of one script call; Redis does nothing else meanwhile.
const OFFERS_PER_CALL: usize = 200;
/// Verdicts of one script call.
const VERDICTS_PER_CALL: usize = 200;
/// Jobs of one taking at most.
const TAKEN_PER_CALL: usize = 500;
/// Late jobs one taking puts aside at most, so that it ends soon.
const LATE_PER_TAKE: usize = 1_000;
/// How long a queue's name is trusted to be known to asynq's tools: somebody may have removed it there.
const ANNOUNCED_FOR: Duration = Duration::from_secs(30);
/// K5: how long a document's hash counts.
const DOCUMENT_MS: i64 = 3_600_000;

/// What the queue is made of.
pub struct Setup {
    pub redis: Redis,
    pub asynq: AsynqSettings,
    pub queue: Queue,
    /// The configured lines; others are met when they come.
    pub lines: Vec<Name>,
    /// Where spilled and parked jobs lie.
    pub overflow: Box<dyn Shelf>,
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
    next_lease: AtomicU64,
    /// Tells the overflow rows of this process from those of others.
    pub(super) token: String,
    looked: AtomicBool,
    life: Mutex<Option<String>>,
    pub(super) server: ServerEntry,
}

pub(super) struct LineState {
    pub(super) credits: String,
    announced: Option<Instant>,
    /// Where the sweep of the book goes on, per scope.
    pub(super) sweep: HashMap<usize, String>,
}

/// What the queue needs of the configuration.
pub(super) struct Rules {
    pub(super) weights: Vec<u32>,
    pub(super) strict: bool,
    default_lane: Lane,
    pub(super) max_pending: usize,
    expire_after: i64,
    on_late: OnLate,
    pub(super) lease: i64,
    retries: u32,
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

    fn lane(&self, lane: Lane) -> Lane {
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

/// A job as `take.lua` answers: base, lane, lease, load, message, document, gen, to be parked.
type TakenRow = (String, usize, u64, String, Vec<u8>, String, String, u8);
/// A foreign task: lane, id, message.
type ForeignRow = (usize, String, Vec<u8>);

impl AsynqQueue {
    /// The queue of one Redis; nothing is reached before the first call.
    ///
    /// # Errors
    /// `invalid` for a queue name that asynq's tools could not show.
    pub fn new(setup: Setup) -> Result<Self, Fault> {
        let Setup { redis, asynq, queue, lines, overflow, clock } = setup;
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
        let known = Inner {
            rules: Rules::new(&queue, &asynq),
            overflow: Arc::new(Mutex::new(Overflow::new(overflow, names.lanes()))),
            aside: Arc::default(),
            scripts: Scripts::new(),
            wall: clock.clone().unwrap_or_else(wall_clock),
            bells: Bells::default(),
            lines: Mutex::new(lines.into_iter().map(|line| (line, LineState::default())).collect()),
            gate: tokio::sync::Mutex::default(),
            // Leases pass through Lua's numbers: whole below 2^53.
            next_lease: AtomicU64::new((chance >> 12) + 1),
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
            let answer = step(&mut overflow);
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
        let (fresh, known) = {
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            let state = lines.entry(line).or_default();
            (state.announced.is_some_and(|at| at.elapsed() < ANNOUNCED_FOR), state.announced.is_some())
        };
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

    async fn offer_all(&self, offers: Vec<Offer>) -> Result<Vec<Offered>, Fault> {
        let mut answers = vec![Offered::Created; offers.len()];
        let mut by_line: Vec<(Name, Vec<(usize, Offer)>)> = Vec::new();
        for (at, mut offer) in offers.into_iter().enumerate() {
            offer.lane = self.inner.rules.lane(offer.lane);
            offer.load.first_offered = Millis(0);
            match by_line.iter_mut().find(|(line, _)| *line == offer.key.line) {
                Some((_, own)) => own.push((at, offer)),
                None => by_line.push((offer.key.line, vec![(at, offer)])),
            }
        }
        for (line, offers) in by_line {
            self.ready(line).await?;
            for (at, answer) in self.offer_line(line, offers).await? {
                answers[at] = answer;
            }
            self.inner.bells.of(line).notify_waiters();
        }
        Ok(answers)
    }

    async fn offer_line(&self, line: Name, mut offers: Vec<(usize, Offer)>) -> Result<Vec<(usize, Offered)>, Fault> {
        let mut answers = Vec::with_capacity(offers.len());
        let mut spilling = vec![false; self.inner.names.lanes()];
        // While jobs lie aside, offers coalesce onto them first, and newer ones queue up behind them.
        let gate = if self.any_aside() { Some(self.inner.gate.lock().await) } else { None };
        if gate.is_some() {
            let (answered, left, now_spilling) = self.aside(move |overflow| onto_asides(overflow, line, offers)).await?;
            (offers, spilling) = (left, now_spilling);
            answers.extend(answered);
        }
        let mut full: Vec<(usize, Offer, u32)> = Vec::new();
        for chunk in offers.chunks(OFFERS_PER_CALL) {
            for ((at, offer), code) in chunk.iter().zip(self.offer_chunk(line, chunk, &spilling).await?) {
                match code.as_bytes().first() {
                    Some(b'1') => answers.push((*at, Offered::Created)),
                    Some(b'2') => answers.push((*at, Offered::Coalesced)),
                    _ => full.push((*at, revived(offer, &code), u32::from(code.len() > 1))),
                }
            }
            if !full.is_empty() {
                full.iter().for_each(|(_, offer, _)| spilling[usize::from(offer.lane.0)] = true);
            }
        }
        drop(gate);
        if !full.is_empty() {
            answers.extend(self.spill(line, full).await?);
        }
        Ok(answers)
    }

    /// J9: into the overflow; a buried job that was to be revived leaves Redis once it lies there.
    async fn spill(&self, line: Name, full: Vec<(usize, Offer, u32)>) -> Result<Vec<(usize, Offered)>, Fault> {
        let _gate = self.inner.gate.lock().await;
        let buried: Vec<Vec<u8>> = full
            .iter()
            .filter(|(_, _, buried)| *buried == 1)
            .map(|(_, offer, _)| keys::base(&offer.key.row).into_bytes())
            .collect();
        let now = self.now();
        let put = move |overflow: &mut Overflow| {
            let mut answers = Vec::with_capacity(full.len());
            for (at, mut offer, _) in full {
                if offer.load.first_offered == Millis(0) {
                    offer.load.first_offered = now;
                }
                let answer = match overflow.coalesce(&offer.key, offer.lane, &offer.load)? {
                    Some(answer) => answer,
                    None => {
                        overflow.put(&offer.key, offer.lane, 0, offer.load, Hold::Spilled)?;
                        Offered::Spilled
                    }
                };
                answers.push((at, answer));
            }
            Ok(answers)
        };
        let answers = self.aside(put).await?;
        if !buried.is_empty() {
            self.forget(line, "a", buried).await?;
        }
        Ok(answers)
    }

    pub(super) async fn forget(&self, line: Name, which: &str, bases: Vec<Vec<u8>>) -> Result<Vec<String>, Fault> {
        let mut loads = vec![String::new(); bases.len()];
        for scope in self.scopes(line) {
            let mut args = vec![arg(which)];
            args.extend(bases.iter().cloned());
            let gone: Vec<String> = self.run(&scope, &self.inner.scripts.forget, args).await?;
            loads.iter_mut().zip(gone).filter(|(_, gone)| !gone.is_empty()).for_each(|(load, gone)| *load = gone);
        }
        Ok(loads)
    }

    /// One script call per scope; an answer per offer as the script gives it.
    async fn offer_chunk(&self, line: Name, chunk: &[(usize, Offer)], spilling: &[bool]) -> Result<Vec<String>, Fault> {
        let mut items: Vec<OfferItem> = chunk
            .iter()
            .map(|(_, offer)| OfferItem {
                lane: offer.lane,
                gen_text: String::new(),
                ..OfferItem::new(&offer.key, 0, &offer.load)
            })
            .collect();
        let scopes = self.scopes(line);
        if let [scope] = scopes.as_slice() {
            return self.offer_items(scope, "a", &items, spilling).await;
        }
        // J4 on Cluster: a job that waits in a higher lane absorbs the offer; one in a lower lane gives way to it.
        let mut answers = vec![String::from("0"); items.len()];
        for scope in &scopes {
            let lane = scope.lane(1);
            for (mode, wanted) in [("c", false), ("a", true)] {
                let here: Vec<usize> = (0..items.len())
                    .filter(|i| answers[*i] == "0" && if wanted { items[*i].lane == lane } else { items[*i].lane > lane })
                    .collect();
                if here.is_empty() {
                    continue;
                }
                let part: Vec<OfferItem> = here.iter().map(|i| items[*i].clone()).collect();
                for (i, answer) in here.into_iter().zip(self.offer_items(scope, mode, &part, spilling).await?) {
                    answers[i] = answer;
                }
            }
        }
        self.withdraw_lower(&scopes, &mut items, &mut answers, spilling).await?;
        Ok(answers)
    }

    /// Cluster: jobs of lower lanes whose keys now have one in a higher lane hand over their loads and go.
    async fn withdraw_lower(
        &self,
        scopes: &[Scope],
        items: &mut [OfferItem],
        answers: &mut [String],
        spilling: &[bool],
    ) -> Result<(), Fault> {
        for scope in scopes.iter().skip(1) {
            let lane = scope.lane(1);
            let above: Vec<usize> = (0..items.len()).filter(|i| items[*i].lane < lane && answers[*i] == "1").collect();
            if above.is_empty() {
                continue;
            }
            let mut args = vec![arg("w")];
            args.extend(above.iter().map(|i| items[*i].base.clone().into_bytes()));
            let loads: Vec<String> = self.run(scope, &self.inner.scripts.forget, args).await?;
            for (i, load) in above.into_iter().zip(loads).filter(|(_, load)| !load.is_empty()) {
                items[i].load = load;
                answers[i] = "2".into();
                if let Some(own) = scopes.iter().find(|s| s.lane(1) == items[i].lane) {
                    self.offer_items(own, "s", std::slice::from_ref(&items[i]), spilling).await?;
                }
            }
        }
        Ok(())
    }

    /// Offers in one scope. `mode` as in `offer.lua`.
    pub(super) async fn offer_items(
        &self,
        scope: &Scope,
        mode: &str,
        items: &[OfferItem],
        spilling: &[bool],
    ) -> Result<Vec<String>, Fault> {
        let Inner { names, rules, scripts, .. } = &*self.inner;
        let spilled = |lane: &Lane| if spilling.get(usize::from(lane.0)).copied().unwrap_or(false) { '1' } else { '0' };
        let line = scope.line.as_str();
        let digits: String = scope.lanes.iter().map(spilled).collect();
        let mut args = vec![arg(rules.max_pending), arg(digits), arg(mode), message::type_field(line)];
        args.extend(scope.lanes.iter().map(|lane| message::lane_fields(&names.queue(scope.line, *lane), rules.retries)));
        for item in items {
            args.push(item.base.clone().into_bytes());
            // A scope that only coalesces need not hold the offer's lane.
            args.push(arg(scope.number(item.lane).unwrap_or(1)));
            args.push(message::payload_field(message::payload(line, item.row.as_str())));
            args.push(message::header_fields(&item.types));
            args.push(item.gen_text.clone().into_bytes());
            args.push(item.load.clone().into_bytes());
        }
        self.run(scope, &scripts.offer, args).await
    }

    async fn take_jobs(&self, line: Name, max: usize) -> Result<Batch, Fault> {
        self.ready(line).await?;
        if self.any_aside() {
            self.refill(line).await?;
        }
        let mut batch = Batch::default();
        let mut again = true;
        while again {
            again = false;
            for scope in self.scopes_by_turn(line) {
                let room = max.saturating_sub(batch.jobs.len()).min(TAKEN_PER_CALL);
                if room > 0 {
                    let before = batch.jobs.len();
                    // What others had put there waits now as ours.
                    again |= self.take_scope(&scope, room, &mut batch).await? > 0;
                    again |= batch.jobs.len() - before == TAKEN_PER_CALL;
                }
            }
        }
        self.inner.server.started(&self.inner.names, &batch.jobs, self.now());
        Ok(batch)
    }

    /// On Cluster each taking begins with another lane, as often as its weight says.
    fn scopes_by_turn(&self, line: Name) -> Vec<Scope> {
        let mut scopes = self.scopes(line);
        if scopes.len() > 1 && !self.inner.rules.strict {
            let weights = &self.inner.rules.weights;
            let mut lines = self.inner.lines.lock().unwrap_or_else(|e| e.into_inner());
            let state = lines.entry(line).or_default();
            let mut credits: Vec<i64> = state.credits.split(',').map(|c| c.parse().unwrap_or(0)).collect();
            credits.resize(weights.len(), 0);
            credits.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += i64::from(*weight));
            let first = (0..credits.len()).max_by_key(|i| (credits[*i], std::cmp::Reverse(*i))).unwrap_or(0);
            credits[first] -= weights.iter().map(|w| i64::from(*w)).sum::<i64>();
            state.credits = credits.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            let first = scopes.remove(first.min(scopes.len() - 1));
            scopes.insert(0, first);
        }
        scopes
    }

    /// Takes from one scope; says how many foreign tasks became jobs of ours.
    async fn take_scope(&self, scope: &Scope, max: usize, batch: &mut Batch) -> Result<usize, Fault> {
        let Inner { rules, scripts, next_lease, lines, .. } = &*self.inner;
        let leases = (max + LATE_PER_TAKE) as u64;
        let first = next_lease.fetch_add(leases, Ordering::AcqRel);
        let all = scope.lanes.len() > 1 || self.inner.names.lanes() == 1;
        let credits = if all {
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            lines.entry(scope.line).or_default().credits.clone()
        } else {
            String::new()
        };
        let credits = if credits.is_empty() { vec!["0"; scope.lanes.len()].join(",") } else { credits };
        let weights: Vec<String> = scope.lanes.iter().map(|lane| rules.weights[usize::from(lane.0)].to_string()).collect();
        let late = match rules.on_late {
            OnLate::Run => "r",
            OnLate::Park => "p",
            OnLate::Drop => "d",
        };
        let args = vec![
            arg(max),
            arg(rules.lease),
            arg(first),
            arg(u8::from(rules.strict)),
            arg(weights.join(",")),
            arg(credits),
            arg(late),
            arg(rules.expire_after),
            arg(LATE_PER_TAKE),
            arg(if all { scope.documents() } else { String::new() }),
        ];
        let (credits, dropped, rows, foreign): (String, u64, Vec<TakenRow>, Vec<ForeignRow>) =
            self.run(scope, &scripts.take, args).await?;
        if all {
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            lines.entry(scope.line).or_default().credits = credits;
        }
        batch.dropped += dropped;
        let mut parked = Vec::new();
        for (base, lane, lease, load, msg, document, gen_text, park) in rows {
            let lane = scope.lane(lane);
            let Some((row, (attempts, load))) = row_of(&base, &msg, scope.line).zip(record::unpack(&load)) else {
                let what = format!("job `{base}` of line {}: its record cannot be read; its lease will end", scope.line);
                return Err(Fault::new(FaultKind::Corrupt, self.inner.redis.place(), what));
            };
            let key = JobKey { line: scope.line, row };
            let job = Taken { key, lane, load, attempts, lease: Lease(lease), last_document: self.document(&document) };
            if park == 1 { parked.push((job, gen_text)) } else { batch.jobs.push(job) }
        }
        batch.parked += parked.len() as u64;
        if !parked.is_empty() {
            self.park(parked).await?;
        }
        if foreign.is_empty() { Ok(0) } else { self.adopt(scope, foreign).await }
    }

    /// K5: a hash of another life counts for nothing.
    fn document(&self, text: &str) -> Option<u64> {
        let (life, hash) = text.rsplit_once(',')?;
        (life == self.known_life()).then(|| hash.parse().ok()).flatten()
    }

    fn known_life(&self) -> String {
        self.inner.life.lock().unwrap_or_else(|e| e.into_inner()).clone().unwrap_or_default()
    }

    /// J8: late jobs lie aside first, then leave Redis.
    async fn park(&self, jobs: Vec<(Taken, String)>) -> Result<(), Fault> {
        let ended = |job: &Taken| (job.key.clone(), job.lease, "x", 0, String::new(), String::new());
        let ends: Vec<_> = jobs.iter().map(|(job, _)| ended(job)).collect();
        let gate = self.inner.gate.lock().await;
        let put = move |overflow: &mut Overflow| {
            jobs.into_iter().try_for_each(|(job, _)| overflow.put(&job.key, job.lane, job.attempts, job.load, Hold::Parked))
        };
        self.aside(put).await?;
        drop(gate);
        self.settle(ends).await.map(drop)
    }

    /// Tasks that others put into our queues become jobs of ours: their rows are offered, then they end.
    async fn adopt(&self, scope: &Scope, foreign: Vec<ForeignRow>) -> Result<usize, Fault> {
        use prost::Message;
        let (mut offers, mut ends, mut adopted) = (Vec::new(), Vec::new(), 0);
        for (lane, id, msg) in foreign {
            let task = message::TaskMessage::decode(msg.as_slice()).map_err(|e| format!("not a task of asynq: {e}"));
            let row = task.as_ref().map_err(String::clone).and_then(|task| message::row_of(&task.payload, scope.line.as_str()));
            let lock = task.map_or_else(|_| String::new(), |task| task.unique_key);
            let (kind, reason) = match row {
                Ok(row) => {
                    let key = JobKey { line: scope.line, row: RowKey::new(&row) };
                    offers.push(OfferItem { lane: scope.lane(lane), ..OfferItem::new(&key, 0, &Load::default()) });
                    adopted += 1;
                    ("d", String::new())
                }
                Err(reason) => {
                    tracing::warn!(line = %scope.line, task = %id, %reason, "a foreign task cannot be worked, it is archived");
                    ("b", reason)
                }
            };
            let reason = message::short(&reason).as_bytes().to_vec();
            ends.extend([arg(kind), arg(lane), id.into_bytes(), lock.into_bytes(), reason]);
        }
        if !offers.is_empty() {
            self.offer_items(scope, "s", &offers, &[]).await?;
        }
        self.run::<i64>(scope, &self.inner.scripts.foreign, ends).await?;
        Ok(adopted)
    }

    async fn finish_all(&self, verdicts: Vec<Finish>) -> Result<Vec<Settled>, Fault> {
        let skipping = !self.inner.redis.is_cluster() || self.inner.names.lanes() == 1;
        let life = self.known_life();
        let ends = verdicts.into_iter().map(|Finish { key, lease, verdict, document }| {
            let (kind, at, reason) = match verdict {
                Verdict::Done => ("d", 0, String::new()),
                Verdict::Retry { at, counts } => (if counts { "r" } else { "c" }, at.0, "tried again".to_owned()),
                Verdict::Bury { reason } => ("b", 0, message::short(&reason).to_owned()),
                Verdict::Requeue => ("q", 0, String::new()),
            };
            let document = document.filter(|_| skipping && kind == "d" && !life.is_empty());
            (key, lease, kind, at, reason, document.map_or_else(String::new, |hash| format!("{life},{hash}")))
        });
        self.settle(ends.collect()).await
    }

    async fn settle(&self, ends: Vec<End>) -> Result<Vec<Settled>, Fault> {
        self.inner.server.ended(&ends);
        let mut settled = vec![Settled::LeaseGone; ends.len()];
        let mut lines: Vec<Name> = ends.iter().map(|end| end.0.line).collect();
        lines.sort_unstable();
        lines.dedup();
        let mut rows_ended = Vec::new();
        for line in lines {
            for scope in self.scopes(line) {
                let open: Vec<usize> =
                    (0..ends.len()).filter(|i| ends[*i].0.line == line && settled[*i] == Settled::LeaseGone).collect();
                for chunk in open.chunks(VERDICTS_PER_CALL) {
                    for (i, code) in chunk.iter().zip(self.finish_chunk(&scope, chunk, &ends).await?) {
                        let (code, gen_text) = code.split_at(code.len().min(1));
                        settled[*i] = match code {
                            "1" | "3" => Settled::Applied,
                            "2" => Settled::GaveWay,
                            _ => continue,
                        };
                        if code != "1" || !matches!(ends[*i].2, "d" | "x" | "b") {
                            self.inner.bells.of(line).notify_waiters();
                        }
                        let seq = gen_text.strip_prefix(&self.inner.token).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
                        rows_ended.extend(seq.map(|seq: u64| (ends[*i].0.clone(), seq)));
                    }
                }
            }
        }
        if !rows_ended.is_empty() {
            self.rows_ended(rows_ended).await?;
        }
        Ok(settled)
    }

    pub(super) async fn rows_ended(&self, rows: Vec<(JobKey, u64)>) -> Result<(), Fault> {
        let _gate = self.inner.gate.lock().await;
        self.aside(move |overflow| rows.into_iter().try_for_each(|(key, seq)| overflow.ended(&key, seq))).await
    }

    async fn finish_chunk(&self, scope: &Scope, chunk: &[usize], ends: &[End]) -> Result<Vec<String>, Fault> {
        let mut args = vec![arg(scope.documents()), arg(DOCUMENT_MS)];
        for i in chunk {
            let (key, lease, kind, at, reason, document) = &ends[*i];
            args.extend([keys::base(&key.row).into_bytes(), arg(lease.0), arg(kind), arg(at), arg(reason), arg(document)]);
        }
        self.run(scope, &self.inner.scripts.finish, args).await
    }

    async fn extend_all(&self, leases: Vec<(JobKey, Lease)>) -> Result<(), Fault> {
        let mut lines: Vec<Name> = leases.iter().map(|(key, _)| key.line).collect();
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            for scope in self.scopes(line) {
                let mut args = vec![arg(self.inner.rules.lease)];
                for (key, lease) in leases.iter().filter(|(key, _)| key.line == line) {
                    args.extend([keys::base(&key.row).into_bytes(), arg(lease.0)]);
                }
                self.run::<i64>(&scope, &self.inner.scripts.extend, args).await?;
            }
        }
        Ok(())
    }

    /// J11. A new life forgets what came back from the overflow into the lost one.
    async fn live(&self) -> Result<String, Fault> {
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

impl Default for LineState {
    fn default() -> Self {
        Self { credits: String::new(), announced: None, sweep: HashMap::new() }
    }
}

/// Key, lease, kind as in `finish.lua`, time of a retry, reason, what is kept of the document.
pub(super) type End = (JobKey, Lease, &'static str, i64, String, String);

/// An offer as the script takes it.
#[derive(Clone)]
pub(super) struct OfferItem {
    pub(super) row: RowKey,
    pub(super) base: String,
    pub(super) lane: Lane,
    pub(super) types: String,
    /// Names the overflow's row the job comes from.
    pub(super) gen_text: String,
    pub(super) load: String,
}

impl OfferItem {
    pub(super) fn new(key: &JobKey, attempts: u32, load: &Load) -> Self {
        let (row, base, types) = (key.row.clone(), keys::base(&key.row), record::types(load));
        Self { row, base, lane: Lane(0), types, gen_text: String::new(), load: record::pack(attempts, load) }
    }
}

/// The row of a job, from its id or its message.
pub(super) fn row_of(base: &str, msg: &[u8], line: Name) -> Option<RowKey> {
    use prost::Message;
    keys::row_of(base).or_else(|| {
        let task = message::TaskMessage::decode(msg).ok()?;
        message::row_of(&task.payload, line.as_str()).ok().map(|row| RowKey::new(&row))
    })
}

/// A buried job whose lane is full goes to the overflow with what it carried: `3<lane>|<load>`.
fn revived(offer: &Offer, code: &str) -> Offer {
    let mut offer = offer.clone();
    if let Some((_, load)) = code.split_once('|').and_then(|(_, load)| record::unpack(load)) {
        offer.load = load;
    }
    offer
}

type Answered = (Vec<(usize, Offered)>, Vec<(usize, Offer)>, Vec<bool>);

/// Offers whose keys lie aside coalesce there; the others are left, with which lanes spill.
fn onto_asides(overflow: &mut Overflow, line: Name, offers: Vec<(usize, Offer)>) -> Result<Answered, Fault> {
    let (mut answered, mut left) = (Vec::new(), Vec::new());
    for (at, offer) in offers {
        match overflow.coalesce(&offer.key, offer.lane, &offer.load)? {
            Some(answer) => answered.push((at, answer)),
            None => left.push((at, offer)),
        }
    }
    Ok((answered, left, overflow.spilling(line)?))
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
