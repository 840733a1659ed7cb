//! Which lines want a rebuild (R5): those whose documents were made by another mapping than the one configured.
//!
//! The ledger keeps a fingerprint per line: what its documents are made of, how its deletes look and where they go. It is
//! noted when a line is new on a store without rows, and when a rebuild of the whole range has ended; so a changed line
//! goes on saying what it wants, run after run.

use crate::domain::fault::Fault;
use crate::domain::ids::Name;
use crate::ports::ledger::Ledger;
use crate::ports::rows::RowStore;
use crate::settings::{LineSettings, SinkKind};
use std::fmt::Write;

/// The note of the mapping that made a line's documents.
pub fn note_of(line: Name) -> String {
    format!("line/{line}/mapping")
}

/// Sixteen hex digits that differ when the line would make other documents, or put them elsewhere.
pub fn fingerprint(line: &LineSettings) -> String {
    let mut text = format!("row {} delete {:?} ", line.line.kind, line.line.delete);
    let sink = match &line.sink {
        SinkKind::Embedded => "embedded".to_owned(),
        SinkKind::Jsonl { path } => format!("jsonl {}", path.display()),
        SinkKind::QueueOnly => "queue_only".to_owned(),
        SinkKind::Elasticsearch(search) => format!("elasticsearch {} {}", search.urls.join(","), search.index),
        SinkKind::Redis(redis) => {
            format!("redis {} {} {}", redis.redis.hosts.join(","), redis.redis.database, redis.key.source())
        }
        SinkKind::Kafka(kafka) => format!("kafka {} {}", kafka.address.brokers.join(","), kafka.topic),
    };
    // Writing to a String cannot fail. Templates and fields show themselves by their configured words only.
    let _ = write!(text, "sink {sink} document {:?}", line.line.document);
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// The lines that want a rebuild, in the order of the configuration. Lines without a document never do.
///
/// # Errors
/// A ledger or store that cannot be asked.
pub async fn wanting(lines: &[LineSettings], rows: &dyn RowStore, ledger: &dyn Ledger) -> Result<Vec<Name>, Fault> {
    let mut wanting = Vec::new();
    for line in lines.iter().filter(|line| line.line.document.is_some()) {
        let name = line.line.name;
        let wants = match ledger.note(&note_of(name)).await? {
            Some(noted) => noted != fingerprint(line),
            // A new line: what was there before it has no document of it.
            None => !rows.scan(line.line.kind, None, None, 1).await?.rows.is_empty(),
        };
        if wants {
            wanting.push(name);
        }
    }
    Ok(wanting)
}

/// At the start of a run: notes the lines that are new on a store without rows, and says which others want a rebuild.
///
/// # Errors
/// A ledger or store that cannot be asked.
pub async fn at_start(lines: &[LineSettings], rows: &dyn RowStore, ledger: &dyn Ledger) -> Result<Vec<Name>, Fault> {
    let wanting = wanting(lines, rows, ledger).await?;
    let settled = lines.iter().filter(|line| line.line.document.is_some() && !wanting.contains(&line.line.name));
    let notes: Vec<_> = settled.map(|line| (note_of(line.line.name), Some(fingerprint(line)))).collect();
    ledger.set_notes(notes).await?;
    for line in &wanting {
        let command = format!("widerow rebuild {line}");
        tracing::warn!(%line, command, "line is new or its configuration changed, its documents want a rebuild");
    }
    Ok(wanting)
}
