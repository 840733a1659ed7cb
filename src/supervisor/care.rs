//! What the supervisor keeps of each actor over its lives.

use super::watch::LastWords;
use crate::domain::health::ActorState;
use crate::domain::ids::Millis;
use crate::domain::restart::{self, Action, Exit, ExitReason, History, Policy};
use crate::messages::control::{ActorExited, ActorId};
use crate::telemetry::{self, AfterExit};
use std::time::Duration;

/// Restart history and state of one actor.
pub struct Care {
    pub id: ActorId,
    pub thread: usize,
    /// Raised with every start, so that late words of an old life are known.
    pub life: u64,
    pub history: History,
    pub state: ActorState,
    pub reason: String,
    pub since: Millis,
    pub last_words: LastWords,
    /// An operator asked for this end: it is followed by a start.
    pub restart_asked: bool,
    policy: Policy,
    /// Lives of an earlier stay here.
    before: u64,
    /// This life's end was decided on; what else is said of it changes nothing.
    over: bool,
}

/// Partitions fail again and again while a poison record is closed in on (O2), each time fast.
pub const PARTITION_POLICY: Policy = Policy {
    restarts_max: 10,
    window: Duration::from_secs(60),
    pause: Duration::from_millis(20),
    pause_max: Duration::from_secs(5),
};

impl Care {
    pub fn new(id: ActorId, thread: usize, policy: Policy, now: Millis) -> Self {
        Self {
            id,
            thread,
            life: 0,
            history: History::default(),
            state: ActorState::Starting,
            reason: String::new(),
            since: now,
            last_words: LastWords::default(),
            restart_asked: false,
            policy,
            before: 0,
            over: false,
        }
    }

    /// Lives go on counting from an earlier stay's: what is still said of that one is late.
    pub fn after(self, lives: u64) -> Self {
        Self { life: lives, before: lives, ..self }
    }

    /// A new life begins; its number.
    pub fn begin(&mut self, now: Millis) -> u64 {
        self.life += 1;
        self.over = false;
        self.last_words = LastWords::default();
        self.enter(ActorState::Running, String::new(), now);
        self.life
    }

    pub fn enter(&mut self, state: ActorState, reason: String, now: Millis) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.reason = reason;
    }

    pub fn restarts(&self) -> u64 {
        self.life.saturating_sub(self.before + 1)
    }

    /// Takes note of an end and says what follows; `None` for a word of an old life, and for a second word of this one: who
    /// was given up as stuck still ends some day.
    pub fn exited(&mut self, exited: &ActorExited, draining: bool, now: Millis) -> Option<Action> {
        if exited.life != self.life || self.over {
            return None;
        }
        self.over = true;
        let asked = std::mem::take(&mut self.restart_asked);
        let action = match restart::decide(exited.exit, &self.history, now, &self.policy) {
            _ if draining => Action::Leave,
            Action::Leave if asked => Action::Restart { after: Duration::ZERO },
            action => action,
        };
        self.history.note(Exit { at: now, reason: exited.exit, cause: exited.cause.clone() });
        let next = match action {
            Action::Restart { after } => {
                self.enter(ActorState::BackingOff, describe(exited.exit, &exited.cause), now);
                AfterExit::RestartedAfter(after)
            }
            Action::Escalate => {
                let reason =
                    format!("stays down after {}: restart it once the cause is mended", describe(exited.exit, &exited.cause));
                self.enter(ActorState::Failed, reason, now);
                AfterExit::Escalated
            }
            Action::Leave => {
                self.enter(ActorState::Stopped, describe(exited.exit, &exited.cause), now);
                AfterExit::Left
            }
        };
        let (kind, cause) = (self.id.kind(), exited.exit.label());
        telemetry::ActorExited { kind, id: &self.id.to_string(), cause, detail: &exited.cause, next }.emit();
        Some(action)
    }
}

fn describe(reason: ExitReason, cause: &str) -> String {
    if cause.is_empty() { reason.label().to_owned() } else { format!("{}: {cause}", reason.label()) }
}
