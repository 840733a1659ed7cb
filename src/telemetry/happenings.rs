//! Happenings that people hear of: each is logged and counted in one place, by `emit`.
//!
//! `error` is kept for loss and for what needs a person; what heals by itself is `warn`, what is usual is `debug`.
//! No happening tells a row's values.

use super::meters::LineMeters;
use super::names::*;
use super::totals::Totals;
use crate::domain::decode::BadReason;
use crate::domain::fault::Fault;
use crate::domain::health::ActorKind;
use crate::domain::ids::{Generation, Name, NextOffset, Partition, RowKey, RowVersion};
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// C7: a record went to the dead letters.
#[derive(Debug)]
pub struct DeadLettered<'a> {
    pub partition: Partition,
    /// As the log numbers it.
    pub offset: i64,
    pub reason: BadReason,
    pub detail: &'a str,
    /// This position was known already: neither counted nor told again.
    pub again: bool,
}
impl DeadLettered<'_> {
    pub fn emit(&self, totals: &Totals) {
        let Self { partition, offset, reason, detail, again } = self;
        if *again {
            debug!(%partition, offset, reason = reason.label(), "dead letter delivered again");
            return;
        }
        metrics::counter!(DEAD_LETTERS, "reason" => reason.label()).increment(1);
        totals.add_dead_letter();
        warn!(%partition, offset, reason = reason.label(), detail, "record kept as a dead letter");
    }
}

/// C6: a configured table was truncated, dropped or altered. Its rows stay as they are; a check is owed. The record itself
/// is counted by `TopicMeters::ignored`.
#[derive(Debug)]
pub struct TableDestroyed {
    pub partition: Partition,
    pub offset: i64,
    pub table: Name,
}
impl TableDestroyed {
    pub fn emit(&self) {
        owe_check(OwedFor::Destructive);
        let Self { partition, offset, table } = self;
        error!(%partition, offset, %table, "table truncated, dropped or altered; its rows were left as they are");
    }
}

/// A promise to compare with the database; counted only, until there is a verifier.
pub fn owe_check(reason: OwedFor) {
    metrics::counter!(CHECKS_OWED, "reason" => reason.label()).increment(1);
}

/// E3: the log no longer holds records that nobody here has read; a check of what they changed is owed.
#[derive(Debug)]
pub struct GapFound {
    pub partition: Partition,
    pub from: NextOffset,
    /// Where the log begins now.
    pub to: NextOffset,
}
impl GapFound {
    pub fn emit(&self) {
        owe_check(OwedFor::Gap);
        let (partition, from, to) = (self.partition, self.from.0, self.to.0);
        error!(%partition, from, to, "records left the log unread, reading goes on where it begins");
    }
}

/// A partition came to this process.
#[derive(Debug)]
pub struct PartitionStarted {
    pub partition: Partition,
    pub generation: Generation,
    pub start: NextOffset,
}
impl PartitionStarted {
    pub fn emit(&self) {
        info!(partition = %self.partition, generation = self.generation.0, start = self.start.0, "partition started");
    }
}

/// A partition left this process as asked.
#[derive(Debug)]
pub struct PartitionReleased {
    pub partition: Partition,
    pub committed: NextOffset,
    /// Records without a verdict when the deadline passed (O3); they are read again by whoever comes next.
    pub unsettled: usize,
}
impl PartitionReleased {
    pub fn emit(&self) {
        let (partition, committed, unsettled) = (self.partition, self.committed.0, self.unsettled);
        metrics::counter!(TICKETS_LOST).increment(unsettled as u64);
        if unsettled == 0 {
            info!(%partition, committed, "partition released");
        } else {
            warn!(%partition, committed, unsettled, "partition released before all its records were settled");
        }
    }
}

/// A partition does not go on by itself (E3, C7 `stop`).
#[derive(Debug)]
pub struct PartitionStopped<'a> {
    pub partition: Partition,
    pub position: NextOffset,
    pub fault: &'a Fault,
}
impl PartitionStopped<'_> {
    pub fn emit(&self) {
        let (partition, position, kind) = (self.partition, self.position.0, self.fault.kind.label());
        error!(%partition, position, kind, fault = %self.fault, "partition stopped");
    }
}

/// O3: verdicts of an earlier generation; counted, and nothing else.
pub fn late_verdicts(verdicts: u64) {
    metrics::counter!(VERDICTS_LATE).increment(verdicts);
}

/// O2: a partition goes on from its frontier under a new generation.
#[derive(Debug)]
pub struct PartitionRewound<'a> {
    pub partition: Partition,
    pub generation: Generation,
    pub to: NextOffset,
    pub why: &'a str,
}
impl PartitionRewound<'_> {
    pub fn emit(&self) {
        let Self { partition, generation, to, why } = self;
        warn!(%partition, generation = generation.0, to = to.0, why, "partition rewound");
    }
}

/// An actor ended. Usual ends (asked, finished) are told quietly.
#[derive(Debug)]
pub struct ActorExited<'a> {
    pub kind: ActorKind,
    pub id: &'a str,
    /// The exit reason's label, from its closed list.
    pub cause: &'static str,
    pub detail: &'a str,
    pub next: AfterExit,
}

/// What is done about an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterExit {
    /// A usual end.
    Left,
    RestartedAfter(Duration),
    /// Too many restarts, or one that cannot help.
    Escalated,
}

impl ActorExited<'_> {
    pub fn emit(&self) {
        let Self { kind, id, cause, detail, next } = self;
        let kind = kind.label();
        match next {
            AfterExit::Left => debug!(kind, id, cause, detail, "actor ended"),
            AfterExit::RestartedAfter(after) => {
                metrics::counter!(ACTOR_RESTARTS, "kind" => kind, "cause" => *cause).increment(1);
                warn!(kind, id, cause, detail, after_ms = after.as_millis() as u64, "actor restarts");
            }
            AfterExit::Escalated => error!(kind, id, cause, detail, "actor stays down"),
        }
    }
}

/// V5: the sink holds a version above ours; a success.
#[derive(Debug)]
pub struct Superseded<'a> {
    pub row: &'a RowKey,
    pub version: RowVersion,
    pub held: Option<RowVersion>,
}
impl Superseded<'_> {
    pub fn emit(&self, meters: &LineMeters) {
        meters.documents(DocumentOutcome::Superseded, 1);
        let Self { row, version, held } = self;
        debug!(line = %meters.line(), %row, %version, held = held.map(|v| v.0), "document superseded");
    }
}

/// V5: a sink holds more than the rows themselves have; told of one of them.
#[derive(Debug)]
pub struct SinkAhead<'a> {
    pub row: &'a RowKey,
    /// The row's, read after the sink's answer.
    pub version: RowVersion,
    pub held: RowVersion,
    pub rows: usize,
}
impl SinkAhead<'_> {
    pub fn emit(&self, meters: &LineMeters) {
        meters.ahead(self.rows as u64);
        let Self { row, version, held, rows } = self;
        error!(
            line = %meters.line(), %row, %version, %held, rows,
            "sink holds newer documents than the row store has rows: rows were lost, are just being read again, or share a document"
        );
    }
}

/// K1: the sink will never accept this document. The job is buried by whoever finishes it.
#[derive(Debug)]
pub struct DocumentRejected<'a> {
    pub row: &'a RowKey,
    pub version: RowVersion,
    pub reason: &'a str,
}
impl DocumentRejected<'_> {
    pub fn emit(&self, meters: &LineMeters) {
        meters.documents(DocumentOutcome::Rejected, 1);
        let Self { row, version, reason } = self;
        warn!(line = %meters.line(), %row, %version, reason, "document rejected");
    }
}

/// J7: a job became a dead letter.
#[derive(Debug)]
pub struct JobBuried<'a> {
    pub row: &'a RowKey,
    pub attempts: u32,
    pub reason: &'a str,
}
impl JobBuried<'_> {
    pub fn emit(&self, meters: &LineMeters) {
        meters.jobs(JobOutcome::Buried, 1);
        let Self { row, attempts, reason } = self;
        error!(line = %meters.line(), %row, attempts, reason, "job buried");
    }
}

/// J7: a job goes again later. A document the sink put off is counted besides, by who asked the sink.
#[derive(Debug)]
pub struct JobRetried<'a> {
    pub row: &'a RowKey,
    pub attempts: u32,
    pub fault: &'a Fault,
}
impl JobRetried<'_> {
    pub fn emit(&self, meters: &LineMeters) {
        meters.jobs(JobOutcome::Retried, 1);
        let Self { row, attempts, fault } = self;
        debug!(line = %meters.line(), %row, attempts, kind = fault.kind.label(), %fault, "job goes again later");
    }
}

/// J8 `run`: a job was taken later than `expire_after` and runs all the same.
#[derive(Debug)]
pub struct JobLate<'a> {
    pub row: &'a RowKey,
    pub age: Duration,
}
impl JobLate<'_> {
    pub fn emit(&self, meters: &LineMeters) {
        meters.late();
        warn!(line = %meters.line(), row = %self.row, age_s = self.age.as_secs(), "job late");
    }
}

/// A store, queue or sink does not answer; the caller waits and asks again.
#[derive(Debug)]
pub struct WaitingFor<'a> {
    pub fault: &'a Fault,
    /// Tries so far.
    pub attempts: u32,
    pub after: Duration,
}
impl WaitingFor<'_> {
    /// The first try is told, then every power of two: a long outage is a few lines.
    pub fn emit(&self) {
        if !self.attempts.is_power_of_two() {
            return;
        }
        let (fault, attempts, after_ms) = (self.fault, self.attempts, self.after.as_millis() as u64);
        warn!(kind = fault.kind.label(), %fault, attempts, after_ms, "waiting to try again");
    }
}

/// M9: a row holds other key columns than the change that met it; two entities share one row key.
#[derive(Debug)]
pub struct RowKeyClash<'a> {
    pub kind: Name,
    pub row: &'a RowKey,
    pub detail: &'a str,
}
impl RowKeyClash<'_> {
    pub fn emit(&self) {
        metrics::counter!(INVARIANT_VIOLATIONS, "id" => Invariant::FinalRow.label()).increment(1);
        error!(kind = %self.kind, row = %self.row, detail = self.detail, "row key clash: two entities share one row");
    }
}

/// One of I1 to I12 did not hold. Never expected; always a fault of ours or of a store.
#[derive(Debug)]
pub struct InvariantBroken<'a> {
    pub invariant: Invariant,
    pub place: &'a str,
    pub detail: &'a str,
}
impl InvariantBroken<'_> {
    pub fn emit(&self) {
        let id = self.invariant.label();
        metrics::counter!(INVARIANT_VIOLATIONS, "id" => id).increment(1);
        error!(id, place = self.place, detail = self.detail, "invariant broken");
    }
}
