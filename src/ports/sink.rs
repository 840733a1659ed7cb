//! The door to where documents go (2.8).

use super::Answer;
use super::clock::Moment;
use crate::domain::fault::Fault;
use crate::domain::ids::{Name, RowKey, RowVersion};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a sink is asked to hold under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// JSON text of the document, in one line.
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

/// K2: how old a batch is, and until when its leases are known to live. Whoever reads and leases keeps it up to date
/// while the sink works.
#[derive(Clone, Debug)]
pub struct Freshness {
    read: Moment,
    leased_until: Arc<Mutex<Moment>>,
}

impl Freshness {
    /// `read`: before the rows were read. `leased_until`: the leases' earliest end.
    pub fn new(read: Moment, leased_until: Moment) -> Self {
        Self { read, leased_until: Arc::new(Mutex::new(leased_until)) }
    }

    /// The leases were extended to `until`, and the answer came `at`. After their end nothing brings them back: another
    /// worker may hold the jobs.
    pub fn extended(&self, at: Moment, until: Moment) {
        let mut held = self.leased_until.lock().unwrap_or_else(|e| e.into_inner());
        if at < *held {
            *held = until.max(*held);
        }
    }

    /// Whether a body may be sent now, where one may be so old at most.
    pub fn may_send(&self, now: Moment, age_max: Duration) -> bool {
        let leased_until = *self.leased_until.lock().unwrap_or_else(|e| e.into_inner());
        now.since(self.read) <= age_max && now < leased_until
    }
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

    /// The same where age matters (K2): what is too old, or no longer under a lease, is answered with `Retry` and not sent.
    fn write_fresh(&self, batch: Vec<SinkWrite>, fresh: Freshness) -> Answer<'_, Vec<SinkOutcome>> {
        drop(fresh);
        self.write(batch)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: K2's bound at its edges, and a lease that ended stays ended. Method: a table of moments.
    #[test]
    fn old_bodies_and_dead_leases_are_not_sent() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let age = Duration::from_secs(30);
        let fresh = Freshness::new(at(100), at(110));
        for (now, may) in [(100, true), (109, true), (110, false)] {
            assert_eq!(fresh.may_send(at(now), age), may, "at {now}");
        }
        fresh.extended(at(109), at(150));
        for (now, may) in [(110, true), (130, true), (131, false)] {
            assert_eq!(fresh.may_send(at(now), age), may, "extended, at {now}");
        }
        fresh.extended(at(150), at(200));
        assert!(!fresh.may_send(at(150), Duration::from_secs(1_000)), "the lease had ended when the answer came");
    }
}
