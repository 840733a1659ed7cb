//! The root: spawns an actor per assigned partition, restarts what fails, commits, drains, shows.
//!
//! Keeps O1 (commits come from the board of contiguous positions, behind W2), O2, O3, 4.4's supervision. `wiring.rs` is
//! the only place that knows concrete stores, sources and sinks.

mod assignment;
mod care;
mod commands;
mod crew;
pub mod directory;
mod drain;
pub mod engine;
mod handlers;
mod marks;
mod shared;
mod threads;
mod unread;
mod watch;
pub mod wiring;

pub use crate::messages::control::Drained;
pub use drain::DRAIN_STEPS;
pub use engine::{Engine, IdleState, Parts, SourcePart, block_on};
pub use threads::Threads;

use crate::domain::assignment::{Answer, Event, Generations};
use crate::domain::ids::{Millis, Name, NextOffset, Partition};
use crate::messages::control::{ActorExited, ActorId};
use crate::ports::ledger::Ledger;
use crate::ports::source::{Source, SourceControl};
use crate::settings::Settings;
use crate::telemetry::{ActorMeters, LaneMeters};
use actix::prelude::*;
use assignment::{Hall, PartitionSlot};
use crew::{CrewSlot, Stores};
use directory::EntityDirectory;
use shared::{Board, ByteBudget};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Commits, sweeps and looks happen this often.
const TICK: Duration = Duration::from_millis(250);
/// Between two tries to read what earlier processes noted.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// Positions to commit with the source that keeps them.
type Owed = (Arc<dyn SourceControl>, Vec<(Partition, NextOffset)>);

/// One configured source.
struct SourceSlot {
    name: String,
    setup: Arc<crate::actors::partition::PartitionSetup>,
    source: Option<Box<dyn Source>>,
    control: Option<Arc<dyn SourceControl>>,
    /// Positions are committed this often, and a drain for the group's sake takes this long at most.
    pace: Pace,
    committed: Millis,
    /// It has told its partitions.
    told: bool,
    failed: Option<String>,
}

/// What a source's kind asks of the engine's timing.
#[derive(Clone, Copy, Debug)]
struct Pace {
    commit_every: Duration,
    revoke_deadline: Duration,
}

/// The root actor.
pub struct Supervisor {
    settings: Arc<Settings>,
    hall: Hall,
    stores: Stores,
    ledger: Arc<dyn Ledger>,
    sources: Vec<SourceSlot>,
    partitions: BTreeMap<Partition, PartitionSlot>,
    /// What partitions that left had, so that they go on counting when they come back.
    generations: Generations,
    crew: Vec<CrewSlot>,
    directory: Arc<EntityDirectory>,
    budget: Arc<ByteBudget>,
    marks: marks::Marks,
    started: Millis,
    draining: bool,
    committing: bool,
    tending: bool,
    ticks: u64,
    next_thread: usize,
    actor_meters: HashMap<crate::domain::health::ActorKind, ActorMeters>,
    lane_meters: HashMap<(Name, usize), LaneMeters>,
}

impl Supervisor {
    /// A word that must not be lost: what it means is decided in `care.rs`.
    fn exited(&mut self, exited: &ActorExited, ctx: &mut Context<Self>) {
        use crate::domain::restart::Action;
        let (draining, now) = (self.draining, self.hall.now());
        let Some(care) = self.care_of(&exited.id) else { return };
        let Some(action) = care.exited(exited, draining, now) else { return };
        if let ActorId::Partition(partition) = exited.id {
            self.hall.routes.clear(partition);
            if let Some(slot) = self.partitions.get_mut(&partition) {
                slot.address = None;
                let (stage, answer) = slot.stage.after(Event::Ended);
                slot.stage = stage;
                if answer != Answer::MayRestart {
                    return;
                }
            }
        }
        if let Action::Restart { after } = action {
            let id = exited.id.clone();
            ctx.run_later(after, move |act, _| act.start_again(&id));
        }
    }

    fn care_of(&mut self, id: &ActorId) -> Option<&mut care::Care> {
        match id {
            ActorId::Partition(partition) => self.partitions.get_mut(partition).map(|slot| &mut slot.care),
            _ => self.crew.iter_mut().find(|slot| slot.care.id == *id).map(|slot| &mut slot.care),
        }
    }

    fn start_again(&mut self, id: &ActorId) {
        if self.draining {
            return;
        }
        match id {
            ActorId::Partition(partition) => {
                let slot = self.partitions.get_mut(partition).filter(|slot| slot.stage.may_start());
                let Some(slot) = slot else { return };
                let source = &self.sources[slot.source];
                slot.start(&self.hall, Arc::clone(&source.setup), source.control.as_ref());
            }
            _ => {
                if let Some(slot) = self.crew.iter_mut().find(|slot| slot.care.id == *id) {
                    slot.start(&self.hall, &self.stores);
                }
            }
        }
    }

    /// O1 behind W2: what is settled is made durable, then committed. One commit is under way at a time.
    fn commit(&mut self, ctx: &mut Context<Self>) {
        if self.committing {
            return;
        }
        let owed = self.owed(Some(self.hall.now()));
        if owed.is_empty() {
            return;
        }
        self.committing = true;
        let committing = self.committing(owed);
        ctx.spawn(committing.into_actor(self).map(|left, act, _| {
            act.committing = false;
            if left > 0 {
                tracing::warn!(partitions = left, "positions not committed, trying again");
            }
        }));
    }

    fn committing(&self, owed: Vec<Owed>) -> impl Future<Output = usize> + use<> {
        let notes = self.life_notes(&owed);
        let (ledger, rows) = (Arc::clone(&self.ledger), Arc::clone(&self.stores.rows));
        commit(owed, notes, ledger, rows, Arc::clone(&self.hall.board))
    }

    /// Positions to commit, by the source that keeps them; with a time, only of sources whose turn it is.
    fn owed(&mut self, now: Option<Millis>) -> Vec<Owed> {
        let mut by_source: Vec<Vec<(Partition, NextOffset)>> = vec![Vec::new(); self.sources.len()];
        for (partition, next) in self.hall.board.owed() {
            if let Some(slot) = self.partitions.get(&partition) {
                by_source[slot.source].push((partition, next));
            }
        }
        let mut owed = Vec::new();
        for (source, positions) in self.sources.iter_mut().zip(by_source).filter(|(_, positions)| !positions.is_empty()) {
            let due = |now: Millis| now.since(source.committed) >= source.pace.commit_every.as_millis() as i64;
            if now.is_some_and(|now| !due(now)) {
                continue;
            }
            source.committed = now.unwrap_or(source.committed);
            owed.extend(source.control.as_ref().map(|control| (Arc::clone(control), positions)));
        }
        owed
    }

    /// J11: what earlier processes noted is read before any source starts; a queue that does not answer is waited for.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let remembering = marks::remember(Arc::clone(&self.stores.queue), Arc::clone(&self.ledger));
        ctx.spawn(remembering.into_actor(self).map(|remembered, act, ctx| match remembered {
            Ok(remembered) => {
                act.remembered(remembered);
                act.start_sources(ctx);
            }
            Err(fault) => {
                crate::telemetry::WaitingFor { fault: &fault, attempts: 1, after: BEGIN_AGAIN }.emit();
                ctx.run_later(BEGIN_AGAIN, |act, ctx| act.begin(ctx));
            }
        }));
    }

    /// The queue's own housekeeping, once a second.
    fn tend(&mut self, ctx: &mut Context<Self>) {
        if self.tending {
            return;
        }
        self.tending = true;
        let queue = Arc::clone(&self.stores.queue);
        let tending = async move { queue.tend().await };
        ctx.spawn(tending.into_actor(self).map(|tended, act, _| {
            act.tending = false;
            if let Err(fault) = tended {
                tracing::warn!(%fault, "queue cannot be tended");
            }
        }));
    }
}

/// Commits by source; the number of partitions that could not be. `notes` stand before anything is committed (J11).
async fn commit(
    owed: Vec<Owed>,
    notes: Vec<(String, Option<String>)>,
    ledger: Arc<dyn Ledger>,
    rows: Arc<dyn crate::ports::rows::RowStore>,
    board: Arc<Board>,
) -> usize {
    let all = owed.iter().map(|(_, positions)| positions.len()).sum();
    if !notes.is_empty()
        && let Err(fault) = ledger.set_notes(notes).await
    {
        tracing::warn!(%fault, "queue's life cannot be noted, positions wait");
        return all;
    }
    if let Err(fault) = rows.make_durable().await {
        tracing::warn!(%fault, "rows cannot be made durable, positions wait");
        return all;
    }
    let mut left = 0;
    for (control, mut positions) in owed {
        // A partition may have left while the rows were made durable; the source hears of it before anything else happens.
        positions.retain(|(partition, next)| board.owes(*partition, *next));
        match control.commit(positions.clone()).await {
            Ok(()) => {
                board.mark_committed(&positions);
                crate::domain::steps::reached(crate::domain::steps::Step::PositionCommitted);
            }
            Err(fault) => {
                tracing::warn!(%fault, "commit failed");
                left += positions.len();
            }
        }
    }
    left
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for slot in &mut self.crew {
            slot.start(&self.hall, &self.stores);
        }
        self.begin(ctx);
        ctx.run_interval(TICK, |act, ctx| act.tick(ctx));
    }
}
