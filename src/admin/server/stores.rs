//! Questions to the stores, as HTTP asks them.

use super::super::answers::{Code, LineOutage, Problem, WhichJobs};
use super::Node;
use super::call::{Call, json};
use super::routes::Answered;
use crate::ports::queue::JobState;
use serde_json::json as object;
use std::sync::Arc;

pub(super) async fn row(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.row(call.part("kind"), call.part("key")).await?)
}

pub(super) async fn why(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.why(call.part("kind"), call.part("key")).await?)
}

pub(super) async fn row_keys(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.row_keys(call.part("kind"), call.text("from"), call.max()?).await?)
}

pub(super) fn row_key(node: Arc<Node>, call: Call) -> Answered {
    let column = |pair: &str| {
        let split = pair.split_once('=').map(|(column, value)| (column.to_owned(), value.to_owned()));
        split.ok_or_else(|| Problem::new(Code::BadRequest, format!("`key` is `{pair}`")).help("write column=value"))
    };
    let columns = call.texts("key").map(column).collect::<Result<Vec<_>, _>>()?;
    let kind = call.part("kind");
    json(&object!({ "kind": kind, "key": node.office.row_key(kind, &columns)?.as_str() }))
}

pub(super) async fn lines(node: Arc<Node>) -> Answered {
    let mut answer = node.office.lines().await?;
    for sink in super::health::sinks(&node.look().await?) {
        let line = answer.lines.iter_mut().find(|line| sink.name.strip_prefix("sink:") == Some(&line.line));
        if let (Some(line), Some(reason)) = (line, sink.cause) {
            line.outage = Some(LineOutage { reason, since: sink.since });
        }
    }
    json(&answer)
}

pub(super) async fn lanes(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.lanes(call.text("line")).await?)
}

/// The jobs a call means.
pub(super) fn which(call: &Call) -> Result<WhichJobs, Problem> {
    let state = |text: &str| {
        let known = JobState::ALL.map(JobState::label).join(", ");
        JobState::parse(text).ok_or_else(|| Problem::new(Code::BadRequest, format!("`state` is `{text}`")).help(known))
    };
    Ok(WhichJobs { line: call.owned("line"), state: call.text("state").map(state).transpose()?, row: call.owned("row") })
}

pub(super) async fn jobs(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.jobs(&which(&call)?, call.max()?).await?)
}

pub(super) async fn documents(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.documents(call.part("line"), call.text("after"), call.max()?).await?)
}

pub(super) async fn document(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.document(call.part("line"), call.part("id")).await?)
}

pub(super) async fn dead_letters(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.dead_letters(call.text("after"), call.max()?).await?)
}

pub(super) async fn dead_letter(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.dead_letter(call.part("id")).await?)
}

pub(super) async fn epochs(node: Arc<Node>, call: Call) -> Answered {
    json(&node.office.epochs(call.text("topic")).await?)
}

pub(super) fn config(node: Arc<Node>) -> Answered {
    json(&node.office.config()?)
}
