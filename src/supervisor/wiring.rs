//! From settings to parts: the only place that knows every concrete store, queue, source and sink.
//!
//! Keeps E5 (a configuration that would orphan rows is refused). Offline verbs open the same stores through it.

pub mod probe;
pub mod shop;

use super::engine::{Parts, SourcePart};
use super::unread::Unread;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name};
use crate::domain::schema::{RowKind, Schema};
use crate::io::embedded::{EmbeddedDocuments, EmbeddedLedger, EmbeddedQueue, EmbeddedRowStore, EmbeddedStore};
use crate::io::generator::GeneratorSource;
use crate::io::jobbook::wait::wall_clock;
use crate::io::jsonl::{JsonlSink, JsonlSource};
use crate::io::memory::{MemoryLedger, MemoryQueue, MemoryRowStore};
use crate::io::print::PrintSink;
use crate::ports::Doors;
use crate::ports::ledger::Ledger;
use crate::ports::rows::RowStore;
use crate::ports::sink::Sink;
use crate::ports::source::Source;
use crate::settings::{self, Settings, SinkKind, SourceKind};
use std::collections::HashMap;
use std::sync::Arc;

/// How a run differs from the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunMode {
    /// Files are read from their first line.
    pub from_start: bool,
}

/// Opens the stores and sinks that the settings name.
///
/// # Errors
/// A store is open elsewhere, of another version, or cannot be reached: with what to do.
pub fn open(settings: &Settings) -> Result<Doors, Fault> {
    let store = EmbeddedStore::open(&settings.node.data_dir)?;
    let mut sinks: HashMap<Name, Arc<dyn Sink>> = HashMap::new();
    for line in &settings.lines {
        let name = line.line.name;
        let sink: Arc<dyn Sink> = match &line.sink {
            SinkKind::Embedded => Arc::new(EmbeddedDocuments::open(Arc::clone(&store), name)),
            SinkKind::Jsonl { path } => Arc::new(JsonlSink::open(path.clone())?),
            SinkKind::QueueOnly => continue,
        };
        sinks.insert(name, sink);
    }
    Ok(Doors {
        rows: Arc::new(EmbeddedRowStore::open(Arc::clone(&store), Arc::clone(&settings.schema))?),
        queue: Arc::new(EmbeddedQueue::open(Arc::clone(&store), &settings.queue, wall_clock())?),
        ledger: Arc::new(EmbeddedLedger::open(store)?),
        sinks,
    })
}

/// The same doors in memory, documents to standard output: a dry run touches nothing that stays.
pub fn open_dry(settings: &Settings) -> Doors {
    let lines = settings.lines.iter().filter(|l| l.sink != SinkKind::QueueOnly).map(|l| l.line.name);
    Doors {
        rows: Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema))),
        queue: Arc::new(MemoryQueue::new(&settings.queue, wall_clock())),
        ledger: Arc::new(MemoryLedger::new()),
        sinks: lines.map(|name| (name, Arc::new(PrintSink::new(name)) as Arc<dyn Sink>)).collect(),
    }
}

/// Adds the configured sources.
///
/// # Errors
/// A source that cannot be made.
pub fn parts(settings: &Settings, doors: Doors, mode: RunMode) -> Result<Parts, Fault> {
    let sources = if settings.node.ingest { settings.sources.as_slice() } else { &[] };
    let sources =
        sources.iter().map(|source| SourcePart { settings: source.clone(), source: open_source(source, &doors.ledger, mode) });
    let sources = sources.collect();
    Ok(Parts { doors, sources })
}

/// The doors with every configured source left unread: offline verbs replay letters and work jobs on them.
pub fn parts_unread(settings: &Settings, doors: Doors) -> Parts {
    let unread =
        |source: &settings::Source| SourcePart { settings: source.clone(), source: Box::new(Unread(source.name.clone())) };
    Parts { doors, sources: settings.sources.iter().map(unread).collect() }
}

/// Whether a node has ever run on the stores of these settings.
pub fn has_run(settings: &Settings) -> bool {
    EmbeddedStore::exists(&settings.node.data_dir)
}

/// Removes what earlier runs left in the stores of these settings.
///
/// # Errors
/// A store that somebody has open, and what the disk refuses.
pub fn begin_anew(settings: &Settings) -> Result<(), Fault> {
    EmbeddedStore::remove(&settings.node.data_dir)
}

fn open_source(source: &settings::Source, ledger: &Arc<dyn Ledger>, mode: RunMode) -> Box<dyn Source> {
    match &source.kind {
        SourceKind::Jsonl { path } => {
            Box::new(JsonlSource::new(source.name.clone(), path.clone(), Arc::clone(ledger), mode.from_start))
        }
        SourceKind::Generator(generator) => Box::new(GeneratorSource::new(source.name.clone(), generator)),
    }
}

/// E5: refuses a run whose row kinds differ from those that wrote the store, and notes the kinds that are new.
///
/// # Errors
/// [`FaultKind::Incompatible`] with both fingerprints and what to do.
pub async fn check_fingerprints(rows: &dyn RowStore, schema: &Schema, settings: &Settings) -> Result<(), Fault> {
    for kind in &schema.kinds {
        let key = format!("fingerprint/{}", kind.name);
        let wanted = fingerprint(kind, schema, settings);
        match rows.meta(&key).await? {
            None => {
                rows.set_meta(&key, None, &wanted).await?;
            }
            Some(held) if held == wanted => {}
            Some(held) => {
                let what = format!(
                    "row kind `{}` was written as `{held}` and is configured as `{wanted}`; its rows would be orphaned or \
                     their versions fall (E5). Put the configuration back, or give the kind another name, or use another data_dir",
                    kind.name
                );
                return Err(Fault::new(FaultKind::Incompatible, "row store", what));
            }
        }
    }
    Ok(())
}

/// What must not change under rows that exist: key template, ids, stamp and version kinds.
fn fingerprint(kind: &RowKind, schema: &Schema, settings: &Settings) -> String {
    let mut tables: Vec<String> = kind
        .tables
        .iter()
        .map(|t| {
            let ids: Vec<_> = t.id.iter().map(|n| n.as_str()).collect();
            format!("{}({})", schema.table(t.table).name, ids.join(","))
        })
        .collect();
    tables.sort_unstable();
    let mut stamps: Vec<String> = settings.sources.iter().map(|s| format!("{:?}", s.stamp)).collect();
    stamps.sort_unstable();
    stamps.dedup();
    format!("key {} version {} stamp {} tables {}", kind.key.source(), kind.version, stamps.join("+"), tables.join(" "))
}

/// The wall clock, in ms since 1970.
pub fn clock() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(since.as_millis() as i64)
}
