//! Which rows' key columns this process has written: a bounded memory, so that they need not travel with every write.
//!
//! A row's key columns never change (M9). Each row has one slot, by its hash; a row that meets another one there is forgotten,
//! which only costs its key columns once more. Slots are good for an hour, so that whatever happened to a table by other
//! hands is mended by then. Knows nothing of cells and stores.

use crate::domain::change::Value;
use crate::domain::ids::RowId;
use crate::domain::row::Keys;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// Rows remembered, at most.
const SLOTS: usize = 1 << 18;
/// How long a slot is good, in seconds.
const GOOD_SECONDS: u64 = 3_600;

/// What is known of a row's key columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquaintance {
    New,
    Known,
    /// The same row was written with other ones.
    Other,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    row: u64,
    keys: u64,
    /// The hour it was written in, counted from 1; 0 is an empty slot.
    hour: u64,
}

/// The memory.
pub struct KnownKeys {
    /// Empty until the first row is noted.
    slots: Mutex<Vec<Slot>>,
    since: Instant,
}

impl Default for KnownKeys {
    fn default() -> Self {
        Self { slots: Mutex::default(), since: Instant::now() }
    }
}

impl KnownKeys {
    /// What is known of this row and these key columns.
    pub fn meets(&self, row: &RowId, keys: &Keys) -> Acquaintance {
        let (row, keys) = hashes(row, keys);
        match self.lock().get(row as usize % SLOTS) {
            Some(slot) if slot.row != row || slot.hour != self.hour() => Acquaintance::New,
            Some(slot) if slot.keys == keys => Acquaintance::Known,
            Some(_) => Acquaintance::Other,
            None => Acquaintance::New,
        }
    }

    /// Key columns that the store has acknowledged. Without any there is nothing to note.
    pub fn note(&self, row: &RowId, keys: &Keys) {
        if keys.is_empty() {
            return;
        }
        let (row, keys) = hashes(row, keys);
        let slot = Slot { row, keys, hour: self.hour() };
        let mut slots = self.lock();
        if slots.is_empty() {
            slots.resize(SLOTS, Slot::default());
        }
        slots[row as usize % SLOTS] = slot;
    }

    fn hour(&self) -> u64 {
        self.since.elapsed().as_secs() / GOOD_SECONDS + 1
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn hashes(row: &RowId, keys: &Keys) -> (u64, u64) {
    let mut hash = Xxh3::new();
    hash.update(row.kind.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(row.key.as_str().as_bytes());
    let of_row = hash.digest();
    hash.reset();
    for (name, value) in keys.iter() {
        hash.update(name.as_str().as_bytes());
        // Lengths keep neighbours apart.
        let text = match value {
            Value::Text(text) => text,
            Value::Null | Value::Absent => "\0",
        };
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    (of_row, hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::{row_id, told_keys};

    /// Goal: key columns travel once, and a clash is seen. Method: one row met, noted, met again, met with others.
    #[test]
    fn a_row_is_known_once_it_is_written() {
        let known = KnownKeys::default();
        let (row, keys) = (row_id("order", "7"), told_keys(&[("order_no", "7"), ("shop", "1")]));
        assert_eq!(known.meets(&row, &keys), Acquaintance::New);
        known.note(&row, &keys);
        assert_eq!(known.meets(&row, &keys), Acquaintance::Known);
        assert_eq!(known.meets(&row_id("sku", "7"), &keys), Acquaintance::New, "kinds apart");
        assert_eq!(known.meets(&row, &told_keys(&[("order_no", "71"), ("shop", "")])), Acquaintance::Other);
        known.note(&row, &Keys::default());
        assert_eq!(known.meets(&row, &keys), Acquaintance::Known, "a write without key columns says nothing of them");
    }

    /// Goal: the memory is bounded and never says that a row is known which was not noted. Method: more rows than slots.
    #[test]
    fn a_full_memory_forgets() {
        let known = KnownKeys::default();
        let keys = told_keys(&[("id", "1")]);
        let row = |i: usize| row_id("order", &i.to_string());
        (0..SLOTS + SLOTS / 8).for_each(|i| known.note(&row(i), &keys));
        let remembered = (0..SLOTS + SLOTS / 8).filter(|i| known.meets(&row(*i), &keys) == Acquaintance::Known).count();
        assert!(remembered <= SLOTS && remembered > SLOTS / 2, "{remembered}");
        assert!((SLOTS * 2..SLOTS * 2 + 1_000).all(|i| known.meets(&row(i), &keys) == Acquaintance::New));
    }
}
