//! From settings to documents in Elasticsearch or OpenSearch, and what `check --connect` says of them.

use super::probe::{Probe, from_fault};
use crate::domain::fault::Fault;
use crate::io::clients;
use crate::io::elasticsearch::{Client, ElasticsearchSink, Seen, SinkOptions, inspect, mapping_of};
use crate::ports::sink::Sink;
use crate::settings::{ElasticsearchSettings, LineSettings};
use std::sync::Arc;

/// The sink of one line. Nothing is asked of the server before the first write.
///
/// # Errors
/// Settings that the client refuses.
pub fn sink(search: &ElasticsearchSettings, line: &LineSettings) -> Result<Arc<dyn Sink>, Fault> {
    let options = SinkOptions {
        index: search.index.clone(),
        create: search.create.then(|| mapping_of(&line.line)),
        docs: search.bulk_docs,
        bytes: search.bulk_bytes,
        in_flight: search.bulk_in_flight,
    };
    Ok(Arc::new(ElasticsearchSink::new(Client::new(search)?, options)))
}

/// What is there, and what is missing.
pub fn probe(search: &ElasticsearchSettings, line: &LineSettings) -> Vec<Probe> {
    let system = format!("sink of {}", line.line.name);
    match look(search, line) {
        Ok(seen) => seen.into_iter().map(|seen| told(&system, seen)).collect(),
        Err(fault) => vec![from_fault(system, fault, "put the setting right, or leave it out")],
    }
}

fn told(system: &str, seen: Seen) -> Probe {
    match seen {
        Seen::Fine(found) => Probe::fine(system, found),
        Seen::Lacking { missing, remedy } => Probe::lacking(system, missing, remedy),
    }
}

fn look(search: &ElasticsearchSettings, line: &LineSettings) -> Result<Vec<Seen>, Fault> {
    let client = Client::new(search)?;
    let (index, mapping, create) = (search.index.clone(), mapping_of(&line.line), search.create);
    clients::wait(async move { Ok(inspect(&client, &index, &mapping, create).await) })
}
