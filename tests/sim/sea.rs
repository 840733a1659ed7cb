//! What all nodes of one simulated run share: chance, time, the stores, what was counted, what was seen to be wrong.

use super::cases::How;
use crate::world::Dice;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use widerow::domain::ids::{Millis, Name, NextOffset, Partition};
use widerow::domain::mark::MARK_MARGIN_MS;
use widerow::domain::row::{Part, WideRow};
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::ports::queue::JobQueue;
use widerow::ports::rows::{Horizon, RowStore};
use widerow::settings::Settings;

/// Lines of a run's story kept for a failure.
const STORY_LINES_MAX: usize = 4_000;
/// More rows than any run has.
const ROWS_MAX: usize = 1_000_000;

/// M5: what was written before so long may go; longer than any call of a run is late.
pub const PURGE_HORIZON_MS: i64 = 180_000;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// A clock may be set forward under a running node.
    static JUMPED: Cell<i64> = const { Cell::new(0) };
}

/// Begins a run's time on this thread.
pub fn begin_time() {
    BEGAN.set(Some(Instant::now()));
    JUMPED.set(0);
}

/// Virtual wall time.
pub fn clock() -> Millis {
    let since = BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed());
    Millis(1_740_000_000_000 + since.as_millis() as i64 + JUMPED.get())
}

/// Sets the wall clock forward.
pub fn jump(ms: i64) {
    JUMPED.set(JUMPED.get() + ms);
}

/// What may go wrong in one run, each in tenths of a percent of the calls.
#[derive(Clone, Debug)]
pub struct Rates {
    pub fail: u64,
    pub lose_reply: u64,
    pub crash: u64,
    pub stall: u64,
    pub panic: u64,
    /// Calls that fail for ever, also once everything else is calm.
    pub for_ever: u64,
}

/// Interesting states a run can reach: a fault test that never reached one proves nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    CrashBeforeEffect,
    CrashAfterEffect,
    CrashAmidBatch,
    CallFailed,
    ReplyLost,
    Stalled,
    Panicked,
    Rebalanced,
    SessionLost,
    CommitFenced,
    DeliveredAgain,
    Rewound,
    QueueLost,
    QueueLostTwice,
    ClockJumped,
    RolledOver,
    Superseded,
    DocumentDeleted,
    TwoNodesOneRow,
    /// W3: acknowledged writes that were not yet durable went, some or all of them.
    RowsLost,
    /// W3: such writes really were there.
    RowsLostInDeed,
    RowsLostTwice,
    /// Retention took records of the log.
    LogCut,
    /// J11: a reader was to go back further than the log reaches.
    CutBelowReader,
    /// J11: so every row was offered a job.
    Swept,
    /// K: the sink was away for an hour.
    SinkAway,
    /// A call met the sink while it was away.
    SinkRefused,
    /// J2: a row was written while a run for it was in the sink's hands.
    ChangedAmidRun,
    /// J11: the queue was lost again while intake went back over a loss.
    LostWhileGoingBack,
    /// C7: a record that no decoder takes became a dead letter.
    DeadLetterKept,
    /// J11: intake went back to a mark that had moved.
    BackToAMark,
    /// J9: a lane was full.
    Spilled,
    /// V1: versions are counted, not weighed.
    CounterVersions,
    /// A node died at the step it was told to.
    KilledAtStep,
    /// J11: the queue was lost with a job a minute old in it, and marks that had moved.
    LostWithOldJobs,
    /// J11: it was lost after a node had begun to count its jobs for the mark.
    LostAmidCount,
    /// J11: the queue and the node were lost as a partition was committed for the first time.
    LostAtFirstCommit,
    /// J8: a job that had waited too long lay aside.
    Parked,
    /// J8: and somebody brought it back.
    Unparked,
    /// M5: dead cells and their tombstones went.
    Purged,
    /// M5: and what had been purged was read again.
    PurgedThenReadAgain,
    /// E3: a topic was deleted and created again.
    TopicRecreated,
    /// E3: a node stopped it.
    TopicHalted,
    /// E4: a person raised its epoch.
    EpochBumped,
    /// J11, E4: the queue was lost while a partition's mark was one of a topic's earlier life.
    LostWithAMarkOutlived,
    /// Liveness with a node that never comes back.
    LeftFrozen,
    /// Liveness while calls go on failing now and then.
    NeverCalm,
}

impl Seen {
    /// States that hundreds of seeds always reach, and dozens may not.
    pub const RARE: [Self; 8] = [
        Self::Superseded,
        Self::LostWhileGoingBack,
        Self::LostAmidCount,
        Self::LostAtFirstCommit,
        Self::PurgedThenReadAgain,
        Self::TopicHalted,
        Self::LostWithAMarkOutlived,
        Self::Unparked,
    ];
    /// States that a few dozen seeds always reach; a superseded write takes a frozen node with a write in its hands, which is rare.
    pub const COMMON: [Self; 38] = [
        Self::CrashBeforeEffect,
        Self::CrashAfterEffect,
        Self::CrashAmidBatch,
        Self::CallFailed,
        Self::ReplyLost,
        Self::Stalled,
        Self::Panicked,
        Self::Rebalanced,
        Self::SessionLost,
        Self::CommitFenced,
        Self::DeliveredAgain,
        Self::Rewound,
        Self::QueueLost,
        Self::QueueLostTwice,
        Self::ClockJumped,
        Self::RolledOver,
        Self::DocumentDeleted,
        Self::TwoNodesOneRow,
        Self::RowsLost,
        Self::RowsLostInDeed,
        Self::RowsLostTwice,
        Self::LogCut,
        Self::CutBelowReader,
        Self::Swept,
        Self::SinkAway,
        Self::SinkRefused,
        Self::ChangedAmidRun,
        Self::DeadLetterKept,
        Self::CounterVersions,
        Self::Spilled,
        Self::BackToAMark,
        Self::LeftFrozen,
        Self::NeverCalm,
        Self::LostWithOldJobs,
        Self::Parked,
        Self::Purged,
        Self::TopicRecreated,
        Self::EpochBumped,
    ];
}

#[derive(Default)]
struct Moments {
    now: u64,
    changed: BTreeMap<String, u64>,
    started: BTreeMap<String, u64>,
}

/// What is scripted of a run.
pub struct Script {
    pub how: How,
    pub kill_at: Option<u64>,
}

/// The shared world of one run.
pub struct Sea {
    pub settings: Settings,
    pub rows: MemoryRowStore,
    pub queue: MemoryQueue,
    pub ledger: Arc<MemoryLedger>,
    pub documents: MemoryDocuments,
    pub rates: Rates,
    /// Faults have stopped: from here on the nodes must come to rest (I10).
    pub calm: AtomicBool,
    /// Versions last seen by row (I2), and the last node that wrote it.
    pub row_versions: Mutex<HashMap<String, (i64, usize)>>,
    /// Versions last seen by document (I4), and what each version held (I3).
    pub document_versions: Mutex<HashMap<String, i64>>,
    pub contents: Mutex<HashMap<(String, i64), u64>>,
    /// Rows were lost: what is replayed may pass through other states under the versions seen before.
    replayed: AtomicBool,
    /// I7: when each row was changed last, and when a run of it began last; all counted in one row.
    moments: Mutex<Moments>,
    /// What a worked case asks for.
    pub how: How,
    /// Case 7: a node dies at this step.
    pub kill_at: Option<u64>,
    steps: AtomicU64,
    marks: Mutex<BTreeMap<String, String>>,
    /// Documents in the sink's hands, and the node that gave them; one run of a document at a time (J2).
    in_sink: Mutex<BTreeSet<(usize, String)>>,
    /// The sink answers nobody until then.
    sink_back: Mutex<Option<Instant>>,
    dice: Mutex<Dice>,
    counts: Mutex<BTreeMap<Seen, u64>>,
    story: Mutex<Vec<String>>,
    digest: Mutex<xxhash_rust::xxh3::Xxh3>,
    wrong: Mutex<Option<String>>,
    jobs_life: AtomicI64,
    /// J11: the queue is lost after the next node has begun to count its jobs.
    pub lost_amid_count: AtomicBool,
    /// J11: the queue and the node are lost as a partition is committed for the first time.
    pub lost_at_first_commit: AtomicBool,
    /// The epoch of each topic, raised by a person.
    epochs: Mutex<BTreeMap<Name, u32>>,
    /// Cells were purged: a reading from further back meets them again.
    purged: AtomicBool,
}

impl Sea {
    /// `unlogged`: the row store loses what was not made durable, when it is told to (W1 `async`, `skip`).
    pub fn new(settings: Settings, rates: Rates, dice: Dice, unlogged: bool, script: Script) -> Arc<Self> {
        let Script { how, kill_at } = script;
        let schema = Arc::clone(&settings.schema);
        let rows = if unlogged { MemoryRowStore::unlogged(schema) } else { MemoryRowStore::new(schema) };
        let queue = MemoryQueue::new(&settings.queue, Arc::new(clock));
        Arc::new(Self {
            settings,
            rows,
            queue,
            ledger: Arc::default(),
            documents: MemoryDocuments::new(),
            rates,
            calm: AtomicBool::new(false),
            row_versions: Mutex::default(),
            document_versions: Mutex::default(),
            contents: Mutex::default(),
            replayed: AtomicBool::new(false),
            moments: Mutex::default(),
            how,
            kill_at,
            steps: AtomicU64::new(0),
            marks: Mutex::default(),
            in_sink: Mutex::default(),
            sink_back: Mutex::default(),
            dice: Mutex::new(dice),
            counts: Mutex::default(),
            story: Mutex::default(),
            digest: Mutex::new(xxhash_rust::xxh3::Xxh3::new()),
            wrong: Mutex::default(),
            jobs_life: AtomicI64::new(0),
            lost_amid_count: AtomicBool::new(false),
            lost_at_first_commit: AtomicBool::new(false),
            epochs: Mutex::default(),
            purged: AtomicBool::new(false),
        })
    }

    pub fn below(&self, n: u64) -> u64 {
        self.dice.lock().unwrap().below(n)
    }

    /// So many in a thousand.
    pub fn chance(&self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn saw(&self, what: Seen) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn counts(&self) -> BTreeMap<Seen, u64> {
        self.counts.lock().unwrap().clone()
    }

    /// One more line of the story: what a replay must repeat to the letter.
    pub fn tell(&self, line: std::fmt::Arguments<'_>) {
        let mut text = String::new();
        let _ = write!(text, "{:>9} {line}", clock().0 - 1_740_000_000_000);
        self.digest.lock().unwrap().write(text.as_bytes());
        let mut story = self.story.lock().unwrap();
        if story.len() >= STORY_LINES_MAX {
            story.drain(..STORY_LINES_MAX / 2);
        }
        story.push(text);
    }

    /// What the story comes to.
    pub fn digest(&self) -> u64 {
        self.digest.lock().unwrap().finish()
    }

    pub fn story(&self) -> String {
        self.story.lock().unwrap().join("\n")
    }

    /// An invariant was broken; the first word stands.
    pub fn wrong(&self, what: String) {
        self.tell(format_args!("WRONG {what}"));
        self.wrong.lock().unwrap().get_or_insert(what);
    }

    pub fn what_is_wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap().clone()
    }

    /// J11: Redis comes back empty.
    pub async fn lose_queue(&self) {
        self.saw(if self.jobs_life.fetch_add(1, Ordering::Relaxed) == 0 { Seen::QueueLost } else { Seen::QueueLostTwice });
        if self.has_marks() && self.oldest_unfinished().await.is_some_and(|at| clock().since(at) > MARK_MARGIN_MS) {
            self.saw(Seen::LostWithOldJobs);
        }
        if self.outlived() {
            self.saw(Seen::LostWithAMarkOutlived);
        }
        self.tell(format_args!("queue lost"));
        self.queue.lose_everything();
    }

    /// When the oldest job without an end was offered.
    pub async fn oldest_unfinished(&self) -> Option<Millis> {
        let lanes = self.queue.counts(self.line()).await.unwrap_or_default();
        lanes.iter().filter_map(|lane| lane.unfinished).min()
    }

    /// J11: a mark has moved.
    pub fn has_marks(&self) -> bool {
        self.marks.lock().unwrap().values().any(|mark| mark != "0")
    }

    /// J11, E4: no mark of a topic lies in its present life yet.
    fn outlived(&self) -> bool {
        let (marks, epochs) = (self.marks.lock().unwrap(), self.epochs.lock().unwrap());
        let old = |(topic, epoch): (&Name, &u32)| {
            let (topic, epoch) = (format!("{topic}/"), format!("/{epoch}"));
            !marks.iter().any(|(partition, mark)| partition.starts_with(&topic) && mark.ends_with(&epoch))
        };
        epochs.iter().any(old)
    }

    /// E4: a person raised a topic's epoch.
    pub fn raised(&self, topic: Name, epoch: u32) {
        self.saw(Seen::EpochBumped);
        self.tell(format_args!("epoch of {topic} is {epoch} from now on"));
        self.epochs.lock().unwrap().insert(topic, epoch);
    }

    /// M5: a person purges what died long ago. No row changes for who reads it, and no version falls (I1, I2).
    pub async fn purge(&self) {
        let Some(kind) = self.settings.schema.kind(self.kind()) else { return };
        // By a clock that never jumped: a jump only makes tombstones look younger.
        let horizon = Horizon { written_before: Millis(clock().0 - JUMPED.get() - PURGE_HORIZON_MS) };
        let page = self.rows.scan(self.kind(), None, None, ROWS_MAX).await.unwrap_or_default();
        for before in page.rows {
            let purged = self.rows.purge(before.row.clone(), horizon).await.unwrap_or_default();
            if purged.is_nothing() {
                continue;
            }
            self.saw(Seen::Purged);
            self.purged.store(true, Ordering::Relaxed);
            self.tell(format_args!("{} loses {} dead cells", before.row, purged.cells));
            let after = self.rows.read(vec![before.row.clone()]).await.ok().and_then(|mut rows| rows.pop().flatten());
            let after = after.unwrap_or_default();
            let (old, new) = (before.content.version(kind.version).0, after.version(kind.version).0);
            if new < old || alive(&before.content) != alive(&after) {
                self.wrong(format!("M5: a purge takes {} from {old} to {new}: {:?} was {:?}", before.row, after, before.content));
            }
            let mut versions = self.row_versions.lock().unwrap();
            versions.entry(before.row.to_string()).and_modify(|(last, _)| *last = (*last).max(new));
        }
    }

    /// M5: a row may lack what a record in the log once wrote.
    pub fn is_purged(&self) -> bool {
        self.purged.load(Ordering::Relaxed)
    }

    /// A reading goes back.
    pub fn went_back(&self) {
        self.saw(Seen::Rewound);
        if self.is_purged() {
            self.saw(Seen::PurgedThenReadAgain);
        }
    }

    /// W3: a server of the row store ends, and what it had not flushed with it.
    pub async fn lose_rows(&self) {
        let sixteenths = [u16::MAX, 0x00ff, 0xf0f0][self.below(3) as usize];
        self.saw(if self.rows.losses() == 0 { Seen::RowsLost } else { Seen::RowsLostTwice });
        self.replayed.store(true, Ordering::Relaxed);
        let before = self.rows.scan(self.kind(), None, None, ROWS_MAX).await.unwrap_or_default();
        self.rows.lose_of(sixteenths);
        let after = self.rows.scan(self.kind(), None, None, ROWS_MAX).await.unwrap_or_default();
        let gone = before.rows.iter().filter(|row| !after.rows.contains(row)).count();
        self.tell(format_args!("row store loses {gone} rows' writes of {sixteenths:04x}"));
        if gone > 0 {
            self.saw(Seen::RowsLostInDeed);
        }
        // I2 begins anew where the store itself went back.
        self.row_versions.lock().unwrap().clear();
    }

    /// Whether a version may have been met with another content: not before rows were lost and replayed.
    pub fn is_replayed(&self) -> bool {
        self.replayed.load(Ordering::Relaxed)
    }

    pub fn changed(&self, row: &str) {
        let mut moments = self.moments.lock().unwrap();
        moments.now += 1;
        let now = moments.now;
        moments.changed.insert(row.to_owned(), now);
    }

    pub fn started(&self, row: &str) {
        let mut moments = self.moments.lock().unwrap();
        moments.now += 1;
        let now = moments.now;
        moments.started.insert(row.to_owned(), now);
    }

    /// I7: rows of which no run began after their last change.
    pub fn unstarted(&self) -> Vec<(String, u64)> {
        let moments = self.moments.lock().unwrap();
        let late = |(row, at): &(&String, &u64)| moments.started.get(*row).is_none_or(|started| started < at);
        moments.changed.iter().filter(late).map(|(row, at)| (row.clone(), *at)).collect()
    }

    /// Case 7: whether this step, counted over all nodes until everything is calm, is the one to die at.
    pub fn is_last_step(&self) -> bool {
        self.kill_at.is_some() && !self.is_calm() && Some(self.steps.fetch_add(1, Ordering::Relaxed)) == self.kill_at
    }

    /// Documents are in the sink's hands until the answer is dropped.
    pub fn in_sink(self: &Arc<Self>, node: usize, ids: impl Iterator<Item = String>) -> InSink {
        let held: Vec<_> = ids.map(|id| (node, id)).collect();
        self.in_sink.lock().unwrap().extend(held.iter().cloned());
        InSink { sea: Arc::clone(self), held }
    }

    /// J11: marks among the notes that were kept.
    pub fn noted(&self, notes: &[(String, Option<String>)]) {
        let marks = notes.iter().filter_map(|(name, at)| Some((name.strip_prefix("queue/mark/")?, at.as_deref()?)));
        self.marks.lock().unwrap().extend(marks.map(|(partition, at)| (partition.to_owned(), at.to_owned())));
    }

    /// J11: whether the partition's mark has moved to here.
    pub fn is_mark(&self, partition: Partition, at: NextOffset) -> bool {
        let lies_at = |mark: &String| mark.split('/').next() == Some(at.0.to_string().as_str());
        at.0 > 0 && self.marks.lock().unwrap().get(&partition.to_string()).is_some_and(lies_at)
    }

    pub fn is_in_sink(&self, id: &str) -> bool {
        self.in_sink.lock().unwrap().iter().any(|(_, held)| held == id)
    }

    /// A dead node's calls never end.
    pub fn leave_sink(&self, node: usize) {
        self.in_sink.lock().unwrap().retain(|(by, _)| *by != node);
    }

    pub fn close_sink(&self, span: Duration) {
        self.saw(Seen::SinkAway);
        self.tell(format_args!("sink goes away for {} s", span.as_secs()));
        *self.sink_back.lock().unwrap() = Some(Instant::now() + span);
    }

    pub fn is_sink_away(&self) -> bool {
        self.sink_back.lock().unwrap().is_some_and(|back| Instant::now() < back)
    }

    fn kind(&self) -> Name {
        self.settings.lines[0].line.kind
    }

    pub fn line(&self) -> Name {
        self.settings.lines[0].line.name
    }
}

/// What a reader sees of a row: its living table rows.
fn alive(row: &WideRow) -> Vec<String> {
    row.parts.iter().filter(|part| part.is_alive()).map(|part| format!("{:?} {:?}", part.id, living(part))).collect()
}

fn living(part: &Part) -> Vec<String> {
    let dead = part.tombstone.filter(|tombstone| !tombstone.revoked).map_or(-1, |tombstone| tombstone.stamp.0);
    part.cells.iter().filter(|cell| cell.stamp.0 > dead).map(|cell| format!("{cell:?}")).collect()
}

/// One call's documents in the sink's hands.
pub struct InSink {
    sea: Arc<Sea>,
    held: Vec<(usize, String)>,
}

impl Drop for InSink {
    fn drop(&mut self) {
        let mut in_sink = self.sea.in_sink.lock().unwrap();
        for held in &self.held {
            in_sink.remove(held);
        }
    }
}
