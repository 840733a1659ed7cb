//! Jobs that are older than allowed: run, parked, dropped (J8).

use super::{LINE, World, bodies, key};
use crate::place::Place;
use widerow::domain::ids::Name;
use widerow::domain::job::Offered;
use widerow::ports::queue::{JobState, Which};
use widerow::settings::OnLate;

bodies!(
    everywhere: [
        late_jobs_run_by_default,
        late_jobs_are_parked_and_come_back,
        parked_jobs_are_released_by_hand,
        late_jobs_are_dropped_and_listed,
    ],
    not_on_a_cluster: [],
);

// With what lies aside in a database.
#[cfg(all(feature = "mysql", feature = "redis"))]
crate::place::on_mysql!(late_jobs_are_parked_and_come_back, parked_jobs_are_released_by_hand);

/// Goal: J8 `run`. Method: a job far older than allowed is handed out.
async fn late_jobs_run_by_default(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer("a", 1).await;
    world.clock.pass(9_999_999);
    assert_eq!(world.drain().await, ["a"]);
}

/// Goal: J8 `park`. Method: late ones go aside at the taking, stay while their lane works, come back when it is calm,
/// and then run whatever their age.
async fn late_jobs_are_parked_and_come_back(place: &Place) {
    let world = World::new(place, |settings| settings.on_late = OnLate::Park);
    world.offer("late1", 1).await;
    world.offer("late2", 1).await;
    world.clock.pass(1_200_000);
    assert_eq!(world.offer("late1", 1).await, Offered::Coalesced, "its age stays");
    world.offer("new", 1).await;
    world.offer("new2", 1).await;
    world.clock.pass(1);
    let batch = world.queue.take(Name::of(LINE), 1).await.unwrap();
    assert_eq!((batch.parked, batch.dropped, batch.jobs.len()), (2, 0, 1));
    assert_eq!(batch.jobs[0].key, key("new"));
    assert_eq!(world.count(1).await.parked, 2);
    assert_eq!(world.queue.tend().await, Ok(0), "the lane is not calm");
    assert_eq!(world.offer("late2", 1).await, Offered::Coalesced, "a change of a parked row stays with it");
    assert_eq!(world.rows_taken(1).await, ["new2"]);
    assert_eq!(world.queue.tend().await, Ok(2));
    assert_eq!(world.count(1).await.parked, 0);
    assert_eq!(world.rows_taken(5).await, ["late1", "late2"]);
}

/// Goal: the command. Method: a parked job comes back beside a lane that is busy.
async fn parked_jobs_are_released_by_hand(place: &Place) {
    let world = World::new(place, |settings| settings.on_late = OnLate::Park);
    world.offer("late", 1).await;
    world.clock.pass(1_200_001);
    assert!(world.take(1).await.is_empty());
    world.offer("new", 1).await;
    assert_eq!(world.list(JobState::Parked).await[0].key, key("late"));
    assert_eq!(world.queue.release(Which::default()).await, Ok(1));
    assert_eq!(world.queue.release(Which::default()).await, Ok(0));
    assert_eq!(world.drain().await, ["new", "late"]);
}

/// Goal: J8 `drop`. Method: counted at the taking, listed with the reason, revived by a change.
async fn late_jobs_are_dropped_and_listed(place: &Place) {
    let world = World::new(place, |settings| settings.on_late = OnLate::Drop);
    world.offer("a", 1).await;
    world.clock.pass(1_300_000);
    let batch = world.queue.take(Name::of(LINE), 1).await.unwrap();
    assert_eq!((batch.parked, batch.dropped, batch.jobs.len()), (0, 1, 0));
    let listed = world.list(JobState::Buried).await.remove(0);
    assert_eq!(listed.reason.as_deref(), Some("late: waited 1300 s, 1200 s are allowed"));
    assert_eq!(world.offer("a", 1).await, Offered::Created);
    assert_eq!(world.drain().await, ["a"]);
}
