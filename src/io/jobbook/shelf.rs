//! Where the book puts its entries: the embedded store, or plain memory.

use crate::domain::fault::Fault;
use crate::domain::ids::{Name, RowKey};
use crate::domain::job::{Hold, JobKey, KeyState, Lane, Verdict};
use crate::domain::quick::QuickMap;
use std::collections::BTreeMap;

/// The kinds of jobs that are not kept in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Aside {
    Parked,
    Spilled,
    Buried,
}

impl Aside {
    pub const ALL: [Self; 3] = [Self::Parked, Self::Spilled, Self::Buried];

    pub fn of(hold: &Hold) -> Option<Self> {
        match hold {
            Hold::Ready | Hold::Until(_) => None,
            Hold::Parked => Some(Self::Parked),
            Hold::Spilled => Some(Self::Spilled),
            Hold::Buried { .. } => Some(Self::Buried),
        }
    }
}

/// A key's place in the order of what lies aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filed {
    pub aside: Aside,
    pub lane: Lane,
    pub seq: u64,
}

/// One key's state and its place in the order of arrival; a new one for each stay in a lane or aside (J9's generation).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pub state: KeyState,
    pub seq: u64,
}

impl Entry {
    pub fn filed(&self) -> Option<Filed> {
        let waiting = self.state.waiting.as_ref()?;
        Aside::of(&waiting.hold).map(|aside| Filed { aside, lane: waiting.lane, seq: self.seq })
    }

    /// Whether it need not be in memory.
    pub fn is_aside(&self) -> bool {
        self.state.active.is_none() && self.filed().is_some()
    }

    /// As it is after its worker is gone: what ran waits again, no try used up.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if let Some(lease) = self.state.active.as_ref().map(|active| active.lease) {
            self.state.settle(lease, Verdict::Requeue);
        }
        self
    }
}

/// One key's change. `after` is `None` when nothing is left of it.
pub struct Change<'a> {
    pub key: &'a JobKey,
    /// Its place aside as it is on the shelf.
    pub before: Option<Filed>,
    pub after: Option<&'a Entry>,
}

/// Keeps entries by key and, for those aside, in order per line, kind and lane.
pub trait Shelf: Send {
    /// The entry of a key that lies aside.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault>;

    /// As [`Shelf::load`], for each key in its place.
    ///
    /// # Errors
    /// One of them cannot be read.
    fn load_all(&self, keys: &[&JobKey]) -> Result<Vec<Option<Entry>>, Fault> {
        keys.iter().map(|key| self.load(key)).collect()
    }

    /// Keys aside after `after`, in order.
    ///
    /// # Errors
    /// They cannot be read.
    fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault>;

    /// All changes or none.
    ///
    /// # Errors
    /// Nothing was changed.
    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault>;
}

type Order = BTreeMap<(Name, Aside, Lane, u64), RowKey>;

/// Entries aside in plain memory; the others need no shelf there.
#[derive(Default)]
pub struct MemoryShelf {
    entries: QuickMap<JobKey, Entry>,
    order: Order,
}

impl Shelf for MemoryShelf {
    fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault> {
        Ok(self.entries.get(key).cloned())
    }

    fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
        let range = (line, aside, lane, after.saturating_add(1))..=(line, aside, lane, u64::MAX);
        Ok(self.order.range(range).take(max).map(|((.., seq), row)| (*seq, row.clone())).collect())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault> {
        for change in changes {
            if let Some(filed) = change.before {
                self.order.remove(&(change.key.line, filed.aside, filed.lane, filed.seq));
                self.entries.remove(change.key);
            }
            if let Some((entry, filed)) = change.after.and_then(|entry| Some((entry, entry.filed()?))) {
                self.order.insert((change.key.line, filed.aside, filed.lane, filed.seq), change.key.row.clone());
                self.entries.insert(change.key.clone(), entry.clone());
            }
        }
        Ok(())
    }
}
