//! `actors`: the actors of the running node, with state and health.

use super::args::{Actors, Global};
use super::ask::{self, refused};
use super::exit::Exit;
use super::out;
use super::table::{Table, ago};
use crate::admin::client::path;
use crate::domain::health::ActorKind;
use crate::supervisor::wiring;
use serde_json::Value;
use std::fmt::Write;

/// Runs the verb.
pub fn run(args: &Actors, global: &Global) -> Exit {
    if let Some(kind) = args.kind.as_deref().filter(|kind| ActorKind::parse(kind).is_none()) {
        let known: Vec<&str> = ActorKind::ALL.iter().map(|kind| kind.label()).collect();
        out::complain(format_args!("no kind of actor is called `{kind}`; there are: {}", known.join(", ")));
        return Exit::Usage;
    }
    let node = match ask::node(global, &args.files, "actors live only in a running node") {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    let mut seen: Value = match node.get(&path(&["actors"], &[])) {
        Ok(seen) => seen,
        Err(problem) => return refused(&problem),
    };
    if let (Some(kind), Some(actors)) = (&args.kind, seen["actors"].as_array_mut()) {
        actors.retain(|actor| actor["kind"].as_str() == Some(kind));
    }
    out::answer(global, &seen, text)
}

pub(super) fn text(seen: &Value) -> String {
    let now = seen["now"].as_i64().unwrap_or(wiring::clock().0);
    let heads =
        ["actor", "state", "since", ">depth", ">in flight", ">handled", ">busy", ">blocked", ">restarts", "progress", "reason"];
    let mut table = Table::new(&heads);
    for actor in seen["actors"].as_array().into_iter().flatten() {
        let word = |member: &str| actor[member].as_str().unwrap_or_default().to_owned();
        let number = |member: &str| actor[member].as_u64().unwrap_or_default().to_string();
        let share = |member: &str| format!("{:.0}%", actor[member].as_f64().unwrap_or_default() * 100.0);
        let time = |member: &str| actor[member].as_i64().map_or_else(String::new, |at| ago(at, now));
        let reason = actor["last_error"].as_str().map_or_else(|| word("reason"), str::to_owned);
        table.row([
            word("id"),
            word("state"),
            time("since"),
            number("depth"),
            number("in_flight"),
            number("handled"),
            share("busy"),
            share("blocked"),
            number("restarts"),
            time("last_progress"),
            reason,
        ]);
    }
    let mut text = table.or("no actors of that kind");
    if let Some(entities) = seen["entities"].as_object() {
        let counts: Vec<String> = entities.iter().map(|(name, n)| format!("{name} {n}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nentities: {}", counts.join(", "));
    }
    text
}
