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

/// Hands the developer's build the step at which it shall die (`domain/steps.rs`); `false` for a text that names none.
#[cfg(debug_assertions)]
pub fn script_steps() -> bool {
    std::env::var("WIDEROW_STEP").map_or(true, |script| crate::domain::steps::script(&script))
}
