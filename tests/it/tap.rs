//! `tap`: a real node's events at every stage, masked and capped, while a shop trades without end.
//!
//! Method: the real binary runs the demo's shop; the real verb listens; what it prints is read as JSON.

use crate::world::{Site, finished, run, signal, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Child;
use widerow::admin::client::ADDRESS_FILE;

/// The demo's configuration with an endpoint of its own, fewer rows, and a mask that knows the shop's cities.
const OVER: &str = r#"
version: 1
node: { id: tap, data_dir: "${OUT}/data", drain_deadline: 5s }
sources: { shop: { generator: { seed: 7, entities: 3, events: none, rate: 300/s, disorder: 5%, duplicates: 1% } } }
admin: { listen: "127.0.0.1:0", mask: [CIT] }
"#;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.yaml");

struct Node {
    site: Site,
    child: Child,
}

impl Node {
    fn start() -> Self {
        let site = Site::new(OVER, "");
        let log = std::fs::File::create(site.path("log.txt")).unwrap();
        let child = site.command(&["run", "-c", DEMO, "-c", "config.yaml"]).stderr(log).spawn().unwrap();
        let left = site.path("data").join(ADDRESS_FILE);
        run(until("the node leaves its address", async || {
            std::fs::read_to_string(&left).ok().filter(|text| text.ends_with('\n'))
        }));
        Self { site, child }
    }

    /// What the verb says of this node: exit code, lines, and what stood on standard error.
    fn tap(&self, args: &[&str]) -> (Option<i32>, Vec<String>, String) {
        let url = std::fs::read_to_string(self.site.path("data").join(ADDRESS_FILE)).unwrap();
        let tap = [&["tap", "--admin", url.trim()], args].concat();
        let ran = finished(self.site.command(&tap).spawn().unwrap(), "tap");
        let lines = String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect();
        (ran.status.code(), lines, String::from_utf8_lossy(&ran.stderr).into_owned())
    }

    fn events(&self, args: &[&str]) -> Vec<Value> {
        let (code, lines, errors) = self.tap(&[args, &["-o", "json"]].concat());
        assert_eq!(code, Some(0), "{errors}");
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        signal(self.child.id(), "KILL");
        // Gone either way.
        let _ = self.child.wait();
    }
}

/// Goal: one row's way is seen at every stage, nothing of another row, and the caps end it. Method: a row's key is taken from
/// the first document that passes; then that row alone is listened to.
#[test]
fn one_row_is_followed_all_the_way() {
    let node = Node::start();
    let first = node.events(&["--stage", "document", "--max", "1"]);
    let [document, end] = first.as_slice() else { panic!("one event and the end: {first:?}") };
    assert_eq!((&document["stage"], &end["end"], &end["told"]), (&"document".into(), &"max".into(), &1.into()));
    let key = document["row"].as_str().unwrap();

    let events = node.events(&["--key", key, "--max", "60"]);
    let (end, events) = events.split_last().unwrap();
    assert_eq!((end["end"].as_str(), events.len()), (Some("max"), 60));
    let stages: BTreeSet<_> = events.iter().map(|e| e["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, BTreeSet::from(["source", "change", "row", "job", "document"]));
    for event in events {
        let rows = event["rows"].as_array();
        let of_row =
            rows.map_or_else(|| event["row"].to_string().contains(key), |rows| rows.iter().any(|r| r.to_string().contains(key)));
        assert!(of_row, "an event of another row: {event}");
    }

    let (code, lines, said) = node.tap(&["--stage", "source", "--bytes", "2000"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ended by --bytes") && lines.iter().map(String::len).sum::<usize>() <= 2_000, "{said} {lines:?}");
}

/// Goal: hidden values come out nowhere; other values do. Method: every order has a city; at each stage that holds values
/// it must come starred, and the order's number plain.
#[test]
fn hidden_columns_stay_hidden() {
    let node = Node::start();
    let events = node.events(&["--max", "300"]);
    let mut hidden = 0;
    for event in &events {
        let found = cities(event);
        hidden += found.len();
        assert!(found.iter().all(|city| city.starts_with("***(")), "{event}");
    }
    let by_stage = |stage: &str| events.iter().filter(|e| e["stage"] == stage).flat_map(cities).count();
    assert!(
        hidden > 0 && ["source", "change", "row"].into_iter().all(|stage| by_stage(stage) > 0),
        "{hidden} cities in 300 events"
    );
    assert!(events.iter().any(|e| e["columns"]["order_no"].as_str().is_some_and(|no| !no.starts_with('*'))), "nothing is plain");
}

/// Every city in an event.
fn cities(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member.as_str() {
                Some(text) if name == "city" => vec![text.to_owned()],
                _ => cities(member),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(cities).collect(),
        _ => Vec::new(),
    }
}

/// Goal: a wrong wish is told what is allowed; without a node it is said that one is needed. Method: a table.
#[test]
fn wrong_wishes_are_refused() {
    let node = Node::start();
    for (args, code, words) in [
        (&["--stage", "sink"][..], 2, "possible values: source, change, row, job, document"),
        (&["--max", "0"], 2, "1..=10000"),
        (&["--for", "1h"], 2, "from 1 to 600 is allowed"),
    ] {
        let (got, lines, said) = node.tap(args);
        assert!(got == Some(code) && lines.is_empty() && said.contains(words), "{args:?}: {got:?} {said}");
    }
    let alone = Site::new(OVER, "");
    let ran = finished(alone.command(&["tap", "-c", DEMO, "-c", "config.yaml"]).spawn().unwrap(), "tap without a node");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(4) && said.contains("only a running node has events"), "{said}");
}
