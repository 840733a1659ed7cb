//! The queue against I7: every offer is followed by a take of its key that starts later; and J2: runs do not overlap.
//!
//! Method: random histories of offers, takings, verdicts, time, upkeep, releases, failing calls and (embedded) reopening; then
//! everything aside is released and the queue drained. A small model only remembers when each key was last offered and taken.

use crate::place::{Place, TestClock, run, settings};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Millis, Name, RowKey};
use widerow::domain::job::{JobKey, Lane, Lease, Load, Offer, Settled, Verdict};
use widerow::io::memory::{Call, MemoryQueue};
use widerow::ports::queue::{Finish, JobQueue, JobState, Taken, Which};
use widerow::settings::{OnLate, Queue};

#[derive(Clone, Debug)]
enum Step {
    Offer(Vec<(u8, u8)>),
    Take(usize),
    /// The nth held job, modulo how many there are.
    Finish(usize, Ended),
    Extend(usize),
    Pass(i64),
    Tend,
    Release(JobState),
    /// Embedded: closed and opened. Memory: the next offer, taking or finish fails or loses its answer.
    Disturb(u8),
}

#[derive(Clone, Copy, Debug)]
enum Ended {
    Done,
    Retry(i64, bool),
    Bury,
    Requeue,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ended = prop_oneof![
        4 => Just(Ended::Done),
        2 => (0..400i64, any::<bool>()).prop_map(|(after, counts)| Ended::Retry(after, counts)),
        1 => Just(Ended::Bury),
        1 => Just(Ended::Requeue),
    ];
    let step = prop_oneof![
        6 => prop::collection::vec((0..12u8, 0..3u8), 1..6).prop_map(Step::Offer),
        5 => (1..5usize).prop_map(Step::Take),
        5 => (any::<usize>(), ended).prop_map(|(n, ended)| Step::Finish(n, ended)),
        1 => any::<usize>().prop_map(Step::Extend),
        3 => (1..700i64).prop_map(Step::Pass),
        2 => Just(Step::Tend),
        1 => prop_oneof![Just(JobState::Parked), Just(JobState::Buried)].prop_map(Step::Release),
        1 => any::<u8>().prop_map(Step::Disturb),
    ];
    prop::collection::vec(step, 1..80)
}

fn rules(on_late: OnLate, strict: bool, max_pending: usize) -> Queue {
    let (expire_after, lease) = (Duration::from_secs(2), Duration::from_millis(500));
    Queue { on_late, strict, max_pending, expire_after, lease, ..settings() }
}

fn late() -> impl Strategy<Value = OnLate> {
    prop_oneof![Just(OnLate::Run), Just(OnLate::Park), Just(OnLate::Drop)]
}

fn line() -> Name {
    Name::of("model")
}

struct Model<'a> {
    place: &'a Place,
    settings: Queue,
    clock: TestClock,
    queue: Option<Arc<dyn JobQueue>>,
    memory: Option<MemoryQueue>,
    held: Vec<Taken>,
    time: u64,
    offered: HashMap<JobKey, u64>,
    taken: HashMap<JobKey, u64>,
    /// Keys whose lease still holds, with its end.
    running: HashMap<JobKey, (Lease, Millis)>,
}

impl Model<'_> {
    fn queue(&self) -> &dyn JobQueue {
        self.queue.as_deref().unwrap()
    }

    fn open(&mut self) {
        self.queue = None;
        if let Place::Memory = self.place {
            let memory = MemoryQueue::new(&self.settings, self.clock.as_clock());
            self.memory = Some(memory.clone());
            self.queue = Some(Arc::new(memory));
        } else {
            self.queue = Some(self.place.queue(&self.settings, &self.clock));
        }
    }

    async fn step(&mut self, step: Step) {
        self.time += 1;
        match step {
            Step::Offer(offers) => {
                let offers: Vec<Offer> = offers.into_iter().map(|(row, lane)| offer(row, lane)).collect();
                // A failed offer is made again until it is accepted, as J5 has it.
                while self.queue().offer(offers.clone()).await.is_err() {}
                for offer in offers {
                    self.offered.insert(offer.key, self.time);
                }
            }
            Step::Take(max) => self.take(max).await,
            Step::Finish(n, ended) => self.finish(n, ended).await,
            Step::Extend(n) if !self.held.is_empty() => {
                let job = &self.held[n % self.held.len()];
                self.queue().extend(vec![(job.key.clone(), job.lease)]).await.unwrap();
                if let Some((_, until)) = self.running.get_mut(&job.key).filter(|(lease, _)| *lease == job.lease) {
                    *until = Millis(self.clock.now().0 + 500).max(*until);
                }
            }
            Step::Extend(_) => {}
            Step::Pass(ms) => self.clock.pass(ms),
            Step::Tend => {
                self.queue().tend().await.unwrap();
                let now = self.clock.now();
                self.running.retain(|_, (_, until)| *until >= now);
            }
            Step::Release(state) => {
                self.queue().release(Which { state: Some(state), ..Which::default() }).await.unwrap();
            }
            Step::Disturb(how) => self.disturb(how),
        }
    }

    fn disturb(&mut self, how: u8) {
        let Some(memory) = &self.memory else {
            self.open();
            self.held.clear();
            self.running.clear();
            return;
        };
        let fault = Fault::new(FaultKind::Unreachable, "script", "no answer");
        let call = [Call::Offer, Call::Take, Call::Finish][usize::from(how) % 3];
        if how.is_multiple_of(2) {
            memory.script().fail_next(call, 1, &fault);
        } else {
            memory.script().lose_next(call, 1, &fault);
        }
    }

    async fn take(&mut self, max: usize) {
        let Ok(batch) = self.queue().take(line(), max).await else { return };
        assert!(batch.jobs.len() <= max);
        let now = self.clock.now();
        let distinct: HashSet<&JobKey> = batch.jobs.iter().map(|job| &job.key).collect();
        assert_eq!(distinct.len(), batch.jobs.len());
        for job in batch.jobs {
            let before = self.running.insert(job.key.clone(), (job.lease, Millis(now.0 + 500)));
            assert_eq!(before, None, "J2: {:?} runs twice at {now:?}", job.key);
            self.taken.insert(job.key.clone(), self.time);
            self.held.push(job);
        }
    }

    async fn finish(&mut self, n: usize, ended: Ended) {
        if self.held.is_empty() {
            return;
        }
        let job = self.held.swap_remove(n % self.held.len());
        let verdict = match ended {
            Ended::Done => Verdict::Done,
            Ended::Retry(after, counts) => Verdict::Retry { at: Millis(self.clock.now().0 + after), counts },
            Ended::Bury => Verdict::Bury { reason: "never".into() },
            Ended::Requeue => Verdict::Requeue,
        };
        let finish = Finish { key: job.key.clone(), lease: job.lease, verdict, document: Some(1) };
        // A verdict whose answer was lost is not given again: the lease ends by itself (J10).
        let Ok(settled) = self.queue().finish(vec![finish]).await else {
            self.running.remove(&job.key);
            return;
        };
        if settled[0] != Settled::LeaseGone {
            self.running.remove(&job.key);
            // A job that goes on owes a run that starts later, like an offer.
            if !matches!(ended, Ended::Done) {
                self.offered.insert(job.key, self.time);
            }
        }
    }

    /// Everything aside comes back and runs.
    async fn drain(&mut self) {
        self.held.clear();
        self.running.clear();
        for round in 0.. {
            assert!(round < 200, "the queue does not run empty: {:?}", self.queue().list(Which::default(), 100).await);
            self.time += 1;
            self.clock.pass(1_000);
            let _ = self.queue().tend().await;
            for state in [JobState::Parked, JobState::Buried] {
                let _ = self.queue().release(Which { state: Some(state), ..Which::default() }).await;
            }
            self.take(50).await;
            while !self.held.is_empty() {
                self.finish(0, Ended::Done).await;
            }
            let left = self.queue().list(Which::default(), 100).await.unwrap();
            if left.is_empty() {
                break;
            }
        }
        let counts = self.queue().counts(line()).await.unwrap();
        assert!(counts.iter().all(|count| *count == Default::default()), "{counts:?}");
    }
}

fn offer(row: u8, lane: u8) -> Offer {
    Offer { key: JobKey { line: line(), row: RowKey::new(&row.to_string()) }, lane: Lane(lane), load: Load::default() }
}

async fn history(place: &Place, settings: Queue, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model {
        place,
        settings,
        clock: TestClock::at(1),
        queue: None,
        memory: None,
        held: vec![],
        time: 0,
        offered: HashMap::new(),
        taken: HashMap::new(),
        running: HashMap::new(),
    };
    model.open();
    for step in steps {
        model.step(step).await;
    }
    model.drain().await;
    for (key, offered) in &model.offered {
        // A taking whose answer was lost ran nowhere we saw; its lease ended and the job came again, so this holds too.
        let taken = model.taken.get(key);
        prop_assert!(taken.is_some_and(|taken| taken > offered), "I7: {key:?} offered at {offered}, last taken at {taken:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: I7 and J2 in memory, with scripted faults.
    #[test]
    fn every_offer_is_followed_by_a_take_in_memory(steps in steps(), on_late in late(), strict: bool, max in 1..8usize) {
        run(history(&Place::Memory, rules(on_late, strict, max), steps))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: I7 and J2 in the embedded queue, with reopening.
    #[test]
    fn every_offer_is_followed_by_a_take_embedded(steps in steps(), on_late in late(), strict: bool, max in 1..8usize) {
        run(history(&Place::embedded(), rules(on_late, strict, max), steps))?;
    }
}

#[cfg(feature = "redis")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: I7 and J2 on Redis, with another process taking over.
    #[test]
    fn every_offer_is_followed_by_a_take_on_redis(steps in steps(), on_late in late(), strict: bool, max in 1..8usize) {
        run(history(&Place::redis(), rules(on_late, strict, max), steps))?;
    }
}
