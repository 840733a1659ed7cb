//! The ordered end of a node (4.4), as data: who feeds closes first, a deadline per step, progress shown.

use super::Supervisor;
use crate::messages::control::{ActorId, Drain, DrainAll, Drained};
use crate::messages::observe::Observation;
use actix::prelude::*;
use futures_util::future::join_all;
use std::time::Duration;

/// One step of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStep {
    /// Sources read no more.
    StopReading,
    /// Every record taken in is settled: entities are idle and their jobs accepted, or the tickets would be open.
    PartitionsEmpty,
    /// Writers have nothing in flight.
    WritersEmpty,
    /// Offerers have nothing in flight.
    JobsAccepted,
    Commit,
    /// Sources leave their groups: others may take over.
    Leave,
    /// Running jobs finish or go back.
    SinksFinish,
}

/// The steps in order, each with its share of the drain's deadline in hundredths.
pub const DRAIN_STEPS: [(DrainStep, &str, u32); 7] = [
    (DrainStep::StopReading, "stop reading", 10),
    (DrainStep::PartitionsEmpty, "partitions empty", 35),
    (DrainStep::WritersEmpty, "writers empty", 10),
    (DrainStep::JobsAccepted, "jobs accepted", 10),
    (DrainStep::Commit, "commit", 10),
    (DrainStep::Leave, "leave", 5),
    (DrainStep::SinksFinish, "sinks finish", 20),
];

/// What one step came to.
type Step = std::pin::Pin<Box<dyn Future<Output = u64>>>;

impl Supervisor {
    fn step(&mut self, step: DrainStep) -> Step {
        match step {
            DrainStep::StopReading => {
                let controls: Vec<_> = self.sources.iter().filter_map(|s| s.control.clone()).collect();
                Box::pin(async move {
                    for control in controls {
                        control.stop().await;
                    }
                    0
                })
            }
            DrainStep::PartitionsEmpty => {
                let drains: Vec<_> = self.partitions.values().filter_map(|s| s.address.as_ref()).map(|a| a.send(Drain)).collect();
                Box::pin(async move { join_all(drains).await.into_iter().flatten().sum() })
            }
            DrainStep::WritersEmpty => self.drain_crew(|id| matches!(id, ActorId::Writer(_))),
            DrainStep::JobsAccepted => self.drain_crew(|id| matches!(id, ActorId::Offerer(_))),
            DrainStep::Commit => Box::pin(self.commit_all()),
            DrainStep::Leave => {
                let controls: Vec<_> = self.sources.iter().filter_map(|s| s.control.clone()).collect();
                Box::pin(async move {
                    join_all(controls.iter().map(|control| control.close())).await;
                    0
                })
            }
            DrainStep::SinksFinish => self.drain_crew(|id| matches!(id, ActorId::Sink { .. })),
        }
    }

    fn drain_crew(&self, which: impl Fn(&ActorId) -> bool) -> Step {
        let crew = self.crew.iter().filter(|slot| which(&slot.care.id));
        let drains: Vec<_> = crew.filter_map(|slot| slot.handle.as_ref()).map(|h| h.drain.send(Drain)).collect();
        Box::pin(async move { join_all(drains).await.into_iter().flatten().sum() })
    }

    fn commit_all(&mut self) -> impl Future<Output = u64> + use<> {
        let owed = self.owed(None);
        let committing = self.committing(owed);
        async move {
            let done = committing.await;
            if let Some(fault) = done.cause {
                tracing::warn!(%fault, "last commit failed");
            }
            done.left as u64
        }
    }

    /// Runs the steps from `next` on, one after the other.
    fn drain_from(&mut self, next: usize, mut drained: Drained) -> ResponseActFuture<Self, Drained> {
        let Some((step, name, share)) = DRAIN_STEPS.get(next).copied() else {
            return Box::pin(actix::fut::ready(drained));
        };
        tracing::info!(step = name, "draining");
        let deadline = self.settings.node.drain_deadline.mul_f64(f64::from(share) / 100.0).max(Duration::from_millis(200));
        let running = self.step(step);
        let looking = self.observe_all();
        let stepped = async move {
            match tokio::time::timeout(deadline, running).await {
                Ok(left) => Ok(left),
                Err(_) if step == DrainStep::PartitionsEmpty => Err(open_records(&looking.await)),
                Err(_) => Err(0),
            }
        };
        Box::pin(stepped.into_actor(self).then(move |ended, act: &mut Self, _| {
            match (step, ended) {
                (_, Err(open)) => {
                    tracing::warn!(step = name, deadline_ms = deadline.as_millis() as u64, "drain step passed its deadline");
                    drained.late.push(name);
                    drained.records += open;
                }
                (DrainStep::PartitionsEmpty, Ok(left)) => drained.records += left,
                (DrainStep::Commit, Ok(left)) => drained.uncommitted += left,
                (_, Ok(_)) => {}
            }
            act.drain_from(next + 1, drained)
        }))
    }
}

/// Records that partitions took and have not settled.
fn open_records(seen: &[(ActorId, u64, Option<Observation>)]) -> u64 {
    let seen = seen.iter().filter_map(|(.., seen)| seen.as_ref());
    seen.filter_map(|seen| Some(seen.partition.as_ref()?.open_tickets + seen.depth)).sum()
}

impl Handler<DrainAll> for Supervisor {
    type Result = ResponseActFuture<Self, Drained>;
    fn handle(&mut self, _: DrainAll, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        self.drain_from(0, Drained::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the order of 4.4 and whole shares. Method: read the data.
    #[test]
    fn who_feeds_closes_first() {
        let order: Vec<_> = DRAIN_STEPS.iter().map(|(step, ..)| *step).collect();
        let place = |step| order.iter().position(|s| *s == step).unwrap();
        assert!(place(DrainStep::StopReading) < place(DrainStep::PartitionsEmpty));
        assert!(place(DrainStep::PartitionsEmpty) < place(DrainStep::JobsAccepted));
        assert!(place(DrainStep::JobsAccepted) < place(DrainStep::Commit), "J5: jobs are accepted before the commit");
        assert!(place(DrainStep::Commit) < place(DrainStep::Leave), "O3: who leaves has committed");
        assert!(place(DrainStep::Leave) < place(DrainStep::SinksFinish));
        assert_eq!(DRAIN_STEPS.iter().map(|(.., share)| share).sum::<u32>(), 100);
    }
}
