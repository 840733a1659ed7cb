//! Many entities' jobs in one call of the queue; settles the records' tickets once it has accepted them.
//!
//! Keeps J5 (a ticket closes only after the queue accepted every job durably) and O2's last sentence (a queue that
//! cannot be reached is waited for). Knows nothing of lines or rows.

use super::BATCH_ROWS_MAX;
use super::backoff::Backoff;
use crate::domain::fault::{Advice, Fault};
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{Offer, Offered};
use crate::domain::steps::{self, Step};
use crate::messages::control::{Drain, Stop};
use crate::messages::observe::{ActorKind, ActorState, Observation, Observe};
use crate::messages::offer::OfferJobs;
use crate::messages::ticket::Ticket;
use crate::ports::queue::JobQueue;
use crate::telemetry::{JobOutcome, LineMeters, Stage, WaitingFor};
use actix::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

pub struct OffererSetup {
    pub queue: Arc<dyn JobQueue>,
    pub meters: Arc<HashMap<Name, LineMeters>>,
    pub clock: fn() -> Millis,
    pub thread: usize,
    pub restarts: u64,
}

pub struct OffererActor {
    setup: OffererSetup,
    waiting: VecDeque<OfferJobs>,
    in_flight: usize,
    backoff: Backoff,
    woken: bool,
    handled: u64,
    since: Millis,
    last_progress: Millis,
    last_error: Option<Fault>,
    draining: Vec<oneshot::Sender<u64>>,
}

impl OffererActor {
    pub fn new(setup: OffererSetup) -> Self {
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
        let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH_ROWS_MAX)).collect();
        self.in_flight = batch.len();
        self.last_progress = (self.setup.clock)();
        let offers: Vec<Offer> = batch.iter().flat_map(|m| m.offers.iter().cloned()).collect();
        let queue = Arc::clone(&self.setup.queue);
        let offering = async move {
            let lines: Vec<_> = offers.iter().map(|o| o.key.line).collect();
            // Rows no line looks at owe no job; the queue need not hear of them.
            let accepted = if offers.is_empty() { Ok(Vec::new()) } else { queue.offer(offers).await };
            (accepted, lines)
        };
        let done = offering.into_actor(self).map(move |(accepted, lines), act, ctx| {
            act.in_flight = 0;
            act.last_progress = (act.setup.clock)();
            match accepted {
                Ok(offered) => act.accepted(batch, &lines, &offered),
                Err(fault) => act.refused(batch, fault, ctx),
            }
            act.flush(ctx);
        });
        ctx.spawn(done);
    }

    fn accepted(&mut self, batch: Vec<OfferJobs>, lines: &[Name], offered: &[Offered]) {
        steps::reached(Step::JobsAccepted);
        self.backoff.reset();
        self.handled += offered.len() as u64;
        for (line, offered) in lines.iter().zip(offered) {
            let outcome = match offered {
                Offered::Created => JobOutcome::Created,
                Offered::Coalesced => JobOutcome::Coalesced,
                Offered::Spilled => JobOutcome::Spilled,
            };
            if let Some(meters) = self.setup.meters.get(line) {
                meters.jobs(outcome, 1);
            }
        }
        self.measure(&batch);
        Ticket::settle(batch.into_iter().flat_map(|m| m.tickets));
    }

    /// Stage delays of one job per line and batch: a sample, so that measuring costs nothing per event.
    fn measure(&self, batch: &[OfferJobs]) {
        let now = self.last_progress;
        let span = |from: Millis, to: Millis| Duration::from_millis(to.since(from) as u64);
        for meters in self.setup.meters.values() {
            let of_line = |m: &OfferJobs| m.offers.iter().position(|o| o.key.line == meters.line()).map(|at| (m.written, at));
            let Some((message, (written, at))) = batch.iter().find_map(|m| Some((m, of_line(m)?))) else { continue };
            let load = &message.offers[at].load;
            if let (Some(oldest), Some(logged)) = (load.oldest, load.logged) {
                meters.stage(Stage::BinlogToLog, span(oldest, logged));
            }
            if let Some(logged) = load.logged {
                meters.stage(Stage::LogToRow, span(logged, written));
            }
            meters.stage(Stage::RowToJob, span(written, now));
        }
    }

    fn refused(&mut self, batch: Vec<OfferJobs>, fault: Fault, ctx: &mut Context<Self>) {
        let advice = fault.advice();
        let text = fault.to_string();
        if !matches!(advice, Advice::Wait | Advice::SlowDown) {
            tracing::error!(%fault, jobs = batch.len(), "queue refuses offers, their records are read again");
            self.last_error = Some(fault);
            return Ticket::fail(batch.into_iter().flat_map(|m| m.tickets), &text);
        }
        let pause = self.backoff.pause();
        self.since = self.last_progress;
        WaitingFor { fault: &fault, attempts: self.backoff.tries(), after: pause }.emit();
        self.last_error = Some(fault);
        let mut waiting = VecDeque::from(batch);
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
        ctx.run_later(pause, |act, ctx| {
            act.backoff.waited();
            act.flush(ctx);
        });
    }
}

impl Actor for OffererActor {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for OffererActor {
    type Result = ();
    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.woken = false;
        self.flush(ctx);
    }
}

impl Handler<OfferJobs> for OffererActor {
    type Result = ();
    fn handle(&mut self, message: OfferJobs, ctx: &mut Self::Context) {
        self.waiting.push_back(message);
        if self.in_flight == 0 && !self.woken {
            self.woken = true;
            ctx.notify(Flush);
        }
    }
}

impl Handler<Drain> for OffererActor {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (done, answer) = oneshot::channel();
        self.draining.push(done);
        self.flush(ctx);
        Box::pin(async move { answer.await.unwrap_or(0) })
    }
}

impl Handler<Stop> for OffererActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Observe> for OffererActor {
    type Result = Observation;
    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Observation {
        let waiting = self.backoff.is_waiting();
        Observation {
            state: if waiting { ActorState::BackingOff } else { ActorState::Running },
            reason: self.last_error.as_ref().filter(|_| waiting).map(Fault::to_string).unwrap_or_default(),
            since: self.since.0,
            thread: self.setup.thread,
            depth: self.waiting.len() as u64,
            in_flight: self.in_flight as u64,
            handled: self.handled,
            restarts: self.setup.restarts,
            last_error: self.last_error.as_ref().map(Fault::to_string),
            last_progress: self.last_progress.0,
            ..Observation::new(format!("offerer:{}", self.setup.thread), ActorKind::Offerer, self.since)
        }
    }
}
