//! The dictionary of table and column names, so that a packed cell carries a number instead of a text.
//!
//! An entry is written in the same atomic batch as its first use; until that batch is committed it can be taken back.

use super::EmbeddedStore;
use super::codec::{Malformed, as_text};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Name;
use crate::domain::quick::QuickMap;
use fjall::OwnedWriteBatch;

/// Both directions of the dictionary.
#[derive(Default)]
pub(super) struct Dictionary {
    numbers: QuickMap<Name, u32>,
    names: Vec<Name>,
}

impl Dictionary {
    pub(super) fn load(store: &EmbeddedStore) -> Result<Self, Fault> {
        let mut dictionary = Self::default();
        for entry in store.names.iter() {
            let (key, value) = entry.into_inner().map_err(|e| store.read_fault(&e))?;
            let damaged = |what| store.corrupt("name dictionary", Malformed(what));
            let number = key.first_chunk::<4>().map(|k| u32::from_be_bytes(*k)).ok_or_else(|| damaged("a key is too short"))?;
            if number as usize != dictionary.names.len() {
                return Err(damaged("an entry is missing"));
            }
            let text = as_text(&value).map_err(|e| store.corrupt("name dictionary", e))?;
            let name = Name::intern(text).map_err(|e| Fault::new(FaultKind::Incompatible, "name dictionary", e))?;
            dictionary.add(name);
        }
        Ok(dictionary)
    }

    fn add(&mut self, name: Name) -> u32 {
        let number = self.names.len() as u32;
        self.names.push(name);
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, number: u64) -> Result<Name, Malformed> {
        let known = usize::try_from(number).ok().and_then(|n| self.names.get(n));
        known.copied().ok_or(Malformed("a name is not in the dictionary"))
    }

    pub(super) fn number(&self, name: Name) -> Option<u32> {
        self.numbers.get(&name).copied()
    }

    /// The number of a name; a new one is added to the batch.
    pub(super) fn number_or_add(&mut self, name: Name, store: &EmbeddedStore, batch: &mut OwnedWriteBatch) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        let number = self.add(name);
        batch.insert(&store.names, number.to_be_bytes(), name.as_str());
        number
    }

    /// Takes back what was added since the dictionary had this length: its batch was not committed.
    pub(super) fn truncate(&mut self, len: usize) {
        for name in self.names.drain(len.min(self.names.len())..) {
            self.numbers.remove(&name);
        }
    }
}
