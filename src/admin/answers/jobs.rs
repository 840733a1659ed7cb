//! Jobs as people see them, and their release.

use super::{Code, Office, Problem, at_most};
use crate::domain::ids::Millis;
use crate::domain::job::Lane;
use crate::ports::queue::{JobState, Listed, Which};
use serde::{Deserialize, Serialize};

/// Which jobs are meant, as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichJobs {
    pub line: Option<String>,
    pub state: Option<JobState>,
    /// One row key.
    pub row: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsAnswer {
    pub jobs: Vec<JobAnswer>,
    /// There are more than were asked for.
    pub more: bool,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAnswer {
    pub line: String,
    pub row: String,
    /// `waiting`, `retry`, `active`, `parked`, `spilled` or `buried`.
    pub state: String,
    pub lane: String,
    /// Its first offer, in ms since 1970 (J8).
    pub first_offered: i64,
    pub age_ms: i64,
    /// Failed tries.
    pub attempts: u32,
    /// Not before this time (retry), or the lease's end (active), in ms since 1970.
    pub until: Option<i64>,
    /// Why it was buried.
    pub reason: Option<String>,
    /// Named change types behind it.
    pub types: Vec<String>,
    /// K5: the write may not be skipped.
    pub must_write: bool,
}

/// How many jobs went back to their lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    pub released: u64,
}

impl Office {
    /// Jobs of a line or of all.
    ///
    /// # Errors
    /// No such line, a queue that does not answer.
    pub async fn jobs(&self, which: &WhichJobs, max: usize) -> Result<JobsAnswer, Problem> {
        let max = at_most(max);
        let mut listed = self.doors.queue.list(self.which(which)?, max + 1).await?;
        let more = listed.len() > max;
        listed.truncate(max);
        let now = self.now();
        Ok(JobsAnswer { jobs: listed.into_iter().map(|job| self.job(job, now)).collect(), more })
    }

    /// Puts parked (or, with `Buried`, dead) jobs back into their lanes; without a state, parked ones.
    ///
    /// # Errors
    /// No such line, a state that needs no release, a queue that does not answer.
    pub async fn release(&self, which: &WhichJobs) -> Result<Released, Problem> {
        let state = which.state.unwrap_or(JobState::Parked);
        if !matches!(state, JobState::Parked | JobState::Buried) {
            let what = format!("jobs that are {} go on by themselves", state.label());
            return Err(Problem::new(Code::BadRequest, what).help("release takes state parked or buried"));
        }
        let which = Which { state: Some(state), ..self.which(which)? };
        Ok(Released { released: self.doors.queue.release(which).await? })
    }

    fn which(&self, which: &WhichJobs) -> Result<Which, Problem> {
        let line = which.line.as_deref().map(|line| self.line_settings(line)).transpose()?;
        Ok(Which { line: line.map(|l| l.line.name), state: which.state, row: which.row.clone() })
    }

    pub(super) fn job(&self, listed: Listed, now: Millis) -> JobAnswer {
        let Listed { key, state, lane, load, attempts, until, reason } = listed;
        JobAnswer {
            line: key.line.to_string(),
            row: key.row.to_string(),
            state: state.label().to_owned(),
            lane: self.lane_name(lane),
            first_offered: load.first_offered.0,
            age_ms: now.since(load.first_offered),
            attempts,
            until: until.map(|at| at.0),
            reason,
            types: load.types.iter().map(ToString::to_string).collect(),
            must_write: load.must_write,
        }
    }

    pub(super) fn lane_name(&self, lane: Lane) -> String {
        let named = self.settings.queue.lanes.get(usize::from(lane.0));
        named.map_or_else(|| lane.0.to_string(), |(name, _)| name.to_string())
    }
}
