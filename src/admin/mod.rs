//! The admin endpoint, its client, and the answers both give.

pub mod answers;
pub mod client;
pub mod mapping;
pub mod runs;
