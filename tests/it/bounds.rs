//! Goal: what is in flight has a ceiling, however slow the other side is, and the end is right all the same (O4, N3, I8).
//!
//! Method: a store behind a gate, a ledger that fails, small bounds; the node's own pictures are held against the bounds
//! while it works, the sink against the oracle at the end.

use crate::world::{Dice, Shop, Word, World, assert_same, ended, event, look, open_and_span, run, until};
use serde_json::json;
use std::time::Duration;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::io::memory::Call;
use widerow::supervisor::{Engine, IdleState};

/// Pictures taken while the node pushes against a bound.
const LOOKS: usize = 40;

fn orders(count: i64, partitions: i64) -> Shop {
    let mut shop = Shop::new(partitions);
    for id in 0..count {
        shop.put("orders", id, json!({ "order_no": format!("n{id}"), "status": id % 7, "note": "x".repeat(100) }));
    }
    shop
}

/// With a store that answers nobody, each partition opens `in_flight` records and no more.
#[test]
fn open_records_are_bounded() {
    const IN_FLIGHT: u64 = 100;
    let shop = orders(3000, 2);
    let world = World::shop(&shop, |settings| settings.sources[0].in_flight = IN_FLIGHT as usize);
    world.rows.set(|_| Word::Hold);
    world.rows.gate.shut();
    run(async {
        let engine = world.start();
        until("a partition is full", async || (open_and_span(&look(&engine).await).0 == IN_FLIGHT).then_some(())).await;
        for _ in 0..LOOKS {
            let (open, span) = open_and_span(&look(&engine).await);
            assert!(open <= IN_FLIGHT && span <= 8 * 2 * IN_FLIGHT as i64, "{open} open, span {span}");
        }
        world.rows.set(|_| Word::Pass);
        world.rows.gate.open();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_same(&world.documents().await, &shop.documents(), "after the gate opened");
    });
}

/// One record that stays open lets others go on, up to eight times `in_flight` ahead of it.
#[test]
fn the_span_is_bounded() {
    const IN_FLIGHT: i64 = 20;
    let mut shop = orders(2000, 1);
    shop.lines.insert(0, event("shop.trade.orders", 0, 9_999, "no json"));
    let world = World::shop(&shop, |settings| settings.sources[0].in_flight = IN_FLIGHT as usize);
    // The letter cannot be kept for some tries, so its record stays open.
    let away = Fault::new(FaultKind::Unreachable, "scripted", "ledger away");
    world.ledger.script.fail_next(Call::Write, 4, &away);
    run(async {
        let engine = world.start();
        let mut highest = 0;
        until("the node is idle", async || {
            highest = highest.max(blocked_span(&engine).await);
            (engine.idle().await == Ok(IdleState::Idle)).then_some(())
        })
        .await;
        engine.drain().await;
        assert_eq!(highest, 8 * IN_FLIGHT, "the span reaches its bound and stays there");
        assert_same(&world.documents().await, &shop.documents(), "after the letter was kept");
    });
}

/// How far the partition is ahead of its first record, while that one is open.
async fn blocked_span(engine: &Engine) -> i64 {
    let picture = look(engine).await;
    let Some(view) = picture.actors.iter().find_map(|actor| actor.partition.as_ref()) else { return 0 };
    // Lag counts from the frontier: all 2001 lines lie before it while the first is open.
    if view.lag == Some(2001) { view.position.parse().unwrap() } else { 0 }
}

/// The byte budget holds over all partitions; each may have one record beyond it, so that nobody starves.
#[test]
fn bytes_are_bounded() {
    const BYTES: usize = 20_000;
    let shop = orders(2000, 4);
    let largest = shop.lines.iter().map(String::len).max().unwrap();
    let world = World::shop(&shop, |settings| settings.node.in_flight_bytes_max = BYTES);
    world.rows.set(|_| Word::Hold);
    world.rows.gate.shut();
    run(async {
        let engine = world.start();
        until("the budget is spent", async || (look(&engine).await.open_bytes >= BYTES).then_some(())).await;
        for _ in 0..LOOKS {
            let picture = look(&engine).await;
            assert!(picture.open_bytes <= BYTES + 4 * largest, "{} bytes open", picture.open_bytes);
        }
        world.rows.set(|_| Word::Pass);
        world.rows.gate.open();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        assert_eq!(look(&engine).await.open_bytes, 0, "everything taken was given back");
        engine.drain().await;
        assert_same(&world.documents().await, &shop.documents(), "after the gate opened");
    });
}

/// Many more rows than entities may live: they come and go, and nothing is lost between (N3).
#[test]
fn entities_are_bounded() {
    const ROWS: i64 = 20_000;
    const MAX: u64 = 100;
    let mut shop = orders(ROWS, 4);
    // Every tenth row is touched again, long after its entity left.
    for id in (0..ROWS).step_by(10) {
        shop.put("orders", id, json!({ "order_no": format!("n{id}"), "status": 99, "note": "again" }));
    }
    let world = World::shop(&shop, |settings| {
        settings.node.entities_max = MAX as usize;
        settings.sources[0].in_flight = 50;
    });
    run(async {
        let engine = world.start();
        let mut highest = 0;
        until("the node is idle", async || {
            highest = highest.max(look(&engine).await.entities.live);
            (engine.idle().await == Ok(IdleState::Idle)).then_some(())
        })
        .await;
        // At work are at most what is open; at rest at most the bound.
        assert!(highest <= MAX + 4 * 50 + 50, "{highest} entities lived at once");
        until("what rests fits the bound", async || (look(&engine).await.entities.live <= MAX).then_some(())).await;
        let entities = look(&engine).await.entities;
        assert!(entities.spawned >= ROWS as u64 && entities.passivated >= entities.spawned - MAX, "{entities:?}");
        engine.drain().await;
        assert_same(&world.documents().await, &shop.documents(), "with few entities");
    });
}

/// Entities leave when their bytes are too many, and when they rested too long; also more than one sweep looks at.
#[test]
fn entities_leave_for_bytes_and_age() {
    for by_bytes in [true, false] {
        let shop = orders(5_000, 2);
        let world = World::shop(&shop, |settings| {
            if by_bytes {
                settings.node.entity_bytes_max = 1;
            } else {
                settings.node.entity_idle_max = Duration::from_millis(1);
            }
        });
        run(async {
            let engine = world.start();
            assert_eq!(ended(&engine).await, IdleState::Idle);
            until("every entity left", async || (look(&engine).await.entities.live == 0).then_some(())).await;
            engine.drain().await;
            assert_same(&world.documents().await, &shop.documents(), "after everybody left");
        });
    }
}

/// A row that takes half of all records ends right, its jobs coalesce, and its neighbours' documents are right too (N1, J2).
#[test]
fn a_hot_row_ends_right() {
    let mut dice = Dice::new(41);
    let mut shop = Shop::new(2);
    for turn in 0..6000 {
        let id = if turn % 2 == 0 { 0 } else { 1 + dice.below(300) as i64 };
        shop.put("orders", id, json!({ "order_no": format!("n{id}"), "status": dice.below(9), "note": turn.to_string() }));
    }
    let world = World::shop(&shop, |_| {});
    run(async {
        let engine = world.start();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_same(&world.documents().await, &shop.documents(), "with a hot row");
        let hot = world.sink.came.lock().unwrap().iter().filter(|(id, ..)| id == "n0").count();
        assert!(
            hot < 3000 && world.totals.row_writes() < 6000,
            "{hot} writes of the hot document, {} rows",
            world.totals.row_writes()
        );
    });
}
