//! What only a running node can tell, and every changing call. Each change goes into the audit log with its reason:
//! the supervisor's own commands there, the others here.

use super::super::answers::{Code, EntityAnswer, Problem};
use super::super::desk::RunChange;
use super::super::runs::RebuildWish;
use super::Node;
use super::call::{Call, json};
use super::routes::Answered;
use super::stores::which;
use crate::domain::ids::{Name, Partition, RowId, RowKey};
use crate::messages::control::Command;
use crate::messages::observe::{ActorKind, ActorState, PartitionView};
use serde::Serialize;
use serde_json::json as object;
use std::sync::Arc;

/// One row's entity.
#[derive(Serialize)]
struct EntityOfRow {
    kind: String,
    key: String,
    /// `None`: none lives; the next change spawns one.
    entity: Option<EntityAnswer>,
}

#[derive(Serialize)]
struct Partitions {
    partitions: Vec<PartitionAnswer>,
}

/// A partition with its actor's state.
#[derive(Serialize)]
pub(super) struct PartitionAnswer {
    pub id: String,
    pub state: ActorState,
    pub reason: String,
    /// In ms since 1970.
    pub since: i64,
    /// `None` while its actor is between two lives.
    #[serde(flatten)]
    pub view: Option<PartitionView>,
}

fn audit(what: &str, on: &str, reason: &str) {
    tracing::info!(target: "audit", what, on, reason, "operator");
}

pub(super) async fn actors(node: Arc<Node>, call: Call) -> Answered {
    if let Some(row) = call.text("row") {
        let (kind, key) = row.split_once('/').ok_or_else(|| {
            Problem::new(Code::BadRequest, format!("`row` is `{row}`")).help("write KIND/KEY, such as order/4456:2308")
        })?;
        let id = RowId { kind: node.office.kind(kind)?.name, key: RowKey::new(key) };
        let entity = node.office.entity.as_ref().and_then(|look| look(&id));
        return json(&EntityOfRow { kind: kind.to_owned(), key: key.to_owned(), entity });
    }
    let mut picture = node.look().await?;
    if let Some(kind) = call.text("kind") {
        let known = || ActorKind::ALL.map(ActorKind::label).join(", ");
        let kind = ActorKind::parse(kind).ok_or_else(|| {
            Problem::new(Code::BadRequest, format!("`kind` is `{kind}`")).help(format!("there are: {}", known()))
        })?;
        picture.actors.retain(|actor| actor.kind == kind);
    }
    json(&picture)
}

pub(super) async fn restart(node: Arc<Node>, call: Call) -> Answered {
    let actor = call.part("id").to_owned();
    node.command(Command::Restart { actor: actor.clone(), reason: call.reason() }).await?;
    json(&object!({ "restarted": actor }))
}

pub(super) async fn partitions(node: Arc<Node>) -> Answered {
    json(&Partitions { partitions: of_picture(node.look().await?.actors) })
}

/// The partitions among actors, by topic and number.
pub(super) fn of_picture(actors: Vec<crate::messages::observe::Observation>) -> Vec<PartitionAnswer> {
    let of_kind = actors.into_iter().filter(|a| a.kind == ActorKind::Partition);
    let mut partitions: Vec<_> = of_kind
        .map(|a| PartitionAnswer { id: a.id, state: a.state, reason: a.reason, since: a.since, view: a.partition })
        .collect();
    let place = |p: &PartitionAnswer| p.view.as_ref().map(|v| (v.topic.clone(), v.partition));
    partitions.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.id.cmp(&b.id)));
    partitions
}

fn partition(call: &Call) -> Result<Partition, Problem> {
    let number = call.part("partition");
    let number = number.parse().map_err(|_| {
        Problem::new(Code::BadRequest, format!("`{number}` is no partition number")).help("write partitions/TOPIC/NUMBER:pause")
    })?;
    let topic = Name::intern(call.part("topic")).map_err(|e| Problem::new(Code::BadRequest, e.to_string()))?;
    Ok(Partition { topic, number })
}

pub(super) async fn pause(node: Arc<Node>, call: Call) -> Answered {
    let partition = partition(&call)?;
    node.command(Command::Pause { partition, reason: call.reason() }).await?;
    json(&object!({ "paused": partition.to_string() }))
}

pub(super) async fn resume(node: Arc<Node>, call: Call) -> Answered {
    let partition = partition(&call)?;
    node.command(Command::Resume { partition, reason: call.reason() }).await?;
    json(&object!({ "resumed": partition.to_string() }))
}

pub(super) fn totals(node: Arc<Node>) -> Answered {
    json(&node.pulse.totals())
}

pub(super) async fn replay(node: Arc<Node>, call: Call) -> Answered {
    let letter = node.office.letter(call.part("id")).await?;
    let (id, source) = (letter.id, letter.source);
    let command = Command::Replay { letter: Box::new(letter.record), source, id: id.clone(), reason: call.reason() };
    node.command(command).await?;
    json(&object!({ "replayed": id }))
}

pub(super) async fn release(node: Arc<Node>, call: Call) -> Answered {
    let which = which(&call)?;
    audit("release", which.line.as_deref().unwrap_or("every line"), &call.reason());
    json(&node.office.release(&which).await?)
}

pub(super) fn rebuild(node: Arc<Node>, call: Call) -> Answered {
    let wish = RebuildWish {
        from: call.owned("from"),
        to: call.owned("to"),
        rate: call.parsed("rate", "rows per second, such as 500")?,
        dry: call.flag("dry")?,
    };
    let plan = node.office.rebuild_plan(call.part("line"), wish)?;
    audit("rebuild", call.part("line"), &call.reason());
    json(&node.desk.rebuild(&node.office, plan, &call.reason())?)
}

pub(super) fn purge(node: Arc<Node>, call: Call) -> Answered {
    let dry = call.flag("dry")?;
    audit("purge", call.part("kind"), &call.reason());
    json(&node.desk.purge(&node.office, call.part("kind"), dry, &call.reason())?)
}

pub(super) fn skip_equal(node: Arc<Node>, call: Call) -> Answered {
    let on = call.parsed("on", "true or false")?;
    let on = on.ok_or_else(|| Problem::new(Code::BadRequest, "`on` is missing").help("write true or false"))?;
    let switched = node.office.switch_skip_equal(call.part("line"), on)?;
    audit(if on { "skip_equal on" } else { "skip_equal off" }, call.part("line"), &call.reason());
    json(&switched)
}

pub(super) async fn runs(node: Arc<Node>) -> Answered {
    json(&node.desk.runs(&node.office).await?)
}

pub(super) fn run(node: Arc<Node>, call: Call) -> Answered {
    json(&node.desk.run(call.part("id"))?)
}

pub(super) fn pause_run(node: Arc<Node>, call: Call) -> Answered {
    change_run(&node, &call, RunChange::Pause, "pause run")
}

pub(super) fn resume_run(node: Arc<Node>, call: Call) -> Answered {
    change_run(&node, &call, RunChange::Resume, "resume run")
}

pub(super) fn cancel_run(node: Arc<Node>, call: Call) -> Answered {
    change_run(&node, &call, RunChange::Cancel, "cancel run")
}

fn change_run(node: &Node, call: &Call, change: RunChange, what: &str) -> Answered {
    let changed = node.desk.change(call.part("id"), change)?;
    audit(what, call.part("id"), &call.reason());
    json(&changed)
}

pub(super) async fn bump_epoch(node: Arc<Node>, call: Call) -> Answered {
    let (topic, dry, reason) = (call.part("topic"), call.flag("dry")?, call.reason());
    tracing::info!(target: "audit", what = "bump_epoch", on = topic, dry, reason, "operator");
    json(&node.office.bump_epoch(topic, dry).await?)
}
