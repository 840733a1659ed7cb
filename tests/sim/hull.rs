//! One node's way to the shared stores: every call may be late, fail, lose its answer, or be the node's last.
//!
//! A node that crashed is cut off: its calls never end and do nothing, which is what a dead process does to the world.

use super::cases::How;
use super::sea::{Sea, Seen};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Millis, Name, RowId, RowKey};
use widerow::domain::job::{JobKey, Lease, Offer, Offered, Settled};
use widerow::domain::row::{Purged, WideRow};
use widerow::ports::Answer;
use widerow::ports::ledger::{DeadLetter, Kept, Ledger};
use widerow::ports::queue::{Batch, Finish, JobQueue, LaneCount, Listed, Which};
use widerow::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, WriteOutcome};
use widerow::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};

/// One life of one node.
pub struct Hull {
    pub sea: Arc<Sea>,
    pub node: usize,
    dead: AtomicBool,
    /// A `watch` wakes its waiters in an order of its own choosing; a run must replay.
    frozen: AtomicBool,
    thawed: Notify,
    /// Tells the harness that this life is over.
    died: mpsc::Sender<usize>,
}

/// What chance has in store for one call.
enum Fate {
    Fine,
    Fail,
    LoseReply,
    CrashBefore,
    CrashAfter,
    Panic,
}

impl Hull {
    pub fn new(sea: Arc<Sea>, node: usize, died: mpsc::Sender<usize>) -> Arc<Self> {
        Arc::new(Self { sea, node, dead: AtomicBool::new(false), frozen: AtomicBool::new(false), thawed: Notify::new(), died })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub fn crash(&self, why: &str) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.sea.tell(format_args!("n{} crashes {why}", self.node));
            self.sea.leave_sink(self.node);
            // A full channel is a harness that no longer listens.
            let _ = self.died.try_send(self.node);
        }
    }

    pub fn freeze(&self, on: bool) {
        self.sea.tell(format_args!("n{} {}", self.node, if on { "freezes" } else { "thaws" }));
        self.frozen.store(on, Ordering::Relaxed);
        if !on {
            self.thawed.notify_waiters();
        }
    }

    /// Passes while the node lives and moves; a dead one never comes out.
    pub async fn alive(&self) {
        while self.frozen.load(Ordering::Relaxed) {
            self.thawed.notified().await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Case 7: every step between poll and commit is a place to die.
    pub fn step(&self, what: &str) {
        if self.sea.is_last_step() {
            self.sea.saw(Seen::KilledAtStep);
            self.crash(&format!("at the step {what}"));
        }
    }

    async fn pause(&self) {
        let sea = &self.sea;
        let ms = if !sea.is_calm() && sea.chance(sea.rates.stall) {
            sea.saw(Seen::Stalled);
            sea.below(20_000)
        } else {
            sea.below(12)
        };
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        self.alive().await;
    }

    fn fate(&self, what: &str) -> Fate {
        let (sea, rates) = (&self.sea, &self.sea.rates);
        if sea.is_calm() {
            return if sea.chance(rates.for_ever) { Fate::Fail } else { Fate::Fine };
        }
        match sea.below(1000) {
            n if n < rates.crash => {
                if sea.below(2) == 0 {
                    Fate::CrashBefore
                } else {
                    Fate::CrashAfter
                }
            }
            n if n < rates.crash + rates.fail => Fate::Fail,
            n if n < rates.crash + rates.fail + rates.lose_reply => Fate::LoseReply,
            // Only where an actor makes the call; the root is not meant to survive a panic.
            _ if matches!(what, "write" | "offer" | "take" | "sink") && sea.chance(rates.panic) => Fate::Panic,
            _ => Fate::Fine,
        }
    }

    async fn call<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        self.pause().await;
        let fate = self.fate(what);
        match fate {
            Fate::CrashBefore => {
                self.sea.saw(Seen::CrashBeforeEffect);
                self.crash(&format!("before {what}"));
            }
            Fate::Fail => {
                self.sea.saw(Seen::CallFailed);
                self.sea.tell(format_args!("n{} {what} fails", self.node));
                return Err(Fault::new(FaultKind::Unreachable, what, "scripted"));
            }
            Fate::Panic => {
                self.sea.saw(Seen::Panicked);
                self.sea.tell(format_args!("n{} {what} panics", self.node));
                panic!("scripted panic in {what}");
            }
            _ => {}
        }
        let step = !matches!(what, "counts" | "life" | "tend" | "extend" | "list" | "notes");
        if step {
            self.step(what);
        }
        self.alive().await;
        let done = work().await;
        if step {
            self.step(what);
        }
        if matches!(fate, Fate::CrashAfter) {
            self.sea.saw(Seen::CrashAfterEffect);
            self.crash(&format!("after {what}"));
        }
        self.pause().await;
        if matches!(fate, Fate::LoseReply) {
            self.sea.saw(Seen::ReplyLost);
            self.sea.tell(format_args!("n{} {what} loses its reply", self.node));
            return Err(Fault::new(FaultKind::Timeout, what, "scripted"));
        }
        done
    }

    /// I2: a row's version rises with its content and never falls.
    async fn watch_row(&self, row: &RowId, before: Option<WideRow>) {
        let after = self.sea.rows.read(vec![row.clone()]).await.ok().and_then(|mut rows| rows.pop().flatten());
        let Some(kind) = self.sea.settings.schema.kind(row.kind) else { return };
        let version = |row: &Option<WideRow>| row.as_ref().map_or(0, |row| row.version(kind.version).0);
        let (old, new) = (version(&before), version(&after));
        let mut seen = self.sea.row_versions.lock().unwrap();
        let key = row.to_string();
        let (last, by) = seen.get(&key).copied().unwrap_or((0, self.node));
        if new < last || new < old || (new == old && timeless(before.clone()) != timeless(after.clone())) {
            self.sea.wrong(format!("I2: version of {key} goes {last}, {old}, {new}"));
        }
        if content(&before) != content(&after) {
            self.sea.changed(row.key.as_str());
        }
        if new > old && self.sea.is_in_sink(row.key.as_str()) {
            self.sea.saw(Seen::ChangedAmidRun);
        }
        if by != self.node {
            self.sea.saw(Seen::TwoNodesOneRow);
        }
        seen.insert(key, (new, self.node));
    }
}

/// I7: what a run has to follow. A counter also counts a record that is only read again (V1).
fn content(row: &Option<WideRow>) -> Option<WideRow> {
    timeless(row.clone()).map(|row| WideRow { base: 0, counter: 0, ..row })
}

/// A row without the times its tombstones were written, which a redelivered delete may change (M4).
fn timeless(row: Option<WideRow>) -> Option<WideRow> {
    row.map(|mut row| {
        for tombstone in row.parts.iter_mut().filter_map(|part| part.tombstone.as_mut()) {
            tombstone.written = Millis(0);
        }
        row
    })
}

/// The row store as one node sees it.
pub struct HullRows(pub Arc<Hull>);

impl RowStore for HullRows {
    fn write(&self, mut batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>> {
        let hull = &self.0;
        Box::pin(async move {
            let count = batch.len();
            // A call may end amid its batch.
            let torn = count > 1 && !hull.sea.is_calm() && hull.sea.chance(hull.sea.rates.crash * 8);
            if torn {
                batch.truncate(1 + hull.sea.below(count as u64 - 1) as usize);
            }
            let written = hull
                .call("write", || async {
                    let mut outcomes = Vec::new();
                    for write in batch {
                        let row = write.row.clone();
                        let before = hull.sea.rows.read(vec![row.clone()]).await?.pop().flatten();
                        outcomes.extend(hull.sea.rows.write(vec![write]).await);
                        hull.watch_row(&row, before).await;
                    }
                    Ok(outcomes)
                })
                .await;
            if torn {
                hull.sea.saw(Seen::CrashAmidBatch);
                hull.crash("amid a batch");
                hull.alive().await;
            }
            written.unwrap_or_else(|fault| vec![Err(fault); count])
        })
    }
    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>> {
        Box::pin(async move { self.0.call("read", || self.0.sea.rows.read(rows)).await })
    }
    fn write_checked(&self, write: CheckedWrite) -> Answer<'_, Result<Checked, Fault>> {
        let hull = &self.0;
        Box::pin(async move {
            hull.call("write_checked", || async {
                let row = write.write.row.clone();
                let before = hull.sea.rows.read(vec![row.clone()]).await?.pop().flatten();
                let checked = hull.sea.rows.write_checked(write).await;
                hull.watch_row(&row, before).await;
                checked
            })
            .await
        })
    }
    fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Answer<'_, Result<Page, Fault>> {
        Box::pin(async move {
            let page = self.0.call("scan", || self.0.sea.rows.scan(kind, from, to, max)).await?;
            // Nothing else in a node looks at every row.
            if page.next.is_none() {
                self.0.sea.saw(Seen::Swept);
            }
            Ok(page)
        })
    }
    fn purge(&self, row: RowId, horizon: Horizon) -> Answer<'_, Result<Purged, Fault>> {
        Box::pin(async move { self.0.call("purge", || self.0.sea.rows.purge(row, horizon)).await })
    }
    fn meta(&self, key: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let key = key.to_owned();
        Box::pin(async move { self.0.call("meta", || async { self.0.sea.rows.meta(&key).await }).await })
    }
    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Answer<'_, Result<bool, Fault>> {
        let (key, expected, value) = (key.to_owned(), expected.map(str::to_owned), value.to_owned());
        let set = async move || self.0.sea.rows.set_meta(&key, expected.as_deref(), &value).await;
        Box::pin(async move { self.0.call("set_meta", set).await })
    }
    fn make_durable(&self) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.0.call("make_durable", || self.0.sea.rows.make_durable()).await })
    }
    fn losses(&self) -> u64 {
        self.0.sea.rows.losses()
    }
    fn approximate_rows(&self, kind: Name) -> Option<u64> {
        self.0.sea.rows.approximate_rows(kind)
    }
}

/// The queue as one node sees it.
pub struct HullQueue(pub Arc<Hull>);

impl JobQueue for HullQueue {
    fn offer(&self, offers: Vec<Offer>) -> Answer<'_, Result<Vec<Offered>, Fault>> {
        Box::pin(async move {
            let offered = self.0.call("offer", || self.0.sea.queue.offer(offers)).await?;
            offered.iter().filter(|offered| **offered == Offered::Spilled).for_each(|_| self.0.sea.saw(Seen::Spilled));
            Ok(offered)
        })
    }
    fn take(&self, line: Name, max: usize) -> Answer<'_, Result<Batch, Fault>> {
        Box::pin(async move {
            let taken = self.0.call("take", || self.0.sea.queue.take(line, max)).await?;
            if taken.dropped > 0 {
                self.0.sea.wrong(format!("I9: {} jobs are dropped where late ones run or are parked", taken.dropped));
            }
            (0..taken.parked).for_each(|_| self.0.sea.saw(Seen::Parked));
            taken.jobs.iter().filter(|job| job.load.run_late).for_each(|_| self.0.sea.saw(Seen::Unparked));
            taken.jobs.iter().for_each(|job| self.0.sea.started(job.key.row.as_str()));
            Ok(taken)
        })
    }
    fn finish(&self, verdicts: Vec<Finish>) -> Answer<'_, Result<Vec<Settled>, Fault>> {
        Box::pin(async move { self.0.call("finish", || self.0.sea.queue.finish(verdicts)).await })
    }
    fn extend(&self, leases: Vec<(JobKey, Lease)>) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.0.call("extend", || self.0.sea.queue.extend(leases)).await })
    }
    fn wait(&self, line: Name) -> Answer<'_, ()> {
        Box::pin(async move {
            self.0.alive().await;
            self.0.sea.queue.wait(line).await;
        })
    }
    fn tend(&self) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move { self.0.call("tend", || self.0.sea.queue.tend()).await })
    }
    fn counts(&self, line: Name) -> Answer<'_, Result<Vec<LaneCount>, Fault>> {
        Box::pin(async move {
            let sea = &self.0.sea;
            let counts = async || {
                // The counts that follow are those of a queue that has lost everything.
                if sea.lost_amid_count.load(Ordering::Relaxed) && sea.below(2) == 0 {
                    sea.lost_amid_count.store(false, Ordering::Relaxed);
                    sea.saw(Seen::LostAmidCount);
                    sea.lose_queue().await;
                }
                sea.queue.counts(line).await
            };
            self.0.call("counts", counts).await
        })
    }
    fn list(&self, which: Which, max: usize) -> Answer<'_, Result<Vec<Listed>, Fault>> {
        Box::pin(async move { self.0.call("list", || self.0.sea.queue.list(which, max)).await })
    }
    fn release(&self, which: Which) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move { self.0.call("release", || self.0.sea.queue.release(which)).await })
    }
    fn life(&self) -> Answer<'_, Result<String, Fault>> {
        Box::pin(async move { self.0.call("life", || self.0.sea.queue.life()).await })
    }
}

/// The sink as one node sees it.
pub struct HullSink(pub Arc<Hull>);

impl Sink for HullSink {
    fn kind(&self) -> &'static str {
        "simulated"
    }
    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        let hull = &self.0;
        Box::pin(async move {
            let count = batch.len();
            let writes = batch.clone();
            let held = hull.sea.in_sink(hull.node, writes.iter().map(|write| write.id.clone()));
            let written = hull.call("sink", || async {
                if hull.sea.how == How::SlowSink && !hull.sea.is_calm() {
                    tokio::time::sleep(Duration::from_millis(200 + hull.sea.below(2_500))).await;
                }
                if hull.sea.is_sink_away() {
                    hull.sea.saw(Seen::SinkRefused);
                    return Err(Fault::new(FaultKind::Unreachable, "sink", "scripted: it is away"));
                }
                Ok(hull.sea.documents.write(batch).await)
            });
            let written = written.await;
            drop(held);
            for write in &writes {
                hull.watch_document(write).await;
            }
            match written {
                Ok(outcomes) => {
                    let superseded = outcomes.iter().filter(|o| matches!(o, SinkOutcome::Superseded(_))).count();
                    (0..superseded).for_each(|_| hull.sea.saw(Seen::Superseded));
                    outcomes
                }
                Err(fault) => vec![SinkOutcome::Retry { fault, counts: false }; count],
            }
        })
    }
    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        self.0.sea.documents.get(id)
    }
    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        self.0.sea.documents.list(after, max)
    }
}

impl Hull {
    /// I3: one version has one content. I4: what the sink holds never gets an older version.
    async fn watch_document(&self, write: &SinkWrite) {
        let (id, version) = (write.id.clone(), write.version.0);
        let content = match &write.body {
            Body::Index(text) => xxhash_rust::xxh3::xxh3_64(text).max(1),
            Body::Delete => {
                self.sea.saw(Seen::DocumentDeleted);
                0
            }
        };
        let held = *self.sea.contents.lock().unwrap().entry((id.clone(), version)).or_insert(content);
        if held != content && !self.sea.is_replayed() {
            self.sea.wrong(format!("I3: document {id} has two contents under version {version}"));
        }
        let now = self.sea.documents.get(id.clone()).await.ok().flatten().map_or(0, |held| held.version.0);
        let last = self.sea.document_versions.lock().unwrap().insert(id.clone(), now).unwrap_or(0);
        if now < last {
            self.sea.wrong(format!("I4: the sink's version of {id} falls from {last} to {now}"));
        }
    }
}

/// The ledger as one node sees it.
pub struct HullLedger(pub Arc<Hull>);

impl Ledger for HullLedger {
    fn keep_dead_letter(&self, letter: DeadLetter) -> Answer<'_, Result<Kept, Fault>> {
        Box::pin(async move {
            let kept = self.0.call("letter", || self.0.sea.ledger.keep_dead_letter(letter)).await?;
            self.0.sea.saw(Seen::DeadLetterKept);
            Ok(kept)
        })
    }
    fn dead_letters(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<DeadLetter>, Fault>> {
        self.0.sea.ledger.dead_letters(after, max)
    }
    fn dead_letter(&self, id: &str) -> Answer<'_, Result<Option<DeadLetter>, Fault>> {
        self.0.sea.ledger.dead_letter(id)
    }
    fn drop_dead_letter(&self, id: &str) -> Answer<'_, Result<(), Fault>> {
        self.0.sea.ledger.drop_dead_letter(id)
    }
    fn dead_letter_count(&self) -> Answer<'_, Result<u64, Fault>> {
        self.0.sea.ledger.dead_letter_count()
    }
    fn note(&self, name: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let name = name.to_owned();
        Box::pin(async move { self.0.call("note", || async { self.0.sea.ledger.note(&name).await }).await })
    }
    fn notes(&self, prefix: &str) -> Answer<'_, Result<Vec<(String, String)>, Fault>> {
        let prefix = prefix.to_owned();
        Box::pin(async move { self.0.call("notes", || async { self.0.sea.ledger.notes(&prefix).await }).await })
    }
    fn set_notes(&self, notes: Vec<(String, Option<String>)>) -> Answer<'_, Result<(), Fault>> {
        let set = async move || {
            self.0.sea.noted(&notes);
            self.0.sea.ledger.set_notes(notes).await
        };
        Box::pin(async move { self.0.call("set_notes", set).await })
    }
}
