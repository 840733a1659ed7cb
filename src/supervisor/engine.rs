//! A running node in the hands of its caller: start, look, wait until idle, drain.

use super::assignment::Hall;
use super::crew::{CrewSlot, Role, Stores};
use super::directory::{Bounds, EntityDirectory};
use super::shared::{Board, ByteBudget, Routes};
use super::threads::Threads;
use super::{Pace, SourceSlot, Supervisor};
use crate::actors::delivery::Policy;
use crate::actors::entity::EntitySetup;
use crate::actors::partition::PartitionSetup;
use crate::actors::sink::{LineBreaker, SinkSetup};
use crate::domain::assignment::Generations;
use crate::domain::decode::DecodeSettings;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::health::ActorState;
use crate::domain::ids::{Millis, Name};
use crate::domain::portion::Portion;
use crate::domain::route::RouteSettings;
use crate::messages::belt::Belt;
use crate::messages::control::{ActorId, Command, DrainAll, Drained, LookAround, Picture};
use crate::messages::offer::OfferJobs;
use crate::messages::write::WriteRow;
use crate::ports::Doors;
use crate::ports::ledger::{DeadLetter, Ledger};
use crate::ports::sink::Sink;
use crate::ports::source::Source;
use crate::settings::{self, LineSettings, OnBadRecord, Settings};
use crate::telemetry::{LineMeters, StoreMeters, Totals};
use actix::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The doors a node runs on.
pub struct Parts {
    pub doors: Doors,
    pub sources: Vec<SourcePart>,
}

/// A source and how its records are read.
pub struct SourcePart {
    pub settings: settings::Source,
    pub source: Box<dyn Source>,
}

/// A running node.
#[derive(Clone)]
pub struct Engine {
    supervisor: Addr<Supervisor>,
    threads: Arc<Threads>,
    directory: Arc<EntityDirectory>,
    pub doors: Doors,
    /// Lines whose jobs are worked here.
    pub delivered: Vec<Name>,
    pub totals: Arc<Totals>,
    /// K5's switches by line.
    pub skip_equal: Arc<HashMap<Name, Arc<AtomicBool>>>,
}

/// Whether a run of finite sources is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdleState {
    Busy,
    Idle,
    /// It will not become idle by itself, and why.
    Stopped(String),
}

impl Engine {
    /// Starts every actor of the node. Must be called on the system's own thread.
    pub fn start(settings: Arc<Settings>, parts: Parts, totals: Arc<Totals>, clock: fn() -> Millis) -> Self {
        let threads = Threads::start(settings.node.threads);
        Self::start_on(threads, settings, parts, totals, clock)
    }

    /// The same on threads that are there already.
    pub fn start_on(
        threads: Arc<Threads>,
        settings: Arc<Settings>,
        parts: Parts,
        totals: Arc<Totals>,
        clock: fn() -> Millis,
    ) -> Self {
        let node = &settings.node;
        let bounds = Bounds { entities_max: node.entities_max, bytes_max: node.entity_bytes_max, idle_max: node.entity_idle_max };
        let directory = EntityDirectory::new(Arc::clone(&threads), bounds);
        let stores = stores(&parts.doors, &settings, &totals);
        let skip_equal: HashMap<Name, Arc<AtomicBool>> =
            settings.lines.iter().map(|l| (l.line.name, Arc::new(AtomicBool::new(l.line.skip_equal)))).collect();
        let skip_equal = Arc::new(skip_equal);
        let (board, budget) = (Arc::new(Board::default()), Arc::new(ByteBudget::new(node.in_flight_bytes_max)));
        let common =
            Common { settings: &settings, directory: &directory, board: &board, budget: &budget, totals: &totals, clock };
        let ledger = Arc::clone(&parts.doors.ledger);
        let sources = parts.sources.into_iter().map(|part| common.source(part, &parts.doors.ledger)).collect();
        let mut crew = common.writers(&threads, &stores, node.ingest);
        let delivering: Vec<_> = settings.lines.iter().filter(|_| node.deliver).collect();
        let mut next_thread = 0;
        for line in &delivering {
            let Some(sink) = parts.doors.sinks.get(&line.line.name) else { continue };
            let Some(setup) = common.sink(line, sink, &stores, &skip_equal) else { continue };
            let setup = Arc::new(setup);
            for worker in 0..line.workers {
                let id = ActorId::Sink { line: line.line.name, worker };
                crew.push(CrewSlot::new(Role::Sink(Arc::clone(&setup)), id, next_thread % threads.count(), clock()));
                next_thread += 1;
            }
        }
        let delivered = delivering.iter().map(|l| l.line.name).filter(|name| parts.doors.sinks.contains_key(name)).collect();
        let (its_threads, its_directory) = (Arc::clone(&threads), Arc::clone(&directory));
        let started = clock();
        let supervisor = Supervisor::create(|ctx| Supervisor {
            settings,
            hall: Hall {
                threads: its_threads,
                board,
                routes: Arc::new(Routes::default()),
                exits: ctx.address().recipient(),
                crumbs: ledger.breadcrumbs(),
                clock,
            },
            stores,
            ledger,
            sources,
            partitions: BTreeMap::new(),
            generations: Generations::default(),
            crew,
            directory: its_directory,
            budget,
            marks: super::marks::Marks::default(),
            started,
            draining: false,
            committing: false,
            commit_after: Millis(0),
            losses: 0,
            uncommitted: 0,
            tending: false,
            sweeping: false,
            ticks: 0,
            next_thread: 0,
            actor_meters: HashMap::new(),
            lane_meters: HashMap::new(),
        });
        Self { supervisor, threads, directory, doors: parts.doors, delivered, totals, skip_equal }
    }

    /// Everybody's picture.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub async fn look(&self) -> Result<Picture, Fault> {
        self.supervisor.send(LookAround).await.map_err(gone)
    }

    pub fn look_recipient(&self) -> Recipient<LookAround> {
        self.supervisor.clone().recipient()
    }
    pub fn command_recipient(&self) -> Recipient<Command> {
        self.supervisor.clone().recipient()
    }

    /// Whether finite sources are read to the end, every ticket settled and every job finished, buried or parked. A
    /// partition that stopped is told of once the others are done.
    ///
    /// # Errors
    /// The queue cannot be asked, or the supervisor is gone.
    pub async fn idle(&self) -> Result<IdleState, Fault> {
        let picture = self.look().await?;
        if let Some((source, why)) = picture.failed.first() {
            return Ok(IdleState::Stopped(format!("source {source}: {why}")));
        }
        let mut busy = !picture.starting.is_empty();
        let mut stopped = None;
        for actor in &picture.actors {
            match (&actor.partition, actor.state) {
                (_, ActorState::Failed) => return Ok(IdleState::Stopped(format!("{}: {}", actor.id, actor.reason))),
                (Some(view), ActorState::Stopped) => {
                    stopped.get_or_insert_with(|| format!("{}: {}", actor.id, actor.reason));
                    busy |= view.open_tickets > 0;
                }
                (Some(view), _) => busy |= !view.ended || view.open_tickets > 0 || actor.depth > 0,
                // A partition between two lives has no picture of its own.
                (None, state) => busy |= actor.id.starts_with("partition:") && state != ActorState::Stopped,
            }
        }
        if busy {
            return Ok(IdleState::Busy);
        }
        for line in &self.delivered {
            let lanes = self.doors.queue.counts(*line).await?;
            if lanes.iter().any(|c| c.waiting + c.retry + c.active + c.spilled > 0) {
                return Ok(IdleState::Busy);
            }
        }
        Ok(stopped.map_or(IdleState::Idle, IdleState::Stopped))
    }

    /// The root lives. Without it nothing is committed, restarted or drained any more, so the process had better end.
    pub fn is_alive(&self) -> bool {
        self.supervisor.connected()
    }

    /// Sends a dead letter through the node again (C7) and answers when its changes are written and their jobs accepted; the
    /// letter is removed then. `reason` goes into the audit log.
    ///
    /// # Errors
    /// Its record still cannot be used, its source is not configured, or the node is draining.
    pub async fn replay(&self, letter: DeadLetter, reason: String) -> Result<(), Fault> {
        let DeadLetter { id, source, record, .. } = letter;
        let place = format!("dead letter {id}");
        let command = Command::Replay { letter: Box::new(record), source, id, reason };
        self.supervisor.send(command).await.map_err(gone)?.map_err(|refused| Fault::new(FaultKind::Invalid, place, refused))
    }

    /// Ends the node in ordered steps; what it leaves is read or run again by whoever comes next.
    pub async fn drain(&self) -> Drained {
        let drained = self.supervisor.send(DrainAll).await.unwrap_or_default();
        self.directory.close();
        self.threads.stop();
        drained
    }

    pub fn directory(&self) -> &Arc<EntityDirectory> {
        &self.directory
    }
}

/// Runs a future on a system of actors of its own, to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_rt::System::new().block_on(future)
}

fn gone(error: MailboxError) -> Fault {
    Fault::new(FaultKind::Unreachable, "supervisor", error)
}

fn stores(doors: &Doors, settings: &Settings, totals: &Arc<Totals>) -> Stores {
    let line_meters = settings.lines.iter().map(|l| (l.line.name, LineMeters::new(l.line.name, totals))).collect();
    Stores {
        rows: Arc::clone(&doors.rows),
        queue: Arc::clone(&doors.queue),
        store_meters: StoreMeters::new(totals),
        line_meters: Arc::new(line_meters),
    }
}

/// A group waits for who leaves no longer than for who is silent; most of that is ours to drain.
fn pace(kind: &settings::SourceKind, drain_deadline: Duration) -> Pace {
    match kind {
        settings::SourceKind::Kafka(kafka) => {
            let revoke_deadline = drain_deadline.min(kafka.session_timeout.mul_f64(0.7));
            Pace { commit_every: kafka.commit_every, revoke_deadline }
        }
        _ => Pace { commit_every: Duration::ZERO, revoke_deadline: drain_deadline },
    }
}

/// What every actor's setup is made from.
struct Common<'a> {
    settings: &'a Settings,
    directory: &'a Arc<EntityDirectory>,
    board: &'a Arc<Board>,
    budget: &'a Arc<ByteBudget>,
    totals: &'a Arc<Totals>,
    clock: fn() -> Millis,
}

impl Common<'_> {
    fn source(&self, part: SourcePart, ledger: &Arc<dyn Ledger>) -> SourceSlot {
        let source = part.settings;
        let setup = PartitionSetup {
            source: source.name.clone(),
            decode: DecodeSettings {
                format: source.format,
                snapshot: source.snapshot,
                record_bytes_max: source.record_bytes_max,
                ..DecodeSettings::default()
            },
            route: RouteSettings { stamp: source.stamp, partitioned_by: source.partitioned_by },
            stop_on_bad: source.on_bad_record == OnBadRecord::Stop,
            in_flight: source.in_flight,
            schema: Arc::clone(&self.settings.schema),
            directory: self.directory.clone(),
            ledger: Arc::clone(ledger),
            budget: self.budget.clone(),
            board: self.board.clone(),
            totals: Arc::clone(self.totals),
            clock: self.clock,
        };
        SourceSlot {
            pace: pace(&source.kind, self.settings.node.drain_deadline),
            name: source.name,
            setup: Arc::new(setup),
            source: Some(part.source),
            control: None,
            committed: Millis::default(),
            told: false,
            waits: None,
            failed: None,
        }
    }

    /// A writer and an offerer per thread, and the entity setups that point to them.
    fn writers(&self, threads: &Arc<Threads>, stores: &Stores, ingest: bool) -> Vec<CrewSlot> {
        if !ingest {
            return Vec::new();
        }
        let mut crew = Vec::new();
        let mut setups = Vec::new();
        for thread in 0..threads.count() {
            let (writer, offerer) = (Belt::<WriteRow>::default(), Belt::<OfferJobs>::default());
            let of_kind = |kind: &crate::domain::schema::RowKind| {
                let lines = self.settings.lines.iter().filter(|l| l.line.kind == kind.name);
                let setup = EntitySetup {
                    kind: kind.clone(),
                    lines: lines.map(|l| l.line.clone()).collect(),
                    writer: writer.clone(),
                    offerer: offerer.clone(),
                    rows: Arc::clone(&stores.rows),
                    keeper: self.directory.clone(),
                    meters: stores.store_meters.clone(),
                    clock: self.clock,
                    move_patience: EntitySetup::MOVE_PATIENCE,
                };
                (kind.name, Arc::new(setup))
            };
            setups.push(self.settings.schema.kinds.iter().map(of_kind).collect());
            crew.push(CrewSlot::new(Role::Writer(writer), ActorId::Writer(thread), thread, (self.clock)()));
            crew.push(CrewSlot::new(Role::Offerer(offerer), ActorId::Offerer(thread), thread, (self.clock)()));
        }
        self.directory.open(setups);
        crew
    }

    fn sink(
        &self,
        line: &LineSettings,
        sink: &Arc<dyn Sink>,
        stores: &Stores,
        skip_equal: &HashMap<Name, Arc<AtomicBool>>,
    ) -> Option<SinkSetup> {
        let queue = &self.settings.queue;
        Some(SinkSetup {
            kind: self.settings.schema.kind(line.line.kind)?.clone(),
            schema: Arc::clone(&self.settings.schema),
            queue: Arc::clone(&stores.queue),
            rows: Arc::clone(&stores.rows),
            sink: Arc::clone(sink),
            portion: Portion::new(line.batch, line.batch_bytes),
            policy: Policy {
                retry_max: queue.retry.max,
                retry_base: queue.retry.base,
                retry_cap: queue.retry.cap,
                expire_after: queue.expire_after,
            },
            lease: queue.lease,
            skip_equal: skip_equal.get(&line.line.name).cloned().unwrap_or_default(),
            breaker: LineBreaker::default(),
            meters: stores.line_meters.get(&line.line.name)?.clone(),
            store_meters: stores.store_meters.clone(),
            clock: self.clock,
            line: line.line.clone(),
        })
    }
}
