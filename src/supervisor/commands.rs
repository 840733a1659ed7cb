//! What operators ask of a running node, each with a reason into the audit log.

use super::Supervisor;
use crate::domain::decode::{self, Decoded};
use crate::domain::health::ActorState;
use crate::domain::ids::{Epoch, Generation, Millis, Partition};
use crate::domain::record::Record;
use crate::domain::route::{self, Origin, RowChange};
use crate::messages::control::{ActorId, Command, CommandError, PausePartition, ResumePartition};
use crate::messages::entity::{ApplyChanges, RowDirectory};
use crate::messages::ticket::{TicketHome, TicketsClosed};
use crate::ports::ledger::Ledger;
use actix::prelude::*;
use smallvec::smallvec;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What every command ends in.
type Done = Result<(), CommandError>;

impl Handler<Command> for Supervisor {
    type Result = ResponseActFuture<Self, Done>;

    fn handle(&mut self, command: Command, _: &mut Self::Context) -> Self::Result {
        audit(&command);
        if self.draining {
            return Box::pin(actix::fut::ready(Err(CommandError::Draining)));
        }
        let done = match command {
            Command::Pause { partition, reason } => self.pause(partition, reason),
            Command::Resume { partition, .. } => self.resume(partition),
            Command::Restart { actor, .. } => self.restart(&actor),
            Command::Replay { letter, source, id, .. } => match self.replay(&letter, &source) {
                Ok(settled) => return Box::pin(drop_letter(settled, Arc::clone(&self.ledger), id).into_actor(self)),
                Err(error) => Err(error),
            },
        };
        Box::pin(actix::fut::ready(done))
    }
}

/// The log names what was asked and why, never a row's values.
fn audit(command: &Command) {
    let (what, on, reason) = match command {
        Command::Pause { partition, reason } => ("pause", partition.to_string(), reason),
        Command::Resume { partition, reason } => ("resume", partition.to_string(), reason),
        Command::Restart { actor, reason } => ("restart", actor.clone(), reason),
        Command::Replay { id, reason, .. } => ("replay", id.clone(), reason),
    };
    tracing::info!(target: "audit", what, on, reason, "operator");
}

/// C7: a letter goes once its record has passed.
async fn drop_letter(settled: oneshot::Receiver<Done>, ledger: Arc<dyn Ledger>, id: String) -> Done {
    settled.await.unwrap_or(Err(CommandError::Draining))?;
    ledger.drop_dead_letter(&id).await.map_err(|fault| CommandError::StillBad(fault.to_string()))
}

impl Supervisor {
    fn pause(&mut self, partition: Partition, reason: String) -> Done {
        let slot = self.partitions.get_mut(&partition).ok_or(CommandError::NoSuchPartition(partition))?;
        slot.paused = Some(reason.clone());
        if let Some(address) = &slot.address {
            address.do_send(PausePartition { reason });
        }
        if let Some(control) = &self.sources[slot.source].control {
            control.pause(partition);
        }
        Ok(())
    }

    fn resume(&mut self, partition: Partition) -> Done {
        let slot = self.partitions.get_mut(&partition).ok_or(CommandError::NoSuchPartition(partition))?;
        slot.paused = None;
        slot.forgive();
        if let Some(address) = &slot.address {
            address.do_send(ResumePartition);
        }
        if let Some(control) = &self.sources[slot.source].control {
            control.resume(partition);
        }
        Ok(())
    }

    fn restart(&mut self, actor: &str) -> Done {
        let partitions = self.partitions.values().map(|s| &s.care);
        let mut cares = partitions.chain(self.crew.iter().map(|s| &s.care));
        let care = cares.find(|c| c.id.to_string() == actor).ok_or_else(|| CommandError::NoSuchActor(actor.to_owned()))?;
        let (id, state) = (care.id.clone(), care.state);
        if let ActorId::Partition(partition) = id
            && let Some(slot) = self.partitions.get(&partition)
        {
            slot.forgive();
        }
        if matches!(state, ActorState::Failed | ActorState::Stopped) {
            self.start_again(&id);
        } else {
            if let Some(care) = self.care_of(&id) {
                care.restart_asked = true;
            }
            self.stop_actor(&id);
        }
        Ok(())
    }

    /// Sends one record's changes to their entities under a ticket of its own. Its stamp is still its offset's, so what
    /// came later still wins (M4).
    fn replay(&self, record: &Record, source: &str) -> Result<oneshot::Receiver<Done>, CommandError> {
        let setup = self.sources.iter().find(|s| s.name == source).map(|s| &s.setup);
        let setup = setup.ok_or_else(|| CommandError::NoSuchSource(source.to_owned()))?;
        let assigned = self.partitions.get(&record.partition).map(|slot| &slot.assigned);
        let origin = Origin {
            partition: record.partition,
            // Not assigned here: as many as may be, so that C5 takes the careful way.
            partitions: assigned.map_or(u32::MAX, |a| a.partitions),
            epoch: assigned.map_or(Epoch::default(), |a| a.epochs.at(record.offset)),
            offset: record.offset,
            logged: record.timestamp,
        };
        let still_bad = |bad: decode::BadRecord| CommandError::StillBad(bad.to_string());
        let changes = match decode::decode(record, &setup.decode, &setup.schema).map_err(still_bad)? {
            Decoded::Ignored(_) => Vec::new(),
            Decoded::Changes(changes) => route::route(changes, &origin, &setup.route, &setup.schema).map_err(still_bad)?,
        };
        let (done, settled) = oneshot::channel();
        if changes.is_empty() {
            // The asker waits on the other end.
            let _ = done.send(Ok(()));
        } else {
            apply(changes, record, &*self.directory, (setup.clock)(), done);
        }
        Ok(settled)
    }
}

fn apply(changes: Vec<RowChange>, record: &Record, directory: &dyn RowDirectory, now: Millis, done: oneshot::Sender<Done>) {
    let waiting = Replaying { open: changes.len(), done: Some(done) }.start();
    let home = TicketHome::new(Generation::default(), waiting.recipient());
    for change in changes {
        let ticket = home.ticket(record.position);
        directory.apply(ApplyChanges { row: change.row.clone(), changes: smallvec![(change, ticket)], now });
    }
}

/// Waits for the tickets of one replayed record.
struct Replaying {
    open: usize,
    done: Option<oneshot::Sender<Done>>,
}

impl Actor for Replaying {
    type Context = Context<Self>;
}

impl Handler<TicketsClosed> for Replaying {
    type Result = ();
    fn handle(&mut self, message: TicketsClosed, ctx: &mut Self::Context) {
        self.open = self.open.saturating_sub(message.settled.len());
        let outcome = if message.failed.is_empty() {
            if self.open > 0 {
                return;
            }
            Ok(())
        } else {
            Err(CommandError::StillBad(message.cause.unwrap_or_else(|| "dropped without a verdict".to_owned())))
        };
        if let Some(done) = self.done.take() {
            // The asker may have gone.
            let _ = done.send(outcome);
        }
        ctx.stop();
    }
}
