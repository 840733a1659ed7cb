//! Dead letters and notes in memory (C7).

use super::{Call, Script};
use crate::domain::fault::Fault;
use crate::ports::Answer;
use crate::ports::ledger::{DeadLetter, Kept, Ledger};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

/// The door to a ledger.
#[derive(Default)]
pub struct MemoryLedger {
    letters: Mutex<BTreeMap<String, DeadLetter>>,
    notes: Mutex<BTreeMap<String, String>>,
    /// Faults to come.
    pub script: Script,
}

impl MemoryLedger {
    pub fn new() -> Self {
        Self::default()
    }

    fn letters(&self) -> MutexGuard<'_, BTreeMap<String, DeadLetter>> {
        self.letters.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.notes.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn keep(&self, letter: DeadLetter) -> Kept {
        let mut letters = self.letters();
        let held = letters.remove(&letter.id);
        let kept = if held.is_some() { Kept::Again } else { Kept::New };
        let letter = letter.after(held);
        letters.insert(letter.id.clone(), letter);
        kept
    }
}

impl Ledger for MemoryLedger {
    fn keep_dead_letter(&self, letter: DeadLetter) -> Answer<'_, Result<Kept, Fault>> {
        Box::pin(async move { self.script.play(Call::Write, || Ok(self.keep(letter))) })
    }

    fn dead_letters(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<DeadLetter>, Fault>> {
        let list = move || {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            Ok(self.letters().range((start, Bound::Unbounded)).take(max).map(|(_, letter)| letter.clone()).collect())
        };
        Box::pin(async move { self.script.play(Call::Read, list) })
    }

    fn dead_letter(&self, id: &str) -> Answer<'_, Result<Option<DeadLetter>, Fault>> {
        let id = id.to_owned();
        Box::pin(async move { self.script.play(Call::Read, || Ok(self.letters().get(&id).cloned())) })
    }

    fn drop_dead_letter(&self, id: &str) -> Answer<'_, Result<(), Fault>> {
        let id = id.to_owned();
        let remove = move || {
            self.letters().remove(&id);
            Ok(())
        };
        Box::pin(async move { self.script.play(Call::Write, remove) })
    }

    fn dead_letter_count(&self) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move { self.script.play(Call::Read, || Ok(self.letters().len() as u64)) })
    }

    fn note(&self, name: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let name = name.to_owned();
        Box::pin(async move { self.script.play(Call::Read, || Ok(self.notes().get(&name).cloned())) })
    }

    fn notes(&self, prefix: &str) -> Answer<'_, Result<Vec<(String, String)>, Fault>> {
        let prefix = prefix.to_owned();
        let list = move || {
            let notes = self.notes();
            let range = notes.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
            Ok(range.map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        Box::pin(async move { self.script.play(Call::Read, list) })
    }

    fn set_notes(&self, changes: Vec<(String, Option<String>)>) -> Answer<'_, Result<(), Fault>> {
        let set = move || {
            let mut notes = self.notes();
            for (name, value) in changes {
                match value {
                    Some(value) => notes.insert(name, value),
                    None => notes.remove(&name),
                };
            }
            Ok(())
        };
        Box::pin(async move { self.script.play(Call::Write, set) })
    }
}
