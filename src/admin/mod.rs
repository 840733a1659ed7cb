//! The admin endpoint, its client, and the answers both give.

pub mod answers;
pub mod client;
pub mod desk;
mod page;
pub mod pulse;
pub mod runs;
pub mod server;
