//! `top`: what the running node does now, again and again: rates, partitions, lanes, and the actors that want attention.

use super::args::{Global, Output, Top};
use super::ask::{self, refused};
use super::exit::Exit;
use super::run::Signals;
use super::{actors, lanes, out, partitions};
use crate::admin::answers::{LanesAnswer, Problem};
use crate::admin::client::{Client, path};
use crate::supervisor::block_on;
use serde::Serialize;
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Instant;

/// Takes a terminal's cursor home and clears what was there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// One look at everything.
#[derive(Serialize)]
struct Look {
    partitions: Value,
    lanes: LanesAnswer,
    actors: Value,
    /// Records per second since the look before; none at first.
    records_per_second: Option<f64>,
    #[serde(skip)]
    at: Instant,
    #[serde(skip)]
    position: i64,
}

impl Look {
    fn at(node: &Client, before: Option<&Self>) -> Result<Self, Problem> {
        let partitions: Value = node.get(&path(&["partitions"], &[]))?;
        let lanes = node.get(&path(&["lanes"], &[]))?;
        let mut actors: Value = node.get(&path(&["actors"], &[]))?;
        // Who runs and never failed is told of by the tables above.
        if let Some(actors) = actors["actors"].as_array_mut() {
            actors.retain(|actor| actor["state"] != "running" || actor["restarts"].as_u64().unwrap_or(0) > 0);
        }
        let positions = partitions["partitions"].as_array().into_iter().flatten();
        let position: i64 = positions.filter_map(|p| p["position"].as_str()?.parse::<i64>().ok()).sum();
        let at = Instant::now();
        let rate = |before: &Self| (position - before.position).max(0) as f64 / (at - before.at).as_secs_f64().max(1e-3);
        Ok(Self { partitions, lanes, actors, records_per_second: before.map(rate), at, position })
    }

    fn text(&self) -> String {
        let lag = self.partitions["partitions"].as_array().into_iter().flatten();
        let lag: i64 = lag.filter_map(|p| p["lag"].as_i64().or_else(|| p["lag"].as_str()?.parse().ok())).sum();
        let waiting: u64 = self.lanes.lanes.iter().map(|lane| lane.waiting + lane.retry + lane.spilled).sum();
        let rate = self.records_per_second.map_or_else(String::new, |rate| format!("{rate:.0} records/s, "));
        let head = format!("{rate}{lag} records behind, {waiting} jobs wait");
        let attention = match self.actors["actors"].as_array().is_some_and(Vec::is_empty) {
            true => "every actor runs, and none was restarted\n".to_owned(),
            false => actors::text(&self.actors),
        };
        format!("{head}\n\n{}\n{}\n{attention}", partitions::text(&self.partitions), lanes::text(&self.lanes))
    }
}

/// Runs the verb.
pub fn run(args: &Top, global: &Global) -> Exit {
    let node = match ask::node(global, &args.files, "there is nothing to see without a running node") {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    block_on(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(fault) => return ask::fault_refused(&fault),
        };
        let clear = std::io::stdout().is_terminal() && matches!(global.output, Output::Text);
        let (mut before, mut looks) = (None, 0);
        loop {
            let look = match Look::at(&node, before.as_ref()) {
                Ok(look) => look,
                Err(problem) => return refused(&problem),
            };
            if clear {
                out::print(&format!("{CLEAR}{}", look.text()));
            } else if out::answer(global, &look, Look::text) != Exit::Fine {
                return Exit::Failure;
            }
            before = Some(look);
            looks += 1;
            if args.times.is_some_and(|times| looks >= times) {
                return Exit::Fine;
            }
            tokio::select! {
                () = tokio::time::sleep(args.every) => {}
                () = signals.heard() => return Exit::Fine,
            }
        }
    })
}
