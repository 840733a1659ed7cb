//! Contract tests: one body per promise of a port, run on every store that makes it, so that a fake cannot drift from
//! the real thing.
//!
//! - `rows`: merge, versions, checked writes, purge, scans, values beside the rows
//! - `queue`: J1–J10 and K5
//! - `model`: random histories of the queue against "every offer is followed by a take that starts later" (I7)
//! - `sinks`: versions, deletes, lists
//! - `ledger`: dead letters once per position, notes
//! - `durability`: the embedded store alone: reopening, kill -9, refusals, damage, a full disk

mod durability;
mod ledger;
mod model;
mod place;
mod queue;
mod rows;
#[cfg(feature = "redis")]
#[path = "../stack/servers.rs"]
mod servers;
mod sinks;
