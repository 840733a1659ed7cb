//! The named steps of one change's way (1-product 1.2), where tests may make the process die or panic.
//!
//! In a release build [`reached`] is empty. In a developer's build `main` hands over what `WIDEROW_STEP` says:
//! `abort:row_written:3` aborts the process at the third time the step is reached, `panic:row_written:3:2` panics there and
//! the time after, so that crash tests need no guessing of moments.

/// Every step, in the order of the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    RecordsTaken,
    RecordDecoded,
    EntityApplied,
    RowWritten,
    JobsAccepted,
    TicketsClosed,
    PositionCommitted,
    JobTaken,
    RowRead,
    DocumentBuilt,
    DocumentWritten,
    JobFinished,
    LetterKept,
    /// Inside the decoder: a panic there is the record's own.
    DecodeBegun,
    /// Inside the document's mapping: a panic there is the job's own.
    MappingBegun,
}

impl Step {
    /// Inside what is caught where it happens: a panic there is one record's or one job's.
    pub const CAUGHT: [Self; 2] = [Self::DecodeBegun, Self::MappingBegun];

    pub const ALL: [Self; 13] = [
        Self::RecordsTaken,
        Self::RecordDecoded,
        Self::EntityApplied,
        Self::RowWritten,
        Self::JobsAccepted,
        Self::TicketsClosed,
        Self::PositionCommitted,
        Self::JobTaken,
        Self::RowRead,
        Self::DocumentBuilt,
        Self::DocumentWritten,
        Self::JobFinished,
        Self::LetterKept,
    ];
    pub const fn label(self) -> &'static str {
        match self {
            Self::RecordsTaken => "records_taken",
            Self::RecordDecoded => "record_decoded",
            Self::EntityApplied => "entity_applied",
            Self::RowWritten => "row_written",
            Self::JobsAccepted => "jobs_accepted",
            Self::TicketsClosed => "tickets_closed",
            Self::PositionCommitted => "position_committed",
            Self::JobTaken => "job_taken",
            Self::RowRead => "row_read",
            Self::DocumentBuilt => "document_built",
            Self::DocumentWritten => "document_written",
            Self::JobFinished => "job_finished",
            Self::LetterKept => "letter_kept",
            Self::DecodeBegun => "decode_begun",
            Self::MappingBegun => "mapping_begun",
        }
    }
}

/// This step was just taken.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reached(_: Step) {}

/// This step was just taken.
#[cfg(debug_assertions)]
pub fn reached(step: Step) {
    scripted::reached(step);
}

/// What shall happen at which step; `false` for a text that names no step. Only the first script of a process counts.
#[cfg(debug_assertions)]
pub fn script(text: &str) -> bool {
    scripted::script(text).is_some()
}

#[cfg(debug_assertions)]
mod scripted {
    use super::Step;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Script {
        abort: bool,
        step: Step,
        left: AtomicI64,
        /// How many times in a row it strikes once it is due.
        times: i64,
    }

    static SCRIPT: OnceLock<Script> = OnceLock::new();

    pub(super) fn script(text: &str) -> Option<()> {
        let mut parts = text.split(':');
        let (what, step) = (parts.next()?, parts.next()?);
        let nth: i64 = parts.next().unwrap_or("1").parse().ok()?;
        let times: i64 = parts.next().unwrap_or("1").parse().ok()?;
        let step = Step::ALL.into_iter().chain(Step::CAUGHT).find(|s| s.label() == step)?;
        SCRIPT.set(Script { abort: what == "abort", step, left: AtomicI64::new(nth), times }).ok()
    }

    pub(super) fn reached(step: Step) {
        let Some(script) = SCRIPT.get() else { return };
        if script.step != step {
            return;
        }
        let left = script.left.fetch_sub(1, Ordering::SeqCst) - 1;
        if left <= 0 && left > -script.times {
            if script.abort {
                std::process::abort();
            }
            panic!("scripted panic at {}", step.label());
        }
    }
}
