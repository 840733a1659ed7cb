//! How the node is: alive, ready, and everybody's state with age and cause.

use super::super::answers::{Code, Problem};
use super::super::pulse::Dependency;
use super::call::json;
use super::routes::{Answered, Answers};
use super::{Node, Picture};
use crate::messages::control::EntityCounts;
use crate::messages::observe::{ActorKind, ActorState, Observation};
use actix_web::HttpResponse;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Live {
    live: bool,
    node: String,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

/// How everything is.
#[derive(Serialize)]
pub(super) struct Health {
    /// `ok`, or `degraded` when anybody or anything is not as it should be.
    pub status: &'static str,
    pub node: String,
    pub version: &'static str,
    pub started: i64,
    pub now: i64,
    pub draining: bool,
    pub dependencies: Vec<Dependency>,
    pub actors: Vec<ActorHealth>,
    pub entities: EntityCounts,
    /// Sources that wait for others to let them read, and why.
    pub waiting_sources: Vec<(String, String)>,
    /// Sources that cannot go on, and why.
    pub failed_sources: Vec<(String, String)>,
}

#[derive(Serialize)]
pub(super) struct ActorHealth {
    pub id: String,
    pub kind: ActorKind,
    pub state: ActorState,
    pub since: i64,
    pub age_ms: i64,
    pub last_progress_age_ms: i64,
    pub cause: Option<String>,
}

pub(super) async fn livez(node: Arc<Node>) -> Answered {
    let picture = node.look().await?;
    json(&Live { live: true, node: picture.node })
}

pub(super) async fn readyz(node: Arc<Node>) -> Answered {
    let picture = node.look().await?;
    let mut lacking = Vec::new();
    if picture.draining {
        lacking.push("the node is draining".to_owned());
    }
    lacking.extend(picture.starting.iter().map(|source| format!("source {source} has not told its partitions yet")));
    lacking.extend(picture.faults().map(|(source, why)| format!("source {source}: {why}")));
    for dependency in node.pulse.stores(&node.office).await {
        lacking.extend(dependency.cause.map(|cause| format!("{}: {cause}", dependency.name)));
    }
    if lacking.is_empty() {
        return json(&Ready { ready: true });
    }
    Err(Problem::new(Code::NotReady, lacking.join("; ")))
}

pub(super) async fn health(node: Arc<Node>) -> Answered {
    let picture = node.look().await?;
    json(&of(&node, picture).await)
}

/// How everything in the picture is.
pub(super) async fn of(node: &Node, picture: Picture) -> Health {
    let mut dependencies = node.pulse.stores(&node.office).await;
    dependencies.extend(sinks(&picture));
    let actors: Vec<_> = picture.actors.iter().map(|actor| actor_health(actor, picture.now)).collect();
    let well = dependencies.iter().all(|d| d.state != "unreachable")
        && picture.faults().next().is_none()
        && picture.actors.iter().all(|a| is_well(a.state));
    Health {
        status: if well { "ok" } else { "degraded" },
        node: picture.node,
        version: env!("CARGO_PKG_VERSION"),
        started: picture.started,
        now: picture.now,
        draining: picture.draining,
        dependencies,
        actors,
        entities: picture.entities,
        waiting_sources: picture.waiting,
        failed_sources: picture.failed,
    }
}

/// A pause is somebody's wish; what waits, stands or fell is not.
const fn is_well(state: ActorState) -> bool {
    matches!(state, ActorState::Starting | ActorState::Running | ActorState::Paused | ActorState::Draining)
}

fn actor_health(actor: &Observation, now: i64) -> ActorHealth {
    let cause = Some(actor.reason.clone()).filter(|reason| !reason.is_empty());
    ActorHealth {
        id: actor.id.clone(),
        kind: actor.kind,
        state: actor.state,
        since: actor.since,
        age_ms: (now - actor.since).max(0),
        last_progress_age_ms: (now - actor.last_progress).max(0),
        cause: cause.or_else(|| actor.last_error.clone()),
    }
}

/// A sink is as its line's workers find it: nobody else asks it.
pub(super) fn sinks(picture: &Picture) -> Vec<Dependency> {
    let mut sinks: Vec<Dependency> = Vec::new();
    for actor in picture.actors.iter().filter(|a| a.kind == ActorKind::Sink) {
        let name = actor.id.rsplit_once(':').map_or(actor.id.as_str(), |(line, _)| line);
        let waits = actor.state == ActorState::BackingOff;
        let found = Dependency {
            name: name.to_owned(),
            state: if waits { "unreachable" } else { "reachable" },
            since: actor.since,
            checked: actor.last_progress,
            age_ms: (picture.now - actor.since).max(0),
            cause: actor.last_error.clone().filter(|_| waits),
        };
        match sinks.iter_mut().find(|s| s.name == name) {
            Some(held) if waits => *held = found,
            Some(_) => {}
            None => sinks.push(found),
        }
    }
    sinks
}

pub(super) fn metrics(node: Arc<Node>) -> Answered {
    Ok(HttpResponse::Ok().content_type(Answers::Prometheus.content_type()).body(node.wires.metrics.render()))
}
