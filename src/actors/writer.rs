//! Many entities' writes in one call of the row store.
//!
//! Keeps W2's half of the bargain: an answer only after the store's own. A store that cannot be reached is waited for
//! (`batching.rs`). Knows nothing of what is inside a write.

use super::batching::Batching;
use super::taps;
use crate::domain::fault::Advice;
use crate::domain::ids::Millis;
use crate::domain::steps::{self, Step};
use crate::messages::belt::{Belt, Wake};
use crate::messages::control::{Drain, Stop};
use crate::messages::observe::{ActorKind, Observation, Observe};
use crate::messages::write::{WriteReply, WriteRow};
use crate::ports::rows::{RowStore, RowWrite, WriteOutcome};
use crate::telemetry::{StoreMeters, StoreOp};
use actix::prelude::*;
use std::sync::Arc;

pub struct WriterSetup {
    pub rows: Arc<dyn RowStore>,
    pub meters: StoreMeters,
    pub clock: fn() -> Millis,
    pub thread: usize,
    pub restarts: u64,
}

pub struct WriterActor {
    setup: WriterSetup,
    hands: Batching<WriteRow>,
}

impl WriterActor {
    pub fn new(belt: Belt<WriteRow>, setup: WriterSetup) -> Self {
        Self { hands: Batching::new(belt, ActorKind::Writer, setup.thread, setup.restarts, (setup.clock)()), setup }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        let Some(batch) = self.hands.next_batch((self.setup.clock)(), ctx, Self::flush) else { return };
        let (writes, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|asked| (asked.write, asked.reply)).unzip();
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
        let now = (self.setup.clock)();
        self.hands.answered(now);
        if outcomes.iter().any(Result::is_ok) {
            steps::reached(Step::RowWritten);
        }
        let (mut again, mut waited_for) = (Vec::new(), None);
        let (mut rows, mut cells) = (0, 0);
        for ((write, reply), outcome) in writes.into_iter().zip(replies).zip(outcomes) {
            match outcome {
                Err(fault) if matches!(fault.advice(), Advice::Wait | Advice::SlowDown) => {
                    waited_for = Some(fault);
                    again.push(WriteRow { write, reply });
                    continue;
                }
                Err(ref fault) => {
                    self.setup.meters.failed(1);
                    tracing::error!(row = %write.row, %fault, "row store refuses a row");
                    self.hands.failed(fault.clone());
                }
                Ok(()) => {
                    taps::row(&write);
                    rows += 1;
                    cells += write.change.parts.iter().map(|p| p.cells.len() as u64).sum::<u64>();
                }
            }
            reply.answer(outcome, now);
        }
        self.hands.done(rows);
        self.setup.meters.written(rows, cells);
        self.setup.meters.retried(again.len() as u64);
        match waited_for {
            None => self.hands.well(),
            Some(fault) => {
                let pause = self.hands.again(again, fault);
                ctx.run_later(pause, |act, ctx| {
                    act.hands.waited();
                    act.flush(ctx);
                });
            }
        }
        self.flush(ctx);
    }
}

impl Actor for WriterActor {
    type Context = Context<Self>;
}

impl Handler<Wake> for WriterActor {
    type Result = ();
    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.flush(ctx);
    }
}

impl Handler<Drain> for WriterActor {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.hands.drain();
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
        self.hands.observe()
    }
}
