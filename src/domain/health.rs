//! What an actor is and how it stands: closed lists, usable as metric labels and in the admin endpoint's answers.
//!
//! Knows nothing of actors themselves; messages, telemetry and the admin endpoint say the same words because of it.

/// Every kind of actor there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    Supervisor,
    Partition,
    Entity,
    Writer,
    Offerer,
    Sink,
    /// The admin endpoint's ear.
    Observer,
}

impl ActorKind {
    pub const ALL: [Self; 7] =
        [Self::Supervisor, Self::Partition, Self::Entity, Self::Writer, Self::Offerer, Self::Sink, Self::Observer];
    pub const fn label(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Partition => "partition",
            Self::Entity => "entity",
            Self::Writer => "writer",
            Self::Offerer => "offerer",
            Self::Sink => "sink",
            Self::Observer => "observer",
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.label() == text)
    }
}

/// How an actor stands (3-interfaces 3.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    Starting,
    Running,
    Paused,
    /// Restarted not yet: it waits for its turn.
    BackingOff,
    Draining,
    Stopped,
    /// Silent past its deadline.
    Stuck,
    /// Left down after too many restarts; a person is needed.
    Failed,
}

impl ActorState {
    pub const ALL: [Self; 8] =
        [Self::Starting, Self::Running, Self::Paused, Self::BackingOff, Self::Draining, Self::Stopped, Self::Stuck, Self::Failed];
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::BackingOff => "backing_off",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Stuck => "stuck",
            Self::Failed => "failed",
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.label() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: labels name one thing each. Method: every label parses back to its own value.
    #[test]
    fn labels_read_back() {
        for kind in ActorKind::ALL {
            assert_eq!(ActorKind::parse(kind.label()), Some(kind));
        }
        for state in ActorState::ALL {
            assert_eq!(ActorState::parse(state.label()), Some(state));
        }
        assert_eq!(ActorState::parse("asleep"), None);
    }
}
