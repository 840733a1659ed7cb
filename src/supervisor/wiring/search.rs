//! From settings to documents in Elasticsearch or OpenSearch, and what `check --connect` says of them.

use super::probe::Probe;
use crate::domain::fault::{Fault, FaultKind};
use crate::ports::sink::Sink;
use crate::settings::{ElasticsearchSettings, LineSettings, Settings};
use std::sync::Arc;

/// The sink of one line.
///
/// # Errors
/// Settings that the client refuses.
pub fn sink(search: &ElasticsearchSettings, line: &LineSettings, _settings: &Settings) -> Result<Arc<dyn Sink>, Fault> {
    let place = format!("sink of {}", line.line.name);
    Err(Fault::new(FaultKind::Incompatible, place, format!("no client for {:?}", search.urls)))
}

/// What is there, and what is missing.
pub fn probe(search: &ElasticsearchSettings, line: &LineSettings, _settings: &Settings) -> Vec<Probe> {
    let system = format!("sink of {}", line.line.name);
    vec![Probe::lacking(system, format!("no client for {:?}", search.urls), "use another sink")]
}
