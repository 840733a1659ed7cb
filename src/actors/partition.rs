//! One Kafka (or file) partition: decodes, routes to entities, keeps the frontier.
//!
//! Keeps C7 (a bad record is kept, its offset closes), O1, O2, O4. Its restarts are the supervisor's: when tickets fail
//! it ends, and a new generation reads from the frontier. Knows nothing of stores, queues or other partitions.

mod batch;
mod orders;
mod picture;

use super::taps;
use crate::domain::breadcrumb::{Caution, DEATHS_MAX};
use crate::domain::decode::{self, BadReason, BadRecord, DecodeSettings, Decoded, Ignored, Plans};
use crate::domain::epoch::Epochs;
use crate::domain::fault::panic_text;
use crate::domain::frontier::Frontier;
use crate::domain::ids::{Generation, Millis, NextOffset, Partition, RecordOffset};
use crate::domain::record::Record;
use crate::domain::restart::ExitReason;
use crate::domain::retrial::Retrial;
use crate::domain::route::{self, Origin, RouteSettings, RowChange};
use crate::domain::schema::Schema;
use crate::domain::steps::{self, Step};
use crate::messages::control::Drain;
use crate::messages::entity::RowDirectory;
use crate::messages::intake::{SourceEnded, TakeRecords};
use crate::messages::ticket::{TicketHome, TicketsClosed};
use crate::ports::ledger::{CrumbNote, DeadLetter, Kept, Ledger};
use crate::telemetry::{DeadLettered, TableDestroyed, TopicMeters, Totals, late_verdicts};
use actix::prelude::*;
use batch::RowBatch;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// Records decoded and routed before the thread's other actors get a turn.
const CHUNK_RECORDS_MAX: usize = 256;
/// Between two tries to keep a dead letter.
const LETTER_RETRY: Duration = Duration::from_millis(500);
/// O4: how far settled records may run ahead of the frontier, in multiples of `in_flight`.
const SPAN_FACTOR: usize = 8;

/// What every partition of one source shares.
pub struct PartitionSetup {
    pub source: String,
    pub decode: DecodeSettings,
    pub route: RouteSettings,
    /// C7 `on_bad_record: stop`.
    pub stop_on_bad: bool,
    pub in_flight: usize,
    pub schema: Arc<Schema>,
    pub directory: Arc<dyn RowDirectory>,
    pub ledger: Arc<dyn Ledger>,
    pub budget: Arc<dyn Budget>,
    pub board: Arc<dyn CommitBoard>,
    pub totals: Arc<Totals>,
    pub clock: fn() -> Millis,
}

/// O4: the process-wide bound on bytes of open records.
pub trait Budget: Send + Sync {
    fn take(&self, bytes: usize);
    fn give_back(&self, bytes: usize);
    fn is_spent(&self) -> bool;
}

/// Where partitions note how far they are; the supervisor commits from it.
pub trait CommitBoard: Send + Sync {
    /// A note of another generation than the last one begun changes nothing (O3).
    fn note(&self, partition: Partition, generation: Generation, next: NextOffset);
    fn committed(&self, partition: Partition) -> Option<NextOffset>;
}

/// One generation of one partition.
pub struct PartitionLife {
    pub partition: Partition,
    pub generation: Generation,
    /// Deliveries of readings below this one are not for this generation.
    pub reading: Generation,
    pub start: NextOffset,
    pub partitions: u32,
    pub epochs: Epochs,
    /// The end of the log as the source saw it when it assigned the partition.
    pub high_watermark: Option<i64>,
    pub thread: usize,
    pub restarts: u64,
    /// Kept over generations (O2).
    pub retrial: Arc<Mutex<Retrial>>,
    /// What the deaths of earlier processes ask for (O2); kept over generations.
    pub caution: Arc<Mutex<Caution>>,
    pub crumb: Option<Box<dyn CrumbNote>>,
    /// Records without a verdict, for whoever lets the partition go.
    pub open: Arc<AtomicUsize>,
    /// Where the actor leaves why it ends.
    pub last_words: Arc<Mutex<Option<(ExitReason, String)>>>,
}

pub struct PartitionActor {
    setup: Arc<PartitionSetup>,
    life: PartitionLife,
    home: Arc<TicketHome>,
    plans: Plans,
    frontier: Frontier,
    /// Room for one record's changes, used again.
    routed: Vec<RowChange>,
    /// Row changes of the chunk in hand.
    decoded: std::cell::Cell<u64>,
    backlog: VecDeque<Record>,
    taken: Option<oneshot::Sender<()>>,
    position: NextOffset,
    high_watermark: Option<i64>,
    ended: bool,
    /// The log begins here; said once everything taken before is in hand.
    skip_to: Option<NextOffset>,
    paused: Option<String>,
    stopped: Option<String>,
    draining: Vec<oneshot::Sender<u64>>,
    drain_asked: bool,
    continue_asked: bool,
    handled: u64,
    since: Millis,
    last_progress: Millis,
    last_error: Option<String>,
    meters: TopicMeters,
}

impl PartitionActor {
    /// `tickets` is the actor's own address, so that tickets can report before it runs.
    pub fn new(setup: Arc<PartitionSetup>, life: PartitionLife, tickets: Recipient<TicketsClosed>) -> Self {
        let now = (setup.clock)();
        Self {
            home: TicketHome::new(life.generation, tickets),
            plans: Plans::default(),
            frontier: Frontier::starting_at(life.start),
            routed: Vec::new(),
            decoded: Default::default(),
            backlog: VecDeque::new(),
            taken: None,
            position: life.start,
            high_watermark: life.high_watermark,
            ended: false,
            skip_to: None,
            paused: None,
            stopped: None,
            draining: Vec::new(),
            drain_asked: false,
            continue_asked: false,
            handled: 0,
            since: now,
            last_progress: now,
            last_error: None,
            meters: TopicMeters::new(&setup.source, life.partition.topic, &setup.totals),
            setup,
            life,
        }
    }

    fn has_room(&self, wary: bool) -> bool {
        if self.paused.is_some() || self.stopped.is_some() || self.drain_asked {
            return false;
        }
        let unsettled = self.frontier.unsettled();
        if wary && self.retrial(|r| r.is_alone()) {
            return unsettled == 0;
        }
        // One record may always be open, so that a spent budget delays a partition and never stops it.
        unsettled == 0
            || (unsettled < self.setup.in_flight
                && self.frontier.span() < self.setup.in_flight * SPAN_FACTOR
                && !self.setup.budget.is_spent())
    }

    fn retrial<T>(&self, look: impl FnOnce(&mut Retrial) -> T) -> T {
        look(&mut self.life.retrial.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Takes from the backlog what the bounds allow, then lets the source go on.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        // O2: whether earlier failures ask for care with single records; nothing in a chunk's hands changes it.
        let wary = self.retrial(|r| r.is_wary()) || self.caution(|c| c.is_wary());
        let mut taken = 0;
        let chunk = self.take_in_hand(wary);
        let mut rows = RowBatch::of(chunk);
        while taken < chunk && self.has_room(wary) {
            let Some(record) = self.backlog.pop_front() else { break };
            taken += 1;
            let at = record.position;
            self.take_in(record, wary, &mut rows, ctx);
            if wary {
                self.caution(|c| c.passed(at));
            }
        }
        self.meters.chunk(self.decoded.take(), rows.changes());
        if let Some(crumb) = self.life.crumb.as_ref().filter(|_| chunk > 0) {
            crumb.set(None);
        }
        if taken > 0 {
            rows.send(&*self.setup.directory, (self.setup.clock)());
            self.handled += taken as u64;
            self.settle_front();
        }
        if self.backlog.is_empty() {
            self.skip();
            self.taken = None;
        } else if taken > 0 && taken == chunk && !self.continue_asked {
            self.continue_asked = true;
            ctx.notify(Continue);
        }
        self.answer_drain();
    }

    /// What left the log is settled once everything before it is: nobody can read it any more.
    fn skip(&mut self) {
        let last = self.skip_to.take().map(|to| RecordOffset(to.0 - 1));
        if last.is_some_and(|last| self.open(last, 0, 0)) {
            self.settle_front();
        }
    }

    /// O2: notes what may be taken now; how many records that is.
    fn take_in_hand(&self, wary: bool) -> usize {
        let Some(first) = self.backlog.front().filter(|_| self.has_room(wary)) else { return 0 };
        let (alone, first) = (self.caution(|c| c.is_alone(first.position)), first.position);
        let chunk = if alone { 1 } else { CHUNK_RECORDS_MAX.min(self.backlog.len()) };
        let last = self.backlog.get(chunk - 1).map_or(first, |record| record.position);
        if let Some(crumb) = &self.life.crumb
            && !self.caution(|c| c.condemned(first))
        {
            crumb.set(Some(self.caution(|c| c.crumb(first, last))));
        }
        chunk
    }

    fn caution<T>(&self, look: impl FnOnce(&mut Caution) -> T) -> T {
        look(&mut self.life.caution.lock().unwrap_or_else(|e| e.into_inner()))
    }

    fn take_in(&mut self, record: Record, wary: bool, rows: &mut RowBatch, ctx: &mut Context<Self>) {
        let (at, bytes) = (record.position, record.bytes());
        if wary && self.caution(|c| c.condemned(at)) {
            let detail = format!("the process died {DEATHS_MAX} times with it in hand");
            return self.bury(record, BadRecord::new(BadReason::Failed, detail), ctx);
        }
        if wary && let Some(cause) = self.retrial(|r| r.condemned(at).map(str::to_owned)) {
            let detail = format!("failed {} times alone: {cause}", crate::domain::retrial::FAILS_ALONE_MAX);
            return self.bury(record, BadRecord::new(BadReason::Failed, detail), ctx);
        }
        let routed = std::mem::take(&mut self.routed);
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(&record, routed)));
        let decoded = decoded.unwrap_or_else(|panic| Err(BadRecord::new(BadReason::Panicked, panic_text(&*panic))));
        taps::record(&record, &decoded);
        match decoded {
            Err(bad) => self.bury(record, bad, ctx),
            Ok(mut changes) => {
                steps::reached(Step::RecordDecoded);
                if self.open(at, changes.len() as u32, bytes) {
                    rows.add(changes.drain(..), at, &self.home);
                }
                self.routed = changes;
            }
        }
    }

    /// The record's changes, in the room of `routed`.
    fn decode(&self, record: &Record, mut routed: Vec<RowChange>) -> Result<Vec<RowChange>, BadRecord> {
        steps::reached(Step::DecodeBegun);
        let changes = match decode::decode_by(record, &self.setup.decode, &self.setup.schema, &self.plans)? {
            Decoded::Ignored(why) => {
                self.ignore(why, record.offset);
                routed.clear();
                return Ok(routed);
            }
            Decoded::Changes(changes) => changes,
        };
        self.decoded.set(self.decoded.get() + changes.len() as u64);
        let origin = Origin {
            partition: self.life.partition,
            partitions: self.life.partitions,
            epoch: self.life.epochs.at(record.offset),
            offset: record.offset,
            logged: record.timestamp,
        };
        route::route_into(&mut routed, changes, &origin, &self.setup.route, &self.setup.schema)?;
        Ok(routed)
    }

    /// C6: counted and settled; a truncated or dropped table is an alarm.
    fn ignore(&self, why: Ignored, offset: i64) {
        match why {
            Ignored::Destructive { table } => TableDestroyed { partition: self.life.partition, offset, table }.emit(),
            why => self.meters.ignored(why),
        }
    }

    /// Opens the record's account. A position that does not rise is a delivery again within one generation, and is open
    /// or settled already.
    fn open(&mut self, at: RecordOffset, parts: u32, bytes: usize) -> bool {
        self.position = NextOffset(self.position.0.max(at.0 + 1));
        let opened = self.frontier.open(at, parts, bytes);
        if opened && parts > 0 {
            self.setup.budget.take(bytes);
        }
        opened
    }

    /// C7: keeps the record among the dead letters, then closes its offset; or stops here (`on_bad_record: stop`).
    fn bury(&mut self, record: Record, bad: BadRecord, ctx: &mut Context<Self>) {
        let (at, bytes) = (record.position, record.bytes());
        self.last_error = Some(bad.to_string());
        if self.setup.stop_on_bad {
            let reason = format!("bad record at offset {}: {bad}", record.offset);
            tracing::error!(partition = %self.life.partition, reason, "partition stopped");
            self.stopped = Some(reason);
            self.since = (self.setup.clock)();
            self.backlog.push_front(record);
            return;
        }
        if !self.open(at, 1, bytes) {
            return;
        }
        let now = (self.setup.clock)();
        let letter = DeadLetter {
            id: format!("{}/{}/{}", record.partition.topic, record.partition.number, record.offset),
            source: self.setup.source.clone(),
            reason: bad.reason,
            detail: bad.detail,
            record,
            first: now,
            last: now,
            deliveries: 1,
            replayed: false,
        };
        self.keep_letter(letter, at, ctx);
    }

    fn keep_letter(&mut self, letter: DeadLetter, at: RecordOffset, ctx: &mut Context<Self>) {
        let ledger = Arc::clone(&self.setup.ledger);
        let keeping = async move {
            let kept = ledger.keep_dead_letter(letter.clone()).await;
            (kept, letter)
        };
        let settle = keeping.into_actor(self).map(move |(kept, letter), act, ctx| match kept {
            Ok(kept) => {
                steps::reached(Step::LetterKept);
                let (offset, again) = (letter.record.offset, kept == Kept::Again);
                let (reason, detail) = (letter.reason, letter.detail.as_str());
                DeadLettered { partition: act.life.partition, offset, reason, detail, again }.emit(&act.setup.totals);
                act.close(&[at]);
                act.advance(ctx);
            }
            Err(fault) => {
                // The offset stays open: a letter that cannot be kept is not lost, the partition waits.
                act.last_error = Some(fault.to_string());
                tracing::warn!(partition = %act.life.partition, %fault, "dead letter cannot be kept, trying again");
                ctx.run_later(LETTER_RETRY, move |act, ctx| act.keep_letter(letter, at, ctx));
            }
        });
        ctx.spawn(settle);
    }

    fn close(&mut self, settled: &[RecordOffset]) {
        let before = self.frontier.bytes();
        for at in settled {
            self.frontier.settle(*at);
        }
        self.setup.budget.give_back(before - self.frontier.bytes());
        self.settle_front();
    }

    fn settle_front(&mut self) {
        let next = self.frontier.committable();
        self.retrial(|r| r.passed(next));
        self.setup.board.note(self.life.partition, self.life.generation, next);
        self.life.open.store(self.frontier.unsettled(), Ordering::Relaxed);
        self.last_progress = (self.setup.clock)();
    }

    fn fail(&mut self, failed: &[RecordOffset], cause: &str, ctx: &mut Context<Self>) {
        let highest = self.frontier.highest_taken();
        self.retrial(|r| r.failed(failed, highest, cause));
        let text = format!("{} open record(s) failed, first at {}: {cause}", failed.len(), failed.first().map_or(0, |f| f.0));
        *self.life.last_words.lock().unwrap_or_else(|e| e.into_inner()) = Some((ExitReason::DownstreamGone, text));
        ctx.stop();
    }

    fn answer_drain(&mut self) {
        if self.drain_asked && self.frontier.unsettled() == 0 {
            let left = self.backlog.len() as u64;
            for asked in self.draining.drain(..) {
                // The asker may have passed its deadline.
                let _ = asked.send(left);
            }
        }
    }
}

impl Actor for PartitionActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.setup.budget.give_back(self.frontier.bytes());
    }
}

/// More of the backlog, after the thread's other actors had their turn.
#[derive(Message)]
#[rtype(result = "()")]
struct Continue;

impl Handler<Continue> for PartitionActor {
    type Result = ();
    fn handle(&mut self, _: Continue, ctx: &mut Self::Context) {
        self.continue_asked = false;
        self.advance(ctx);
    }
}

impl Handler<TakeRecords> for PartitionActor {
    type Result = ();
    fn handle(&mut self, message: TakeRecords, ctx: &mut Self::Context) {
        if message.delivery.reading < self.life.reading {
            return;
        }
        let records = message.delivery.records;
        self.high_watermark = message.delivery.high_watermark.or(self.high_watermark);
        steps::reached(Step::RecordsTaken);
        self.meters.received(records.len() as u64);
        self.backlog.extend(records);
        self.taken = Some(message.taken);
        self.advance(ctx);
    }
}

impl Handler<SourceEnded> for PartitionActor {
    type Result = ();
    fn handle(&mut self, message: SourceEnded, _: &mut Self::Context) {
        self.ended |= message.reading >= self.life.reading;
    }
}

impl Handler<TicketsClosed> for PartitionActor {
    type Result = ();
    fn handle(&mut self, message: TicketsClosed, ctx: &mut Self::Context) {
        if message.generation != self.life.generation {
            late_verdicts((message.settled.len() + message.failed.len()) as u64);
            return;
        }
        steps::reached(Step::TicketsClosed);
        self.close(&message.settled);
        if !message.failed.is_empty() {
            let cause = message.cause.as_deref().unwrap_or("dropped without a verdict");
            return self.fail(&message.failed, cause, ctx);
        }
        self.advance(ctx);
    }
}

impl Handler<Drain> for PartitionActor {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let (done, answer) = oneshot::channel();
        self.drain_asked = true;
        self.draining.push(done);
        self.answer_drain();
        Box::pin(async move { answer.await.unwrap_or(0) })
    }
}
