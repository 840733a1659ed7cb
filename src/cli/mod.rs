//! The command line: what a user types, and what the process says when it ends.

pub mod args;
pub mod config;
pub mod exit;
pub mod findings;
pub mod run;
mod values;

use std::io::Write;

/// Tells a wrong use that clap could not see.
pub fn usage(error: &dyn std::error::Error) -> exit::Exit {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    exit::Exit::Usage
}
