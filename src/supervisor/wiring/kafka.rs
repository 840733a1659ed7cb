//! From settings to topics of Kafka, and what `check --connect` says of them.

use super::RunMode;
use super::probe::Probe;
use crate::domain::fault::Fault;
use crate::io::kafka::{KafkaSource, TopicDesk};
use crate::ports::Doors;
use crate::ports::source::{Source, TopicLives};
use crate::settings::{self, KafkaSettings, QueueKind, Settings, Store};
use std::sync::Arc;

/// One source.
///
/// # Errors
/// None of its own; the client is made when it starts.
pub fn source(
    kafka: &KafkaSettings,
    source: &settings::Source,
    settings: &Settings,
    doors: &Doors,
    _mode: RunMode,
) -> Result<Box<dyn Source>, Fault> {
    Ok(Box::new(KafkaSource {
        name: source.name.clone(),
        settings: kafka.clone(),
        node: settings.node.id.clone(),
        alone: settings.store == Store::Embedded || settings.queue.kind == QueueKind::Embedded,
        rows: Arc::clone(&doors.rows),
        ledger: Arc::clone(&doors.ledger),
    }))
}

/// The lives of a source's topics.
pub fn lives(kafka: &KafkaSettings, source: &settings::Source, doors: &Doors) -> Arc<dyn TopicLives> {
    Arc::new(TopicDesk::new(source.name.clone(), kafka.clone(), Arc::clone(&doors.rows)))
}

/// Whether the brokers answer, the topics are there, and may be read.
pub fn probe(kafka: &KafkaSettings, source: &settings::Source, _settings: &Settings) -> Vec<Probe> {
    let system = format!("source {}", source.name);
    vec![Probe::lacking(system, format!("no client for {:?}", kafka.address.brokers), "use another source")]
}
