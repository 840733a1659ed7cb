//! `row get` and `row why`: one wide row, and its life across all systems.

use super::args::{Global, Row, RowAddress};
use super::ask;
use super::exit::Exit;
use super::out;
use super::table::{Table, ago, shown, span, tamed};
use crate::admin::answers::{LineWhy, Office, Problem, RowAnswer, WhyAnswer};
use crate::admin::client::{Client, path};
use crate::supervisor::wiring;
use serde::Deserialize;
use std::fmt::Write;

/// Runs the verb.
pub fn run(args: &Row, global: &Global) -> Exit {
    match args {
        Row::Get(address) => {
            let asked = ask::ask(
                global,
                &address.files,
                |node| node.get(&path(&["rows", &address.kind, &online_key(node, address)?], &[])),
                async |office| office.row(&address.kind, &offline_key(office, address)?).await,
            );
            asked.map_or_else(|exit| exit, |row: RowAnswer| out::answer(global, &row, row_text))
        }
        Row::Why(address) => {
            let asked = ask::ask(
                global,
                &address.files,
                |node| node.get(&path(&["rows", &address.kind, &online_key(node, address)?, "why"], &[])),
                async |office| office.why(&address.kind, &offline_key(office, address)?).await,
            );
            asked.map_or_else(|exit| exit, |why: WhyAnswer| out::answer(global, &why, why_text))
        }
    }
}

fn offline_key(office: &Office, address: &RowAddress) -> Result<String, Problem> {
    match &address.which.row_key {
        Some(key) => Ok(key.clone()),
        None => Ok(office.row_key(&address.kind, &address.which.key)?.as_str().to_owned()),
    }
}

/// The node knows the kind's template.
fn online_key(node: &Client, address: &RowAddress) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Made {
        key: String,
    }
    if let Some(key) = &address.which.row_key {
        return Ok(key.clone());
    }
    let columns: Vec<String> = address.which.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
    let query: Vec<(&str, &str)> = columns.iter().map(|pair| ("key", pair.as_str())).collect();
    node.get(&path(&["rows", &format!("{}:key", address.kind)], &query)).map(|made: Made| made.key)
}

fn row_text(row: &RowAnswer) -> String {
    let mut text = head(row);
    let mut table = Table::new(&["table", "row", "column", "value", ">stamp", ""]);
    for part in &row.tables {
        let what = |alive: bool| if alive { "" } else { "dead" };
        for cell in &part.cells {
            let value = cell.value.clone().unwrap_or_else(|| "(null)".to_owned());
            table.row([
                part.table.clone(),
                part.child.clone(),
                cell.column.clone(),
                value,
                cell.stamp.clone(),
                what(cell.alive).into(),
            ]);
        }
        if let Some(tombstone) = &part.tombstone {
            let state = if tombstone.revoked { "revoked" } else { "" };
            let deleted = format!("written {}", ago(tombstone.written, wiring::clock().0));
            table.row([part.table.clone(), part.child.clone(), "#del".into(), deleted, tombstone.stamp.clone(), state.into()]);
        }
    }
    // Writing to a String cannot fail, here and below.
    let _ = write!(text, "\n{}", table.or("no cells"));
    if !row.documents.is_empty() {
        let mut table = Table::new(&["line", "document"]);
        for document in &row.documents {
            let id = document.id.clone().or_else(|| document.problem.clone());
            table.row([document.line.clone(), id.unwrap_or_default()]);
        }
        let _ = write!(text, "\n{}", table.text());
    }
    text
}

fn head(row: &RowAnswer) -> String {
    let life = match (row.exists, row.alive) {
        (false, _) => "never written",
        (true, true) => "alive",
        (true, false) => "dead: its root row is deleted or not there yet",
    };
    let mut text = format!("{} {}\n  {life}, version {} ({}", row.kind, shown(&row.key), row.version, row.version_kind);
    let _ = writeln!(text, ", base {})", row.base);
    for key in &row.keys {
        let _ = writeln!(text, "  {} = {}", key.column, shown(key.value.as_deref().unwrap_or("(null)")));
    }
    for mark in &row.marks {
        let _ = writeln!(text, "  mark {} at {}", shown(&mark.name), mark.stamp);
    }
    text
}

fn why_text(why: &WhyAnswer) -> String {
    let row = &why.row;
    let mut text = head(row);
    let mut table = Table::new(&["table", ">rows", ">alive", ">cells", ">highest stamp"]);
    let mut names: Vec<&str> = row.tables.iter().map(|part| part.table.as_str()).collect();
    names.dedup();
    for name in names {
        let parts: Vec<_> = row.tables.iter().filter(|part| part.table == name).collect();
        let stamps = parts.iter().flat_map(|p| p.cells.iter().map(|c| &c.stamp).chain(p.tombstone.as_ref().map(|t| &t.stamp)));
        let highest = stamps.filter_map(|stamp| stamp.parse::<i64>().ok()).max();
        table.row([
            name.to_owned(),
            parts.len().to_string(),
            parts.iter().filter(|part| part.alive).count().to_string(),
            parts.iter().map(|part| part.cells.len()).sum::<usize>().to_string(),
            highest.map_or_else(String::new, |stamp| stamp.to_string()),
        ]);
    }
    let _ = write!(text, "\n{}", table.or("no cells"));
    match &why.entity {
        Some(entity) => {
            let doing = if entity.idle { "idle" } else { "working" };
            let last = ago(entity.last, wiring::clock().0);
            let _ = writeln!(text, "\nentity: live, {doing}, {} messages, last worked {last}", entity.messages);
        }
        None => text.push_str("\nentity: none lives now\n"),
    }
    why.lines.iter().for_each(|line| line_text(line, &mut text));
    text
}

fn line_text(line: &LineWhy, text: &mut String) {
    let _ = writeln!(text, "\nline {}: {}", line.line, line.agreement.label().replace('_', " "));
    let _ = writeln!(text, "  {}", tamed(&line.says));
    let held = match (&line.sink.version, line.sink.deleted) {
        (Some(version), true) => format!("deleted under version {version}"),
        (Some(version), false) => format!("version {version}"),
        (None, _) => line.sink.problem.clone().unwrap_or_else(|| "nothing".to_owned()),
    };
    let _ = writeln!(text, "  sink {}: {}", line.sink.kind, tamed(&held));
    if let Some(id) = &line.wish.id {
        let _ = writeln!(text, "  document id: {}", shown(id));
    }
    for job in &line.jobs {
        let reason = job.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let _ = writeln!(
            text,
            "  job {} in {}, {} old, {} tries{}",
            job.state,
            job.lane,
            span(job.age_ms),
            job.attempts,
            tamed(&reason)
        );
    }
}
