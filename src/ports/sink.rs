//! The door to where documents go (2.8).

use super::Answer;
use crate::domain::fault::Fault;
use crate::domain::ids::{Name, RowKey, RowVersion};
use bytes::Bytes;

/// What a sink is asked to hold under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// JSON text of the document.
    Index(Bytes),
    Delete,
}

/// K1: one write under the row's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkWrite {
    pub id: String,
    pub version: RowVersion,
    pub body: Body,
    /// For sinks that route or name by it; also an idempotency key together with the version.
    pub row: RowKey,
    /// Named change types of the job (3-interfaces 3.2 `types`).
    pub types: Vec<Name>,
}

/// K1: what became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkOutcome {
    Written,
    /// V5: it holds a version above ours; a success. Its version, where the sink tells.
    Superseded(Option<RowVersion>),
    /// Unknown or not now: read the row again later. `counts` says whether it uses up a try (J7).
    Retry {
        fault: Fault,
        counts: bool,
    },
    /// It will never accept this document.
    Rejected(String),
}

/// What a sink holds under an id, where it can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub id: String,
    pub version: RowVersion,
    /// `None`: deleted under this version.
    pub document: Option<Bytes>,
}

/// Where one line's documents go. Equal versions are accepted, lower ones are superseded (K1).
pub trait Sink: Send + Sync {
    /// The kind as configured: `jsonl`, `elasticsearch`.
    fn kind(&self) -> &'static str;

    /// Outcomes in the order of the batch; ids within one batch are distinct. Durable as the sink promises when it answers.
    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>>;

    /// What is held under an id; `Err(Rejected)` where the sink cannot be asked.
    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>>;

    /// Documents after `after` in id order, deleted ones left out; `Err(Rejected)` where the sink cannot be asked.
    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>>;
}

/// What a sink that tells changes keeps of the document it last told, by id: bounded, so what was not told for long may be
/// gone.
pub trait LastDocuments: Send + Sync {
    /// The last document of each id, where one is kept, in the order of the ids.
    fn last(&self, ids: Vec<String>) -> Answer<'_, Result<Vec<Option<Held>>, Fault>>;

    /// Keeps each unless a later version is kept; durable when it answers.
    fn keep(&self, documents: Vec<Held>) -> Answer<'_, Result<(), Fault>>;

    /// As [`Sink::list`].
    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>>;
}
