//! What people ask of the queue: counts, lists, releases.

use super::keys;
use super::overflow::Asides;
use super::queue::{AsynqQueue, arg};
use super::record;
use super::scripts::Scope;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, Lane};
use crate::ports::queue::{JobState, LaneCount, Listed, Which};

/// Records read per call.
const PAGE: usize = 500;
/// The longest list, whatever was asked for.
const LIST_MAX: usize = 10_000;
/// Buried jobs looked at per call.
const RELEASED_PER_CALL: usize = 200;

/// Base, lane, state, load, lease's end, time of a retry, message.
type ListRow = (String, usize, String, String, String, String, Vec<u8>);

impl AsynqQueue {
    pub(super) async fn count(&self, line: Name) -> Result<Vec<LaneCount>, Fault> {
        self.ready(line).await?;
        let (rows, _) = self.lane_counts(line).await?;
        let asides = self.aside(move |overflow| overflow.counts(line)).await?;
        let time = |text: &str| text.parse().ok().map(Millis);
        let older = |a: Option<Millis>, b: Option<Millis>| a.into_iter().chain(b).min();
        let lanes = self.inner.names.lanes();
        let diversion = self.with_line(line, |state| state.diversion);
        let count = |(place, ((waiting, retry, active, buried, oldest, unfinished), aside)): (usize, (_, Asides))| {
            let (oldest, unfinished): (String, String) = (oldest, unfinished);
            let oldest = older(time(&oldest), aside.oldest_spilled);
            let unfinished = older(older(time(&unfinished), oldest), aside.oldest_parked);
            let Asides { spilled, parked, .. } = aside;
            let lane = Lane(place as u8);
            let diverted = diversion.lane(lane, lanes) != lane;
            LaneCount { waiting, retry, active, parked, spilled, buried, oldest, unfinished, diverted }
        };
        Ok(rows.into_iter().zip(asides).enumerate().map(count).collect())
    }

    fn lines_of(&self, which: &Which) -> Vec<Name> {
        let mut lines = self.known_lines();
        lines.retain(|line| which.line.is_none_or(|l| l == *line));
        lines
    }

    pub(super) async fn list_all(&self, which: Which, max: usize) -> Result<Vec<Listed>, Fault> {
        let max = max.min(LIST_MAX);
        let mut jobs = Vec::new();
        for line in self.lines_of(&which) {
            self.ready(line).await?;
            let mut here = Vec::new();
            for scope in self.scopes(line) {
                self.list_scope(&scope, &which, max.saturating_sub(jobs.len()), &mut here).await?;
            }
            here.sort_by(|a, b| a.key.row.cmp(&b.key.row));
            jobs.extend(here);
            jobs.truncate(max);
            let (which, room) = (which.clone(), max - jobs.len());
            if self.any_aside() && room > 0 {
                jobs.extend(self.aside(move |overflow| overflow.list(line, &which, room)).await?);
            }
        }
        Ok(jobs)
    }

    async fn list_scope(&self, scope: &Scope, which: &Which, max: usize, jobs: &mut Vec<Listed>) -> Result<(), Fault> {
        let base = which.row.as_ref().map(|row| keys::base(&RowKey::new(row))).unwrap_or_default();
        let mut cursor = "0".to_owned();
        while jobs.len() < max {
            let args = vec![arg(&cursor), arg(PAGE), arg(&base)];
            let (next, rows): (String, Vec<ListRow>) = self.run(scope, &self.inner.scripts.list, args).await?;
            let listed = rows.into_iter().filter_map(|row| listed(scope, row));
            jobs.extend(listed.filter(|job| which.state.is_none_or(|state| state == job.state)));
            if next == "0" {
                break;
            }
            cursor = next;
        }
        Ok(())
    }

    pub(super) async fn release_all(&self, which: Which) -> Result<u64, Fault> {
        let mut released = 0;
        match which.state {
            None | Some(JobState::Parked) => {
                for line in self.lines_of(&which) {
                    self.ready(line).await?;
                    released += self.release_parked(line, which.row.as_deref()).await?;
                }
            }
            Some(JobState::Buried) => {
                for line in self.lines_of(&which) {
                    self.ready(line).await?;
                    for scope in self.scopes(line) {
                        released += self.release_buried(&scope, which.row.as_deref()).await?;
                    }
                    self.inner.bells.of(line).notify_waiters();
                }
            }
            Some(other) => {
                let what = format!("`{}` jobs are not released; allowed: parked, buried", other.label());
                return Err(Fault::new(FaultKind::Invalid, "release of jobs", what));
            }
        }
        Ok(released)
    }

    async fn release_parked(&self, line: Name, row: Option<&str>) -> Result<u64, Fault> {
        let key = row.map(|row| JobKey { line, row: RowKey::new(row) });
        let lanes = self.inner.names.lanes();
        let moved = self
            .gated(move |overflow| match key {
                Some(key) => overflow.unpark_one(&key).map(u64::from),
                None => (0..lanes).try_fold(0, |sum, at| Ok(sum + overflow.unpark(line, Lane(at as u8), usize::MAX)?)),
            })
            .await?;
        if moved > 0 {
            self.refill(line).await?;
        }
        Ok(moved)
    }

    async fn release_buried(&self, scope: &Scope, row: Option<&str>) -> Result<u64, Fault> {
        let line = scope.line;
        let base = row.map(|row| keys::base(&RowKey::new(row))).unwrap_or_default();
        let mut total = 0;
        loop {
            let spilling = self.aside(move |overflow| overflow.spilling(line)).await?;
            let digits: String = scope.lanes.iter().map(|lane| if spilling[usize::from(lane.0)] { '1' } else { '0' }).collect();
            let args = vec![arg(self.inner.rules.max_pending), arg(digits), arg(RELEASED_PER_CALL), arg(&base)];
            let (released, spilled, seen): (u64, Vec<(String, usize, String)>, usize) =
                self.run(scope, &self.inner.scripts.release, args).await?;
            total += released + spilled.len() as u64;
            if !spilled.is_empty() {
                self.spill_released(scope, spilled).await?;
            }
            if seen < RELEASED_PER_CALL {
                return Ok(total);
            }
        }
    }

    /// J9: released jobs of a full lane go to the overflow, then leave Redis.
    async fn spill_released(&self, scope: &Scope, spilled: Vec<(String, usize, String)>) -> Result<(), Fault> {
        let line = scope.line;
        let bases: Vec<Vec<u8>> = spilled.iter().map(|(base, ..)| base.clone().into_bytes()).collect();
        let lanes: Vec<Lane> = spilled.iter().map(|(_, lane, _)| scope.lane(*lane)).collect();
        let rows: Vec<_> = spilled
            .into_iter()
            .zip(lanes)
            .filter_map(|((base, _, load), lane)| {
                let (attempts, load) = record::unpack(&load)?;
                Some((JobKey { line, row: keys::row_of(&base)? }, lane, attempts, load))
            })
            .collect();
        self.gated(move |overflow| {
            rows.into_iter().try_for_each(|(key, lane, attempts, load)| overflow.put(&key, lane, attempts, load, Hold::Spilled))
        })
        .await?;
        self.forget(line, "a", bases).await.map(drop)
    }
}

fn listed(scope: &Scope, row: ListRow) -> Option<Listed> {
    let (base, lane, state, load, lease, due, msg) = row;
    let (row, error) = AsynqQueue::told(&base, &msg, scope.line)?;
    let (attempts, load) = record::unpack(&load)?;
    let ms = |seconds: &str| seconds.parse::<f64>().ok().map(|s| Millis((s * 1_000.0).round() as i64));
    let (state, until, reason) = match state.as_str() {
        "active" => (JobState::Active, ms(&lease), None),
        "retry" => (JobState::Retry, ms(&due), None),
        "archived" => (JobState::Buried, None, Some(error)),
        _ => (JobState::Waiting, None, None),
    };
    Some(Listed { key: JobKey { line: scope.line, row }, state, lane: scope.lane(lane), load, attempts, until, reason })
}
