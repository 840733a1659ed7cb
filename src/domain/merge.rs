//! Which cell wins, and nothing else (M4). Every store and the oracle of the tests use this file.

use super::ids::Stamp;

/// Last stamp wins; of equal stamps the later write (M4: they carry equal values, repairs, second fills and tombstones' times apart).
pub fn wins(held: Stamp, coming: Stamp) -> bool {
    coming >= held
}

/// M5: a cell is dead when it does not lie above its table row's tombstone.
pub fn is_dead(cell: Stamp, tombstone: Option<Stamp>) -> bool {
    tombstone.is_some_and(|t| cell <= t)
}
