//! Long work beside the live flow: rebuilding a line (R5) and purging a row kind (M5).
//!
//! Both go through the wide rows in key order, page by page, remember where they are, and may be paused, cancelled and
//! resumed. A rebuild offers jobs, never documents, so live changes go on meanwhile and win.

use super::answers::{Code, Office, Problem};
use super::mapping;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::row::Purged;
use crate::ports::ledger::Ledger;
use crate::ports::queue::JobQueue;
use crate::ports::refill::{PAGE_ROWS, Refill};
use crate::ports::rows::{Horizon, RowStore};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between two looks whether a paused run goes on.
const PAUSE_LOOK: Duration = Duration::from_millis(250);
/// Pages that a run of a given rate takes.
const PAGES_PER_SECOND: f64 = 10.0;

/// What a run has done, and the switches on it.
#[derive(Debug, Default)]
pub struct Run {
    pub rows: AtomicU64,
    /// Jobs offered, or rows purged.
    pub done: AtomicU64,
    pub cells: AtomicU64,
    paused: AtomicBool,
    cancelled: AtomicBool,
    at: Mutex<Option<RowKey>>,
}

impl Run {
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
    /// The next row key it will look at.
    pub fn at(&self) -> Option<RowKey> {
        self.at.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    async fn step(&self, at: Option<&RowKey>) -> bool {
        *self.at.lock().unwrap_or_else(|e| e.into_inner()) = at.cloned();
        while self.is_paused() && !self.is_cancelled() {
            tokio::time::sleep(PAUSE_LOOK).await;
        }
        !self.is_cancelled()
    }
}

/// What a rebuild covers.
#[derive(Clone, Debug)]
pub struct RebuildPlan {
    /// Its line, and where the jobs go.
    pub jobs: Refill,
    pub kind: Name,
    pub from: Option<RowKey>,
    pub to: Option<RowKey>,
    /// Rows per second at most.
    pub rate: Option<f64>,
    pub dry: bool,
    /// What the ledger notes once a rebuild of the whole range has ended (`mapping`).
    pub mapping: String,
}

/// R5: offers a job for every row of the kind in the range. Resumes where an unfinished one of the same range was left.
///
/// # Errors
/// A store or queue that refuses; what can be waited for is the caller's to repeat: it resumes.
pub async fn rebuild(
    plan: &RebuildPlan,
    rows: &dyn RowStore,
    queue: &dyn JobQueue,
    ledger: &dyn Ledger,
    run: &Arc<Run>,
) -> Result<(), Fault> {
    let note = format!(
        "rebuild/{}/{}/{}",
        plan.jobs.line,
        plan.from.as_ref().map_or("", RowKey::as_str),
        plan.to.as_ref().map_or("", RowKey::as_str)
    );
    let resumed = if plan.dry { None } else { ledger.note(&note).await? };
    // A run that met a fault and is called again goes on where it was.
    let mut next = run.at().or_else(|| resumed.map(|key| RowKey::new(&key))).or_else(|| plan.from.clone());
    // A slow run takes small pages, so that it hears a pause or a cancel soon.
    let page_rows = plan.rate.map_or(PAGE_ROWS, |rate| ((rate / PAGES_PER_SECOND).ceil() as usize).clamp(1, PAGE_ROWS));
    loop {
        if !run.step(next.as_ref()).await {
            return Ok(());
        }
        let page = rows.scan(plan.kind, next.clone(), plan.to.clone(), page_rows).await?;
        let count = page.rows.len() as u64;
        if !plan.dry {
            let keys = page.rows.into_iter().map(|row| row.row.key).collect();
            plan.jobs.offer(keys, queue, || run.is_cancelled()).await?;
        }
        run.rows.fetch_add(count, Ordering::Relaxed);
        run.done.fetch_add(count, Ordering::Relaxed);
        next = page.next;
        if !plan.dry {
            let mut notes = vec![(note.clone(), next.as_ref().map(|key| key.as_str().to_owned()))];
            if next.is_none() && plan.from.is_none() && plan.to.is_none() {
                notes.push((mapping::note_of(plan.jobs.line), Some(plan.mapping.clone())));
            }
            ledger.set_notes(notes).await?;
        }
        if next.is_none() {
            return Ok(());
        }
        if let Some(rate) = plan.rate {
            tokio::time::sleep(Duration::from_secs_f64(count as f64 / rate.max(0.001))).await;
        }
    }
}

/// M5: purges every row of a kind whose tombstones were written before `written_before`. In a dry run it only counts
/// what would go.
///
/// # Errors
/// A store that refuses.
pub async fn purge(
    kind: &crate::domain::schema::RowKind,
    written_before: Millis,
    dry: bool,
    rows: &dyn RowStore,
    run: &Arc<Run>,
) -> Result<Purged, Fault> {
    let horizon = Horizon { written_before };
    let mut all = Purged::default();
    let mut next = run.at();
    loop {
        if !run.step(next.as_ref()).await {
            return Ok(all);
        }
        let page = rows.scan(kind.name, next, None, PAGE_ROWS).await?;
        for mut stored in page.rows {
            run.rows.fetch_add(1, Ordering::Relaxed);
            let would = stored.content.purge(horizon.written_before, kind.version);
            if would.is_nothing() {
                continue;
            }
            let purged = if dry { would } else { rows.purge(stored.row, horizon).await? };
            run.done.fetch_add(1, Ordering::Relaxed);
            run.cells.fetch_add(purged.cells, Ordering::Relaxed);
            all.cells += purged.cells;
            all.tombstones += purged.tombstones;
            all.marks += purged.marks;
        }
        next = page.next;
        if next.is_none() {
            return Ok(all);
        }
    }
}

/// What a rebuild is asked for.
#[derive(Clone, Debug, Default)]
pub struct RebuildWish {
    pub from: Option<String>,
    pub to: Option<String>,
    /// Rows per second at most.
    pub rate: Option<f64>,
    pub dry: bool,
}

impl Office {
    /// R5: the plan of a line's rebuild: on the least urgent lane, filling it to half of its bound (J9).
    ///
    /// # Errors
    /// No such line, a rate that is none.
    pub fn rebuild_plan(&self, line: &str, wish: RebuildWish) -> Result<RebuildPlan, Problem> {
        let settings = self.line_settings(line)?;
        let line = &settings.line;
        if wish.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(Problem::new(Code::BadRequest, "the rate is no number above 0").help("rows per second, such as 500"));
        }
        let queue = &self.settings.queue;
        Ok(RebuildPlan {
            jobs: Refill::new(line.name, queue.lanes.len(), queue.max_pending),
            kind: line.kind,
            from: wish.from.as_deref().map(RowKey::new),
            to: wish.to.as_deref().map(RowKey::new),
            rate: wish.rate,
            dry: wish.dry,
            mapping: mapping::fingerprint(settings),
        })
    }

    /// M5: tombstones written before this may go.
    pub fn purge_before(&self) -> Millis {
        let horizon = i64::try_from(self.settings.purge_horizon.as_millis()).unwrap_or(i64::MAX);
        Millis(self.now().0.saturating_sub(horizon))
    }
}
