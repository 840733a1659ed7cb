//! `tap`: a few events of the running node as they happen, masked and capped by the node (3-interfaces 3.5).

use super::args::{Global, Output, Tap};
use super::ask::{self, refused};
use super::exit::Exit;
use super::out;
use super::table::shown;
use crate::admin::client::{Client, path};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;

/// Runs the verb.
pub fn run(args: &Tap, global: &Global) -> Exit {
    let node = match ask::node(global, &args.files, "only a running node has events to show") {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    let mut failed = false;
    let read = follow(&node, args, |line| {
        let told = match global.output {
            Output::Json => line.to_owned(),
            Output::Text => match serde_json::from_str::<Value>(line) {
                Ok(event) if event["end"].is_string() => {
                    out::note(ended(&event));
                    return true;
                }
                Ok(event) => text(&event),
                Err(_) => {
                    failed = true;
                    return false;
                }
            },
        };
        // A reader that went away ends the tap.
        let mut out = std::io::stdout().lock();
        writeln!(out, "{told}").and_then(|()| out.flush()).is_ok()
    });
    match read {
        Ok(()) if failed => {
            out::complain("the node told something that is no event; node and command line should be of one version");
            Exit::Failure
        }
        Ok(()) => Exit::Fine,
        Err(problem) => refused(&problem),
    }
}

fn follow(node: &Client, args: &Tap, each: impl FnMut(&str) -> bool) -> Result<(), crate::admin::answers::Problem> {
    let (max, bytes) = (args.max.to_string(), args.bytes.to_string());
    let seconds = args.span.as_secs().max(1).to_string();
    let mut query = vec![("max", max.as_str()), ("bytes", bytes.as_str()), ("seconds", seconds.as_str())];
    query.extend(args.stage.iter().map(|stage| ("stage", stage.label())));
    query.extend(args.key.as_deref().map(|key| ("key", key)));
    node.lines(&path(&["tap"], &query), each)
}

fn ended(end: &Value) -> String {
    let cap = match end["end"].as_str() {
        Some("max") => "--max",
        Some("bytes") => "--bytes",
        _ => "--for",
    };
    let dropped = match end["dropped"].as_u64() {
        None | Some(0) => String::new(),
        Some(n) => format!("; {n} more came too fast and were not shown"),
    };
    format!("{} events, ended by {cap}{dropped}", end["told"])
}

/// One event in one line.
fn text(event: &Value) -> String {
    let word = |name: &str| event[name].as_str().map(shown).unwrap_or_default();
    let mut line = format!("{:<9}", word("stage"));
    // A failed write to a text cannot be.
    let _ = match event["stage"].as_str() {
        Some("source") => {
            let rows = event["rows"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
            let becomes = event["error"].as_str().map_or_else(|| shown(&rows), |error| format!("bad record: {}", shown(error)));
            let (topic, partition, offset) = (word("topic"), &event["partition"], word("offset"));
            write!(line, "{topic}/{partition}/{offset} {} → {becomes}", json(&event["value"]))
        }
        Some("change") => {
            let (row, table, child) = (word("row"), word("table"), word("child"));
            let of = if child.is_empty() { table } else { format!("{table}:{child}") };
            write!(line, "{row} {} {of} {} @{}", word("effect"), json(&event["columns"]), word("stamp"))
        }
        Some("row") => write!(line, "{} {}", word("row"), parts(&event["parts"])),
        Some("job") => write!(line, "{} {} {} in {}", word("line"), word("row"), word("outcome"), word("lane")),
        _ => {
            let (id, version, op) = (word("id"), word("version"), word("op"));
            let what = if id.is_empty() { String::new() } else { format!(" {op} {id} v{version} {}", json(&event["document"])) };
            let detail = if word("detail").is_empty() { String::new() } else { format!(" ({})", word("detail")) };
            write!(line, "{} {} {}{what}{detail}", word("line"), word("row"), word("outcome"))
        }
    };
    line.trim_end().to_owned()
}

fn parts(parts: &Value) -> String {
    let part = |part: &Value| {
        let (table, child) = (part["table"].as_str().unwrap_or_default(), part["child"].as_str().unwrap_or_default());
        let of = if child.is_empty() { shown(table) } else { format!("{}:{}", shown(table), shown(child)) };
        let gone = part["tombstone"].as_str().map_or_else(String::new, |stamp| format!(" gone @{}", shown(stamp)));
        let stamp = part["stamp"].as_str().map_or_else(String::new, |stamp| format!(" @{}", shown(stamp)));
        let cells = if stamp.is_empty() { String::new() } else { format!(" {}{stamp}", json(&part["cells"])) };
        format!("{of}{gone}{cells}")
    };
    parts.as_array().into_iter().flatten().map(part).collect::<Vec<_>>().join("; ")
}

fn json(value: &Value) -> String {
    if value.is_null() { String::new() } else { shown(&value.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Goal: an event of each stage is one readable line. Method: a table.
    #[test]
    fn events_are_one_line() {
        for (event, line) in [
            (
                json!({ "stage": "source", "topic": "t", "partition": 1, "offset": "7", "value": { "a": 1 }, "rows": ["order/k"] }),
                "source   t/1/7 {\"a\":1} → order/k",
            ),
            (
                json!({ "stage": "source", "topic": "t", "partition": 1, "offset": "8", "value": null, "rows": [], "error": "not_json" }),
                "source   t/1/8  → bad record: not_json",
            ),
            (
                json!({ "stage": "change", "row": "order/k", "table": "item", "child": "3", "effect": "put", "columns": { "q": "1" },
                        "stamp": "9" }),
                "change   order/k put item:3 {\"q\":\"1\"} @9",
            ),
            (
                json!({ "stage": "row", "row": "order/k", "parts": [
                    { "table": "o", "child": "", "stamp": "9", "tombstone": null, "cells": { "s": "1" } },
                    { "table": "i", "child": "3", "stamp": null, "tombstone": "8", "cells": {} } ] }),
                "row      order/k o {\"s\":\"1\"} @9; i:3 gone @8",
            ),
            (
                json!({ "stage": "job", "line": "l", "row": "k", "outcome": "created", "lane": "normal" }),
                "job      l k created in normal",
            ),
            (
                json!({ "stage": "document", "line": "l", "row": "k", "outcome": "written", "id": "d", "version": "5", "op": "index",
                        "document": { "n": 1 } }),
                "document l k written index d v5 {\"n\":1}",
            ),
            (
                json!({ "stage": "document", "line": "l", "row": "k", "outcome": "rejected", "detail": "no" }),
                "document l k rejected (no)",
            ),
        ] {
            assert_eq!(text(&event), line);
        }
        let end = json!({ "end": "max", "told": 3, "dropped": 2 });
        assert_eq!(ended(&end), "3 events, ended by --max; 2 more came too fast and were not shown");
    }
}
