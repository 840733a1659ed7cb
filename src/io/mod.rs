//! The world behind the doors: one client crate each, and the same doors in memory.

pub mod embedded;
pub mod jobbook;
pub mod memory;
