//! The admin endpoint, its client, and the answers both give.

pub mod runs;
