//! What a database that keeps the overflow promises beyond the others (J9).

use super::World;
use crate::place::{Place, settings};
use widerow::domain::ids::Millis;
use widerow::domain::job::{Load, Offered, Settled, Verdict};
use widerow::ports::queue::LaneCount;
use widerow::settings::OnLate;

crate::place::on_mysql!(what_overflowed_outlives_the_node, people_read_the_overflow);

/// Goal: J9: the ledger is not the node's. Method: 30 of 31 jobs spill; another queue on the same places works all of them, in
/// order, with what they carried.
async fn what_overflowed_outlives_the_node(place: &Place) {
    let world = World::new(place, |queue| queue.max_pending = 1);
    let load = || Load { oldest: Some(Millis(-5)), newest: Some(Millis(7)), must_write: true, ..Load::default() };
    for i in 0..31 {
        let want = if i == 0 { Offered::Created } else { Offered::Spilled };
        assert_eq!(world.offer_with(&format!("订{i:02}"), 1, load()).await, want);
    }
    let clock = world.clock.clone();
    drop(world);
    let mut settings = settings();
    settings.max_pending = 1;
    let world = World { queue: place.queue(&settings, &clock), clock };
    assert_eq!(world.count(1).await.spilled, 30);
    for i in 0..31 {
        let job = world.take(1).await.remove(0);
        assert_eq!(job.key.row.as_str(), format!("订{i:02}"));
        assert_eq!((job.load.oldest, job.load.newest, job.load.must_write), (Some(Millis(-5)), Some(Millis(7)), true));
        assert_eq!(world.finish(&job, Verdict::Done).await, Settled::Applied);
    }
    assert_eq!(world.count(1).await, LaneCount::default());
}

/// Goal: people see what lies aside and why. Method: one spilled and one parked job, read by plain SQL; gone when worked.
async fn people_read_the_overflow(place: &Place) {
    let world = World::new(place, |queue| {
        queue.max_pending = 1;
        queue.on_late = OnLate::Park;
    });
    assert_eq!(world.offer("late", 1).await, Offered::Created);
    world.clock.pass(1_200_001);
    assert!(world.take(1).await.is_empty(), "it is parked");
    assert_eq!((world.offer("first", 1).await, world.offer("second", 1).await), (Offered::Created, Offered::Spilled));
    let Place::Mysql(node) = place else { return };
    let seen = || {
        let select = format!("select reason, lane, row_key from aside.widerow_overflow where node = '{node}' order by seq");
        crate::servers::shared(crate::servers::Kind::Mariadb).script("sql", &["-e", &select])
    };
    assert_eq!(seen(), "parked\tnormal\tlate\nspilled\tnormal\tsecond\n");
    let mut left = vec!["first", "late", "second"];
    while !left.is_empty() {
        world.queue.tend().await.unwrap();
        for job in world.take(10).await {
            left.retain(|row| *row != job.key.row.as_str());
            assert_eq!(world.finish(&job, Verdict::Done).await, Settled::Applied);
        }
    }
    assert_eq!(seen(), "");
}
