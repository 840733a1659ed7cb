//! Goal: kill -9 at any moment loses nothing, and no sink ever sees a version fall (2.12 case 7; W1, J5, O1, I4).
//!
//! Method: the real binary on embedded parts reads some thousands of records of several partitions and is killed again and
//! again, each time after a seeded stretch of progress of its sink; at last it runs to its end. Both sinks are held against
//! the oracle.

use crate::world::{Dice, PATIENCE, SHOP, Shop, Site, assert_same, run, signal, watch};
use std::collections::BTreeMap;
use std::time::Instant;
use widerow::domain::ids::Name;
use widerow::io::embedded::{EmbeddedDocuments, EmbeddedStore};
use widerow::ports::sink::Sink;

const TRADES: usize = 4000;
const KILLS: usize = 6;

/// The shop with a second line of the same documents, which go to the embedded sink.
fn config() -> String {
    let (head, line) = SHOP.split_once("  orders:\n    row").unwrap();
    let line = format!("    row{line}");
    let embedded = line.replace("jsonl: { path: \"${OUT}/orders.jsonl\" }", "embedded: {}");
    format!("{head}  orders:\n{line}  copies:\n{embedded}")
}

fn size(site: &Site) -> u64 {
    std::fs::metadata(site.path("orders.jsonl")).map_or(0, |meta| meta.len())
}

fn embedded_documents(site: &Site) -> BTreeMap<String, serde_json::Value> {
    run(async {
        let store = EmbeddedStore::open(&site.path("data")).unwrap();
        let held = EmbeddedDocuments::open(store, Name::of("copies")).list(None, usize::MAX).await.unwrap();
        held.into_iter().map(|held| (held.id, serde_json::from_slice(&held.document.unwrap()).unwrap())).collect()
    })
}

/// Goal: O2, a record that kills the process at each try is set aside after three deaths, the rest goes on. Method: abort
/// in the decoder at the first record of every run, then none.
#[test]
fn a_record_that_kills_is_set_aside() {
    let mut shop = Shop::new(1);
    shop.put("orders", 1, serde_json::json!({ "order_no": "n1", "status": 1 }));
    for id in 2..50 {
        shop.put("orders", id, serde_json::json!({ "order_no": format!("n{id}"), "status": 2 }));
    }
    let site = Site::new(SHOP, &shop.text());
    for death in 1..=3 {
        let ran = site.run(&[], Some("abort:decode_begun:1"));
        assert_eq!(ran.code, None, "death {death}: {}", ran.log);
    }
    let ran = site.run(&[], None);
    assert_eq!((ran.code, ran.count("/dead_letters")), (Some(0), 1), "{}", ran.log);
    assert!(ran.log.contains("the process died 3 times with it in hand"), "{}", ran.log);
    let mut want = shop.documents();
    want.remove("n1");
    assert_same(&site.fold("orders"), &want, "the rest");
}

/// As the module says, from three seeds.
#[test]
fn nothing_is_lost() {
    for seed in [11, 12, 13] {
        let mut dice = Dice::new(seed);
        let mut shop = Shop::new(3);
        for _ in 0..TRADES {
            shop.trade(&mut dice, 400);
        }
        let site = Site::new(&config(), &shop.text());
        let mut killed = 0;
        for _ in 0..KILLS {
            let enough = size(&site) + 1 + dice.below(20_000);
            let mut child = site.spawn(&["--until-idle"]);
            let begun = Instant::now();
            let over = watch("progress or an end", || {
                assert!(begun.elapsed() < PATIENCE);
                let over = child.try_wait().unwrap().is_some();
                (over || size(&site) >= enough).then_some(over)
            });
            if !over {
                signal(child.id(), "KILL");
                killed += 1;
            }
            child.wait().unwrap();
            site.fold("orders");
        }
        assert!(killed > 1, "seed {seed}: every run but {killed} was over before it could be killed");
        let last = site.run(&[], None);
        assert_eq!(last.code, Some(0), "{}", last.log);
        assert_eq!(last.count("/dead_letters"), 0);
        assert_same(&site.fold("orders"), &shop.documents(), &format!("seed {seed}, jsonl sink, {killed} kills"));
        assert_same(&embedded_documents(&site), &shop.documents(), &format!("seed {seed}, embedded sink, {killed} kills"));
    }
}
