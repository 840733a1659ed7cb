//! Goal: losing the whole queue costs time, not updates (J11, worked case 10). Method: the sink's gate is shut, so jobs are
//! open; the queue loses everything, and once more while intake goes back over the loss; then the gate opens.

use super::world::{Dice, Shop, World, ended, until};
use widerow::supervisor::{IdleState, block_on};

fn traded() -> Shop {
    let mut shop = Shop::new(3);
    let mut dice = Dice::new(10);
    (0..600).for_each(|_| shop.trade(&mut dice, 40));
    shop
}

#[test]
fn a_queue_lost_twice_under_a_living_node() {
    let shop = traded();
    let world = World::shop(&shop, |_| {});
    block_on(async {
        world.sink.before.shut();
        let engine = world.start();
        let records = shop.lines.len() as u64;
        until("all is read once", async || (engine.totals.records() >= records).then_some(())).await;
        world.queue.lose_everything();
        // The loss is heard of at one of the supervisor's looks; until then the node only seems idle.
        until("intake goes back", async || (engine.totals.records() > records).then_some(())).await;
        world.queue.lose_everything();
        let again = engine.totals.records();
        until("intake goes back again", async || (engine.totals.records() >= again + records).then_some(())).await;
        world.sink.before.open();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_eq!(world.documents().await, shop.documents());
    });
}

#[test]
fn a_queue_lost_while_the_node_was_down() {
    let shop = traded();
    let world = World::shop(&shop, |_| {});
    block_on(async {
        world.sink.before.shut();
        let engine = world.start();
        let records = shop.lines.len() as u64;
        until("all is read once", async || (engine.totals.records() >= records).then_some(())).await;
        // The life is noted with the first mark's look; a note must stand before the node goes.
        until("the life is noted", async || {
            let notes = widerow::ports::ledger::Ledger::notes(&*world.ledger, "queue/life/").await.unwrap();
            (notes.len() == 6).then_some(())
        })
        .await;
        engine.drain().await;
        world.queue.lose_everything();
        world.sink.before.open();
        let engine = world.start();
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_eq!(world.documents().await, shop.documents());
    });
}
