//! How much CPU does the merge cost beside Flink SQL: four tables' changes into one document an order, nothing durable?
//!
//! Both read the same files, one of Debezium bodies for each table, written before the clock starts; both keep their state
//! and the last document of each order in their memory and promise nothing else. Flink (`peers/flink`) joins in one warm JVM
//! that ran the whole job before, uncounted; what a job on empty files costs it (planning, compiling, starting) is taken off.
//! Ours is the whole engine, actors, jobs and versions included, on memory doors. In turns; a run whose documents differ
//! from the shop's own books has no figure. Ours are compared digit by digit; of Flink's the order of items, zeros at a
//! number's end, and null or an empty list beside absent are forgiven.

mod common;
#[path = "../tests/support/peer.rs"]
mod peer;

use common::measure::{Report, Took, Watch, Whose, argument, median, say};
use common::node;
use peer::Peer;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use widerow::domain::decode::Format;
use widerow::io::generator::{Json, Shop};
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::ports::Doors;
use widerow::ports::sink::Sink;
use widerow::settings::{self, GeneratorSettings, Settings};
use widerow::supervisor::{Parts, SourcePart};

const TABLES: [&str; 4] = ["orders", "order_item", "payment", "refund"];
/// What Flink's pages on tuning SQL advise, and room enough.
const JVM: [&str; 4] = ["-Xms4g", "-Xmx4g", "-XX:+UseG1GC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];
const FLINK: [&str; 8] = [
    "parallelism.default=2",
    "state.backend.type=hashmap",
    "pipeline.object-reuse=true",
    "table.exec.mini-batch.enabled=true",
    "table.exec.mini-batch.allow-latency=5 s",
    "table.exec.mini-batch.size=5000",
    "table.local-time-zone=UTC",
    // Called experimental; in its place, chained joins lose deletes of rows that changed before (FLINK-40681, in 2.3).
    "table.optimizer.multi-join.enabled=true",
];

type Documents = BTreeMap<String, Json>;

fn main() {
    let (events, rounds) = (argument("--events", 500_000), argument("--rounds", 3));
    let (entities, warm_ups) = (argument("--entities", 200_000), argument("--warm-ups", 2));
    let mut report = Report::new("flink");
    let folder = tempfile::tempdir_in("target").expect("a folder for the log");
    let log = Log::write(folder.path(), events, entities);
    say(format!(
        "{} records of {} bytes on average, {} of {entities} orders alive at the end, {rounds} rounds",
        log.records,
        log.bytes / log.records,
        log.expected.len()
    ));
    let settings = ours_settings();
    let mut flink = Flink::start();
    for _ in 0..warm_ups {
        say(format!("Flink, warming up: {}", told(&flink.run(&log), log.records)));
    }
    let (mut ours, mut theirs, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let own = own_round(&log, &settings);
        let start = flink.time(&log.empty);
        let all = flink.run(&log);
        let flink = Took { cpu: all.cpu.saturating_sub(start.cpu), wall: all.wall.saturating_sub(start.wall), ..all };
        say(format!("round {round}: widerow {}", told(&own, log.records)));
        say(format!(
            "round {round}: Flink   {}; {:.2} s CPU of a start taken off",
            told(&flink, log.records),
            start.cpu.as_secs_f64()
        ));
        ours.push(own);
        theirs.push(flink);
        starts.push(start.cpu.as_secs_f64());
    }
    let middle = |of: &dyn Fn(usize) -> f64| median((0..rounds).map(of).collect());
    let cpu_ratio = middle(&|at| theirs[at].cpu.as_secs_f64() / ours[at].cpu.as_secs_f64());
    let rate_ratio = middle(&|at| theirs[at].wall.as_secs_f64() / ours[at].wall.as_secs_f64());
    say(format!("median: Flink takes {cpu_ratio:.2} times our CPU; we pass {rate_ratio:.2} times its events/s"));
    let n = log.records;
    report.put("records", n);
    report.put("entities", entities);
    report.put("cpu_us_per_event", middle(&|at| ours[at].micros_per(n)));
    report.put("events_per_second", middle(&|at| ours[at].per_second(n)));
    report.put("flink_cpu_us_per_event", middle(&|at| theirs[at].micros_per(n)));
    report.put("flink_events_per_second", middle(&|at| theirs[at].per_second(n)));
    report.put("flink_start_cpu_seconds", median(starts));
    report.put("warm_ups", warm_ups);
    report.put("flink_cpu_of_ours", cpu_ratio);
    report.put("events_of_flink", rate_ratio);
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(o, t)| t.cpu.as_secs_f64() / o.cpu.as_secs_f64()).collect();
    report.put("rounds_flink_cpu_of_ours", ratios);
    report.put("flink", json!({ "version": flink_version(), "jvm": JVM, "settings": FLINK }));
    report.finish();
}

fn told(took: &Took, records: usize) -> String {
    format!("{:.2} µs CPU an event, {:.0} k events/s", took.micros_per(records), took.per_second(records) / 1e3)
}

/// The shop's records as files, and what they mean.
struct Log {
    full: PathBuf,
    /// The same files with nothing in them.
    empty: PathBuf,
    records: usize,
    bytes: usize,
    expected: Documents,
}

impl Log {
    /// One partition a table, without disorder: Flink's joins take a table's changes in the order of its log.
    fn write(folder: &Path, events: usize, entities: usize) -> Self {
        let mut shop = Shop::new(&GeneratorSettings {
            seed: 7,
            entities: entities as u64,
            events: Some(events as u64),
            rate: None,
            disorder: 0.0,
            duplicates: 0.0,
            partitions: 1,
            format: Format::Debezium,
            skew: 0.99,
            hot: 0.0,
            big: 0.0,
            replay: 0.0,
        });
        let [full, empty] = ["full", "empty"].map(|name| folder.join(name));
        let file = |folder: &Path, table: &str| {
            std::fs::create_dir_all(folder).and_then(|()| File::create(folder.join(table))).unwrap_or_else(|e| panic!("{e}"))
        };
        TABLES.iter().for_each(|table| drop(file(&empty, table)));
        let mut files = TABLES.map(|table| (format!("shop.shop.{table}"), BufWriter::new(file(&full, table))));
        let (mut records, mut bytes) = (0, 0);
        loop {
            let batch = shop.next_records(1_000);
            if batch.is_empty() {
                break;
            }
            for record in batch {
                let of_its_table = files.iter_mut().find(|(topic, _)| record.partition.topic.as_str() == topic);
                // Products are no part of an order, and a delete's null body says nothing to either side.
                let (Some((_, file)), Some(body)) = (of_its_table, record.value) else { continue };
                file.write_all(&body).and_then(|()| file.write_all(b"\n")).unwrap_or_else(|e| panic!("{e}"));
                records += 1;
                bytes += body.len();
            }
        }
        files.iter_mut().for_each(|(_, file)| file.flush().unwrap_or_else(|e| panic!("{e}")));
        let expected = shop.expected().remove("order_search").unwrap_or_default();
        Self { full, empty, records, bytes, expected }
    }

    fn demand(&self, who: &str, found: &Documents, alike: fn(&Json) -> Json) {
        let wrong = |id: &&String| found.get(*id).map(alike) != self.expected.get(*id).map(alike);
        let mut wrong_ids = self.expected.keys().chain(found.keys()).filter(wrong);
        if let Some(id) = wrong_ids.next() {
            let text = |documents: &Documents| documents.get(id).and_then(|document| serde_json::to_string(document).ok());
            let (is, should) = (text(found), text(&self.expected));
            panic!(
                "{who}: {} documents ended otherwise: no figure; {id} is\n{is:?} and should be\n{should:?}",
                1 + wrong_ids.count()
            );
        }
    }
}

/// What Flink's documents and the shop's own have in common when they mean the same.
fn alike(document: &Json) -> Json {
    match document {
        Json::Number(text) if text.contains('.') => Json::Number(text.trim_end_matches('0').trim_end_matches('.').to_owned()),
        Json::Object(members) => {
            let said = members.iter().map(|(name, value)| (name.clone(), alike(value)));
            Json::Object(said.filter(|(_, value)| *value != Json::Null && *value != Json::List(Vec::new())).collect())
        }
        Json::List(items) => {
            let mut items: Vec<Json> = items.iter().map(alike).collect();
            items.sort_by_cached_key(|item| serde_json::to_string(item).unwrap_or_default());
            Json::List(items)
        }
        other => other.clone(),
    }
}

/// The demo's orders, with as many threads as Flink has slots.
fn ours_settings() -> Settings {
    let loaded = settings::load_text("demo.yaml", include_str!("../config/demo.yaml"), &|_| None);
    let mut settings = loaded.unwrap_or_else(|findings| panic!("{findings:?}")).settings;
    settings.node.threads = 2;
    settings.node.entities_max = 20_000;
    settings
}

fn own_round(log: &Log, settings: &Settings) -> Took {
    let documents: HashMap<_, _> = settings.lines.iter().map(|l| (l.line.name, Arc::new(MemoryDocuments::new()))).collect();
    let doors = Doors {
        rows: Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema))),
        queue: Arc::new(MemoryQueue::new(&settings.queue, wall_clock())),
        ledger: Arc::new(MemoryLedger::new()),
        sinks: documents.iter().map(|(line, sink)| (*line, Arc::clone(sink) as Arc<dyn Sink>)).collect(),
    };
    let files = TABLES.map(|table| (format!("shop.shop.{table}"), log.full.join(table)));
    let source = SourcePart { settings: settings.sources[0].clone(), source: Box::new(node::Files(files.into())) };
    let parts = Parts { doors, sources: vec![source] };
    let ran = node::run_checked(log.records, settings, parts, async |_| {
        let mut found = Documents::new();
        for sink in documents.values() {
            let held = sink.list(None, usize::MAX).await.unwrap_or_else(|fault| panic!("{fault}"));
            let parsed = held.into_iter().map(|held| (held.id, Json::parse(&held.document.unwrap_or_default()).expect("JSON")));
            found.extend(parsed);
        }
        log.demand("widerow", &found, Json::clone);
    });
    ran.took
}

/// Flink in a process of its own: `peers/flink/Merge.java`.
struct Flink(Peer);

fn jars() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".stack/lib/flink")
}

/// As the jar of its runtime says.
fn flink_version() -> String {
    let names =
        std::fs::read_dir(jars()).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let version = |name: String| Some(name.strip_prefix("flink-runtime-")?.strip_suffix(".jar")?.to_owned());
    names.filter_map(version).next().unwrap_or_default()
}

impl Flink {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (classes, peer) = (root.join(".stack/run/flink/classes"), root.join("peers/flink"));
        assert!(classes.is_dir(), "{} is not there; ./dev bench flink makes it", classes.display());
        let mut java = Command::new("java");
        java.args(JVM)
            // Flink's own list of what it looks into.
            .args(
                ["java.lang", "java.net", "java.io", "java.nio", "java.time", "java.util", "java.util.concurrent"]
                    .map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")),
            )
            .arg("-cp")
            .arg(format!("{}:{}:{}/*", classes.display(), peer.display(), jars().display()))
            .arg("Merge")
            .arg(peer.join("shop.sql"))
            .args(FLINK);
        Self(Peer::run(&mut java))
    }

    fn ask(&mut self, command: &str, path: &Path) {
        let answer = self.0.ask(&[command, &path.display().to_string()]);
        assert!(answer[0] == "done", "Flink: {answer:?}; what it said stands above");
    }

    fn time(&mut self, folder: &Path) -> Took {
        let folder = folder.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let watch = Watch::start(Whose::Other(self.0.pid()));
        self.ask("run", &folder);
        watch.stop()
    }

    fn run(&mut self, log: &Log) -> Took {
        let took = self.time(&log.full);
        let dump = log.empty.with_file_name("documents");
        self.ask("dump", &dump);
        let mut found = Documents::new();
        for line in BufReader::new(File::open(&dump).unwrap_or_else(|e| panic!("{e}"))).lines() {
            let document = Json::parse(line.unwrap_or_else(|e| panic!("{e}")).as_bytes()).expect("JSON");
            let Json::Object(members) = &document else { panic!("{document:?}") };
            let Some(Json::Text(id)) = members.get("order_no") else { panic!("{document:?}") };
            found.insert(id.clone(), document);
        }
        log.demand("Flink", &found, alike);
        took
    }
}
