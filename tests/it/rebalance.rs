use crate::world::{self, Feed, SHOP, Word, World, look, until};
use serde_json::{Value, json};
use std::time::Duration;
use widerow::domain::ids::{Name, Partition};
use widerow::messages::observe::PartitionView;
use widerow::supervisor::Engine;

fn world() -> World {
    World::new(SHOP, "", |settings| settings.node.drain_deadline = Duration::from_millis(300))
}

fn order(id: i64, status: i64) -> Value {
    json!({
        "database": "trade", "table": "orders", "type": "insert", "ts": 1_740_794_400, "xid": 1, "commit": true,
        "data": { "id": id, "order_no": format!("n{id}"), "status": status },
    })
}

async fn view(engine: &Engine) -> Option<PartitionView> {
    look(engine).await.actors.into_iter().find_map(|actor| actor.partition)
}

async fn until_committed(feed: &Feed, next: i64) {
    until("the position is committed", async || feed.committed().contains(&next).then_some(())).await;
}

/// A record whose write is held.
async fn one_in_hand(world: &World, engine: &Engine, feed: &Feed) {
    feed.begin().await;
    world.rows.gate.shut();
    world.rows.set(|_| Word::Hold);
    feed.deliver(&order(1, 1)).await;
    until("the record is in hand", async || (view(engine).await?.open_tickets == 1).then_some(())).await;
}

/// Goal: O3, a partition that leaves is drained and committed first. Method: take it away with records in hand.
#[test]
fn what_is_settled_is_committed_before_a_partition_leaves() {
    let world = world();
    world::run(async {
        let (engine, feed) = world.start_fed();
        feed.begin().await;
        for id in 0..20 {
            feed.deliver(&order(id, 1)).await;
        }
        feed.revoke().await;
        assert_eq!(feed.committed().last(), Some(&20));
        assert!(view(&engine).await.is_none(), "it is gone from the picture");
        engine.drain().await;
    });
}

/// Goal: O3 and promise 2, what an earlier stay says late commits nothing, and the next stay does the work again. Method:
/// hold a write past the deadline of the revoke, then let it pass.
#[test]
fn a_late_verdict_commits_nothing() {
    let world = world();
    world::run(async {
        let (engine, feed) = world.start_fed();
        one_in_hand(&world, &engine, &feed).await;
        feed.revoke().await;
        assert_eq!(feed.committed(), [0i64; 0], "nothing was settled");
        feed.begin_again().await;
        let here = until("it is back", async || view(&engine).await).await;
        assert_eq!((here.generation.as_str(), here.committed.as_str()), ("2", "0"), "generations go on counting");
        world.rows.set(|_| Word::Pass);
        world.rows.gate.open();
        until("the late write arrives", async || world.documents().await.get("n1").cloned()).await;
        assert_eq!(feed.committed(), [0i64; 0], "its verdict was of the stay before");
        feed.deliver(&order(1, 1)).await;
        until_committed(&feed, 1).await;
        engine.drain().await;
    });
}

/// Goal: O3 against O2, a partition that is leaving is not started anew when its records fail. Method: refuse the write
/// while the revoke waits for it.
#[test]
fn a_failure_while_leaving_starts_nothing() {
    let world = world();
    world::run(async {
        let (engine, feed) = world.start_fed();
        one_in_hand(&world, &engine, &feed).await;
        let restart = engine.command_recipient().send(widerow::messages::control::Command::Restart {
            actor: format!("partition:{}", Partition { topic: Name::of("shop.trade.orders"), number: 0 }).replace('/', ":"),
            reason: "test".into(),
        });
        let (_, restarted) = futures_util::join!(feed.revoke(), restart);
        restarted.unwrap().unwrap();
        until("it is gone", async || view(&engine).await.is_none().then_some(())).await;
        assert_eq!(feed.committed(), [0i64; 0]);
        world.rows.gate.open();
        engine.drain().await;
    });
}

/// Goal: lag is known before the first record comes. Method: assign a partition of a log whose end is known, then one record.
#[test]
fn lag_from_the_assignment_on() {
    let world = world();
    world::run(async {
        let (engine, feed) = world.start_fed();
        feed.begin_at(0, Some(12)).await;
        let here = until("it is here", async || view(&engine).await).await;
        assert_eq!((here.lag, here.high_watermark.as_deref()), (Some(12), Some("12")));
        feed.deliver(&order(1, 1)).await;
        until_committed(&feed, 1).await;
        assert_eq!(view(&engine).await.and_then(|view| view.lag), Some(11));
        engine.drain().await;
    });
}

/// Goal: F-3, a group that deals without end costs nothing and loses nothing. Method: the partition comes and goes ten thousand
/// times with a record each; every stay is drained, committed and forgotten, and the picture does not grow.
#[test]
fn ten_thousand_stays() {
    const STAYS: i64 = 10_000;
    let world = world();
    world::run(async {
        let (engine, feed) = world.start_fed();
        let mut early = 0;
        for stay in 0..STAYS {
            feed.begin_at(stay, None).await;
            feed.deliver(&order(stay % 7, stay)).await;
            if stay % 250 == 249 {
                let here = until("it is here", async || view(&engine).await).await;
                assert_eq!(here.generation, (stay + 1).to_string(), "every stay has a generation of its own");
            }
            feed.revoke().await;
            assert_eq!(feed.committed().last(), Some(&(stay + 1)), "stay {stay} is committed before it ends");
            if stay == 99 {
                early = remembered(&engine).await;
            }
        }
        assert!(feed.committed().is_sorted(), "no position fell");
        assert!(view(&engine).await.is_none(), "no partition is left behind");
        let late = remembered(&engine).await;
        assert!(late < early + early / 4, "the picture grew from {early} to {late} bytes in {STAYS} stays");
        // Before the drain, which leaves jobs that nobody runs in the queue.
        until("the last stay of every order has won", async || {
            let documents = world.documents().await;
            let last = documents.values().filter(|document| document["status"].as_i64().unwrap() >= STAYS - 7);
            (last.count() == 7).then_some(())
        })
        .await;
        engine.drain().await;
    });
}

/// How much the engine tells of itself, in bytes.
async fn remembered(engine: &Engine) -> usize {
    format!("{:?}", look(engine).await).len()
}
