//! What can be asked of a node's stores, one function per question; the same answers with a node running or not.
//!
//! The HTTP server gives them online, the CLI offline on stores it opened itself. Keeps V2 (version and cells of one read)
//! and 3-interfaces 3.5: offsets, stamps and versions are text in JSON, errors are problems with a code.
//! Knows nothing of HTTP or of running actors; what only a node knows is handed in.

mod config;
mod documents;
mod epochs;
mod jobs;
mod letters;
mod lines;
mod problem;
mod rows;
mod why;

pub use config::ConfigAnswer;
pub use documents::{DocumentAnswer, DocumentsAnswer};
pub use epochs::{BumpAnswer, EpochAnswer, EpochsAnswer};
pub use jobs::{JobAnswer, JobsAnswer, Released, WhichJobs};
pub use letters::{Body, LetterAnswer, LetterHead, LettersAnswer};
pub use lines::{LaneAnswer, LanesAnswer, LineAnswer, LineOutage, LinesAnswer, SkipEqual};
pub use problem::{Code, Problem};
pub use rows::{CellAnswer, KeyColumn, MarkAnswer, PartAnswer, RowAnswer, RowDocument, RowKeysAnswer, TombstoneAnswer};
pub use why::{Agreement, LineWhy, Op, SinkWhy, WhyAnswer, Wish};

use crate::domain::ids::{Millis, Name, RowId};
use crate::domain::line::Line;
use crate::domain::schema::RowKind;
use crate::ports::Doors;
use crate::ports::source::TopicLives;
use crate::settings::{LineSettings, Origin, Settings};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Entries of one answer at most; a list says where it goes on.
pub const MAX: usize = 1000;

/// A row's live entity, as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityAnswer {
    pub idle: bool,
    pub bytes: u64,
    /// Messages sent to it in this life.
    pub messages: u64,
    /// When it last worked, in ms since 1970.
    pub last: i64,
}

/// Finds a row's live entity; given by a running node.
pub type EntityLook = Arc<dyn Fn(&RowId) -> Option<EntityAnswer> + Send + Sync>;

/// Where questions are answered: the stores, the settings they were opened by, and what a running node adds.
#[derive(Clone)]
pub struct Office {
    pub settings: Arc<Settings>,
    pub doors: Doors,
    pub clock: fn() -> Millis,
    /// Where each setting came from.
    pub origin: Option<Arc<Origin>>,
    /// K5's switches by line; empty without a running node.
    pub skip_equal: Arc<HashMap<Name, Arc<AtomicBool>>>,
    /// `None` without a running node.
    pub entity: Option<EntityLook>,
    /// Sources whose topics have lives (E3).
    pub lives: Vec<Arc<dyn TopicLives>>,
}

impl Office {
    /// An office on opened stores, without a running node.
    pub fn new(settings: Arc<Settings>, doors: Doors, clock: fn() -> Millis) -> Self {
        Self { settings, doors, clock, origin: None, skip_equal: Arc::default(), entity: None, lives: Vec::new() }
    }

    #[must_use]
    pub fn with_origin(self, origin: Option<Origin>) -> Self {
        Self { origin: origin.map(Arc::new), ..self }
    }

    /// Adds what a running node knows.
    #[must_use]
    pub fn with_node(self, skip_equal: Arc<HashMap<Name, Arc<AtomicBool>>>, entity: EntityLook) -> Self {
        Self { skip_equal, entity: Some(entity), ..self }
    }

    /// Adds the sources whose topics have lives.
    #[must_use]
    pub fn with_lives(self, lives: Vec<Arc<dyn TopicLives>>) -> Self {
        Self { lives, ..self }
    }

    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    pub(in crate::admin) fn kind(&self, kind: &str) -> Result<&RowKind, Problem> {
        let kinds = &self.settings.schema.kinds;
        kinds.iter().find(|k| k.name.as_str() == kind).ok_or_else(|| {
            let known = kinds.iter().map(|k| k.name.as_str());
            Problem::new(Code::NoSuchKind, format!("no row kind is called `{kind}`")).help(choices(known))
        })
    }

    pub(in crate::admin) fn line_settings(&self, line: &str) -> Result<&LineSettings, Problem> {
        let lines = &self.settings.lines;
        lines.iter().find(|l| l.line.name.as_str() == line).ok_or_else(|| {
            let known = lines.iter().map(|l| l.line.name.as_str());
            Problem::new(Code::NoSuchLine, format!("no line is called `{line}`")).help(choices(known))
        })
    }

    /// The lines that look at a row kind.
    fn lines_of(&self, kind: Name) -> impl Iterator<Item = &Line> {
        self.settings.lines.iter().map(|l| &l.line).filter(move |l| l.kind == kind)
    }
}

fn choices<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    if known.is_empty() { "the configuration has none".to_owned() } else { format!("there are: {}", known.join(", ")) }
}

/// A list's length as asked, within [`MAX`].
fn at_most(max: usize) -> usize {
    max.clamp(1, MAX)
}

#[cfg(test)]
mod tests;
