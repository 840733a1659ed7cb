//! Documents in memory (K1), and the sink that keeps nothing.

use super::{Call, Script};
use crate::domain::fault::{Advice, Fault, FaultKind};
use crate::domain::ids::RowVersion;
use crate::ports::Answer;
use crate::ports::sink::{Body, Held, LastDocuments, Sink, SinkOutcome, SinkWrite};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

/// One line's documents: id → version and body. Lower versions are superseded; a delete leaves its version.
#[derive(Default)]
pub struct MemoryDocuments {
    held: Mutex<BTreeMap<String, (RowVersion, Option<Bytes>)>>,
    /// Faults to come. One that bids to bury is a rejection; the others ask for another try.
    pub script: Script,
}

impl MemoryDocuments {
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&self, batch: Vec<SinkWrite>) -> Vec<SinkOutcome> {
        let mut held = self.held.lock().unwrap_or_else(|e| e.into_inner());
        let mut put = |write: SinkWrite| {
            if let Some((version, _)) = held.get(&write.id).filter(|(version, _)| *version > write.version) {
                return SinkOutcome::Superseded(Some(*version));
            }
            let body = match write.body {
                Body::Index(document) => Some(document),
                Body::Delete => None,
            };
            held.insert(write.id, (write.version, body));
            SinkOutcome::Written
        };
        batch.into_iter().map(&mut put).collect()
    }
}

impl Sink for MemoryDocuments {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(async move {
            let count = batch.len();
            match self.script.play(Call::Write, || Ok(self.put(batch))) {
                Ok(outcomes) => outcomes,
                Err(fault) if fault.advice() == Advice::Bury => vec![SinkOutcome::Rejected(fault.to_string()); count],
                Err(fault) => vec![SinkOutcome::Retry { counts: fault.advice() == Advice::Stop, fault }; count],
            }
        })
    }

    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        let get = move || {
            let held = self.held.lock().unwrap_or_else(|e| e.into_inner());
            Ok(held.get(&id).map(|(version, document)| Held { id, version: *version, document: document.clone() }))
        };
        Box::pin(async move { self.script.play(Call::Read, get) })
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        let list = move || {
            let held = self.held.lock().unwrap_or_else(|e| e.into_inner());
            let range = held.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
            let alive = range.filter(|(_, (_, document))| document.is_some()).take(max);
            Ok(alive
                .map(|(id, (version, document))| Held { id: id.clone(), version: *version, document: document.clone() })
                .collect())
        };
        Box::pin(async move { self.script.play(Call::Read, list) })
    }
}

impl LastDocuments for MemoryDocuments {
    fn last(&self, ids: Vec<String>) -> Answer<'_, Result<Vec<Option<Held>>, Fault>> {
        let held = self.held.lock().unwrap_or_else(|e| e.into_inner());
        let last = ids.into_iter().map(|id| {
            let (version, document) = held.get(&id)?;
            Some(Held { id, version: *version, document: document.clone() })
        });
        let last = last.collect();
        Box::pin(async move { self.script.play(Call::Read, || Ok(last)) })
    }

    fn keep(&self, documents: Vec<Held>) -> Answer<'_, Result<(), Fault>> {
        let keep = move || {
            let mut held = self.held.lock().unwrap_or_else(|e| e.into_inner());
            for document in documents {
                if held.get(&document.id).is_none_or(|(version, _)| *version <= document.version) {
                    held.insert(document.id, (document.version, document.document));
                }
            }
            Ok(())
        };
        Box::pin(async move { self.script.play(Call::Write, keep) })
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        Sink::list(self, after, max)
    }
}

/// Accepts everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl NullSink {
    fn cannot<T>() -> Result<T, Fault> {
        Err(Fault::new(FaultKind::Rejected, "null sink", "it keeps no documents, so it cannot be asked"))
    }
}

impl Sink for NullSink {
    fn kind(&self) -> &'static str {
        "null"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(async move { vec![SinkOutcome::Written; batch.len()] })
    }

    fn get(&self, _: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        Box::pin(async { Self::cannot() })
    }

    fn list(&self, _: Option<String>, _: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        Box::pin(async { Self::cannot() })
    }
}
