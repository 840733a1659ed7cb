//! Goal: the sink ends with the row's last content, however jobs, runs and lost answers fall (J2, J3, K1, K5; 2.12 cases 8, 9).
//!
//! Method: the test feeds one record at a time into a node and holds the sink's writes behind a gate, so that every
//! interleaving is played on purpose; on each queue there is.

use super::queues::{Make, on_queues};
use super::world::{Feed, SHOP, World, ended, look, run, until};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Name, RowKey, RowVersion};
use widerow::io::memory::Call;
use widerow::messages::observe::{ActorKind, ActorState, Observation};
use widerow::ports::sink::{Body, Sink, SinkOutcome, SinkWrite};
use widerow::supervisor::{Engine, IdleState};
use widerow::telemetry::{DocumentOutcome, JobOutcome};

fn order(status: u64, hidden: u64) -> Value {
    json!({ "database": "trade", "table": "orders", "type": "update", "ts": 1,
        "data": { "id": 1, "order_no": "n1", "status": status, "hidden": hidden }, "old": {} })
}

/// Waiting and running jobs of the line.
async fn jobs(world: &World) -> (u64, u64) {
    let lanes = world.jobs.counts(Name::of("orders")).await.unwrap();
    (lanes.iter().map(|l| l.waiting + l.retry).sum(), lanes.iter().map(|l| l.active).sum())
}

/// The statuses that came to the sink, in their order.
fn came(world: &World) -> Vec<u64> {
    world.sink.came.lock().unwrap().iter().map(|(_, _, doc)| doc.as_ref().unwrap()["status"].as_u64().unwrap()).collect()
}

async fn settled(world: &World, done: u64) {
    let what = format!("{done} runs are done");
    until(&what, async || (world.totals.jobs(JobOutcome::Done) == done && jobs(world).await == (0, 0)).then_some(())).await;
}

/// A change whose write, the sink's so many-th, is held before it is done.
async fn held_at_the_sink(world: &World, feed: &Feed, status: u64, came: usize) {
    world.sink.before.shut();
    feed.deliver(&order(status, 0)).await;
    until("the run is at the sink", async || (world.sink.came() == came).then_some(())).await;
}

async fn over(engine: Engine, feed: Feed, world: &World, status: u64) {
    feed.end().await;
    assert_eq!(ended(&engine).await, IdleState::Idle);
    engine.drain().await;
    assert_eq!(world.documents().await["n1"]["status"], status);
    // I4: what comes to a sink never falls for an id.
    let came = world.sink.came.lock().unwrap();
    assert!(came.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{came:?}");
}

fn skipping(make: Make) -> World {
    let world = World::new(SHOP, "", |settings| {
        settings.lines[0].line.skip_equal = true;
        settings.lines[0].workers = 2;
        settings.lines[0].batch = 1;
    });
    world.on_queue(make)
}

on_queues!(
    a_change_during_the_run_gets_a_follow_up,
    there_and_back_ends_there,
    a_lost_answer_forbids_skipping,
    equal_documents_are_skipped_only_when_asked,
    a_delete_during_the_run_ends_deleted,
    one_worker_probes_a_silent_sink,
    a_row_that_was_never_born_writes_nothing,
    a_sink_above_its_row_is_an_alarm,
    heavy_rows_come_in_small_batches,
);

/// What a worker's rows weigh together stays within `batch_bytes`, whether or not a document shows what is heavy. Method: twenty
/// rows wait behind one that told their weight.
fn heavy_rows_come_in_small_batches(make: Make) {
    const HEAVY: usize = 300_000;
    let world = World::new(SHOP, "", |settings| {
        settings.lines[0].workers = 1;
        settings.lines[0].batch_bytes = 1 << 20;
    })
    .on_queue(make);
    let heavy = |n: u64| {
        json!({ "database": "trade", "table": "orders", "type": "insert", "ts": 1,
            "data": { "id": n, "order_no": format!("n{n}"), "status": n, "hidden": "x".repeat(HEAVY) } })
    };
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        world.sink.before.shut();
        feed.deliver(&heavy(1)).await;
        until("the first run is at the sink", async || (world.sink.came() == 1).then_some(())).await;
        for n in 2..=21 {
            feed.deliver(&heavy(n)).await;
        }
        until("the others wait", async || (jobs(&world).await == (20, 1)).then_some(())).await;
        world.sink.before.open();
        settled(&world, 21).await;
        assert_eq!(*world.sink.calls.lock().unwrap(), [1, 3, 3, 3, 3, 3, 3, 2], "three rows of 300 kB weigh less than a MiB");
        feed.end().await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
    });
}

/// V5: a sink that holds more than the row has is an alarm; one that another run was quicker to write is none. Method: a
/// document of a version no row had; then the row overtakes it.
fn a_sink_above_its_row_is_an_alarm(make: Make) {
    let world = World::new(SHOP, "", |_| {}).on_queue(make);
    let write = |version| SinkWrite {
        id: "n1".into(),
        version: RowVersion(version),
        body: Body::Index("{}".into()),
        row: RowKey::new("n1"),
        types: Vec::new(),
    };
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        held_at_the_sink(&world, &feed, 1, 1).await;
        let version = world.sink.came.lock().unwrap()[0].1.0;
        assert_eq!(world.sink.inner.write(vec![write(version + 1)]).await, [SinkOutcome::Written]);
        world.sink.before.open();
        settled(&world, 1).await;
        assert_eq!((world.totals.documents(DocumentOutcome::Superseded), world.totals.sinks_ahead()), (1, 1));

        held_at_the_sink(&world, &feed, 2, 2).await;
        feed.deliver(&order(3, 0)).await;
        until("the row is newer than both", async || (jobs(&world).await == (1, 1)).then_some(())).await;
        let version = world.sink.came.lock().unwrap()[1].1.0;
        assert_eq!(world.sink.inner.write(vec![write(version + 1)]).await, [SinkOutcome::Written]);
        world.sink.before.open();
        settled(&world, 3).await;
        assert_eq!((world.totals.documents(DocumentOutcome::Superseded), world.totals.sinks_ahead()), (2, 1));
        over(engine, feed, &world, 3).await;
    });
}

/// Children that come before their root cost no write; once the root was there, its end is a delete (K4).
fn a_row_that_was_never_born_writes_nothing(make: Make) {
    let world = World::new(SHOP, "", |_| {}).on_queue(make);
    let event = |kind: &str, table: &str, data: Value| json!({ "database": "trade", "table": table, "type": kind, "ts": 1, "data": data });
    let came = || world.sink.came.lock().unwrap().iter().map(|(_, _, doc)| doc.is_some()).collect::<Vec<_>>();
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        feed.deliver(&event("insert", "order_item", json!({ "id": 7, "order_no": "n1", "qty": 2 }))).await;
        settled(&world, 1).await;
        assert_eq!((came(), world.totals.documents(DocumentOutcome::Skipped)), (vec![], 1));
        feed.deliver(&event("insert", "orders", json!({ "id": 1, "order_no": "n1", "status": 3 }))).await;
        settled(&world, 2).await;
        assert_eq!(came(), [true]);
        feed.deliver(&event("delete", "orders", json!({ "id": 1, "order_no": "n1", "status": 3 }))).await;
        settled(&world, 3).await;
        assert_eq!(came(), [true, false]);
        feed.end().await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
    });
}

/// Changes that land while the row's job runs get one follow-up, which runs after it and brings the last of them (J2).
fn a_change_during_the_run_gets_a_follow_up(make: Make) {
    let world = skipping(make);
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        held_at_the_sink(&world, &feed, 1, 1).await;
        for status in 2..=6 {
            feed.deliver(&order(status, 0)).await;
        }
        // Some may travel to the queue together: they are offered once their records are settled.
        until("all changes are offered", async || {
            let picture = look(&engine).await;
            let view = picture.actors.iter().find_map(|actor| actor.partition.as_ref())?;
            (view.position == "6" && view.open_tickets == 0).then_some(())
        })
        .await;
        assert_eq!(jobs(&world).await, (1, 1), "one waits, one runs: never two at once");
        assert_eq!(came(&world), [1]);
        world.sink.before.open();
        settled(&world, 2).await;
        assert_eq!(came(&world), [1, 6]);
        over(engine, feed, &world, 6).await;
    });
}

/// A → B → A with two workers and skipping on: the second A lands while B is on its way, and is written (K5).
fn there_and_back_ends_there(make: Make) {
    let world = skipping(make);
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        feed.deliver(&order(1, 0)).await;
        settled(&world, 1).await;
        world.sink.after.shut();
        feed.deliver(&order(2, 0)).await;
        until("B is at the sink", async || (world.sink.came() == 2).then_some(())).await;
        feed.deliver(&order(1, 0)).await;
        until("the way back is offered", async || (jobs(&world).await == (1, 1)).then_some(())).await;
        world.sink.after.open();
        settled(&world, 3).await;
        assert_eq!(came(&world), [1, 2, 1]);
        over(engine, feed, &world, 1).await;
    });
}

/// B reached the sink but its answer was lost: the sink may hold either, so A is written though A was the last known (K5).
fn a_lost_answer_forbids_skipping(make: Make) {
    let world = skipping(make);
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        feed.deliver(&order(1, 0)).await;
        settled(&world, 1).await;
        world.sink.inner.script.lose_next(Call::Write, 1, &Fault::new(FaultKind::Timeout, "scripted", "no answer"));
        world.sink.after.shut();
        feed.deliver(&order(2, 0)).await;
        until("B is at the sink", async || (world.sink.came() == 2).then_some(())).await;
        feed.deliver(&order(1, 0)).await;
        until("the way back is offered", async || (jobs(&world).await.0 == 1).then_some(())).await;
        world.sink.after.open();
        settled(&world, 2).await;
        assert_eq!(came(&world), [1, 2, 1]);
        over(engine, feed, &world, 1).await;
    });
}

/// A change that the document does not show is not written while skipping is on, and is when it is off.
fn equal_documents_are_skipped_only_when_asked(make: Make) {
    for skip in [true, false] {
        let world = skipping(make);
        run(async {
            let (engine, feed) = world.start_fed();
            engine.skip_equal[&Name::of("orders")].store(skip, Ordering::Relaxed);
            feed.begin().await;
            for hidden in 0..4 {
                feed.deliver(&order(7, hidden)).await;
                settled(&world, hidden + 1).await;
            }
            let (written, skipped) = if skip { (1, 3) } else { (4, 0) };
            assert_eq!(world.sink.came(), written);
            assert_eq!(world.totals.documents(DocumentOutcome::Skipped), skipped);
            over(engine, feed, &world, 7).await;
        });
    }
}

/// A delete that lands while a write is on its way ends as a delete, and an insert after it as a document (K4, M5).
fn a_delete_during_the_run_ends_deleted(make: Make) {
    let world = skipping(make);
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        held_at_the_sink(&world, &feed, 1, 1).await;
        let gone = json!({ "database": "trade", "table": "orders", "type": "delete", "ts": 1,
            "data": { "id": 1, "order_no": "n1", "status": 1 } });
        feed.deliver(&gone).await;
        until("the delete is offered", async || (jobs(&world).await == (1, 1)).then_some(())).await;
        world.sink.before.open();
        settled(&world, 2).await;
        assert!(world.documents().await.is_empty());
        feed.deliver(&order(3, 0)).await;
        settled(&world, 3).await;
        feed.end().await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_eq!(world.documents().await["n1"]["status"], 3);
    });
}

/// A sink that does not answer is asked by one worker of the line; the others take nothing, and all say why (J7).
fn one_worker_probes_a_silent_sink(make: Make) {
    let world = skipping(make);
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        world.sink.inner.script.fail_next(Call::Write, 1, &Fault::new(FaultKind::Unreachable, "scripted", "the sink is away"));
        world.sink.after.shut();
        feed.deliver(&order(1, 0)).await;
        until("the first try is at the sink", async || (world.sink.came() == 1).then_some(())).await;
        world.sink.before.shut();
        world.sink.after.open();
        until("the probe is at the sink", async || (world.sink.came() == 2).then_some(())).await;
        let other = json!({ "database": "trade", "table": "orders", "type": "insert", "ts": 1,
            "data": { "id": 2, "order_no": "n2", "status": 1 } });
        feed.deliver(&other).await;
        until("the other job waits", async || (jobs(&world).await == (1, 1)).then_some(())).await;
        until("both workers say that they wait", async || {
            let picture = look(&engine).await;
            let sinks: Vec<_> = picture.actors.iter().filter(|actor| actor.kind == ActorKind::Sink).collect();
            let waits = |actor: &&Observation| actor.state == ActorState::BackingOff && actor.reason.contains("the sink is away");
            (sinks.len() == 2 && sinks.iter().all(waits)).then_some(())
        })
        .await;
        assert_eq!((jobs(&world).await, world.sink.came()), ((1, 1), 2), "the other job waits, only the probe is out");
        world.sink.before.open();
        settled(&world, 2).await;
        assert_eq!(world.totals.jobs(JobOutcome::Buried), 0);
        assert_eq!(world.documents().await["n2"]["status"], 1);
        over(engine, feed, &world, 1).await;
    });
}
