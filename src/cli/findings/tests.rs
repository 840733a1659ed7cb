//! Goal: findings read like a compiler's. Method: golden texts of a broken configuration.

use super::*;
use crate::settings::load_text;

const BROKEN: &str = "version: 1
node: { id: 店, rolls: [ingest] }
sources:
  shop: { jsonl: { path: in.jsonl }, format: debezum }
rows:
  order:
    key: \"{last4(no)}\"
    tables: { trade.orders: { id: [id] } }
lines:
  search: { row: order, sink: { mysql: { urls: [a] } } }
";

const GOLDEN: &str = "\
error[W0101]: unknown key `rolls` in `node`
  --> shop.yaml:2:16
  |
2 | node: { id: 店, rolls: [ingest] }
  |                 ^^^^^ did you mean `roles`?
  = help: known here: id, data_dir, roles, threads, entities_max, entity_bytes_max, entity_idle_max, in_flight_bytes_max, drain_deadline, silence_max

error[W0202]: `debezum` is not one of: auto, debezium, canal, maxwell, dts
  --> shop.yaml:4:46
  |
4 |   shop: { jsonl: { path: in.jsonl }, format: debezum }
  |                                              ^^^^^^^ did you mean `debezium`?

warning[W0408]: two entities of `order` can have one row key: `no` does not stand whole in it
  --> shop.yaml:7:10
  |
7 |     key: \"{last4(no)}\"
  |          ^^^^^^^^^^^^^
  = help: let every key column stand whole, with a text between two of them

error[W0103]: `mysql` is not built into this version; available: embedded, jsonl, queue_only, elasticsearch, redis, kafka
  --> shop.yaml:10:33
   |
10 |   search: { row: order, sink: { mysql: { urls: [a] } } }
   |                                 ^^^^^

3 errors, 1 warning
";

#[test]
fn findings_read_like_a_compiler() {
    let found = load_text("shop.yaml", BROKEN, &|_| None).unwrap_err();
    assert_eq!(text(&found, false), GOLDEN);
    let coloured = text(&found, true);
    assert!(coloured.contains(RED) && coloured.contains(YELLOW), "a terminal gets colours");
}

#[test]
fn programs_get_json() {
    let found = load_text("shop.yaml", BROKEN, &|_| None).unwrap_err();
    let all: serde_json::Value = serde_json::from_str(&json(&found)).unwrap();
    assert_eq!((all["errors"].as_u64(), all["warnings"].as_u64()), (Some(3), Some(1)));
    let first = &all["findings"][0];
    assert_eq!((first["code"].as_str(), first["severity"].as_str()), (Some("W0101"), Some("error")));
    assert_eq!(
        (first["file"].as_str(), first["line"].as_u64(), first["column"].as_u64()),
        (Some("shop.yaml"), Some(2), Some(16))
    );
    assert_eq!(first["label"], "did you mean `roles`?");
}

#[test]
fn nothing_found_says_so() {
    assert_eq!(text(&[], false), "nothing found\n");
}
