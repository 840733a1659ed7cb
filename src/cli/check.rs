//! `check`: every fault of a configuration at once, and with `--connect` of the systems it names.

use super::args::{Check, Global, Output};
use super::exit::Exit;
use super::table::Table;
use super::{findings, out};
use crate::settings;
use crate::supervisor::wiring::probe::{Probe, probe};
use serde_json::json;
use std::io::IsTerminal;

/// Runs the verb.
pub fn run(args: &Check, global: &Global) -> Exit {
    let (found, settings) = match settings::load(&args.files.config, &|name| std::env::var(name).ok()) {
        Ok(loaded) => (loaded.warnings, Some(loaded.settings)),
        Err(found) => (found, None),
    };
    let probes = settings.as_ref().filter(|_| args.connect).map(probe);
    match global.output {
        Output::Text => {
            out::print(&findings::text(&found, std::io::stdout().is_terminal()));
            if let Some(probes) = &probes {
                out::print(&format!("\n{}", text(probes)));
            }
        }
        Output::Json => {
            let mut all = findings::value(&found);
            if let Some(probes) = &probes {
                all["systems"] = json!(probes);
            }
            out::print(&all.to_string());
        }
    }
    match (settings, probes) {
        (None, _) => Exit::BadConfig,
        (Some(_), Some(probes)) if probes.iter().any(|p| p.missing.is_some()) => Exit::Unhealthy,
        _ => Exit::Fine,
    }
}

/// A table of what is there, then what is missing, one by one: its text is too long for a table.
fn text(probes: &[Probe]) -> String {
    let mut table = Table::new(&["system", "", "found"]);
    for probe in probes {
        let word = if probe.missing.is_some() { "missing" } else { "ok" };
        table.row([probe.system.clone(), word.to_owned(), probe.found.clone()]);
    }
    let mut text = table.text();
    for probe in probes {
        if let Some(missing) = &probe.missing {
            text.push_str(&format!("\nmissing: {}: {missing}\n", probe.system));
            text.push_str(&format!("  what to do: {}\n", probe.remedy.as_deref().unwrap_or("see the message")));
        }
    }
    match probes.iter().filter(|p| p.missing.is_some()).count() {
        0 => text.push_str("\nnothing is missing\n"),
        n => text.push_str(&format!("\n{n} of {} checks failed\n", probes.len())),
    }
    text
}
