//! From settings to topics of Kafka, and what `check --connect` says of them.

use super::RunMode;
use super::probe::Probe;
use crate::domain::fault::{Fault, FaultKind};
use crate::ports::Doors;
use crate::ports::source::Source;
use crate::settings::{self, KafkaSettings, Settings};

/// One source.
///
/// # Errors
/// Settings that the client refuses.
pub fn source(
    kafka: &KafkaSettings,
    source: &settings::Source,
    _settings: &Settings,
    _doors: &Doors,
    _mode: RunMode,
) -> Result<Box<dyn Source>, Fault> {
    let place = format!("source {}", source.name);
    Err(Fault::new(FaultKind::Incompatible, place, format!("no client for {:?}", kafka.address.brokers)))
}

/// Whether the brokers answer, the topics are there, and may be read.
pub fn probe(kafka: &KafkaSettings, source: &settings::Source, _settings: &Settings) -> Vec<Probe> {
    let system = format!("source {}", source.name);
    vec![Probe::lacking(system, format!("no client for {:?}", kafka.address.brokers), "use another source")]
}
