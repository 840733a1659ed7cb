//! After an actor's exit: restart, give up, or leave it (4-house 4.4).
//!
//! Decides on the exit's reason and on earlier exits, nothing else. Knows nothing of actors; the caller restarts from a
//! factory, under a new generation.

use super::fault::{Advice, FaultKind};
use super::ids::Millis;
use std::collections::VecDeque;
use std::time::Duration;

/// Exits one history keeps, for decisions and for display.
pub const EXITS_MAX: usize = 20;

/// Why an actor ended, as a closed list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitReason {
    /// Its work is done.
    Finished,
    /// It was told to.
    Asked,
    /// Whom it sends to is gone, and comes back under another address.
    DownstreamGone,
    Fault(FaultKind),
    Panicked,
    /// Its heartbeat stayed out past the deadline.
    Stuck,
}

impl ExitReason {
    /// A metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Asked => "asked",
            Self::DownstreamGone => "downstream_gone",
            Self::Fault(kind) => kind.label(),
            Self::Panicked => "panicked",
            Self::Stuck => "stuck",
        }
    }

    const fn class(self) -> Class {
        match self {
            Self::Finished | Self::Asked => Class::Over,
            Self::DownstreamGone => Class::Outside,
            Self::Panicked | Self::Stuck => Class::Own,
            Self::Fault(kind) => match kind.advice() {
                Advice::Wait | Advice::SlowDown => Class::Outside,
                Advice::Bury => Class::Own,
                Advice::Stop => Class::Person,
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Over,
    /// What is not there yet comes back by itself (O2): never a reason to give up.
    Outside,
    /// Counts against the intensity.
    Own,
    /// Trying again changes nothing.
    Person,
}

/// One exit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    pub at: Millis,
    pub reason: ExitReason,
    /// For people: the fault's or the panic's own words.
    pub cause: String,
}

/// The last [`EXITS_MAX`] exits of one actor, across its generations.
#[derive(Clone, Debug, Default)]
pub struct History {
    exits: VecDeque<Exit>,
    total: u64,
}

impl History {
    /// Notes an exit, after it was decided on.
    pub fn note(&mut self, exit: Exit) {
        if self.exits.len() == EXITS_MAX {
            self.exits.pop_front();
        }
        self.exits.push_back(exit);
        self.total += 1;
    }

    /// Oldest first.
    pub fn exits(&self) -> impl DoubleEndedIterator<Item = &Exit> {
        self.exits.iter()
    }

    /// All exits ever noted.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// How often, and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Restarts for faults of its own within `window`; one more escalates. At most [`EXITS_MAX`] counts.
    pub restarts_max: u32,
    pub window: Duration,
    /// The pause before a first restart; it doubles with each exit that follows within `window` of the one before.
    pub pause: Duration,
    pub pause_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restarts_max: 5,
            window: Duration::from_secs(60),
            pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(10),
        }
    }
}

/// What the supervisor does. No fourth answer, so no caller forgets one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Restart {
        after: Duration,
    },
    /// It will not get well by itself: the supervisor above decides, and people are told.
    Escalate,
    /// It is meant to be gone.
    Leave,
}

/// Decides one exit. `history` holds the earlier ones, not this one.
pub fn decide(reason: ExitReason, history: &History, now: Millis, policy: &Policy) -> Action {
    let window = i64::try_from(policy.window.as_millis()).unwrap_or(i64::MAX);
    match reason.class() {
        Class::Over => return Action::Leave,
        Class::Person => return Action::Escalate,
        Class::Own => {
            let recent = history.exits.iter().filter(|e| e.reason.class() == Class::Own && now.since(e.at) < window).count();
            if recent >= usize::try_from(policy.restarts_max).unwrap_or(EXITS_MAX).min(EXITS_MAX) {
                return Action::Escalate;
            }
        }
        Class::Outside => {}
    }
    Action::Restart { after: pause(history, now, window, policy) }
}

/// Doubles along the unbroken run of exits that leads here; a calm window ends the run.
fn pause(history: &History, now: Millis, window: i64, policy: &Policy) -> Duration {
    let mut next = now;
    let follows = |exit: &&Exit| {
        let close = next.since(exit.at) < window && exit.reason.class() != Class::Over;
        next = exit.at;
        close
    };
    let run = history.exits.iter().rev().take_while(follows).count();
    let factor = 1u32.checked_shl(u32::try_from(run).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
    policy.pause.saturating_mul(factor).min(policy.pause_max)
}

#[cfg(test)]
mod tests;
