//! The world behind the doors: one client crate each, and the same doors in memory.

#[cfg(any(feature = "elasticsearch", feature = "hbase", feature = "redis"))]
pub mod clients;
pub mod embedded;
mod feed;
pub mod generator;
pub mod jobbook;
pub mod jsonl;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod print;
mod rowmerge;
