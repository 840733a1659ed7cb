//! Business lines, from the completed tree to [`LineSettings`].
//!
//! Keeps 3-interfaces 3.2 `when`, `lanes`, `types`, K4, K5 and K7's last sentence. Knows nothing of how a document's
//! fields are read; `fields` does that.

use super::findings::{Code, Findings};
use super::read::At;
use super::rows::{TableNames, clash, template};
use super::settings::{LineSettings, SinkKind};
use super::systems::{Secrets, Systems};
use super::tree::{Entry, Node};
use super::values::{good_column, good_name};
use super::{fields, settings};
use crate::domain::document::Document;
use crate::domain::ids::Name;
use crate::domain::job::Lane;
use crate::domain::line::{DeleteMode, LaneRules, Line, Selector, When};
use crate::domain::schema::{RowKind, Schema};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What lines are checked against.
pub struct Context<'a> {
    pub schema: &'a Schema,
    pub rows: At<'a>,
    pub queue: &'a settings::Queue,
    pub sources: &'a [settings::Source],
    pub secrets: &'a Secrets,
}

/// Builds every line of `lines:`.
pub fn lines(at: At<'_>, context: &Context<'_>, findings: &mut Findings) -> Vec<LineSettings> {
    let mut out = Vec::new();
    for entry in at.entries() {
        let mut builder = Builder { context, findings };
        out.extend(builder.line(entry));
    }
    shared_documents(at, context, findings);
    shared_indexes(at, &out, findings);
    out
}

struct Builder<'a, 'b> {
    context: &'a Context<'a>,
    findings: &'b mut Findings,
}

/// A line's row kind with the names of its tables.
pub struct Kind<'a> {
    pub kind: &'a RowKind,
    pub names: TableNames,
    pub schema: &'a Schema,
}

impl<'a> Builder<'a, '_> {
    fn line(&mut self, entry: &Entry) -> Option<LineSettings> {
        let at = At(Some(entry));
        let kind = self.kind(at.get("row"));
        let document = at.get("document");
        let sink = self.sink(at.get("sink"), &entry.key);
        if document.0.is_none() && sink.as_ref().is_some_and(|sink| *sink != SinkKind::QueueOnly) {
            let message = format!("line `{}` writes documents and declares none", entry.key);
            let finding = self.findings.add(Code::NoDocument, entry.key_place, message);
            finding.help("add `document: { id: …, fields: … }`; only `queue_only` goes without one");
        }
        let kind = kind?;
        let lanes = self.lanes(at.get("lanes"), &kind);
        let when = match at.get("when") {
            when if when.scalar().is_some() => When::Any,
            when => When::Columns(self.selectors(when.items(), &kind)),
        };
        let mut types = Vec::new();
        for named in at.get("types").entries() {
            if !good_name(&named.key) {
                let finding =
                    self.findings.add(Code::BadName, named.key_place, format!("`{}` cannot name a change type", named.key));
                finding.help("a name is 1 to 64 of: a-z A-Z 0-9 _ -");
            } else if let Some(items) = self.list_of(named) {
                types.push((Name::of(&named.key), self.selectors(items, &kind)));
            }
        }
        let document = document.0.and_then(|_| self.document(document, &kind));
        let delete = match at.get("delete").text() {
            "tombstone" => DeleteMode::Tombstone,
            "ignore" => DeleteMode::Ignore,
            _ => DeleteMode::Delete,
        };
        let skip_equal = at.get("skip_equal").boolean();
        let line = Line { name: Name::of(&entry.key), kind: kind.kind.name, when, lanes, types, document, delete, skip_equal };
        let (workers, batch) = (at.get("workers").count(), at.get("batch").count());
        Some(LineSettings { line, sink: sink?, workers, batch, batch_bytes: at.get("batch_bytes").size() })
    }

    fn sink(&mut self, at: At<'_>, line: &str) -> Option<SinkKind> {
        let mut systems = Systems { secrets: self.context.secrets, findings: self.findings };
        let kind = at.entries().first()?;
        let path = format!("lines.{line}.sink.{}", kind.key);
        let at = At(Some(kind));
        match kind.key.as_str() {
            "embedded" => Some(SinkKind::Embedded),
            "queue_only" => Some(SinkKind::QueueOnly),
            "jsonl" => Some(SinkKind::Jsonl { path: at.get("path").path() }),
            "elasticsearch" => Some(SinkKind::Elasticsearch(systems.elasticsearch(at, &path))),
            "redis" => systems.redis_sink(at, &path).map(SinkKind::Redis),
            "kafka" => Some(SinkKind::Kafka(systems.kafka_sink(at, &path))),
            _ => None,
        }
    }

    fn kind(&mut self, at: At<'_>) -> Option<Kind<'a>> {
        let name = at.scalar()?.text.as_str();
        let schema = self.context.schema;
        if let Some(kind) = schema.kinds.iter().find(|k| k.name.as_str() == name) {
            return Some(Kind { kind, names: TableNames::of(kind, schema), schema });
        }
        let known: Vec<&str> = self.context.rows.entries().iter().map(|e| e.key.as_str()).collect();
        // A kind that is there but could not be built has its own finding.
        if !known.contains(&name) {
            let finding = self.findings.add(Code::UnknownRow, at.place(), format!("there is no row kind `{name}`"));
            finding.nearest(name, known.iter().copied());
            finding.help(format!("row kinds: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") }));
        }
        None
    }

    fn document(&mut self, at: At<'_>, kind: &Kind<'_>) -> Option<Document> {
        let id = template(at.get("id"), self.findings);
        let fields = fields::fields(at.get("fields"), kind, self.findings);
        let (id, place) = (id?, at.get("id").place());
        let keys = &kind.kind.key_columns;
        let known = keys.iter().map(|c| c.as_str()).collect::<Vec<_>>();
        let strangers: Vec<Name> = id.columns().into_iter().filter(|c| !keys.contains(c)).collect();
        if let Some(stranger) = strangers.first() {
            let message = format!("`{stranger}` is not a key column of row kind `{}`", kind.kind.name);
            let finding = self.findings.add(Code::IdNotKey, place, message);
            finding.nearest(stranger.as_str(), known.iter().copied());
            finding.help(format!("a delete must find its document by the key alone; key columns: {}", known.join(", ")));
            return None;
        }
        let missing = keys.iter().find(|c| !id.columns().contains(c)).map(|c| format!("`{c}` does not stand in it"));
        if let Some(why) = missing.or_else(|| clash(&id)) {
            let finding = self.findings.add(Code::SharedId, place, format!("two entities can have one document: {why}"));
            finding.help("let every key column stand whole in the id");
        }
        Some(Document { id, fields })
    }

    fn lanes(&mut self, at: At<'_>, kind: &Kind<'_>) -> LaneRules {
        let mut rules = LaneRules { default: self.context.queue.default_lane, ..LaneRules::default() };
        for entry in at.entries() {
            match entry.key.as_str() {
                "first_seen" => rules.first_seen = self.lane_of(entry),
                "snapshot" => rules.snapshot = self.lane_of(entry),
                name => {
                    let node = Node { place: entry.key_place, value: entry.value.value.clone() };
                    let lane = self.lane(name, &node);
                    let selectors = self.list_of(entry).map(|items| self.selectors(items, kind));
                    if let (Some(lane), Some(selectors)) = (lane, selectors) {
                        rules.by_column.push((lane, selectors));
                    }
                }
            }
        }
        rules
    }

    fn lane_of(&mut self, entry: &Entry) -> Option<Lane> {
        if entry.value.is_broken() {
            return None;
        }
        let Some(text) = entry.value.text() else {
            let message = format!("`{}` takes the name of a lane, and this is {}", entry.key, entry.value.shape());
            self.findings.add(Code::WrongShape, entry.value.place, message);
            return None;
        };
        self.lane(text, &entry.value)
    }

    fn lane(&mut self, name: &str, node: &Node) -> Option<Lane> {
        let lanes = &self.context.queue.lanes;
        let found = lanes.iter().position(|(lane, _)| lane.as_str() == name);
        if found.is_none() {
            let known: Vec<&str> = lanes.iter().map(|(lane, _)| lane.as_str()).collect();
            let finding = self.findings.add(Code::UnknownLane, node.place, format!("the queue has no lane `{name}`"));
            finding.nearest(name, known.iter().copied().chain(["first_seen", "snapshot"]));
            finding.help(format!("lanes: {}", known.join(", ")));
        }
        found.and_then(|at| u8::try_from(at).ok()).map(Lane)
    }

    fn list_of<'n>(&mut self, entry: &'n Entry) -> Option<&'n [Node]> {
        match &entry.value.value {
            super::tree::Value::List(items) => Some(items),
            super::tree::Value::Broken => None,
            _ => {
                let message = format!("`{}` takes a list of `table.column`, and this is {}", entry.key, entry.value.shape());
                let finding = self.findings.add(Code::WrongShape, entry.value.place, message);
                if let Some(scalar) = entry.value.scalar() {
                    finding.help(format!("write `[{}]`", scalar.shown()));
                }
                None
            }
        }
    }

    fn selectors(&mut self, items: &[Node], kind: &Kind<'_>) -> Vec<Selector> {
        items.iter().filter_map(|item| self.selector(item, kind)).collect()
    }

    fn selector(&mut self, node: &Node, kind: &Kind<'_>) -> Option<Selector> {
        if node.is_broken() {
            return None;
        }
        let text = node.text().unwrap_or_default();
        let parts = text.rsplit_once('.').filter(|(table, column)| !table.is_empty() && (*column == "*" || good_column(column)));
        let Some((table, column)) = parts else {
            let finding = self.findings.add(Code::BadColumn, node.place, format!("`{text}` is not `table.column` or `table.*`"));
            finding.help(format!("tables: {}", kind.names.full().collect::<Vec<_>>().join(", ")));
            return None;
        };
        let table = kind.names.find_or_tell(table, node, kind.kind.name.as_str(), self.findings)?;
        Some(Selector { table: kind.names.short(table), column: (column != "*").then(|| Name::of(column)) })
    }
}

/// K7: one file has one writer, and nobody reads what we write.
fn shared_documents(at: At<'_>, context: &Context<'_>, findings: &mut Findings) {
    let mut writers: HashMap<PathBuf, &str> = HashMap::new();
    let sources = context.sources.iter().filter_map(|source| match &source.kind {
        settings::SourceKind::Jsonl { path } => Some((absolute(path), source.name.as_str())),
        _ => None,
    });
    let sources: HashMap<PathBuf, &str> = sources.collect();
    for entry in at.entries() {
        let path = At(Some(entry)).get("sink").get("jsonl").get("path");
        if path.text().is_empty() {
            continue;
        }
        let target = absolute(&path.path());
        if let Some(source) = sources.get(&target) {
            let message = format!("line `{}` writes the file that source `{source}` reads", entry.key);
            findings.add(Code::SharedDocument, path.place(), message).help("give the sink a file of its own");
        }
        match writers.get(&target) {
            Some(first) => {
                let message = format!("lines `{first}` and `{}` write one file", entry.key);
                let finding = findings.add(Code::SharedDocument, path.place(), message);
                finding.help("documents of two lines would overwrite each other: give each line a file of its own");
            }
            None => {
                writers.insert(target, &entry.key);
            }
        }
    }
}

/// K7: two lines write one index only under ids that cannot meet.
fn shared_indexes(at: At<'_>, lines: &[LineSettings], findings: &mut Findings) {
    let indexes: Vec<_> = lines
        .iter()
        .filter_map(|line| match (&line.sink, &line.line.document) {
            (SinkKind::Elasticsearch(search), Some(document)) => Some((line.line.name, search, &document.id)),
            _ => None,
        })
        .collect();
    for (n, (name, search, id)) in indexes.iter().enumerate() {
        let same = |other: &super::systems::ElasticsearchSettings| {
            other.index == search.index && other.urls.iter().any(|url| search.urls.contains(url))
        };
        let meets = |other: &crate::domain::template::Template| {
            let (ours, theirs) = (id.leading_text(), other.leading_text());
            ours.starts_with(theirs) || theirs.starts_with(ours)
        };
        let Some((first, _, _)) = indexes[..n].iter().find(|(_, other, other_id)| same(other) && meets(other_id)) else {
            continue;
        };
        let Some(entry) = at.entries().iter().find(|entry| entry.key == name.as_str()) else { continue };
        let index = At(Some(entry)).get("sink").get("elasticsearch").get("index");
        let message = format!("lines `{first}` and `{name}` write one index, and their documents can have one id");
        let finding = findings.add(Code::SharedDocument, index.place(), message);
        finding.help("give each line an index of its own, or let their ids begin with different texts");
    }
}

/// The path from the root, without `.` and with `..` taken at its word; the file need not exist.
fn absolute(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        if part == std::path::Component::ParentDir {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}
