//! From arguments to an exit code.

use clap::Parser;
use std::process::ExitCode;
use widerow::cli::args::{Cli, Verb};
use widerow::cli::exit::Exit;
use widerow::{cli, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let typed = Cli::parse();
    #[cfg(debug_assertions)]
    if !cli::script_steps() {
        return Exit::Usage.into();
    }
    if let Err(error) = telemetry::init_log(typed.log_level(), typed.global.log_format.into()) {
        return cli::usage(&error).into();
    }
    let global = &typed.global;
    let exit: Exit = match &typed.verb {
        Verb::Run(args) => cli::run::run(args, async |_, _| Ok(())),
        Verb::Check(args) => cli::check::run(args, global),
        Verb::Config(args) => cli::config::run(args, global),
        Verb::Row(args) => cli::row::run(args, global),
        Verb::Doc(args) => cli::doc::run(args, global),
        Verb::DeadLetter(args) => cli::dead_letter::run(args, global),
        Verb::Job(args) => cli::job::run(args, global),
        Verb::Lanes(args) => cli::lanes::run(args, global),
        Verb::Rebuild(_) | Verb::Purge(_) => Exit::Usage,
        Verb::Actors(args) => cli::actors::run(args, global),
        Verb::Partitions(args) => cli::partitions::run(args, global),
        Verb::Generate(args) => cli::generate::run(args, global),
        Verb::Demo(args) => cli::demo::run(args, global, async |_, _, _| Ok(())),
        Verb::Completion(args) => cli::completion::run(args),
        Verb::Version => cli::version::run(global),
    };
    exit.into()
}
