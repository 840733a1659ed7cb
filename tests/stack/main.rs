//! Tests on real components. `./dev test` fetches what they need; each server is private to this process and ends with it.

/// Starts servers; other test binaries include it too.
mod servers;
/// Every kind of server starts, is used for real, and keeps its data over a crash.
mod smoke;
