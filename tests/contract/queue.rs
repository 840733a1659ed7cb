//! What every queue promises (J1–J10, K5). Times are the test's own clock.

use crate::place::{Place, TestClock, on_both, settings};
use std::sync::Arc;
use std::time::Duration;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Millis, Name, RowKey};
use widerow::domain::job::{JobKey, Lane, Load, Offer, Offered, Settled, Verdict};
use widerow::ports::queue::{Finish, JobQueue, JobState, LaneCount, Taken, Which};
use widerow::settings::{OnLate, Queue};

macro_rules! everywhere {
    ($($body:ident),* $(,)?) => {
        on_both!($($body),*);
        #[cfg(feature = "redis")]
        crate::place::on_redis!($($body),*);
    };
}

everywhere!(
    offers_coalesce_onto_a_job_that_has_not_started,
    a_running_job_gets_a_follow_up_that_waits_for_it,
    loads_unite_and_lanes_only_rise,
    times_and_flags_unite_without_types,
    lanes_are_drawn_by_weight,
    lanes_are_drawn_strictly,
    retries_wait_for_their_time,
    a_follow_up_takes_over_a_retry,
    buried_jobs_are_listed_and_revived_by_an_offer,
    buried_jobs_are_replayed,
    late_jobs_run_by_default,
    late_jobs_are_parked_and_come_back,
    parked_jobs_are_released_by_hand,
    late_jobs_are_dropped_and_listed,
    a_full_lane_spills_and_takes_back_in_order,
    a_spilled_job_survives_offers_of_every_kind,
    a_change_during_an_overflow_run_is_not_lost,
    released_jobs_do_not_overfill_a_lane,
    a_lease_that_ran_out_is_a_failed_try,
    progress_keeps_a_lease,
    a_requeued_job_is_first_again,
    runs_end_in_any_order,
    hashes_go_with_the_jobs_life,
    counts_and_lists_agree,
    other_states_are_not_released,
    waiting_ends_when_work_comes,
    lines_are_apart,
);

// Without the two promises a cluster cannot keep over several lanes: J2 between lanes, K5.
#[cfg(feature = "redis")]
crate::place::on_cluster!(
    offers_coalesce_onto_a_job_that_has_not_started,
    a_running_job_gets_a_follow_up_that_waits_for_it,
    loads_unite_and_lanes_only_rise,
    times_and_flags_unite_without_types,
    lanes_are_drawn_by_weight,
    lanes_are_drawn_strictly,
    retries_wait_for_their_time,
    buried_jobs_are_listed_and_revived_by_an_offer,
    buried_jobs_are_replayed,
    late_jobs_run_by_default,
    late_jobs_are_parked_and_come_back,
    parked_jobs_are_released_by_hand,
    late_jobs_are_dropped_and_listed,
    a_full_lane_spills_and_takes_back_in_order,
    a_spilled_job_survives_offers_of_every_kind,
    a_change_during_an_overflow_run_is_not_lost,
    released_jobs_do_not_overfill_a_lane,
    a_lease_that_ran_out_is_a_failed_try,
    progress_keeps_a_lease,
    a_requeued_job_is_first_again,
    runs_end_in_any_order,
    counts_and_lists_agree,
    other_states_are_not_released,
    waiting_ends_when_work_comes,
    lines_are_apart,
);

// What touches the overflow, with that in a database.
#[cfg(all(feature = "mysql", feature = "redis"))]
crate::place::on_mysql!(
    buried_jobs_are_replayed,
    late_jobs_are_parked_and_come_back,
    parked_jobs_are_released_by_hand,
    a_full_lane_spills_and_takes_back_in_order,
    a_spilled_job_survives_offers_of_every_kind,
    a_change_during_an_overflow_run_is_not_lost,
    released_jobs_do_not_overfill_a_lane,
    counts_and_lists_agree,
    lines_are_apart,
    what_overflowed_outlives_the_node,
    people_read_the_overflow,
);

const LINE: &str = "search";

struct World {
    queue: Arc<dyn JobQueue>,
    clock: TestClock,
}

impl World {
    fn new(place: &Place, change: impl FnOnce(&mut Queue)) -> Self {
        let (mut settings, clock) = (settings(), TestClock::at(1_000_000));
        change(&mut settings);
        Self { queue: place.queue(&settings, &clock), clock }
    }

    async fn offer(&self, row: &str, lane: u8) -> Offered {
        self.offer_with(row, lane, Load::default()).await
    }

    async fn offer_with(&self, row: &str, lane: u8, load: Load) -> Offered {
        self.queue.offer(vec![Offer { key: key(row), lane: Lane(lane), load }]).await.unwrap().remove(0)
    }

    async fn offer_many(&self, rows: std::ops::Range<usize>, lane: u8) -> Vec<Offered> {
        let offer = |i: usize| Offer { key: key(&format!("r{i:05}")), lane: Lane(lane), load: Load::default() };
        self.queue.offer(rows.map(offer).collect()).await.unwrap()
    }

    async fn take(&self, max: usize) -> Vec<Taken> {
        self.queue.take(Name::of(LINE), max).await.unwrap().jobs
    }

    async fn rows_taken(&self, max: usize) -> Vec<String> {
        self.take(max).await.into_iter().map(|job| job.key.row.to_string()).collect()
    }

    async fn finish(&self, job: &Taken, verdict: Verdict) -> Settled {
        self.finish_with(job, verdict, None).await
    }

    async fn finish_with(&self, job: &Taken, verdict: Verdict, document: Option<u64>) -> Settled {
        let finish = Finish { key: job.key.clone(), lease: job.lease, verdict, document };
        self.queue.finish(vec![finish]).await.unwrap().remove(0)
    }

    async fn count(&self, lane: u8) -> LaneCount {
        self.queue.counts(Name::of(LINE)).await.unwrap()[usize::from(lane)]
    }

    async fn list(&self, state: JobState) -> Vec<widerow::ports::queue::Listed> {
        self.queue.list(Which { state: Some(state), ..Which::default() }, 1_000).await.unwrap()
    }

    /// Takes and finishes until nothing is left; the rows in order.
    async fn drain(&self) -> Vec<String> {
        let mut rows = Vec::new();
        loop {
            let jobs = self.take(7).await;
            if jobs.is_empty() {
                return rows;
            }
            let ended = |job: &Taken| Finish { key: job.key.clone(), lease: job.lease, verdict: Verdict::Done, document: None };
            let settled = self.queue.finish(jobs.iter().map(ended).collect()).await.unwrap();
            assert!(settled.iter().all(|settled| *settled == Settled::Applied));
            rows.extend(jobs.into_iter().map(|job| job.key.row.to_string()));
        }
    }
}

fn key(row: &str) -> JobKey {
    JobKey { line: Name::of(LINE), row: RowKey::new(row) }
}

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

async fn bury(world: &World, row: &str) {
    world.offer(row, 1).await;
    let job = world.take(1).await.remove(0);
    assert_eq!(world.finish(&job, Verdict::Bury { reason: "no mapping".into() }).await, Settled::Applied);
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

/// Goal: J9: the ledger is not the node's. Method: 30 of 31 jobs spill; another queue on the same places works all of them, in
/// order, with what they carried.
#[cfg(all(feature = "mysql", feature = "redis"))]
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
#[cfg(all(feature = "mysql", feature = "redis"))]
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
