//! The world behind the doors: one client crate each, and the same doors in memory.

#[cfg(feature = "redis")]
pub mod asynq;
pub mod breadcrumbs;
#[cfg(any(feature = "elasticsearch", feature = "hbase", feature = "mysql", feature = "redis"))]
pub mod clients;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
pub mod embedded;
mod feed;
pub mod generator;
#[cfg(feature = "hbase")]
pub mod hbase;
pub mod jobbook;
pub mod jsonl;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
pub mod kafka_sink;
mod locking;
pub mod memory;
#[cfg(feature = "mysql")]
pub mod mysql;
pub mod print;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_sink;
mod rowmerge;
pub mod shared_notes;
