//! What the supervisor asks of its actors, and what it hears of their ends.

use crate::domain::health::ActorKind;
use crate::domain::ids::Partition;
use crate::domain::record::Record;
use crate::domain::restart::ExitReason;
use crate::messages::observe::Observation;
use actix::dev::{Message, MessageResponse};
use serde::Serialize;

/// Finish what is in hand and take nothing new. The reply comes when nothing is left; the number is what was given back.
#[derive(Message, Clone, Copy)]
#[rtype(result = "u64")]
pub struct Drain;

/// An operator stops a partition; its open records still settle.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct PausePartition {
    pub reason: String,
}

/// The operator lets it go on. A partition that stopped over a bad record (C7) tries that record again.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct ResumePartition;

/// Ends the actor by request; the supervisor restarts or forgets it.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Stop;

/// Which actor of the supervisor's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ActorId {
    Partition(Partition),
    Writer(usize),
    Offerer(usize),
    Sink { line: crate::domain::ids::Name, worker: usize },
}

impl std::fmt::Display for ActorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Partition(p) => write!(f, "partition:{}:{}", p.topic, p.number),
            Self::Writer(n) => write!(f, "writer:{n}"),
            Self::Offerer(n) => write!(f, "offerer:{n}"),
            Self::Sink { line, worker } => write!(f, "sink:{line}:{worker}"),
        }
    }
}

impl ActorId {
    pub const fn kind(&self) -> ActorKind {
        match self {
            Self::Partition(_) => ActorKind::Partition,
            Self::Writer(_) => ActorKind::Writer,
            Self::Offerer(_) => ActorKind::Offerer,
            Self::Sink { .. } => ActorKind::Sink,
        }
    }
}

/// An actor has ended, however it did. Sent by the task that watched it.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct ActorExited {
    pub id: ActorId,
    /// Which life of it, so that a late word of an old life changes nothing.
    pub life: u64,
    pub exit: ExitReason,
    /// The panic's or fault's own words.
    pub cause: String,
}

/// Asks the supervisor for the whole picture: every actor but entities one by one, entities as counts.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Picture")]
pub struct LookAround;

/// What the node is doing now.
#[derive(Clone, Debug, Serialize, MessageResponse)]
pub struct Picture {
    pub node: String,
    /// In ms since 1970.
    pub started: i64,
    pub now: i64,
    pub draining: bool,
    pub threads: usize,
    pub actors: Vec<Observation>,
    pub entities: EntityCounts,
    /// Bytes of open records, and the bound on them (O4).
    pub open_bytes: usize,
    pub open_bytes_max: usize,
    /// The last exits of every actor, newest first.
    pub exits: Vec<ExitSeen>,
    /// Sources that have not told their partitions yet.
    pub starting: Vec<String>,
    /// Sources that wait for others to let them read, and why.
    pub waiting: Vec<(String, String)>,
    /// Sources that cannot go on, and why.
    pub failed: Vec<(String, String)>,
}

impl Picture {
    /// Sources that do not read, and why.
    pub fn faults(&self) -> impl Iterator<Item = &(String, String)> {
        self.failed.iter().chain(&self.waiting)
    }
}

/// Entities are counted, never listed (3-interfaces 3.5).
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub struct EntityCounts {
    pub live: u64,
    pub idle: u64,
    pub working: u64,
    pub bytes: u64,
    pub spawned: u64,
    pub passivated: u64,
    pub panicked: u64,
}

/// One actor's end, kept for people.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct ExitSeen {
    pub actor: String,
    /// In ms since 1970.
    pub at: i64,
    pub reason: &'static str,
    pub cause: String,
}

/// An operator's wish; goes into the audit log with its reason.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), CommandError>")]
pub enum Command {
    Pause {
        partition: Partition,
        reason: String,
    },
    Resume {
        partition: Partition,
        reason: String,
    },
    Restart {
        actor: String,
        reason: String,
    },
    /// Sends a dead letter through the node again; it is removed once it passes.
    Replay {
        letter: Box<Record>,
        source: String,
        id: String,
        reason: String,
    },
}

/// Why a wish was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("no partition {0} is assigned to this node; `widerow partitions` lists those that are")]
    NoSuchPartition(Partition),
    #[error("no actor is called `{0}`; `widerow actors` lists them")]
    NoSuchActor(String),
    #[error("source `{0}` is not configured on this node; a letter is replayed where its source is")]
    NoSuchSource(String),
    #[error("still not usable: {0}")]
    StillBad(String),
    #[error("the node is draining")]
    Draining,
}

/// Ends the node in ordered steps. The reply says what was left.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Drained")]
pub struct DrainAll;

/// What a drain left behind; everything in it is read or run again by whoever comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, MessageResponse)]
pub struct Drained {
    /// Steps that passed their deadline.
    pub late: Vec<&'static str>,
    /// Records taken in but not settled.
    pub records: u64,
    /// Positions that could not be committed.
    pub uncommitted: u64,
}
