//! The life of a partition in this process: starting, consuming, draining, gone (O3).
//!
//! A partition that comes back lives on under later generations, so that a verdict of an earlier stay is known as such.
//! Facts come in, what to do comes out. Knows nothing of actors, sources or time.

use super::ids::{Generation, Partition};
use std::collections::HashMap;

/// Where a partition is in its life here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Told by the source; its actor is being made.
    #[default]
    Starting,
    Consuming,
    /// It leaves: what is in hand is finished, nothing new is taken.
    Draining,
    /// Left. What is still said of it commits nothing.
    Gone,
}

/// What happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A generation of its actor runs.
    Started,
    /// Its actor ended, however it did.
    Ended,
    /// The source says that it leaves.
    Revoked,
    /// Nothing is in hand any more, or the deadline has passed.
    Left,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing beyond the new stage.
    Fine,
    /// Another generation may be started.
    MayRestart,
    /// Drain, commit, then say that it left.
    Drain,
    /// Forget it, and count what is open as lost.
    Forget,
    /// Too late: it changes nothing.
    Ignore,
}

impl Stage {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Consuming => "consuming",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }

    /// An actor may be made for it.
    pub const fn may_start(self) -> bool {
        matches!(self, Self::Starting | Self::Consuming)
    }

    /// The stage after an event, and what to do.
    pub const fn after(self, event: Event) -> (Self, Answer) {
        match (self, event) {
            (Self::Starting | Self::Consuming, Event::Started) => (Self::Consuming, Answer::Fine),
            (Self::Starting | Self::Consuming, Event::Ended) => (Self::Starting, Answer::MayRestart),
            (Self::Starting | Self::Consuming, Event::Revoked) => (Self::Draining, Answer::Drain),
            // Its open records go with its actor: whoever reads them next does them again.
            (Self::Draining, Event::Left) => (Self::Gone, Answer::Forget),
            (stage, _) => (stage, Answer::Ignore),
        }
    }
}

/// The last generation of every partition that was ever here.
#[derive(Debug, Default)]
pub struct Generations(HashMap<Partition, Generation>);

impl Generations {
    /// What the partition had when it left; the first is 0.
    pub fn of(&self, partition: Partition) -> Generation {
        self.0.get(&partition).copied().unwrap_or_default()
    }

    pub fn keep(&mut self, partition: Partition, generation: Generation) {
        let held = self.0.entry(partition).or_default();
        *held = (*held).max(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Name;

    /// Goal: O3 as a table, every stage against every event. Method: read it.
    #[test]
    fn every_stage_answers_every_event() {
        use {Answer as A, Event as E, Stage as S};
        let table = [
            (S::Starting, E::Started, S::Consuming, A::Fine),
            (S::Starting, E::Ended, S::Starting, A::MayRestart),
            (S::Starting, E::Revoked, S::Draining, A::Drain),
            (S::Starting, E::Left, S::Starting, A::Ignore),
            (S::Consuming, E::Started, S::Consuming, A::Fine),
            (S::Consuming, E::Ended, S::Starting, A::MayRestart),
            (S::Consuming, E::Revoked, S::Draining, A::Drain),
            (S::Consuming, E::Left, S::Consuming, A::Ignore),
            (S::Draining, E::Started, S::Draining, A::Ignore),
            (S::Draining, E::Ended, S::Draining, A::Ignore),
            (S::Draining, E::Revoked, S::Draining, A::Ignore),
            (S::Draining, E::Left, S::Gone, A::Forget),
            (S::Gone, E::Started, S::Gone, A::Ignore),
            (S::Gone, E::Ended, S::Gone, A::Ignore),
            (S::Gone, E::Revoked, S::Gone, A::Ignore),
            (S::Gone, E::Left, S::Gone, A::Ignore),
        ];
        for (stage, event, after, answer) in table {
            assert_eq!(stage.after(event), (after, answer), "{} {event:?}", stage.label());
        }
    }

    #[test]
    fn a_partition_that_comes_back_goes_on_counting() {
        let partition = Partition { topic: Name::of("t"), number: 0 };
        let mut generations = Generations::default();
        generations.keep(partition, Generation(4));
        generations.keep(partition, Generation(2));
        assert_eq!(generations.of(partition), Generation(4));
    }
}
