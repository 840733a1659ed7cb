//! The newtypes everything else is said in: names, keys, positions, stamps, versions.
//!
//! Keeps E1 (a stamp is epoch × 2^44 + position) and the line between where a record lies and what is committed.
//! Knows nothing of any client, store or clock.

use super::quick::{QuickMap, hash_of};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, RwLock};

/// An interned table, column, line, lane, topic or row-kind name: eight bytes, compared by address.
///
/// Names come from configuration and from the columns of configured tables, so there are few; [`Name::intern`] refuses
/// to grow past [`NAMES_MAX`], because interned text is never freed.
#[derive(Clone, Copy)]
pub struct Name(&'static Entry);

struct Entry {
    id: u32,
    text: &'static str,
}

/// How many distinct names one process holds at most.
pub const NAMES_MAX: usize = 100_000;
/// The longest name in bytes; MySQL's own limit is 64 characters of at most four bytes.
pub const NAME_BYTES_MAX: usize = 256;

static NAMES: LazyLock<RwLock<QuickMap<&'static str, Name>>> = LazyLock::new(RwLock::default);

thread_local! {
    static NEAR: std::cell::RefCell<QuickMap<&'static str, Name>> = std::cell::RefCell::default();
}

/// A name could not be interned; the record that brought it is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("more than {NAMES_MAX} distinct names; is a table with generated column names configured?")]
    TooMany,
    #[error("a name longer than {NAME_BYTES_MAX} bytes; MySQL allows 64 characters")]
    TooLong,
}

impl Name {
    /// The name for this text, the same one every time.
    ///
    /// # Errors
    /// [`NameError`] when the text is too long or the table is full.
    pub fn intern(text: &str) -> Result<Self, NameError> {
        if let Some(known) = NEAR.with_borrow(|near| near.get(text).copied()) {
            return Ok(known);
        }
        let name = Self::intern_shared(text)?;
        NEAR.with_borrow_mut(|near| near.insert(name.as_str(), name));
        Ok(name)
    }

    fn intern_shared(text: &str) -> Result<Self, NameError> {
        if let Some(known) = NAMES.read().unwrap_or_else(|e| e.into_inner()).get(text) {
            return Ok(*known);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let mut names = NAMES.write().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = names.get(text) {
            return Ok(*known);
        }
        if names.len() >= NAMES_MAX {
            return Err(NameError::TooMany);
        }
        let text: &'static str = Box::leak(text.into());
        let id = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let name = Self(Box::leak(Box::new(Entry { id, text })));
        names.insert(text, name);
        Ok(name)
    }

    /// The name for a text the program or its configuration wrote, which is known to be short.
    ///
    /// A text past the limits is cut to fit, so that this cannot fail; settings refuse such names before.
    pub fn of(text: &str) -> Self {
        let mut end = text.len().min(NAME_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::intern(&text[..end]).unwrap_or_else(|_| Self::intern_first())
    }

    fn intern_first() -> Self {
        let names = NAMES.read().unwrap_or_else(|e| e.into_inner());
        *names.values().min().expect("a full table is not empty")
    }

    /// The text as it was interned.
    pub fn as_str(self) -> &'static str {
        self.0.text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}
impl Eq for Name {}
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0.id);
    }
}
impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
/// Names are ordered by when they were first met, not by their text: cheap, and the same for one process's life.
impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.text, f)
    }
}
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.text)
    }
}

/// An entity's key in the wide table, built by its kind's template.
///
/// An event looks its row up in about ten maps, so the key carries its hash: the text is read once, where it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct RowKey {
    hash: u64,
    text: Arc<str>,
}

impl RowKey {
    pub fn new(text: &str) -> Self {
        Self { hash: hash_of(text), text: text.into() }
    }
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The text, shared.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
    /// Where the key belongs among shards and threads: the same in every process of one build.
    pub fn spread(&self) -> u64 {
        self.hash
    }
}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One wide row: its kind and its key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RowId {
    pub kind: Name,
    pub key: RowKey,
}
impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

/// One partition of one topic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Partition {
    pub topic: Name,
    pub number: i32,
}
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// Where a record lies in its partition, in the unit the source commits: a Kafka offset, or a line number of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RecordOffset(pub i64);

/// What is committed: the first position not yet settled (O1). Only the frontier makes one from a [`RecordOffset`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NextOffset(pub i64);

/// Raised when offsets stop meaning time (E3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Epoch(pub u32);

/// Orders the cells of one column (E1): epoch × 2^44 + position. Fits an HBase timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Positions per epoch.
    pub const POSITIONS: i64 = 1 << 44;

    /// The stamp of a live change at this log offset: position = offset + 1, because 0 is kept for fills (M8).
    pub fn of_offset(epoch: Epoch, offset: i64) -> Self {
        Self::of_position(epoch, offset.saturating_add(1))
    }

    /// The stamp at a position of the epoch. A position wider than 2^44 runs into later epochs (E2: `position` does).
    pub fn of_position(epoch: Epoch, position: i64) -> Self {
        Self(i64::from(epoch.0).saturating_mul(Self::POSITIONS).saturating_add(position))
    }

    /// The stamp of a fill: position 0 of its epoch, below every live change of that epoch (M8).
    pub fn of_fill(epoch: Epoch) -> Self {
        Self::of_position(epoch, 0)
    }

    /// Just below this stamp: where the tombstone of a delete-then-insert goes (C3).
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    pub fn is_fill(self) -> bool {
        self.0 % Self::POSITIONS == 0
    }
}

/// Rises with every change of a row's merged content (V1); orders documents; never a stamp.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RowVersion(pub i64);
impl fmt::Display for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a partition actor or an assignment; a verdict of an older one commits nothing (O3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Generation(pub u64);
impl Generation {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A wall-clock time in milliseconds since 1970, handed in by the caller: the pure rooms have no clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Millis(pub i64);
impl Millis {
    pub fn since(self, earlier: Self) -> i64 {
        (self.0 - earlier.0).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_has_one_name() {
        assert_eq!(Name::of("status"), Name::of("status"));
        assert_ne!(Name::of("status"), Name::of("amount"));
        assert_eq!(Name::intern(&"x".repeat(300)).unwrap_err(), NameError::TooLong);
    }

    #[test]
    fn a_later_epoch_is_above_every_offset_of_an_earlier_one() {
        assert!(Stamp::of_offset(Epoch(1), 0) > Stamp::of_offset(Epoch(0), (1 << 44) - 2));
        assert!(Stamp::of_fill(Epoch(0)) < Stamp::of_offset(Epoch(0), 0), "M8: a fill loses to the first live change");
        assert!(Stamp::of_fill(Epoch(3)).is_fill() && !Stamp::of_offset(Epoch(3), 0).is_fill());
    }
}
