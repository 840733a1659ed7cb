//! `completion SHELL`: a script that completes verbs, flags and their values.

use super::args::{Cli, Completion};
use super::exit::Exit;
use super::out;
use clap::CommandFactory;

/// Runs the verb.
pub fn run(args: &Completion) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "widerow", &mut script);
    out::print(&String::from_utf8_lossy(&script));
    Exit::Fine
}
