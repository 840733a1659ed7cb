//! Maps whose keys are looked up for every event: names, row keys, jobs.
//!
//! The standard hasher withstands crafted keys at about 20 ns a look-up. This one is seeded per process as well, at a
//! few; whoever could send keys that collide in it would already have to write to the database.

use std::collections::HashMap;

/// A hash map for the hot way. Made with `QuickMap::default()`.
pub type QuickMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
