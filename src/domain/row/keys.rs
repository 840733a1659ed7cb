//! The key columns' values of a row (M9). Knows nothing of cells.

use crate::domain::change::Value;
use crate::domain::ids::{Name, RowKey};
use smallvec::SmallVec;
use std::sync::Arc;

/// M9: the key columns' values. Few and short: kept in place, without an allocation for two of the usual length.
#[derive(Clone, Default)]
pub struct Keys(SmallVec<[(Name, Option<KeyText>); 2]>);

/// One key column's text.
#[derive(Clone)]
enum KeyText {
    Own(compact_str::CompactString),
    /// It stands in the row key, and shares its room.
    Within {
        key: Arc<str>,
        start: u32,
        len: u32,
    },
}

/// Longer texts would take an allocation of their own.
const IN_PLACE_MAX: usize = size_of::<compact_str::CompactString>();

impl KeyText {
    fn of(text: &str, key: &RowKey) -> Self {
        if text.len() <= IN_PLACE_MAX {
            return Self::Own(text.into());
        }
        let whole = key.as_str();
        let start = if whole.ends_with(text) { Some(whole.len() - text.len()) } else { whole.find(text) };
        match start {
            Some(start) => Self::Within { key: key.shared(), start: start as u32, len: text.len() as u32 },
            None => Self::Own(text.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Within { key, start, len } => &key[*start as usize..][..*len as usize],
        }
    }
}

impl Keys {
    /// The texts of a row of this key; those that stand in it whole need no room of their own.
    pub fn beside<'a>(key: &RowKey, texts: impl IntoIterator<Item = (Name, &'a str)>) -> Self {
        let mut keys = Self::default();
        for (name, text) in texts {
            keys.put(name, Some(KeyText::of(text, key)));
        }
        keys
    }

    /// Sets a column; the last one told wins. `Absent` tells nothing.
    pub fn set(&mut self, name: Name, value: Value<'_>) {
        let value = match value {
            Value::Absent => return,
            Value::Null => None,
            Value::Text(text) => Some(KeyText::Own(text.into())),
        };
        self.put(name, value);
    }

    fn put(&mut self, name: Name, value: Option<KeyText>) {
        match self.0.iter().position(|(held, _)| *held >= name) {
            Some(at) if self.0[at].0 == name => self.0[at].1 = value,
            Some(at) => self.0.insert(at, (name, value)),
            None => self.0.push((name, value)),
        }
    }

    pub fn get(&self, name: Name) -> Value<'_> {
        let found = self.0.iter().find(|(held, _)| *held == name);
        found.map_or(Value::Absent, |(_, value)| Self::value(value))
    }

    /// Columns in name order; never `Absent`.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Value<'_>)> {
        self.0.iter().map(|(name, value)| (*name, Self::value(value)))
    }

    fn value(value: &Option<KeyText>) -> Value<'_> {
        value.as_ref().map_or(Value::Null, |text| Value::Text(text.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn text_bytes(&self) -> usize {
        self.iter().filter_map(|(_, value)| value.text()).map(str::len).sum()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for Keys {}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(Name, Value<'a>)> for Keys {
    fn from_iter<I: IntoIterator<Item = (Name, Value<'a>)>>(columns: I) -> Self {
        let mut keys = Self::default();
        for (name, value) in columns {
            keys.set(name, value);
        }
        keys
    }
}
