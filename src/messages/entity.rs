//! From a partition to the entity of a row.

use super::ticket::Ticket;
use super::write::Asker;
use crate::domain::ids::{Millis, RowId};
use crate::domain::route::RowChange;
use actix::dev::Message;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// All changes of one row in one polled batch, in record order, each with its ticket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ApplyChanges {
    pub row: RowId,
    pub changes: SmallVec<[(RowChange, Ticket); 1]>,
    /// When it was sent: one look at the clock for all rows of a batch.
    pub now: Millis,
}

/// N3: what the entity remembers is not so any more. Work in hand stays. Sent before the records are read again, so that none
/// of their writes is skipped; losing it means that the entity is gone, and its memory with it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget;

/// Finds, or spawns, the entity of a row and hands the message over, all under one guard.
pub trait RowDirectory: Send + Sync {
    fn apply(&self, message: ApplyChanges);

    /// As [`RowDirectory::apply`] for every message, each handed over on the thread its entity lives on.
    fn apply_all(&self, messages: Vec<ApplyChanges>) {
        messages.into_iter().for_each(|message| self.apply(message));
    }
}

/// What an entity shows of itself while it lives: the directory looks, nobody asks, so idle entities cost nothing.
#[derive(Debug, Default)]
pub struct EntityPulse {
    /// Messages handled; equal to those sent means that none is on its way.
    handled: AtomicU64,
    /// Nothing in hand.
    idle: AtomicBool,
    /// Worked since somebody last looked (second chance of the least-recently-used order).
    recent: AtomicBool,
    /// When it last worked, in ms since 1970.
    last: AtomicI64,
    bytes: AtomicUsize,
    /// The entity's own address, for as long as the directory knows it: a reply to it costs no new sender.
    home: OnceLock<Weak<dyn Asker>>,
}

impl std::fmt::Debug for dyn Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("asker")
    }
}

impl EntityPulse {
    /// The directory's side, once: where the entity is reached.
    pub fn lives_at(&self, home: Weak<dyn Asker>) {
        // Only the directory says it, and it says it once.
        let _ = self.home.set(home);
    }
    /// Where the entity is reached; `None` once the directory has let it go.
    pub fn home(&self) -> Option<Arc<dyn Asker>> {
        self.home.get()?.upgrade()
    }
    /// The entity's side: one message handled.
    pub fn beat(&self, now: Millis, idle: bool, bytes: usize) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.show(now, idle, bytes);
    }
    /// The entity's side: something else changed.
    pub fn show(&self, now: Millis, idle: bool, bytes: usize) {
        self.recent.store(true, Ordering::Relaxed);
        self.last.store(now.0, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        // Last, so that who sees it idle sees the rest as well.
        self.idle.store(idle, Ordering::Release);
    }
    /// Nothing in hand and nothing of `sent` still on its way.
    pub fn is_at_rest(&self, sent: u64) -> bool {
        self.idle.load(Ordering::Acquire) && self.handled.load(Ordering::Relaxed) == sent
    }
    pub fn take_recent(&self) -> bool {
        self.recent.swap(false, Ordering::Relaxed)
    }
    pub fn last(&self) -> Millis {
        Millis(self.last.load(Ordering::Relaxed))
    }
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }
}

/// An entity's own line to the directory.
pub trait EntityKeeper: Send + Sync {
    /// The entity is gone, `panicked` or not.
    fn left(&self, row: &RowId, life: u64, panicked: bool);
}
