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
    pub built: &'static [&'static str],
    /// Known to the design, not to this version.
    pub later: &'static [&'static str],
    /// Taken when the component names none.
    pub default: Option<&'static str>,
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
const SOURCE: Component =
    Component { what: "source", built: &["jsonl", "generator"], later: &["kafka", "nsq", "mysql"], default: None };
const STORE: Component = Component { what: "store", built: &["embedded"], later: &["hbase"], default: Some("embedded") };
const QUEUE: Component = Component { what: "queue", built: &["embedded"], later: &["asynq", "redis"], default: Some("embedded") };
const LEDGER: Component = Component { what: "ledger", built: &["embedded"], later: &["mysql"], default: Some("embedded") };
const SINK: Component = Component {
    what: "sink",
    built: &["embedded", "jsonl", "queue_only"],
    later: &["elasticsearch", "redis", "kafka", "asynq", "mysql", "hbase"],
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
    key("sources.*.format", Kind::OneOf(FORMATS)),
    key("sources.*.stamp", Kind::Stamp),
    key("sources.*.partitioned_by", Kind::List(&[])),
    key("sources.*.snapshot", Kind::OneOf(&["auto", "ordered", "fill"])),
    key("sources.*.on_bad_record", Kind::OneOf(&["dead_letter", "stop"])),
    key("sources.*.in_flight", count(1, 1_000_000)),
    key("sources.*.record_bytes_max", Kind::Size { min: 1024 }),
    key("store", Kind::Component(STORE)),
    key("store.embedded", MAP),
    key("queue", Kind::Component(QUEUE)),
    key("queue.embedded", MAP),
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
    key("lines.*.delete", Kind::OneOf(&["delete", "tombstone", "ignore"])),
    key("lines.*.skip_equal", Kind::Bool),
    key("lines.*.workers", count(1, 256)),
    key("lines.*.batch", count(1, 10_000)),
    key("ledger", Kind::Component(LEDGER)),
    key("ledger.embedded", MAP),
    key("purge", MAP),
    key("purge.horizon", Kind::Duration),
    key("admin", MAP),
    key("admin.listen", Kind::Text),
    key("admin.token", Kind::Secret),
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
