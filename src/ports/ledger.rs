//! The door to what must be kept apart from the pipe: dead letters, commit positions, marks and runs.

use super::Answer;
use crate::domain::breadcrumb::Crumb;
use crate::domain::decode::BadReason;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Partition};
use crate::domain::record::Record;
use std::sync::Arc;

/// C7: a record that could not be used, with all it takes to replay it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// `topic/partition/offset`: once per position, however often delivered.
    pub id: String,
    pub source: String,
    pub record: Record,
    pub reason: BadReason,
    pub detail: String,
    /// First and last time it was met.
    pub first: Millis,
    pub last: Millis,
    pub deliveries: u64,
    /// Replayed by a person; kept until it passes.
    pub replayed: bool,
}

impl DeadLetter {
    /// What is kept when its position is met (again): `first` and the record stay, the newer reason, detail and `replayed`
    /// stand. A known letter handed in with `deliveries: 0` only changes these.
    #[must_use]
    pub fn after(self, held: Option<Self>) -> Self {
        let Some(held) = held else { return Self { deliveries: self.deliveries.max(1), ..self } };
        Self {
            deliveries: held.deliveries.saturating_add(self.deliveries),
            last: held.last.max(self.last),
            reason: self.reason,
            detail: self.detail,
            replayed: self.replayed,
            ..held
        }
    }
}

/// Whether a dead letter's position was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    New,
    Again,
}

/// Where records in hand are noted, so that one that kills the process is found (O2). Calls are local and wait for nobody.
pub trait Breadcrumbs: Send + Sync {
    /// What the process before left of this partition; told once.
    fn found(&self, partition: Partition) -> Option<Crumb>;
    /// The partition's own note, for its actor. `None`: nothing can be noted.
    fn of(&self, partition: Partition) -> Option<Box<dyn CrumbNote>>;
}

/// One partition's note.
pub trait CrumbNote: Send {
    /// Sets or removes it; what a failure costs is told in [`Breadcrumbs`].
    fn set(&self, crumb: Option<Crumb>);
}

/// Durable notes of one node. Every call is durable when it answers.
pub trait Ledger: Send + Sync {
    /// Where this node's breadcrumbs lie, if anywhere.
    fn breadcrumbs(&self) -> Option<Arc<dyn Breadcrumbs>> {
        None
    }

    fn keep_dead_letter(&self, letter: DeadLetter) -> Answer<'_, Result<Kept, Fault>>;
    fn dead_letters(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<DeadLetter>, Fault>>;
    fn dead_letter(&self, id: &str) -> Answer<'_, Result<Option<DeadLetter>, Fault>>;
    /// Removes it, after a replay passed.
    fn drop_dead_letter(&self, id: &str) -> Answer<'_, Result<(), Fault>>;
    fn dead_letter_count(&self) -> Answer<'_, Result<u64, Fault>>;

    /// A note by name: commit positions, delivered-through marks (J11), progress of runs.
    fn note(&self, name: &str) -> Answer<'_, Result<Option<String>, Fault>>;
    /// Notes whose name begins so, in name order.
    fn notes(&self, prefix: &str) -> Answer<'_, Result<Vec<(String, String)>, Fault>>;
    /// Sets (or with `None` removes) notes in one step.
    fn set_notes(&self, notes: Vec<(String, Option<String>)>) -> Answer<'_, Result<(), Fault>>;
}
