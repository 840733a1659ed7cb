//! The command line: what a user types, and what the process says when it ends.

pub mod args;
pub mod exit;
mod values;
