//! From settings to notices on Kafka, and what `check --connect` says of them.

use super::probe::Probe;
use crate::domain::fault::{Fault, FaultKind};
use crate::io::embedded::EmbeddedStore;
use crate::ports::sink::Sink;
use crate::settings::{KafkaSinkSettings, LineSettings, Settings};
use std::sync::Arc;

/// The sink of one line; with `remember`, last documents are kept in the embedded store.
///
/// # Errors
/// Settings that the client refuses.
pub fn sink(
    kafka: &KafkaSinkSettings,
    line: &LineSettings,
    _settings: &Settings,
    _store: &Arc<EmbeddedStore>,
) -> Result<Arc<dyn Sink>, Fault> {
    let place = format!("sink of {}", line.line.name);
    Err(Fault::new(FaultKind::Incompatible, place, format!("no client for {:?}", kafka.address.brokers)))
}

/// Whether the brokers answer, and the topic is there and may be written.
pub fn probe(kafka: &KafkaSinkSettings, line: &LineSettings, _settings: &Settings) -> Vec<Probe> {
    let system = format!("sink of {}", line.line.name);
    vec![Probe::lacking(system, format!("no client for {:?}", kafka.address.brokers), "use another sink")]
}
