//! What the supervisor answers, and what it does by itself from time to time.

use super::assignment::{IntakeDoor, PartitionSlot, PartitionsAssigned, PartitionsRevoked, SourceFailed, SourceWaits};
use super::crew::{CrewSlot, Handle};
use super::{Supervisor, TICK};
use crate::actors::partition::CommitBoard;
use crate::domain::assignment::{Answer, Event};
use crate::domain::health::{ActorKind, ActorState};
use crate::domain::ids::Partition;
use crate::domain::job::LaneGuard;
use crate::domain::restart::ExitReason;
use crate::messages::control::{ActorExited, ActorId, Drain, EntityCounts, ExitSeen, LookAround, PausePartition, Picture, Stop};
use crate::messages::observe::{Observation, Observe};
use crate::ports::source::Intake;
use crate::telemetry::{ActorMeters, LaneMeters, PartitionMeters, PartitionReleased};
use actix::prelude::*;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How long an actor may take to show itself.
const SHOW: Duration = Duration::from_millis(500);
/// Exits shown in a picture.
const EXITS_SHOWN: usize = 50;
/// Ticks between two looks at everybody's progress, where silence is not to be noticed sooner, and between two tendings of
/// the queue.
const LOOK_TICKS: u64 = 20;
const TEND_TICKS: u64 = 4;

impl Supervisor {
    pub(super) fn start_sources(&mut self, ctx: &mut Context<Self>) {
        for slot in &mut self.sources {
            let Some(source) = slot.source.take() else { continue };
            let address = ctx.address();
            let door: Arc<dyn Intake> = Arc::new(IntakeDoor {
                source: slot.name.clone(),
                ledger: Arc::clone(&self.ledger),
                routes: Arc::clone(&self.hall.routes),
                assigned: address.clone().recipient(),
                revoked: address.clone().recipient(),
                failed: address.clone().recipient(),
                waits: address.clone().recipient(),
                cut: address.recipient(),
            });
            match source.start(door) {
                Ok(control) => slot.control = Some(control),
                Err(fault) => {
                    tracing::error!(source = slot.name, %fault, "source cannot start");
                    slot.failed = Some(fault.to_string());
                }
            }
        }
    }

    pub(super) fn tick(&mut self, ctx: &mut Context<Self>) {
        self.ticks += 1;
        if self.draining {
            return;
        }
        self.hear_losses();
        self.commit(ctx);
        for place in self.hall.threads.silent(self.settings.node.silence_max) {
            self.replace_thread(place, ctx);
        }
        if self.ticks.is_multiple_of(TEND_TICKS) {
            self.tend(ctx);
            self.directory.sweep(self.hall.now());
        }
        if self.ticks.is_multiple_of(self.look_ticks()) {
            self.look_for_stuck(ctx);
            self.measure_lanes(ctx);
            self.keep_marks(ctx);
            self.sweep_if_owed(ctx);
        }
    }

    /// Silence is noticed within a quarter of its length.
    fn look_ticks(&self) -> u64 {
        let quarter = self.settings.node.silence_max / 4;
        u64::try_from(quarter.as_millis() / TICK.as_millis()).unwrap_or(LOOK_TICKS).clamp(1, LOOK_TICKS)
    }

    /// A thread that no longer beats: everything on it starts anew elsewhere, under new generations (4.4). So do the
    /// partitions of other threads: their tickets may lie with entities of this one, which never speak again.
    fn replace_thread(&mut self, place: usize, ctx: &mut Context<Self>) {
        let silence = self.settings.node.silence_max;
        tracing::error!(thread = place, silence_ms = silence.as_millis() as u64, "actor thread is stuck, its actors start anew");
        self.crew.iter().filter(|slot| slot.care.thread == place).for_each(CrewSlot::unlink);
        self.hall.threads.replace(place);
        self.directory.abandon(place);
        let partitions = self.partitions.values().map(|s| &s.care);
        let crew = self.crew.iter().map(|s| &s.care).filter(|c| c.thread == place);
        let concerned = partitions.chain(crew).filter(|c| c.state == ActorState::Running);
        let concerned: Vec<_> = concerned.map(|c| (c.id.clone(), c.life, c.thread == place)).collect();
        for (id, life, on_it) in concerned {
            let (exit, cause) = if on_it {
                (ExitReason::Stuck, format!("its thread was silent for {silence:?}"))
            } else {
                (ExitReason::DownstreamGone, format!("entities on thread {place} were silent for {silence:?}"))
            };
            self.stop_actor(&id);
            self.exited(&ActorExited { id, life, exit, cause }, ctx);
        }
    }

    /// Who has work in hand and finishes nothing is stuck, though its thread may beat.
    fn look_for_stuck(&mut self, ctx: &mut Context<Self>) {
        let looked = self.observe_all();
        let silence = self.settings.node.silence_max;
        ctx.spawn(looked.into_actor(self).map(move |seen, act, ctx| {
            act.measure_actors(&seen);
            let now = act.hall.now();
            for (id, life, seen) in seen {
                let Some(seen) = seen else { continue };
                // A partition waits for others; only who calls a store itself can hang in a call.
                let calls = !matches!(id, ActorId::Partition(_));
                let silent = now.0 - seen.last_progress > silence.as_millis() as i64;
                if calls && silent && seen.in_flight > 0 && seen.state == ActorState::Running {
                    let cause = format!("{} in hand and nothing finished for {silence:?}", seen.in_flight);
                    act.stop_actor(&id);
                    act.exited(&ActorExited { id, life, exit: ExitReason::Stuck, cause }, ctx);
                }
            }
        }));
    }

    /// Everybody's picture of themselves; `None` for who did not answer in time.
    pub(super) fn observe_all(&self) -> impl Future<Output = Vec<(ActorId, u64, Option<Observation>)>> + use<> {
        let partitions = self
            .partitions
            .values()
            .map(|s| (s.care.id.clone(), s.care.life, s.address.as_ref().map(|a| a.clone().recipient::<Observe>())));
        let crew = self.crew.iter().map(|s| (s.care.id.clone(), s.care.life, s.handle.as_ref().map(|h| h.observe.clone())));
        let asked: Vec<_> = partitions.chain(crew).collect();
        async move {
            let looks = asked.into_iter().map(|(id, life, recipient)| async move {
                let seen = match recipient {
                    Some(recipient) => tokio::time::timeout(SHOW, recipient.send(Observe)).await.ok().and_then(Result::ok),
                    None => None,
                };
                (id, life, seen)
            });
            join_all(looks).await
        }
    }

    fn measure_actors(&mut self, seen: &[(ActorId, u64, Option<Observation>)]) {
        for kind in ActorKind::ALL {
            let of_kind: Vec<_> = seen.iter().filter(|(id, ..)| id.kind() == kind).filter_map(|s| s.2.as_ref()).collect();
            if of_kind.is_empty() {
                continue;
            }
            let meters = self.actor_meters.entry(kind).or_insert_with(|| ActorMeters::new(kind));
            meters.mailbox_depth(of_kind.iter().map(|s| s.depth).sum());
            meters.busy(of_kind.iter().map(|s| s.busy).sum::<f64>() / of_kind.len() as f64);
            meters.states(of_kind.iter().map(|s| s.state));
        }
        let (idle, working) = self.directory.states();
        let entities = self.actor_meters.entry(ActorKind::Entity).or_insert_with(|| ActorMeters::new(ActorKind::Entity));
        entities.counts(ActorState::Running, idle + working);
        for (.., seen) in seen {
            let Some(view) = seen.as_ref().and_then(|s| s.partition.as_ref()) else { continue };
            if let (Some(lag), Some(meters)) = (view.lag, self.partition_meters(view)) {
                meters.lag_records(lag as i64);
            }
        }
    }

    fn partition_meters(&mut self, view: &crate::messages::observe::PartitionView) -> Option<&PartitionMeters> {
        let key = Partition { topic: crate::domain::ids::Name::of(&view.topic), number: view.partition };
        let slot = self.partitions.get_mut(&key)?;
        Some(slot.meters.get_or_insert_with(|| PartitionMeters::new(key)))
    }

    fn measure_lanes(&mut self, ctx: &mut Context<Self>) {
        for line in self.settings.lines.iter().map(|l| l.line.name) {
            let queue = Arc::clone(&self.stores.queue);
            let counting = async move { queue.counts(line).await };
            ctx.spawn(counting.into_actor(self).map(move |counts, act, _| {
                let now = act.hall.now();
                for (place, count) in counts.unwrap_or_default().into_iter().enumerate() {
                    let Some((lane, _)) = act.settings.queue.lanes.get(place) else { continue };
                    let meters = act.lane_meters.entry((line, place)).or_insert_with(|| LaneMeters::new(line, *lane));
                    let oldest = count.oldest.map(|at| Duration::from_millis(now.since(at) as u64));
                    meters.set(count.waiting + count.retry, oldest);
                    meters.guards(LaneGuard::ALL.map(|guard| count.guards().any(|on| on == guard)));
                }
            }));
        }
    }

    pub(super) fn stop_actor(&self, id: &ActorId) {
        match id {
            ActorId::Partition(partition) => {
                if let Some(address) = self.partitions.get(partition).and_then(|s| s.address.as_ref()) {
                    address.do_send(Stop);
                }
            }
            _ => {
                let slot = self.crew.iter().find(|s| s.care.id == *id);
                if let Some(Handle { stop, .. }) = slot.and_then(|s| s.handle.as_ref()) {
                    stop.do_send(Stop);
                }
            }
        }
    }

    fn picture(&self, mut seen: Vec<(ActorId, u64, Option<Observation>)>) -> Picture {
        let now = self.hall.now();
        // Partitions that came while the others were asked belong in it too: a run is not idle because nobody asked them.
        for slot in self.partitions.values() {
            if !seen.iter().any(|(id, ..)| *id == slot.care.id) {
                let fresh = Observation {
                    state: ActorState::Starting,
                    ..Observation::new(slot.care.id.to_string(), ActorKind::Partition, now)
                };
                seen.push((slot.care.id.clone(), slot.care.life, Some(fresh)));
            }
        }
        let root = Observation {
            handled: self.ticks,
            since: self.started.0,
            state: if self.draining { ActorState::Draining } else { ActorState::Running },
            ..Observation::new("supervisor", ActorKind::Supervisor, now)
        };
        let mut actors = vec![root];
        for (id, _, seen) in seen {
            let care = match &id {
                ActorId::Partition(partition) => self.partitions.get(partition).map(|s| &s.care),
                _ => self.crew.iter().find(|s| s.care.id == id).map(|s| &s.care),
            };
            let Some(care) = care else { continue };
            let shown = seen.unwrap_or_else(|| Observation {
                state: if care.state == ActorState::Running { ActorState::Stuck } else { care.state },
                reason: if care.state == ActorState::Running { "does not answer".to_owned() } else { care.reason.clone() },
                since: care.since.0,
                thread: care.thread,
                restarts: care.restarts(),
                last_error: care.history.exits().next_back().map(|e| e.cause.clone()),
                ..Observation::new(id.to_string(), id.kind(), now)
            });
            actors.push(shown);
        }
        Picture {
            node: self.settings.node.id.clone(),
            started: self.started.0,
            now: now.0,
            draining: self.draining,
            threads: self.hall.threads.count(),
            actors,
            entities: self.entities(),
            open_bytes: self.budget.open(),
            open_bytes_max: self.settings.node.in_flight_bytes_max,
            exits: self.exits(),
            starting: self.sources.iter().filter(|s| !s.told && s.failed.is_none()).map(|s| s.name.clone()).collect(),
            waiting: self.sources.iter().filter_map(|s| Some((s.name.clone(), s.waits.clone()?))).collect(),
            failed: self.sources.iter().filter_map(|s| Some((s.name.clone(), s.failed.clone()?))).collect(),
        }
    }

    fn entities(&self) -> EntityCounts {
        use std::sync::atomic::Ordering::Relaxed;
        let (idle, working) = self.directory.states();
        let counts = &self.directory.counts;
        EntityCounts {
            live: idle + working,
            idle,
            working,
            bytes: self.directory.bytes() as u64,
            spawned: counts.spawned.load(Relaxed),
            passivated: counts.passivated.load(Relaxed),
            panicked: counts.panicked.load(Relaxed),
        }
    }

    fn exits(&self) -> Vec<ExitSeen> {
        let cares = self.partitions.values().map(|s| &s.care).chain(self.crew.iter().map(|s: &CrewSlot| &s.care));
        let mut exits: Vec<_> = cares
            .flat_map(|care| {
                care.history.exits().map(|e| ExitSeen {
                    actor: care.id.to_string(),
                    at: e.at.0,
                    reason: e.reason.label(),
                    cause: e.cause.clone(),
                })
            })
            .collect();
        exits.sort_by_key(|e| std::cmp::Reverse(e.at));
        exits.truncate(EXITS_SHOWN);
        exits
    }
}

impl Handler<ActorExited> for Supervisor {
    type Result = ();
    fn handle(&mut self, message: ActorExited, ctx: &mut Self::Context) {
        self.exited(&message, ctx);
    }
}

impl Handler<PartitionsAssigned> for Supervisor {
    type Result = ();
    fn handle(&mut self, message: PartitionsAssigned, _: &mut Self::Context) {
        let Some(source) = self.sources.iter().position(|s| s.name == message.source) else { return };
        self.sources[source].told = true;
        if let Some(noted) = message.noted {
            self.remember_of(&message.partitions, noted);
        }
        for assigned in message.partitions {
            let partition = assigned.partition;
            let start = self.begin_at(&assigned);
            self.hall.board.begin(partition, start);
            let thread = self.next_thread % self.hall.threads.count();
            self.next_thread += 1;
            let mut slot = PartitionSlot::new(source, assigned, thread, self.hall.now(), self.generations.of(partition));
            slot.heed(&self.hall);
            // Behind where the source begins (J11): it must be told.
            let control = self.sources[source].control.as_ref().filter(|_| start < slot.assigned.start);
            slot.start(&self.hall, Arc::clone(&self.sources[source].setup), control);
            self.partitions.insert(partition, slot);
        }
        // A dropped answer means that the source is gone already.
        let _ = message.done.send(());
    }
}

impl Handler<PartitionsRevoked> for Supervisor {
    type Result = ();
    fn handle(&mut self, message: PartitionsRevoked, ctx: &mut Self::Context) {
        let PartitionsRevoked { partitions: leaving, done } = message;
        let mut deadline = self.settings.node.drain_deadline;
        let mut drains = Vec::new();
        for partition in &leaving {
            let Some(slot) = self.partitions.get_mut(partition) else { continue };
            let (stage, answer) = slot.stage.after(Event::Revoked);
            slot.stage = stage;
            deadline = deadline.min(self.sources[slot.source].pace.revoke_deadline);
            if answer == Answer::Drain {
                drains.extend(slot.address.as_ref().map(|address| address.send(Drain)));
            }
        }
        let draining = async move { tokio::time::timeout(deadline, join_all(drains)).await.is_ok() };
        let left = draining.into_actor(self).then(move |_, act, _| {
            let owed = act.owed(None).into_iter().map(|(control, mut positions)| {
                positions.retain(|(p, _)| leaving.contains(p));
                (control, positions)
            });
            let committing = act.committing(owed.collect());
            // A coordinator that does not answer must not keep the group waiting: the records are read again.
            let committing = async move { tokio::time::timeout(deadline, committing).await.is_ok() };
            committing.into_actor(act).map(move |_, act, _| {
                leaving.into_iter().for_each(|partition| act.release(partition));
                act.directory.forget_all();
                // A dropped answer means that the source is gone already.
                let _ = done.send(());
            })
        });
        ctx.spawn(left);
    }
}

impl Supervisor {
    /// O3: from here on nothing that is said of the partition commits anything.
    fn release(&mut self, partition: Partition) {
        self.stop_actor(&ActorId::Partition(partition));
        let Some(slot) = self.partitions.get_mut(&partition) else { return };
        let (stage, answer) = slot.stage.after(Event::Left);
        slot.stage = stage;
        if answer != Answer::Forget {
            return;
        }
        let generation = slot.generation();
        let unsettled = slot.open.load(std::sync::atomic::Ordering::Relaxed);
        let committed = self.hall.board.committed(partition).unwrap_or(slot.assigned.start);
        PartitionReleased { partition, committed, unsettled }.emit();
        self.generations.keep(partition, generation);
        self.unmark(partition);
        self.hall.routes.clear(partition);
        self.hall.board.forget(partition);
        self.partitions.remove(&partition);
    }
}

impl Handler<SourceFailed> for Supervisor {
    type Result = ();
    fn handle(&mut self, message: SourceFailed, _: &mut Self::Context) {
        tracing::error!(source = message.source, fault = %message.fault, "source cannot go on");
        let reason = message.fault.to_string();
        match message.partition.and_then(|p| self.partitions.get_mut(&p)) {
            Some(slot) => {
                if let Some(address) = &slot.address {
                    address.do_send(PausePartition { reason: reason.clone() });
                }
                slot.paused = Some(reason);
            }
            None => {
                if let Some(source) = self.sources.iter_mut().find(|s| s.name == message.source) {
                    source.failed = Some(reason);
                }
            }
        }
    }
}

impl Handler<SourceWaits> for Supervisor {
    type Result = ();
    fn handle(&mut self, message: SourceWaits, _: &mut Self::Context) {
        if let Some(source) = self.sources.iter_mut().find(|s| s.name == message.source) {
            source.waits = message.why.map(|fault| fault.what);
        }
    }
}

impl Handler<LookAround> for Supervisor {
    type Result = ResponseActFuture<Self, Picture>;
    fn handle(&mut self, _: LookAround, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.observe_all().into_actor(self).map(|seen, act, _| act.picture(seen)))
    }
}
