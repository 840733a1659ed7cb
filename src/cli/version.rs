//! `version`: what this binary is.

use super::args::Global;
use super::exit::Exit;
use super::out;
use serde::Serialize;

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    target: String,
    build: &'static str,
}

/// Runs the verb.
pub fn run(global: &Global) -> Exit {
    let version = Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
    };
    out::answer(global, &version, |v| format!("{} {} ({}, {})", v.name, v.version, v.target, v.build))
}
