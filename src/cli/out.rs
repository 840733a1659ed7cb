//! What a verb prints on standard output: one JSON document for programs, text for people.
//!
//! A reader that went away (a closed pipe) has nothing to be told, so a failed write is let go.

use super::args::{Global, Output};
use super::exit::Exit;
use serde::Serialize;
use std::io::Write;

/// Prints a text as it is, with one line end behind it.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Says on standard error what went wrong and what to do.
pub fn complain(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "error: {what}");
}

/// Says something on standard error that is not the answer.
pub fn note(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Prints an answer in the form that was asked for.
pub fn answer<T: Serialize>(global: &Global, answer: &T, text: impl FnOnce(&T) -> String) -> Exit {
    match global.output {
        Output::Text => print(&text(answer)),
        Output::Json => match serde_json::to_string(answer) {
            Ok(json) => print(&json),
            Err(error) => {
                complain(format_args!("the answer cannot be written as JSON: {error}"));
                return Exit::Failure;
            }
        },
    }
    Exit::Fine
}
