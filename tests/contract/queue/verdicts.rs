//! How a run ends: retries, burial, leases, give-backs, and the hash it leaves (J7, J10, K5).

use super::{World, bodies, bury, key};
use crate::place::Place;
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::{Lane, Load, Offered, Settled, Verdict};
use widerow::ports::queue::{Finish, JobState, LaneCount, Which};

bodies!(
    everywhere: [
        retries_wait_for_their_time,
        buried_jobs_are_listed_and_revived_by_an_offer,
        buried_jobs_are_replayed,
        a_lease_that_ran_out_is_a_failed_try,
        progress_keeps_a_lease,
        a_requeued_job_is_first_again,
        runs_end_in_any_order,
    ],
    not_on_a_cluster: [
        a_follow_up_takes_over_a_retry,
        hashes_go_with_the_jobs_life,
    ],
);

/// Goal: J7. Method: a retry is not taken before its time; counted and uncounted tries.
async fn retries_wait_for_their_time(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer("a", 0).await;
    for (counts, attempts) in [(true, 1), (false, 1), (true, 2)] {
        let job = world.take(1).await.remove(0);
        let at = Millis(world.clock.now().0 + 500);
        assert_eq!(world.finish(&job, Verdict::Retry { at, counts }).await, Settled::Applied);
        assert_eq!(world.count(0).await.retry, 1);
        assert_eq!(world.list(JobState::Retry).await[0].until, Some(at));
        world.clock.pass(499);
        assert!(world.take(1).await.is_empty());
        world.clock.pass(1);
        assert_eq!(world.queue.tend().await, Ok(1), "it moved into its lane");
        assert_eq!(world.list(JobState::Waiting).await[0].attempts, attempts);
    }
    assert_eq!(world.drain().await, ["a"]);
}

/// Goal: J4, J7. Method: a change arrives during a run that then fails: one job, with the tries and load of both.
async fn a_follow_up_takes_over_a_retry(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer_with("a", 0, Load { must_write: true, ..Load::default() }).await;
    let job = world.take(1).await.remove(0);
    world.clock.pass(10);
    world.offer("a", 2).await;
    let at = Millis(world.clock.now().0 + 500);
    assert_eq!(world.finish(&job, Verdict::Retry { at, counts: true }).await, Settled::GaveWay);
    assert!(world.take(5).await.is_empty(), "it waits as the retry did");
    world.clock.pass(500);
    let job = world.take(5).await.remove(0);
    assert_eq!((job.lane, job.attempts, job.load.must_write), (Lane(0), 1, true));
    assert_eq!(job.load.first_offered, Millis(1_000_000), "ages count from the older");
}

/// Goal: J7. Method: bury, look, offer again: it runs with all its tries and a new age.
async fn buried_jobs_are_listed_and_revived_by_an_offer(place: &Place) {
    let world = World::new(place, |_| ());
    bury(&world, "a").await;
    assert!(world.take(1).await.is_empty());
    let listed = world.list(JobState::Buried).await.remove(0);
    assert_eq!((listed.key, listed.reason.as_deref(), listed.attempts), (key("a"), Some("no mapping"), 1));
    assert_eq!(world.count(1).await, LaneCount { buried: 1, ..LaneCount::default() });
    world.clock.pass(99_000);
    assert_eq!(world.offer("a", 1).await, Offered::Created);
    let job = world.take(1).await.remove(0);
    assert_eq!((job.attempts, job.load.first_offered), (0, Millis(1_099_000)));
    let unfinished = Some(Millis(1_099_000));
    assert_eq!(world.count(1).await, LaneCount { active: 1, unfinished, ..LaneCount::default() });
}

/// Goal: a replay by hand. Method: release of one row, of a line, of another line.
async fn buried_jobs_are_replayed(place: &Place) {
    let world = World::new(place, |_| ());
    for row in ["a", "b", "c"] {
        bury(&world, row).await;
    }
    let which = Which { state: Some(JobState::Buried), ..Which::default() };
    assert_eq!(world.queue.release(Which { row: Some("b".into()), ..which.clone() }).await, Ok(1));
    assert_eq!(world.rows_taken(5).await, ["b"]);
    assert_eq!(world.queue.release(Which { line: Some(Name::of("other")), ..which.clone() }).await, Ok(0));
    assert_eq!(world.queue.release(Which::default()).await, Ok(0), "without a state: parked ones");
    assert_eq!(world.queue.release(which).await, Ok(2));
    assert_eq!(world.drain().await, ["a", "c"]);
}

/// Goal: J10. Method: the clock passes the lease; the verdict comes too late; the job runs again with one try used.
async fn a_lease_that_ran_out_is_a_failed_try(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer("a", 1).await;
    let job = world.take(1).await.remove(0);
    world.clock.pass(30_000);
    assert_eq!(world.queue.tend().await, Ok(0), "at its end a lease still holds");
    world.clock.pass(1);
    assert_ne!(world.queue.tend().await, Ok(0));
    let again = world.take(1).await.remove(0);
    assert_eq!((again.attempts, &again.key), (1, &job.key));
    assert_eq!(world.finish_with(&job, Verdict::Done, Some(1)).await, Settled::LeaseGone);
    assert_eq!(world.finish(&again, Verdict::Done).await, Settled::Applied);
    world.offer("a", 1).await;
    assert_eq!(world.take(1).await[0].last_document, None, "K5: only a valid lease leaves a hash");
}

/// Goal: `extend`. Method: one of two leases is extended before both would end.
async fn progress_keeps_a_lease(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer("a", 1).await;
    world.offer("b", 1).await;
    // Jobs of one taking may share a lease, so they are taken one by one.
    let jobs = [world.take(1).await.remove(0), world.take(1).await.remove(0)];
    world.clock.pass(20_000);
    let wrong = (key("b"), jobs[0].lease);
    world.queue.extend(vec![(jobs[0].key.clone(), jobs[0].lease), wrong]).await.unwrap();
    world.clock.pass(20_000);
    world.queue.tend().await.unwrap();
    assert_eq!(world.finish(&jobs[0], Verdict::Done).await, Settled::Applied);
    assert_eq!(world.finish(&jobs[1], Verdict::Done).await, Settled::LeaseGone);
}

/// Goal: a drain's give-back. Method: of three taken the second goes back: no try used, before those behind it.
async fn a_requeued_job_is_first_again(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer_many(0..5, 1).await;
    let jobs = world.take(3).await;
    assert_eq!(world.finish(&jobs[1], Verdict::Requeue).await, Settled::Applied);
    let next = world.take(2).await;
    assert_eq!((&next[0].key, next[0].attempts), (&jobs[1].key, 0));
    assert_eq!(next[1].key, key("r00003"));
}

/// Goal: each run ends once, whatever order verdicts come in. Method: thirty runs of two lanes, ended in batches from the
/// middle, the newest and the oldest, one of them named twice; after each batch how many still run.
async fn runs_end_in_any_order(place: &Place) {
    let world = World::new(place, |_| ());
    world.offer_many(0..15, 1).await;
    world.offer_many(15..30, 2).await;
    let jobs = world.take(30).await;
    let mut running = 30;
    for batch in [vec![14, 3, 27], vec![29, 28, 29], vec![0, 1, 2, 4], (5..27).filter(|i| *i != 14).rev().collect()] {
        let ended = |i: &usize| {
            let job = &jobs[*i];
            Finish { key: job.key.clone(), lease: job.lease, verdict: Verdict::Done, document: None }
        };
        let settled = world.queue.finish(batch.iter().map(ended).collect()).await.unwrap();
        let mut seen = std::collections::HashSet::new();
        for (i, settled) in batch.iter().zip(settled) {
            let first = seen.insert(*i);
            assert_eq!(settled, if first { Settled::Applied } else { Settled::LeaseGone }, "run {i}");
        }
        running -= seen.len() as u64;
        assert_eq!(world.count(1).await.active + world.count(2).await.active, running);
    }
    assert_eq!(running, 0);
    assert!(world.take(5).await.is_empty());
}

/// Goal: K5. Method: a hash is put by a done run, removed by the next taking, not left by a failed one, ends after 1 h.
async fn hashes_go_with_the_jobs_life(place: &Place) {
    let world = World::new(place, |_| ());
    let run = async |verdict: Verdict, document| {
        world.offer("a", 1).await;
        let job = world.take(1).await.remove(0);
        assert_eq!(world.finish_with(&job, verdict, document).await, Settled::Applied);
        job.last_document
    };
    let now = Verdict::Retry { at: Millis(0), counts: true };
    assert_eq!(run(Verdict::Done, Some(7)).await, None);
    assert_eq!(run(Verdict::Done, Some(8)).await, Some(7));
    assert_eq!(run(now, Some(9)).await, Some(8));
    assert_eq!(run(Verdict::Done, None).await, None, "a failed run leaves none, and the taking had removed it");
    assert_eq!(run(Verdict::Done, Some(10)).await, None);
    world.clock.pass(3_600_000);
    world.queue.tend().await.unwrap();
    assert_eq!(run(Verdict::Done, Some(11)).await, None, "it ended");
    // A follow-up sees the hash of the run before it, whatever its lane.
    world.offer("a", 1).await;
    let job = world.take(1).await.remove(0);
    world.offer("a", 0).await;
    world.finish_with(&job, Verdict::Done, Some(12)).await;
    assert_eq!(world.take(1).await[0].last_document, Some(12));
}
