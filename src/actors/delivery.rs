//! One batch of jobs decided: which writes, and which verdict for each job. No clock, no I/O.
//!
//! Keeps J7 (retries, and what uses them up), J8 (late is an alarm), K1, K4, K5, M1's count of ambiguity, V2 (version and
//! document come from the one row that was read), V5. Knows nothing of queues and sinks but their plain data.

use super::taps;
use crate::domain::fault::{Fault, FaultKind, panic_text};
use crate::domain::ids::{Millis, Name, RowId, RowKey, RowVersion};
use crate::domain::job::{Load, Settled, Verdict};
use crate::domain::line::{DeleteMode, Line};
use crate::domain::quick::QuickSet;
use crate::domain::row::WideRow;
use crate::domain::schema::{RowKind, Schema};
use crate::domain::steps::{self, Step};
use crate::ports::queue::{Finish, Taken};
use crate::ports::sink::{Body, SinkOutcome, SinkWrite};
use crate::telemetry::{self, DocumentOutcome, JobOutcome, LineMeters, Stage};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// J7, J8: what a line's settings say of tries and ages.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub retry_max: u32,
    pub retry_base: Duration,
    pub retry_cap: Duration,
    pub expire_after: Duration,
}

/// What a row becomes, and under which switch.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub line: &'a Line,
    pub kind: &'a RowKind,
    pub schema: &'a Schema,
    /// K5: equal documents are not written again.
    pub skip: bool,
}

/// The writes of one batch, and which job each belongs to.
#[derive(Debug, Default)]
pub struct Plan {
    pub writes: Vec<SinkWrite>,
    pub jobs: Vec<usize>,
}

/// One batch on its way.
pub struct Delivery {
    jobs: Vec<Held>,
    policy: Policy,
    waiting_for: Option<Fault>,
}

struct Held {
    job: Taken,
    verdict: Option<Verdict>,
    /// K5: the hash of what was written or is known to be there.
    document: Option<u64>,
    /// The row's, of what the sink was asked.
    version: RowVersion,
    outcome: Option<Outcome>,
    late: Option<Duration>,
    ambiguous: u32,
    delays: Option<(Option<Duration>, Duration)>,
    /// What the sink was asked, kept only while somebody listens at the tap.
    shown: Option<Box<taps::ShownDocument>>,
}

/// What is told of one job besides its verdict.
enum Outcome {
    Document(DocumentOutcome),
    Superseded { version: RowVersion, held: Option<RowVersion> },
    Rejected { version: RowVersion, reason: String },
    Retried(Fault),
}

/// What one row asks of the sink.
enum Wish {
    Write(SinkWrite, u64),
    Nothing,
    Equal(u64),
    Never(String),
    Panicked(String),
}

impl Delivery {
    pub fn new(jobs: Vec<Taken>, policy: Policy) -> Self {
        let held = |job| Held {
            job,
            verdict: None,
            document: None,
            version: RowVersion::default(),
            outcome: None,
            late: None,
            ambiguous: 0,
            delays: None,
            shown: None,
        };
        Self { jobs: jobs.into_iter().map(held).collect(), policy, waiting_for: None }
    }

    /// The rows to read, in the order of the jobs.
    pub fn rows(&self, kind: Name) -> Vec<RowId> {
        self.jobs.iter().map(|h| RowId { kind, key: h.job.key.row.clone() }).collect()
    }

    /// The store did not answer: every job goes again without using up a try (J7).
    pub fn unreadable(&mut self, fault: &Fault, now: Millis) {
        for index in 0..self.jobs.len() {
            self.again(index, fault.clone(), false, now);
        }
    }

    /// Decides each job by its row as one read saw it.
    pub fn plan(&mut self, rows: &[Option<WideRow>], target: &Target<'_>, now: Millis) -> Plan {
        let mut plan = Plan::default();
        let mut ids = QuickSet::default();
        ids.reserve(rows.len());
        for (index, row) in rows.iter().enumerate().take(self.jobs.len()) {
            let held = &mut self.jobs[index];
            let age = Duration::from_millis(now.since(held.job.load.first_offered) as u64);
            held.late = (age > self.policy.expire_after).then_some(age);
            let wish = catch_unwind(AssertUnwindSafe(|| wish(held, row.as_ref(), target)))
                .unwrap_or_else(|panic| Wish::Panicked(panic_text(&*panic)));
            match wish {
                Wish::Nothing => held.settle(DocumentOutcome::Skipped, None),
                Wish::Equal(hash) => held.settle(DocumentOutcome::Skipped, Some(hash)),
                Wish::Never(reason) => {
                    let version = row.as_ref().map_or_else(Default::default, |r| r.version(target.kind.version));
                    held.bury(version, reason);
                }
                Wish::Panicked(text) => {
                    let fault = Fault::new(FaultKind::Panicked, format!("document of line {}", target.line.name), text);
                    self.again(index, fault, true, now);
                }
                // Two rows of one id: the second waits for its own batch, so that a sink sees each id once. Two ids of one
                // hash only wait for each other.
                Wish::Write(write, _) if !ids.insert(xxh3_64_with_seed(write.id.as_bytes(), 0)) => {
                    held.verdict = Some(Verdict::Requeue);
                }
                Wish::Write(write, hash) => {
                    held.shown = taps::document(&write, row.as_ref());
                    held.document = Some(hash);
                    held.version = write.version;
                    plan.jobs.push(index);
                    plan.writes.push(write);
                }
            }
        }
        plan
    }

    /// Takes the sink's answers to a plan's writes, in their order.
    pub fn written(&mut self, plan: &[usize], outcomes: Vec<SinkOutcome>, now: Millis) {
        let mut outcomes = outcomes.into_iter();
        for index in plan {
            let missing = || SinkOutcome::Retry {
                fault: Fault::new(FaultKind::Timeout, "sink", "gave no answer for this document"),
                counts: true,
            };
            let outcome = outcomes.next().unwrap_or_else(missing);
            let held = &mut self.jobs[*index];
            match outcome {
                SinkOutcome::Written => {
                    let (document, load) = (held.document, &held.job.load);
                    held.delays = Some(delays(load, now));
                    let deleted = held.deleted(document);
                    held.settle(if deleted { DocumentOutcome::Deleted } else { DocumentOutcome::Written }, document);
                }
                SinkOutcome::Superseded(newer) => {
                    held.verdict = Some(Verdict::Done);
                    held.document = None;
                    held.outcome = Some(Outcome::Superseded { version: held.version, held: newer });
                }
                SinkOutcome::Retry { fault, counts } => self.again(*index, fault, counts, now),
                SinkOutcome::Rejected(reason) => held.bury(held.version, reason),
            }
        }
    }

    /// V5: the rows for which the sink told a version above ours, and that version.
    pub fn superseded(&self) -> Vec<(RowKey, RowVersion)> {
        let told = |h: &Held| match &h.outcome {
            Some(Outcome::Superseded { held: Some(held), .. }) => Some((h.job.key.row.clone(), *held)),
            _ => None,
        };
        self.jobs.iter().filter_map(told).collect()
    }

    /// J7: back-off with jitter, capped; a fault that is not the job's own uses up no try and makes the line wait.
    fn again(&mut self, index: usize, fault: Fault, counts: bool, now: Millis) {
        let held = &mut self.jobs[index];
        held.document = None;
        if counts && held.job.attempts + 1 >= self.policy.retry_max.max(1) {
            let reason = format!("gave up after {} tries: {fault}", held.job.attempts + 1);
            return held.bury(Default::default(), reason);
        }
        let pause = if counts { pause(&self.policy, &held.job) } else { self.policy.retry_base };
        held.verdict = Some(Verdict::Retry { at: Millis(now.0 + pause.as_millis() as i64), counts });
        if !counts {
            self.waiting_for = Some(fault.clone());
        }
        held.outcome = Some(Outcome::Retried(fault));
    }

    /// Every job's verdict; one without is given back untouched.
    pub fn finishes(&self) -> Vec<Finish> {
        let finish = |held: &Held| Finish {
            key: held.job.key.clone(),
            lease: held.job.lease,
            verdict: held.verdict.clone().unwrap_or(Verdict::Requeue),
            document: held.document,
        };
        self.jobs.iter().map(finish).collect()
    }

    /// A side that does not answer: the line waits (J7).
    pub fn waiting_for(&self) -> Option<&Fault> {
        self.waiting_for.as_ref()
    }

    /// Whether the sink took or judged at least one document of the batch.
    pub fn got_through(&self) -> bool {
        let through = |held: &Held| matches!(held.outcome, Some(Outcome::Document(_) | Outcome::Superseded { .. }));
        self.jobs.iter().any(through)
    }

    /// Counts and tells what became of each job, once the queue has taken the verdicts. What ended under a lease that is
    /// gone is another run's to tell (J10).
    pub fn tell(&self, settled: &[Settled], meters: &LineMeters) {
        let mut usual = Usual::default();
        for (held, settled) in self.jobs.iter().zip(settled) {
            held.tell(*settled != Settled::LeaseGone, meters, &mut usual);
        }
        meters.jobs(JobOutcome::Done, usual.done);
        for (outcome, count) in DocumentOutcome::ALL.iter().zip(usual.documents) {
            meters.documents(*outcome, count);
        }
    }
}

/// What nearly every job comes to, counted once per batch.
#[derive(Default)]
struct Usual {
    done: u64,
    documents: [u64; DocumentOutcome::ALL.len()],
}

impl Held {
    fn settle(&mut self, outcome: DocumentOutcome, document: Option<u64>) {
        self.verdict = Some(Verdict::Done);
        self.document = document;
        self.outcome = Some(Outcome::Document(outcome));
    }

    fn bury(&mut self, version: RowVersion, reason: String) {
        self.verdict = Some(Verdict::Bury { reason: reason.clone() });
        self.document = None;
        self.outcome = Some(Outcome::Rejected { version, reason });
    }

    fn deleted(&self, document: Option<u64>) -> bool {
        document == Some(DELETED)
    }

    fn tell(&self, counts: bool, meters: &LineMeters, usual: &mut Usual) {
        let (row, attempts) = (&self.job.key.row, self.job.attempts);
        if self.ambiguous > 0 {
            meters.ambiguous(u64::from(self.ambiguous));
        }
        if let Some(age) = self.late {
            telemetry::JobLate { row, age }.emit(meters);
        }
        if let Some((whole, queued)) = self.delays {
            meters.stage(Stage::JobToSink, queued);
            if let Some(whole) = whole {
                meters.stage(Stage::BinlogToSink, whole);
            }
        }
        if taps::documents_wanted() {
            let (outcome, detail) = self.told();
            taps::delivered(&meters.line(), row, outcome, detail.as_deref(), self.shown.as_deref());
        }
        match &self.outcome {
            None => {}
            Some(Outcome::Document(outcome)) => usual.documents[outcome.index()] += 1,
            Some(Outcome::Superseded { version, held }) => {
                telemetry::Superseded { row, version: *version, held: *held }.emit(meters);
            }
            Some(Outcome::Rejected { version, reason }) => {
                telemetry::DocumentRejected { row, version: *version, reason }.emit(meters);
            }
            Some(Outcome::Retried(fault)) => {
                meters.documents(DocumentOutcome::Retried, 1);
                if counts {
                    telemetry::JobRetried { row, attempts, fault }.emit(meters);
                }
            }
        }
        match &self.verdict {
            Some(Verdict::Done) if counts => usual.done += 1,
            Some(Verdict::Bury { reason }) if counts => telemetry::JobBuried { row, attempts, reason }.emit(meters),
            _ => {}
        }
    }
}

impl Held {
    /// The outcome's label, and what there is to say about it.
    fn told(&self) -> (&'static str, Option<String>) {
        match &self.outcome {
            None => ("given_back", None),
            Some(Outcome::Document(outcome)) => (outcome.label(), None),
            Some(Outcome::Superseded { held, .. }) => {
                (DocumentOutcome::Superseded.label(), held.map(|version| format!("the sink holds {version}")))
            }
            Some(Outcome::Rejected { reason, .. }) => (DocumentOutcome::Rejected.label(), Some(reason.clone())),
            Some(Outcome::Retried(fault)) => (DocumentOutcome::Retried.label(), Some(fault.to_string())),
        }
    }
}

/// What stands for "deleted" among document hashes (K5).
const DELETED: u64 = 0;

fn wish(held: &mut Held, row: Option<&WideRow>, target: &Target<'_>) -> Wish {
    let Target { line, kind, schema, skip } = *target;
    let (Some(row), Some(document)) = (row, &line.document) else { return Wish::Nothing };
    let id = match document.id(row) {
        Ok(id) => id,
        Err(error) => return Wish::Never(error.to_string()),
    };
    steps::reached(Step::MappingBegun);
    let body = if row.is_alive(kind) {
        match document.build(row, kind, schema) {
            Ok(built) => {
                held.ambiguous = built.ambiguous;
                Body::Index(Bytes::from(built.json))
            }
            Err(error) => return Wish::Never(error.to_string()),
        }
    } else {
        match line.delete {
            DeleteMode::Ignore => return Wish::Nothing,
            // K4: children that came before their root have no document to delete.
            _ if !row.was_born(kind) && !held.job.load.must_write => return Wish::Nothing,
            DeleteMode::Delete => Body::Delete,
            DeleteMode::Tombstone => match document.tombstone(row, kind, schema) {
                Ok(json) => Body::Index(Bytes::from(json)),
                Err(error) => return Wish::Never(error.to_string()),
            },
        }
    };
    let hash = match &body {
        Body::Delete => DELETED,
        Body::Index(json) => xxh3_64_with_seed(json, 0).max(DELETED + 1),
    };
    if skip && !held.job.load.must_write && held.job.last_document == Some(hash) {
        return Wish::Equal(hash);
    }
    let types = held.job.load.types.to_vec();
    let write = SinkWrite { id, version: row.version(kind.version), body, row: held.job.key.row.clone(), types };
    Wish::Write(write, hash)
}

fn pause(policy: &Policy, job: &Taken) -> Duration {
    let base = policy.retry_base.saturating_mul(1 << job.attempts.min(20)).min(policy.retry_cap);
    // Jitter by the job's own name: jobs that failed together come back apart, and a run can be repeated.
    let dice = xxh3_64_with_seed(job.key.row.as_str().as_bytes(), u64::from(job.attempts)) % 512;
    base.mul_f64(0.75 + dice as f64 / 1024.0)
}

/// From the database's change and from the job's first offer to now.
fn delays(load: &Load, now: Millis) -> (Option<Duration>, Duration) {
    let since = |then: Millis| Duration::from_millis(now.since(then) as u64);
    (load.oldest.map(since), since(load.first_offered))
}
