//! The actors that do not come and go with partitions: a writer and an offerer per thread, sink workers per line.

use super::assignment::Hall;
use super::care::Care;
use super::watch::spawn_watched;
use crate::actors::offerer::{OffererActor, OffererSetup};
use crate::actors::sink::{SinkActor, SinkSetup};
use crate::actors::writer::{WriterActor, WriterSetup};
use crate::domain::ids::{Millis, Name};
use crate::domain::restart::Policy;
use crate::messages::belt::Belt;
use crate::messages::control::{ActorId, Drain, Stop};
use crate::messages::observe::Observe;
use crate::messages::offer::OfferJobs;
use crate::messages::write::WriteRow;
use crate::ports::queue::JobQueue;
use crate::ports::rows::RowStore;
use crate::telemetry::{LineMeters, StoreMeters};
use actix::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// What the supervisor asks of any actor.
pub struct Handle {
    pub observe: Recipient<Observe>,
    pub drain: Recipient<Drain>,
    pub stop: Recipient<Stop>,
}

impl Handle {
    pub fn of<A>(address: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Observe> + Handler<Drain> + Handler<Stop>,
    {
        Self { observe: address.clone().recipient(), drain: address.clone().recipient(), stop: address.clone().recipient() }
    }
}

/// What one place on a thread is played by.
pub enum Role {
    Writer(Belt<WriteRow>),
    Offerer(Belt<OfferJobs>),
    Sink(Arc<SinkSetup>),
}

/// One crew member over its lives.
pub struct CrewSlot {
    pub role: Role,
    pub care: Care,
    pub handle: Option<Handle>,
}

/// What writers and offerers are made of.
pub struct Stores {
    pub rows: Arc<dyn RowStore>,
    pub queue: Arc<dyn JobQueue>,
    pub store_meters: StoreMeters,
    pub line_meters: Arc<HashMap<Name, LineMeters>>,
}

impl CrewSlot {
    pub fn new(role: Role, id: ActorId, thread: usize, now: Millis) -> Self {
        Self { role, care: Care::new(id, thread, Policy::default(), now), handle: None }
    }

    /// Starts a fresh actor in this place and points everyone to it.
    pub fn start(&mut self, hall: &Hall, stores: &Stores) {
        let life = self.care.begin(hall.now());
        let (thread, restarts, clock) = (self.care.thread, self.care.restarts(), hall.clock);
        let place = Place { hall, id: self.care.id.clone(), life, care: &self.care };
        self.handle = Some(match &self.role {
            Role::Writer(belt) => {
                let taken = belt.clone();
                let (rows, meters) = (Arc::clone(&stores.rows), stores.store_meters.clone());
                let address =
                    place.spawn(move |_| WriterActor::new(taken, WriterSetup { rows, meters, clock, thread, restarts }));
                belt.point_to(address.clone().recipient());
                Handle::of(&address)
            }
            Role::Offerer(belt) => {
                let taken = belt.clone();
                let (queue, meters) = (Arc::clone(&stores.queue), Arc::clone(&stores.line_meters));
                let address =
                    place.spawn(move |_| OffererActor::new(taken, OffererSetup { queue, meters, clock, thread, restarts }));
                belt.point_to(address.clone().recipient());
                Handle::of(&address)
            }
            Role::Sink(setup) => {
                let (setup, worker) = (Arc::clone(setup), self.worker());
                Handle::of(&place.spawn(move |_| SinkActor::new(setup, worker, thread, restarts)))
            }
        });
    }

    /// Points nobody to this place until it starts anew: what is sent meanwhile comes back, instead of lying in the mailbox of
    /// a stuck thread.
    pub fn unlink(&self) {
        match &self.role {
            Role::Writer(belt) => belt.clear(),
            Role::Offerer(belt) => belt.clear(),
            Role::Sink(_) => {}
        }
    }

    fn worker(&self) -> usize {
        match self.care.id {
            ActorId::Sink { worker, .. } => worker,
            _ => 0,
        }
    }
}

struct Place<'a> {
    hall: &'a Hall,
    id: ActorId,
    life: u64,
    care: &'a Care,
}

impl Place<'_> {
    fn spawn<A>(self, build: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
    {
        let arbiter = self.hall.threads.at(self.care.thread);
        spawn_watched(&arbiter, self.id, self.life, Arc::clone(&self.care.last_words), self.hall.exits.clone(), build)
    }
}
