//! C5's careful half: a row left its old key in a message whose stamp does not compare with the old row's cells.

use crate::domain::change::{Image, Value};
use crate::domain::ids::Millis;
use crate::domain::route::{Effect, RowChange};
use crate::domain::row::{Part, Tombstone, WideRow};
use crate::domain::schema::VersionKind;
use crate::domain::write::{CheckedWrite, RowWrite};

/// What to do about a move, by one read of the old row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveVerdict {
    /// The mark says so: nothing is written, the jobs still go out (N2).
    AlreadyDone,
    /// The old row is as the move left it: tombstone and mark in one checked write, always synced.
    Write(CheckedWrite),
    /// Not as the move left it: changes that come through another partition are still on their way. Read again later.
    NotYet,
}

/// Judges a [`Effect::MoveOut`] by the row as one read saw it. `last`: nobody will look again. Another effect needs no
/// judgement: `AlreadyDone`.
pub fn judge_move(row: Option<&WideRow>, change: &RowChange, version: VersionKind, now: Millis, last: bool) -> MoveVerdict {
    let Effect::MoveOut(out) = &change.effect else { return MoveVerdict::AlreadyDone };
    let Some(row) = row else { return MoveVerdict::NotYet };
    if row.mark(&out.mark).is_some_and(|done| done >= change.stamp) {
        return MoveVerdict::AlreadyDone;
    }
    let Some(part) = row.part(&change.part).filter(|part| part.is_alive() && holds(part, &out.before, last)) else {
        return MoveVerdict::NotYet;
    };
    let Some(highest) = part.highest() else { return MoveVerdict::NotYet };
    let mut delta = WideRow { keys: change.keys.clone(), marks: vec![(out.mark.clone(), change.stamp)], ..WideRow::default() };
    match version {
        VersionKind::Counter => delta.counter = 1,
        // A revoked tombstone at this very stamp already has its weight: only the base can raise the version (V4).
        VersionKind::Weight => delta.base = i64::from(part.tombstone.is_some_and(|t| t.stamp == highest)),
    }
    let tombstone = Tombstone { stamp: highest, written: now, revoked: false };
    delta.parts.push(Part { tombstone: Some(tombstone), ..Part::new(change.part.clone()) });
    let write = RowWrite { row: change.row.clone(), change: delta.into() };
    MoveVerdict::Write(CheckedWrite { write, part: change.part.clone(), highest: Some(highest) })
}

/// Whether the living cells equal the image in every column it tells. A column without a cell was added after the row was
/// told last: ALTER gave it a null, or a default that no change tells of. A null it may be at once; what else it is counts
/// only when waiting is over, as a change that tells of it may still be on its way.
fn holds(part: &Part, before: &Image, last: bool) -> bool {
    before.iter().all(|(name, value)| {
        let untold = part.cells.get(name).is_none() && (last || value == Value::Null);
        untold || part.value(name) == value
    })
}
