//! Rebuilds and purges under way in a running node: started, followed, paused, cancelled by their id.
//!
//! One run per task and subject at a time. A store or queue that does not answer makes a run wait, not fail. A run ends with
//! its node; a rebuild begun again goes on where it was left (R5).

use super::answers::{Code, Office, Problem};
use super::runs::{self, RebuildPlan, Run};
use crate::domain::fault::{Advice, Fault};
use crate::domain::ids::{Millis, Name};
use crate::domain::schema::RowKind;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs remembered, ended ones included; the oldest ended one makes room.
const RUNS_MAX: usize = 50;
/// Between two tries of a run that waits for a store.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A run as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAnswer {
    pub id: String,
    /// `rebuild` or `purge`.
    pub task: String,
    /// The line, or the row kind.
    pub on: String,
    /// `running`, `paused`, `waiting`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// Only counts.
    pub dry: bool,
    /// Rows looked at.
    pub rows: u64,
    /// About how many there are, where the store knows.
    pub rows_about: Option<u64>,
    /// Jobs offered, or rows purged.
    pub done: u64,
    /// Cells purged.
    pub cells: u64,
    /// The next row key.
    pub at: Option<String>,
    /// In ms since 1970.
    pub started: i64,
    pub ended: Option<i64>,
    pub reason: String,
    /// What it waits for, or failed of.
    pub cause: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsAnswer {
    /// Newest first.
    pub runs: Vec<RunAnswer>,
    /// Rebuilds that an earlier node, or a cancel, left: the same request goes on there.
    pub left: Vec<LeftRun>,
}

/// A rebuild that did not reach its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRun {
    pub line: String,
    pub from: Option<String>,
    pub to: Option<String>,
    /// The next row key.
    pub at: String,
}

/// What is done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunChange {
    Pause,
    Resume,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Rebuild,
    Purge,
}

impl Task {
    const fn label(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Purge => "purge",
        }
    }
}

/// What a run does.
enum Work {
    Rebuild(RebuildPlan),
    Purge { kind: RowKind, dry: bool },
}

impl Work {
    async fn begin(&self, office: &Office, run: &Arc<Run>) -> Result<(), Fault> {
        let doors = &office.doors;
        match self {
            Self::Rebuild(plan) => runs::rebuild(plan, &*doors.rows, &*doors.queue, &*doors.ledger, run).await,
            Self::Purge { kind, dry } => runs::purge(kind, office.purge_before(), *dry, &*doors.rows, run).await.map(drop),
        }
    }
}

struct Entry {
    id: String,
    task: Task,
    on: Name,
    dry: bool,
    rows_about: Option<u64>,
    reason: String,
    started: Millis,
    run: Arc<Run>,
    state: Mutex<Told>,
}

/// What the run's own task told last.
#[derive(Clone, Debug, Default)]
struct Told {
    waiting_for: Option<String>,
    ended: Option<(Millis, Option<String>)>,
}

/// All runs of one node.
#[derive(Default)]
pub struct Desk {
    entries: Mutex<Vec<Arc<Entry>>>,
    next: AtomicU64,
}

impl Desk {
    /// R5: begins a rebuild on the caller's runtime.
    ///
    /// # Errors
    /// One of this line goes on already.
    pub fn rebuild(&self, office: &Office, plan: RebuildPlan, reason: &str) -> Result<RunAnswer, Problem> {
        let entry = self.enter(office, Task::Rebuild, plan.jobs.line, plan.kind, plan.dry, reason)?;
        tokio::spawn(Arc::clone(&entry).carry_on(office.clone(), Work::Rebuild(plan)));
        Ok(entry.answer())
    }

    /// M5: begins a purge on the caller's runtime.
    ///
    /// # Errors
    /// No such kind; one of this kind goes on already.
    pub fn purge(&self, office: &Office, kind: &str, dry: bool, reason: &str) -> Result<RunAnswer, Problem> {
        let kind = office.kind(kind)?.clone();
        let entry = self.enter(office, Task::Purge, kind.name, kind.name, dry, reason)?;
        tokio::spawn(Arc::clone(&entry).carry_on(office.clone(), Work::Purge { kind, dry }));
        Ok(entry.answer())
    }

    fn enter(&self, office: &Office, task: Task, on: Name, kind: Name, dry: bool, reason: &str) -> Result<Arc<Entry>, Problem> {
        let mut entries = self.entries.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(other) = entries.iter().find(|e| e.task == task && e.on == on && !e.has_ended()) {
            let what = format!("a {} of `{on}` goes on already as run {}", task.label(), other.id);
            return Err(Problem::new(Code::Conflict, what).help("follow it, or cancel it first"));
        }
        if entries.len() >= RUNS_MAX
            && let Some(oldest) = entries.iter().position(|e| e.has_ended())
        {
            entries.remove(oldest);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(Entry {
            id: format!("{}-{number}", task.label()),
            task,
            on,
            dry,
            rows_about: office.doors.rows.approximate_rows(kind),
            reason: reason.to_owned(),
            started: office.now(),
            run: Arc::default(),
            state: Mutex::default(),
        });
        entries.push(Arc::clone(&entry));
        Ok(entry)
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, Problem> {
        let entries = self.entries.lock().unwrap_or_else(|e| e.into_inner());
        entries.iter().find(|e| e.id == id).cloned().ok_or_else(|| {
            let known: Vec<_> = entries.iter().map(|e| e.id.as_str()).collect();
            let help = if known.is_empty() { "none was started".to_owned() } else { format!("there are: {}", known.join(", ")) };
            Problem::new(Code::NoSuchRun, format!("no run is called `{id}`")).help(help)
        })
    }

    /// # Errors
    /// No such run.
    pub fn run(&self, id: &str) -> Result<RunAnswer, Problem> {
        Ok(self.entry(id)?.answer())
    }

    /// Every run, newest first, and what was left unfinished.
    ///
    /// # Errors
    /// A ledger that does not answer.
    pub async fn runs(&self, office: &Office) -> Result<RunsAnswer, Problem> {
        let entries = self.entries.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let under_way = |line: &str| entries.iter().any(|e| e.task == Task::Rebuild && e.on.as_str() == line && !e.has_ended());
        let notes = office.doors.ledger.notes("rebuild/").await?;
        let left = notes.iter().filter_map(|(name, at)| left_run(name, at)).filter(|left| !under_way(&left.line)).collect();
        Ok(RunsAnswer { runs: entries.iter().rev().map(|e| e.answer()).collect(), left })
    }

    /// # Errors
    /// No such run; it has ended.
    pub fn change(&self, id: &str, change: RunChange) -> Result<RunAnswer, Problem> {
        let entry = self.entry(id)?;
        if entry.has_ended() {
            return Err(Problem::new(Code::Conflict, format!("run {id} has ended")).help("begin another"));
        }
        match change {
            RunChange::Pause => entry.run.pause(true),
            RunChange::Resume => entry.run.pause(false),
            RunChange::Cancel => entry.run.cancel(),
        }
        Ok(entry.answer())
    }
}

/// `rebuild/LINE/FROM/TO`, as `runs::rebuild` names its place. A row key may hold a `/`; then the range is not told apart.
fn left_run(name: &str, at: &str) -> Option<LeftRun> {
    let mut parts = name.strip_prefix("rebuild/")?.splitn(3, '/');
    let mut part = || parts.next().filter(|text| !text.is_empty()).map(str::to_owned);
    Some(LeftRun { line: part()?, from: part(), to: part(), at: at.to_owned() })
}

impl Entry {
    fn told(&self) -> Told {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn has_ended(&self) -> bool {
        self.told().ended.is_some()
    }

    fn tell(&self, told: Told) {
        *self.state.lock().unwrap_or_else(|e| e.into_inner()) = told;
    }

    /// Repeats the work while it only waits for somebody.
    async fn carry_on(self: Arc<Self>, office: Office, work: Work) {
        let cause = loop {
            match work.begin(&office, &self.run).await {
                Ok(()) => break None,
                Err(fault) if matches!(fault.advice(), Advice::Wait | Advice::SlowDown) && !self.run.is_cancelled() => {
                    tracing::warn!(run = self.id, %fault, "run waits");
                    self.tell(Told { waiting_for: Some(fault.to_string()), ended: None });
                    tokio::time::sleep(TRY_AGAIN).await;
                    self.tell(Told::default());
                }
                Err(fault) => break Some(fault.to_string()),
            }
        };
        self.tell(Told { waiting_for: None, ended: Some((office.now(), cause)) });
        let answer = self.answer();
        tracing::info!(run = self.id, state = answer.state, rows = answer.rows, done = answer.done, "run ended");
    }

    fn answer(&self) -> RunAnswer {
        let (told, run) = (self.told(), &self.run);
        let state = match &told.ended {
            Some((_, Some(_))) => "failed",
            Some(_) if run.is_cancelled() => "cancelled",
            Some(_) => "done",
            None if run.is_paused() => "paused",
            None if told.waiting_for.is_some() => "waiting",
            None => "running",
        };
        let (ended, cause) = told.ended.map_or((None, told.waiting_for), |(at, cause)| (Some(at.0), cause));
        RunAnswer {
            id: self.id.clone(),
            task: self.task.label().to_owned(),
            on: self.on.to_string(),
            state: state.to_owned(),
            dry: self.dry,
            rows: run.rows.load(Ordering::Relaxed),
            rows_about: self.rows_about,
            done: run.done.load(Ordering::Relaxed),
            cells: run.cells.load(Ordering::Relaxed),
            at: run.at().filter(|_| state != "done").map(|key| key.to_string()),
            started: self.started.0,
            ended,
            reason: self.reason.clone(),
            cause,
        }
    }
}

#[cfg(test)]
mod tests;
