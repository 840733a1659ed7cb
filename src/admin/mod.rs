//! The admin endpoint, its client, and the answers both give.

pub mod answers;
pub mod client;
pub mod desk;
pub mod mapping;
mod page;
pub mod pulse;
pub mod runs;
pub mod server;
