//! What a partition is told to do by the supervisor: stand still, go on, skip what left the log, end.

use super::PartitionActor;
use crate::domain::restart::ExitReason;
use crate::messages::control::{PausePartition, ResumePartition, Stop};
use crate::messages::intake::SkipTo;
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

impl Handler<SkipTo> for PartitionActor {
    type Result = ();
    fn handle(&mut self, message: SkipTo, ctx: &mut Self::Context) {
        if message.reading >= self.life.reading {
            self.skip_to = self.skip_to.max(Some(message.to));
            self.advance(ctx);
        }
    }
}

impl Handler<Stop> for PartitionActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        *self.life.last_words.lock().unwrap_or_else(|e| e.into_inner()) = Some((ExitReason::Asked, String::new()));
        ctx.stop();
    }
}
