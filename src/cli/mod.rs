//! The command line: what a user types, and what the process says when it ends.

pub mod args;
pub mod config;
pub mod exit;
pub mod findings;
mod values;
