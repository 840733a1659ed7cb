//! Why a question has no answer: a closed list of codes, each with its HTTP status and title (RFC 9457).

use crate::domain::fault::{Fault, FaultKind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of problem, as a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    BadRequest,
    Unauthorized,
    ForeignOrigin,
    NoSuchRoute,
    NoSuchKind,
    NoSuchLine,
    NoSuchRow,
    NoSuchDocument,
    NoSuchDeadLetter,
    NoSuchPartition,
    NoSuchActor,
    NoSuchSource,
    NoSuchRun,
    MethodNotAllowed,
    /// It goes on already, or the node is in no state for it.
    Conflict,
    Draining,
    TooLarge,
    /// A replayed record that still cannot be used.
    StillBad,
    /// The sink keeps nothing that could be asked for.
    CannotBeAsked,
    NotReady,
    /// A store, a queue or an actor did not answer.
    Unreachable,
    /// The store refused, or its bytes are damaged.
    StoreFault,
}

impl Code {
    pub const ALL: [Self; 22] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::ForeignOrigin,
        Self::NoSuchRoute,
        Self::NoSuchKind,
        Self::NoSuchLine,
        Self::NoSuchRow,
        Self::NoSuchDocument,
        Self::NoSuchDeadLetter,
        Self::NoSuchPartition,
        Self::NoSuchActor,
        Self::NoSuchSource,
        Self::NoSuchRun,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::Draining,
        Self::TooLarge,
        Self::StillBad,
        Self::CannotBeAsked,
        Self::NotReady,
        Self::Unreachable,
        Self::StoreFault,
    ];

    /// The code as text, its HTTP status, its title.
    const fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => ("bad_request", 400, "The request is not understood"),
            Self::Unauthorized => ("unauthorized", 401, "The admin token is needed"),
            Self::ForeignOrigin => ("foreign_origin", 403, "The request comes from another site"),
            Self::NoSuchRoute => ("no_such_route", 404, "There is nothing at this address"),
            Self::NoSuchKind => ("no_such_kind", 404, "No such row kind"),
            Self::NoSuchLine => ("no_such_line", 404, "No such line"),
            Self::NoSuchRow => ("no_such_row", 404, "No such row"),
            Self::NoSuchDocument => ("no_such_document", 404, "No such document"),
            Self::NoSuchDeadLetter => ("no_such_dead_letter", 404, "No such dead letter"),
            Self::NoSuchPartition => ("no_such_partition", 404, "No such partition"),
            Self::NoSuchActor => ("no_such_actor", 404, "No such actor"),
            Self::NoSuchSource => ("no_such_source", 404, "No such source"),
            Self::NoSuchRun => ("no_such_run", 404, "No such run"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "The address takes another method"),
            Self::Conflict => ("conflict", 409, "This does not fit what goes on"),
            Self::Draining => ("draining", 409, "The node is draining"),
            Self::TooLarge => ("too_large", 413, "The body is too large"),
            Self::StillBad => ("still_bad", 422, "The record still cannot be used"),
            Self::CannotBeAsked => ("cannot_be_asked", 409, "The sink cannot be asked"),
            Self::NotReady => ("not_ready", 503, "The node is not ready"),
            Self::Unreachable => ("unreachable", 503, "Something the answer needs does not answer"),
            Self::StoreFault => ("store_fault", 500, "A store refused"),
        }
    }
    pub const fn label(self) -> &'static str {
        self.facts().0
    }
    pub const fn status(self) -> u16 {
        self.facts().1
    }
    pub const fn title(self) -> &'static str {
        self.facts().2
    }
}

/// Why a question has no answer: `application/problem+json` on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// [`Code::label`].
    pub code: String,
    pub status: u16,
    pub title: String,
    /// What was found.
    pub detail: String,
    /// What is allowed, or what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code: code.label().to_owned(),
            status: code.status(),
            title: code.title().to_owned(),
            detail: detail.into(),
            help: String::new(),
        }
    }

    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }

    pub fn is(&self, code: Code) -> bool {
        self.code == code.label()
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let code = match fault.kind {
            FaultKind::Unreachable | FaultKind::Timeout | FaultKind::Throttled => Code::Unreachable,
            FaultKind::Invalid => Code::BadRequest,
            _ => Code::StoreFault,
        };
        Self::new(code, fault.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}
impl std::error::Error for Problem {}
