//! What people and waiting workers see of a queue.

use super::{LINE, World, bodies, bury};
use crate::place::Place;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::{Offered, Verdict};
use widerow::ports::queue::{JobState, LaneCount, Which};
use widerow::settings::OnLate;

bodies!(
    everywhere: [
        counts_and_lists_agree,
        other_states_are_not_released,
        waiting_ends_when_work_comes,
    ],
    not_on_a_cluster: [],
);

// With what lies aside in a database.
#[cfg(all(feature = "mysql", feature = "redis"))]
crate::place::on_mysql!(counts_and_lists_agree);

/// Goal: what people see. Method: one job in each state; counts, lists by state, by row, by line, and the limit.
async fn counts_and_lists_agree(place: &Place) {
    let world = World::new(place, |settings| {
        settings.on_late = OnLate::Park;
        settings.max_pending = 2;
    });
    world.offer("parked", 2).await;
    world.clock.pass(1_200_001);
    assert!(world.take(1).await.is_empty());
    bury(&world, "buried").await;
    world.offer("retry", 2).await;
    let retried = world.take(1).await.remove(0);
    let at = Millis(world.clock.now().0 + 5);
    world.finish(&retried, Verdict::Retry { at, counts: true }).await;
    world.offer("active", 2).await;
    assert_eq!(world.rows_taken(1).await, ["active"]);
    world.offer("waiting", 2).await;
    assert_eq!(world.offer("spilled", 2).await, Offered::Spilled);
    let want = LaneCount {
        waiting: 1,
        retry: 1,
        active: 1,
        parked: 1,
        spilled: 1,
        buried: 0,
        oldest: Some(world.clock.now()),
        // The parked one, offered first of all (J11).
        unfinished: Some(Millis(1_000_000)),
        diverted: false,
    };
    assert_eq!(world.count(2).await, want);
    assert_eq!(world.count(1).await, LaneCount { buried: 1, ..LaneCount::default() });
    for state in JobState::ALL {
        let rows: Vec<String> = world.list(state).await.iter().map(|job| job.key.row.to_string()).collect();
        assert_eq!(rows, [state.label()]);
        let one = Which { row: Some(state.label().into()), ..Which::default() };
        assert_eq!(world.queue.list(one, 10).await.unwrap().len(), 1, "{}", state.label());
    }
    assert_eq!(world.queue.list(Which::default(), 100).await.unwrap().len(), 6);
    assert_eq!(world.queue.list(Which::default(), 4).await.unwrap().len(), 4);
    let other = Which { line: Some(Name::of("other")), ..Which::default() };
    assert!(world.queue.list(other, 10).await.unwrap().is_empty());
}

/// Goal: a clear refusal. Method: release of every state that cannot be released.
async fn other_states_are_not_released(place: &Place) {
    let world = World::new(place, |_| ());
    for state in [JobState::Waiting, JobState::Retry, JobState::Active, JobState::Spilled] {
        let refused = world.queue.release(Which { state: Some(state), ..Which::default() }).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Invalid, "{refused}");
    }
}

/// Goal: `wait`. Method: it does not end while nothing is there (the other side of a select ends first); it ends by an
/// offer, and at once when work is there already.
async fn waiting_ends_when_work_comes(place: &Place) {
    let world = World::new(place, |_| ());
    let line = Name::of(LINE);
    let mut idle = world.queue.wait(line);
    for _ in 0..3 {
        world.queue.counts(line).await.unwrap();
        assert!(futures_util::poll!(&mut idle).is_pending());
    }
    assert_eq!(world.offer("a", 1).await, Offered::Created);
    idle.await;
    world.queue.wait(line).await;
    assert_eq!(world.drain().await, ["a"]);
    // A retry that is due soon ends the waiting too, by the queue's clock.
    world.offer("a", 1).await;
    let job = world.take(1).await.remove(0);
    let idle = world.queue.wait(line);
    world.finish(&job, Verdict::Retry { at: Millis(world.clock.now().0 + 1), counts: true }).await;
    idle.await;
}
