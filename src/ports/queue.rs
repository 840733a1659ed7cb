//! The door to the jobs (2.7).

use super::Answer;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{JobKey, Lane, LaneGuard, Lease, Load, Offer, Offered, Settled, Verdict};

/// A job in a worker's hands until its lease runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub key: JobKey,
    pub lane: Lane,
    pub load: Load,
    /// Failed tries before this one.
    pub attempts: u32,
    pub lease: Lease,
    /// K5: the hash of the document last written, put there by the run that wrote it; taking the job removed it.
    pub last_document: Option<u64>,
}

/// What one taking brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub jobs: Vec<Taken>,
    /// J8 `park`: late jobs put aside on the way.
    pub parked: u64,
    /// J8 `drop`: late jobs dropped on the way, each listed among the buried.
    pub dropped: u64,
}

/// A worker's word on a job it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    pub key: JobKey,
    pub lease: Lease,
    pub verdict: Verdict,
    /// K5: kept beside the job's key when the verdict is done and the lease still holds.
    pub document: Option<u64>,
}

/// Counts of one line's lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCount {
    pub waiting: u64,
    pub retry: u64,
    pub active: u64,
    pub parked: u64,
    pub spilled: u64,
    pub buried: u64,
    /// First offer of the oldest job that waits in the lane.
    pub oldest: Option<Millis>,
    /// First offer of the oldest job that is not finished, running and parked ones included: marks go no further (J11).
    /// Perhaps up to a second too early.
    pub unfinished: Option<Millis>,
    /// Offers of the lane go to the line's lowest lane, because the line stayed too long (J9).
    pub diverted: bool,
}

impl LaneCount {
    /// Which guards of the lane are on.
    pub fn guards(&self) -> impl Iterator<Item = LaneGuard> {
        LaneGuard::ALL.into_iter().filter(|guard| match guard {
            LaneGuard::Overflow => self.spilled > 0,
            LaneGuard::Bulk => self.diverted,
        })
    }
}

/// Where a listed job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Waiting,
    Retry,
    Active,
    Parked,
    Spilled,
    Buried,
}

impl JobState {
    pub const ALL: [Self; 6] = [Self::Waiting, Self::Retry, Self::Active, Self::Parked, Self::Spilled, Self::Buried];
    pub const fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retry => "retry",
            Self::Active => "active",
            Self::Parked => "parked",
            Self::Spilled => "spilled",
            Self::Buried => "buried",
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.label() == text)
    }
}

/// A job as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: JobKey,
    pub state: JobState,
    pub lane: Lane,
    pub load: Load,
    pub attempts: u32,
    /// Not before this time (retry), or the lease's end (active).
    pub until: Option<Millis>,
    /// Why it was buried.
    pub reason: Option<String>,
}

/// Which jobs a list or a release means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    pub line: Option<Name>,
    pub state: Option<JobState>,
    /// One row key.
    pub row: Option<String>,
}

/// The jobs of all lines. Times are the queue's own clock.
pub trait JobQueue: Send + Sync {
    /// Accepts each offer durably before it answers (J5), coalescing by J2 and J4, spilling by J9.
    fn offer(&self, offers: Vec<Offer>) -> Answer<'_, Result<Vec<Offered>, Fault>>;

    /// Up to `max` jobs of a line under one lease length, by weighted or strict lanes (J6). Empty when nothing is ready.
    fn take(&self, line: Name, max: usize) -> Answer<'_, Result<Batch, Fault>>;

    /// Ends runs. A verdict whose lease is gone does nothing (J10).
    fn finish(&self, verdicts: Vec<Finish>) -> Answer<'_, Result<Vec<Settled>, Fault>>;

    /// Keeps leases alive by progress.
    fn extend(&self, leases: Vec<(JobKey, Lease)>) -> Answer<'_, Result<(), Fault>>;

    /// Resolves when the line may have work; may resolve early.
    fn wait(&self, line: Name) -> Answer<'_, ()>;

    /// What the queue does by itself from time to time: expired leases (J10), spilled and parked jobs that come back
    /// (J8, J9), old hashes (K5). Says how many jobs moved. Called every second or so.
    fn tend(&self) -> Answer<'_, Result<u64, Fault>>;

    /// Counts per lane of a line, most urgent first.
    fn counts(&self, line: Name) -> Answer<'_, Result<Vec<LaneCount>, Fault>>;

    fn list(&self, which: Which, max: usize) -> Answer<'_, Result<Vec<Listed>, Fault>>;

    /// Parked (or, for `Buried`, dead) jobs go back to their lanes; says how many.
    fn release(&self, which: Which) -> Answer<'_, Result<u64, Fault>>;

    /// J11: names this life of the queue; another text means that its content was lost.
    fn life(&self) -> Answer<'_, Result<String, Fault>>;
}
