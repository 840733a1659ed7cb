//! `partitions`: the partitions of the running node; pausing and resuming one.

use super::args::{Global, OnePartition, PartitionChange, Partitions};
use super::ask::{self, refused};
use super::exit::Exit;
use super::out;
use super::table::Table;
use crate::admin::client::path;
use serde_json::{Value, json};

/// Why, for the audit log, where nobody says.
const REASON: &str = "from the command line";
/// Why a node is needed.
const WHY: &str = "partitions are read only by a running node";

/// Runs the verb.
pub fn run(args: &Partitions, global: &Global) -> Exit {
    match &args.change {
        None => list(args, global),
        Some(PartitionChange::Pause(one)) => change(one, "pause", "paused", global),
        Some(PartitionChange::Resume(one)) => change(one, "resume", "resumed", global),
    }
}

fn list(args: &Partitions, global: &Global) -> Exit {
    let node = match ask::node(global, &args.files, WHY) {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    match node.get::<Value>(&path(&["partitions"], &[])) {
        Ok(seen) => out::answer(global, &seen, text),
        Err(problem) => refused(&problem),
    }
}

fn change(one: &OnePartition, verb: &str, done: &str, global: &Global) -> Exit {
    let node = match ask::node(global, &one.files, WHY) {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    let reason = one.reason.as_deref().unwrap_or(REASON);
    let to = path(&["partitions", &one.topic, &format!("{}:{verb}", one.partition)], &[]);
    match node.post::<Value>(&to, &json!({ "reason": reason })) {
        Ok(answer) => out::answer(global, &answer, |_| format!("{}/{} is {done}", one.topic, one.partition)),
        Err(problem) => refused(&problem),
    }
}

pub(super) fn text(seen: &Value) -> String {
    let heads = ["topic", ">partition", "source", ">generation", ">position", ">committed", ">end", ">lag", ">open", "state"];
    let mut table = Table::new(&heads);
    for partition in seen["partitions"].as_array().into_iter().flatten() {
        let word = |member: &str| match &partition[member] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let state = match (partition["paused"].as_str(), partition["ended"].as_bool()) {
            (Some(why), _) => format!("paused: {why}"),
            (None, Some(true)) => "read to its end".to_owned(),
            (None, _) => word("state"),
        };
        table.row([
            word("topic"),
            word("partition"),
            word("source"),
            word("generation"),
            word("position"),
            word("committed"),
            word("high_watermark"),
            word("lag"),
            word("open_tickets"),
            state,
        ]);
    }
    table.or("no partition is assigned to this node")
}
