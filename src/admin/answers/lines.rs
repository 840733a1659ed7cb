//! Lines, their lanes, and the switch of K5.

use super::super::mapping;
use super::{Code, Office, Problem};
use crate::domain::line::{DeleteMode, When};
use crate::settings::{LineSettings, SinkKind};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesAnswer {
    pub lines: Vec<LineAnswer>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineAnswer {
    pub line: String,
    pub row: String,
    pub sink: String,
    /// `any`, or the columns it waits for.
    pub when: Vec<String>,
    /// `delete`, `tombstone` or `ignore` (K4).
    pub delete: String,
    pub workers: usize,
    /// Jobs of one read and one request at most.
    pub batch: usize,
    /// And so many bytes of rows.
    pub batch_bytes: usize,
    /// K5, as it is switched at this moment.
    pub skip_equal: bool,
    pub waiting: u64,
    pub retry: u64,
    pub active: u64,
    pub parked: u64,
    pub spilled: u64,
    pub buried: u64,
    /// Why it takes no jobs at this moment; nothing without a running node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<LineOutage>,
    /// Its documents were made by another mapping, or it is new on rows that exist: `widerow rebuild LINE` (R5).
    pub wants_rebuild: bool,
}

/// A side that does not answer a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineOutage {
    pub reason: String,
    /// In ms since 1970.
    pub since: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanesAnswer {
    pub lanes: Vec<LaneAnswer>,
}

/// One lane of one line, most urgent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneAnswer {
    pub line: String,
    pub lane: String,
    pub weight: u32,
    pub waiting: u64,
    pub retry: u64,
    pub active: u64,
    pub parked: u64,
    pub spilled: u64,
    pub buried: u64,
    /// Guards that are on: `overflow`, `bulk` (J9).
    #[serde(default)]
    pub guards: Vec<String>,
    /// Age of the oldest job that waits.
    pub oldest_age_ms: Option<i64>,
    /// Beyond so many, offers go to the overflow ledger (J9).
    pub max_pending: usize,
}

/// K5's switch of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipEqual {
    pub line: String,
    pub skip_equal: bool,
}

impl Office {
    /// Every line with the sums of its lanes.
    ///
    /// # Errors
    /// A queue that does not answer.
    pub async fn lines(&self) -> Result<LinesAnswer, Problem> {
        let lanes = self.lanes(None).await?.lanes;
        let wanting = mapping::wanting(&self.settings.lines, &*self.doors.rows, &*self.doors.ledger).await?;
        let lines = self.settings.lines.iter().map(|settings| {
            let name = settings.line.name.as_str();
            let sum = |count: fn(&LaneAnswer) -> u64| lanes.iter().filter(|l| l.line == name).map(count).sum();
            LineAnswer {
                line: name.to_owned(),
                row: settings.line.kind.to_string(),
                sink: sink_name(&settings.sink).to_owned(),
                when: when_text(&settings.line.when),
                delete: delete_text(settings.line.delete).to_owned(),
                workers: settings.workers,
                batch: settings.batch,
                batch_bytes: settings.batch_bytes,
                skip_equal: self.skips_equal(settings),
                waiting: sum(|l| l.waiting),
                retry: sum(|l| l.retry),
                active: sum(|l| l.active),
                parked: sum(|l| l.parked),
                spilled: sum(|l| l.spilled),
                buried: sum(|l| l.buried),
                outage: None,
                wants_rebuild: wanting.contains(&settings.line.name),
            }
        });
        Ok(LinesAnswer { lines: lines.collect() })
    }

    /// Every lane, of one line or of all.
    ///
    /// # Errors
    /// No such line, a queue that does not answer.
    pub async fn lanes(&self, line: Option<&str>) -> Result<LanesAnswer, Problem> {
        let names = match line {
            Some(line) => vec![self.line_settings(line)?.line.name],
            None => self.settings.lines.iter().map(|l| l.line.name).collect(),
        };
        let (queue, now) = (&self.settings.queue, self.now());
        let mut lanes = Vec::new();
        for line in names {
            let counts = self.doors.queue.counts(line).await?;
            for ((lane, weight), count) in queue.lanes.iter().zip(counts) {
                lanes.push(LaneAnswer {
                    line: line.to_string(),
                    lane: lane.to_string(),
                    weight: *weight,
                    waiting: count.waiting,
                    retry: count.retry,
                    active: count.active,
                    parked: count.parked,
                    spilled: count.spilled,
                    buried: count.buried,
                    guards: count.guards().map(|guard| guard.label().to_owned()).collect(),
                    oldest_age_ms: count.oldest.map(|at| now.since(at)),
                    max_pending: queue.max_pending,
                });
            }
        }
        Ok(LanesAnswer { lanes })
    }

    /// K5: switches skipping of equal documents for as long as the node runs.
    ///
    /// # Errors
    /// No such line, no running node.
    pub fn switch_skip_equal(&self, line: &str, on: bool) -> Result<SkipEqual, Problem> {
        let settings = self.line_settings(line)?;
        let switch = self.skip_equal.get(&settings.line.name).ok_or_else(|| {
            let what = format!("no node runs that delivers line `{line}`");
            Problem::new(Code::Conflict, what).help("without one, set `skip_equal` in the configuration")
        })?;
        switch.store(on, Ordering::Relaxed);
        Ok(SkipEqual { line: line.to_owned(), skip_equal: on })
    }

    fn skips_equal(&self, line: &LineSettings) -> bool {
        self.skip_equal.get(&line.line.name).map_or(line.line.skip_equal, |switch| switch.load(Ordering::Relaxed))
    }
}

pub(super) fn sink_name(sink: &SinkKind) -> &'static str {
    match sink {
        SinkKind::Embedded => "embedded",
        SinkKind::Jsonl { .. } => "jsonl",
        SinkKind::QueueOnly => "queue_only",
        SinkKind::Elasticsearch(_) => "elasticsearch",
        SinkKind::Redis(_) => "redis",
        SinkKind::Kafka(_) => "kafka",
    }
}

fn when_text(when: &When) -> Vec<String> {
    match when {
        When::Any => vec!["any".to_owned()],
        When::Columns(selectors) => {
            selectors.iter().map(|s| format!("{}.{}", s.table, s.column.map_or("*", |c| c.as_str()))).collect()
        }
    }
}

fn delete_text(mode: DeleteMode) -> &'static str {
    match mode {
        DeleteMode::Delete => "delete",
        DeleteMode::Tombstone => "tombstone",
        DeleteMode::Ignore => "ignore",
    }
}
