//! From arguments to an exit code. A node gets its admin endpoint here, the one place that knows both.

#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use widerow::admin::answers::{EntityAnswer, EntityLook, Office};
use widerow::admin::server::{self, Wires};
use widerow::cli;
use widerow::cli::args::{Cli, Verb};
use widerow::cli::exit::Exit;
use widerow::settings::{Origin, Settings};
use widerow::supervisor::{Engine, wiring};
use widerow::telemetry::{self, Metrics};

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
    let metrics = match telemetry::install() {
        Ok(metrics) => metrics,
        Err(error) => return cli::usage(&error).into(),
    };
    let admin = async |engine: &Engine, settings: &Arc<Settings>, origin: Origin| {
        let started = server::start(office(engine, settings, origin), wires(engine, metrics));
        started.inspect(|server| tracing::info!(url = server.url(), "admin endpoint"))
    };
    let global = &typed.global;
    let exit: Exit = match &typed.verb {
        Verb::Run(args) => cli::run::run(args, admin),
        Verb::Check(args) => cli::check::run(args, global),
        Verb::Config(args) => cli::config::run(args, global),
        Verb::Row(args) => cli::row::run(args, global),
        Verb::Doc(args) => cli::doc::run(args, global),
        Verb::DeadLetter(args) => cli::dead_letter::run(args, global),
        Verb::Job(args) => cli::job::run(args, global),
        Verb::Lanes(args) => cli::lanes::run(args, global),
        Verb::Rebuild(args) => cli::rebuild::run(args, global),
        Verb::Purge(args) => cli::purge::run(args, global),
        Verb::Actors(args) => cli::actors::run(args, global),
        Verb::Partitions(args) => cli::partitions::run(args, global),
        Verb::Top(args) => cli::top::run(args, global),
        Verb::Tap(args) => cli::tap::run(args, global),
        Verb::Epoch(args) => cli::epoch::run(args, global),
        Verb::Generate(args) => cli::generate::run(args, global),
        Verb::Demo(args) => cli::demo::run(args, global, admin),
        Verb::Completion(args) => cli::completion::run(args),
        Verb::Version => cli::version::run(global),
    };
    exit.into()
}

/// Where a running node's questions are answered.
fn office(engine: &Engine, settings: &Arc<Settings>, origin: Origin) -> Office {
    let directory = Arc::clone(engine.directory());
    let entity: EntityLook = Arc::new(move |row| {
        let (idle, bytes, messages, last) = directory.look(row)?;
        Some(EntityAnswer { idle, bytes: bytes as u64, messages, last: last.0 })
    });
    Office::new(Arc::clone(settings), engine.doors.clone(), wiring::clock)
        .with_origin(Some(origin))
        .with_node(Arc::clone(&engine.skip_equal), entity)
        .with_lives(wiring::topic_lives(settings, &engine.doors))
}

/// What the endpoint asks of a running node.
fn wires(engine: &Engine, metrics: Metrics) -> Wires {
    let (look, command) = (engine.look_recipient(), engine.command_recipient());
    Wires { look, command, metrics, totals: Arc::clone(&engine.totals) }
}
