//! Goal: every fault is found where it stands, good configurations load, and secrets stay secret.

use super::*;

const ORDER: &str = include_str!("tests/order.yaml");
const PRODUCT: &str = include_str!("tests/product.yaml");
const DEMO: &str = include_str!("../../config/demo.yaml");

fn env(name: &str) -> Option<String> {
    match name {
        "OUT" => Some("out".to_owned()),
        "RECORDS" => Some("records.jsonl".to_owned()),
        _ => None,
    }
}

fn loaded(text: &str) -> Loaded {
    load_text("test.yaml", text, &env).unwrap_or_else(|found| panic!("did not load: {found:#?}"))
}

/// Goal: the acceptance cases' configurations and the demo load without a word. Method: each as it stands.
#[test]
fn good_configurations_load() {
    for text in [ORDER, PRODUCT, DEMO] {
        let loaded = loaded(text);
        assert_eq!(loaded.warnings, [], "a good configuration needs no warning");
        assert!(!loaded.settings.lines.is_empty() && !loaded.settings.sources.is_empty());
    }
}
