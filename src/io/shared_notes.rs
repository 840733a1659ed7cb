//! A ledger whose notes of the queue lie in the row store: what every owner of a partition must see (J11).
//!
//! Dead letters and everything else stay in the node's own ledger. The notes are one value beside the rows, changed by
//! compare-and-set: nodes write a handful of lines every few seconds. Knows nothing of what the notes say.

use crate::domain::fault::{Fault, FaultKind};
use crate::ports::Answer;
use crate::ports::ledger::{Breadcrumbs, DeadLetter, Kept, Ledger};
use crate::ports::rows::RowStore;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of notes that are shared.
const SHARED: &str = "queue/";
/// The value beside the rows.
const KEY: &str = "queue/notes";
/// Tries against others who write at the same time.
const TRIES_MAX: usize = 50;

/// The door to a ledger.
pub struct SharedNotes {
    here: Arc<dyn Ledger>,
    rows: Arc<dyn RowStore>,
}

impl SharedNotes {
    pub fn new(here: Arc<dyn Ledger>, rows: Arc<dyn RowStore>) -> Self {
        Self { here, rows }
    }

    async fn held(&self) -> Result<(Option<String>, BTreeMap<String, String>), Fault> {
        let text = self.rows.meta(KEY).await?;
        let notes = text.as_deref().map(serde_json::from_str).transpose();
        let corrupt = |e| Fault::new(FaultKind::Corrupt, format!("value `{KEY}` of the row store"), e);
        let notes = notes.map_err(corrupt)?.unwrap_or_default();
        Ok((text, notes))
    }

    async fn set_shared(&self, changes: Vec<(String, Option<String>)>) -> Result<(), Fault> {
        for _ in 0..TRIES_MAX {
            let (text, mut notes) = self.held().await?;
            for (name, value) in &changes {
                match value {
                    Some(value) => notes.insert(name.clone(), value.clone()),
                    None => notes.remove(name),
                };
            }
            // A map of texts: writing it cannot fail.
            let wanted = serde_json::to_string(&notes).unwrap_or_default();
            if text.as_deref() == Some(&wanted) || self.rows.set_meta(KEY, text.as_deref(), &wanted).await? {
                return Ok(());
            }
        }
        let what = format!("others changed it {TRIES_MAX} times in between");
        Err(Fault::new(FaultKind::Throttled, format!("value `{KEY}` of the row store"), what))
    }
}

impl Ledger for SharedNotes {
    fn breadcrumbs(&self) -> Option<Arc<dyn Breadcrumbs>> {
        self.here.breadcrumbs()
    }
    fn keep_dead_letter(&self, letter: DeadLetter) -> Answer<'_, Result<Kept, Fault>> {
        self.here.keep_dead_letter(letter)
    }
    fn dead_letters(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<DeadLetter>, Fault>> {
        self.here.dead_letters(after, max)
    }
    fn dead_letter(&self, id: &str) -> Answer<'_, Result<Option<DeadLetter>, Fault>> {
        self.here.dead_letter(id)
    }
    fn drop_dead_letter(&self, id: &str) -> Answer<'_, Result<(), Fault>> {
        self.here.drop_dead_letter(id)
    }
    fn dead_letter_count(&self) -> Answer<'_, Result<u64, Fault>> {
        self.here.dead_letter_count()
    }

    fn note(&self, name: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        if !name.starts_with(SHARED) {
            return self.here.note(name);
        }
        let name = name.to_owned();
        Box::pin(async move { Ok(self.held().await?.1.remove(&name)) })
    }

    fn notes(&self, prefix: &str) -> Answer<'_, Result<Vec<(String, String)>, Fault>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let mut notes = self.here.notes(&prefix).await?;
            notes.retain(|(name, _)| !name.starts_with(SHARED));
            if prefix.starts_with(SHARED) || SHARED.starts_with(&prefix) {
                notes.extend(self.held().await?.1.into_iter().filter(|(name, _)| name.starts_with(&prefix)));
                notes.sort_unstable();
            }
            Ok(notes)
        })
    }

    /// The shared ones first: they are what a commit waits for. Each part is one step.
    fn set_notes(&self, notes: Vec<(String, Option<String>)>) -> Answer<'_, Result<(), Fault>> {
        let (shared, own): (Vec<_>, Vec<_>) = notes.into_iter().partition(|(name, _)| name.starts_with(SHARED));
        Box::pin(async move {
            if !shared.is_empty() {
                self.set_shared(shared).await?;
            }
            if own.is_empty() { Ok(()) } else { self.here.set_notes(own).await }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schema::Schema;
    use crate::io::memory::{MemoryLedger, MemoryRowStore};

    fn note(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    /// Goal: J11, what one node notes of the queue every node reads, and nothing else. Method: two nodes write side by side.
    #[tokio::test]
    async fn nodes_share_what_they_note_of_the_queue() {
        let rows: Arc<dyn RowStore> = Arc::new(MemoryRowStore::new(Arc::new(Schema::new(vec![], vec![], vec![]))));
        let node = || SharedNotes::new(Arc::new(MemoryLedger::new()), Arc::clone(&rows));
        let (one, other) = (node(), node());
        let of_one = one.set_notes(vec![note("queue/life/a/0", Some("l")), note("line/x", Some("mine"))]);
        let of_other = other.set_notes(vec![note("queue/life/b/1", Some("l")), note("queue/mark/b/1", Some("7"))]);
        let (first, second) = tokio::join!(of_one, of_other);
        assert_eq!((first, second), (Ok(()), Ok(())));
        for node in [&one, &other] {
            let lives = node.notes("queue/life/").await.unwrap();
            assert_eq!(lives, [("queue/life/a/0".into(), "l".into()), ("queue/life/b/1".into(), "l".into())]);
            assert_eq!(node.note("queue/mark/b/1").await, Ok(Some("7".into())));
        }
        assert_eq!((one.note("line/x").await, other.note("line/x").await), (Ok(Some("mine".into())), Ok(None)));
        other.set_notes(vec![note("queue/life/a/0", None)]).await.unwrap();
        assert_eq!(one.note("queue/life/a/0").await, Ok(None));
        assert_eq!(one.notes("").await.unwrap().len(), 3, "its own and the shared ones");
    }
}
