//! Wide rows in memory, sharded by row key. Keeps M4, V2 and V3 by `WideRow::merge` under the shard's lock.

use super::{Call, Script};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Name, RowId, RowKey};
use crate::domain::quick::QuickMap;
use crate::domain::row::{Part, Purged, WideRow};
use crate::domain::schema::Schema;
use crate::io::rowmerge;
use crate::ports::Answer;
use crate::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, StoredRow, WriteOutcome};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const SHARDS: usize = 16;

type Shard = QuickMap<RowId, WideRow>;

/// The door to rows.
pub struct MemoryRowStore {
    shards: Vec<Mutex<Shard>>,
    /// Row keys by kind, for scans; touched only when a row is new.
    keys: Mutex<QuickMap<Name, BTreeSet<RowKey>>>,
    meta: Mutex<HashMap<String, String>>,
    schema: Arc<Schema>,
    /// Faults to come.
    pub script: Script,
    /// W2: the rows as last made durable, where the store is one that can lose the others.
    durable: Option<Mutex<Vec<Shard>>>,
    losses: AtomicU64,
}

impl MemoryRowStore {
    /// An empty store. `schema` tells a kind's version kind to `purge`.
    pub fn new(schema: Arc<Schema>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (keys, meta, script) = (Mutex::default(), Mutex::default(), Script::default());
        Self { shards, keys, meta, schema, script, durable: None, losses: AtomicU64::new(0) }
    }

    /// One that can lose what was not made durable.
    pub fn unlogged(schema: Arc<Schema>) -> Self {
        let durable = Some(Mutex::new((0..SHARDS).map(|_| Shard::default()).collect()));
        Self { durable, ..Self::new(schema) }
    }

    /// W3: everything that was acknowledged since rows were last made durable is gone.
    pub fn lose(&self) {
        self.lose_of(u16::MAX);
    }

    /// As [`MemoryRowStore::lose`], as when one of several servers ends: a bit for each sixteenth of the rows. Key columns,
    /// base, counter and marks are logged in every mode (W1) and stay.
    pub fn lose_of(&self, sixteenths: u16) {
        let Some(durable) = &self.durable else { return };
        let durable = durable.lock().unwrap_or_else(|e| e.into_inner());
        let lost = self.shards.iter().zip(durable.iter()).enumerate().filter(|(at, _)| sixteenths & (1 << at) != 0);
        for (_, (shard, kept)) in lost {
            let mut shard = shard.lock().unwrap_or_else(|e| e.into_inner());
            for (row, held) in &mut *shard {
                held.parts = kept.get(row).map_or_else(Default::default, |kept| kept.parts.clone());
            }
        }
        self.losses.fetch_add(1, Ordering::AcqRel);
    }

    fn keep(&self) {
        let Some(durable) = &self.durable else { return };
        let mut durable = durable.lock().unwrap_or_else(|e| e.into_inner());
        *durable = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(|e| e.into_inner()).clone()).collect();
    }

    fn shard_of(row: &RowId) -> usize {
        row.key.spread() as usize % SHARDS
    }

    fn shard(&self, row: &RowId) -> MutexGuard<'_, Shard> {
        self.shards[Self::shard_of(row)].lock().unwrap_or_else(|e| e.into_inner())
    }

    fn merge(&self, write: RowWrite) {
        let mut shard = self.shard(&write.row);
        if let Some(held) = shard.get_mut(&write.row) {
            rowmerge::merge(&write.row, held, &write.change);
            return;
        }
        let RowId { kind, key } = write.row.clone();
        // Into an empty row rather than as it is: one change may name a mark or a key twice.
        let mut row = WideRow::default();
        row.merge(&write.change);
        shard.insert(write.row, row);
        drop(shard);
        self.keys.lock().unwrap_or_else(|e| e.into_inner()).entry(kind).or_default().insert(key);
    }

    fn check_and_merge(&self, checked: CheckedWrite) -> Checked {
        let CheckedWrite { write, part, highest } = checked;
        // Before the shard, as whoever loses or keeps rows takes them.
        let mut durable = self.durable.as_ref().map(|durable| durable.lock().unwrap_or_else(|e| e.into_inner()));
        let mut shard = self.shard(&write.row);
        let held = shard.get(&write.row);
        if held.and_then(|row| row.part(&part)).and_then(Part::highest) != highest {
            return Checked::Refused;
        }
        let RowId { kind, key } = write.row.clone();
        if let Some(durable) = &mut durable {
            // A checked write is always synced.
            let kept = &mut durable[Self::shard_of(&write.row)];
            rowmerge::merge(&write.row, kept.entry(write.row.clone()).or_default(), &write.change);
        }
        rowmerge::merge(&write.row.clone(), shard.entry(write.row).or_default(), &write.change);
        drop(shard);
        self.keys.lock().unwrap_or_else(|e| e.into_inner()).entry(kind).or_default().insert(key);
        Checked::Applied
    }

    fn page(&self, kind: Name, from: Option<RowKey>, to: Option<&RowKey>, max: usize) -> Page {
        let first = from.unwrap_or_else(|| RowKey::new(""));
        let mut keys: Vec<RowKey> = {
            let keys = self.keys.lock().unwrap_or_else(|e| e.into_inner());
            let Some(keys) = keys.get(&kind) else { return Page::default() };
            keys.range(first..).take_while(|key| to.is_none_or(|to| *key < to)).take(max.max(1) + 1).cloned().collect()
        };
        let next = if keys.len() > max.max(1) { keys.pop() } else { None };
        let stored = |key| {
            let row = RowId { kind, key };
            let content = self.shard(&row).get(&row).cloned()?;
            Some(StoredRow { row, content })
        };
        Page { rows: keys.into_iter().filter_map(stored).collect(), next }
    }

    fn purge_row(&self, row: &RowId, horizon: Horizon) -> Result<Purged, Fault> {
        let unknown = || {
            let what = "its kind is not in the configuration; allowed: kinds under `rows:`";
            Fault::new(FaultKind::Invalid, format!("purge of row {row}"), what)
        };
        let kind = self.schema.kind(row.kind).ok_or_else(unknown)?.version;
        let mut shard = self.shard(row);
        Ok(shard.get_mut(row).map_or_else(Purged::default, |row| row.purge(horizon.written_before, kind)))
    }

    fn compare_and_set(&self, key: &str, expected: Option<&str>, value: &str) -> bool {
        let mut meta = self.meta.lock().unwrap_or_else(|e| e.into_inner());
        let holds = meta.get(key).map(String::as_str) == expected;
        if holds {
            meta.insert(key.to_owned(), value.to_owned());
        }
        holds
    }
}

impl RowStore for MemoryRowStore {
    fn write(&self, batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>> {
        Box::pin(async move {
            let count = batch.len();
            let written = self.script.play(Call::Write, || {
                batch.into_iter().for_each(|write| self.merge(write));
                Ok(())
            });
            vec![written; count]
        })
    }

    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>> {
        let read = move || Ok(rows.iter().map(|row| self.shard(row).get(row).cloned()).collect());
        Box::pin(async move { self.script.play(Call::Read, read) })
    }

    fn write_checked(&self, write: CheckedWrite) -> Answer<'_, Result<Checked, Fault>> {
        Box::pin(async move { self.script.play(Call::Write, || Ok(self.check_and_merge(write))) })
    }

    fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Answer<'_, Result<Page, Fault>> {
        Box::pin(async move { self.script.play(Call::Read, || Ok(self.page(kind, from, to.as_ref(), max))) })
    }

    fn purge(&self, row: RowId, horizon: Horizon) -> Answer<'_, Result<Purged, Fault>> {
        Box::pin(async move { self.script.play(Call::Write, || self.purge_row(&row, horizon)) })
    }

    fn meta(&self, key: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let key = key.to_owned();
        let get = move || Ok(self.meta.lock().unwrap_or_else(|e| e.into_inner()).get(&key).cloned());
        Box::pin(async move { self.script.play(Call::Read, get) })
    }

    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Answer<'_, Result<bool, Fault>> {
        let (key, expected, value) = (key.to_owned(), expected.map(str::to_owned), value.to_owned());
        let set = move || Ok(self.compare_and_set(&key, expected.as_deref(), &value));
        Box::pin(async move { self.script.play(Call::Write, set) })
    }

    fn make_durable(&self) -> Answer<'_, Result<(), Fault>> {
        let keep = || {
            self.keep();
            Ok(())
        };
        Box::pin(async move { self.script.play(Call::Write, keep) })
    }

    fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn approximate_rows(&self, kind: Name) -> Option<u64> {
        Some(self.keys.lock().unwrap_or_else(|e| e.into_inner()).get(&kind).map_or(0, |keys| keys.len() as u64))
    }
}
