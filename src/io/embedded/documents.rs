//! Documents of one line in the embedded store: id → version and body.
//!
//! Keeps K1: lower versions are superseded, equal ones accepted; a delete leaves a mark with its version, so that an
//! older write cannot bring the document back. A batch is one atomic commit and one sync.
//! Knows nothing of rows or jobs. A value is a version byte, the row version and, unless deleted, the JSON text.

use super::codec::{Malformed, Packer, Unpacker, as_text, scoped, unscoped};
use super::rows::check_key;
use super::{EmbeddedStore, blocking};
use crate::domain::fault::{Advice, Fault};
use crate::domain::ids::{Name, RowVersion};
use crate::domain::quick::QuickMap;
use crate::ports::Answer;
use crate::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};
use bytes::Bytes;
use fjall::Keyspace;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

/// First byte of a value: a document, or the mark of a delete.
const DOCUMENT: u8 = 1;
const DELETED: u8 = 2;

/// One line's documents.
#[derive(Clone)]
pub struct EmbeddedDocuments {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<EmbeddedStore>,
    line: Name,
    /// Held from comparing versions to the commit.
    writer: Mutex<()>,
}

/// Key → version and packed value of one batch; a key stands in a commit once.
type Staged = QuickMap<Vec<u8>, (RowVersion, Vec<u8>)>;

impl EmbeddedDocuments {
    /// The documents of a line. A line has one such door.
    pub fn open(store: Arc<EmbeddedStore>, line: Name) -> Self {
        Self { inner: Arc::new(Inner { store, line, writer: Mutex::new(()) }) }
    }
}

impl Inner {
    fn write(&self, batch: Vec<SinkWrite>) -> Vec<SinkOutcome> {
        let guard = self.writer.lock().unwrap_or_else(|e| e.into_inner());
        let mut staged = Staged::default();
        let mut outcomes: Vec<SinkOutcome> =
            batch.into_iter().map(|write| self.stage(write, &mut staged).unwrap_or_else(outcome_of)).collect();
        let mut changes = self.store.batch();
        staged.into_iter().for_each(|(key, (_, value))| changes.insert(&self.store.documents, key, value));
        let committed = self.store.commit(changes);
        drop(guard);
        if let Err(fault) = committed.and_then(|()| self.store.sync()) {
            for outcome in outcomes.iter_mut().filter(|o| **o == SinkOutcome::Written) {
                *outcome = outcome_of(fault.clone());
            }
        }
        outcomes
    }

    fn stage(&self, write: SinkWrite, staged: &mut Staged) -> Result<SinkOutcome, Fault> {
        let key = self.key(&write.id)?;
        let held = match staged.get(&key) {
            Some((version, _)) => Some(*version),
            None => self.get(&write.id)?.map(|held| held.version),
        };
        if let Some(held) = held.filter(|held| *held > write.version) {
            return Ok(SinkOutcome::Superseded(Some(held)));
        }
        staged.insert(key, (write.version, pack(write.version, &write.body)));
        Ok(SinkOutcome::Written)
    }

    fn key(&self, id: &str) -> Result<Vec<u8>, Fault> {
        key(self.line, id)
    }

    fn get(&self, id: &str) -> Result<Option<Held>, Fault> {
        let Some(value) = self.store.get(&self.store.documents, &self.key(id)?)? else { return Ok(None) };
        self.held(id, &value).map(Some)
    }

    fn held(&self, id: &str, value: &[u8]) -> Result<Held, Fault> {
        unpack(id, value).map_err(|e| self.store.corrupt(format_args!("document {id} of line {}", self.line), e))
    }

    fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<Held>, Fault> {
        living(&self.store, &self.store.documents, self.line, (after, max), unpack)
    }
}

/// The key of a line's document.
pub(super) fn key(line: Name, id: &str) -> Result<Vec<u8>, Fault> {
    check_key(scoped(line.as_str(), id.as_bytes()), || format!("a document of line {line}"))
}

/// At most `max` living documents of a line after an id, in id order; `read` makes one of its id and its value.
pub(super) fn living(
    store: &EmbeddedStore,
    keyspace: &Keyspace,
    line: Name,
    (after, max): (Option<&str>, usize),
    read: impl Fn(&str, &[u8]) -> Result<Held, Malformed>,
) -> Result<Vec<Held>, Fault> {
    let prefix = key(line, "")?;
    let start = match after {
        Some(id) => Bound::Excluded(key(line, id)?),
        None => Bound::Included(prefix.clone()),
    };
    let mut documents = Vec::new();
    for entry in keyspace.range::<Vec<u8>, _>((start, Bound::Unbounded)) {
        let (key, value) = entry.into_inner().map_err(|e| store.read_fault(&e))?;
        if documents.len() >= max || !key.starts_with(&prefix) {
            break;
        }
        let read = || read(as_text(unscoped(&key)?.1)?, &value);
        let held = read().map_err(|e| store.corrupt(format_args!("a document of line {line}"), e))?;
        if held.document.is_some() {
            documents.push(held);
        }
    }
    Ok(documents)
}

fn pack(version: RowVersion, body: &Body) -> Vec<u8> {
    let document = match body {
        Body::Index(document) => Some(document),
        Body::Delete => None,
    };
    let mut out = Packer::default();
    pack_into(&mut out, version, document);
    out.0
}

pub(super) fn pack_into(out: &mut Packer, version: RowVersion, document: Option<&Bytes>) {
    out.byte(if document.is_some() { DOCUMENT } else { DELETED });
    out.signed(version.0);
    out.0.extend_from_slice(document.map_or(&[], |document| document));
}

fn unpack(id: &str, value: &[u8]) -> Result<Held, Malformed> {
    unpack_from(id, Unpacker::new(value))
}

pub(super) fn unpack_from(id: &str, mut from: Unpacker<'_>) -> Result<Held, Malformed> {
    let what = from.byte()?;
    let version = RowVersion(from.signed()?);
    let document = match what {
        DOCUMENT => Some(Bytes::copy_from_slice(from.rest())),
        DELETED => {
            from.end()?;
            None
        }
        _ => return Err(Malformed("the document has a format we do not know")),
    };
    Ok(Held { id: id.to_owned(), version, document })
}

/// What a fault means for one write: J7's question whether it uses up a try.
fn outcome_of(fault: Fault) -> SinkOutcome {
    match fault.advice() {
        Advice::Wait | Advice::SlowDown => SinkOutcome::Retry { fault, counts: false },
        Advice::Stop => SinkOutcome::Retry { fault, counts: true },
        Advice::Bury => SinkOutcome::Rejected(fault.to_string()),
    }
}

impl Sink for EmbeddedDocuments {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        let (inner, count) = (self.inner.clone(), batch.len());
        Box::pin(async move {
            let written = blocking(move || Ok(inner.write(batch))).await;
            // A caught panic tells nothing of the documents: they are tried again.
            written.unwrap_or_else(|fault| vec![SinkOutcome::Retry { fault, counts: true }; count])
        })
    }

    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.get(&id)))
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        let inner = self.inner.clone();
        Box::pin(blocking(move || inner.list(after.as_deref(), max)))
    }
}
