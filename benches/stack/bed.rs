//! The servers of a run, the topics in them, and the configuration of one round.
//!
//! Rounds share the servers and the log but nothing else: each has its own group, tables, index, keys and queues.

use crate::common::measure::say;
use crate::node::Node;
use crate::servers::{self, Kind, Server};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::types::TableName;

pub const TABLES: [&str; 5] = ["orders", "order_item", "payment", "refund", "product"];
pub const PARTITIONS: i32 = 4;
/// Row kinds, each with a table of its own.
const KINDS: [&str; 2] = ["order", "product"];
/// Regions of a table: the same for every side.
pub const REGIONS: usize = 4;

pub struct Bed {
    pub kafka: Server,
    pub hbase: Server,
    pub redis: Server,
    pub search: Server,
    pub folder: tempfile::TempDir,
}

/// What differs between rounds.
#[derive(Clone, Default)]
pub struct Round {
    pub name: String,
    /// Where widerow finds the search server, when not at the server itself.
    pub search: Option<String>,
    /// A second line on orders, at this address.
    pub slow_line: Option<String>,
    /// How long the group waits for a silent member.
    pub session: Option<&'static str>,
}

impl Round {
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl Bed {
    /// Starts every server and makes the topics.
    pub fn new() -> Self {
        let began = Instant::now();
        let (redis, kafka, hbase, search) = thread::scope(|scope| {
            let hbase = scope.spawn(|| servers::with_heap(Kind::Hbase, "2g"));
            let search = scope.spawn(|| servers::with_heap(Kind::Search, "1g"));
            let kafka = scope.spawn(|| servers::with_heap(Kind::Kafka, "512m"));
            (servers::redis(), joined(kafka), joined(hbase), joined(search))
        });
        let folder = tempfile::tempdir_in("target").expect("a folder for the nodes");
        let bed = Self { kafka, hbase, redis, search, folder };
        bed.make_topics();
        say(format!("servers are up after {:.0} s", began.elapsed().as_secs_f64()));
        bed
    }

    pub fn producer_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.address());
        config
    }

    fn make_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = self.producer_config().create().expect("an admin client");
        let names: Vec<String> = topics().collect();
        // Rounds read the same log again: nothing of it may expire.
        let topic = |name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let topics: Vec<_> = names.iter().map(|name| topic(name)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let made = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new())).expect("topics are made");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Where each partition's log ends, as the broker says.
    pub fn log_ends(&self) -> BTreeMap<(String, i64), i64> {
        let consumer: BaseConsumer = self.producer_config().create().expect("a consumer");
        let places = topics().flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic.clone(), partition)));
        let end = |(topic, partition): (String, i32)| {
            let ends = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(10)).expect("the broker answers");
            ((topic, i64::from(partition)), ends.1)
        };
        places.map(end).collect()
    }

    pub fn search_url(&self) -> String {
        format!("http://{}", self.search.address())
    }

    /// A node for this round, not started. Twice for one round: the second is the first one's next life.
    pub fn node(&self, round: &Round) -> Node {
        let folder = self.folder.path().join(&round.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file: PathBuf = folder.join("stack.yaml");
        std::fs::write(&file, self.config(round)).expect("a file");
        Node::new(&round.name, folder, vec![file], Vec::new())
    }

    /// The configuration of `benches/stack/stack.yaml` with this round's names.
    pub fn config(&self, round: &Round) -> String {
        let mut text = include_str!("stack.yaml").to_owned();
        let search = round.search.clone().unwrap_or_else(|| self.search_url());
        for (name, value) in [
            ("@ROUND@", round.name.clone()),
            ("@KAFKA@", self.kafka.address()),
            ("@HBASE@", self.hbase.address()),
            ("@REDIS@", self.redis.address()),
            ("@SEARCH@", search),
            ("@REGIONS@", REGIONS.to_string()),
            ("@SESSION@", round.session.unwrap_or("45s").to_owned()),
        ] {
            text = text.replace(name, &value);
        }
        if let Some(address) = &round.slow_line {
            let line = text.split_once("  order_search:").and_then(|(_, rest)| rest.split_once("  product_cache:"));
            let line = line.map(|(line, _)| line.to_owned()).expect("the line of the configuration");
            let search = round.search.clone().unwrap_or_else(|| self.search_url());
            let slow = line.replace(&search, address).replace("-orders", "-slow");
            text.push_str("  order_slow:");
            text.push_str(&slow);
        }
        text
    }

    /// A client of this HBase.
    pub fn hbase_client(&self) -> Client {
        Client::new(ClientSettings::new(vec![self.hbase.address()])).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Removes a round's rows and documents, so that the servers hold as much in every round.
    pub fn forget(&self, round: &str) {
        let client = self.hbase_client();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for kind in KINDS {
                let table = TableName::parse(&format!("{round}_{kind}")).unwrap_or_else(|e| panic!("{e}"));
                client.drop_table(&table).await.unwrap_or_else(|e| panic!("{table}: {e}"));
            }
        });
        self.ask_search("DELETE", &format!("/{round}-orders"), None);
    }

    /// Forgets what Redis holds.
    pub fn flush_redis(&self) {
        let mut connection = self.redis_database(0);
        redis::cmd("FLUSHALL").exec(&mut connection).expect("Redis forgets");
    }

    pub fn redis_database(&self, number: u32) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{}/{number}", self.redis.address())).expect("an address");
        client.get_connection().expect("Redis answers")
    }

    /// Asks the search server.
    pub fn ask_search(&self, method: &str, path: &str, body: Option<&str>) -> String {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).build().into();
        let url = format!("{}{path}", self.search_url());
        let answer = match (method, body) {
            ("GET", _) => agent.get(url).call(),
            ("DELETE", _) => agent.delete(url).call(),
            ("PUT", body) => agent.put(url).content_type("application/json").send(body.unwrap_or_default()),
            (_, body) => agent.post(url).content_type("application/json").send(body.unwrap_or_default()),
        };
        let mut answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// What ran, in which version, under which settings.
    pub fn described(&self) -> Value {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".stack/lib");
        let named = |folder: &str, prefix: &str| {
            let names = std::fs::read_dir(lib.join(folder)).into_iter().flatten().flatten();
            let found = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).find(|name| name.starts_with(prefix));
            found.unwrap_or_else(|| "unknown".to_owned()).trim_end_matches(".jar").to_owned()
        };
        let mut connection = self.redis_database(0);
        let info: String = redis::cmd("INFO").arg("server").query(&mut connection).unwrap_or_default();
        let redis = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim().to_owned();
        json!({
            "kafka": named("kafka", "kafka_"),
            "hbase": named("hbase", "hbase-server"),
            "search": named("search", "elasticsearch-"),
            "redis": redis,
            "commit": output("git", &["rev-parse", "--short", "HEAD"]),
            "kernel": output("uname", &["-r"]),
            "durability": {
                "kafka": "one node, acks=all, page cache",
                "hbase": "wal: sync on a local file system, one copy",
                "redis": "append-only file, fsync every second",
                "search": "translog synced per request, refresh 1 s, no replica",
            },
            "partitions": PARTITIONS * TABLES.len() as i32,
            "regions": REGIONS,
        })
    }
}

fn joined(server: thread::ScopedJoinHandle<'_, Server>) -> Server {
    server.join().unwrap_or_else(|_| panic!("a server did not start; its words are above"))
}

pub fn topics() -> impl Iterator<Item = String> {
    TABLES.iter().map(|table| format!("shop.shop.{table}"))
}

pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
