//! A whole chain of its own: MariaDB, Debezium (or Canal, or Maxwell), Kafka, HBase, Redis, Elasticsearch, and two widerows that share the work.
//!
//! Quiet means by positions: what was written last stands in the sinks, every partition is read and committed to its end,
//! and no lane holds a job. Only then documents are held against the database.

use crate::node::Node;
use crate::servers::{self, Kind, Server};
use crate::soak::HORIZON;
use crate::trader::Trader;
use crate::truth::{self, Documents};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Of each topic.
const PARTITIONS: i32 = 4;
/// Every row once more, for a reader that begins with what comes.
const TOUCH: &str = "use shop;
update orders set updated_at = updated_at + interval 1 second; update order_item set updated_at = updated_at + interval 1 second;
update payment set paid_at = paid_at + interval 1 second; update refund set updated_at = updated_at + interval 1 second;
update product set updated_at = updated_at + interval 1 second;";
const LOOK: Duration = Duration::from_millis(300);
/// Whatever is waited for comes well within this; only a defect makes a test wait so long.
const PATIENCE: Duration = Duration::from_secs(240);
/// A chain that is quiet and still differs so long will not mend itself.
const STUBBORN: Duration = Duration::from_secs(20);

/// What differs from the configuration that is shipped: short terms, so that a fault is over soon, and a document that
/// shows a column the database gets later.
const OVERLAY: &str = r#"
version: 1
sources:
  mysql:
    kafka: { session_timeout: 6s }
store:
  hbase: { regions: 4 }
queue:
  lease: 5s
  retry: { base: 200ms, cap: 2s }
lines:
  order_search:
    document:
      fields:
        gift: shop.orders.gift
admin: { listen: "127.0.0.1:0" }
"#;

/// Faults may delay a change by minutes, so only a soak forgets deletes early.
fn horizon() -> String {
    crate::variable("WIDEROW_SOAK_MINUTES").map_or_else(String::new, |_| format!("purge: {{ horizon: {HORIZON} }}\n"))
}

/// Who reads the database's changes, and how they look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Debezium,
    Canal,
    Maxwell,
}

impl Format {
    /// By its name in a configuration.
    pub fn named(name: &str) -> Self {
        match name {
            "debezium" => Self::Debezium,
            "canal" => Self::Canal,
            "maxwell" => Self::Maxwell,
            _ => panic!("no format is called {name}; allowed: debezium, canal, maxwell"),
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Debezium => Kind::Debezium,
            Self::Canal => Kind::Canal,
            Self::Maxwell => Kind::Maxwell,
        }
    }

    const fn topics(self) -> &'static [&'static str] {
        match self {
            Self::Debezium => {
                &["shop.shop.orders", "shop.shop.order_item", "shop.shop.payment", "shop.shop.refund", "shop.shop.product"]
            }
            Self::Canal => &["shop.canal"],
            Self::Maxwell => &["shop.maxwell"],
        }
    }

    /// What differs from the configuration that is shipped, for this format.
    fn overlay(self) -> String {
        let name = match self {
            Self::Debezium => return OVERLAY.to_owned(),
            Self::Canal => "canal",
            Self::Maxwell => "maxwell",
        };
        let source = format!("session_timeout: 6s, topics: {:?} }}\n    format: {name}", self.topics());
        OVERLAY.replace("session_timeout: 6s }", &source)
    }
}

pub struct Site {
    pub nodes: Vec<Node>,
    pub trader: Trader,
    pub capture: Server,
    pub database: Server,
    pub kafka: Server,
    pub hbase: Server,
    pub redis: Server,
    pub search: Server,
    format: Format,
    /// Records delivered again, as counted last.
    pub again: i64,
    marks: u32,
    /// The version under every key of Redis, as last seen.
    versions: BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

/// Lets time pass between two looks, or while a fault lasts; nothing counts on what it brings.
pub fn pause(time: Duration) {
    let (_keep, never) = std::sync::mpsc::sync_channel::<()>(0);
    let _ = never.recv_timeout(time);
}

pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

impl Site {
    pub fn new(seed: u64, format: Format) -> Self {
        let began = Instant::now();
        let (redis, database, kafka, hbase, search) = thread::scope(|scope| {
            // An hour of trade fills half a gigabyte.
            let hbase = scope.spawn(|| servers::with_heap(Kind::Hbase, "1g"));
            let search = scope.spawn(servers::search);
            let kafka = scope.spawn(servers::kafka);
            let database = scope.spawn(servers::shop);
            let redis = servers::redis();
            (redis, database.join().unwrap(), kafka.join().unwrap(), hbase.join().unwrap(), search.join().unwrap())
        });
        // Debezium makes its own.
        make_topics(&kafka, if format == Format::Debezium { &[] } else { format.topics() });
        let capture = servers::capture(format.kind(), &database, &kafka);
        if format != Format::Debezium {
            database.script("sql", &["-e", TOUCH]);
        }
        let folder = tempfile::tempdir().unwrap();
        let overlay = folder.path().join("overlay.yaml");
        std::fs::write(&overlay, format.overlay() + &horizon()).unwrap();
        let configs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("config/shop.yaml"), overlay];
        let variables = [
            ("KAFKA", kafka.address()),
            ("HBASE", hbase.address()),
            ("QUEUE_REDIS", format!("redis://{}/0", redis.address())),
            ("CACHE_REDIS", format!("redis://{}/1", redis.address())),
            ("SEARCH", format!("http://{}", search.address())),
        ];
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let node = |name: &str| Node::new(name, folder.path().join(name), configs.clone(), variables.clone());
        let nodes = vec![node("first"), node("second"), node("third")];
        let trader = Trader::new(seed);
        say(&format!("servers are up after {:.0} s", began.elapsed().as_secs_f64()));
        let (marks, versions) = (0, BTreeMap::new());
        Self { nodes, trader, capture, database, kafka, hbase, redis, search, format, again: 0, marks, versions, _folder: folder }
    }

    pub fn sql(&self, sql: &str) {
        self.database.script("sql", &["-e", sql]);
    }

    pub fn trade(&mut self, transactions: usize) {
        let sql = self.trader.trade(transactions);
        self.sql(&sql);
    }

    /// Changes the tables. Canal without its history of tables reads a row by the columns its table has by then, so it must
    /// have read what was written before.
    pub fn alter(&mut self) {
        if self.format == Format::Canal {
            let mark = self.mark();
            self.await_mark(&mark);
        }
        let ddl = self.trader.alter();
        self.sql(&ddl);
    }

    /// An order that nothing else touches, as the last thing written.
    pub fn mark(&mut self) -> String {
        self.marks += 1;
        let (n, id) = (self.marks, 10_000_000_000_u64 + u64::from(self.marks));
        self.sql(&format!("insert into shop.orders (id, order_no, status) values ({id}, 'MARK{n}', {n})"));
        format!("MARK{n}")
    }

    /// Waits until this order is in both sinks.
    pub fn await_mark(&mut self, mark: &str) -> Duration {
        let began = Instant::now();
        while !self.is_in_sinks(mark) {
            self.give_up_after(began, PATIENCE, &format!("{mark} did not arrive"));
            pause(LOOK);
        }
        began.elapsed()
    }

    fn is_in_sinks(&self, mark: &str) -> bool {
        let found = self.search("GET", &format!("/orders/_doc/{mark}"));
        let cached = self.redis().and_then(|mut c| redis::cmd("EXISTS").arg(format!("order:{mark}")).query(&mut c));
        found.is_some_and(|answer| answer["found"] == json!(true)) && cached.is_ok_and(|n: i64| n == 1)
    }

    /// Waits until the chain is quiet, then until every document is what the database says.
    pub fn converge(&mut self) -> Duration {
        let began = Instant::now();
        let mark = self.mark();
        self.await_mark(&mark);
        let truth = truth::read(&self.database);
        let mut quiet_since: Option<Instant> = None;
        loop {
            let unrest = self.unrest();
            let differences = if unrest.is_none() { self.differences(&truth) } else { Vec::new() };
            match (unrest, quiet_since) {
                (None, _) if differences.is_empty() => return began.elapsed(),
                (None, None) => quiet_since = Some(Instant::now()),
                (None, Some(since)) if since.elapsed() > STUBBORN => {
                    self.fail(&format!(
                        "{} differences while all is quiet:\n{}",
                        differences.len(),
                        self.explained(&differences)
                    ));
                }
                (None, Some(_)) => {}
                (Some(unrest), _) => {
                    quiet_since = None;
                    self.give_up_after(began, PATIENCE, &unrest);
                }
            }
            pause(LOOK);
        }
    }

    /// Waits until every node that was started has partitions.
    pub fn await_members(&mut self) {
        let began = Instant::now();
        let reads = |node: &Node| {
            let partitions = node.ask("/api/v1/partitions");
            partitions.is_some_and(|told| told["partitions"].as_array().is_some_and(|list| !list.is_empty()))
        };
        while !self.nodes.iter().filter(|node| node.pid() > 0).all(reads) {
            self.give_up_after(began, PATIENCE, "a node has no partitions");
            pause(LOOK);
        }
    }

    /// What still moves; nothing when the chain is quiet.
    fn unrest(&self) -> Option<String> {
        let mut text = String::new();
        let mut committed = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.pid() > 0) {
            let Some(partitions) = node.ask("/api/v1/partitions") else {
                return Some(format!("{} does not answer", node.name));
            };
            for p in partitions["partitions"].as_array().into_iter().flatten() {
                let place = format!("{}/{}", p["topic"].as_str().unwrap_or_default(), p["partition"]);
                committed.insert(place, p["committed"].as_str().and_then(|offset| offset.parse().ok()).unwrap_or(-1));
            }
            let Some(lanes) = node.ask("/api/v1/lanes") else { return Some(format!("{}: no lanes", node.name)) };
            for lane in lanes["lanes"].as_array().into_iter().flatten() {
                if ["waiting", "retry", "active", "spilled", "parked", "buried"].iter().any(|state| lane[*state] != json!(0)) {
                    let _ = writeln!(text, "{}: {lane}", node.name);
                }
            }
        }
        // The broker itself is asked where its logs end.
        for (place, end) in self.log_ends() {
            if committed.get(&place) != Some(&end) {
                let _ = writeln!(text, "{place} ends at {end}, committed: {:?}", committed.get(&place));
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// Records that were delivered more than once so far. Asked of a quiet chain.
    pub fn delivered_again(&self) -> i64 {
        let taken: u64 = self.nodes.iter().map(Node::taken).sum();
        i64::try_from(taken).unwrap_or(i64::MAX) - self.log_ends().values().sum::<i64>()
    }

    /// Where each partition's log ends; -1 where the broker does not say.
    fn log_ends(&self) -> BTreeMap<String, i64> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.kafka.address()).create().unwrap();
        let topics = self.format.topics().iter();
        let places = topics.flat_map(|topic| (0..PARTITIONS).map(move |partition| (*topic, partition)));
        let end = |(topic, partition): (&str, i32)| {
            let ends = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10));
            (format!("{topic}/{partition}"), ends.map_or(-1, |(_, end)| end))
        };
        places.map(end).collect()
    }

    fn differences(&mut self, truth: &truth::Truth) -> Vec<Difference> {
        let mut found = Vec::new();
        compare(&mut found, "order_search", &truth.orders, self.found("orders"));
        compare(&mut found, "product_search", &truth.products, self.found("products"));
        compare(&mut found, "order_state", &truth.states, self.cached("order:"));
        compare(&mut found, "product_cache", &truth.cached, self.cached("product:"));
        found
    }

    fn explained(&self, differences: &[Difference]) -> String {
        let mut text = String::new();
        for difference in differences.iter().take(5) {
            let kind = if difference.line.starts_with("order") { "order/key?order_no=" } else { "product/key?id=" };
            let row = self.nodes[0].ask(&format!("/api/v1/rows/{}{}", kind.replace("/key", ":key"), difference.id));
            let _ = writeln!(
                text,
                "{} {}\n  is        {}\n  should be {}\n  row {}",
                difference.line,
                difference.id,
                shown(difference.is.as_ref()),
                shown(difference.ought.as_ref()),
                shown(row.as_ref())
            );
        }
        text
    }

    fn search(&self, method: &str, path: &str) -> Option<Value> {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build().into();
        let url = format!("http://{}{path}", self.search.address());
        let answer = if method == "GET" { agent.get(url).call() } else { agent.post(url).send_empty() };
        serde_json::from_str(&answer.ok()?.body_mut().with_config().limit(1 << 30).read_to_string().ok()?).ok()
    }

    /// Every document of an index; nothing while it cannot be asked.
    fn found(&self, index: &str) -> Option<Documents> {
        self.search("POST", &format!("/{index}/_refresh"))?;
        let answer = self.search("GET", &format!("/{index}/_search?size=10000"))?;
        let hits = answer["hits"]["hits"].as_array()?;
        Some(hits.iter().map(|hit| (hit["_id"].as_str().unwrap_or_default().to_owned(), hit["_source"].clone())).collect())
    }

    fn redis(&self) -> redis::RedisResult<redis::Connection> {
        let client = redis::Client::open(format!("redis://{}/1", self.redis.address()))?;
        let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    fn hashes(&self, prefix: &str) -> redis::RedisResult<BTreeMap<String, BTreeMap<String, String>>> {
        let mut connection = self.redis()?;
        let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(&mut connection)?;
        let mut pipe = redis::pipe();
        for key in &keys {
            pipe.cmd("HGETALL").arg(key);
        }
        let hashes: Vec<BTreeMap<String, String>> = pipe.query(&mut connection)?;
        Ok(keys.into_iter().zip(hashes).collect())
    }

    /// Every document under a prefix, without those that were deleted. A version below the one seen before is a failure.
    fn cached(&mut self, prefix: &str) -> Option<Documents> {
        let mut documents = Documents::new();
        for (key, mut hash) in self.hashes(prefix).ok()? {
            let version = hash.remove("v").unwrap_or_default();
            let before = self.versions.insert(key.clone(), version.clone()).unwrap_or_default();
            assert!(version >= before, "{key} fell from version {before} to {version}");
            let id = key[prefix.len()..].to_owned();
            match hash.remove("d") {
                Some(document) => drop(documents.insert(id, serde_json::from_str(&document).unwrap())),
                None if hash.is_empty() => {}
                None => drop(documents.insert(id, json!(hash))),
            }
        }
        Some(documents)
    }

    /// Ends every connection to Redis.
    pub fn cut_redis(&self) {
        let mut connection = self.redis().unwrap();
        let ended: i64 = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query(&mut connection).unwrap();
        assert!(ended > 1, "nobody was connected to Redis");
    }

    /// Ends the connection over which the binary log is read.
    pub fn cut_reader(&self) {
        let find = "select id from information_schema.processlist where command like 'Binlog Dump%'";
        let readers = self.database.script("sql", &["-e", find]);
        assert!(!readers.trim().is_empty(), "nobody reads the binary log");
        for reader in readers.lines() {
            self.sql(&format!("kill {reader}"));
        }
    }

    /// Looks at every version in Redis while others write: none may have fallen.
    pub fn watch_versions(&mut self) {
        let _ = self.cached("order:");
        let _ = self.cached("product:");
    }

    fn give_up_after(&mut self, began: Instant, patience: Duration, what: &str) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].pid() > 0 && !self.nodes[place].runs() {
                self.fail(&format!("{} has ended by itself", self.nodes[place].name));
            }
        }
        if began.elapsed() > patience {
            self.fail(&format!("after {patience:?}: {what}"));
        }
    }

    fn fail(&self, what: &str) -> ! {
        for node in &self.nodes {
            say(&format!("--- the end of {}\n{}", node.log_file().display(), node.last_words()));
        }
        // Who went away says why.
        let servers = [&self.hbase, &self.kafka, &self.redis, &self.search, &self.database, &self.capture];
        for server in servers.into_iter().filter(|server| !Path::new(&format!("/proc/{}", server.pid())).exists()) {
            say(&server.last_words());
        }
        panic!("{what}");
    }
}

struct Difference {
    line: &'static str,
    id: String,
    is: Option<Value>,
    ought: Option<Value>,
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".into(), ToString::to_string)
}

/// ALTER gives old rows a null that no change tells of (C6): in that column, null and left out are one.
fn comparable(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, value| name != "gift" || !value.is_null());
    }
    document
}

fn compare(found: &mut Vec<Difference>, line: &'static str, ought: &Documents, is: Option<Documents>) {
    let Some(mut is) = is else {
        return found.push(Difference { line, id: "all of them".into(), is: None, ought: None });
    };
    for (id, ought) in ought {
        let is = is.remove(id).map(comparable);
        let ought = Some(comparable(ought.clone()));
        if is != ought {
            found.push(Difference { line, id: id.clone(), is, ought });
        }
    }
    found.extend(is.into_iter().map(|(id, is)| Difference { line, id, is: Some(is), ought: None }));
}

/// The notices' topic, and these.
fn make_topics(kafka: &Server, more: &[&str]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.address()).create().unwrap();
    let names = more.iter().chain(&["order.changed"]);
    let topics: Vec<_> = names.map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new())).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}
