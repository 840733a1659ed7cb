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
mod durability;
pub mod engine;
mod handlers;
mod marks;
mod shared;
mod sweep;
mod threads;
mod unread;
mod watch;
pub mod wiring;

pub use crate::messages::control::Drained;
pub use drain::DRAIN_STEPS;
pub use engine::{Engine, IdleState, Parts, SourcePart, block_on};
pub use threads::Threads;

use crate::domain::assignment::{Answer, Event, Generations};
use crate::domain::ids::{Millis, Name, Partition};
use crate::messages::control::{ActorExited, ActorId};
use crate::ports::ledger::Ledger;
use crate::ports::source::{Source, SourceControl};
use crate::settings::Settings;
use crate::telemetry::{ActorMeters, LaneMeters, WaitingFor};
use actix::prelude::*;
use assignment::{Hall, PartitionSlot};
use crew::{CrewSlot, Stores};
use directory::EntityDirectory;
use shared::ByteBudget;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Commits, sweeps and looks happen this often.
const TICK: Duration = Duration::from_millis(250);
/// Between two tries to read what earlier processes noted.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

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
    /// Why it has nothing to read from at the moment.
    waits: Option<String>,
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
    /// No commit before then: making rows durable may be dear.
    commit_after: Millis,
    /// W3: losses of the row store that were gone back for.
    losses: u64,
    /// Commits in a row that came to nothing.
    uncommitted: u32,
    tending: bool,
    /// J11: a sweep is under way.
    sweeping: bool,
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

    /// J11: what earlier processes noted is read before any source starts; a queue that does not answer is waited for.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let remembering = marks::remember(Arc::clone(&self.stores.queue), Arc::clone(&self.ledger));
        ctx.spawn(remembering.into_actor(self).map(|remembered, act, ctx| match remembered {
            Ok(remembered) => {
                act.remembered(remembered);
                act.start_sources(ctx);
            }
            Err(fault) => {
                WaitingFor { fault: &fault, attempts: 1, after: BEGIN_AGAIN }.emit();
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
