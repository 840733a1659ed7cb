//! From a table's change to its entities' changes: row keys, key changes, moves, folding.
//!
//! Keeps C3 (fold per table row), C4 (changed columns are ours), C5 (a changed key is a delete and an upsert), E1, E2
//! and M8 (which stamp), M1 (child keys), M9 (key columns travel). Knows nothing of actors or stores.

use super::change::{Before, Change, Image, Op, Rows, Snapshot, Value};
use super::decode::{BadReason, BadRecord};
use super::ids::{Epoch, Millis, Name, Partition, RowId, RowKey, Stamp};
use super::quick::QuickMap;
use super::row::{Keys, PartId, child_key, moved_mark};
use super::schema::{KindTable, RowKind, Schema};
use smallvec::SmallVec;
use std::collections::hash_map::Entry;

/// What a source says of its stamps (E2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StampKind {
    #[default]
    Offset,
    /// Binlog file number × 2^32 + position.
    Position,
    /// A number the application itself counts up.
    Column(Name),
}

/// By what a source's topics are keyed (C5).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum PartitionedBy {
    #[default]
    PrimaryKey,
    Columns(Vec<Name>),
}

/// How one source's changes are routed.
#[derive(Clone, Debug, Default)]
pub struct RouteSettings {
    pub stamp: StampKind,
    pub partitioned_by: PartitionedBy,
}

/// Where a record came from, as far as routing must know.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub partition: Partition,
    /// Partitions of the topic.
    pub partitions: u32,
    pub epoch: Epoch,
    pub offset: i64,
    /// The log's own time of the record.
    pub logged: Option<Millis>,
}

/// One change of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    pub row: RowId,
    pub part: PartId,
    pub stamp: Stamp,
    pub effect: Effect,
    /// M9: the key columns' values.
    pub keys: Keys,
    pub touched: Touched,
    pub at: Option<Millis>,
    /// The log's own time of the record, for stage delays.
    pub logged: Option<Millis>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Every column of the after image (M7). `reborn`: a delete of the same key came just before it in the record (C3).
    Put {
        image: Image,
        reborn: bool,
    },
    Delete,
    /// C5: the old half of a key change whose stamp does not compare with the old row's cells.
    MoveOut(Box<MoveOut>),
}

/// What the read, check and mark of C5 need.
#[derive(Clone, Debug, PartialEq)]
pub struct MoveOut {
    /// The cells must equal this image before the tombstone goes in.
    pub before: Image,
    /// The mark's name: `moved:<table>:<old key>:<partition>`.
    pub mark: String,
}

/// What a change touched, for the lines (C4).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Touched {
    pub table: Option<Name>,
    /// Every column counts as changed.
    pub all: bool,
    pub columns: SmallVec<[Name; 8]>,
    /// An insert, delete or move of a root row: concerns every line whatever its `when`.
    pub life: bool,
    /// The insert of a root row, not by a snapshot.
    pub first_seen: bool,
    pub snapshot: bool,
}

/// Routes one record's changes and folds them per entity and table row, in record order (C3).
///
/// # Errors
/// A key or stamp column that is missing or null: the whole record is a dead letter (C7).
pub fn route(
    changes: impl IntoIterator<Item = Change>,
    origin: &Origin,
    settings: &RouteSettings,
    schema: &Schema,
) -> Result<Vec<RowChange>, BadRecord> {
    let mut routed = Vec::new();
    route_into(&mut routed, changes, origin, settings, schema)?;
    Ok(routed)
}

/// As [`route`], into a list whose room is used again from record to record; what was in it goes.
///
/// # Errors
/// As [`route`]; what is in the list then means nothing.
pub fn route_into(
    routed: &mut Vec<RowChange>,
    changes: impl IntoIterator<Item = Change>,
    origin: &Origin,
    settings: &RouteSettings,
    schema: &Schema,
) -> Result<(), BadRecord> {
    routed.clear();
    let mut folded = Folded { changes: routed, places: QuickMap::default() };
    for change in changes {
        let mut uses = schema.uses(change.table).map(|(kind, index)| Target { kind, table: &kind.tables[index], index });
        let Some(mut target) = uses.next() else { continue };
        for next in uses {
            target.route(change.clone(), origin, settings, &mut |routed| folded.add(routed))?;
            target = next;
        }
        target.route(change, origin, settings, &mut |routed| folded.add(routed))?;
    }
    Ok(())
}

/// One row kind's use of the changed table.
struct Target<'a> {
    kind: &'a RowKind,
    table: &'a KindTable,
    index: usize,
}

/// Where a table row's image belongs.
struct Place {
    row: RowId,
    part: PartId,
    keys: Keys,
}

impl Target<'_> {
    fn route(
        &self,
        change: Change,
        origin: &Origin,
        settings: &RouteSettings,
        emit: &mut impl FnMut(RowChange),
    ) -> Result<(), BadRecord> {
        let Change { table: _, op, rows, at, binlog } = change;
        let leaves = |place: Place, stamp, effect| RowChange { at, logged: origin.logged, ..self.delete(place, stamp, effect) };
        let (after, before) = match rows {
            Rows::Written(after, before) => (after, before),
            Rows::Deleted(row) => {
                let row = row.ok_or_else(|| {
                    BadRecord::new(BadReason::Malformed, "a delete without the deleted row: neither before nor after image")
                })?;
                let stamp = stamp_of(op, binlog, &row, origin, settings)?;
                emit(leaves(self.place(&row)?, stamp, Effect::Delete));
                return Ok(());
            }
        };
        let stamp = stamp_of(op, binlog, &after, origin, settings)?;
        let new = self.place(&after)?;
        let mut moved = false;
        if let Some(differs) = &before
            && self.table.id.iter().chain(&self.table.route).any(|column| differs.differs(*column))
        {
            let row = differs.whole(&after);
            let old = self.place(&row)?;
            if old.row != new.row || old.part != new.part {
                moved = true;
                emit(leaves(old, stamp, self.leave(row, differs, origin, settings)));
            }
        }
        let insert = matches!(op, Op::Insert | Op::Snapshot(_));
        let life = self.kind.is_root(self.index) && (insert || moved || before.is_none());
        let snapshot = matches!(op, Op::Snapshot(_));
        let mut touched = Touched { table: Some(self.table.short), life, snapshot, ..Touched::default() };
        touched.first_seen = self.kind.is_root(self.index) && op == Op::Insert;
        match &before {
            Some(before) if !insert && !moved => touched.columns = before.changed(&after),
            _ => touched.all = true,
        }
        let effect = Effect::Put { image: after, reborn: false };
        let (row, part, keys) = (new.row, new.part, new.keys);
        emit(RowChange { row, part, stamp, effect, keys, touched, at, logged: origin.logged });
        Ok(())
    }

    fn delete(&self, place: Place, stamp: Stamp, effect: Effect) -> RowChange {
        let life = self.kind.is_root(self.index);
        let touched = Touched { table: Some(self.table.short), all: true, life, ..Touched::default() };
        RowChange { row: place.row, part: place.part, stamp, effect, keys: place.keys, touched, at: None, logged: None }
    }

    /// C5: whether the delete under the old key may take the message's own stamp.
    fn leave(&self, row: Image, differs: &Before, origin: &Origin, settings: &RouteSettings) -> Effect {
        let other_partition = match &settings.partitioned_by {
            PartitionedBy::PrimaryKey => self.table.id.iter().any(|column| differs.differs(*column)),
            PartitionedBy::Columns(columns) => columns.iter().any(|column| differs.differs(*column)),
        };
        if origin.partitions <= 1 || !other_partition || settings.stamp != StampKind::Offset {
            return Effect::Delete;
        }
        let key = child_key(self.table.id.iter().map(|c| row.get(*c).text().unwrap_or_default()));
        let mark = moved_mark(self.table.short, &key, origin.partition.number);
        Effect::MoveOut(Box::new(MoveOut { before: row, mark }))
    }

    fn place(&self, image: &Image) -> Result<Place, BadRecord> {
        let missing = |column: Name| {
            let found = if image.get(column) == Value::Null { "null" } else { "missing" };
            BadRecord::new(
                BadReason::MissingKey,
                format!(
                    "table `{}` needs column `{column}` for row kind `{}`, and it is {found}",
                    self.table.short, self.kind.name
                ),
            )
        };
        let mut told = SmallVec::<[(Name, &str); 4]>::new();
        for (key_column, column) in self.kind.key_columns.iter().zip(&self.table.route) {
            told.push((*key_column, image.get(*column).text().ok_or_else(|| missing(*column))?));
        }
        let child = if self.table.single {
            "".into()
        } else {
            for column in &self.table.id {
                image.get(*column).text().ok_or_else(|| missing(*column))?;
            }
            child_key(self.table.id.iter().filter_map(|c| image.get(*c).text()))
        };
        let text = |column| told.iter().rfind(|(name, _)| *name == column).map(|(_, text)| *text);
        let key = self.kind.key.rendered(text, RowKey::new).map_err(missing)?;
        if key.as_str().is_empty() {
            return Err(BadRecord::new(BadReason::MissingKey, format!("the row key of kind `{}` is empty", self.kind.name)));
        }
        let keys = Keys::beside(&key, told);
        let row = RowId { kind: self.kind.name, key };
        Ok(Place { row, part: PartId { table: self.table.short, child }, keys })
    }
}

/// E1, E2, M8.
fn stamp_of(op: Op, binlog: Option<i64>, row: &Image, origin: &Origin, settings: &RouteSettings) -> Result<Stamp, BadRecord> {
    if op == Op::Snapshot(Snapshot::Fill) {
        return Ok(Stamp::of_fill(origin.epoch));
    }
    match settings.stamp {
        StampKind::Offset => Ok(Stamp::of_offset(origin.epoch, origin.offset)),
        StampKind::Position => binlog.map(|p| Stamp::of_position(origin.epoch, p)).ok_or_else(|| {
            BadRecord::new(BadReason::Malformed, "`stamp: position` needs the binlog file and position, which this record lacks")
        }),
        StampKind::Column(column) => {
            let text = row.get(column).text();
            let number = text.and_then(|t| t.parse::<i64>().ok()).filter(|n| (0..Stamp::POSITIONS).contains(n));
            number.map(|n| Stamp::of_position(origin.epoch, n)).ok_or_else(|| {
                let found = text.map_or_else(|| "nothing".to_owned(), |t| format!("`{t}`"));
                BadRecord::new(BadReason::BadValue, format!("stamp column `{column}` holds {found}; allowed: 0 to 2^44 - 1"))
            })
        }
    }
}

/// C3: one record's changes, one per table row, in the order in which the rows first came.
struct Folded<'a> {
    changes: &'a mut Vec<RowChange>,
    /// Where each table row stands, once there are too many to look through: a record may hold thousands of rows.
    places: QuickMap<(RowId, PartId), usize>,
}

/// Changes that are looked through one by one; nearly every record has fewer.
const SCANNED_MAX: usize = 16;

impl Folded<'_> {
    fn add(&mut self, coming: RowChange) {
        match self.place(&coming) {
            Some(at) => self.changes[at].fold(coming),
            None => self.changes.push(coming),
        }
    }

    /// Where the table row stands already; one that does not is expected to be pushed next.
    fn place(&mut self, coming: &RowChange) -> Option<usize> {
        if self.changes.len() < SCANNED_MAX {
            return self.changes.iter().position(|held| held.part == coming.part && held.row == coming.row);
        }
        if self.places.is_empty() {
            let ids = self.changes.iter().map(|held| (held.row.clone(), held.part.clone()));
            self.places = ids.zip(0..).collect();
        }
        match self.places.entry((coming.row.clone(), coming.part.clone())) {
            Entry::Occupied(held) => Some(*held.get()),
            Entry::Vacant(free) => {
                free.insert(self.changes.len());
                None
            }
        }
    }
}

impl RowChange {
    /// C3: a later change of the same table row in the same record.
    fn fold(&mut self, coming: RowChange) {
        self.touched.absorb(&coming.touched);
        self.stamp = self.stamp.max(coming.stamp);
        self.at = self.at.max(coming.at);
        let was = std::mem::replace(&mut self.effect, Effect::Delete);
        self.effect = match (was, coming.effect) {
            (Effect::Put { image, reborn }, Effect::Put { image: newer, .. }) => {
                Effect::Put { image: image.overlaid(&newer), reborn }
            }
            (Effect::Delete | Effect::MoveOut(_), Effect::Put { image, .. }) => Effect::Put { image, reborn: true },
            // A put of this very record stands in between, so the old half compares by stamp again.
            (_, Effect::Delete | Effect::MoveOut(_)) => Effect::Delete,
        };
    }
}

impl Touched {
    pub fn absorb(&mut self, other: &Self) {
        self.table = self.table.or(other.table);
        self.all |= other.all;
        self.life |= other.life;
        self.first_seen |= other.first_seen;
        self.snapshot &= other.snapshot;
        for column in &other.columns {
            if !self.columns.contains(column) {
                self.columns.push(*column);
            }
        }
    }
}

#[cfg(test)]
mod tests;
