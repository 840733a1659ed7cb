//! From settings to parts: the only place that knows every concrete store, queue, source and sink.
//!
//! `kinds` keeps E5 (a configuration that would orphan rows is refused). Offline verbs open the same stores through it.

#[cfg(feature = "redis")]
mod asynq;
#[cfg(feature = "hbase")]
mod hbase;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_sink;
mod kinds;
pub mod probe;
#[cfg(feature = "redis")]
mod redis_sink;
#[cfg(feature = "elasticsearch")]
mod search;
pub mod shop;

pub use kinds::check_fingerprints;

use super::engine::{Parts, SourcePart};
use super::unread::Unread;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name};
use crate::io::embedded::{EmbeddedDocuments, EmbeddedLedger, EmbeddedQueue, EmbeddedRowStore, EmbeddedStore};
use crate::io::generator::GeneratorSource;
use crate::io::jobbook::wait::wall_clock;
use crate::io::jsonl::{JsonlSink, JsonlSource};
use crate::io::memory::{MemoryLedger, MemoryQueue, MemoryRowStore};
use crate::io::print::PrintSink;
use crate::io::shared_notes::SharedNotes;
use crate::ports::Doors;
use crate::ports::ledger::Ledger;
use crate::ports::queue::JobQueue;
use crate::ports::rows::RowStore;
use crate::ports::sink::Sink;
use crate::ports::source::{Source, TopicLives};
use crate::settings::{self, LineSettings, QueueKind, Settings, SinkKind, SourceKind, Store};
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
    for line in settings.lines.iter().filter(|line| line.sink != SinkKind::QueueOnly) {
        sinks.insert(line.line.name, open_sink(line, settings, &store)?);
    }
    let rows: Arc<dyn RowStore> = match &settings.store {
        Store::Embedded => Arc::new(EmbeddedRowStore::open(Arc::clone(&store), Arc::clone(&settings.schema))?),
        #[cfg(feature = "hbase")]
        Store::Hbase(hbase) => hbase::rows(hbase, settings)?,
        #[cfg(not(feature = "hbase"))]
        Store::Hbase(_) => return Err(left_out("hbase")),
    };
    let own: Arc<dyn Ledger> = Arc::new(EmbeddedLedger::open(Arc::clone(&store))?);
    let queue: Arc<dyn JobQueue> = match &settings.queue.kind {
        QueueKind::Embedded => Arc::new(EmbeddedQueue::open(Arc::clone(&store), &settings.queue, wall_clock())?),
        #[cfg(feature = "redis")]
        QueueKind::Asynq(asynq) => asynq::queue(asynq, settings, &store, &own)?,
        #[cfg(not(feature = "redis"))]
        QueueKind::Asynq(_) => return Err(left_out("asynq")),
    };
    let ledger = shared_where_the_queue_is(settings, own, &rows);
    Ok(Doors { rows, queue, ledger, sinks })
}

/// J11: what is noted of a queue that others use too must be seen by whoever owns a partition next. A row store of this
/// node alone has no next owner.
fn shared_where_the_queue_is(settings: &Settings, ledger: Arc<dyn Ledger>, rows: &Arc<dyn RowStore>) -> Arc<dyn Ledger> {
    if settings.queue.kind == QueueKind::Embedded || settings.store == Store::Embedded {
        return ledger;
    }
    Arc::new(SharedNotes::new(ledger, Arc::clone(rows)))
}

// Sinks of this node alone ask for no settings.
#[cfg_attr(not(any(feature = "kafka", feature = "redis")), allow(unused_variables))]
fn open_sink(line: &LineSettings, settings: &Settings, store: &Arc<EmbeddedStore>) -> Result<Arc<dyn Sink>, Fault> {
    Ok(match &line.sink {
        SinkKind::Embedded => Arc::new(EmbeddedDocuments::open(Arc::clone(store), line.line.name)),
        SinkKind::Jsonl { path } => Arc::new(JsonlSink::open(path.clone())?),
        #[cfg(feature = "elasticsearch")]
        SinkKind::Elasticsearch(search) => search::sink(search, line)?,
        #[cfg(feature = "redis")]
        SinkKind::Redis(redis) => redis_sink::sink(redis, line, settings)?,
        #[cfg(feature = "kafka")]
        SinkKind::Kafka(kafka) => kafka_sink::sink(kafka, line, settings, store)?,
        #[allow(unreachable_patterns)]
        other => return Err(left_out(other)),
    })
}

/// The settings refuse kinds that this build leaves out, so this is for settings made by hand.
fn left_out(kind: impl std::fmt::Debug) -> Fault {
    Fault::new(FaultKind::Incompatible, "configuration", format!("this build leaves out {kind:?}"))
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
    let open = |source: &settings::Source| {
        Ok(SourcePart { settings: source.clone(), source: open_source(source, settings, &doors, mode)? })
    };
    let sources = sources.iter().map(open).collect::<Result<_, Fault>>()?;
    Ok(Parts { doors, sources })
}

/// The doors with every configured source left unread: offline verbs replay letters and work jobs on them.
pub fn parts_unread(settings: &Settings, doors: Doors) -> Parts {
    let unread =
        |source: &settings::Source| SourcePart { settings: source.clone(), source: Box::new(Unread(source.name.clone())) };
    Parts { doors, sources: settings.sources.iter().map(unread).collect() }
}

/// Sources whose topics have lives (E3), for people's questions.
#[cfg_attr(not(feature = "kafka"), allow(unused_variables))]
pub fn topic_lives(settings: &Settings, doors: &Doors) -> Vec<Arc<dyn TopicLives>> {
    settings
        .sources
        .iter()
        .filter_map(|source| match &source.kind {
            #[cfg(feature = "kafka")]
            SourceKind::Kafka(kafka) => Some(kafka::lives(kafka, source, doors)),
            _ => None,
        })
        .collect()
}

/// Whether a node has ever run on the stores of these settings.
pub fn has_run(settings: &Settings) -> bool {
    // Rows elsewhere may have been written from any machine.
    settings.store != Store::Embedded || EmbeddedStore::exists(&settings.node.data_dir)
}

/// Removes what earlier runs left in the stores of these settings.
///
/// # Errors
/// A store that somebody has open, and what the disk refuses.
pub fn begin_anew(settings: &Settings) -> Result<(), Fault> {
    EmbeddedStore::remove(&settings.node.data_dir)
}

#[cfg_attr(not(feature = "kafka"), allow(unused_variables))]
fn open_source(source: &settings::Source, settings: &Settings, doors: &Doors, mode: RunMode) -> Result<Box<dyn Source>, Fault> {
    Ok(match &source.kind {
        SourceKind::Jsonl { path } => {
            Box::new(JsonlSource::new(source.name.clone(), path.clone(), Arc::clone(&doors.ledger), mode.from_start))
        }
        SourceKind::Generator(generator) => Box::new(GeneratorSource::new(source.name.clone(), generator)),
        #[cfg(feature = "kafka")]
        SourceKind::Kafka(kafka) => kafka::source(kafka, source, settings, doors),
        #[cfg(not(feature = "kafka"))]
        SourceKind::Kafka(_) => return Err(left_out("kafka")),
    })
}

/// The wall clock, in ms since 1970.
pub fn clock() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(since.as_millis() as i64)
}
