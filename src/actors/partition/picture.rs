//! What a partition shows of itself.

use super::PartitionActor;
use crate::messages::observe::{ActorKind, ActorState, Observation, Observe, PartitionView};
use actix::prelude::*;

impl PartitionActor {
    fn state(&self) -> (ActorState, String) {
        if let Some(why) = &self.stopped {
            return (ActorState::Stopped, why.clone());
        }
        if let Some(why) = &self.paused {
            return (ActorState::Paused, why.clone());
        }
        if self.drain_asked {
            return (ActorState::Draining, String::new());
        }
        let reason = if self.retrial(|r| r.is_alone()) { "one record at a time after failures (O2)" } else { "" };
        (ActorState::Running, reason.to_owned())
    }
}

impl Handler<Observe> for PartitionActor {
    type Result = Observation;
    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Observation {
        let (state, reason) = self.state();
        let now = (self.setup.clock)();
        let committed = self.setup.board.committed(self.life.partition).unwrap_or(self.life.start);
        let view = PartitionView {
            source: self.setup.source.clone(),
            topic: self.life.partition.topic.to_string(),
            partition: self.life.partition.number,
            generation: self.life.generation.0.to_string(),
            position: self.position.0.to_string(),
            committed: committed.0.to_string(),
            high_watermark: self.high_watermark.map(|h| h.to_string()),
            lag: self.high_watermark.map(|h| h.saturating_sub(self.frontier.committable().0).max(0) as u64),
            open_tickets: self.frontier.unsettled() as u64,
            open_bytes: self.frontier.bytes() as u64,
            ended: self.ended && self.backlog.is_empty(),
            paused: self.paused.clone().or_else(|| self.stopped.clone()),
        };
        Observation {
            state,
            reason,
            since: self.since.0,
            thread: self.life.thread,
            depth: self.backlog.len() as u64,
            in_flight: self.frontier.unsettled() as u64,
            handled: self.handled,
            restarts: self.life.restarts,
            last_error: self.last_error.clone(),
            last_progress: self.last_progress.0,
            partition: Some(view),
            ..Observation::new(
                format!("partition:{}:{}", self.life.partition.topic, self.life.partition.number),
                ActorKind::Partition,
                now,
            )
        }
    }
}
