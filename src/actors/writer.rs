//! Many entities' writes in one call of the row store.
//!
//! Keeps W2's half of the bargain (an answer only after the store's own) and O2's last sentence (a store that cannot be
//! reached is waited for, nobody fails). One batch is in flight; what arrives meanwhile is the next (group commit).
//! Knows nothing of what is inside a write.

use super::BATCH_ROWS_MAX;
use super::backoff::Backoff;
use crate::domain::fault::{Advice, Fault};
use crate::domain::ids::Millis;
use crate::domain::steps::{self, Step};
use crate::messages::control::{Drain, Stop};
use crate::messages::observe::{ActorKind, ActorState, Observation, Observe};
use crate::messages::write::{WriteReply, WriteRow};
use crate::ports::rows::{RowStore, RowWrite, WriteOutcome};
use crate::telemetry::{StoreMeters, StoreOp, WaitingFor};
use actix::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

pub struct WriterSetup {
    pub rows: Arc<dyn RowStore>,
    pub meters: StoreMeters,
    pub clock: fn() -> Millis,
    pub thread: usize,
    pub restarts: u64,
}

pub struct WriterActor {
    setup: WriterSetup,
    waiting: VecDeque<(RowWrite, WriteReply)>,
    in_flight: usize,
    backoff: Backoff,
    /// A wake-up is on its way, so that a burst becomes one batch.
    woken: bool,
    handled: u64,
    since: Millis,
    last_progress: Millis,
    last_error: Option<Fault>,
    draining: Vec<oneshot::Sender<u64>>,
}

impl WriterActor {
    pub fn new(setup: WriterSetup) -> Self {
        let now = (setup.clock)();
        Self {
            setup,
            waiting: VecDeque::new(),
            in_flight: 0,
            backoff: Backoff::default(),
            woken: false,
            handled: 0,
            since: now,
            last_progress: now,
            last_error: None,
            draining: Vec::new(),
        }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.in_flight > 0 || self.backoff.is_waiting() {
            return;
        }
        if self.waiting.is_empty() {
            return super::answer_all(&mut self.draining);
        }
        let batch = self.waiting.len().min(BATCH_ROWS_MAX);
        let (writes, replies): (Vec<_>, Vec<_>) = self.waiting.drain(..batch).unzip();
        self.in_flight = writes.len();
        self.last_progress = (self.setup.clock)();
        let store = Arc::clone(&self.setup.rows);
        let started = std::time::Instant::now();
        let writing = async move {
            // Kept for another try: a write may be sent again unchanged (V1).
            let outcomes = store.write(writes.clone()).await;
            (writes, outcomes)
        };
        let done = writing.into_actor(self).map(move |(writes, outcomes), act, ctx| {
            act.setup.meters.request(StoreOp::Write, started.elapsed());
            act.answered(writes, replies, outcomes, ctx);
        });
        ctx.spawn(done);
    }

    fn answered(
        &mut self,
        writes: Vec<RowWrite>,
        replies: Vec<WriteReply>,
        outcomes: Vec<WriteOutcome>,
        ctx: &mut Context<Self>,
    ) {
        self.in_flight = 0;
        self.last_progress = (self.setup.clock)();
        if outcomes.iter().any(Result::is_ok) {
            steps::reached(Step::RowWritten);
        }
        let mut again = VecDeque::new();
        let (mut rows, mut cells) = (0, 0);
        for ((write, reply), outcome) in writes.into_iter().zip(replies).zip(outcomes) {
            match outcome {
                Err(fault) if matches!(fault.advice(), Advice::Wait | Advice::SlowDown) => {
                    self.last_error = Some(fault);
                    again.push_back((write, reply));
                }
                outcome => {
                    match &outcome {
                        Ok(()) => {
                            rows += 1;
                            cells += write.change.parts.iter().map(|p| p.cells.len() as u64).sum::<u64>();
                        }
                        Err(fault) => {
                            self.setup.meters.failed(1);
                            tracing::error!(row = %write.row, %fault, "row store refuses a row");
                            self.last_error = Some(fault.clone());
                        }
                    }
                    reply.answer(outcome);
                }
            }
        }
        self.handled += rows;
        self.setup.meters.written(rows, cells);
        self.setup.meters.retried(again.len() as u64);
        if again.is_empty() {
            self.backoff.reset();
        } else {
            let pause = self.backoff.pause();
            self.since = self.last_progress;
            if let Some(fault) = &self.last_error {
                WaitingFor { fault, attempts: self.backoff.tries(), after: pause }.emit();
            }
            again.append(&mut self.waiting);
            self.waiting = again;
            ctx.run_later(pause, |act, ctx| {
                act.backoff.waited();
                act.flush(ctx);
            });
        }
        self.flush(ctx);
    }
}

impl Actor for WriterActor {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for WriterActor {
    type Result = ();
    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.woken = false;
        self.flush(ctx);
    }
}

impl Handler<WriteRow> for WriterActor {
    type Result = ();
    fn handle(&mut self, message: WriteRow, ctx: &mut Self::Context) {
        self.waiting.push_back((message.write, message.reply));
        // The flush stands behind what is already in the mailbox, so neighbours of a burst travel together.
        if self.in_flight == 0 && !self.woken {
            self.woken = true;
            ctx.notify(Flush);
        }
    }
}

impl Handler<Drain> for WriterActor {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (done, answer) = oneshot::channel();
        self.draining.push(done);
        self.flush(ctx);
        Box::pin(async move { answer.await.unwrap_or(0) })
    }
}

impl Handler<Stop> for WriterActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Observe> for WriterActor {
    type Result = Observation;
    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Observation {
        let state = if self.backoff.is_waiting() { ActorState::BackingOff } else { ActorState::Running };
        Observation {
            state,
            reason: self.last_error.as_ref().filter(|_| self.backoff.is_waiting()).map(Fault::to_string).unwrap_or_default(),
            since: self.since.0,
            thread: self.setup.thread,
            depth: self.waiting.len() as u64,
            in_flight: self.in_flight as u64,
            handled: self.handled,
            restarts: self.setup.restarts,
            last_error: self.last_error.as_ref().map(Fault::to_string),
            last_progress: self.last_progress.0,
            ..Observation::new(format!("writer:{}", self.setup.thread), ActorKind::Writer, self.since)
        }
    }
}
