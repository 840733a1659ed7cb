//! One entity's work in hand: changes in, one write at a time out, jobs once the write is acknowledged.
//!
//! Keeps N1 (at most one write in flight), N2 (a write may be skipped, jobs never), N3 (what is remembered is a cache),
//! J3 (offer after the acknowledgement), and hands out C5's moves. Relies on M4: the same content may be sent again, and
//! others may write the same row (N4). Knows nothing of actors, stores, queues, or what a ticket is.

mod known;
mod moves;

pub use known::PARTS_MAX;
pub use moves::{MoveVerdict, judge_move};

use super::fault::{Advice, Fault};
use super::ids::{Millis, RowId, Stamp};
use super::job::{JobKey, Load, Offer};
use super::line::Line;
use super::route::{Effect, RowChange};
use super::row::{Cells, Part, Tombstone, WideRow};
use super::schema::{RowKind, VersionKind};
use super::write::RowWrite;
use known::Known;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// Jobs that may be offered now, and the tickets to settle once the queue has accepted them all (J5).
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// At most one per line.
    pub offers: Offers,
    pub tickets: Tickets<T>,
}

/// Nearly every row kind has one line.
pub type Offers = SmallVec<[Offer; 1]>;

/// Nearly every write carries one or two.
pub type Tickets<T> = SmallVec<[T; 2]>;

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { offers: Offers::new(), tickets: Tickets::new() }
    }
}

/// What an apply brought at once.
#[derive(Debug)]
pub struct Applied<T> {
    /// Jobs of changes whose content is already acknowledged; empty tickets when there are none.
    pub at_once: Batch<T>,
    /// Changes whose write was skipped (N2).
    pub stale: u32,
}

/// What an answer to a write means.
#[derive(Debug)]
pub enum Acknowledged<T> {
    /// Offer these, then settle the tickets.
    Written(Batch<T>),
    /// Unknown or not now: the same content waits in [`EntityState::next_write`], to be sent again after a pause.
    Again(Fault),
    /// It will not pass: the tickets fail, nothing of them is kept.
    Failed { fault: Fault, tickets: Tickets<T> },
}

/// One entity's pending and flying work. `T` is a ticket: one per change, handed back exactly once, or dropped with the
/// state (O2: a dropped ticket counts as failed).
#[derive(Debug)]
pub struct EntityState<T> {
    row: RowId,
    /// V1 `counter`: each write adds one.
    counted: bool,
    pending: Bundle<T>,
    flying: Option<Flight<T>>,
    /// The flying write was overtaken by [`EntityState::forget`]: its acknowledgement teaches nothing.
    doubted: bool,
    moves: VecDeque<(RowChange, T)>,
    moving: bool,
    known: Known,
}

/// One write and what may be said once it is acknowledged.
#[derive(Debug)]
struct Bundle<T> {
    /// Made with the first change, so that an entity at rest is small; shared only once it flies.
    change: Option<Arc<WideRow>>,
    batch: Batch<T>,
}

/// A write that was sent; the store holds the same content.
#[derive(Debug)]
struct Flight<T> {
    change: Arc<WideRow>,
    batch: Batch<T>,
}

impl<T> EntityState<T> {
    pub fn new(row: RowId, kind: &RowKind) -> Self {
        Self {
            row,
            counted: kind.version == VersionKind::Counter,
            pending: Bundle::default(),
            flying: None,
            doubted: false,
            moves: VecDeque::new(),
            moving: false,
            known: Known::default(),
        }
    }

    pub fn row(&self) -> &RowId {
        &self.row
    }

    /// Takes changes of this row in, each with its ticket. `lines` are those of the row's kind; `now` is the wall time
    /// that tombstones carry (M5).
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (RowChange, T)>, lines: &[Line], now: Millis) -> Applied<T> {
        let mut applied = Applied { at_once: Batch::default(), stale: 0 };
        for (change, ticket) in changes {
            if matches!(change.effect, Effect::MoveOut(_)) {
                self.moves.push_back((change, ticket));
            } else if self.known.covers(&change) {
                applied.stale += 1;
                self.batch_behind(&change).unwrap_or(&mut applied.at_once).add(&change, ticket, lines);
            } else {
                self.pending.batch.add(&change, ticket, lines);
                self.pending.merge(change, now);
            }
        }
        applied
    }

    /// The batch that goes out after the newest unacknowledged write of the change's table row.
    fn batch_behind(&mut self, change: &RowChange) -> Option<&mut Batch<T>> {
        let writes = |row: &Arc<WideRow>| row.part(&change.part).is_some();
        if self.pending.change.as_ref().is_some_and(writes) {
            return Some(&mut self.pending.batch);
        }
        self.flying.as_mut().filter(|flight| writes(&flight.change)).map(|flight| &mut flight.batch)
    }

    /// The write to send, unless one is in flight (N1) or nothing waits.
    pub fn next_write(&mut self) -> Option<RowWrite> {
        if self.flying.is_some() {
            return None;
        }
        let mut change = self.pending.change.take()?;
        // Set, not added to: what is sent again after an unknown outcome needs one bump, like any write (V1).
        Arc::make_mut(&mut change).counter = i64::from(self.counted);
        self.flying = Some(Flight { change: Arc::clone(&change), batch: std::mem::take(&mut self.pending.batch) });
        self.doubted = false;
        Some(RowWrite { row: self.row.clone(), change })
    }

    /// Takes the answer to the write in flight. Without one, nothing happens: an empty batch.
    pub fn written(&mut self, outcome: Result<(), Fault>) -> Acknowledged<T> {
        let Some(flight) = self.flying.take() else { return Acknowledged::Written(Batch::default()) };
        match outcome {
            Ok(()) => {
                if !self.doubted {
                    self.known.note(&flight.change);
                }
                Acknowledged::Written(flight.batch)
            }
            Err(fault) => {
                self.known.clear();
                match fault.advice() {
                    Advice::Wait | Advice::SlowDown => {
                        self.pending.put_behind(flight);
                        Acknowledged::Again(fault)
                    }
                    Advice::Bury | Advice::Stop => Acknowledged::Failed { fault, tickets: flight.batch.tickets },
                }
            }
        }
    }

    /// The next move to be read, judged ([`judge_move`]) and written by the caller, one at a time, in their order. The
    /// caller keeps change and ticket until [`EntityState::moved`].
    pub fn next_move(&mut self) -> Option<(RowChange, T)> {
        if self.moving {
            return None;
        }
        let next = self.moves.pop_front();
        self.moving = next.is_some();
        next
    }

    /// Ends the move in hand, however it was judged in the end: its jobs go out, written or not (N2).
    pub fn moved(&mut self, change: &RowChange, ticket: T, lines: &[Line]) -> Batch<T> {
        self.moving = false;
        let mut batch = Batch::default();
        batch.add(change, ticket, lines);
        batch
    }

    /// N3: drops what is remembered, on a rewind, a loss in the row store, a partition that leaves. Work in hand stays.
    pub fn forget(&mut self) {
        self.known.clear();
        self.doubted = true;
    }

    /// Nothing waits, flies or moves: it may be passivated.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.flying.is_none() && self.moves.is_empty() && !self.moving
    }

    /// Tickets in hand, those of a move in the caller's hands left out.
    pub fn open_tickets(&self) -> usize {
        let flying = self.flying.as_ref().map_or(0, |b| b.batch.tickets.len());
        self.pending.batch.tickets.len() + flying + self.moves.len()
    }

    /// Table rows whose acknowledged stamps are remembered; at most [`PARTS_MAX`].
    pub fn remembered(&self) -> usize {
        self.known.len()
    }

    /// About how much memory it holds (N3).
    pub fn bytes(&self) -> usize {
        let moves: usize = self.moves.iter().map(|(change, _)| size_of_val(change) + bytes_of(&change.effect)).sum();
        size_of::<Self>()
            + self.known.bytes()
            + bytes_of_work(self.pending.change.as_deref(), &self.pending.batch)
            + self.flying.as_ref().map_or(0, |f| bytes_of_work(Some(&f.change), &f.batch))
            + moves
    }
}

impl<T> Default for Bundle<T> {
    fn default() -> Self {
        Self { change: None, batch: Batch::default() }
    }
}

impl<T> Bundle<T> {
    fn is_empty(&self) -> bool {
        self.change.is_none() && self.batch.tickets.is_empty()
    }

    /// Merges a change into the write (M4, M5, M7).
    fn merge(&mut self, change: RowChange, now: Millis) {
        let tombstone = |stamp: Stamp| Tombstone { stamp, written: now, revoked: false };
        let (tombstone, cells) = match change.effect {
            Effect::Put { image, reborn } => {
                // C3: just below, so that columns the insert leaves out do not survive. Below stamp 0 nothing can lie, and
                // a tombstone there would add no weight (V4).
                (
                    (reborn && change.stamp > Stamp(0)).then(|| tombstone(change.stamp.before())),
                    Cells::of_image(image, change.stamp),
                )
            }
            Effect::Delete => (Some(tombstone(change.stamp)), Cells::default()),
            Effect::MoveOut(_) => return,
        };
        let coming = Part { id: change.part, tombstone, cells };
        let row = Arc::make_mut(self.change.get_or_insert_default());
        if row.keys.is_empty() {
            row.keys = change.keys;
        }
        match row.parts.binary_search_by(|held| held.id.cmp(&coming.id)) {
            Ok(at) => row.base += i64::from(row.parts[at].merge(&coming)),
            Err(at) => row.parts.insert(at, coming),
        }
    }

    /// Puts older work under this one: of equal stamps the later write still wins (M4).
    fn put_behind(&mut self, older: Flight<T>) {
        let Flight { mut change, batch } = older;
        let newer = std::mem::take(self);
        if let Some(newer) = &newer.change {
            Arc::make_mut(&mut change).merge(newer);
        }
        *self = Self { change: Some(change), batch };
        for offer in newer.batch.offers {
            self.batch.offer(offer);
        }
        self.batch.tickets.extend(newer.batch.tickets);
    }
}

impl<T> Batch<T> {
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty() && self.tickets.is_empty()
    }

    fn add(&mut self, change: &RowChange, ticket: T, lines: &[Line]) {
        self.tickets.push(ticket);
        for line in lines {
            let Some(wanted) = line.wants(&change.touched) else { continue };
            let load =
                Load { oldest: change.at, newest: change.at, logged: change.logged, types: wanted.types, ..Load::default() };
            let key = JobKey { line: line.name, row: change.row.key.clone() };
            self.offer(Offer { key, lane: wanted.lane, load });
        }
    }

    /// One offer per line: the more urgent lane, both loads (J4).
    fn offer(&mut self, coming: Offer) {
        match self.offers.iter_mut().find(|held| held.key.line == coming.key.line) {
            Some(held) => {
                held.lane = held.lane.raised_to(coming.lane);
                held.load.absorb(&coming.load);
            }
            None => self.offers.push(coming),
        }
    }
}

fn bytes_of_work<T>(change: Option<&WideRow>, batch: &Batch<T>) -> usize {
    let part =
        |p: &Part| size_of::<Part>() + p.id.child.len() + p.cells.text_bytes() + p.cells.len() * size_of::<(u64, u64, u64)>();
    let row = |row: &WideRow| size_of::<WideRow>() + row.parts.iter().map(part).sum::<usize>() + row.keys.text_bytes();
    change.map_or(0, row) + batch.offers.len() * size_of::<Offer>() + batch.tickets.len() * size_of::<T>()
}

fn bytes_of(effect: &Effect) -> usize {
    match effect {
        Effect::Put { image, .. } => image.text_bytes(),
        Effect::Delete => 0,
        Effect::MoveOut(out) => out.before.text_bytes() + out.mark.len(),
    }
}

#[cfg(test)]
mod tests;
