//! The one list of keys: where each stands and what it takes.
//!
//! Feeds the shape check, did-you-means, the JSON Schema and `config explain`. Defaults and documentation stand in
//! `config/default.yaml`, under the same paths; a test holds the two together. Knows nothing of what the values do.

use super::tree::{Entry, Node};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The compiled-in file of defaults.
pub const DEFAULT_YAML: &str = include_str!("../../config/default.yaml");

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A map of the keys below it. `optional`: left out altogether unless written.
    Map {
        optional: bool,
    },
    /// A map of names of the user's choosing; the text says what is named.
    Named(&'static str),
    /// A map with one key that says its kind, and the other keys below it beside.
    Component(Component),
    /// A single text, or a map of the keys below it; nothing is filled in.
    Field,
    /// A map by name whose values `lines` and `rows` read: columns, routes, lanes of a line, types.
    Dict(&'static str),
    /// Properties of a client library and their values, of which some are secrets.
    Properties,
    /// `{ name: weight, … }` or `{ strict: [name, …] }`; replaced whole by a later file, because its order counts.
    Lanes,
    /// `offset`, `position` or `{ column: name }`.
    Stamp,
    /// A list of names; a value in the list must be among the allowed, if any are given.
    List(&'static [&'static str]),
    /// `any`, or a list.
    AnyOrList,
    Text,
    /// A path, relative to the working directory.
    Path,
    /// One of these.
    OneOf(&'static [&'static str]),
    Bool,
    Integer {
        min: u64,
        max: u64,
    },
    /// A whole number, or `none` for without end.
    Unbounded,
    Number {
        min: f64,
        max: f64,
    },
    Duration,
    Size {
        min: u64,
    },
    /// `2000/s`, or `none`.
    Rate,
    /// A share like `5%`.
    Percent,
    /// Never printed.
    Secret,
}

/// What a component may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// For messages: `source`, `sink`.
    pub what: &'static str,
    /// Every kind the design knows, whether this build holds it or not.
    pub kinds: &'static [ComponentKind],
    /// Taken when the component names none.
    pub default: Option<&'static str>,
}

/// One kind of a component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComponentKind {
    pub name: &'static str,
    /// Whether this build holds it.
    pub built: bool,
}

impl Component {
    /// Whether a key says a kind, in this build or another one.
    pub fn is_kind(&self, key: &str) -> bool {
        self.kinds.iter().any(|kind| kind.name == key)
    }
    /// Whether this build holds the kind.
    pub fn is_built(&self, key: &str) -> bool {
        self.built().any(|name| name == key)
    }
    /// The kinds that this build holds.
    pub fn built(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.kinds.iter().filter(|kind| kind.built).map(|kind| kind.name)
    }
    /// The same as a text for messages.
    pub fn available(&self) -> String {
        self.built().collect::<Vec<_>>().join(", ")
    }
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dots between segments; `*` is a name of the user's choosing.
    pub path: &'static str,
    pub kind: Kind,
}

pub const FORMATS: &[&str] = &["auto", "debezium", "canal", "maxwell", "dts"];
/// How a field prints its value.
pub const AS: &[&str] = &["string", "long", "decimal", "double", "bool", "datetime", "date", "json"];
/// Roles of the design that this version does not hold.
pub const ROLES_LATER: &[&str] = &["verify", "relay"];

const MAP: Kind = Kind::Map { optional: false };
const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}
const fn count(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}
const fn always(name: &'static str) -> ComponentKind {
    ComponentKind { name, built: true }
}
const fn with(feature: bool, name: &'static str) -> ComponentKind {
    ComponentKind { name, built: feature }
}
const fn later(name: &'static str) -> ComponentKind {
    ComponentKind { name, built: false }
}
const ELASTICSEARCH: bool = cfg!(feature = "elasticsearch");
const HBASE: bool = cfg!(feature = "hbase");
const KAFKA: bool = cfg!(feature = "kafka");
const MYSQL: bool = cfg!(feature = "mysql");
const REDIS: bool = cfg!(feature = "redis");
const SOURCE: Component = Component {
    what: "source",
    kinds: &[always("jsonl"), always("generator"), with(KAFKA, "kafka"), later("nsq"), later("mysql")],
    default: None,
};
const STORE: Component =
    Component { what: "store", kinds: &[always("embedded"), with(HBASE, "hbase")], default: Some("embedded") };
const QUEUE: Component =
    Component { what: "queue", kinds: &[always("embedded"), with(REDIS, "asynq"), later("redis")], default: Some("embedded") };
const LEDGER: Component =
    Component { what: "ledger", kinds: &[always("embedded"), with(MYSQL, "mysql")], default: Some("embedded") };
const SINK: Component = Component {
    what: "sink",
    kinds: &[
        always("embedded"),
        always("jsonl"),
        always("queue_only"),
        with(ELASTICSEARCH, "elasticsearch"),
        with(REDIS, "redis"),
        with(KAFKA, "kafka"),
        later("asynq"),
        later("mysql"),
        later("hbase"),
    ],
    default: None,
};
const MIB: u64 = 1 << 20;

/// Every key there is, a parent before its children.
pub const KEYS: &[Key] = &[
    key("version", Kind::OneOf(&["1"])),
    key("node", MAP),
    key("node.id", Kind::Text),
    key("node.data_dir", Kind::Path),
    key("node.roles", Kind::List(&["ingest", "deliver"])),
    key("node.threads", count(0, 1024)),
    key("node.entities_max", count(1, 1_000_000_000)),
    key("node.entity_bytes_max", Kind::Size { min: MIB }),
    key("node.entity_idle_max", Kind::Duration),
    key("node.in_flight_bytes_max", Kind::Size { min: MIB }),
    key("node.drain_deadline", Kind::Duration),
    key("node.silence_max", Kind::Duration),
    key("sources", Kind::Named("source")),
    key("sources.*", Kind::Component(SOURCE)),
    key("sources.*.jsonl", MAP),
    key("sources.*.jsonl.path", Kind::Path),
    key("sources.*.generator", MAP),
    key("sources.*.generator.seed", count(0, u64::MAX)),
    key("sources.*.generator.entities", count(1, 1_000_000_000)),
    key("sources.*.generator.events", Kind::Unbounded),
    key("sources.*.generator.rate", Kind::Rate),
    key("sources.*.generator.disorder", Kind::Percent),
    key("sources.*.generator.duplicates", Kind::Percent),
    key("sources.*.generator.partitions", count(1, 1024)),
    key("sources.*.generator.format", Kind::OneOf(&["debezium", "canal", "maxwell", "dts"])),
    key("sources.*.generator.skew", Kind::Number { min: 0.0, max: 4.0 }),
    key("sources.*.generator.hot", Kind::Percent),
    key("sources.*.generator.big", Kind::Percent),
    key("sources.*.generator.replay", Kind::Percent),
    key("sources.*.kafka", MAP),
    key("sources.*.kafka.brokers", Kind::List(&[])),
    key("sources.*.kafka.group", Kind::Text),
    key("sources.*.kafka.topics", Kind::List(&[])),
    key("sources.*.kafka.static_member", Kind::Bool),
    key("sources.*.kafka.session_timeout", Kind::Duration),
    key("sources.*.kafka.commit_every", Kind::Duration),
    key("sources.*.kafka.tls", Kind::Map { optional: true }),
    key("sources.*.kafka.tls.ca", Kind::Path),
    key("sources.*.kafka.tls.certificate", Kind::Path),
    key("sources.*.kafka.tls.key", Kind::Path),
    key("sources.*.kafka.tls.verify", Kind::Bool),
    key("sources.*.kafka.sasl", Kind::Map { optional: true }),
    key("sources.*.kafka.sasl.mechanism", Kind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])),
    key("sources.*.kafka.sasl.username", Kind::Text),
    key("sources.*.kafka.sasl.password", Kind::Secret),
    key("sources.*.kafka.properties", Kind::Properties),
    key("sources.*.format", Kind::OneOf(FORMATS)),
    key("sources.*.stamp", Kind::Stamp),
    key("sources.*.partitioned_by", Kind::List(&[])),
    key("sources.*.snapshot", Kind::OneOf(&["auto", "ordered", "fill"])),
    key("sources.*.on_bad_record", Kind::OneOf(&["dead_letter", "stop"])),
    key("sources.*.in_flight", count(1, 1_000_000)),
    key("sources.*.record_bytes_max", Kind::Size { min: 1024 }),
    key("store", Kind::Component(STORE)),
    key("store.embedded", MAP),
    key("store.hbase", MAP),
    key("store.hbase.servers", Kind::List(&[])),
    key("store.hbase.table", Kind::Text),
    key("store.hbase.family", Kind::Text),
    key("store.hbase.wal", Kind::OneOf(&["sync", "async", "skip"])),
    key("store.hbase.create", Kind::Bool),
    key("store.hbase.regions", count(1, 4096)),
    key("store.hbase.user", Kind::Text),
    key("store.hbase.connections", count(1, 64)),
    key("store.hbase.in_flight", count(1, 1024)),
    key("store.hbase.timeout", Kind::Duration),
    key("store.hbase.flush_every", Kind::Duration),
    key("store.hbase.tls", Kind::Map { optional: true }),
    key("store.hbase.tls.ca", Kind::Path),
    key("store.hbase.tls.certificate", Kind::Path),
    key("store.hbase.tls.key", Kind::Path),
    key("store.hbase.tls.verify", Kind::Bool),
    key("queue", Kind::Component(QUEUE)),
    key("queue.embedded", MAP),
    key("queue.asynq", MAP),
    key("queue.asynq.redis", Kind::Text),
    key("queue.asynq.username", Kind::Text),
    key("queue.asynq.password", Kind::Secret),
    key("queue.asynq.timeout", Kind::Duration),
    key("queue.asynq.tls", Kind::Map { optional: true }),
    key("queue.asynq.tls.ca", Kind::Path),
    key("queue.asynq.tls.certificate", Kind::Path),
    key("queue.asynq.tls.key", Kind::Path),
    key("queue.asynq.tls.verify", Kind::Bool),
    key("queue.asynq.queue", Kind::Text),
    key("queue.asynq.allow_eviction", Kind::Bool),
    key("queue.lanes", Kind::Lanes),
    key("queue.default_lane", Kind::Text),
    key("queue.max_pending", count(1, 1_000_000_000)),
    key("queue.expire_after", Kind::Duration),
    key("queue.on_late", Kind::OneOf(&["run", "park", "drop"])),
    key("queue.lease", Kind::Duration),
    key("queue.retry", MAP),
    key("queue.retry.max", count(0, 1_000_000)),
    key("queue.retry.base", Kind::Duration),
    key("queue.retry.cap", Kind::Duration),
    key("rows", Kind::Named("row kind")),
    key("rows.*", MAP),
    key("rows.*.key", Kind::Text),
    key("rows.*.root", Kind::Text),
    key("rows.*.version", Kind::OneOf(&["weight", "counter"])),
    key("rows.*.tables", Kind::Named("table")),
    key("rows.*.tables.*", MAP),
    key("rows.*.tables.*.id", Kind::List(&[])),
    key("rows.*.tables.*.many", Kind::Bool),
    key("rows.*.tables.*.columns", Kind::Dict("a column and its type")),
    key("rows.*.tables.*.route", Kind::Dict("a key column and what this table calls it")),
    key("rows.*.tables.*.match", Kind::Text),
    key("lines", Kind::Named("line")),
    key("lines.*", MAP),
    key("lines.*.row", Kind::Text),
    key("lines.*.when", Kind::AnyOrList),
    key("lines.*.lanes", Kind::Dict("a lane and its selectors; first_seen or snapshot and a lane")),
    key("lines.*.types", Kind::Dict("a change type and its selectors")),
    key("lines.*.document", Kind::Map { optional: true }),
    key("lines.*.document.id", Kind::Text),
    key("lines.*.document.fields", Kind::Named("field")),
    key("lines.*.document.fields.*", Kind::Field),
    key("lines.*.document.fields.*.from", Kind::Text),
    key("lines.*.document.fields.*.as", Kind::OneOf(AS)),
    key("lines.*.document.fields.*.default", Kind::Text),
    key("lines.*.document.fields.*.each", Kind::Text),
    key("lines.*.document.fields.*.order_by", Kind::Text),
    key("lines.*.document.fields.*.fields", Kind::Named("field")),
    key("lines.*.document.fields.*.fields.*", Kind::Field),
    key("lines.*.document.fields.*.fields.*.from", Kind::Text),
    key("lines.*.document.fields.*.fields.*.as", Kind::OneOf(AS)),
    key("lines.*.document.fields.*.fields.*.default", Kind::Text),
    key("lines.*.document.fields.*.sum", Kind::Text),
    key("lines.*.document.fields.*.min", Kind::Text),
    key("lines.*.document.fields.*.max", Kind::Text),
    key("lines.*.document.fields.*.count", Kind::Text),
    key("lines.*.document.fields.*.join", Kind::Text),
    key("lines.*.document.fields.*.with", Kind::Text),
    key("lines.*.sink", Kind::Component(SINK)),
    key("lines.*.sink.embedded", MAP),
    key("lines.*.sink.jsonl", MAP),
    key("lines.*.sink.jsonl.path", Kind::Path),
    key("lines.*.sink.queue_only", MAP),
    key("lines.*.sink.elasticsearch", MAP),
    key("lines.*.sink.elasticsearch.urls", Kind::List(&[])),
    key("lines.*.sink.elasticsearch.index", Kind::Text),
    key("lines.*.sink.elasticsearch.auth", Kind::Map { optional: true }),
    key("lines.*.sink.elasticsearch.auth.api_key", Kind::Secret),
    key("lines.*.sink.elasticsearch.auth.username", Kind::Text),
    key("lines.*.sink.elasticsearch.auth.password", Kind::Secret),
    key("lines.*.sink.elasticsearch.tls", Kind::Map { optional: true }),
    key("lines.*.sink.elasticsearch.tls.ca", Kind::Path),
    key("lines.*.sink.elasticsearch.tls.certificate", Kind::Path),
    key("lines.*.sink.elasticsearch.tls.key", Kind::Path),
    key("lines.*.sink.elasticsearch.tls.verify", Kind::Bool),
    key("lines.*.sink.elasticsearch.create", Kind::Bool),
    key("lines.*.sink.elasticsearch.bulk", MAP),
    key("lines.*.sink.elasticsearch.bulk.docs", count(1, 100_000)),
    key("lines.*.sink.elasticsearch.bulk.bytes", Kind::Size { min: 1024 }),
    key("lines.*.sink.elasticsearch.bulk.in_flight", count(1, 64)),
    key("lines.*.sink.elasticsearch.timeout", Kind::Duration),
    key("lines.*.sink.redis", MAP),
    key("lines.*.sink.redis.url", Kind::Text),
    key("lines.*.sink.redis.username", Kind::Text),
    key("lines.*.sink.redis.password", Kind::Secret),
    key("lines.*.sink.redis.timeout", Kind::Duration),
    key("lines.*.sink.redis.tls", Kind::Map { optional: true }),
    key("lines.*.sink.redis.tls.ca", Kind::Path),
    key("lines.*.sink.redis.tls.certificate", Kind::Path),
    key("lines.*.sink.redis.tls.key", Kind::Path),
    key("lines.*.sink.redis.tls.verify", Kind::Bool),
    key("lines.*.sink.redis.key", Kind::Text),
    key("lines.*.sink.redis.ttl", Kind::Duration),
    key("lines.*.sink.redis.form", Kind::OneOf(&["document", "fields"])),
    key("lines.*.sink.kafka", MAP),
    key("lines.*.sink.kafka.brokers", Kind::List(&[])),
    key("lines.*.sink.kafka.topic", Kind::Text),
    key("lines.*.sink.kafka.form", Kind::OneOf(&["notice", "envelope"])),
    key("lines.*.sink.kafka.remember", Kind::Bool),
    key("lines.*.sink.kafka.system", Kind::Text),
    key("lines.*.sink.kafka.timeout", Kind::Duration),
    key("lines.*.sink.kafka.tls", Kind::Map { optional: true }),
    key("lines.*.sink.kafka.tls.ca", Kind::Path),
    key("lines.*.sink.kafka.tls.certificate", Kind::Path),
    key("lines.*.sink.kafka.tls.key", Kind::Path),
    key("lines.*.sink.kafka.tls.verify", Kind::Bool),
    key("lines.*.sink.kafka.sasl", Kind::Map { optional: true }),
    key("lines.*.sink.kafka.sasl.mechanism", Kind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])),
    key("lines.*.sink.kafka.sasl.username", Kind::Text),
    key("lines.*.sink.kafka.sasl.password", Kind::Secret),
    key("lines.*.sink.kafka.properties", Kind::Properties),
    key("lines.*.delete", Kind::OneOf(&["delete", "tombstone", "ignore"])),
    key("lines.*.skip_equal", Kind::Bool),
    key("lines.*.workers", count(1, 256)),
    key("lines.*.batch", count(1, 10_000)),
    key("lines.*.batch_bytes", Kind::Size { min: MIB }),
    key("ledger", Kind::Component(LEDGER)),
    key("ledger.embedded", MAP),
    key("ledger.mysql", MAP),
    key("ledger.mysql.url", Kind::Secret),
    key("ledger.mysql.tls", Kind::Map { optional: true }),
    key("ledger.mysql.tls.ca", Kind::Path),
    key("ledger.mysql.tls.certificate", Kind::Path),
    key("ledger.mysql.tls.key", Kind::Path),
    key("ledger.mysql.tls.verify", Kind::Bool),
    key("ledger.mysql.table", Kind::Text),
    key("purge", MAP),
    key("purge.horizon", Kind::Duration),
    key("admin", MAP),
    key("admin.listen", Kind::Text),
    key("admin.token", Kind::Secret),
    key("admin.mask", Kind::List(&[])),
];

/// A key with its place in the tree of keys.
#[derive(Debug)]
pub struct Spec {
    pub path: String,
    pub kind: Kind,
    /// In the order of the list: last segment and its spec.
    pub children: Vec<(&'static str, Spec)>,
}

impl Spec {
    pub fn child(&self, segment: &str) -> Option<&Spec> {
        self.children.iter().find(|(name, _)| *name == segment).map(|(_, spec)| spec)
    }
    /// The spec of what the user names, under a [`Kind::Named`].
    pub fn named(&self) -> Option<&Spec> {
        self.child("*")
    }
    pub fn child_names(&self) -> impl Iterator<Item = &'static str> {
        self.children.iter().map(|(name, _)| *name)
    }
    /// Walks down a path of literal segments, `*` included.
    pub fn at(&self, path: &str) -> Option<&Spec> {
        path.split('.').try_fold(self, |spec, segment| spec.child(segment))
    }
}

/// The tree of keys.
pub fn root() -> &'static Spec {
    static ROOT: LazyLock<Spec> = LazyLock::new(|| {
        let mut root = Spec { path: String::new(), kind: MAP, children: Vec::new() };
        for key in KEYS {
            insert(&mut root, key);
        }
        root
    });
    &ROOT
}

fn insert(root: &mut Spec, key: &Key) {
    let mut spec = root;
    let mut segments = key.path.split('.').peekable();
    while let Some(segment) = segments.next() {
        if segments.peek().is_none() {
            let added = Spec { path: key.path.to_owned(), kind: key.kind, children: Vec::new() };
            spec.children.push((segment, added));
            return;
        }
        // A parent stands in the list before its children; a test holds it so.
        let Some(at) = spec.children.iter().position(|(name, _)| *name == segment) else { return };
        spec = &mut spec.children[at].1;
    }
}

/// The comments of `config/default.yaml` by path: the reference text of each key.
pub fn docs() -> &'static HashMap<String, String> {
    static DOCS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let mut docs = HashMap::new();
        let lines: Vec<&str> = DEFAULT_YAML.lines().collect();
        collect_docs(super::load::defaults(), "", &lines, &mut docs);
        docs
    });
    &DOCS
}

fn collect_docs(node: &Node, path: &str, lines: &[&str], docs: &mut HashMap<String, String>) {
    for Entry { key, key_place, value } in node.entries() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let above = &lines[..(key_place.line as usize).saturating_sub(1).min(lines.len())];
        let comment = above.iter().rev().map_while(|line| line.trim_start().strip_prefix('#').map(str::trim));
        let mut comment: Vec<&str> = comment.collect();
        comment.reverse();
        if !comment.is_empty() {
            docs.insert(path.clone(), comment.join(" "));
        }
        collect_docs(value, &path, lines, docs);
    }
}
