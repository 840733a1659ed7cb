//! `job list`, `job show` and `job release`.

use super::args::{Global, Job, JobWhich};
use super::ask;
use super::exit::Exit;
use super::out;
use super::table::{Table, ago, shown, span, tamed};
use crate::admin::answers::{Code, JobAnswer, JobsAnswer, Problem, Released, WhichJobs};
use crate::admin::client::path;
use crate::supervisor::wiring;
use serde_json::json;
use std::fmt::Write;

/// Jobs of one row and line: at most one that waits and one that runs (J2).
const ONE_ROW: usize = 10;

/// Runs the verb.
pub fn run(args: &Job, global: &Global) -> Exit {
    match args {
        Job::List { which, max, files } => {
            let which = meant(which);
            let asked = ask::ask(
                global,
                files,
                |node| node.get(&path(&["jobs"], &query(&which, &max.to_string()))),
                async |office| office.jobs(&which, *max).await,
            );
            asked.map_or_else(|exit| exit, |jobs: JobsAnswer| out::answer(global, &jobs, list_text))
        }
        Job::Show { line, row_key, files } => {
            let which = WhichJobs { line: Some(line.clone()), state: None, row: Some(row_key.clone()) };
            let found = |jobs: JobsAnswer| {
                if jobs.jobs.is_empty() {
                    let what = format!("line `{line}` has no job for row {row_key}");
                    return Err(Problem::new(Code::NoSuchRow, what).help("`widerow row why` tells what became of the row"));
                }
                Ok(jobs)
            };
            let asked = ask::ask(
                global,
                files,
                |node| node.get(&path(&["jobs"], &query(&which, &ONE_ROW.to_string()))).and_then(found),
                async |office| office.jobs(&which, ONE_ROW).await.and_then(found),
            );
            asked.map_or_else(|exit| exit, |jobs: JobsAnswer| out::answer(global, &jobs, show_text))
        }
        Job::Release { which, files } => {
            let which = meant(which);
            let body = json!({ "line": which.line, "state": which.state.map(|s| s.label()), "row": which.row });
            let asked = ask::ask(
                global,
                files,
                |node| node.post(&path(&["jobs:release"], &[]), &body),
                async |office| office.release(&which).await,
            );
            asked.map_or_else(
                |exit| exit,
                |done: Released| out::answer(global, &done, |d| format!("{} jobs released", d.released)),
            )
        }
    }
}

fn meant(which: &JobWhich) -> WhichJobs {
    WhichJobs { line: which.line.clone(), state: which.state.map(Into::into), row: which.row.clone() }
}

fn query<'a>(which: &'a WhichJobs, max: &'a str) -> Vec<(&'static str, &'a str)> {
    let line = which.line.as_deref().map(|line| ("line", line));
    let state = which.state.map(|state| ("state", state.label()));
    let row = which.row.as_deref().map(|row| ("row", row));
    [line, state, row, Some(("max", max))].into_iter().flatten().collect()
}

fn list_text(answer: &JobsAnswer) -> String {
    let mut table = Table::new(&["line", "row", "state", "lane", ">age", ">tries", "until", "reason"]);
    let now = wiring::clock().0;
    for job in &answer.jobs {
        table.row([
            job.line.clone(),
            job.row.clone(),
            job.state.clone(),
            job.lane.clone(),
            span(job.age_ms),
            job.attempts.to_string(),
            job.until.map_or_else(String::new, |until| ago(until, now)),
            job.reason.clone().unwrap_or_default(),
        ]);
    }
    let mut text = table.or("no jobs");
    if answer.more {
        text.push_str("\nthere are more: narrow them by --line, --state or --row, or raise --max\n");
    }
    text
}

fn show_text(answer: &JobsAnswer) -> String {
    let mut text = String::new();
    answer.jobs.iter().for_each(|job| job_text(job, &mut text));
    text
}

fn job_text(job: &JobAnswer, text: &mut String) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "{} {}\n  {} in lane {}", job.line, shown(&job.row), job.state, job.lane);
    let _ = writeln!(text, "  first offered {} ago, {} failed tries", span(job.age_ms), job.attempts);
    if let Some(until) = job.until {
        let what = if job.state == "active" { "lease ends" } else { "not before" };
        let _ = writeln!(text, "  {what}: {}", ago(until, wiring::clock().0));
    }
    if let Some(reason) = &job.reason {
        let _ = writeln!(text, "  reason: {}", tamed(reason));
    }
    if !job.types.is_empty() {
        let _ = writeln!(text, "  change types: {}", job.types.join(", "));
    }
    if job.must_write {
        text.push_str("  it writes even an equal document\n");
    }
}
