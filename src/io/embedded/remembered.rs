//! The last documents a line told to others, so that the next notice can say what changed.
//!
//! Bounded: a line keeps the documents it told most recently, and forgets those it has not told for longest. Later versions
//! stay; a batch is one atomic commit and one sync. Two keyspaces: `remembered` is (line, id) → place in the order, then
//! what `documents` packs; `remembered_order` is (line, place) → id.
//! Knows nothing of notices.

use super::codec::{Malformed, Packer, Unpacker, scoped, unscoped};
use super::documents::{key, living, pack_into, unpack_from};
use super::{EmbeddedStore, blocking};
use crate::domain::fault::Fault;
use crate::domain::ids::Name;
use crate::domain::quick::QuickMap;
use crate::ports::Answer;
use crate::ports::sink::{Held, LastDocuments};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

/// Documents one line keeps, at most.
pub const DOCUMENTS_MAX: usize = 1_000_000;
/// Forgotten in one commit, at most.
const FORGOTTEN_MAX: usize = 1_000;

/// One line's last documents.
#[derive(Clone)]
pub struct RememberedDocuments {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<EmbeddedStore>,
    line: Name,
    max: usize,
    /// Held from comparing versions to the commit; counted on first use.
    order: Mutex<Option<Order>>,
}

/// How many are kept, and the place of the next.
#[derive(Clone, Copy, Default)]
struct Order {
    count: usize,
    next: u64,
}

impl RememberedDocuments {
    /// The last documents of a line, `max` at most. A line has one such door.
    pub fn open(store: Arc<EmbeddedStore>, line: Name, max: usize) -> Self {
        Self { inner: Arc::new(Inner { store, line, max: max.max(1), order: Mutex::new(None) }) }
    }
}

impl Inner {
    fn key(&self, id: &str) -> Result<Vec<u8>, Fault> {
        key(self.line, id)
    }

    fn place(&self, place: u64) -> Vec<u8> {
        scoped(self.line.as_str(), &place.to_be_bytes())
    }

    fn corrupt(&self, what: Malformed) -> Fault {
        self.store.corrupt(format_args!("a remembered document of line {}", self.line), what)
    }

    fn get(&self, id: &str) -> Result<Option<(u64, Held)>, Fault> {
        let Some(value) = self.store.get(&self.store.remembered, &self.key(id)?)? else { return Ok(None) };
        unpack(id, &value).map(Some).map_err(|e| self.corrupt(e))
    }

    /// Entries of the order from its oldest on.
    fn oldest(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Fault>> + '_ {
        let prefix = scoped(self.line.as_str(), &[]);
        let range = self.store.remembered_order.range::<Vec<u8>, _>((Bound::Included(prefix.clone()), Bound::Unbounded));
        let entries = range.map(|entry| {
            let (key, id) = entry.into_inner().map_err(|e| self.store.read_fault(&e))?;
            Ok((key.to_vec(), id.to_vec()))
        });
        entries.take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
    }

    fn counted(&self) -> Result<Order, Fault> {
        let mut order = Order::default();
        for entry in self.oldest() {
            let (key, _) = entry?;
            let (_, place) = unscoped(&key).map_err(|e| self.corrupt(e))?;
            let place = place.try_into().map_err(|_| self.corrupt(Malformed("a place is eight bytes")))?;
            order = Order { count: order.count + 1, next: u64::from_be_bytes(place) + 1 };
        }
        Ok(order)
    }

    fn keep(&self, documents: Vec<Held>) -> Result<(), Fault> {
        let mut guard = self.order.lock().unwrap_or_else(|e| e.into_inner());
        let mut order = match *guard {
            Some(order) => order,
            None => self.counted()?,
        };
        let mut changes = self.store.batch();
        let mut staged: QuickMap<String, u64> = QuickMap::default();
        for document in documents {
            let key = self.key(&document.id)?;
            if staged.contains_key(&document.id) {
                continue;
            }
            match self.get(&document.id)? {
                Some((_, held)) if held.version > document.version => continue,
                Some((place, _)) => changes.remove(&self.store.remembered_order, self.place(place)),
                None => order.count += 1,
            }
            let mut out = Packer::default();
            out.varint(order.next);
            pack_into(&mut out, document.version, document.document.as_ref());
            changes.insert(&self.store.remembered, key, out.0);
            changes.insert(&self.store.remembered_order, self.place(order.next), document.id.as_bytes());
            staged.insert(document.id, order.next);
            order.next += 1;
        }
        // What a failed commit leaves is counted again.
        *guard = None;
        self.store.commit(changes)?;
        while order.count > self.max {
            order.count -= self.forget((order.count - self.max).min(FORGOTTEN_MAX))?;
        }
        *guard = Some(order);
        drop(guard);
        self.store.sync()
    }

    /// Forgets the oldest; at least one is there.
    fn forget(&self, count: usize) -> Result<usize, Fault> {
        let mut changes = self.store.batch();
        let mut forgotten = 0;
        for entry in self.oldest().take(count) {
            let (place, id) = entry?;
            changes.remove(&self.store.remembered, scoped(self.line.as_str(), &id));
            changes.remove(&self.store.remembered_order, place);
            forgotten += 1;
        }
        self.store.commit(changes)?;
        Ok(forgotten.max(1))
    }

    fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<Held>, Fault> {
        let read = |id: &str, value: &[u8]| Ok(unpack(id, value)?.1);
        living(&self.store, &self.store.remembered, self.line, (after, max), read)
    }
}

fn unpack(id: &str, value: &[u8]) -> Result<(u64, Held), Malformed> {
    let mut from = Unpacker::new(value);
    let place = from.varint()?;
    Ok((place, unpack_from(id, from)?))
}

impl LastDocuments for RememberedDocuments {
    fn last(&self, ids: Vec<String>) -> Answer<'_, Result<Vec<Option<Held>>, Fault>> {
        let inner = Arc::clone(&self.inner);
        let last = move || ids.iter().map(|id| Ok(inner.get(id)?.map(|(_, held)| held))).collect();
        Box::pin(blocking(last))
    }

    fn keep(&self, documents: Vec<Held>) -> Answer<'_, Result<(), Fault>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(blocking(move || inner.keep(documents)))
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(blocking(move || inner.list(after.as_deref(), max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RowVersion;
    use bytes::Bytes;
    use std::path::Path;

    fn held(id: &str, version: i64, document: Option<&'static str>) -> Held {
        Held { id: id.into(), version: RowVersion(version), document: document.map(|d| Bytes::from_static(d.as_bytes())) }
    }

    fn opened(folder: &Path, line: &str, max: usize) -> RememberedDocuments {
        RememberedDocuments::open(EmbeddedStore::open(folder).unwrap(), Name::of(line), max)
    }

    async fn ids(documents: &RememberedDocuments) -> Vec<String> {
        documents.list(None, 10).await.unwrap().into_iter().map(|held| held.id).collect()
    }

    /// Goal: later versions stay, the longest untold go first, over a restart too, each line for itself. Method: three
    /// places, four documents, one of them told again; the store opened anew in between.
    #[tokio::test]
    async fn the_last_told_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let documents = opened(folder.path(), "a", 3);
        documents.keep(vec![held("1", 5, Some("one")), held("2", 5, Some("two")), held("3", 5, Some("three"))]).await.unwrap();
        documents.keep(vec![held("1", 4, Some("older")), held("2", 6, None)]).await.unwrap();
        let want = vec![Some(held("1", 5, Some("one"))), Some(held("2", 6, None)), None];
        assert_eq!(documents.last(vec!["1".into(), "2".into(), "9".into()]).await.unwrap(), want);
        assert_eq!(ids(&documents).await, ["1", "3"], "deleted ones are not listed");
        documents.keep(vec![held("1", 7, Some("again"))]).await.unwrap();
        drop(documents);
        let documents = opened(folder.path(), "a", 3);
        documents.keep(vec![held("4", 1, Some("four"))]).await.unwrap();
        assert_eq!(ids(&documents).await, ["1", "4"], "3 was told longest ago");
        documents.keep(vec![held("5", 1, Some("five")), held("6", 1, Some("six"))]).await.unwrap();
        assert_eq!(ids(&documents).await, ["4", "5", "6"]);
        drop(documents);
        let other = opened(folder.path(), "b", 3);
        assert_eq!(ids(&other).await, Vec::<String>::new());
    }
}
