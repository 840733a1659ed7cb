//! Partitions as the sources hand them out: one actor each, generations, rewinds, leaving.
//!
//! Keeps O2 (a failed generation goes on from the frontier under a new one) and O3 (leaving drains and commits first).
//! The intake door is what sources call; it runs on their threads and only passes on.

use super::care::{Care, PARTITION_POLICY};
use super::marks::{Noted, noted};
use super::shared::{Board, Routes};
use super::threads::Threads;
use super::watch::spawn_watched;
use crate::actors::partition::{PartitionActor, PartitionLife, PartitionSetup};
use crate::domain::assignment::{Event, Stage};
use crate::domain::breadcrumb::{Caution, Crumb};
use crate::domain::fault::Fault;
use crate::domain::ids::{Generation, Millis, Partition};
use crate::domain::retrial::Retrial;
use crate::messages::control::{ActorExited, ActorId, PausePartition};
use crate::messages::intake::{SourceEnded, TakeRecords};
use crate::ports::Answer;
use crate::ports::ledger::{Breadcrumbs, Ledger};
use crate::ports::source::{Assigned, Cut, Delivery, Intake, SourceControl};
use crate::telemetry::{PartitionMeters, PartitionRewound, PartitionStarted};
use actix::prelude::*;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long new partitions wait for what their last owners noted.
const NOTED: Duration = Duration::from_secs(5);

/// One partition of this node.
pub struct PartitionSlot {
    pub source: usize,
    pub assigned: Assigned,
    pub care: Care,
    pub address: Option<Addr<PartitionActor>>,
    /// An operator's pause outlives restarts.
    pub paused: Option<String>,
    pub meters: Option<PartitionMeters>,
    /// Where it is in its life here (O3).
    pub stage: Stage,
    generation: Generation,
    reading: Generation,
    retrial: Arc<Mutex<Retrial>>,
    caution: Arc<Mutex<Caution>>,
    /// Records of the running generation without a verdict.
    pub open: Arc<AtomicUsize>,
}

impl PartitionSlot {
    /// `last` is the generation an earlier stay here ended with.
    pub fn new(source: usize, assigned: Assigned, thread: usize, now: Millis, last: Generation) -> Self {
        Self {
            source,
            care: Care::new(ActorId::Partition(assigned.partition), thread, PARTITION_POLICY, now).after(last.0),
            assigned,
            address: None,
            paused: None,
            meters: None,
            stage: Stage::default(),
            generation: last,
            reading: Generation(0),
            retrial: Arc::default(),
            caution: Arc::default(),
            open: Arc::default(),
        }
    }

    /// Starts the next generation: the first where the source begins, later ones at the frontier, with a rewind. The route
    /// points to the new actor before the rewind, so that nothing of the new reading is delivered to nobody.
    pub fn start(&mut self, hall: &Hall, setup: Arc<PartitionSetup>, control: Option<&Arc<dyn SourceControl>>) {
        let partition = self.assigned.partition;
        self.generation = self.generation.next();
        self.stage = self.stage.after(Event::Started).0;
        let start = hall.board.settled(partition).unwrap_or(self.assigned.start);
        if control.is_some() {
            self.reading = self.reading.next();
            PartitionRewound { partition, generation: self.generation, to: start, why: &self.care.reason }.emit();
        } else {
            PartitionStarted { partition, generation: self.generation, start }.emit();
        }
        hall.board.give_to(partition, self.generation);
        let life = self.care.begin(hall.now());
        let settings = PartitionLife {
            partition,
            generation: self.generation,
            reading: self.reading,
            start,
            partitions: self.assigned.partitions,
            epochs: self.assigned.epochs.clone(),
            high_watermark: self.assigned.high_watermark,
            thread: self.care.thread,
            restarts: self.care.restarts(),
            retrial: Arc::clone(&self.retrial),
            caution: Arc::clone(&self.caution),
            crumb: hall.crumbs.as_ref().and_then(|crumbs| crumbs.of(partition)),
            open: Arc::clone(&self.open),
            last_words: Arc::clone(&self.care.last_words),
        };
        let address = spawn_watched(
            &hall.threads.at(self.care.thread),
            self.care.id.clone(),
            life,
            Arc::clone(&self.care.last_words),
            hall.exits.clone(),
            move |ctx| PartitionActor::new(setup, settings, ctx.address().recipient()),
        );
        if let Some(reason) = &self.paused {
            address.do_send(PausePartition { reason: reason.clone() });
        }
        hall.routes.point(partition, address.clone().recipient(), address.clone().recipient());
        self.address = Some(address);
        if let Some(control) = control {
            self.reading = control.rewind(partition, start).max(self.reading);
        }
    }

    /// O2: what the process before left of this partition is heeded.
    pub fn heed(&self, hall: &Hall) {
        let Some(crumb) = hall.crumbs.as_ref().and_then(|crumbs| crumbs.found(self.assigned.partition)) else { return };
        let Crumb { first, last, deaths } = crumb;
        tracing::warn!(partition = %self.assigned.partition, first, last, deaths, "a process died with these records in hand, they are taken one by one");
        *self.caution.lock().unwrap_or_else(|e| e.into_inner()) = Caution::after(Some(crumb));
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// An operator wants a fresh try: what was counted against records is forgiven.
    pub fn forgive(&self) {
        self.retrial.lock().unwrap_or_else(|e| e.into_inner()).forgive();
    }
}

/// What starting an actor takes.
pub struct Hall {
    pub threads: Arc<Threads>,
    pub board: Arc<Board>,
    pub routes: Arc<Routes>,
    pub exits: Recipient<ActorExited>,
    pub crumbs: Option<Arc<dyn Breadcrumbs>>,
    pub clock: fn() -> Millis,
}

impl Hall {
    pub fn now(&self) -> Millis {
        (self.clock)()
    }
}

/// New partitions from a source; answered when their actors run.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PartitionsAssigned {
    pub source: String,
    pub partitions: Vec<Assigned>,
    /// What their last owners noted, if that could be read just now (J11).
    pub noted: Option<Noted>,
    pub done: oneshot::Sender<()>,
}

/// Partitions leave; answered when they are drained and committed, or the deadline has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PartitionsRevoked {
    pub partitions: Vec<Partition>,
    pub done: oneshot::Sender<()>,
}

/// The log of a partition no longer reaches back to where its reading was to go on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PartitionCut {
    pub partition: Partition,
    pub reading: Generation,
    pub cut: Cut,
}

/// A source cannot go on with a partition, or at all.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SourceFailed {
    pub source: String,
    pub partition: Option<Partition>,
    pub fault: Fault,
}

/// A source waits for others to let it read, or does so no longer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SourceWaits {
    pub source: String,
    pub why: Option<Fault>,
}

/// The door sources call.
pub struct IntakeDoor {
    pub source: String,
    pub ledger: Arc<dyn Ledger>,
    pub routes: Arc<Routes>,
    pub assigned: Recipient<PartitionsAssigned>,
    pub revoked: Recipient<PartitionsRevoked>,
    pub failed: Recipient<SourceFailed>,
    pub waits: Recipient<SourceWaits>,
    pub cut: Recipient<PartitionCut>,
}

impl Intake for IntakeDoor {
    fn assigned(&self, source: &str, partitions: Vec<Assigned>) -> Answer<'static, ()> {
        let (done, answer) = oneshot::channel();
        let (source, to) = (source.to_owned(), self.assigned.clone());
        if partitions.is_empty() {
            to.do_send(PartitionsAssigned { source, partitions, noted: None, done });
            return Box::pin(async move { drop(answer.await) });
        }
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move {
            // Without it the partitions go back further than they need to, which is safe.
            let noted = tokio::time::timeout(NOTED, noted(&*ledger)).await.ok().and_then(Result::ok);
            to.do_send(PartitionsAssigned { source, partitions, noted, done });
            // A dropped answer means that the node is ending: the source goes on to its own stop.
            drop(answer.await);
        })
    }

    fn deliver(&self, delivery: Delivery) -> Answer<'static, ()> {
        let Some(partition) = self.routes.records(delivery.partition) else {
            // Between two generations: the rewind reads these records again.
            return Box::pin(std::future::ready(()));
        };
        let (taken, answer) = oneshot::channel();
        partition.do_send(TakeRecords { delivery, taken });
        Box::pin(async move { drop(answer.await) })
    }

    fn ended(&self, partition: Partition, reading: Generation) {
        if let Some(route) = self.routes.ended(partition) {
            route.do_send(SourceEnded { reading });
        }
    }

    fn cut(&self, partition: Partition, reading: Generation, cut: Cut) {
        self.cut.do_send(PartitionCut { partition, reading, cut });
    }

    fn revoked(&self, partitions: Vec<Partition>) -> Answer<'static, ()> {
        let (done, answer) = oneshot::channel();
        self.revoked.do_send(PartitionsRevoked { partitions, done });
        Box::pin(async move { drop(answer.await) })
    }

    fn waits(&self, why: Option<Fault>) {
        self.waits.do_send(SourceWaits { source: self.source.clone(), why });
    }

    fn failed(&self, partition: Option<Partition>, fault: Fault) {
        self.failed.do_send(SourceFailed { source: self.source.clone(), partition, fault });
    }
}
