//! A change of several keys: worked out in memory, committed to the shelf, or taken back.

use super::JobBook;
use super::line::Slot;
use super::shelf::{Aside, Change, Shelf};
use crate::domain::fault::Fault;
use crate::domain::job::{JobKey, KeyState, Lane};
use crate::domain::quick::QuickMap;
use std::collections::hash_map::Entry;

/// The keys touched so far and what they were; `None`: nothing.
#[derive(Default)]
pub(super) struct Txn {
    before: QuickMap<JobKey, Option<Slot>>,
}

impl Txn {
    /// For about so many keys.
    pub(super) fn of(keys: usize) -> Self {
        let mut before = QuickMap::default();
        before.reserve(keys);
        Self { before }
    }
}

impl<S: Shelf> JobBook<S> {
    /// Changes one key's state as part of a transaction. A key that lies aside is fetched from the shelf.
    pub(super) fn modify<R>(&mut self, txn: &mut Txn, key: &JobKey, change: impl FnOnce(&mut KeyState) -> R) -> Result<R, Fault> {
        let before = match txn.before.entry(key.clone()) {
            Entry::Vacant(first) => first.insert(self.fetch(key)?).as_ref(),
            // It lies in memory since.
            Entry::Occupied(_) => None,
        };
        let next_seq = self.next_seq;
        let held = || before.cloned().unwrap_or_default();
        let (answer, moved) = self.line_mut(key.line).change_at(&key.row, held, |entry| {
            let before = Stay::of(&entry.state);
            let answer = change(&mut entry.state);
            let moved = before.moved_by(Stay::of(&entry.state));
            if moved {
                entry.seq = next_seq;
            }
            (answer, moved)
        });
        self.next_seq += u64::from(moved);
        Ok(answer)
    }

    /// What is held of a key, in memory or aside.
    pub(super) fn fetch(&mut self, key: &JobKey) -> Result<Option<Slot>, Fault> {
        let line = self.line_mut(key.line);
        if let Some(slot) = line.slots.get(&key.row) {
            return Ok(Some(slot.clone()));
        }
        if !line.any_aside() {
            return Ok(None);
        }
        let Some(entry) = self.shelf.load(key)? else { return Ok(None) };
        let filed = entry.filed();
        Ok(Some(Slot { entry: entry.settled(), filed }))
    }

    /// Puts the transaction on the shelf.
    ///
    /// # Errors
    /// The shelf's; then everything is as it was before.
    pub(super) fn commit(&mut self, txn: Txn) -> Result<(), Fault> {
        let mut changes = Vec::with_capacity(txn.before.len());
        for (key, before) in &txn.before {
            let after = self.lines.get(&key.line).and_then(|line| line.slots.get(&key.row)).map(|slot| &slot.entry);
            let after = after.filter(|entry| !entry.state.is_empty());
            if before.as_ref().map(|slot| &slot.entry) != after {
                changes.push(Change { key, before: before.as_ref().and_then(|slot| slot.filed), after });
            }
        }
        if !changes.is_empty()
            && let Err(fault) = self.shelf.commit(&changes)
        {
            drop(changes);
            return Err(self.roll_back(txn, fault));
        }
        for (key, before) in txn.before {
            let line = self.line_mut(key.line);
            let Some(slot) = line.slots.get_mut(&key.row) else { continue };
            if slot.entry.state.is_empty() || slot.entry.is_aside() {
                line.slots.remove(&key.row);
            } else if before.is_none_or(|b| b.entry != slot.entry) {
                slot.filed = slot.entry.filed();
            }
        }
        Ok(())
    }

    /// Everything is again as it was before the transaction; hands the fault back.
    pub(super) fn roll_back(&mut self, txn: Txn, fault: Fault) -> Fault {
        for (key, before) in txn.before {
            let line = self.line_mut(key.line);
            if let Some(now) = line.slots.remove(&key.row) {
                line.unlink(&key.row, &now.entry);
            }
            if let Some(slot) = before {
                line.link(&key.row, &slot.entry);
                if !slot.entry.is_aside() {
                    line.slots.insert(key.row, slot);
                }
            }
        }
        fault
    }
}

/// Where a key's job stays, as far as the order of arrival goes.
#[derive(Clone, Copy)]
struct Stay {
    waiting: Option<(Lane, Option<Aside>)>,
    runs: bool,
}

impl Stay {
    fn of(state: &KeyState) -> Self {
        let waiting = state.waiting.as_ref().map(|waiting| (waiting.lane, Aside::of(&waiting.hold)));
        Self { waiting, runs: state.active.is_some() }
    }

    /// Whether a change puts the job behind the others of its (new) place. One that a run gives back keeps its place.
    fn moved_by(self, after: Self) -> bool {
        match (self.waiting, after.waiting) {
            (_, None) => false,
            (None, Some((_, aside))) => !self.runs || after.runs || aside.is_some(),
            (Some(was), Some(now)) => was != now,
        }
    }
}
