//! From arguments to an exit code.

#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;
use widerow::cli::args::{Cli, Verb};
use widerow::cli::exit::Exit;
use widerow::telemetry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(debug_assertions)]
    if !widerow::cli::script_steps() {
        return Exit::Usage.into();
    }
    if let Err(error) = telemetry::init_log(&cli.global.log, cli.global.log_format.into()) {
        return widerow::cli::usage(&error).into();
    }
    let exit: Exit = match &cli.verb {
        Verb::Run(args) => widerow::cli::run::run(args, async |_, _| Ok(())),
        _ => Exit::Usage,
    };
    exit.into()
}
