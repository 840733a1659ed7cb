//! `check --connect`: every system the settings name is reached for real, and what is missing is said with what to do.
//!
//! Looks without leaving anything behind: nothing is made or committed, and what a running node has open is left to that
//! node. A sink's file is opened as a run opens it, which mends a torn last line.

use crate::domain::decode::{BadReason, BadRecord, DecodeSettings, Decoded, Format, Ignored, decode};
use crate::domain::fault::Fault;
use crate::domain::record::Record;
use crate::domain::schema::TableId;
use crate::io::embedded::{EmbeddedStore, ROOM_BYTES_MIN};
use crate::io::jsonl::{JsonlSink, Survey};
use crate::settings::{LineSettings, QueueKind, Settings, SinkKind, Source, SourceKind, Store};
use rustix::fs::{Access, access, statvfs};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Records of a file that are decoded to see what it carries.
const SNIFFED_RECORDS: usize = 1_000;
/// How long a node's admin endpoint may take to answer a knock.
const KNOCK: Duration = Duration::from_secs(1);

/// What was seen of one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    pub system: String,
    pub found: String,
    /// What keeps a run from working.
    pub missing: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Probe {
    pub(super) fn fine(system: impl Into<String>, found: impl Into<String>) -> Self {
        Self { system: system.into(), found: found.into(), missing: None, remedy: None }
    }
    pub(super) fn lacking(system: impl Into<String>, missing: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (missing, remedy) = (Some(missing.into()), Some(remedy.into()));
        Self { system: system.into(), found: String::new(), missing, remedy }
    }
}

/// Systems asked at once.
const ASKED_AT_ONCE: usize = 16;

/// A question to one system, not yet asked.
struct Question<'a> {
    system: String,
    ask: Box<dyn FnOnce() -> Vec<Probe> + Send + 'a>,
}

impl<'a> Question<'a> {
    fn new(system: impl Into<String>, ask: impl FnOnce() -> Vec<Probe> + Send + 'a) -> Self {
        Self { system: system.into(), ask: Box::new(ask) }
    }
}

/// Reaches every system, many at once: one that is away costs its time-out, and not to the others. The answers stand in
/// the order of the configuration.
pub fn probe(settings: &Settings) -> Vec<Probe> {
    let node = running_node(&settings.node.data_dir);
    let node = node.as_deref();
    let data_dir = &settings.node.data_dir;
    let mut questions = vec![
        Question::new("data_dir", || vec![disk(data_dir)]),
        Question::new(embedded_parts(settings), move || vec![store(settings, node)]),
    ];
    #[cfg(feature = "hbase")]
    if let Store::Hbase(hbase) = &settings.store {
        questions.push(Question::new("HBase", || super::hbase::probe(hbase, settings)));
    }
    #[cfg(feature = "redis")]
    if let QueueKind::Asynq(asynq) = &settings.queue.kind {
        questions.push(Question::new("queue", || super::asynq::probe(asynq)));
        #[cfg(feature = "mysql")]
        if let crate::settings::LedgerKind::Mysql(mysql) = &settings.ledger {
            questions.push(Question::new("ledger", || vec![super::asynq::probe_ledger(mysql)]));
        }
    }
    let sources = settings.sources.iter();
    questions.extend(sources.map(|s| Question::new(format!("source {}", s.name), move || source(s, settings))));
    for line in &settings.lines {
        let system = format!("sink of {}", line.line.name);
        questions.push(Question::new(system.clone(), move || sink(system, line, settings, node.is_some())));
    }
    questions.push(Question::new("admin", move || vec![admin(settings, node)]));
    answers(questions)
}

// Sinks of this node alone ask for no settings.
#[cfg_attr(not(any(feature = "kafka", feature = "redis")), allow(unused_variables))]
fn sink(system: String, line: &LineSettings, settings: &Settings, in_use: bool) -> Vec<Probe> {
    match &line.sink {
        SinkKind::Embedded => vec![Probe::fine(system, "in the embedded store")],
        SinkKind::QueueOnly => vec![Probe::fine(system, "none; another program takes the jobs")],
        SinkKind::Jsonl { path } => vec![sink_file(system, path, in_use)],
        #[cfg(feature = "elasticsearch")]
        SinkKind::Elasticsearch(search) => super::search::probe(search, line),
        #[cfg(feature = "redis")]
        SinkKind::Redis(redis) => super::redis_sink::probe(redis, line, settings),
        #[cfg(feature = "kafka")]
        SinkKind::Kafka(kafka) => super::kafka_sink::probe(kafka, line, settings),
        #[allow(unreachable_patterns)]
        other => vec![Probe::lacking(system, format!("this build leaves out {other:?}"), "build it with its feature")],
    }
}

/// Asks, and gives the answers in the order of the questions.
fn answers(questions: Vec<Question<'_>>) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut questions = questions.into_iter().peekable();
    while questions.peek().is_some() {
        std::thread::scope(|scope| {
            let asked: Vec<_> = questions.by_ref().take(ASKED_AT_ONCE).map(|q| (q.system, scope.spawn(q.ask))).collect();
            for (system, asking) in asked {
                let broken = |_| vec![Probe::lacking(system, "the check of it panicked", "report it with the message above")];
                probes.extend(asking.join().unwrap_or_else(broken));
            }
        });
    }
    probes
}

/// The admin address of a node that runs on this folder and can be reached.
fn running_node(data_dir: &Path) -> Option<String> {
    let left = std::fs::read_to_string(data_dir.join("admin.addr")).ok()?;
    let left = left.trim();
    let address = left.strip_prefix("http://").unwrap_or(left).trim_end_matches('/');
    let reached = address.to_socket_addrs().ok()?.any(|to| TcpStream::connect_timeout(&to, KNOCK).is_ok());
    reached.then(|| address.to_owned())
}

/// The nearest folder above (or the path itself) that exists.
fn existing(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().find(|p| p.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn may_write(folder: &Path) -> bool {
    folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn disk(data_dir: &Path) -> Probe {
    let system = format!("data_dir {}", data_dir.display());
    let there = existing(data_dir);
    if !may_write(&there) {
        let missing = format!("{} cannot be written by this user", there.display());
        return Probe::lacking(
            system,
            missing,
            "give this user the right to write there, or set node.data_dir to another folder",
        );
    }
    let free = statvfs(&there).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let room = free.map_or_else(|| "free space unknown".to_owned(), |free| format!("{} MiB free", free >> 20));
    if free.is_some_and(|free| free < ROOM_BYTES_MIN) {
        let missing = format!("{room}, writes need {} MiB", ROOM_BYTES_MIN >> 20);
        return Probe::lacking(system, missing, "free some space, or set node.data_dir to a folder of another disk");
    }
    let state = if there == std::path::absolute(data_dir).unwrap_or_default() { "writable" } else { "will be made" };
    Probe::fine(system, format!("{state}, {room}"))
}

fn store(settings: &Settings, node: Option<&str>) -> Probe {
    let data_dir = &settings.node.data_dir;
    let system = embedded_parts(settings);
    if !EmbeddedStore::exists(data_dir) {
        return Probe::fine(system, "embedded; made by the first run");
    }
    if let Some(node) = node {
        return Probe::fine(system, format!("embedded; open in the node at http://{node}"));
    }
    match EmbeddedStore::open(data_dir) {
        Ok(_) => Probe::fine(system, "embedded; it opens"),
        Err(fault) => from_fault(system, fault, "see the message; `widerow check --connect` again tells whether it helped"),
    }
}

/// What lies under data_dir.
fn embedded_parts(settings: &Settings) -> &'static str {
    match (settings.store == Store::Embedded, settings.queue.kind == QueueKind::Embedded) {
        (true, true) => "store, queue, ledger",
        (true, false) => "store, ledger",
        (false, true) => "queue, ledger",
        (false, false) => "ledger",
    }
}

pub(super) fn from_fault(system: impl Into<String>, fault: Fault, remedy: &str) -> Probe {
    let missing = format!("{}: {}", fault.place, fault.what);
    Probe::lacking(system, missing, remedy)
}

fn source(source: &Source, settings: &Settings) -> Vec<Probe> {
    let system = format!("source {}", source.name);
    let path = match &source.kind {
        SourceKind::Generator(_) => return vec![Probe::fine(system, "a made-up shop; needs nothing")],
        SourceKind::Jsonl { path } => path,
        #[cfg(feature = "kafka")]
        SourceKind::Kafka(kafka) => return super::kafka::probe(kafka, source),
        #[cfg(not(feature = "kafka"))]
        SourceKind::Kafka(_) => return vec![Probe::lacking(system, "this build leaves out kafka", "build it with its feature")],
    };
    let survey = match Survey::of(path, SNIFFED_RECORDS) {
        Ok(survey) => survey,
        Err(fault) => {
            let remedy = format!("put the recorded events there, mend the line, or set sources.{}.jsonl.path", source.name);
            return vec![from_fault(system, fault, &remedy)];
        }
    };
    let topics: BTreeSet<&str> = survey.partitions.iter().map(|p| p.topic.as_str()).collect();
    let held =
        format!("{}: {} lines, {} partitions of {} topics", path.display(), survey.lines, survey.partitions.len(), topics.len());
    let mut probes = vec![Probe::fine(system, held)];
    if !survey.first.is_empty() {
        probes.push(Sniffed::of(&survey.first, source, settings).probe(source, settings));
    }
    probes
}

/// What the first records of a source are.
#[derive(Default)]
struct Sniffed {
    records: usize,
    formats: BTreeSet<&'static str>,
    tables: BTreeMap<TableId, u64>,
    unknown_tables: u64,
    bad: u64,
    first_bad: Option<String>,
}

impl Sniffed {
    fn of(records: &[Record], source: &Source, settings: &Settings) -> Self {
        let mut seen = Self { records: records.len(), ..Self::default() };
        let read = DecodeSettings {
            format: source.format,
            snapshot: source.snapshot,
            record_bytes_max: source.record_bytes_max,
            ..DecodeSettings::default()
        };
        for record in records {
            seen.formats.extend(format_of(record, &read, settings));
            match decode(record, &read, &settings.schema) {
                Ok(Decoded::Changes(changes)) => changes.iter().for_each(|c| *seen.tables.entry(c.table).or_default() += 1),
                Ok(Decoded::Ignored(Ignored::UnknownTable)) => seen.unknown_tables += 1,
                Ok(Decoded::Ignored(_)) => {}
                Err(bad) => {
                    seen.bad += 1;
                    seen.first_bad.get_or_insert_with(|| format!("{}/{}: {bad}", record.partition, record.offset));
                }
            }
        }
        seen
    }

    fn probe(self, source: &Source, settings: &Settings) -> Probe {
        let system = format!("source {}, first {} records", source.name, self.records);
        let formats: Vec<&str> = self.formats.into_iter().collect();
        let formats = if formats.is_empty() { "no known format".to_owned() } else { formats.join(" and ") };
        let name = |id: TableId| settings.schema.table(id).name.as_str();
        let tables: Vec<String> = self.tables.iter().map(|(id, n)| format!("{} ({n})", name(*id))).collect();
        let unseen = (0..settings.schema.tables.len()).map(|id| TableId(id as u16)).filter(|id| !self.tables.contains_key(id));
        let unseen: Vec<&str> = unseen.map(name).collect();
        let mut found =
            format!("{formats}; changes of {}", if tables.is_empty() { "no table".into() } else { tables.join(", ") });
        if !unseen.is_empty() {
            found.push_str(&format!("; not seen: {}", unseen.join(", ")));
        }
        if self.unknown_tables > 0 {
            found.push_str(&format!("; {} records of tables that are not configured", self.unknown_tables));
        }
        let (missing, remedy) = if let Some(first) = self.first_bad {
            let remedy =
                "declare the column's type or the source's format as the message says, or expect them among the dead letters";
            (Some(format!("{} records cannot be used, the first: {first}", self.bad)), Some(remedy.to_owned()))
        } else if tables.is_empty() && self.unknown_tables > 0 {
            let remedy = "name the tables under rows as `database.table`, as the records call them";
            (Some("no change of a configured table".to_owned()), Some(remedy.to_owned()))
        } else {
            (None, None)
        };
        Probe { system, found, missing, remedy }
    }
}

/// The format a record is read by: the first that knows its shape.
fn format_of(record: &Record, read: &DecodeSettings, settings: &Settings) -> Option<&'static str> {
    record.value.as_ref().filter(|value| !value.is_empty())?;
    let known = [(Format::Debezium, "debezium"), (Format::Canal, "canal"), (Format::Maxwell, "maxwell")];
    let reads = |format: Format| {
        let read = DecodeSettings { format, ..read.clone() };
        !matches!(
            decode(record, &read, &settings.schema),
            Err(BadRecord { reason: BadReason::UnknownFormat | BadReason::NotJson, .. })
        )
    };
    known.into_iter().find(|(format, _)| reads(*format)).map(|(_, name)| name)
}

fn sink_file(system: String, path: &Path, in_use: bool) -> Probe {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !path.exists() {
        return if may_write(folder) {
            Probe::fine(system, format!("{}: will be made", path.display()))
        } else {
            let missing = format!("{} is no folder that this user can write in", folder.display());
            Probe::lacking(system, missing, "make the folder, or give this user the right to write there")
        };
    }
    if access(path, Access::READ_OK | Access::WRITE_OK).is_err() || !path.is_file() {
        let missing = format!("{} is no file that this user can read and write", path.display());
        return Probe::lacking(system, missing, "give this user the right, or name another file");
    }
    if in_use {
        return Probe::fine(system, format!("{}: in the running node's hands", path.display()));
    }
    match JsonlSink::open(path) {
        Ok(_) => Probe::fine(system, format!("{}: it opens", path.display())),
        Err(fault) => {
            from_fault(system, fault, "name another file, or move this one away: a rebuild of the line fills a new one")
        }
    }
}

fn admin(settings: &Settings, node: Option<&str>) -> Probe {
    let listen = &settings.admin.listen;
    let system = format!("admin {listen}");
    if let Some(node) = node {
        return Probe::fine(system, format!("the running node answers at http://{node}"));
    }
    match TcpListener::bind(listen.as_str()) {
        Ok(_) => Probe::fine(system, "free"),
        Err(error) => {
            let remedy = "stop what listens there, or set admin.listen to another port (0 = any free one)";
            Probe::lacking(system, format!("cannot be listened on: {error}"), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    /// Goal: systems are asked at once and told in order, whatever ends first or breaks. Method: questions that wait for each
    /// other, so that asking one by one would never end; more of them than are asked at once; one that panics.
    #[test]
    fn asked_at_once_told_in_order() {
        let meet = Barrier::new(ASKED_AT_ONCE);
        let question = |n: usize| {
            let meet = &meet;
            Question::new(n.to_string(), move || {
                if n < ASKED_AT_ONCE {
                    meet.wait();
                }
                assert_ne!(n, 3, "a bug");
                vec![Probe::fine(n.to_string(), "")]
            })
        };
        let probes = answers((0..ASKED_AT_ONCE + 5).map(question).collect());
        let told: Vec<String> = probes.iter().map(|p| p.system.clone()).collect();
        assert_eq!(told, (0..ASKED_AT_ONCE + 5).map(|n| n.to_string()).collect::<Vec<_>>());
        let lacking: Vec<&str> = probes.iter().filter(|p| p.missing.is_some()).map(|p| p.system.as_str()).collect();
        assert_eq!(lacking, ["3"]);
    }
}
