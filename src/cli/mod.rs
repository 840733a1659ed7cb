//! The command line: what a user types, and what the process says when it ends.

pub mod actors;
pub mod args;
mod ask;
pub mod check;
pub mod completion;
pub mod config;
pub mod dead_letter;
pub mod demo;
pub mod doc;
pub mod epoch;
pub mod exit;
pub mod findings;
mod follow;
pub mod generate;
pub mod job;
pub mod lanes;
mod notify;
mod offline;
mod out;
pub mod partitions;
mod progress;
pub mod purge;
pub mod rebuild;
mod reference;
pub mod row;
pub mod run;
mod table;
pub mod tap;
pub mod top;
mod values;
pub mod version;

use std::io::Write;

/// Tells a wrong use that clap could not see.
pub fn usage(error: &dyn std::error::Error) -> exit::Exit {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    exit::Exit::Usage
}

/// Hands the developer's build the step at which it shall die (`domain/steps.rs`); `false` for a text that names none.
#[cfg(debug_assertions)]
pub fn script_steps() -> bool {
    std::env::var("WIDEROW_STEP").map_or(true, |script| crate::domain::steps::script(&script))
}
