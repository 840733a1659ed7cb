//! What an entity remembers of acknowledged writes (N2, N3): a cache, bounded, dropped at any doubt.

use crate::domain::ids::Stamp;
use crate::domain::route::{Effect, RowChange};
use crate::domain::row::{PartId, WideRow};
use smallvec::SmallVec;

/// Table rows one entity remembers at most (N3); the one written longest ago gives way.
pub const PARTS_MAX: usize = 1024;

/// Cells and tombstones are remembered apart: an application's own version column (E2) gives a delete the stamp of the
/// row's last put, and that delete is not written yet.
#[derive(Clone, Debug)]
struct Acked {
    part: PartId,
    cells: Option<Stamp>,
    tombstone: Option<Stamp>,
    /// When it was last written, counted in writes.
    used: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Sorted by part. Nearly every entity has one.
    parts: SmallVec<[Acked; 1]>,
    writes: u64,
    bytes: usize,
}

impl Known {
    /// N2: whether everything this change would write is known to be written. Fills never are: a second fill of other
    /// values has the same stamp (M8).
    pub fn covers(&self, change: &RowChange) -> bool {
        let Some(acked) = self.find(&change.part).ok().map(|at| &self.parts[at]) else { return false };
        let has = |held: Option<Stamp>, stamp: Stamp| held.is_some_and(|held| stamp <= held);
        match &change.effect {
            _ if change.stamp.is_fill() => false,
            Effect::Put { reborn, .. } => {
                has(acked.cells, change.stamp) && (!reborn || has(acked.tombstone, change.stamp.before()))
            }
            Effect::Delete => has(acked.tombstone, change.stamp),
            Effect::MoveOut(_) => false,
        }
    }

    /// Takes note of an acknowledged write.
    pub fn note(&mut self, written: &WideRow) {
        self.writes += 1;
        for part in &written.parts {
            let cells = part.cells.highest().filter(|stamp| !stamp.is_fill());
            let tombstone = part.tombstone.map(|t| t.stamp);
            let at = match self.find(&part.id) {
                Ok(at) => at,
                Err(_) => self.insert(&part.id),
            };
            let acked = &mut self.parts[at];
            acked.cells = acked.cells.max(cells);
            acked.tombstone = acked.tombstone.max(tombstone);
            acked.used = self.writes;
        }
    }

    fn find(&self, part: &PartId) -> Result<usize, usize> {
        self.parts.binary_search_by(|known| known.part.cmp(part))
    }

    fn insert(&mut self, part: &PartId) -> usize {
        if self.parts.len() >= PARTS_MAX
            && let Some((oldest, _)) = self.parts.iter().enumerate().min_by_key(|(_, known)| known.used)
        {
            self.bytes -= bytes_of(&self.parts.remove(oldest).part);
        }
        let at = self.find(part).unwrap_or_else(|at| at);
        self.bytes += bytes_of(part);
        self.parts.insert(at, Acked { part: part.clone(), cells: None, tombstone: None, used: 0 });
        at
    }

    pub fn clear(&mut self) {
        self.parts = SmallVec::new();
        self.bytes = 0;
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(part: &PartId) -> usize {
    size_of::<Acked>() + part.child.len()
}
