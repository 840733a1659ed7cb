//! Tests on real components. `./dev test` fetches what they need; each server is private to this process and ends with it.

/// Topics of a real Kafka under faults.
mod kafka;
/// Starts servers; other test binaries include it too.
mod servers;
/// Every kind of server starts, is used for real, and keeps its data over a crash.
mod smoke;
/// The shop, its oracle and the real binary in a folder.
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod world;
