//! How many records a second come from a real Kafka to the frontier through our source, how long does a node on embedded
//! parts take for a backlog, and how long is it from kill -9 to the first event acknowledged again?
//!
//! Beside the first, in the same run on the same topic: a bare poll loop of the client, which does nothing with a record.
//! `--events N` and `--rounds N` make it shorter.

mod common;
#[path = "../tests/stack/servers.rs"]
mod servers;

use common::measure::{Report, Took, Watch, Whose, argument, median, say};
use common::{node, shop};
use futures_util::future::{BoxFuture, ready};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use widerow::admin::client::{ADDRESS_FILE, Client};
use widerow::domain::fault::Fault;
use widerow::domain::frontier::Frontier;
use widerow::domain::ids::{Generation, Partition};
use widerow::io::kafka::KafkaSource;
use widerow::io::memory::{MemoryLedger, MemoryRowStore};
use widerow::ports::source::{Assigned, Cut, Delivery, Intake, Source};
use widerow::settings::{KafkaSettings, Settings, SourceKind};
use widerow::supervisor::wiring::{self, RunMode};

const TOPIC: &str = "shop.trade.orders";
/// A node that takes longer has no figure.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let (events, rounds) = (argument("--events", 500_000), argument("--rounds", 3));
    let log = shop::Log::of(events);
    let server = servers::kafka();
    write(&server.address(), &log);
    say(format!("{events} records of {} bytes on average in {} partitions", log.bytes / events, shop::PARTITIONS));
    let mut report = Report::new("kafka");
    report.put("events", events);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (naive, took) = (poll_only(&server.address(), events), to_frontier(&server.address(), events, round));
        say(format!(
            "round {round}: bare poll {:.0} k/s, {:.2} µs CPU; to the frontier {:.0} k/s, {:.2} µs CPU a record",
            naive.per_second(events) / 1e3,
            naive.micros_per(events),
            took.per_second(events) / 1e3,
            took.micros_per(events)
        ));
        bare.push((naive.per_second(events), naive.micros_per(events)));
        ours.push((took.per_second(events), took.micros_per(events)));
    }
    let (naive, took) = (median(bare.iter().map(|b| b.1).collect()), median(ours.iter().map(|o| o.1).collect()));
    say(format!(
        "to the frontier: {:.0} k/s per core, {:.2} times the CPU of the bare poll; the goal is 150 k/s per core",
        1e3 / took,
        took / naive
    ));
    report.put("to_frontier_per_core", 1e6 / took);
    report.put("to_frontier_over_bare_cpu", took / naive);
    report.put("bare_poll_per_second", median(bare.iter().map(|b| b.0).collect()));
    report.put("bare_poll_cpu_us", median(bare.iter().map(|b| b.1).collect()));
    report.put("to_frontier_per_second", median(ours.iter().map(|o| o.0).collect()));
    report.put("to_frontier_cpu_us", median(ours.iter().map(|o| o.1).collect()));
    let folder = tempfile::tempdir_in("target").expect("a folder for the store");
    let mut settings = settings(&server.address(), "backlog");
    settings.node.data_dir = folder.path().to_owned();
    let doors = wiring::open(&settings).unwrap_or_else(|fault| panic!("{fault}"));
    let source = wiring::parts(&settings, doors.clone(), RunMode::default()).unwrap_or_else(|fault| panic!("{fault}"));
    let ran = node::run_on(&log, &settings, source);
    say(format!(
        "a backlog of {events} on embedded parts: {:.1} s, {:.1} k/s; the goal is 15 s for 500,000",
        ran.took.wall.as_secs_f64(),
        ran.took.per_second(events) / 1e3
    ));
    report.put("backlog_seconds", ran.took.wall.as_secs_f64());
    let killed = back_at_work(&server.address(), rounds);
    let shown = killed.iter().map(|s| format!("{s:.2} s")).collect::<Vec<_>>().join(", ");
    say(format!("kill -9 to the first event acknowledged again: {shown}; the goal is 5 s"));
    report.put("kill_to_acknowledged_seconds", median(killed));
    report.finish();
}

fn write(brokers: &str, log: &shop::Log) {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create().expect("an admin client");
    let topic = NewTopic::new(TOPIC, shop::PARTITIONS as i32, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("the topic is made");
    let producer: BaseProducer = config(brokers).set("queue.buffering.max.messages", "1000000").create().expect("a producer");
    for records in log.records() {
        for record in records {
            let value = record.value.as_deref().unwrap_or_default();
            let mut sent = BaseRecord::<(), [u8]>::to(TOPIC).partition(record.partition.number).payload(value);
            while let Err((error, again)) = producer.send(sent) {
                assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
                producer.poll(Duration::from_millis(50));
                sent = again;
            }
        }
    }
    producer.flush(Duration::from_secs(120)).expect("the log is written");
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// What the client alone can do.
fn poll_only(brokers: &str, events: usize) -> Took {
    let consumer: BaseConsumer =
        config(brokers).set("group.id", "bare").set("enable.auto.commit", "false").create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for number in 0..shop::PARTITIONS as i32 {
        list.add_partition_offset(TOPIC, number, Offset::Beginning).expect("a partition");
    }
    let watch = Watch::start(Whose::Process);
    consumer.assign(&list).expect("an assignment");
    let mut seen = 0;
    while seen < events {
        if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
            seen += 1;
        }
    }
    watch.stop()
}

/// The configuration of all benches on this topic.
fn text(brokers: &str, group: &str) -> String {
    let source = format!("{{ kafka: {{ brokers: [\"{brokers}\"], group: {group}, topics: [{TOPIC}] }} }}");
    let rest = shop::CONFIG.split_once("rows:").map_or("", |(_, rest)| rest);
    format!("version: 1\nsources: {{ shop: {source} }}\nrows:{rest}")
}

/// A node, the real binary; it does not outlive its run.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // Gone either way.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Kills a node amid a backlog, so often, and starts it again at once: seconds until the row store has acknowledged the first
/// event of its new life.
fn back_at_work(brokers: &str, rounds: usize) -> Vec<f64> {
    let folder = tempfile::tempdir_in("target").expect("a folder for the node");
    let (config, data) = (folder.path().join("config.yaml"), folder.path().join("data"));
    let node = format!("node: {{ id: killed, data_dir: \"{}\" }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\n", data.display());
    std::fs::write(&config, text(brokers, "killed") + &node).expect("a configuration");
    let start = || {
        let log = std::fs::File::create(folder.path().join("log.txt")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_widerow"));
        command.args(["run", "-c"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Node(command.spawn().expect("the binary runs"))
    };
    let at_work = || {
        let begun = Instant::now();
        // Between two looks.
        let (_keep, ticks) = mpsc::sync_channel::<()>(0);
        while begun.elapsed() < PATIENCE {
            let _ = ticks.recv_timeout(Duration::from_millis(10));
            let totals = Client::of_data_dir(&data, None).and_then(|node| node.get::<Value>("/api/v1/totals").ok());
            if totals.is_some_and(|totals| totals["totals"]["row_writes"].as_u64() > Some(0)) {
                return;
            }
        }
        let log = std::fs::read_to_string(folder.path().join("log.txt")).unwrap_or_default();
        panic!("no event was acknowledged within {PATIENCE:?}\n{log}");
    };
    let mut node = start();
    at_work();
    let mut seconds = Vec::new();
    for _ in 0..rounds.max(1) {
        let killed = Instant::now();
        drop(node);
        // What the dead one left would be asked in vain.
        let _ = std::fs::remove_file(data.join(ADDRESS_FILE));
        node = start();
        at_work();
        seconds.push(killed.elapsed().as_secs_f64());
    }
    seconds
}

fn settings(brokers: &str, group: &str) -> Settings {
    let mut settings = shop::settings();
    let text = text(brokers, group);
    let loaded = widerow::settings::load_text("bench.yaml", &text, &|_| None).unwrap_or_else(|f| panic!("{f:?}"));
    settings.sources = loaded.settings.sources;
    settings
}

/// Settles every record as it comes.
struct Settling {
    frontiers: Mutex<HashMap<Partition, Frontier>>,
    left: AtomicUsize,
    done: mpsc::SyncSender<()>,
}

impl Intake for Settling {
    fn assigned(&self, _: &str, partitions: Vec<Assigned>) -> BoxFuture<'static, ()> {
        let mut frontiers = self.frontiers.lock().unwrap_or_else(|e| e.into_inner());
        frontiers.extend(partitions.into_iter().map(|a| (a.partition, Frontier::starting_at(a.start))));
        Box::pin(ready(()))
    }
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'static, ()> {
        let mut frontiers = self.frontiers.lock().unwrap_or_else(|e| e.into_inner());
        let frontier = frontiers.get_mut(&delivery.partition).expect("an assigned partition");
        for record in &delivery.records {
            assert!(frontier.open(record.position, 1, record.bytes()), "positions rise");
        }
        delivery.records.iter().for_each(|record| assert!(frontier.settle(record.position)));
        let count = delivery.records.len();
        if self.left.fetch_sub(count, Ordering::Relaxed) == count {
            let _ = self.done.try_send(());
        }
        Box::pin(ready(()))
    }
    fn ended(&self, _: Partition, _: Generation) {}
    fn cut(&self, partition: Partition, _: Generation, cut: Cut) {
        panic!("{partition} lost {cut:?} from its log: a run that fails has no figure");
    }
    fn revoked(&self, _: Vec<Partition>) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
    fn waits(&self, _: Option<Fault>) {}
    fn failed(&self, _: Option<Partition>, fault: Fault) {
        panic!("{fault}: a run that fails has no figure");
    }
}

/// From the first assignment's wish to the last settled record.
fn to_frontier(brokers: &str, events: usize, round: usize) -> Took {
    let settings = settings(brokers, &format!("frontier-{round}"));
    let SourceKind::Kafka(kafka) = settings.sources[0].kind.clone() else { panic!("a source of Kafka") };
    let kafka = KafkaSettings { static_member: false, ..kafka };
    let source = KafkaSource {
        name: "shop".into(),
        settings: kafka,
        node: "bench".into(),
        alone: false,
        rows: Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema))),
        ledger: Arc::new(MemoryLedger::new()),
    };
    let (done, ended) = mpsc::sync_channel(1);
    let intake = Arc::new(Settling { frontiers: Mutex::default(), left: AtomicUsize::new(events), done });
    let watch = Watch::start(Whose::Process);
    let control = Box::new(source).start(intake).unwrap_or_else(|fault| panic!("{fault}"));
    ended.recv().expect("the source reads on");
    let took = watch.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        control.stop().await;
        control.close().await;
    });
    took
}
