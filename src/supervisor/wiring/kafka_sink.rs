//! From settings to notices on Kafka, and what `check --connect` says of them.

use super::clock;
use super::probe::{Probe, from_fault};
use crate::domain::fault::{Fault, FaultKind};
use crate::io::embedded::remembered::DOCUMENTS_MAX;
use crate::io::embedded::{EmbeddedStore, RememberedDocuments};
use crate::io::kafka_sink::KafkaSink;
use crate::ports::sink::{LastDocuments, Sink};
use crate::settings::{KafkaSinkSettings, LineSettings, Settings};
use std::sync::Arc;
use std::time::Duration;

/// How long brokers may take to say what they have.
const LOOK: Duration = Duration::from_secs(5);

/// The sink of one line; with `remember`, last documents are kept in the embedded store.
///
/// # Errors
/// Settings that the client refuses.
pub fn sink(
    kafka: &KafkaSinkSettings,
    line: &LineSettings,
    settings: &Settings,
    store: &Arc<EmbeddedStore>,
) -> Result<Arc<dyn Sink>, Fault> {
    let name = line.line.name;
    let last = kafka.remember.then(|| {
        let kept = RememberedDocuments::open(Arc::clone(store), name, DOCUMENTS_MAX);
        Arc::new(kept) as Arc<dyn LastDocuments>
    });
    Ok(Arc::new(KafkaSink::open(kafka, name, &client_id(line, settings), last, clock)?))
}

/// Whether the brokers answer, and the topic is there and may be written.
pub fn probe(kafka: &KafkaSinkSettings, line: &LineSettings, settings: &Settings) -> Vec<Probe> {
    let system = format!("sink of {}", line.line.name);
    let looked = KafkaSink::open(kafka, line.line.name, &client_id(line, settings), None, clock).and_then(|sink| sink.look(LOOK));
    vec![match looked {
        Ok(0) => Probe::lacking(system, format!("topic {} is not there", kafka.topic), "make the topic"),
        Ok(partitions) => Probe::fine(system, format!("topic {}, {partitions} partitions", kafka.topic)),
        Err(fault) => {
            let remedy = match fault.kind {
                FaultKind::Forbidden => "give this user the right to describe and write the topic",
                FaultKind::Incompatible => "put the property or the topic's name right",
                _ => "see that the brokers run and the topic is made; `brokers`, `tls` and `sasl` say how they are reached",
            };
            from_fault(system, fault, remedy)
        }
    }]
}

fn client_id(line: &LineSettings, settings: &Settings) -> String {
    format!("widerow-{}-{}", settings.node.id, line.line.name)
}
