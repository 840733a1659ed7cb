//! Goal: bad input never stops, never aborts, is never lost, and what is said of it names where, what and what to do
//! (C6, C7, C8, E3, E5).
//!
//! Method: a log of bad records among good ones through a node on memory parts; stores, files and configurations that do
//! not fit through the real binary.

use crate::world::{Ran, SHOP, Shop, Site, World, assert_same, ended, event, finished, load, run, signal, text_of, until, watch};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use widerow::domain::decode::BadReason;
use widerow::ports::ledger::Ledger;
use widerow::supervisor::IdleState;

const TOPIC: &str = "shop.trade.bad";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(body).unwrap();
    out.finish().unwrap()
}

fn insert(table: &str, data: &Value) -> Vec<u8> {
    json!({ "database": "trade", "table": table, "type": "insert", "ts": 1, "data": data }).to_string().into_bytes()
}

struct Bad {
    body: Vec<u8>,
    reason: BadReason,
    /// What the letter's detail must hold: what was found, what is allowed.
    told: &'static [&'static str],
}

fn bad(body: impl Into<Vec<u8>>, reason: BadReason, told: &'static [&'static str]) -> Bad {
    Bad { body: body.into(), reason, told }
}

fn bad_bodies() -> Vec<Bad> {
    let mut broken = gzip(&insert("orders", &json!({ "id": 1, "order_no": "n1" })));
    let half = broken.len() / 2;
    broken.truncate(half);
    let long = insert("orders", &json!({ "id": 1, "order_no": "n1", "note": "x".repeat(2 << 20) }));
    vec![
        bad(long, BadReason::TooLarge, &["1048576"]),
        bad(gzip(&vec![b' '; 8 << 20]), BadReason::TooLarge, &["inflate"]),
        bad("[".repeat(200_000), BadReason::NotJson, &["one JSON object"]),
        bad(format!("{{\"database\":{}", "[".repeat(200_000)), BadReason::TooDeep, &["128"]),
        bad(&b"{\"database\":\"trade\",\"table\":\"\xff\xfe\"}"[..], BadReason::NotUtf8, &["UTF-8"]),
        bad(broken, BadReason::BadGzip, &["gzip"]),
        bad("{\"database\":", BadReason::NotJson, &[]),
        bad("{\"a\":1}", BadReason::UnknownFormat, &["Debezium", "Canal", "Maxwell"]),
        bad(insert("orders", &json!({ "id": 7, "status": 1 })), BadReason::MissingKey, &["order_no"]),
        bad(insert("orders", &json!({ "order_no": "n1", "status": 1 })), BadReason::MissingKey, &["id"]),
        bad(
            insert("orders", &json!({ "id": 7, "order_no": "n7", "status": "much" })),
            BadReason::BadValue,
            &["trade.orders", "status", "much", "64 bits"],
        ),
        bad("{\"database\":\"trade\",\"table\":\"orders\",\"type\":\"insert\",\"ts\":1}", BadReason::Malformed, &["data"]),
    ]
}

/// The log of all bad bodies at offsets 0, 1, … of one partition, each followed by a good record of another topic.
fn log_of(bodies: &[Bad]) -> (Shop, Vec<String>) {
    let mut shop = Shop::new(1);
    let mut lines = Vec::new();
    for (offset, bad) in bodies.iter().enumerate() {
        let line =
            json!({ "topic": TOPIC, "partition": 0, "offset": offset, "key": null, "value_b64": STANDARD.encode(&bad.body) });
        lines.push(line.to_string());
        shop.put("orders", offset as i64, json!({ "order_no": format!("good{offset}"), "status": 1 }));
        lines.push(shop.lines.last().unwrap().clone());
    }
    (shop, lines)
}

/// Every bad body becomes one dead letter with its reason, its cause in words and its very bytes; the good records between
/// them go through; read again, the letters stay what they are (C7).
#[test]
fn every_bad_record_is_kept_with_its_cause() {
    let bodies = bad_bodies();
    let (shop, lines) = log_of(&bodies);
    let world = World::new(SHOP, &text_of(&lines), |_| {});
    run(async {
        assert_same(&crate::world::run_to_end(&world).await, &shop.documents(), "among bad records");
        let letters = world.ledger.dead_letters(None, 99).await.unwrap();
        assert_eq!((letters.len(), world.totals.dead_letters()), (bodies.len(), bodies.len() as u64));
        for (offset, bad) in bodies.iter().enumerate() {
            let id = format!("{TOPIC}/0/{offset}");
            let letter = world.ledger.dead_letter(&id).await.unwrap().unwrap_or_else(|| panic!("no letter {id}"));
            assert_eq!(letter.reason, bad.reason, "{id}: {}", letter.detail);
            assert!(letter.record.value.as_deref() == Some(&bad.body[..]), "{id}: other bytes are kept than came");
            assert!(!letter.detail.is_empty() && letter.detail.len() < 1000, "{id}: {}", letter.detail);
            for text in bad.told {
                assert!(letter.detail.contains(text), "{id}: `{}` does not say `{text}`", letter.detail);
            }
        }
        let note = world.ledger.notes("source/").await.unwrap();
        assert!(note[0].1.contains(&format!("\"line\":{}", lines.len())), "committed to the end: {note:?}");
        world.ledger.set_notes(vec![(note[0].0.clone(), None)]).await.unwrap();
        crate::world::run_to_end(&world).await;
        let again = world.ledger.dead_letters(None, 99).await.unwrap();
        assert!(again.len() == bodies.len() && again.iter().all(|letter| letter.deliveries == 2), "the same letters, met twice");
        assert_eq!(world.totals.dead_letters(), bodies.len() as u64, "positions count once");
    });
}

/// A body at the cap and a nesting at the limit are not bad.
#[test]
fn the_limits_themselves_are_allowed() {
    let body = |note: usize| insert("orders", &json!({ "id": 1, "order_no": "n1", "status": 1, "note": "x".repeat(note) }));
    let fixed = body(0).len();
    let nested = format!("{}1{}", "[".repeat(126), "]".repeat(126));
    let deep = format!(
        "{{\"database\":\"trade\",\"table\":\"orders\",\"type\":\"insert\",\"ts\":1,\"data\":{{\"id\":2,\"order_no\":\"n2\",\"x\":{nested}}}}}"
    );
    let lines = [
        event("t", 0, 0, &String::from_utf8(body((1 << 20) - fixed)).unwrap()),
        event("t", 0, 1, &String::from_utf8(body((1 << 20) - fixed + 1)).unwrap()),
        event("t", 0, 2, &deep),
    ];
    let world = World::new(SHOP, &text_of(&lines), |_| {});
    run(async {
        let documents = crate::world::run_to_end(&world).await;
        let letters = world.ledger.dead_letters(None, 9).await.unwrap();
        let told: Vec<_> = letters.iter().map(|l| (l.id.as_str(), l.reason)).collect();
        assert_eq!(told, [("t/0/1", BadReason::TooLarge)], "only the one byte more");
        assert_eq!(documents.keys().collect::<Vec<_>>(), ["n1", "n2"]);
    });
}

/// What nobody configured, and what carries no data, is counted and settled, and is nobody's dead letter (C6).
#[test]
fn what_nobody_asked_for_is_settled() {
    let ddl = json!({ "database": "trade", "table": "orders", "isDdl": true, "type": "ALTER", "es": 1, "ts": 1, "sql": "ALTER TABLE orders ADD x int", "data": null });
    let lines = [
        event("t", 0, 0, &String::from_utf8(insert("nobody", &json!({ "id": 1 }))).unwrap()),
        json!({ "topic": "t", "partition": 0, "offset": 1, "key": "{\"id\":1}", "value": null }).to_string(),
        event("t", 0, 2, &ddl.to_string()),
    ];
    let world = World::new(SHOP, &text_of(&lines), |_| {});
    run(async {
        assert!(crate::world::run_to_end(&world).await.is_empty());
        assert_eq!((world.totals.records(), world.totals.dead_letters(), world.totals.row_writes()), (3, 0, 0));
        let note = world.ledger.notes("source/").await.unwrap();
        assert!(note[0].1.contains("\"line\":3"), "settled and committed: {note:?}");
    });
}

fn good_records(count: i64) -> Shop {
    let mut shop = Shop::new(2);
    for id in 0..count {
        shop.put("orders", id, json!({ "order_no": format!("n{id}"), "status": 1 }));
    }
    shop
}

/// A run that is refused: exit 4, one error on standard error that says all of `told`, nothing written.
fn refused(site: &Site, told: &[&str]) {
    let before = site.writes("orders").len();
    let ran = site.run(&[], None);
    assert_eq!(ran.code, Some(4), "{}", ran.log);
    for text in told {
        assert!(ran.log.contains(text), "`{text}` is not said:\n{}", ran.log);
    }
    assert_eq!(site.writes("orders").len(), before, "a refused run writes nothing");
}

/// E5: another key template on an existing store is refused with both, and what to do; the old one still runs.
#[test]
fn another_key_template_is_refused() {
    let site = Site::new(SHOP, &good_records(10).text());
    assert_eq!(site.run(&[], None).code, Some(0));
    for changed in [
        SHOP.replace("key: \"{order_no}\"", "key: \"{last4(order_no)}:{order_no}\""),
        SHOP.replace("root: trade.orders", "root: trade.orders\n    version: counter"),
    ] {
        std::fs::write(site.path("config.yaml"), changed).unwrap();
        refused(&site, &["row kind `order`", "E5", "Put the configuration back", "another data_dir"]);
    }
    std::fs::write(site.path("config.yaml"), SHOP).unwrap();
    assert_eq!(site.run(&[], None).code, Some(0));
}

/// A store that another version wrote is left as it is.
#[test]
fn a_store_of_another_version_is_refused() {
    let site = Site::new(SHOP, &good_records(10).text());
    assert_eq!(site.run(&[], None).code, Some(0));
    let format = site.path("data/store/format");
    let ours = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, "widerow store 99\n").unwrap();
    refused(&site, &["store", "99", "another version of widerow", "another data_dir"]);
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "widerow store 99\n");
    std::fs::write(&format, ours).unwrap();
    assert_eq!(site.run(&[], None).code, Some(0));
}

/// One folder, one process: the second is refused while the first runs, and may run after it.
#[test]
fn a_second_process_is_refused() {
    let shop = good_records(10);
    let site = Site::new(SHOP, &shop.text());
    let first = site.spawn(&[]);
    watch("the first runs", || (site.writes("orders").len() == 10).then_some(()));
    refused(&site, &["another process has it open", "store"]);
    signal(first.id(), "TERM");
    assert_eq!(Ran::of(finished(first, "the first")).code, Some(0));
    assert_eq!(site.run(&[], None).code, Some(0));
    assert_same(&site.fold("orders"), &shop.documents(), "after both");
}

/// A file that is shorter than what was committed of it, or begins otherwise, is not the file that was read: refused with
/// what to do, which then works. A file that grew is read on (E3).
#[test]
fn another_file_under_the_same_name_is_refused() {
    let shop = good_records(20);
    let site = Site::new(SHOP, &shop.text());
    assert_eq!(site.run(&[], None).code, Some(0));
    let write = |lines: &[String]| std::fs::write(site.path("records.jsonl"), text_of(lines)).unwrap();
    write(&shop.lines[..12]);
    refused(&site, &["records.jsonl", "20 lines were committed", "the file has 12", "--from-start"]);
    let mut other = shop.lines.clone();
    other.swap(0, 1);
    write(&other);
    refused(&site, &["records.jsonl", "another first line", "--from-start"]);
    let anew = site.run(&["--from-start"], None);
    assert_eq!((anew.code, anew.count("/records")), (Some(0), 20), "{}", anew.log);
    let mut more = good_records(25);
    more.lines[..20].clone_from_slice(&other);
    write(&more.lines);
    let on = site.run(&[], None);
    assert_eq!((on.code, on.count("/records")), (Some(0), 5), "{}", on.log);
    assert_same(&site.fold("orders"), &more.documents(), "after all of it");
}

/// A file that is not there, and a line that is no recorded event, stop the run with path and line.
#[test]
fn a_file_that_cannot_be_read_is_said() {
    let site = Site::new(SHOP, "");
    std::fs::remove_file(site.path("records.jsonl")).unwrap();
    refused(&site, &["records.jsonl", "No such file"]);
    let mut lines = good_records(5).lines;
    lines.insert(3, "{\"topic\": 5}".to_owned());
    std::fs::write(site.path("records.jsonl"), text_of(&lines)).unwrap();
    refused(&site, &["records.jsonl:4:11", "expected a string", "mend or remove the line"]);
}

/// Keys a configuration does not know, and variables that are not set, end with 78 before anything is opened.
#[test]
fn a_bad_configuration_opens_nothing() {
    let config = SHOP
        .replace("threads: 2", "threads: 2, treads: 3")
        .replace("order_no: trade.orders.order_no", "order_no: \"${NOT_SET_ANYWHERE}\"");
    let site = Site::new(&config, "");
    let ran = site.run(&[], None);
    assert_eq!(ran.code, Some(78), "{}", ran.log);
    for text in ["config.yaml:", "treads", "did you mean `threads`", "NOT_SET_ANYWHERE"] {
        assert!(ran.log.contains(text), "`{text}` is not said:\n{}", ran.log);
    }
    assert!(!site.path("data").exists(), "nothing was opened");
}

/// A disk with no room makes the node wait and say so; with room again it goes on by itself, nothing lost.
#[test]
fn a_full_disk_is_waited_for() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use widerow::io::embedded::{EmbeddedDocuments, EmbeddedLedger, EmbeddedQueue, EmbeddedRowStore, EmbeddedStore};
    use widerow::io::jobbook::wait::wall_clock;
    use widerow::ports::{Doors, sink::Sink};
    use widerow::supervisor::{Engine, wiring};
    let shop = good_records(300);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("records.jsonl"), shop.text()).unwrap();
    let settings = Arc::new(load(SHOP, dir.path()));
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let seen = Arc::clone(&free);
    run(async {
        let store =
            EmbeddedStore::open_with(&settings.node.data_dir, Arc::new(move |_| Some(seen.load(Ordering::SeqCst)))).unwrap();
        let line = settings.lines[0].line.name;
        let sink: Arc<dyn Sink> = Arc::new(EmbeddedDocuments::open(store.clone(), line));
        let doors = Doors {
            rows: Arc::new(EmbeddedRowStore::open(store.clone(), settings.schema.clone()).unwrap()),
            queue: Arc::new(EmbeddedQueue::open(store.clone(), &settings.queue, wall_clock()).unwrap()),
            ledger: Arc::new(EmbeddedLedger::open(store).unwrap()),
            sinks: [(line, sink.clone())].into(),
        };
        free.store(0, Ordering::SeqCst);
        let parts = wiring::parts(&settings, doors, Default::default()).unwrap();
        let engine = Engine::start(settings.clone(), parts, Default::default(), wiring::clock);
        let writer = until("a writer says why it waits", async || {
            let picture = engine.look().await.unwrap();
            picture.actors.into_iter().find(|a| a.id.starts_with("writer:") && !a.reason.is_empty())
        })
        .await;
        assert!(writer.reason.contains("free some space"), "{}", writer.reason);
        assert_eq!(engine.idle().await, Ok(IdleState::Busy));
        free.store(u64::MAX, Ordering::SeqCst);
        assert_eq!(ended(&engine).await, IdleState::Idle);
        assert!(engine.look().await.unwrap().exits.is_empty(), "nobody failed for it");
        engine.drain().await;
        let held = sink.list(None, usize::MAX).await.unwrap();
        let documents = held.into_iter().map(|h| (h.id, serde_json::from_slice(&h.document.unwrap()).unwrap())).collect();
        assert_same(&documents, &shop.documents(), "with room again");
    });
}

/// A panic in the decoder makes that record a dead letter with its cause, and its neighbours go on; one in a document's
/// mapping makes that job try again. Method: the real binary, told to panic inside.
#[test]
fn panics_inside_are_one_records_or_one_jobs() {
    let shop = good_records(30);
    let site = Site::new(SHOP, &shop.text());
    let ran = site.run(&[], Some("panic:decode_begun:7:1"));
    assert_eq!((ran.code, &ran.summary["dead_letters"]), (Some(0), &json!(1)), "{}", ran.log);
    assert!(ran.log.contains("\"reason\":\"panicked\"") && ran.log.contains("scripted panic"), "{}", ran.log);
    assert_eq!(site.fold("orders").len(), 29, "all but the one whose decoding panicked");

    let site = Site::new(SHOP, &shop.text());
    let ran = site.run(&[], Some("panic:mapping_begun:3:2"));
    assert_eq!((ran.code, &ran.summary["jobs"]["buried"]), (Some(0), &json!(0)), "{}", ran.log);
    assert_same(&site.fold("orders"), &shop.documents(), "after two panics in the mapping");
}
