//! `lanes`: the lanes of each line, with counts and ages.

use super::args::{Global, Lanes};
use super::ask;
use super::exit::Exit;
use super::out;
use super::table::{Table, span};
use crate::admin::answers::LanesAnswer;
use crate::admin::client::path;

/// Runs the verb.
pub fn run(args: &Lanes, global: &Global) -> Exit {
    let line = args.line.as_deref();
    let query: Vec<(&str, &str)> = line.map(|line| ("line", line)).into_iter().collect();
    let asked =
        ask::ask(global, &args.files, |node| node.get(&path(&["lanes"], &query)), async |office| office.lanes(line).await);
    asked.map_or_else(|exit| exit, |lanes: LanesAnswer| out::answer(global, &lanes, text))
}

pub(super) fn text(answer: &LanesAnswer) -> String {
    let heads = [
        "line",
        "lane",
        ">weight",
        ">waiting",
        ">retry",
        ">active",
        ">parked",
        ">spilled",
        ">buried",
        ">oldest",
        ">max pending",
        "guard",
    ];
    let mut table = Table::new(&heads);
    for lane in &answer.lanes {
        let counts = [lane.waiting, lane.retry, lane.active, lane.parked, lane.spilled, lane.buried].map(|n| n.to_string());
        let head = [lane.line.clone(), lane.lane.clone(), lane.weight.to_string()];
        let tail = [lane.oldest_age_ms.map_or_else(String::new, span), lane.max_pending.to_string(), lane.guards.join(" ")];
        table.row(head.into_iter().chain(counts).chain(tail));
    }
    table.or("no lanes")
}
