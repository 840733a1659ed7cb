//! Long work that goes on under an id (a rebuild, a purge): shown until it ends, in a node or here.

use super::ask::refused;
use super::exit::Exit;
use super::progress::Meter;
use super::run::Signals;
use super::table::{shown, span};
use super::{out, run};
use crate::admin::answers::{Code, Problem};
use crate::admin::client::{Client, path};
use crate::admin::desk::{Desk, RunAnswer, RunChange};
use crate::domain::fault::Fault;
use crate::supervisor::wiring;
use std::time::Duration;

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(100);
/// Why, for the audit log.
pub const REASON: &str = "from the command line";

/// Who has the run in hand.
pub enum Hand<'a> {
    /// It goes on there whatever becomes of this process.
    Node(&'a Client),
    Here(&'a Desk),
}

impl Hand<'_> {
    fn look(&self, id: &str) -> Result<RunAnswer, Problem> {
        match self {
            Self::Node(node) => node.get(&path(&["runs", id], &[])),
            Self::Here(desk) => desk.run(id),
        }
    }
}

/// Shows the run until it ends. Interrupted, a run in a node goes on; one of this process is cancelled and can be resumed.
///
/// # Errors
/// The run's own end as an exit code, after it was said.
pub async fn follow(begun: RunAnswer, hand: Hand<'_>, meter: &mut Meter, signals: &mut Signals) -> Result<RunAnswer, Exit> {
    let mut run = begun;
    while run.ended.is_none() {
        let interrupted = tokio::select! {
            () = tokio::time::sleep(LOOK) => false,
            () = signals.heard() => true,
        };
        match &hand {
            Hand::Node(node) if interrupted => {
                out::note(format_args!("{} {} goes on in the node at {}", run.task, run.id, node.url()));
                return Err(Exit::Interrupted);
            }
            Hand::Here(desk) if interrupted => drop(desk.change(&run.id, RunChange::Cancel)),
            _ => {}
        }
        run = hand.look(&run.id).map_err(|problem| refused(&problem))?;
        meter.show(|| how_far(&run));
    }
    match run.state.as_str() {
        "failed" => {
            let cause = run.cause.clone().unwrap_or_default();
            Err(refused(&Problem::new(Code::StoreFault, format!("the {} of {} failed: {cause}", run.task, run.on))))
        }
        "cancelled" => {
            let at = run.at.as_deref().map_or_else(String::new, |at| format!(" before row {}", shown(at)));
            out::note(format_args!("the {} of {} stopped{at}; the same command goes on from there", run.task, run.on));
            Err(Exit::Interrupted)
        }
        _ => Ok(run),
    }
}

fn how_far(run: &RunAnswer) -> String {
    let about = run.rows_about.map_or_else(String::new, |rows| format!(" of about {rows}"));
    let at = run.at.as_deref().map_or_else(String::new, |at| format!(" · at {}", shown(at)));
    let cause = run.cause.as_deref().map_or_else(String::new, |cause| format!(" · waits: {}", shown(cause)));
    format!("{} of {} · rows {}{about} · {} {}{at}{cause}", run.task, run.on, run.rows, done_word(run), run.done)
}

fn done_word(run: &RunAnswer) -> &'static str {
    match (run.task.as_str(), run.dry) {
        ("purge", true) => "rows to purge",
        ("purge", false) => "rows purged",
        (_, true) => "jobs to offer",
        (_, false) => "jobs offered",
    }
}

/// A finished run in a line.
pub fn text(run: &RunAnswer) -> String {
    let took = span(run.ended.unwrap_or(wiring::clock().0) - run.started);
    let cells = if run.task == "purge" { format!(", {} cells", run.cells) } else { String::new() };
    let dry = if run.dry { " (dry run: nothing was changed)" } else { "" };
    format!("{} of {}: {} rows, {} {}{cells}, in {took}{dry}", run.task, run.on, run.rows, run.done, done_word(run))
}

/// The signals, or what keeps them from being heard.
///
/// # Errors
/// The exit code, after it was said.
pub fn signals() -> Result<Signals, Exit> {
    Signals::new().map_err(|fault: Fault| run::refused(&fault))
}
