//! Contract tests: one body per promise of a port, run on every store that makes it, so that a fake cannot drift from
//! the real thing.
//!
//! - `rows`: merge, versions, checked writes, purge, scans, values beside the rows
//! - `writes`: what order, doubling and a store's own upkeep must not change
//! - `hbase`: crashes in each WAL mode, misfortune by chance, on the fake and on real servers
//! - `queue`: J1–J10 and K5
//! - `model`: random histories of the queue against "every offer is followed by a take that starts later" (I7)
//! - `sinks`: versions, deletes, lists
//! - `ledger`: dead letters once per position, notes
//! - `durability`: the embedded store alone: reopening, kill -9, refusals, damage, a full disk

#[path = "../support/fake_hbase/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries, each of which uses a part")]
mod fake_hbase;
#[path = "../support/peer.rs"]
mod peer;
#[path = "../stack/servers.rs"]
mod servers;

mod durability;
mod hbase;
mod ledger;
mod model;
mod place;
mod queue;
mod row_place;
mod rows;
mod sinks;
mod writes;
