//! What a partition is told to do by the supervisor: stand still, go on, end.

use super::PartitionActor;
use crate::domain::restart::ExitReason;
use crate::messages::control::{PausePartition, ResumePartition, Stop};
use actix::prelude::*;

impl Handler<PausePartition> for PartitionActor {
    type Result = ();
    fn handle(&mut self, message: PausePartition, _: &mut Self::Context) {
        self.paused = Some(message.reason);
        self.since = (self.setup.clock)();
    }
}

impl Handler<ResumePartition> for PartitionActor {
    type Result = ();
    fn handle(&mut self, _: ResumePartition, ctx: &mut Self::Context) {
        self.paused = None;
        self.stopped = None;
        self.since = (self.setup.clock)();
        self.advance(ctx);
    }
}

impl Handler<Stop> for PartitionActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        *self.life.last_words.lock().unwrap_or_else(|e| e.into_inner()) = Some((ExitReason::Asked, String::new()));
        ctx.stop();
    }
}
