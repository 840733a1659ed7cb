//! Goal: a node that is told to stop ends in order, says what it left, and its next run reads that and little else (4.4).
//!
//! Method: the real binary under SIGTERM in the middle of a run; a record that stays open on purpose (a move whose old row
//! never comes, C5) and a sink that never answers make a drain pass its deadlines.

use crate::world::{Dice, Ran, SHOP, Shop, Site, World, assert_same, event, finished, run, signal, until, watch};
use serde_json::json;
use std::time::Duration;

/// Told to stop in the middle, it finishes what it took, commits and ends well; the next run does the rest, and reads again
/// no more than what the first had been handed and had not settled.
#[test]
fn a_stop_in_the_middle() {
    let mut dice = Dice::new(21);
    let mut shop = Shop::new(3);
    for _ in 0..20_000 {
        shop.trade(&mut dice, 3000);
    }
    let config =
        SHOP.replace("jsonl: { path: \"${OUT}/records.jsonl\" }", "jsonl: { path: \"${OUT}/records.jsonl\" }, in_flight: 300");
    let site = Site::new(&config, &shop.text());
    let child = site.spawn(&[]);
    watch("the first document", || site.path("orders.jsonl").metadata().is_ok_and(|m| m.len() > 0).then_some(()));
    signal(child.id(), "TERM");
    let first = Ran::of(finished(child, "a run that was told to stop"));
    let log = std::fs::read_to_string(site.path("log.txt")).unwrap();
    assert_eq!(first.code, Some(0), "{log}");
    for step in widerow::supervisor::DRAIN_STEPS {
        assert!(log.contains(&format!("\"step\":\"{}\"", step.1)), "step {} is not in the log\n{log}", step.1);
    }
    let total = shop.lines.len() as u64;
    assert!(first.count("/records") < total, "the run was over before it could be stopped");
    assert_eq!(first.count("/jobs/created"), first.count("/jobs/done") + waiting(&site), "jobs are done or wait");
    let second = site.run(&[], None);
    assert_eq!(second.code, Some(0), "{}", second.log);
    // Handed over and given back: at most one delivery of 500 records per partition of the two topics, and as much again
    // that other partitions had settled beyond the file's committed line.
    let again = first.count("/records") + second.count("/records") - total;
    assert!(again <= 2 * 6 * 500, "{again} records were read twice");
    assert!(second.count("/records") < total, "the second run began anew");
    assert_same(&site.fold("orders"), &shop.documents(), "after the stop and the second run");
}

/// Jobs that wait in the embedded queue.
fn waiting(site: &Site) -> u64 {
    let settings = crate::world::load(SHOP, site.dir.path());
    run(async {
        let doors = widerow::supervisor::wiring::open(&settings).unwrap();
        let lanes = doors.queue.counts(settings.lines[0].line.name).await.unwrap();
        lanes.iter().map(|lane| lane.waiting + lane.retry + lane.active).sum()
    })
}

/// A site where one record stays open for a minute: its item leaves an order whose own record never came.
fn site_with_an_open_record(deadline: &str) -> Site {
    let config = SHOP.replace("drain_deadline: 5s", &format!("drain_deadline: {deadline}")).replace(
        "jsonl: { path: \"${OUT}/records.jsonl\" }",
        "jsonl: { path: \"${OUT}/records.jsonl\" }, partitioned_by: [order_no]",
    );
    let moved = json!({ "database": "trade", "table": "order_item", "type": "update", "ts": 1,
        "data": { "id": 1, "order_no": "n2", "qty": 1 }, "old": { "order_no": "n1" } });
    let mut shop = Shop::new(2);
    shop.put("orders", 2, json!({ "order_no": "n2", "status": 1 }));
    let mut lines = shop.lines;
    lines.push(event("shop.trade.order_item", 0, 0, &moved.to_string()));
    lines.push(event("shop.trade.order_item", 1, 0, &moved.to_string().replace("n2", "n3").replace("n1", "n2")));
    Site::new(&config, &crate::world::text_of(&lines))
}

fn stopped_while_a_record_is_open(site: &Site, then: impl FnOnce(u32)) -> (Ran, String) {
    let child = site.spawn(&[]);
    watch("the moved item's document", || site.path("orders.jsonl").metadata().is_ok_and(|m| m.len() > 0).then_some(()));
    let id = child.id();
    signal(id, "TERM");
    then(id);
    let ran = Ran::of(finished(child, "a run that was told to stop"));
    (ran, std::fs::read_to_string(site.path("log.txt")).unwrap())
}

/// A record that does not settle makes one step pass its deadline: the drain goes on, says what was left, commits nothing of
/// it, and the next run reads it again.
#[test]
fn what_does_not_settle_is_left_and_said() {
    let site = site_with_an_open_record("2s");
    let (ran, log) = stopped_while_a_record_is_open(&site, |_| {});
    assert_eq!(ran.code, Some(0), "{log}");
    assert!(log.contains("drain step passed its deadline") && log.contains("left behind"), "{log}");
    let left = log.lines().find(|line| line.contains("left behind")).unwrap();
    assert!(left.contains("partitions empty") && !left.contains("\"records\":0"), "{left}");
    let child = site.spawn(&[]);
    watch("the open record is read again", || {
        let log = std::fs::read_to_string(site.path("log.txt")).unwrap();
        (log.matches("partition starts").count() > 3 || log.matches("partition started").count() > 3).then_some(())
    });
    signal(child.id(), "TERM");
    let again = Ran::of(finished(child, "the second run"));
    assert!(again.count("/records") >= 1, "{}", again.summary);
}

/// A second signal ends a drain that waits, at once, with the code of an interrupted process.
#[test]
fn a_second_signal_ends_at_once() {
    let site = site_with_an_open_record("10m");
    let (ran, log) = stopped_while_a_record_is_open(&site, |id| {
        watch("the drain waits", || {
            std::fs::read_to_string(site.path("log.txt")).unwrap().contains("partitions empty").then_some(())
        });
        signal(id, "TERM");
    });
    assert_eq!(ran.code, Some(130), "{log}");
    assert!(!log.contains("passed its deadline"), "{log}");
}

/// A sink that never answers holds only the last step, until its deadline; everything before is in order, and the next
/// start delivers what the sink did not take.
#[test]
fn a_stuck_sink_is_left() {
    let mut shop = Shop::new(2);
    for id in 0..50 {
        shop.put("orders", id, json!({ "order_no": format!("n{id}"), "status": 1 }));
    }
    let world = World::shop(&shop, |settings| settings.node.drain_deadline = Duration::from_secs(2));
    world.sink.before.shut();
    run(async {
        let engine = world.start();
        until("every job is offered", async || {
            (world.totals.jobs(widerow::telemetry::JobOutcome::Created) == 50 && world.sink.came() > 0).then_some(())
        })
        .await;
        let drained = engine.drain().await;
        assert_eq!((drained.late.as_slice(), drained.records, drained.uncommitted), (["sinks finish"].as_slice(), 0, 0));
        assert!(world.documents().await.is_empty());
    });
    world.sink.before.open();
    run(async {
        assert_same(&crate::world::run_to_end(&world).await, &shop.documents(), "on the next start");
        assert_eq!(world.totals.records(), 50, "nothing is read again");
    });
}
