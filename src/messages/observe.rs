//! The small picture every actor gives of itself; tests and the admin endpoint use the same one.

pub use crate::domain::health::{ActorKind, ActorState};
use crate::domain::ids::Millis;
use actix::dev::{Message, MessageResponse};
use serde::Serialize;

/// Asks any actor for its picture.
#[derive(Message, Clone, Copy)]
#[rtype(result = "Observation")]
pub struct Observe;

/// One actor's picture.
#[derive(Clone, Debug, PartialEq, Serialize, MessageResponse)]
pub struct Observation {
    pub id: String,
    pub kind: ActorKind,
    pub state: ActorState,
    /// Why it is in this state, in words.
    pub reason: String,
    /// When it entered the state, in ms since 1970.
    pub since: i64,
    pub thread: usize,
    /// Messages or items waiting in its hands.
    pub depth: u64,
    pub in_flight: u64,
    pub handled: u64,
    /// Shares of the time since the last look, 0 to 1: working, waiting for input, waiting for the other side.
    pub busy: f64,
    pub blocked: f64,
    pub restarts: u64,
    pub last_error: Option<String>,
    /// When it last finished something, or took something in hand with nothing in hand before, in ms since 1970.
    pub last_progress: i64,
    /// What else this kind of actor knows of itself.
    pub partition: Option<PartitionView>,
}

/// What a partition knows of itself. Offsets are text in JSON (3-interfaces 3.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    pub source: String,
    pub topic: String,
    pub partition: i32,
    pub generation: String,
    /// The next record to take in.
    pub position: String,
    pub committed: String,
    pub high_watermark: Option<String>,
    pub lag: Option<u64>,
    pub open_tickets: u64,
    pub open_bytes: u64,
    pub ended: bool,
    pub paused: Option<String>,
}

impl Observation {
    /// A running actor of no particular doings.
    pub fn new(id: impl Into<String>, kind: ActorKind, now: Millis) -> Self {
        Self {
            id: id.into(),
            kind,
            state: ActorState::Running,
            reason: String::new(),
            since: now.0,
            thread: 0,
            depth: 0,
            in_flight: 0,
            handled: 0,
            busy: 0.0,
            blocked: 0.0,
            restarts: 0,
            last_error: None,
            last_progress: now.0,
            partition: None,
        }
    }
}
