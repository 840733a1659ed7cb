//! Maps whose keys are looked up for every event: names, row keys, jobs.
//!
//! The standard hasher withstands crafted keys at about 20 ns a look-up. This one is seeded per process as well, at a
//! few; whoever could send keys that collide in it would already have to write to the database.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

/// A hash map for the hot way. Made with `QuickMap::default()`.
pub type QuickMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The same for a set.
pub type QuickSet<K> = HashSet<K, foldhash::fast::RandomState>;

/// A text's hash that is the same in every process, for what is hashed once and looked up often. Maps put their own seed on
/// top of it.
pub fn hash_of(text: &str) -> u64 {
    foldhash::quality::FixedState::with_seed(0).hash_one(text)
}
