//! From settings to jobs on Redis, and what `check --connect` says of them.

use super::probe::Probe;
use crate::domain::fault::{Fault, FaultKind};
use crate::io::embedded::EmbeddedStore;
use crate::ports::queue::JobQueue;
use crate::settings::{AsynqSettings, Settings};
use std::sync::Arc;

/// The queue; what overflows is kept in the embedded store.
///
/// # Errors
/// Settings that the client refuses.
pub fn queue(asynq: &AsynqSettings, _settings: &Settings, _store: &Arc<EmbeddedStore>) -> Result<Arc<dyn JobQueue>, Fault> {
    Err(Fault::new(FaultKind::Incompatible, "queue", format!("no client for {:?}", asynq.redis.hosts)))
}

/// Whether the server answers, is new enough, keeps what it is given, and lets us.
pub fn probe(asynq: &AsynqSettings, _settings: &Settings) -> Vec<Probe> {
    vec![Probe::lacking("queue", format!("no client for {:?}", asynq.redis.hosts), "use another queue")]
}
