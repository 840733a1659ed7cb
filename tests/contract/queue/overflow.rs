//! Lanes longer than allowed, and what they spill (J9).

use super::{World, bodies, bury, key};
use crate::place::Place;
use widerow::domain::ids::Millis;
use widerow::domain::job::{Offered, Settled, Verdict};
use widerow::ports::queue::{JobState, Which};

bodies!(
    everywhere: [
        a_full_lane_spills_and_takes_back_in_order,
        a_spilled_job_survives_offers_of_every_kind,
        a_change_during_an_overflow_run_is_not_lost,
        released_jobs_do_not_overfill_a_lane,
    ],
    not_on_a_cluster: [],
);

// With what lies aside in a database.
#[cfg(all(feature = "mysql", feature = "redis"))]
crate::place::on_mysql!(
    a_full_lane_spills_and_takes_back_in_order,
    a_spilled_job_survives_offers_of_every_kind,
    a_change_during_an_overflow_run_is_not_lost,
    released_jobs_do_not_overfill_a_lane
);

/// Goal: J9. Method: 3 times what a lane takes; order kept over several refills; newer offers queue behind older ones.
async fn a_full_lane_spills_and_takes_back_in_order(place: &Place) {
    let world = World::new(place, |settings| settings.max_pending = 20);
    let answers = world.offer_many(0..60, 1).await;
    assert!(answers[..20].iter().all(|a| *a == Offered::Created) && answers[20..].iter().all(|a| *a == Offered::Spilled));
    assert_eq!(world.offer("elsewhere", 0).await, Offered::Created, "each lane has its own measure");
    let count = world.count(1).await;
    assert_eq!((count.waiting, count.spilled, count.oldest), (20, 40, Some(Millis(1_000_000))));
    assert_eq!(world.list(JobState::Spilled).await.len(), 40);
    world.take(1).await;
    let mut rows = world.rows_taken(11).await;
    assert_eq!(world.count(1).await.spilled, 40, "not below half yet");
    assert_eq!(world.offer("r00999", 1).await, Offered::Spilled, "behind those that wait longer");
    assert_eq!(world.queue.tend().await, Ok(11), "back to what a lane takes");
    assert_eq!(world.count(1).await.waiting, 20);
    rows.extend(world.drain().await);
    let mut want: Vec<String> = (0..60).map(|i| format!("r{i:05}")).collect();
    want.push("r00999".into());
    assert_eq!(rows, want);
    let count = world.count(1).await;
    assert_eq!((count.waiting, count.spilled, count.active, count.oldest), (0, 0, 11, None));
    assert_eq!(world.offer("r00001x", 1).await, Offered::Created);
}

/// Goal: J9 with J2, J4. Method: offers that coalesce onto a spilled job, one of them raising its lane.
async fn a_spilled_job_survives_offers_of_every_kind(place: &Place) {
    let world = World::new(place, |settings| settings.max_pending = 2);
    world.offer_many(0..6, 2).await;
    assert_eq!(world.offer("r00004", 2).await, Offered::Coalesced);
    assert_eq!(world.offer("r00005", 0).await, Offered::Coalesced);
    assert_eq!((world.count(2).await.spilled, world.count(0).await.spilled), (3, 1));
    let rows = world.drain().await;
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..6).map(|i| format!("r{i:05}")).collect::<Vec<_>>(), "each once");
    assert_eq!(rows[0], "r00005", "raised to the urgent lane, which was empty");
}

/// Goal: J9's generation. Method: a row of the overflow runs; a change spills again meanwhile; the finish leaves that one.
async fn a_change_during_an_overflow_run_is_not_lost(place: &Place) {
    let world = World::new(place, |settings| settings.max_pending = 1);
    world.offer_many(0..2, 1).await;
    let first = world.take(1).await.remove(0);
    let job = world.take(1).await.remove(0);
    assert_eq!(job.key, key("r00001"));
    assert_eq!(world.offer("filler", 1).await, Offered::Created);
    assert_eq!(world.offer("r00001", 1).await, Offered::Spilled);
    assert_eq!(world.finish(&job, Verdict::Done).await, Settled::Applied);
    assert_eq!(world.count(1).await.spilled, 1);
    assert_eq!(world.finish(&first, Verdict::Done).await, Settled::Applied);
    assert_eq!(world.drain().await, ["filler", "r00001"]);
}

/// Goal: releases keep J9's measure. Method: more buried jobs than the lane takes are replayed at once.
async fn released_jobs_do_not_overfill_a_lane(place: &Place) {
    let world = World::new(place, |settings| settings.max_pending = 3);
    for i in 0..8 {
        bury(&world, &format!("r{i}")).await;
    }
    assert_eq!(world.queue.release(Which { state: Some(JobState::Buried), ..Which::default() }).await, Ok(8));
    let count = world.count(1).await;
    assert_eq!((count.waiting, count.spilled, count.buried), (3, 5, 0));
    assert_eq!(world.drain().await, (0..8).map(|i| format!("r{i}")).collect::<Vec<_>>());
}
