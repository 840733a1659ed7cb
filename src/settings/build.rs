//! From the completed tree to [`Settings`]: everything but row kinds and lines.
//!
//! Checks what no single key can tell: lanes and the default lane, pauses of a retry, stamps against formats (E2), the
//! admin endpoint's reach. Knows nothing of files.

use super::findings::{Code, Findings};
use super::lines::{self, Context};
use super::read::At;
use super::rows;
use super::settings::{
    Admin, GeneratorSettings, LedgerKind, MysqlSettings, Node, OnBadRecord, OnLate, Queue, QueueKind, Retry, Secret, Settings,
    Source, SourceKind, Store,
};
use super::systems::{self, Secrets, Systems};
use super::tree::{Entry, Place};
use super::values::{good_column, good_name};
use crate::domain::change::Snapshot;
use crate::domain::decode::Format;
use crate::domain::ids::Name;
use crate::domain::job::Lane;
use crate::domain::route::{PartitionedBy, StampKind};
use crate::domain::schema::VersionKind;
use std::net::IpAddr;
use std::sync::Arc;

/// Lanes at most: a lane's place fits a byte, and a queue asks each of them.
const LANES_MAX: usize = 32;
/// The greatest weight of a lane.
const WEIGHT_MAX: u64 = 1000;
/// Keys of a line's `lanes:` that are no lanes, and the key of strict order.
const RESERVED_LANES: &[&str] = &["first_seen", "snapshot", "strict"];

/// Builds the settings. They mean something only if no error was found.
pub fn build(root: At<'_>, secrets: &Secrets, findings: &mut Findings) -> Settings {
    let node = node(root.get("node"), findings);
    let sources: Vec<Source> = root.get("sources").entries().iter().filter_map(|e| source(e, secrets, findings)).collect();
    let queue = queue(root.get("queue"), secrets, findings);
    let schema = rows::schema(root.get("rows"), findings);
    let context = Context { schema: &schema, rows: root.get("rows"), queue: &queue, sources: &sources, secrets };
    let lines = lines::lines(root.get("lines"), &context, findings);
    let settings = Settings {
        node,
        sources,
        store: store(root.get("store"), secrets, findings),
        queue,
        schema: Arc::new(schema),
        lines,
        ledger: ledger(root.get("ledger"), secrets, findings),
        purge_horizon: root.get("purge").get("horizon").duration(),
        admin: admin(root.get("admin"), secrets, findings),
    };
    work_to_do(root, &settings, findings);
    position_and_weight(root, &settings, findings);
    super::sinks::check(root, &settings, findings);
    overflow(root, &settings, findings);
    settings
}

/// J9: an embedded queue keeps its overflow itself.
fn overflow(root: At<'_>, settings: &Settings, findings: &mut Findings) {
    if matches!((&settings.ledger, &settings.queue.kind), (LedgerKind::Mysql(_), QueueKind::Embedded)) {
        let place = root.get("ledger").get("mysql").place();
        let finding = findings.add(Code::Unused, place, "the overflow of an embedded queue stays in it, not in `ledger.mysql`");
        finding.help("leave `ledger` out, or set `queue.asynq`");
    }
}

fn node(at: At<'_>, findings: &mut Findings) -> Node {
    let id = at.get("id");
    if id.text().is_empty() && id.0.is_some() {
        findings.add(Code::BadValue, id.place(), "a node needs a name").help("leave `id` out for the host's name");
    }
    let role = |name: &str| at.get("roles").items().iter().any(|r| r.text() == Some(name));
    let threads = match at.get("threads").count() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    Node {
        id: id.text().to_owned(),
        data_dir: at.get("data_dir").path(),
        ingest: role("ingest"),
        deliver: role("deliver"),
        threads,
        entities_max: at.get("entities_max").count(),
        entity_bytes_max: at.get("entity_bytes_max").size(),
        entity_idle_max: at.get("entity_idle_max").duration(),
        in_flight_bytes_max: at.get("in_flight_bytes_max").size(),
        drain_deadline: at.get("drain_deadline").duration(),
        silence_max: at.get("silence_max").duration(),
    }
}

fn format(text: &str) -> Format {
    match text {
        "debezium" => Format::Debezium,
        "canal" => Format::Canal,
        "maxwell" => Format::Maxwell,
        "dts" => Format::Dts,
        _ => Format::Auto,
    }
}

fn store(at: At<'_>, secrets: &Secrets, findings: &mut Findings) -> Store {
    match at.get("hbase") {
        At(None) => Store::Embedded,
        hbase => Store::Hbase(Box::new(Systems { secrets, findings }.hbase(hbase))),
    }
}

fn ledger(at: At<'_>, secrets: &Secrets, findings: &mut Findings) -> LedgerKind {
    let mysql = at.get("mysql");
    if mysql.0.is_none() {
        return LedgerKind::Embedded;
    }
    let table = mysql.get("table");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    if table.0.is_some() && (table.text().is_empty() || !table.text().bytes().all(plain)) {
        let finding = findings.add(Code::BadValue, table.place(), "this is not a table's name");
        finding.help("letters, digits and _; with a point after a database's name");
    }
    let url = secrets.get("ledger.mysql.url").cloned().unwrap_or_else(|| Secret::new(String::new()));
    LedgerKind::Mysql(MysqlSettings { url, tls: systems::tls(mysql.get("tls")), table: table.text().to_owned() })
}

fn source(entry: &Entry, secrets: &Secrets, findings: &mut Findings) -> Option<Source> {
    let at = At(Some(entry));
    let read_as = format(at.get("format").text());
    let kind = if at.get("jsonl").0.is_some() {
        SourceKind::Jsonl { path: at.get("jsonl").get("path").path() }
    } else if at.get("kafka").0.is_some() {
        let path = format!("sources.{}.kafka", entry.key);
        SourceKind::Kafka(Systems { secrets, findings }.kafka(at.get("kafka"), &path))
    } else {
        at.get("generator").0?;
        let generator = generator(at.get("generator"));
        if read_as != Format::Auto && read_as != generator.format {
            let written = at.get("generator").get("format");
            let message = format!("this source writes {} and reads {}", written.text(), at.get("format").text());
            let finding = findings.add(Code::FormatConflict, at.get("format").place(), message);
            finding.help("leave `format` out: `auto` tells each record by its bytes");
        }
        SourceKind::Generator(generator)
    };
    let stamp = stamp(at.get("stamp"));
    if stamp == StampKind::Position && read_as == Format::Canal {
        let finding =
            findings.add(Code::StampFormat, at.get("stamp").place(), "Canal's records do not carry the binlog's position");
        finding.help("use `stamp: offset`, or `stamp: { column: version }` with a number that the application counts up");
    }
    Some(Source {
        name: entry.key.clone(),
        kind,
        format: read_as,
        stamp,
        partitioned_by: partitioned_by(at.get("partitioned_by"), findings),
        snapshot: match at.get("snapshot").text() {
            "ordered" => Some(Snapshot::Ordered),
            "fill" => Some(Snapshot::Fill),
            _ => None,
        },
        on_bad_record: if at.get("on_bad_record").text() == "stop" { OnBadRecord::Stop } else { OnBadRecord::DeadLetter },
        in_flight: at.get("in_flight").count(),
        record_bytes_max: at.get("record_bytes_max").size(),
    })
}

fn generator(at: At<'_>) -> GeneratorSettings {
    GeneratorSettings {
        seed: at.get("seed").integer(),
        entities: at.get("entities").integer(),
        events: at.get("events").optional().map(|_| at.get("events").integer()),
        rate: at.get("rate").optional().and_then(super::scalar::rate),
        disorder: at.get("disorder").percent(),
        duplicates: at.get("duplicates").percent(),
        partitions: at.get("partitions").count32(),
        format: format(at.get("format").text()),
        skew: at.get("skew").number(),
        hot: at.get("hot").percent(),
        big: at.get("big").percent(),
        replay: at.get("replay").percent(),
    }
}

fn stamp(at: At<'_>) -> StampKind {
    match at.get("column").optional() {
        Some(column) => StampKind::Column(Name::of(column)),
        None if at.text() == "position" => StampKind::Position,
        None => StampKind::Offset,
    }
}

fn partitioned_by(at: At<'_>, findings: &mut Findings) -> PartitionedBy {
    let names: Vec<&str> = at.items().iter().filter_map(|item| item.text()).collect();
    if names == ["primary_key"] {
        return PartitionedBy::PrimaryKey;
    }
    let bad = at.items().iter().find(|item| item.text().is_none_or(|text| text == "primary_key" || !good_column(text)));
    let place = bad.map_or(at.place(), |item| item.place);
    if (bad.is_some() || names.is_empty()) && at.is_written() {
        let message = "a topic is keyed by `[primary_key]` or by columns";
        findings.add(Code::BadValue, place, message).help("write `[primary_key]`, or the columns alone: `[order_no]`");
    }
    PartitionedBy::Columns(names.into_iter().map(Name::of).collect())
}

fn queue(at: At<'_>, secrets: &Secrets, findings: &mut Findings) -> Queue {
    let asynq = at.get("asynq");
    let asynq = asynq.0.and_then(|_| Systems { secrets, findings }.asynq(asynq, "queue.asynq"));
    let (lanes, strict) = lanes(at.get("lanes"), findings);
    let name = at.get("default_lane");
    let default_lane = lanes.iter().position(|(lane, _)| lane.as_str() == name.text());
    if default_lane.is_none() && !lanes.is_empty() {
        let known: Vec<&str> = lanes.iter().map(|(lane, _)| lane.as_str()).collect();
        let place = if name.is_written() { name.place() } else { at.get("lanes").place() };
        let unwritten =
            if name.is_written() { "" } else { ", which is the default lane unless `queue.default_lane` says another" };
        let finding = findings.add(Code::UnknownLane, place, format!("the queue has no lane `{}`{unwritten}", name.text()));
        finding.nearest(name.text(), known.iter().copied()).help(format!("lanes: {}", known.join(", ")));
    }
    let retry = at.get("retry");
    let retry = Retry { max: retry.get("max").count32(), base: retry.get("base").duration(), cap: retry.get("cap").duration() };
    if retry.base > retry.cap {
        let (base, cap) = (at.get("retry").get("base"), at.get("retry").get("cap"));
        let place = if base.is_written() { base.place() } else { cap.place() };
        let message = format!("the first pause {} is longer than the longest {}", base.text(), cap.text());
        findings.add(Code::BadRetry, place, message).help("raise `retry.cap` or lower `retry.base`");
    }
    Queue {
        kind: asynq.map_or(QueueKind::Embedded, |asynq| QueueKind::Asynq(Box::new(asynq))),
        lanes,
        strict,
        default_lane: Lane(default_lane.and_then(|at| u8::try_from(at).ok()).unwrap_or_default()),
        max_pending: at.get("max_pending").count(),
        expire_after: at.get("expire_after").duration(),
        on_late: match at.get("on_late").text() {
            "park" => OnLate::Park,
            "drop" => OnLate::Drop,
            _ => OnLate::Run,
        },
        lease: at.get("lease").duration(),
        retry,
    }
}

/// The lanes, highest first, and whether their order is strict (J6).
fn lanes(at: At<'_>, findings: &mut Findings) -> (Vec<(Name, u32)>, bool) {
    let mut lanes: Vec<(Name, u32)> = Vec::new();
    let strict = at.entries().iter().find(|e| e.key == "strict" && !matches!(e.value.value, super::tree::Value::Scalar(_)));
    if let Some(strict) = strict {
        if let Some(other) = at.entries().iter().find(|e| e.key != "strict") {
            findings
                .add(Code::BadLanes, other.key_place, "lanes are weighted or strict, not both")
                .help("keep one of the two forms");
        }
        for item in strict.value.items() {
            lane(item.text().unwrap_or_default(), item.place, 1, &mut lanes, findings);
        }
    } else {
        let mut above = u32::MAX;
        for entry in at.entries() {
            let weight = entry.value.text().and_then(super::scalar::integer).filter(|n| (1..=WEIGHT_MAX).contains(n));
            if weight.is_none() && !entry.value.is_broken() {
                let message = format!("the weight of lane `{}` is a whole number from 1 to {WEIGHT_MAX}", entry.key);
                findings.add(Code::BadLanes, entry.value.place, message);
            }
            let weight = weight.and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
            if weight > above {
                let message = format!("lane `{}` stands lower than the one before it and is served more often", entry.key);
                findings.add(Code::LaneOrder, entry.value.place, message).help("list lanes highest first (J6)");
            }
            above = weight;
            lane(&entry.key, entry.key_place, weight, &mut lanes, findings);
        }
    }
    if lanes.is_empty() || lanes.len() > LANES_MAX {
        let message = format!("a queue has 1 to {LANES_MAX} lanes, and here are {}", lanes.len());
        findings.add(Code::BadLanes, at.place(), message);
    }
    (lanes, strict.is_some())
}

fn lane(name: &str, place: Place, weight: u32, lanes: &mut Vec<(Name, u32)>, findings: &mut Findings) {
    if !good_name(name) {
        let finding = findings.add(Code::BadName, place, format!("`{name}` cannot name a lane"));
        finding.help("a name is 1 to 64 of: a-z A-Z 0-9 _ -");
    } else if RESERVED_LANES.contains(&name) {
        let finding =
            findings.add(Code::BadLanes, place, format!("`{name}` cannot name a lane: it means something else in `lanes:`"));
        finding.help(format!("kept back: {}", RESERVED_LANES.join(", ")));
    } else if lanes.iter().any(|(lane, _)| lane.as_str() == name) {
        findings.add(Code::BadLanes, place, format!("lane `{name}` stands here twice")).help("keep one of them");
    } else {
        lanes.push((Name::of(name), weight));
    }
}

fn admin(at: At<'_>, secrets: &Secrets, findings: &mut Findings) -> Admin {
    let listen = at.get("listen");
    let token = secrets.get("admin.token").cloned();
    let host_like = |host: &str| !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
    let parts = listen.text().rsplit_once(':').filter(|(host, port)| host_like(host) && port.parse::<u16>().is_ok());
    match parts {
        None if listen.0.is_some() => {
            let shown = listen.scalar().map_or("", |s| s.shown());
            let finding = findings.add(Code::BadValue, listen.place(), format!("`{shown}` is not `host:port`"));
            finding.help("like 127.0.0.1:7280 or [::1]:7280; port 0 is any free one");
        }
        // A token that could not be read has its own finding.
        Some((host, _)) if !is_loopback(host) && token.is_none() && at.get("token").optional().is_none() => {
            let message = "others can reach this address, and nothing keeps them from changing calls";
            let finding = findings.add(Code::OpenAdmin, listen.place(), message);
            finding.help("set `admin.token: secret://file/PATH`, or listen on 127.0.0.1");
        }
        _ => {}
    }
    let mask = at.get("mask").items().iter().filter_map(|item| item.text()).map(str::to_owned).collect();
    Admin { listen: listen.text().to_owned(), token, mask }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A node must have something to do, and what is configured should be used.
fn work_to_do(root: At<'_>, settings: &Settings, findings: &mut Findings) {
    let top = root.key_place();
    let empty = |key: &str| root.get(key).0.is_some() && root.get(key).entries().is_empty();
    if empty("rows") {
        let finding = findings.add(Code::NothingToDo, top, "there is no row kind, so no change has a place");
        finding.help("describe one under `rows:`; config/demo.yaml is an example");
    }
    if settings.node.ingest && empty("sources") {
        let finding = findings.add(Code::NothingToDo, top, "this node is to ingest, and there is no source");
        finding.help("add one under `sources:`, or say `node: { roles: [deliver] }`");
    }
    let rows = root.get("rows").entries();
    let looked_at: Vec<&str> = root.get("lines").entries().iter().map(|line| At(Some(line)).get("row").text()).collect();
    // A line whose row kind is misspelt may have meant any of them.
    if looked_at.iter().any(|name| !rows.iter().any(|kind| kind.key == *name)) {
        return;
    }
    for kind in rows {
        if !looked_at.contains(&kind.key.as_str()) {
            let finding = findings.add(Code::Unused, kind.key_place, format!("no line looks at row kind `{}`", kind.key));
            finding.help("its rows are kept, and no document is made of them");
        }
    }
}

/// E2: positions are wider than an epoch, so weighed versions of long logs come near the end of their range.
fn position_and_weight(root: At<'_>, settings: &Settings, findings: &mut Findings) {
    let weighed = settings.schema.kinds.iter().find(|k| k.version == VersionKind::Weight);
    let Some(weighed) = weighed else { return };
    for source in settings.sources.iter().filter(|s| s.stamp == StampKind::Position) {
        let stamp = root.get("sources").get(&source.name).get("stamp");
        let message = format!("binlog positions are large numbers, and row kind `{}` adds them up as its version", weighed.name);
        let finding = findings.add(Code::PositionWeight, stamp.place(), message);
        finding.help(format!("say `rows: {{ {}: {{ version: counter }} }}` (E2)", weighed.name));
    }
}
