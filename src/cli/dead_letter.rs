//! `dead-letter list`, `show` and `replay`: records that could not be used (C7).

use super::args::{DeadLetter, Global, MaybeConfigFiles};
use super::ask::{self, Place};
use super::exit::Exit;
use super::progress::Meter;
use super::run::Signals;
use super::table::{Table, ago, bytes, shown, tamed};
use super::{offline, out};
use crate::admin::answers::{Body, Code, LetterAnswer, LettersAnswer, MAX, Problem};
use crate::admin::client::{Client, path};
use crate::domain::fault::{Fault, FaultKind};
use crate::settings::Settings;
use crate::supervisor::{block_on, wiring};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write;

/// Why, for the audit log.
const REASON: &str = "widerow dead-letter replay";

/// A letter that passed.
#[derive(Debug, Serialize, Deserialize)]
struct Replayed {
    id: String,
    passed: bool,
}

/// Runs the verb.
pub fn run(args: &DeadLetter, global: &Global) -> Exit {
    match args {
        DeadLetter::List { page, files } => {
            let first = || LettersAnswer { total: 0, dead_letters: Vec::new(), next: page.after.clone() };
            let asked = ask::ask(
                global,
                files,
                |node| {
                    let mut all = first();
                    loop {
                        let max = left(&all, page.max).to_string();
                        let mut query = vec![("max", max.as_str())];
                        query.extend(all.next.as_deref().map(|after| ("after", after)));
                        let answer = node.get(&path(&["dead-letters"], &query))?;
                        if add(&mut all, answer, page.max) {
                            return Ok(all);
                        }
                    }
                },
                async |office| {
                    let mut all = first();
                    loop {
                        let answer = office.dead_letters(all.next.clone().as_deref(), left(&all, page.max)).await?;
                        if add(&mut all, answer, page.max) {
                            return Ok::<_, Problem>(all);
                        }
                    }
                },
            );
            asked.map_or_else(|exit| exit, |letters: LettersAnswer| out::answer(global, &letters, list_text))
        }
        DeadLetter::Show { id, files } => {
            let online = |node: &Client| node.get(&path(&["dead-letters", id], &[]));
            let asked = ask::ask(global, files, online, async |office| office.dead_letter(id).await);
            asked.map_or_else(|exit| exit, |letter: LetterAnswer| out::answer(global, &letter, show_text))
        }
        DeadLetter::Replay { id, files } => match replay(id, global, files) {
            Ok(done) => out::answer(global, &done, |d| format!("dead letter {} passed and is removed", shown(&d.id))),
            Err(exit) => exit,
        },
    }
}

fn left(all: &LettersAnswer, max: usize) -> usize {
    max.max(1).saturating_sub(all.dead_letters.len()).clamp(1, MAX)
}

/// Adds a page; says whether the list is long enough.
fn add(all: &mut LettersAnswer, page: LettersAnswer, max: usize) -> bool {
    all.total = page.total;
    all.next = page.next;
    all.dead_letters.extend(page.dead_letters);
    all.next.is_none() || all.dead_letters.len() >= max
}

fn replay(id: &str, global: &Global, files: &MaybeConfigFiles) -> Result<Replayed, Exit> {
    match ask::place(global, files)? {
        Place::Node(node) => {
            let to = path(&["dead-letters", &format!("{id}:replay")], &[]);
            node.post::<Value>(&to, &json!({ "reason": REASON })).map_err(|problem| ask::refused(&problem))?;
        }
        Place::Stores(loaded) => block_on(replay_offline(id, loaded.settings))?,
    }
    Ok(Replayed { id: id.to_owned(), passed: true })
}

async fn replay_offline(id: &str, settings: Settings) -> Result<(), Exit> {
    let mut signals = Signals::new().map_err(|fault| ask::fault_refused(&fault))?;
    let mut meter = Meter::new();
    let replayed = offline::with_node(settings, &mut meter, &mut signals, async |engine, _, _| {
        match engine.doors.ledger.dead_letter(id).await? {
            Some(letter) => engine.replay(letter, REASON.to_owned()).await.map(|()| true),
            None => Ok(false),
        }
    });
    match replayed.await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let what = Problem::new(Code::NoSuchDeadLetter, format!("no dead letter is called `{id}`"));
            Err(ask::refused(&what.help("an id is topic/partition/offset; `widerow dead-letter list` shows them")))
        }
        Err(Fault { kind: FaultKind::Invalid, what, .. }) => {
            let help =
                "mend what it names (a column's type, the source's format), then replay it again; it is kept until it passes";
            Err(ask::refused(&Problem::new(Code::StillBad, format!("dead letter {id}: {what}")).help(help)))
        }
        Err(fault) => Err(ask::fault_refused(&fault)),
    }
}

fn list_text(answer: &LettersAnswer) -> String {
    let mut table = Table::new(&["id", "source", "reason", ">size", ">deliveries", "last met", "detail"]);
    let now = wiring::clock().0;
    for letter in &answer.dead_letters {
        table.row([
            letter.id.clone(),
            letter.source.clone(),
            letter.reason.clone(),
            bytes(letter.bytes as u64),
            letter.deliveries.to_string(),
            ago(letter.last, now),
            letter.detail.clone(),
        ]);
    }
    let mut text = table.or("no dead letters");
    if let Some(next) = &answer.next {
        let (shown_count, total) = (answer.dead_letters.len(), answer.total);
        let _ = writeln!(text, "\n{shown_count} of {total}; the next ones: --after {}", shown(next));
    }
    text
}

fn show_text(letter: &LetterAnswer) -> String {
    let (head, now) = (&letter.head, wiring::clock().0);
    let mut text = format!("{}\n  source {}, {}: {}\n", head.id, head.source, head.reason, tamed(&head.detail));
    let met = format!("{} times, first {}, last {}", head.deliveries, ago(head.first, now), ago(head.last, now));
    let _ = writeln!(text, "  met {met}, {}", bytes(head.bytes as u64));
    if head.replayed {
        text.push_str("  a replay did not pass\n");
    }
    let mut body = |name: &str, body: Option<&Body>| {
        let _ = match body {
            None => writeln!(text, "{name}: null"),
            Some(Body::Base64(coded)) => writeln!(text, "{name}, base64: {coded}"),
            // Whole, not cut as in a table: this is what the verb is for.
            Some(Body::Text(plain)) => writeln!(text, "{name}: {}", tamed(plain)),
        };
    };
    body("key", letter.key.as_ref());
    body("value", letter.value.as_ref());
    for (name, value) in &letter.headers {
        body(&format!("header {}", shown(name)), Some(value));
    }
    text
}
