//! Many entities' jobs in one call of the queue; settles the records' tickets once it has accepted them.
//!
//! Keeps J5: a ticket closes only after the queue accepted every job durably. A queue that cannot be reached is waited for
//! (`batching.rs`). Knows nothing of lines or rows.

use super::batching::Batching;
use super::taps;
use crate::domain::fault::{Advice, Fault};
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{Load, Offer, Offered};
use crate::domain::quick::QuickMap;
use crate::domain::steps::{self, Step};
use crate::messages::belt::{Belt, Wake};
use crate::messages::control::{Drain, Stop};
use crate::messages::observe::{ActorKind, Observation, Observe};
use crate::messages::offer::OfferJobs;
use crate::messages::ticket::Ticket;
use crate::ports::queue::JobQueue;
use crate::telemetry::{JobOutcome, LineMeters, Stage};
use actix::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub struct OffererSetup {
    pub queue: Arc<dyn JobQueue>,
    pub meters: Arc<HashMap<Name, LineMeters>>,
    pub clock: fn() -> Millis,
    pub thread: usize,
    pub restarts: u64,
}

pub struct OffererActor {
    setup: OffererSetup,
    hands: Batching<OfferJobs>,
}

impl OffererActor {
    pub fn new(belt: Belt<OfferJobs>, setup: OffererSetup) -> Self {
        Self { hands: Batching::new(belt, ActorKind::Offerer, setup.thread, setup.restarts, (setup.clock)()), setup }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        let Some(batch) = self.hands.next_batch((self.setup.clock)(), ctx, Self::flush) else { return };
        let offers: Vec<Offer> = batch.iter().flat_map(|m| m.offers.iter().cloned()).collect();
        let queue = Arc::clone(&self.setup.queue);
        let offering = async move {
            // Rows no line looks at owe no job; the queue need not hear of them.
            if offers.is_empty() { Ok(Vec::new()) } else { queue.offer(offers).await }
        };
        let done = offering.into_actor(self).map(move |accepted, act, ctx| {
            act.hands.answered((act.setup.clock)());
            match accepted {
                Ok(offered) => act.accepted(batch, &offered),
                Err(fault) => act.refused(batch, fault, ctx),
            }
            act.flush(ctx);
        });
        ctx.spawn(done);
    }

    fn accepted(&mut self, batch: Vec<OfferJobs>, offered: &[Offered]) {
        steps::reached(Step::JobsAccepted);
        self.hands.well();
        self.hands.done(offered.len() as u64);
        self.measure(&batch, offered, (self.setup.clock)());
        taps::jobs(batch.iter().flat_map(|m| &m.offers), offered);
        Ticket::settle(batch.into_iter().flat_map(|m| m.tickets));
    }

    /// Each line's outcomes, and the stage delays of its first job: a sample, so that measuring costs nothing per event.
    fn measure(&self, batch: &[OfferJobs], offered: &[Offered], now: Millis) {
        let mut lines: QuickMap<Name, ([u64; 3], Millis, &Load)> = QuickMap::default();
        let offers = batch.iter().flat_map(|m| m.offers.iter().map(|offer| (m.written, offer)));
        for ((written, offer), offered) in offers.zip(offered) {
            let (counts, ..) = lines.entry(offer.key.line).or_insert(([0; 3], written, &offer.load));
            counts[*offered as usize] += 1;
        }
        for (line, (counts, written, load)) in lines {
            let Some(meters) = self.setup.meters.get(&line) else { continue };
            for (outcome, offered) in OUTCOMES {
                meters.jobs(outcome, counts[offered as usize]);
            }
            stages(meters, load, written, now);
        }
    }

    fn refused(&mut self, batch: Vec<OfferJobs>, fault: Fault, ctx: &mut Context<Self>) {
        if !matches!(fault.advice(), Advice::Wait | Advice::SlowDown) {
            tracing::error!(%fault, jobs = batch.len(), "queue refuses offers, their records are read again");
            Ticket::fail(batch.into_iter().flat_map(|m| m.tickets), &fault.to_string());
            return self.hands.failed(fault);
        }
        let pause = self.hands.again(batch, fault);
        ctx.run_later(pause, |act, ctx| {
            act.hands.waited();
            act.flush(ctx);
        });
    }
}

const OUTCOMES: [(JobOutcome, Offered); 3] = [
    (JobOutcome::Created, Offered::Created),
    (JobOutcome::Coalesced, Offered::Coalesced),
    (JobOutcome::Spilled, Offered::Spilled),
];

/// How long the oldest change behind a job took to each stage.
fn stages(meters: &LineMeters, load: &Load, written: Millis, now: Millis) {
    let span = |from: Millis, to: Millis| Duration::from_millis(to.since(from) as u64);
    if let (Some(oldest), Some(logged)) = (load.oldest, load.logged) {
        meters.stage(Stage::BinlogToLog, span(oldest, logged));
    }
    if let Some(logged) = load.logged {
        meters.stage(Stage::LogToRow, span(logged, written));
    }
    meters.stage(Stage::RowToJob, span(written, now));
}

impl Actor for OffererActor {
    type Context = Context<Self>;
}

impl Handler<Wake> for OffererActor {
    type Result = ();
    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.flush(ctx);
    }
}

impl Handler<Drain> for OffererActor {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.hands.drain();
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
        self.hands.observe()
    }
}
