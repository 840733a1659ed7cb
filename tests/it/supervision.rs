//! Goal: whatever an actor, a store, a queue or a sink does, the node goes on by itself or says why it cannot (O2, J7, J10).
//!
//! Method: a node on memory parts; stores and sinks that refuse, panic, hang or lose replies on demand. At the end the sink
//! holds what the oracle says, and the picture tells what happened.

use crate::world::{SHOP, Shop, Word, World, assert_same, ended, event, look, run, side_by_side, text_of, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use widerow::domain::decode::BadReason;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Name, Partition};
use widerow::io::memory::{Call, Script};
use widerow::messages::control::{Command, Picture};
use widerow::messages::observe::ActorState;
use widerow::ports::ledger::Ledger;
use widerow::supervisor::{Engine, IdleState};

/// Orders `n0` to `n<count>`, each once.
fn orders(count: i64, partitions: i64) -> Shop {
    let mut shop = Shop::new(partitions);
    for id in 0..count {
        shop.put("orders", id, json!({ "order_no": format!("n{id}"), "status": id, "note": "x" }));
    }
    shop
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "scripted", "as the test wants it")
}

/// How often an actor whose id begins so ended for this reason.
fn exits(picture: &Picture, id: &str, reason: &str) -> usize {
    picture.exits.iter().filter(|exit| exit.actor.starts_with(id) && exit.reason == reason).count()
}

async fn command(engine: &Engine, command: Command) {
    engine.command_recipient().send(command).await.unwrap().unwrap();
}

/// A record that fails whenever it is handled, alone or among others, ends in the dead letters with the store's own words;
/// its neighbours, of its partition and of others, go on (O2). One of several parts counts like one of one.
#[test]
fn a_poison_record_is_found_and_kept() {
    let mut shop = orders(40, 2);
    let items = json!([{ "id": "1", "order_no": "n7", "qty": "1" }, { "id": "2", "order_no": "n7", "qty": "2" }]);
    let many = json!({ "database": "trade", "table": "order_item", "pkNames": ["id"], "isDdl": false, "type": "INSERT",
        "es": 1, "ts": 1, "sql": "", "data": items, "old": null });
    shop.lines.push(event("shop.trade.order_item", 0, 0, &many.to_string()));
    shop.lines.push(event(
        "shop.trade.orders",
        1,
        99,
        &json!({ "database": "trade", "table": "orders", "type": "insert", "ts": 1,
        "data": { "id": 999, "order_no": "n999", "status": 1, "note": "x" } })
        .to_string(),
    ));
    let world = World::shop(&shop, |_| {});
    world.rows.set(|row| if row.key.as_str() == "n7" { Word::Refuse(fault(FaultKind::Rejected)) } else { Word::Pass });
    run(async {
        let engine = world.start();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        let letters = world.ledger.dead_letters(None, 9).await.unwrap();
        let told: Vec<_> = letters.iter().map(|l| (l.id.as_str(), l.reason, l.deliveries)).collect();
        assert_eq!(told, [("shop.trade.order_item/0/0", BadReason::Failed, 1), ("shop.trade.orders/1/3", BadReason::Failed, 1)]);
        for letter in &letters {
            assert!(letter.detail.contains("as the test wants it") && letter.detail.contains("alone"), "{}", letter.detail);
        }
        assert_eq!(letters[0].record.value.as_deref(), Some(many.to_string().as_bytes()));
        let mut want = shop.documents();
        want.remove("n7");
        want.insert("n999".into(), json!({ "order_no": "n999", "status": 1, "note": "x", "items": [], "qty_total": 0 }));
        assert_same(&world.documents().await, &want, "all but the poison");
        assert_eq!(world.totals.dead_letters(), 2);
    });
}

const STOPPING: &str = "sources: { shop: { jsonl: { path: \"${OUT}/records.jsonl\" }, on_bad_record: stop } }";

fn stopping() -> String {
    SHOP.replace("sources: { shop: { jsonl: { path: \"${OUT}/records.jsonl\" } } }", STOPPING)
}

/// `on_bad_record: stop` stops one partition at its bad record and says where and why; the others go on to their end; a
/// resume tries the record again (C7).
#[test]
fn a_stopping_partition_stops_alone() {
    let mut shop = orders(600, 2);
    shop.lines.insert(300, event("shop.trade.orders", 0, 5000, "{\"database\":\"trade\"}"));
    let world = World::new(&stopping(), &shop.text(), |_| {});
    run(async {
        let engine = world.start();
        let IdleState::Stopped(why) = ended(&engine).await else { panic!("not stopped") };
        for part in ["partition:shop.trade.orders:0", "bad record at offset 5000", "unknown_format"] {
            assert!(why.contains(part), "{why} does not name {part}");
        }
        let documents = world.documents().await;
        let (stopped, others): (Vec<_>, Vec<_>) = (0..600).partition(|id| id % 2 == 0);
        assert!(others.iter().all(|id| documents.contains_key(&format!("n{id}"))), "the other partition goes to its end");
        let before: Vec<_> = stopped.iter().filter(|id| documents.contains_key(&format!("n{id}"))).collect();
        assert_eq!(before.len(), 150, "what came before the bad record, and nothing after it");
        assert_eq!(world.ledger.dead_letter_count().await, Ok(0));
        let partition = Partition { topic: Name::of("shop.trade.orders"), number: 0 };
        command(&engine, Command::Resume { partition, reason: "try again".into() }).await;
        assert_eq!(ended(&engine).await, IdleState::Stopped(why));
        engine.drain().await;
    });
}

/// A partition that stopped over a record no store would take goes on, with that record, once the store is mended and an
/// operator says so.
#[test]
fn a_stopped_partition_resumes() {
    let shop = orders(60, 1);
    let world = World::new(&stopping(), &shop.text(), |_| {});
    world.rows.set(|row| if row.key.as_str() == "n7" { Word::Refuse(fault(FaultKind::Rejected)) } else { Word::Pass });
    run(async {
        let engine = world.start();
        let IdleState::Stopped(why) = ended(&engine).await else { panic!("not stopped") };
        assert!(why.contains("bad record at offset 7") && why.contains("as the test wants it"), "{why}");
        world.rows.set(|_| Word::Pass);
        let partition = Partition { topic: Name::of("shop.trade.orders"), number: 0 };
        command(&engine, Command::Resume { partition, reason: "the store is mended".into() }).await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        assert_same(&world.documents().await, &shop.documents(), "after the resume");
        engine.drain().await;
    });
}

/// A sink that panics again and again is given up, shown as failed with its own words, and the run ends; a restart by hand
/// after the cause is mended delivers everything (J10).
#[test]
fn a_restart_storm_ends_in_a_person() {
    let shop = orders(30, 2);
    let one_by_one = |settings: &mut widerow::settings::Settings| {
        settings.lines[0].workers = 1;
        settings.lines[0].batch = 1;
    };
    let world = World::shop(&shop, one_by_one);
    world.sink.panics.store(6, Ordering::SeqCst);
    run(async {
        let engine = world.start();
        let IdleState::Stopped(why) = ended(&engine).await else { panic!("not stopped") };
        assert!(why.contains("sink:orders:0") && why.contains("scripted panic in the sink"), "{why}");
        let picture = look(&engine).await;
        let sink = picture.actors.iter().find(|a| a.id == "sink:orders:0").unwrap();
        assert_eq!((sink.state, sink.restarts), (ActorState::Failed, 5));
        assert_eq!(exits(&picture, "sink:", "panicked"), 6);
        command(&engine, Command::Restart { actor: "sink:orders:0".into(), reason: "mended".into() }).await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        assert_same(&world.documents().await, &shop.documents(), "after the restart by hand");
        engine.drain().await;
    });
}

/// A writer that panics comes back; the entities write again, nothing fails for it.
#[test]
fn a_panicking_writer_loses_nothing() {
    let shop = orders(200, 2);
    let world = World::shop(&shop, |_| {});
    let left = Arc::new(AtomicUsize::new(3));
    world.rows.set(move |_| {
        assert!(left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err(), "scripted panic");
        Word::Pass
    });
    run(async {
        let engine = world.start();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        let picture = look(&engine).await;
        assert_eq!((exits(&picture, "writer:", "panicked"), exits(&picture, "partition:", "downstream_gone")), (3, 0));
        engine.drain().await;
        assert_same(&world.documents().await, &shop.documents(), "after the writer's panics");
    });
}

/// A sink that never answers is found by its silence and replaced; what it held comes again (J10).
#[test]
fn a_silent_sink_is_found() {
    let shop = orders(50, 2);
    let world = World::shop(&shop, |settings| settings.node.silence_max = Duration::from_millis(500));
    world.sink.before.shut();
    run(async {
        let engine = world.start();
        let picture = until("a sink counts as stuck", async || {
            let picture = look(&engine).await;
            (exits(&picture, "sink:", "stuck") > 0).then_some(picture)
        })
        .await;
        let stuck = picture.exits.iter().find(|exit| exit.reason == "stuck").unwrap();
        assert!(stuck.cause.contains("nothing finished for 500ms"), "{}", stuck.cause);
        world.sink.before.open();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_same(&world.documents().await, &shop.documents(), "after the silence");
    });
}

/// Who had nothing to do for long and then takes its time is not stuck: silence counts from when work came to hand.
#[test]
fn an_idle_sink_is_not_stuck() {
    let world = World::new(SHOP, "", |settings| settings.node.silence_max = Duration::from_secs(4));
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        let idle_since = look(&engine).await.now;
        until("everybody was idle for longer than silence may last", async || {
            (look(&engine).await.now > idle_since + 4500).then_some(())
        })
        .await;
        world.sink.before.shut();
        feed.deliver(&json!({ "database": "trade", "table": "orders", "type": "insert", "ts": 1,
            "data": { "id": 1, "order_no": "n1", "status": 1 } }))
            .await;
        until("the job came to the sink", async || (world.sink.came() == 1).then_some(())).await;
        let busy_since = look(&engine).await.now;
        until("somebody looked for who is stuck", async || (look(&engine).await.now > busy_since + 1200).then_some(())).await;
        world.sink.before.open();
        feed.end().await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        assert_eq!(look(&engine).await.exits, []);
        engine.drain().await;
    });
}

/// A sink that blocks its very thread takes partitions, entities, writer and offerer of that thread with it; they start
/// anew on another one, and records whose tickets lay there are read again, by whichever thread.
#[test]
fn a_blocked_thread_is_replaced() {
    let shop = orders(3000, 4);
    let world = World::shop(&shop, |settings| {
        settings.node.silence_max = Duration::from_secs(2);
        // So that much is still to come when the first batch reaches the sink.
        settings.sources[0].in_flight = 50;
        settings.lines[0].batch = 5;
    });
    world.sink.blocks.store(1, Ordering::SeqCst);
    run(async {
        let engine = world.start();
        assert_eq!(ended(&engine).await, IdleState::Idle, "the blocked thread is still blocked");
        let picture = look(&engine).await;
        assert!(exits(&picture, "writer:", "stuck") > 0, "{:?}", picture.exits);
        assert_same(&world.documents().await, &shop.documents(), "with one thread blocked");
        world.sink.let_go();
        engine.drain().await;
    });
}

/// What one case of trouble is: its name, who has it, and what is done.
type Trouble = (&'static str, fn(&World) -> &Script, Call, FaultKind, bool, usize);

/// Stores, queue, ledger and sink that cannot be reached, are full, ask for less, or do the work and lose the answer: the
/// node waits, nothing fails, nobody restarts, and the end state is right (J7, O2; 2.12 case 13).
#[test]
fn trouble_outside_is_waited_out() {
    use FaultKind::{Full, Throttled, Timeout, Unreachable};
    let rows: fn(&World) -> &Script = |w| &w.rows.inner.script;
    let queue: fn(&World) -> &Script = |w| w.queue.script();
    let sink: fn(&World) -> &Script = |w| &w.sink.inner.script;
    let ledger: fn(&World) -> &Script = |w| &w.ledger.script;
    let troubles: [Trouble; 15] = [
        ("rows unreachable", rows, Call::Write, Unreachable, false, 40),
        ("rows full", rows, Call::Write, Full, false, 40),
        ("rows throttled", rows, Call::Write, Throttled, false, 10),
        ("row replies lost", rows, Call::Write, Timeout, true, 10),
        ("rows cannot be read", rows, Call::Read, Unreachable, false, 4),
        ("offers unreachable", queue, Call::Offer, Unreachable, false, 4),
        ("offer replies lost", queue, Call::Offer, Timeout, true, 3),
        ("no jobs to be had", queue, Call::Take, Unreachable, false, 5),
        ("finishes unreachable", queue, Call::Finish, Unreachable, false, 2),
        ("finish replies lost", queue, Call::Finish, Timeout, true, 2),
        ("queue cannot be tended", queue, Call::Tend, Unreachable, false, 2),
        ("sink down", sink, Call::Write, Unreachable, false, 6),
        ("sink throttled", sink, Call::Write, Throttled, false, 4),
        ("sink replies lost", sink, Call::Write, Timeout, true, 3),
        ("positions and letters cannot be kept", ledger, Call::Write, Unreachable, false, 3),
    ];
    side_by_side(&troubles, |(name, whose, call, kind, lost, times)| {
        let mut shop = orders(120, 3);
        shop.lines.push(event("shop.trade.orders", 0, 900, "no json"));
        let world = World::shop(&shop, |_| {});
        let script = whose(&world);
        let play = if *lost { Script::lose_next } else { Script::fail_next };
        play(script, *call, *times, &fault(*kind));
        run(async {
            let engine = world.start();
            assert_eq!(ended(&engine).await, IdleState::Idle, "{name}");
            let picture = look(&engine).await;
            engine.drain().await;
            assert!(picture.exits.is_empty(), "{name}: {:?}", picture.exits);
            assert_same(&world.documents().await, &shop.documents(), name);
            assert_eq!(world.ledger.dead_letter_count().await, Ok(1), "{name}");
            let buried = world.totals.jobs(widerow::telemetry::JobOutcome::Buried);
            assert_eq!(buried, 0, "{name}: what waits uses up no tries");
        });
    });
}

/// A sink that will never accept a document costs that job alone, buried with the sink's words; a later change of the row
/// revives it (J7).
#[test]
fn a_rejected_document_is_buried_and_revived() {
    let world = World::new(SHOP, "", |settings| settings.lines[0].batch = 1);
    run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        world.sink.inner.script.fail_next(Call::Write, 1, &fault(FaultKind::Rejected));
        let order = |status: u64| -> Value {
            json!({ "database": "trade", "table": "orders", "type": "insert", "ts": 1,
                "data": { "id": 1, "order_no": "n1", "status": status } })
        };
        feed.deliver(&order(1)).await;
        use widerow::ports::queue::{JobQueue, JobState, Which};
        let buried = || async { world.queue.list(Which { state: Some(JobState::Buried), ..Which::default() }, 9).await.unwrap() };
        let jobs = until("the job is buried", async || Some(buried().await).filter(|jobs| !jobs.is_empty())).await;
        assert!(jobs[0].reason.as_deref().is_some_and(|r| r.contains("as the test wants it")), "{:?}", jobs[0].reason);
        feed.deliver(&order(2)).await;
        feed.end().await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert!(buried().await.is_empty());
        assert_eq!(world.documents().await["n1"]["status"], 2);
    });
}

/// Unused lines of a file are not read as records.
#[test]
fn an_empty_log_is_idle_at_once() {
    let world = World::new(SHOP, &text_of(&[]), |_| {});
    run(async {
        let engine = world.start();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        assert_eq!(engine.drain().await, Default::default());
        assert_eq!(world.totals.records(), 0);
    });
}
