//! Goal: every fault is found where it stands, good configurations load, and secrets stay secret.

mod effective;
mod fuzz;

use super::*;
use crate::domain::change::Snapshot;
use crate::domain::document::{As, Field};
use crate::domain::ids::Name;
use crate::domain::job::Lane;
use crate::domain::line::{DeleteMode, Selector, When};
use crate::domain::route::{PartitionedBy, StampKind};
use crate::domain::schema::ColumnType;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub const ORDER: &str = include_str!("tests/order.yaml");
pub const PRODUCT: &str = include_str!("tests/product.yaml");
pub const DEMO: &str = include_str!("../../config/demo.yaml");
/// A canary under every key that takes a secret.
const SECRETS: &str = include_str!("tests/secrets.yaml");
const SHOP: &str = include_str!("../../config/shop.yaml");
/// Small and good; the table of faults breaks it in one place each.
const BASE: &str = include_str!("tests/base.yaml");

pub fn env(name: &str) -> Option<String> {
    match name {
        "OUT" => Some("out".to_owned()),
        "RECORDS" => Some("records.jsonl".to_owned()),
        "TOKEN" => Some("kept-elsewhere".to_owned()),
        "BAD" => Some("not what belongs here".to_owned()),
        _ => None,
    }
}

pub fn loaded(text: &str) -> Loaded {
    load_text("test.yaml", text, &env).unwrap_or_else(|found| panic!("did not load: {found:#?}"))
}

pub fn found(text: &str) -> Vec<Finding> {
    match load_text("test.yaml", text, &env) {
        Ok(loaded) => loaded.warnings,
        Err(found) => found,
    }
}

/// Goal: the acceptance cases' configurations, the demo, the shop on real systems and our base load without a word.
/// Method: each as it stands.
#[test]
fn good_configurations_load() {
    for text in [ORDER, PRODUCT, DEMO, SHOP, BASE] {
        let loaded = loaded(text);
        assert_eq!(loaded.warnings, [], "a good configuration needs no warning");
        assert!(!loaded.settings.lines.is_empty() && !loaded.settings.sources.is_empty());
    }
}

/// What replaces a text of the base. `§` stands before the place where the finding must point; without one, the place
/// is outside the replaced text.
type Fault = (Code, &'static str, &'static str);

#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    (Code::Syntax, "store: { embedded: {} }", "store: { embedded: {}\n§rows: ]"),
    (Code::DuplicateKey, "  id: n1", "  id: n1\n  §id: n2"),
    (Code::Unsupported, "  id: n1", "  id: &a n1\n  data_dir: §*a"),
    (Code::Unsupported, "  id: n1", "  id: !!str §n1"),
    (Code::Unsupported, "  id: n1", "  §<<: { id: n1 }"),
    (Code::Unsupported, "  id: n1", "  §[id]: n1"),
    (Code::Unsupported, "store: { embedded: {} }", "---\n§store: {}"),
    (Code::TooBig, "  id: n1", "  id: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[§[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
    (Code::UnknownKey, "  max_pending: 10", "  §max_pendng: 10"),
    (Code::UnknownKey, "store: { embedded: {} }", "store: { embedded: { §path: x } }"),
    (Code::UnknownKey, "jsonl: { path: in.jsonl }", "jsonl: { path: in.jsonl }\n    §fromat: auto"),
    (Code::UnknownKey, "{ sum: trade.item.qty }", "{ §sun: trade.item.qty, count: trade.item }"),
    (Code::UnknownKind, "embedded: {} } # sink", "§embeded: {} }"),
    (Code::BadValue, "store: { embedded: {} }", "store: { hbase: { servers: [§\"a:b\"] } }"),
    (Code::NotBuilt, "embedded: {} } # sink", "§mysql: { urls: [a] } }"),
    (Code::NotBuilt, "jsonl: { path: in.jsonl }", "§nsq: { brokers: [a] }"),
    (Code::NotBuilt, "[ingest, deliver]", "[ingest, deliver, §verify]"),
    (Code::NotBuilt, "{ no: order_no }", "{ no: §{ via: a.b, on: c } }"),
    (Code::MissingKey, "version: 1", "§# no version"),
    (Code::MissingKey, "    key: \"{no}\"\n", ""),
    (Code::MissingKey, "jsonl: { path: in.jsonl }", "§jsonl: {}"),
    (Code::NoKind, "    sink: { embedded: {} } # sink", "    §sink: {}"),
    (Code::TwoKinds, "embedded: {} } # sink", "embedded: {}, §queue_only: {} }"),
    (Code::BadName, "  order_search:", "  §order search:"),
    (Code::BadName, "      trade.item:", "      §item:"),
    (Code::BadName, "money:", "§\"m o\":"),
    (Code::BadName, "{ urgent: 6, normal: 3 }", "{ urgent: 6, normal: 3, §\"a b\": 1 }"),
    (Code::WrongShape, "  id: n1", "  id: §[n1]"),
    (Code::WrongShape, "[ingest, deliver]", "§ingest"),
    (Code::WrongShape, "when: any", "when: §trade.orders.status"),
    (Code::WrongShape, "urgent: [trade.orders.status]", "urgent: §trade.orders.status"),
    (Code::WrongShape, "store: { embedded: {} }", "store: §embedded"),
    (Code::WrongShape, "stamp: offset", "stamp: §{ colum: version }"),
    (Code::BadValue, "format: auto", "format: §debezum"),
    (Code::BadValue, "many: true", "many: §yes"),
    (Code::BadValue, "  max_pending: 10", "  max_pending: §10k"),
    (Code::BadValue, "  max_pending: 10", "  max_pending: §\"${BAD}\""),
    (Code::BadValue, "lease: 30s", "lease: §30"),
    (Code::BadValue, "record_bytes_max: 1MiB", "record_bytes_max: §1M"),
    (Code::BadValue, "default: \"0\"", "default: §zero"),
    (Code::BadValue, "[primary_key]", "[order_no, §primary_key]"),
    (Code::BadValue, "\"127.0.0.1:0\"", "§localhost"),
    (Code::BadValue, "\"127.0.0.1:0\"", "§\"::1:80\""),
    (Code::BadValue, "  id: n1", "  id: §\"\""),
    (Code::BadValue, "as: decimal", "as: §number"),
    (Code::BadValue, "jsonl: { path: in.jsonl }", "generator: { disorder: §120% }"),
    (Code::BadValue, "jsonl: { path: in.jsonl }", "generator: { rate: §2000 }"),
    (Code::OutOfRange, "  max_pending: 10", "  max_pending: §0"),
    (Code::OutOfRange, "lease: 30s", "lease: §0s"),
    (Code::OutOfRange, "embedded: {} } # sink", "redis: { url: \"redis://h\", key: \"o:{no}\", ttl: §1h } }"),
    (Code::IdNotKey, "embedded: {} } # sink", "redis: { url: \"redis://h\", key: §\"o:{on}\" } }"),
    (Code::BadTemplate, "embedded: {} } # sink", "redis: { url: \"redis://h\", key: §\"o:{last4(no)}\" } }"),
    (Code::SharedDocument, "    sink: { embedded: {} } # sink", "    sink: { redis: { url: \"redis://h\", key: \"o:{no}\" } }
  again:
    row: order
    document: { id: \"{no}\", fields: { no: trade.orders.no } }
    sink: { redis: { url: \"redis://h\", key: §\"o:{no}\" } }"),
    (Code::BadField, "    sink: { embedded: {} } # sink", "    sink: { embedded: {} }
  again:
    row: order
    document: { id: \"{no}\", fields: { v: trade.orders.no } }
    sink: { redis: { url: \"redis://h\", key: \"o:{no}\", form: §fields } }"),
    (Code::UnsetVariable, "  id: n1", "  id: §\"${NOT_SET}\""),
    (Code::BadVariable, "  id: n1", "  id: §\"${NOT\""),
    (Code::SecretUnreadable, "listen: ", "token: §secret://env/NOT_SET, listen: "),
    (Code::SecretUnreadable, "listen: ", "token: §secret://file/no/such/file, listen: "),
    (Code::SecretUnreadable, "listen: ", "token: §secret://vault/x, listen: "),
    (Code::SecretMisplaced, "  id: n1", "  id: §secret://env/TOKEN"),
    (Code::PlainSecret, "listen: ", "token: §hunter2hunter2, listen: "),
    (Code::BadTemplate, "key: \"{no}\"", "key: \"{no}§}\""),
    (Code::BadTemplate, "key: \"{no}\"", "key: \"a{§upper(no)}\""),
    (Code::BadTemplate, "key: \"{no}\"", "key: §orders"),
    (Code::UnknownTable, "root: trade.orders", "root: §trade.order"),
    (Code::UnknownTable, "[trade.orders.status]", "[§trade.ordres.status]"),
    (Code::UnknownTable, "{ count: trade.item }", "{ count: §trade.items }"),
    (
        Code::NoTable,
        "store: { embedded: {} }",
        "store:\nlines: { a: { row: x, sink: { queue_only: } } }\nrows: { §x: { key: \"{a}\" } }\n#",
    ),
    (Code::NotAKeyColumn, "{ no: order_no }", "{ §on: order_no }"),
    (Code::BadType, "qty: long", "qty: §int"),
    (Code::BadColumn, "id: [id] # item", "id: [§trade.id]"),
    (Code::BadColumn, "[trade.orders.status]", "[§status]"),
    (Code::BadColumn, "status: trade.orders.status", "status: §status"),
    (Code::BadColumn, "order_by: id", "order_by: §other.id"),
    (Code::BadColumn, "qty: long", "§\"a:b\": long"),
    (Code::BadMatch, "match: trade.item_*", "match: §trade.item_1"),
    (Code::BadMatch, "match: trade.item_*", "match: §item_*"),
    (Code::WeakKey, "key: \"{no}\"", "key: §\"{last4(no)}\""),
    (Code::WeakKey, "key: \"{no}\"", "key: §\"{no}{shop}\""),
    (Code::UnknownRow, "row: order", "row: §ordre"),
    (Code::UnknownLane, "first_seen: urgent", "first_seen: §urgnt"),
    (Code::UnknownLane, "urgent: [trade.orders.status]", "§fast: [trade.orders.status]"),
    (Code::UnknownLane, "default_lane: normal", "default_lane: §norml"),
    (Code::UnknownLane, "default_lane: normal\n  lanes: { urgent: 6, normal: 3 }", "lanes: §{ urgent: 6, low: 1 }"),
    (Code::IdNotKey, "id: \"{no}\" # document", "id: §\"{order_no}\""),
    (Code::NotANumber, "{ sum: trade.item.qty }", "{ sum: §trade.item.name }"),
    (Code::NotANumber, "{ sum: trade.item.qty }", "{ sum: trade.item.qty, as: §string }"),
    (Code::BadField, "{ sum: trade.item.qty }", "{ sum: trade.item.qty, §default: 1 }"),
    (Code::BadField, "sum: { sum: trade.item.qty }", "§sum: { as: long }"),
    (Code::BadField, "sum: { sum: trade.item.qty }", "§sum: { sum: trade.item.qty, min: trade.item.qty }"),
    (Code::BadField, "{ count: trade.item }", "{ each: §trade.item }"),
    (Code::NoDocument, "store: { embedded: {} }", "lines: { §x: { row: order, sink: { embedded: } } }\n#"),
    (Code::SharedDocument, "embedded: {} } # sink", "jsonl: { path: §./a/../in.jsonl } }"),
    (
        Code::SharedDocument,
        "lines:",
        "lines:\n  a: { row: order, document: { id: \"x{no}\", fields: { no: trade.orders.no } }, sink: { elasticsearch: \
         { urls: [\"http://h:1\"], index: i } } }\n  b: { row: order, document: { id: \"x-{no}\", fields: { no: \
         trade.orders.no } }, sink: { elasticsearch: { urls: [\"http://g:1\", \"http://h:1\"], index: §i } } }\n  c: { row: \
         order, document: { id: \"y{no}\", fields: { no: trade.orders.no } }, sink: { elasticsearch: { urls: \
         [\"http://h:1\"], index: i } } }",
    ),
    (Code::SharedId, "key: \"{no}\"", "key: \"{no}:{shop}\""),
    (Code::ManyAsOne, "status: trade.orders.status", "status: §trade.item.qty"),
    (Code::BadLanes, "{ urgent: 6, normal: 3 }", "{ urgent: 6, normal: 3, bulk: §0 }"),
    (Code::BadLanes, "{ urgent: 6, normal: 3 }", "{ urgent: 6, normal: 3, §snapshot: 1 }"),
    (Code::BadLanes, "{ urgent: 6, normal: 3 }", "{ strict: [urgent, normal, §urgent] }"),
    (Code::BadLanes, "{ urgent: 6, normal: 3 }", "{ strict: [urgent, normal], §bulk: 3 }"),
    (Code::LaneOrder, "{ urgent: 6, normal: 3 }", "{ urgent: 3, normal: §6 }"),
    (Code::BadRetry, "lease: 30s", "lease: 30s\n  retry: { base: §10m }"),
    (Code::OpenAdmin, "\"127.0.0.1:0\"", "§\"0.0.0.0:7280\""),
    (Code::PositionWeight, "stamp: offset", "stamp: §position"),
    (Code::StampFormat, "stamp: offset\n    format: auto", "stamp: §position\n    format: canal"),
    (
        Code::FormatConflict,
        "jsonl: { path: in.jsonl }\n    stamp: offset\n    format: auto",
        "generator: { format: canal }\n    format: §maxwell",
    ),
    (Code::Unused, "rows:", "rows:\n  §other: { key: \"{a}\", tables: { trade.orders: { id: [a] } } }"),
    (Code::Unused, "rows:", "ledger: { mysql: §{ url: \"secret://env/PATH\" } }\nrows:"),
];

/// Takes the marks out of a text and gives their places.
fn marked(text: &str) -> (String, Vec<(u32, u32)>) {
    let (mut line, mut column, mut places, mut out) = (1, 1, Vec::new(), String::new());
    for c in text.chars() {
        match c {
            '§' => {
                places.push((line, column));
                continue;
            }
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        out.push(c);
    }
    (out, places)
}

/// Goal: each fault has its code and its very place. Method: the base broken in one place per row of the table.
#[test]
fn every_fault_is_found_where_it_stands() {
    let mut missed = Vec::new();
    for (code, from, to) in FAULTS {
        assert!(BASE.contains(from), "the base has no `{from}`");
        let (text, places) = marked(&BASE.replacen(from, to, 1));
        let found = found(&text);
        let hits: Vec<_> = found.iter().filter(|f| f.code == *code).map(|f| (f.line, f.column)).collect();
        if hits.is_empty() || places.first().is_some_and(|place| !hits.contains(place)) {
            let all: Vec<_> = found.iter().map(|f| (f.code, f.line, f.column, &f.message)).collect();
            missed.push(format!("`{to}` wants {code:?} at {places:?}, found {all:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Goal: no code is without a test, and no two are one. Method: the table's codes and those of the tests below.
#[test]
fn every_code_is_tested() {
    let elsewhere = [Code::Unreadable, Code::TypeConflict, Code::NothingToDo];
    let tested: BTreeSet<Code> = FAULTS.iter().map(|(code, ..)| *code).chain(elsewhere).collect();
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    assert_eq!(tested, all);
    let texts: BTreeSet<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(texts.len(), Code::ALL.len(), "two faults share a code");
    assert!(Code::ALL.iter().all(|c| c.doc().ends_with('.')), "a code's sentence ends");
}

/// Goal: all findings come at once, in the order of the file. Method: four faults of different rooms in one text.
#[test]
fn all_findings_at_once_in_order() {
    let text = BASE
        .replace("max_pending: 10", "max_pendng: 10")
        .replace("format: auto", "format: debezum")
        .replace("row: order", "row: ordre")
        .replace("qty: long", "qty: int");
    let found = found(&text);
    let codes: Vec<_> = found.iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::BadValue, Code::UnknownKey, Code::BadType, Code::UnknownRow]);
    assert!(found.is_sorted_by_key(|f| (f.line, f.column)));
    let labels: Vec<_> = found.iter().filter_map(|f| f.label.as_deref()).collect();
    assert_eq!(
        labels,
        ["did you mean `debezium`?", "did you mean `max_pending`?", "did you mean `long`?", "did you mean `order`?"]
    );
}

/// Goal: what one row kind cannot see is found. Method: a table in two kinds with other types; nothing to do.
#[test]
fn faults_between_sections() {
    let second =
        "rows:\n  other: { key: \"{id}\", tables: { trade.item: { id: [id], match: \"trade.it*\", columns: { qty: string } } } }";
    let codes: Vec<_> = found(&BASE.replace("rows:", second)).iter().map(|f| f.code).collect();
    // The first kind's type counts, so the sum is found fault with too.
    assert_eq!(codes, [Code::Unused, Code::TypeConflict, Code::BadMatch, Code::NotANumber]);
    let codes: Vec<_> = found("version: 1").iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::NothingToDo, Code::NothingToDo]);
}

/// Goal: a byte order mark and Windows line ends change nothing. Method: the base with both.
#[test]
fn files_of_other_editors_load() {
    let text = format!("\u{feff}{}", BASE.replace('\n', "\r\n"));
    assert_eq!(loaded(&text).origin.hash(), loaded(BASE).origin.hash());
    let found = found(&text.replace("many: true", "many: yes"));
    assert_eq!((found[0].line, found[0].column), (28, 15), "{found:#?}");
}

/// Goal: lists that two rooms need agree. Method: the words of the list of keys, read by the domain.
#[test]
fn lists_agree_with_the_domain() {
    assert!(spec::AS.iter().all(|word| As::parse(word).is_some()));
    let field = spec::root().at("lines.*.document.fields.*").unwrap();
    let forms: BTreeSet<&str> = fields::FORMS.iter().flat_map(|(form, beside)| beside.iter().chain([form])).copied().collect();
    assert_eq!(forms, field.child_names().collect());
    for word in rows::TYPES {
        let text = if matches!(*word, "enum" | "set") { format!("{word}('a')") } else { (*word).to_owned() };
        assert!(ColumnType::parse(&text).is_ok(), "{text}");
    }
}

/// Goal: settings mean what the file says. Method: the base's values, one of each kind, and the defaults beside them.
#[test]
fn values_arrive() {
    let settings = loaded(BASE).settings;
    assert_eq!((settings.node.id.as_str(), settings.node.ingest, settings.node.deliver), ("n1", true, true));
    assert!(settings.node.threads >= 1, "0 threads stands for one per core");
    assert_eq!((settings.node.entities_max, settings.node.entity_bytes_max), (20_000, 256 << 20));
    let source = &settings.sources[0];
    assert_eq!(source.kind_path(), Some("in.jsonl"));
    assert_eq!((source.stamp, &source.partitioned_by), (StampKind::Offset, &PartitionedBy::PrimaryKey));
    assert_eq!((source.in_flight, source.record_bytes_max), (4096, 1 << 20));
    let queue = &settings.queue;
    assert_eq!(queue.lanes, [(Name::of("urgent"), 6), (Name::of("normal"), 3)]);
    assert_eq!((queue.default_lane, queue.max_pending, queue.lease), (Lane(1), 10, Duration::from_secs(30)));
    assert_eq!((queue.retry.max, queue.retry.cap, queue.expire_after), (25, Duration::from_secs(300), Duration::from_secs(1200)));
    let kind = settings.schema.kind(Name::of("order")).unwrap();
    let item = kind.table(Name::of("item")).unwrap();
    assert_eq!((item.route[0].as_str(), item.many, item.single), ("order_no", true, false));
    assert_eq!(kind.root, Some(0));
    assert!(settings.schema.find("trade", "item_07").is_some(), "a shard belongs to its table");
    let line = &settings.lines[0];
    assert_eq!((line.workers, line.batch, &line.line.when), (2, 200, &When::Any));
    assert_eq!((line.line.lanes.first_seen, line.line.lanes.snapshot), (Some(Lane(0)), None));
    let fields = &line.line.document.as_ref().unwrap().fields;
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["status", "amount", "paid", "items", "sum", "count", "names"]);
    let Field::Join { with, .. } = &fields[6].1 else { panic!("not a join") };
    assert_eq!(with, ", ", "the default of `with`");
    let Field::Each { order_by: Some(order), fields: inner, .. } = &fields[3].1 else { panic!("not an array") };
    assert!(order.numeric && inner[1].2.shown_as == As::Long, "declared types decide");
    assert_eq!(settings.purge_horizon, Duration::from_secs(7 * 86_400));
}

impl Source {
    fn kind_path(&self) -> Option<&str> {
        match &self.kind {
            SourceKind::Jsonl { path } => path.to_str(),
            _ => None,
        }
    }
}

/// Goal: the other forms of what the base says one way. Method: each written, each read.
#[test]
fn other_forms_arrive() {
    let generator = "generator: { events: none, rate: 90/m, hot: 10%, skew: 0.99, format: canal }";
    let text = BASE
        .replace("jsonl: { path: in.jsonl }", generator)
        .replace("stamp: offset", "stamp: { column: version }")
        .replace("[primary_key]", "[order_no, shop]")
        .replace("    format: auto", "    snapshot: fill\n    on_bad_record: stop")
        .replace("{ urgent: 6, normal: 3 }", "{ strict: [urgent, normal] }")
        .replace("lease: 30s", "on_late: park\n  retry: { max: 0, cap: 1h30m }")
        .replace("when: any", "when: [orders.status, \"trade.item.*\"]")
        .replace("sink: { embedded: {} }", "delete: tombstone\n    skip_equal: true\n    sink: { queue_only: }")
        .replace("[ingest, deliver]", "[ingest]");
    let settings = loaded(&text).settings;
    let source = &settings.sources[0];
    let SourceKind::Generator(made) = &source.kind else { panic!("not a generator") };
    assert_eq!((made.events, made.rate, made.hot, made.skew, made.seed), (None, Some(1.5), 0.1, 0.99, 7));
    assert_eq!(source.stamp, StampKind::Column(Name::of("version")));
    assert_eq!(source.partitioned_by, PartitionedBy::Columns(vec![Name::of("order_no"), Name::of("shop")]));
    assert_eq!((source.snapshot, source.on_bad_record), (Some(Snapshot::Fill), OnBadRecord::Stop));
    assert!(settings.queue.strict && settings.queue.lanes.len() == 2);
    assert_eq!((settings.queue.on_late, settings.queue.retry.max), (OnLate::Park, 0));
    assert_eq!(settings.queue.retry.cap, Duration::from_secs(5400));
    assert!(settings.node.ingest && !settings.node.deliver);
    let line = &settings.lines[0].line;
    let item = Selector { table: Name::of("item"), column: None };
    let status = Selector { table: Name::of("orders"), column: Some(Name::of("status")) };
    assert_eq!(line.when, When::Columns(vec![status, item]));
    assert_eq!((line.delete, line.skip_equal, &settings.lines[0].sink), (DeleteMode::Tombstone, true, &SinkKind::QueueOnly));
}

/// Goal: M1's names. Method: one table name in two databases, one alone.
#[test]
fn short_names_say_the_database_only_where_they_must() {
    let text = BASE
        .replace("      trade.orders:", "      old.item: { id: [no] }\n      trade.orders:")
        .replace("root: trade.orders", "root: orders");
    let schema = loaded(&text).settings.schema;
    let kind = &schema.kinds[0];
    let shorts: Vec<_> = kind.tables.iter().map(|t| (t.short.as_str(), t.single)).collect();
    assert_eq!(shorts, [("old.item", true), ("orders", false), ("trade.item", false), ("payment", false)]);
    assert_eq!(kind.root, Some(1), "a table's short name will do where it is clear");
}

/// Goal: later files add and override by name, another kind replaces. Method: a folder of three files.
#[test]
fn files_lie_over_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("15-source.yaml", "sources: { shop: { generator: { seed: 9 } } }");
    write("20-over.yaml", "queue: { max_pending: 77, lanes: { normal: 1 } }\nlines: { order_search: { lanes: , workers: 5 } }\n");
    write(
        "30-kind.yaml",
        "lines:\n  order_search: { sink: { jsonl: { path: o.jsonl } } }\n  more: { row: order, sink: { queue_only: } }\n",
    );
    write("not-yaml.txt", "][");
    let base = BASE.replace("format: auto", "on_bad_record: stop");
    let lanes = base.replace("{ urgent: [trade.orders.status], first_seen: urgent }", "{}");
    write("10-base.yaml", &lanes);
    let settings = load(&[folder.path().to_owned()], &env).unwrap().settings;
    assert_eq!(settings.queue.max_pending, 77);
    assert!(matches!(&settings.sources[0].kind, SourceKind::Generator(made) if made.seed == 9));
    assert_eq!(settings.sources[0].on_bad_record, OnBadRecord::DeadLetter, "another kind replaces the whole component");
    assert_eq!(settings.queue.lanes, [(Name::of("normal"), 1)], "lanes are replaced whole");
    assert_eq!(settings.lines.len(), 2);
    assert_eq!(settings.lines[0].sink, SinkKind::Jsonl { path: PathBuf::from("o.jsonl") });
    assert_eq!((settings.lines[0].workers, settings.lines[1].sink.clone()), (5, SinkKind::QueueOnly));

    write("40-bad.yaml", "lines:\n  more:\n    row: ordr\n");
    let found = load(&[folder.path().to_owned()], &env).unwrap_err();
    assert!(found[0].file.ends_with("40-bad.yaml") && (found[0].line, found[0].column) == (3, 10), "{found:#?}");
}

/// Goal: what cannot be read says so, and does not hide the other files. Method: no file, a missing one, bad bytes.
#[test]
fn unreadable_files() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = folder.path().join("bytes.yaml");
    std::fs::write(&bytes, b"version: 1\nx: \xff").unwrap();
    let broken = folder.path().join("broken.yaml");
    std::fs::write(&broken, "a: [").unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let missing = folder.path().join("missing.yaml");
    let huge = folder.path().join("huge.yaml");
    std::fs::write(&huge, "#".repeat(tree::FILE_BYTES_MAX + 1)).unwrap();
    let codes = |files: &[PathBuf]| load(files, &env).unwrap_err().iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&[]), [Code::Unreadable]);
    assert_eq!(codes(&[huge]), [Code::TooBig]);
    // The empty folder is met while paths are listed, before any file is opened.
    assert_eq!(codes(&[missing, bytes, broken, empty]), [Code::Unreadable, Code::Unreadable, Code::Unreadable, Code::Syntax]);
}
