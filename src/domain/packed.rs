//! The columns of one row, packed: one list of where each text lies, and the texts in one piece. Images and cells are this.
//!
//! It is put together in room of its own, or shared: then a copy costs no allocation, and whoever changes one gets his own
//! first. Knows nothing of what a column means.

use super::ids::{Name, Stamp};
use std::cell::RefCell;
use std::sync::Arc;

/// Where a column's text lies.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) name: Name,
    /// Of a cell; an image's columns have none yet.
    pub(super) stamp: Stamp,
    start: u32,
    /// [`NULL`] marks SQL null.
    len: u32,
}
const NULL: u32 = u32::MAX;

/// Slots in name order, each name once.
pub(super) enum Packed {
    Own { slots: Vec<Slot>, text: String },
    Shared { slots: Arc<[Slot]>, text: Arc<str> },
}

/// Rooms that a thread keeps for the next record, and the bytes of text that one of them may have grown to.
const ROOMS_MAX: usize = 4;
const ROOM_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static ROOMS: RefCell<Vec<Packed>> = const { RefCell::new(Vec::new()) };
}

impl Packed {
    pub(super) fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self::Own { slots: Vec::with_capacity(columns), text: String::with_capacity(bytes) }
    }

    /// Empty, in room that an earlier one on this thread grew, if any was given back.
    pub(super) fn in_used_room() -> Self {
        ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Whether a column can be set without an allocation to begin with.
    pub(super) fn has_room(&self) -> bool {
        matches!(self, Self::Own { slots, .. } if slots.capacity() > 0)
    }

    /// Keeps the room for the next one.
    pub(super) fn give_back(self) {
        let Self::Own { mut slots, mut text } = self else { return };
        if slots.capacity() == 0 || text.capacity() > ROOM_BYTES_MAX {
            return;
        }
        slots.clear();
        text.clear();
        // A thread that is ending keeps nothing.
        let _ = ROOMS.try_with(|rooms| {
            let mut rooms = rooms.borrow_mut();
            if rooms.len() < ROOMS_MAX {
                rooms.push(Self::Own { slots, text });
            }
        });
    }

    /// The same in room of just its size, which copies share.
    pub(super) fn to_shared(&self) -> Self {
        Self::Shared { slots: self.slots().into(), text: self.text().into() }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        match self {
            Self::Own { slots, .. } => slots,
            Self::Shared { slots, .. } => slots,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Own { text, .. } => text,
            Self::Shared { text, .. } => text,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots().len()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }
    pub(super) fn text_bytes(&self) -> usize {
        self.text().len()
    }

    /// The slot's text; `None` is SQL null.
    pub(super) fn value(&self, slot: Slot) -> Option<&str> {
        let start = slot.start as usize;
        (slot.len != NULL).then(|| &self.text()[start..start + slot.len as usize])
    }

    pub(super) fn find(&self, name: Name) -> Option<Slot> {
        let slots = self.slots();
        slots.binary_search_by_key(&name, |slot| slot.name).ok().map(|at| slots[at])
    }

    /// Changes it in room of its own.
    fn change(&mut self, change: impl FnOnce(&mut Vec<Slot>, &mut String)) {
        match self {
            Self::Own { slots, text } => change(slots, text),
            Self::Shared { slots, text } => {
                let (mut slots, mut text) = (slots.to_vec(), text.as_ref().to_owned());
                change(&mut slots, &mut text);
                *self = Self::Own { slots, text };
            }
        }
    }

    /// Sets a column; the last one told wins.
    pub(super) fn set(&mut self, name: Name, stamp: Stamp, value: Option<&str>) {
        match value {
            None => self.change(|slots, _| place(slots, Slot { name, stamp, start: 0, len: NULL })),
            Some(value) => self.set_with(name, stamp, |text| text.push_str(value)),
        }
    }

    /// Sets a column to text that `write` appends in place.
    pub(super) fn set_with(&mut self, name: Name, stamp: Stamp, write: impl FnOnce(&mut String)) {
        self.change(|slots, text| {
            let start = text.len();
            write(text);
            place(slots, Slot { name, stamp, start: start as u32, len: (text.len() - start) as u32 });
        });
    }

    pub(super) fn unset(&mut self, name: Name) {
        self.change(|slots, _| slots.retain(|slot| slot.name != name));
    }

    /// Gives every column this stamp.
    pub(super) fn stamp(&mut self, stamp: Stamp) {
        match self {
            Self::Own { slots, .. } => slots.iter_mut().for_each(|slot| slot.stamp = stamp),
            Self::Shared { slots, .. } => match Arc::get_mut(slots) {
                Some(slots) => slots.iter_mut().for_each(|slot| slot.stamp = stamp),
                None => *slots = slots.iter().map(|slot| Slot { stamp, ..*slot }).collect(),
            },
        }
    }
}

fn place(slots: &mut Vec<Slot>, slot: Slot) {
    // Wire order is nearly always the order names were first met in, so this is nearly always a push.
    match slots.last() {
        Some(last) if last.name >= slot.name => match slots.binary_search_by_key(&slot.name, |s| s.name) {
            Ok(at) => slots[at] = slot,
            Err(at) => slots.insert(at, slot),
        },
        _ => slots.push(slot),
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::Own { slots: Vec::new(), text: String::new() }
    }
}

impl Clone for Packed {
    fn clone(&self) -> Self {
        match self {
            Self::Own { slots, text } => Self::Own { slots: slots.clone(), text: text.clone() },
            Self::Shared { slots, text } => Self::Shared { slots: Arc::clone(slots), text: Arc::clone(text) },
        }
    }

    /// Keeps its own room where it has some to copy into.
    fn clone_from(&mut self, source: &Self) {
        match (self, source) {
            (Self::Own { slots, text }, Self::Own { slots: from, text: source }) => {
                slots.clone_from(from);
                text.clone_from(source);
            }
            (held, source) => *held = source.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = Vec<(Name, Stamp, Option<String>)>;

    fn told(packed: &Packed) -> Told {
        packed.slots().iter().map(|slot| (slot.name, slot.stamp, packed.value(*slot).map(str::to_owned))).collect()
    }

    /// Goal: whoever changes a shared row changes his own alone, and a row in room of its own comes to the same. Method:
    /// each change on both, a copy held beside.
    #[test]
    fn a_change_of_what_is_shared_is_seen_by_nobody_else() {
        let (a, b, c) = (Name::of("packed_a"), Name::of("packed_b"), Name::of("packed_c"));
        let mut own = Packed::default();
        own.set(a, Stamp(1), Some("x"));
        own.set(c, Stamp(1), None);
        let changes: [fn(&mut Packed, Name); 4] = [
            |packed, name| packed.set(name, Stamp(2), Some("longer")),
            |packed, name| packed.set_with(name, Stamp(2), |text| text.push('y')),
            Packed::unset,
            |packed, _| packed.stamp(Stamp(7)),
        ];
        for change in changes {
            for name in [a, b, c] {
                let shared = own.to_shared();
                let (mut changed, mut plain) = (shared.clone(), own.clone());
                change(&mut changed, name);
                change(&mut plain, name);
                assert_eq!(told(&changed), told(&plain));
                assert_eq!(told(&shared), told(&own), "a copy was changed with it");
            }
        }
        let mut alone = own.to_shared();
        alone.stamp(Stamp(9));
        assert_eq!(told(&alone), [(a, Stamp(9), Some("x".to_owned())), (c, Stamp(9), None)]);
    }

    /// Goal: used room shows nothing of what was in it, and what outgrew it is not kept. Method: give rows back, look at the next.
    #[test]
    fn used_room_is_empty_room() {
        let mut first = Packed::in_used_room();
        first.set(Name::of("packed_a"), Stamp(1), Some("secret"));
        first.give_back();
        let next = Packed::in_used_room();
        assert!(next.has_room() && next.is_empty() && next.text_bytes() == 0);
        let mut large = Packed::with_capacity(1, ROOM_BYTES_MAX + 1);
        large.set(Name::of("packed_a"), Stamp(1), Some("x"));
        large.give_back();
        assert!(!Packed::in_used_room().has_room(), "room without bound");
    }
}
