//! Wide rows in the embedded store: one packed value per row (`row_format.rs`), merged on write.
//!
//! Keeps M4 and V3 by `WideRow::merge` under one writer lock, V2 (one get is one moment), W1 as `wal: sync` does: a
//! batch is one atomic commit and one sync, shared with whoever commits meanwhile. Both version kinds only need base
//! and counter to be stored. Knows nothing of who writes, and of no client but fjall.
//!
//! Keys of `rows`: kind and row key. Keys of `meta`: `m` and a caller's key, or `c` and a kind whose rows are counted.

use super::codec::{KEY_BYTES_MAX, Unpacker, after_prefix, as_text, scoped, unscoped};
use super::names::Dictionary;
use super::{EmbeddedStore, blocking, row_format};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Name, RowId, RowKey};
use crate::domain::quick::QuickMap;
use crate::domain::row::{Part, Purged, WideRow};
use crate::domain::schema::{Schema, VersionKind};
use crate::io::rowmerge;
use crate::ports::Answer;
use crate::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, StoredRow, WriteOutcome};
use fjall::OwnedWriteBatch;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

/// The largest packed row, in bytes.
const ROW_BYTES_MAX: usize = 256 << 20;
/// A page of a scan holds no more rows, whatever was asked for.
const PAGE_ROWS_MAX: usize = 10_000;

/// The door to rows.
#[derive(Clone)]
pub struct EmbeddedRowStore {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<EmbeddedStore>,
    schema: Arc<Schema>,
    /// Held from reading a row to its commit, so that no merge is lost.
    writer: Mutex<()>,
    names: RwLock<Dictionary>,
    /// Rows by kind, as committed.
    counts: Mutex<HashMap<Name, u64>>,
}

impl EmbeddedRowStore {
    /// The rows of an open store. `schema` tells a kind's version kind to `purge`. A store has one such door.
    ///
    /// # Errors
    /// `corrupt` when the dictionary cannot be read.
    pub fn open(store: Arc<EmbeddedStore>, schema: Arc<Schema>) -> Result<Self, Fault> {
        let names = Dictionary::load(&store)?;
        let counts = load_counts(&store)?;
        let inner = Inner { store, schema, writer: Mutex::new(()), names: RwLock::new(names), counts: Mutex::new(counts) };
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn load_counts(store: &EmbeddedStore) -> Result<HashMap<Name, u64>, Fault> {
    let mut counts = HashMap::new();
    for entry in store.meta.prefix("c") {
        let (key, value) = entry.into_inner().map_err(|e| store.read_fault(&e))?;
        let corrupt = |what| store.corrupt("row counts", what);
        let kind = as_text(&key[1..]).map_err(corrupt)?;
        let kind = Name::intern(kind).map_err(|e| Fault::new(FaultKind::Incompatible, "row counts", e))?;
        counts.insert(kind, Unpacker::new(&value).varint().map_err(corrupt)?);
    }
    Ok(counts)
}

/// A row on its way through one batch.
struct Staged {
    key: Vec<u8>,
    content: WideRow,
    is_new: bool,
    /// Which writes of the batch went into it.
    writes: Vec<usize>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn load(&self, row: &RowId, key: &[u8]) -> Result<Option<WideRow>, Fault> {
        let Some(bytes) = self.store.get(&self.store.rows, key)? else { return Ok(None) };
        self.unpack(row, &bytes).map(Some)
    }

    fn unpack(&self, row: &RowId, bytes: &[u8]) -> Result<WideRow, Fault> {
        let names = self.names.read().unwrap_or_else(|e| e.into_inner());
        row_format::unpack(bytes, &names).map_err(|e| self.store.corrupt(format_args!("row {row}"), e))
    }

    fn write(&self, batch: Vec<RowWrite>) -> Vec<WriteOutcome> {
        let mut outcomes: Vec<WriteOutcome> = vec![Ok(()); batch.len()];
        let guard = self.lock();
        let mut staged: QuickMap<RowId, Staged> = QuickMap::with_capacity_and_hasher(batch.len(), Default::default());
        for (i, write) in batch.into_iter().enumerate() {
            if let Err(fault) = self.stage(write, i, &mut staged) {
                outcomes[i] = Err(fault);
            }
        }
        let (rows, refused) = self.commit(staged.into_values().collect());
        for (writes, fault) in refused {
            writes.into_iter().for_each(|i| outcomes[i] = Err(fault.clone()));
        }
        drop(guard);
        if let Err(fault) = self.store.sync() {
            rows.into_iter().for_each(|i| outcomes[i] = Err(fault.clone()));
        }
        outcomes
    }

    fn stage(&self, write: RowWrite, index: usize, staged: &mut QuickMap<RowId, Staged>) -> Result<(), Fault> {
        match staged.entry(write.row) {
            Entry::Occupied(mut held) => {
                let row = held.key().clone();
                let held = held.get_mut();
                rowmerge::merge(&row, &mut held.content, &write.change);
                held.writes.push(index);
            }
            Entry::Vacant(free) => {
                let key = key_of(free.key())?;
                let old = self.load(free.key(), &key)?;
                let is_new = old.is_none();
                let mut content = old.unwrap_or_default();
                rowmerge::merge(free.key(), &mut content, &write.change);
                free.insert(Staged { key, content, is_new, writes: vec![index] });
            }
        }
        Ok(())
    }

    /// Commits rows in one batch; the writer lock is held. Answers the writes that are committed, and those that are not.
    fn commit(&self, rows: Vec<Staged>) -> (Vec<usize>, Vec<(Vec<usize>, Fault)>) {
        let (mut written, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut batch = self.store.batch();
        let mut created: HashMap<Name, u64> = HashMap::new();
        // Names become readable before the commit makes the rows that use them readable.
        let mut names = self.names.write().unwrap_or_else(|e| e.into_inner());
        let names_before = names.len();
        for row in rows {
            let packed = row_format::pack(&row.content, |name| names.number_or_add(name, &self.store, &mut batch));
            if packed.len() > ROW_BYTES_MAX {
                let what = format!("the row would hold {} bytes; the embedded store takes {ROW_BYTES_MAX}", packed.len());
                refused.push((row.writes, Fault::new(FaultKind::Rejected, &self.store.place, what)));
                continue;
            }
            if row.is_new
                && let Ok((kind, _)) = unscoped(&row.key)
            {
                *created.entry(Name::of(kind)).or_default() += 1;
            }
            batch.insert(&self.store.rows, row.key, packed);
            written.extend(row.writes);
        }
        drop(names);
        let mut counts = self.counts.lock().unwrap_or_else(|e| e.into_inner()).clone();
        for (kind, more) in created {
            let count = counts.entry(kind).or_default();
            *count += more;
            let mut packed = super::codec::Packer::default();
            packed.varint(*count);
            batch.insert(&self.store.meta, format!("c{kind}"), packed.0);
        }
        match self.store.commit(batch) {
            Ok(()) => *self.counts.lock().unwrap_or_else(|e| e.into_inner()) = counts,
            Err(fault) => {
                self.names.write().unwrap_or_else(|e| e.into_inner()).truncate(names_before);
                refused.push((std::mem::take(&mut written), fault));
            }
        }
        (written, refused)
    }

    /// Changes one row by a step that may decline, and syncs.
    fn change<T>(&self, row: &RowId, step: impl FnOnce(Option<&mut WideRow>) -> (T, Option<WideRow>)) -> Result<T, Fault> {
        let key = key_of(row)?;
        let guard = self.lock();
        let mut held = self.load(row, &key)?;
        let is_new = held.is_none();
        let (answer, changed) = step(held.as_mut());
        if let Some(content) = changed {
            let (_, refused) = self.commit(vec![Staged { key, content, is_new, writes: vec![0] }]);
            if let Some((_, fault)) = refused.into_iter().next() {
                return Err(fault);
            }
        }
        drop(guard);
        self.store.sync()?;
        Ok(answer)
    }

    fn write_checked(&self, checked: CheckedWrite) -> Result<Checked, Fault> {
        let CheckedWrite { write, part, highest } = checked;
        self.change(&write.row, |held| {
            if held.as_ref().and_then(|row| row.part(&part)).and_then(Part::highest) != highest {
                return (Checked::Refused, None);
            }
            let mut content = held.map(std::mem::take).unwrap_or_default();
            rowmerge::merge(&write.row, &mut content, &write.change);
            (Checked::Applied, Some(content))
        })
    }

    fn purge(&self, row: &RowId, horizon: Horizon) -> Result<Purged, Fault> {
        let kind = self.version_kind(row)?;
        self.change(row, |held| {
            let Some(content) = held else { return (Purged::default(), None) };
            let purged = content.purge(horizon.written_before, kind);
            (purged, (!purged.is_nothing()).then(|| std::mem::take(content)))
        })
    }

    fn version_kind(&self, row: &RowId) -> Result<VersionKind, Fault> {
        let unknown = || {
            Fault::new(
                FaultKind::Invalid,
                format!("purge of row {row}"),
                "its kind is not in the configuration; allowed: kinds under `rows:`",
            )
        };
        self.schema.kind(row.kind).map(|kind| kind.version).ok_or_else(unknown)
    }

    fn read(&self, rows: &[RowId]) -> Result<Vec<Option<WideRow>>, Fault> {
        rows.iter().map(|row| self.load(row, &key_of(row)?)).collect()
    }

    fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Result<Page, Fault> {
        let prefix = scoped(kind.as_str(), &[]);
        let start = from.map_or_else(|| prefix.clone(), |key| scoped(kind.as_str(), key.as_str().as_bytes()));
        let end = to.map(|key| scoped(kind.as_str(), key.as_str().as_bytes())).or_else(|| after_prefix(&prefix));
        let max = max.clamp(1, PAGE_ROWS_MAX);
        let mut page = Page::default();
        let Some(end) = end.filter(|end| *end > start) else { return Ok(page) };
        for entry in self.store.rows.range(start..end) {
            let (key, value) = entry.into_inner().map_err(|e| self.store.read_fault(&e))?;
            let corrupt = |e| self.store.corrupt(format_args!("a row key of kind {kind}"), e);
            let (_, key) = unscoped(&key).map_err(corrupt)?;
            let key = RowKey::new(as_text(key).map_err(corrupt)?);
            if page.rows.len() == max {
                page.next = Some(key);
                break;
            }
            let row = RowId { kind, key };
            let content = self.unpack(&row, &value)?;
            page.rows.push(StoredRow { row, content });
        }
        Ok(page)
    }

    fn meta(&self, key: &str) -> Result<Option<String>, Fault> {
        let Some(value) = self.store.get(&self.store.meta, &meta_key(key)?)? else { return Ok(None) };
        let text = as_text(&value).map_err(|e| self.store.corrupt(format_args!("value `{key}`"), e))?;
        Ok(Some(text.to_owned()))
    }

    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Result<bool, Fault> {
        let guard = self.lock();
        if self.meta(key)?.as_deref() != expected {
            return Ok(false);
        }
        let mut batch: OwnedWriteBatch = self.store.batch();
        batch.insert(&self.store.meta, meta_key(key)?, value);
        self.store.commit(batch)?;
        drop(guard);
        self.store.sync()?;
        Ok(true)
    }
}

fn key_of(row: &RowId) -> Result<Vec<u8>, Fault> {
    let key = scoped(row.kind.as_str(), row.key.as_str().as_bytes());
    check_key(key, || format!("row of kind {}", row.kind))
}

fn meta_key(key: &str) -> Result<Vec<u8>, Fault> {
    check_key(format!("m{key}").into_bytes(), || "a value beside the rows".into())
}

/// A key the store can take.
pub(super) fn check_key(key: Vec<u8>, of: impl FnOnce() -> String) -> Result<Vec<u8>, Fault> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(key);
    }
    let what = format!("its key has {} bytes; the embedded store takes {KEY_BYTES_MAX}", key.len());
    Err(Fault::new(FaultKind::Rejected, of(), what))
}

impl RowStore for EmbeddedRowStore {
    fn write(&self, batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>> {
        let (inner, count) = (self.inner.clone(), batch.len());
        Box::pin(async move {
            let written = blocking(move || Ok(inner.write(batch))).await;
            written.unwrap_or_else(|fault| vec![Err(fault); count])
        })
    }

    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.read(&rows)))
    }

    fn write_checked(&self, write: CheckedWrite) -> Answer<'_, Result<Checked, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.write_checked(write)))
    }

    fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Answer<'_, Result<Page, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.scan(kind, from, to, max)))
    }

    fn purge(&self, row: RowId, horizon: Horizon) -> Answer<'_, Result<Purged, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.purge(&row, horizon)))
    }

    fn meta(&self, key: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let (inner, key) = (self.inner.clone(), key.to_owned());
        Box::pin(blocking(move || inner.meta(&key)))
    }

    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Answer<'_, Result<bool, Fault>> {
        let (inner, key, value) = (self.inner.clone(), key.to_owned(), value.to_owned());
        let expected = expected.map(str::to_owned);
        Box::pin(blocking(move || inner.set_meta(&key, expected.as_deref(), &value)))
    }

    fn make_durable(&self) -> Answer<'_, Result<(), Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.store.sync()))
    }

    fn approximate_rows(&self, kind: Name) -> Option<u64> {
        let counts = self.inner.counts.lock().unwrap_or_else(|e| e.into_inner());
        Some(counts.get(&kind).copied().unwrap_or(0))
    }
}
