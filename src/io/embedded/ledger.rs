//! Dead letters and notes of a node in the embedded store.
//!
//! Keeps C7: one dead letter per position. A position met again raises `deliveries` and `last`, and takes over the
//! newer reason, detail and `replayed`; `first` stays. Every call is synced before it answers.
//! A letter handed in again with `deliveries: 0` only changes those marks. Knows nothing of what the notes mean.

use super::codec::{Malformed, Packer, Unpacker, as_text};
use super::rows::check_key;
use super::{EmbeddedStore, blocking};
use crate::domain::decode::BadReason;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, Partition, RecordOffset};
use crate::domain::record::Record;
use crate::io::breadcrumbs::FileBreadcrumbs;
use crate::ports::Answer;
use crate::ports::ledger::{Breadcrumbs, DeadLetter, Kept, Ledger};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

/// The version of a packed letter, its first byte.
const VERSION: u8 = 1;

/// The door to a node's ledger.
#[derive(Clone)]
pub struct EmbeddedLedger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<EmbeddedStore>,
    crumbs: Arc<FileBreadcrumbs>,
    /// Number of letters; held from reading one to its commit.
    letters: Mutex<u64>,
}

impl EmbeddedLedger {
    /// The ledger of an open store. A store has one such door.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(store: Arc<EmbeddedStore>) -> Result<Self, Fault> {
        let mut count = 0;
        for entry in store.letters.iter() {
            entry.key().map_err(|e| store.read_fault(&e))?;
            count += 1;
        }
        let crumbs = Arc::new(FileBreadcrumbs::open(store.data_dir()));
        Ok(Self { inner: Arc::new(Inner { store, crumbs, letters: Mutex::new(count) }) })
    }
}

impl Inner {
    fn keep(&self, letter: DeadLetter) -> Result<Kept, Fault> {
        let mut count = self.letters.lock().unwrap_or_else(|e| e.into_inner());
        let held = self.letter(&letter.id)?;
        let kept = if held.is_some() { Kept::Again } else { Kept::New };
        let letter = letter.after(held);
        let mut batch = self.store.batch();
        batch.insert(&self.store.letters, letter_key(&letter.id)?, pack(&letter));
        self.store.commit(batch)?;
        *count += u64::from(kept == Kept::New);
        drop(count);
        self.store.sync()?;
        Ok(kept)
    }

    fn letter(&self, id: &str) -> Result<Option<DeadLetter>, Fault> {
        let Some(bytes) = self.store.get(&self.store.letters, &letter_key(id)?)? else { return Ok(None) };
        self.unpack(id, &bytes).map(Some)
    }

    fn unpack(&self, id: &str, bytes: &[u8]) -> Result<DeadLetter, Fault> {
        unpack(id, bytes).map_err(|e| self.store.corrupt(format_args!("dead letter {id}"), e))
    }

    fn letters(&self, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, Fault> {
        let start = match after {
            Some(id) => Bound::Excluded(letter_key(id)?),
            None => Bound::Unbounded,
        };
        let mut letters = Vec::new();
        for entry in self.store.letters.range::<Vec<u8>, _>((start, Bound::Unbounded)).take(max) {
            let (key, value) = entry.into_inner().map_err(|e| self.store.read_fault(&e))?;
            let id = as_text(&key[1..]).map_err(|e| self.store.corrupt("a dead letter's id", e))?;
            letters.push(self.unpack(id, &value)?);
        }
        Ok(letters)
    }

    fn remove(&self, id: &str) -> Result<(), Fault> {
        let mut count = self.letters.lock().unwrap_or_else(|e| e.into_inner());
        let key = letter_key(id)?;
        if self.store.get(&self.store.letters, &key)?.is_some() {
            let mut batch = self.store.batch();
            batch.remove(&self.store.letters, key);
            self.store.commit(batch)?;
            *count = count.saturating_sub(1);
        }
        drop(count);
        self.store.sync()
    }

    fn note(&self, name: &str) -> Result<Option<String>, Fault> {
        let Some(value) = self.store.get(&self.store.notes, &note_key(name)?)? else { return Ok(None) };
        self.note_text(name, &value).map(Some)
    }

    fn note_text(&self, name: &str, value: &[u8]) -> Result<String, Fault> {
        as_text(value).map(str::to_owned).map_err(|e| self.store.corrupt(format_args!("note `{name}`"), e))
    }

    fn notes(&self, prefix: &str) -> Result<Vec<(String, String)>, Fault> {
        let mut notes = Vec::new();
        for entry in self.store.notes.prefix(note_key(prefix)?) {
            let (key, value) = entry.into_inner().map_err(|e| self.store.read_fault(&e))?;
            let name = as_text(&key[1..]).map_err(|e| self.store.corrupt("a note's name", e))?;
            notes.push((name.to_owned(), self.note_text(name, &value)?));
        }
        Ok(notes)
    }

    fn set_notes(&self, notes: Vec<(String, Option<String>)>) -> Result<(), Fault> {
        let mut batch = self.store.batch();
        // A key stands in a batch once; of a name told twice the last one counts.
        let notes: BTreeMap<String, Option<String>> = notes.into_iter().collect();
        for (name, value) in notes {
            let key = note_key(&name)?;
            match value {
                Some(value) => batch.insert(&self.store.notes, key, value),
                None => batch.remove(&self.store.notes, key),
            }
        }
        self.store.commit(batch)?;
        self.store.sync()
    }
}

// One byte before the name, because the store takes no empty key.
fn letter_key(id: &str) -> Result<Vec<u8>, Fault> {
    check_key(format!("l{id}").into_bytes(), || "a dead letter".into())
}
fn note_key(name: &str) -> Result<Vec<u8>, Fault> {
    check_key(format!("n{name}").into_bytes(), || "a note".into())
}

fn pack(letter: &DeadLetter) -> Vec<u8> {
    let mut out = Packer::with_capacity(letter.record.bytes() + letter.detail.len() + 128);
    out.byte(VERSION);
    out.text(&letter.source);
    out.text(letter.reason.label());
    out.text(&letter.detail);
    out.signed(letter.first.0);
    out.signed(letter.last.0);
    out.varint(letter.deliveries);
    out.byte(u8::from(letter.replayed));
    let record = &letter.record;
    out.text(record.partition.topic.as_str());
    out.signed(i64::from(record.partition.number));
    out.signed(record.position.0);
    out.signed(record.offset);
    out.optional_signed(record.timestamp.map(|t| t.0));
    out.optional_bytes(record.key.as_deref());
    out.optional_bytes(record.value.as_deref());
    out.varint(record.headers.len() as u64);
    for (name, value) in &record.headers {
        out.text(name);
        out.bytes(value);
    }
    out.0
}

fn unpack(id: &str, bytes: &[u8]) -> Result<DeadLetter, Malformed> {
    let mut from = Unpacker::new(bytes);
    if from.byte()? != VERSION {
        return Err(Malformed("the letter has a format we do not know"));
    }
    let source = from.text()?.to_owned();
    let reason = BadReason::parse(from.text()?).ok_or(Malformed("its reason is not one of ours"))?;
    let detail = from.text()?.to_owned();
    let (first, last) = (Millis(from.signed()?), Millis(from.signed()?));
    let (deliveries, replayed) = (from.varint()?, from.byte()? != 0);
    let topic = Name::intern(from.text()?).map_err(|_| Malformed("its topic's name is too long"))?;
    let number = i32::try_from(from.signed()?).map_err(|_| Malformed("its partition is no partition"))?;
    let position = RecordOffset(from.signed()?);
    let offset = from.signed()?;
    let timestamp = from.optional_signed()?.map(Millis);
    let key = from.optional_bytes()?.map(Bytes::copy_from_slice);
    let value = from.optional_bytes()?.map(Bytes::copy_from_slice);
    let mut headers = Vec::new();
    for _ in 0..from.count()? {
        headers.push((from.text()?.to_owned(), Bytes::copy_from_slice(from.bytes()?)));
    }
    from.end()?;
    let record = Record { partition: Partition { topic, number }, position, offset, timestamp, key, value, headers };
    Ok(DeadLetter { id: id.to_owned(), source, record, reason, detail, first, last, deliveries, replayed })
}

impl Ledger for EmbeddedLedger {
    fn breadcrumbs(&self) -> Option<Arc<dyn Breadcrumbs>> {
        Some(self.inner.crumbs.clone())
    }
    fn keep_dead_letter(&self, letter: DeadLetter) -> Answer<'_, Result<Kept, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.keep(letter)))
    }

    fn dead_letters(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<DeadLetter>, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.letters(after.as_deref(), max)))
    }

    fn dead_letter(&self, id: &str) -> Answer<'_, Result<Option<DeadLetter>, Fault>> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        Box::pin(blocking(move || inner.letter(&id)))
    }

    fn drop_dead_letter(&self, id: &str) -> Answer<'_, Result<(), Fault>> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        Box::pin(blocking(move || inner.remove(&id)))
    }

    fn dead_letter_count(&self) -> Answer<'_, Result<u64, Fault>> {
        let count = *self.inner.letters.lock().unwrap_or_else(|e| e.into_inner());
        Box::pin(async move { Ok(count) })
    }

    fn note(&self, name: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        Box::pin(blocking(move || inner.note(&name)))
    }

    fn notes(&self, prefix: &str) -> Answer<'_, Result<Vec<(String, String)>, Fault>> {
        let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
        Box::pin(blocking(move || inner.notes(&prefix)))
    }

    fn set_notes(&self, notes: Vec<(String, Option<String>)>) -> Answer<'_, Result<(), Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.set_notes(notes)))
    }
}
