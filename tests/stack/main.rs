//! Tests on real components. `./dev test` fetches what they need; each server is private to this process and ends with it.

// One contract body runs in several places of this binary, each with a `place` of its own.
#![allow(clippy::duplicate_mod)]

/// The queue on Redis with asynq's own tools, under faults and under load.
#[cfg(feature = "redis")]
mod asynq;
/// Jobs on Redis, delivered by a whole node.
mod delivery;
/// Topics of a real Kafka under faults.
mod kafka;
/// Notices on Kafka.
mod kafka_sink;
/// The ledger's database under TLS.
mod mysql_tls;
/// Documents in Redis: K1, K3.
mod redis_sink;
/// Documents in Elasticsearch: K1, K2, K7.
mod search;
/// Starts servers; other test binaries include it too.
mod servers;
/// Every kind of server starts, is used for real, and keeps its data over a crash.
mod smoke;
/// The shop, its oracle and the real binary in a folder.
#[path = "../it/world/mod.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod world;
