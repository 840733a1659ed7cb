//! Documents as their sink holds them.

use super::{Code, Office, Problem, at_most};
use crate::domain::fault::{Fault, FaultKind};
use crate::ports::sink::{Held, Sink};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// One document. Its JSON is handed on as it is held, digit by digit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentAnswer {
    pub line: String,
    pub id: String,
    pub version: String,
    /// Deleted under this version.
    pub deleted: bool,
    pub document: Option<Box<RawValue>>,
}

/// Documents in id order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentsAnswer {
    pub line: String,
    pub documents: Vec<DocumentAnswer>,
    /// Ask again after this id; `None` at the end.
    pub next: Option<String>,
}

impl Office {
    /// One document of a line.
    ///
    /// # Errors
    /// No such line or document, a sink that cannot be asked.
    pub async fn document(&self, line: &str, id: &str) -> Result<DocumentAnswer, Problem> {
        let sink = self.sink(line)?;
        let held = sink.get(id.to_owned()).await.map_err(|fault| not_asked(line, fault))?;
        match held {
            Some(held) => Ok(answer(line, held)),
            None => {
                let what = format!("line `{line}` holds no document `{id}`");
                Err(Problem::new(Code::NoSuchDocument, what).help("`widerow row why` tells what became of its row"))
            }
        }
    }

    /// Documents of a line after `after`; deleted ones are left out.
    ///
    /// # Errors
    /// No such line, a sink that cannot be asked.
    pub async fn documents(&self, line: &str, after: Option<&str>, max: usize) -> Result<DocumentsAnswer, Problem> {
        let max = at_most(max);
        let sink = self.sink(line)?;
        let mut held = sink.list(after.map(str::to_owned), max + 1).await.map_err(|fault| not_asked(line, fault))?;
        let more = held.len() > max;
        held.truncate(max);
        let next = held.last().filter(|_| more).map(|held| held.id.clone());
        let documents = held.into_iter().map(|held| answer(line, held)).collect();
        Ok(DocumentsAnswer { line: line.to_owned(), documents, next })
    }

    fn sink(&self, line: &str) -> Result<&Arc<dyn Sink>, Problem> {
        let settings = self.line_settings(line)?;
        self.doors.sinks.get(&settings.line.name).ok_or_else(|| {
            let what = format!("line `{line}` is queue_only: others work its jobs and keep what comes of them");
            Problem::new(Code::CannotBeAsked, what).help("ask where its workers write")
        })
    }
}

fn not_asked(line: &str, fault: Fault) -> Problem {
    if fault.kind == FaultKind::Rejected {
        let what = format!("the sink of line `{line}` cannot be asked: {}", fault.what);
        return Problem::new(Code::CannotBeAsked, what).help("ask the sink itself");
    }
    fault.into()
}

fn answer(line: &str, held: Held) -> DocumentAnswer {
    DocumentAnswer {
        line: line.to_owned(),
        id: held.id,
        version: held.version.to_string(),
        deleted: held.document.is_none(),
        document: held.document.as_deref().and_then(raw),
    }
}

/// JSON text as it is; `None` for bytes that are no JSON, which no sink of ours holds.
pub(super) fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(json).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}
