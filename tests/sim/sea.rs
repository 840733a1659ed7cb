//! What all nodes of one simulated run share: chance, time, the stores, what was counted, what was seen to be wrong.

use crate::world::Dice;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use widerow::domain::ids::{Millis, Name};
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::settings::Settings;

/// Lines of a run's story kept for a failure.
const STORY_LINES_MAX: usize = 400;

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
}

impl Seen {
    /// States that a few dozen seeds always reach; a superseded write takes a frozen node with a write in its hands, which is rare.
    pub const COMMON: [Self; 18] = [
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
    ];
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
    dice: Mutex<Dice>,
    counts: Mutex<BTreeMap<Seen, u64>>,
    story: Mutex<Vec<String>>,
    digest: Mutex<xxhash_rust::xxh3::Xxh3>,
    wrong: Mutex<Option<String>>,
    jobs_life: AtomicI64,
}

impl Sea {
    pub fn new(settings: Settings, rates: Rates, dice: Dice) -> Arc<Self> {
        let rows = MemoryRowStore::new(Arc::clone(&settings.schema));
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
            dice: Mutex::new(dice),
            counts: Mutex::default(),
            story: Mutex::default(),
            digest: Mutex::new(xxhash_rust::xxh3::Xxh3::new()),
            wrong: Mutex::default(),
            jobs_life: AtomicI64::new(0),
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
    pub fn lose_queue(&self) {
        self.saw(if self.jobs_life.fetch_add(1, Ordering::Relaxed) == 0 { Seen::QueueLost } else { Seen::QueueLostTwice });
        self.tell(format_args!("queue lost"));
        self.queue.lose_everything();
    }

    pub fn line(&self) -> Name {
        self.settings.lines[0].line.name
    }
}
