//! What an offer does to the jobs that are there: coalescing, lanes, the order they are drawn in (J1 to J4, J6).

use super::{World, bodies, key};
use crate::place::Place;
use std::time::Duration;
use widerow::domain::ids::{Millis, Name, RowKey};
use widerow::domain::job::{JobKey, Lane, Load, Offer, Offered, Settled, Verdict};

bodies!(
    everywhere: [
        offers_coalesce_onto_a_job_that_has_not_started,
        a_running_job_gets_a_follow_up_that_waits_for_it,
        loads_unite_and_lanes_only_rise,
        times_and_flags_unite_without_types,
        lanes_are_drawn_by_weight,
        lanes_are_drawn_strictly,
        lines_are_apart,
    ],
    not_on_a_cluster: [],
);

/// Goal: J1, J2. Method: three offers of one key, two of another, in one batch and apart; each runs once, in order.
async fn offers_coalesce_onto_a_job_that_has_not_started(place: &Place) {
    let world = World::new(place, |_| ());
    assert_eq!(world.offer("b", 1).await, Offered::Created);
    let offers = ["a", "b", "a"].map(|row| Offer { key: key(row), lane: Lane(1), load: Load::default() }).to_vec();
    assert_eq!(world.queue.offer(offers).await, Ok(vec![Offered::Created, Offered::Coalesced, Offered::Coalesced]));
    assert_eq!(world.drain().await, ["b", "a"]);
    assert_eq!(world.offer("b", 1).await, Offered::Created, "nothing is left of the job");
}

/// Goal: J2, J3. Method: an offer while the job runs; its run starts only after the first has ended.
async fn a_running_job_gets_a_follow_up_that_waits_for_it(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer("a", 1).await;
    let first = world.take(1).await.remove(0);
    assert_eq!(world.offer("a", 1).await, Offered::Created, "a follow-up, not a coalesced offer");
    assert_eq!(world.offer("a", 1).await, Offered::Coalesced, "onto the follow-up");
    assert!(world.take(5).await.is_empty(), "two runs of one key would overlap");
    assert_eq!(world.finish(&first, Verdict::Done).await, Settled::Applied);
    let second = world.take(5).await.remove(0);
    assert!(second.lease != first.lease);
    assert_eq!(world.finish(&first, Verdict::Done).await, Settled::LeaseGone);
    assert_eq!(world.finish(&second, Verdict::Done).await, Settled::Applied);
    assert!(world.take(5).await.is_empty());
}

/// Goal: J4. Method: a bulk job, then a later urgent offer with other times and types, then a bulk one again.
async fn loads_unite_and_lanes_only_rise(place: &Place) {
    let world = World::new(place, |_| ());
    let load = |oldest, newest, name, must_write| Load {
        logged: None,
        first_offered: Millis(5),
        oldest: Some(Millis(oldest)),
        newest: Some(Millis(newest)),
        types: [Name::of(name)].into_iter().collect(),
        must_write,
        run_late: false,
    };
    world.offer_with("a", 2, load(50, 60, "price", true)).await;
    world.clock.pass(10);
    world.offer_with("a", 0, load(40, 55, "paid", false)).await;
    world.offer_with("a", 2, load(45, 70, "price", false)).await;
    assert_eq!((world.count(0).await.waiting, world.count(2).await.waiting), (1, 0));
    let job = world.take(5).await.remove(0);
    assert_eq!((job.lane, job.attempts), (Lane(0), 0));
    let mut types: Vec<&str> = job.load.types.iter().map(|t| t.as_str()).collect();
    types.sort_unstable();
    assert_eq!((types.as_slice(), job.load.must_write), (["paid", "price"].as_slice(), true));
    assert_eq!((job.load.oldest, job.load.newest), (Some(Millis(40)), Some(Millis(70))));
    assert_eq!(job.load.first_offered, Millis(1_000_000), "the queue's own clock at the first offer");
}

/// Goal: J4 where only times and *must write* differ. Method: offers that lower, raise, leave out; after each what is held.
async fn times_and_flags_unite_without_types(place: &Place) {
    let world = World::new(place, |_| ());
    let steps = [
        (None, None, false, None, None, false),
        (Some(50), None, false, Some(50), None, false),
        (Some(9), Some(60), false, Some(9), Some(60), false),
        (Some(10), Some(100), true, Some(9), Some(100), true),
        (None, Some(70), false, Some(9), Some(100), true),
        (Some(-3), Some(100), true, Some(-3), Some(100), true),
    ];
    for upto in 1..=steps.len() {
        for (oldest, newest, must_write, ..) in &steps[..upto] {
            let (oldest, newest) = (oldest.map(Millis), newest.map(Millis));
            world.offer_with("a", 1, Load { oldest, newest, must_write: *must_write, ..Load::default() }).await;
        }
        let job = world.take(5).await.remove(0);
        let (.., oldest, newest, must_write) = steps[upto - 1];
        let held = (job.load.oldest, job.load.newest, job.load.must_write);
        assert_eq!(held, (oldest.map(Millis), newest.map(Millis), must_write), "after {upto} offers");
        assert_eq!(world.finish(&job, Verdict::Done).await, Settled::Applied);
    }
}

/// Goal: J6. Method: a thousand draws while all three lanes have jobs; shares within a tenth of 6:3:1. Then alone.
async fn lanes_are_drawn_by_weight(place: &Place) {
    let world = World::new(place, |_| ());
    for lane in 0..3u8 {
        world.offer_many(usize::from(lane) * 1_000..usize::from(lane) * 1_000 + 1_000, lane).await;
    }
    let mut drawn = [0i32; 3];
    for _ in 0..100 {
        world.take(10).await.iter().for_each(|job| drawn[usize::from(job.lane.0)] += 1);
    }
    for (lane, want) in [600, 300, 100].into_iter().enumerate() {
        assert!((drawn[lane] - want).abs() <= want / 10, "lane {lane}: {drawn:?}");
    }
    assert_eq!(world.take(3_000).await.len(), 2_000, "an empty lane leaves its turns to the others");
}

/// Goal: J6 strict. Method: all of the higher lane first, whatever the order of offers.
async fn lanes_are_drawn_strictly(place: &Place) {
    let world = World::new(place, |settings| settings.strict = true);
    for (row, lane) in [("c", 2), ("b", 1), ("a1", 0), ("a2", 0), ("other", 9)] {
        world.offer(row, lane).await;
    }
    assert_eq!(world.rows_taken(9).await, ["a1", "a2", "b", "other", "c"], "an unknown lane is the default lane");
}

/// Goal: J1's line. Method: one row key in two lines is two jobs.
async fn lines_are_apart(place: &Place) {
    let world = World::new(place, |settings| settings.lease = Duration::from_secs(5));
    let (a, b) = (Name::of("a"), Name::of("ab"));
    let offers = [a, b].map(|line| Offer { key: JobKey { line, row: RowKey::new("1") }, lane: Lane(0), load: Load::default() });
    assert_eq!(world.queue.offer(offers.to_vec()).await, Ok(vec![Offered::Created; 2]));
    assert_eq!(world.queue.take(a, 5).await.unwrap().jobs.len(), 1);
    assert_eq!(world.queue.take(a, 5).await.unwrap().jobs.len(), 0);
    assert_eq!(world.queue.take(b, 5).await.unwrap().jobs.len(), 1);
    assert!(world.queue.take(Name::of("none"), 5).await.unwrap().jobs.is_empty());
    assert!(!world.queue.life().await.unwrap().is_empty());
}
