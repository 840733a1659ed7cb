//! Goal: losing unlogged rows costs time, not updates (W2, W3). Method: nothing is made durable while the whole log is read;
//! the store loses every row, and once more while intake goes back over the loss; then it may make them durable.

use super::world::{Dice, Shop, World, ended, until};
use widerow::supervisor::{IdleState, block_on};

#[test]
fn rows_lost_twice_under_a_living_node() {
    let mut shop = Shop::new(3);
    let mut dice = Dice::new(11);
    (0..600).for_each(|_| shop.trade(&mut dice, 40));
    let world = World::shop(&shop, |_| {}).on_unlogged_rows();
    block_on(async {
        world.rows.durable.shut();
        let engine = world.start();
        let records = shop.lines.len() as u64;
        until("all is read once", async || (engine.totals.records() >= records).then_some(())).await;
        world.rows.inner.lose();
        until("intake goes back", async || (engine.totals.records() >= 2 * records).then_some(())).await;
        world.rows.inner.lose();
        // What was asked for before the losses answers now, and must not be taken for durable.
        world.rows.durable.open();
        until("intake goes back again", async || (engine.totals.records() >= 3 * records).then_some(())).await;
        assert_eq!(ended(&engine).await, IdleState::Idle);
        engine.drain().await;
        assert_eq!(world.documents().await, shop.documents());
    });
}
