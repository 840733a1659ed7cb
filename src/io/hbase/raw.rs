//! A row as an ordinary read shows it, from cells that were read raw.
//!
//! A region server that meets an older version behind the newest one looks for the next column by a search through each part
//! of its memory (`StoreScanner.seekAsDirection`), column by column. A raw read may bring some versions, and passes over those instead. Knows nothing of servers.

use super::cell::{Cell, CellType};
use super::types::Get;

/// Puts that a raw read brings of a column: what lies beyond is searched over.
const VERSIONS_MAX: u32 = 3;

/// The raw read in place of an ordinary one.
pub fn of(get: Get) -> Get {
    Get { raw: true, max_versions: VERSIONS_MAX, ..get }
}

/// The newest cell of each column that is not hidden; `None` where that cannot be told from these cells, and an ordinary read
/// must be asked. `cells` is what one raw read brought of whole families: columns together, of each the highest timestamp
/// first, and of equal ones the marker, then the later write.
///
/// Only the markers of a purge are understood, which hide their column at and below their timestamp: such a column shows what
/// comes before its first one. Others are the work of strangers.
pub fn shown(mut cells: Vec<Cell>) -> Option<Vec<Cell>> {
    if !cells.iter().all(|cell| matches!(cell.kind, CellType::Put | CellType::DeleteColumn)) {
        return None;
    }
    cells.dedup_by(|cell, first| cell.qualifier == first.qualifier && cell.family == first.family);
    cells.retain(|cell| cell.kind == CellType::Put);
    Some(cells)
}
