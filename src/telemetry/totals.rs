//! What one run did, in numbers: the sums behind the summary line of `run` (3-interfaces 3.4).
//!
//! Only meters and happenings add to it, each at the place where it also counts its metric, so the two cannot differ.

use super::names::{DocumentOutcome, JobOutcome};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one process's life.
#[derive(Debug, Default)]
pub struct Totals {
    records: AtomicU64,
    changes: AtomicU64,
    rows: AtomicU64,
    row_writes: AtomicU64,
    jobs: [AtomicU64; JobOutcome::ALL.len()],
    documents: [AtomicU64; DocumentOutcome::ALL.len()],
    dead_letters: AtomicU64,
    sinks_ahead: AtomicU64,
}

impl Totals {
    pub(super) fn add_records(&self, n: u64) {
        self.records.fetch_add(n, Relaxed);
    }
    pub(super) fn add_changes(&self, n: u64) {
        self.changes.fetch_add(n, Relaxed);
    }
    pub(super) fn add_rows(&self, n: u64) {
        self.rows.fetch_add(n, Relaxed);
    }
    pub(super) fn add_row_writes(&self, n: u64) {
        self.row_writes.fetch_add(n, Relaxed);
    }
    pub(super) fn add_jobs(&self, outcome: JobOutcome, n: u64) {
        self.jobs[outcome.index()].fetch_add(n, Relaxed);
    }
    pub(super) fn add_documents(&self, outcome: DocumentOutcome, n: u64) {
        self.documents[outcome.index()].fetch_add(n, Relaxed);
    }
    pub(super) fn add_sinks_ahead(&self, n: u64) {
        self.sinks_ahead.fetch_add(n, Relaxed);
    }
    pub(super) fn add_dead_letter(&self) {
        self.dead_letters.fetch_add(1, Relaxed);
    }

    /// Deliveries taken from the log, repeated ones included.
    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }
    /// Row changes decoded.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }
    /// Changes of entities after routing and folding.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }
    /// Row writes the store acknowledged.
    pub fn row_writes(&self) -> u64 {
        self.row_writes.load(Relaxed)
    }
    pub fn jobs(&self, outcome: JobOutcome) -> u64 {
        self.jobs[outcome.index()].load(Relaxed)
    }
    pub fn documents(&self, outcome: DocumentOutcome) -> u64 {
        self.documents[outcome.index()].load(Relaxed)
    }
    /// Documents that a sink held of a higher version than their row had (V5).
    pub fn sinks_ahead(&self) -> u64 {
        self.sinks_ahead.load(Relaxed)
    }
    /// Distinct positions that became dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Relaxed)
    }

    pub fn summary(&self) -> Summary {
        use {DocumentOutcome as D, JobOutcome as J};
        Summary {
            records: self.records(),
            changes: self.changes(),
            rows: self.rows(),
            row_writes: self.row_writes(),
            jobs: JobSummary {
                // A spilled job is one that was created all the same, only into the overflow ledger (J9).
                created: self.jobs(J::Created) + self.jobs(J::Spilled),
                coalesced: self.jobs(J::Coalesced),
                done: self.jobs(J::Done),
                buried: self.jobs(J::Buried),
                parked: self.jobs(J::Parked),
            },
            documents: DocumentSummary {
                written: self.documents(D::Written),
                superseded: self.documents(D::Superseded),
                deleted: self.documents(D::Deleted),
                skipped: self.documents(D::Skipped),
                rejected: self.documents(D::Rejected),
            },
            dead_letters: self.dead_letters(),
        }
    }

    /// The summary line of `run`, without its line end.
    pub fn summary_json(&self) -> String {
        // Plain numbers under fixed names: writing them cannot fail.
        serde_json::to_string(&self.summary()).unwrap_or_default()
    }
}

/// The summary as it is printed, keys in this order (3-interfaces 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub records: u64,
    pub changes: u64,
    pub rows: u64,
    pub row_writes: u64,
    pub jobs: JobSummary,
    pub documents: DocumentSummary,
    pub dead_letters: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct JobSummary {
    pub created: u64,
    pub coalesced: u64,
    pub done: u64,
    pub buried: u64,
    pub parked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DocumentSummary {
    pub written: u64,
    pub superseded: u64,
    pub deleted: u64,
    pub skipped: u64,
    pub rejected: u64,
}
