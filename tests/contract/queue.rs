//! What every queue promises (J1–J10, K5). Times are the test's own clock.

#[cfg(all(feature = "mysql", feature = "redis"))]
mod in_mysql;
mod late;
mod looks;
mod offers;
mod overflow;
mod verdicts;

use crate::place::{Place, TestClock, settings};
use std::sync::Arc;
use widerow::domain::ids::{Name, RowKey};
use widerow::domain::job::{JobKey, Lane, Load, Offer, Offered, Settled, Verdict};
use widerow::ports::queue::{Finish, JobQueue, JobState, LaneCount, Taken, Which};
use widerow::settings::Queue;

/// Runs bodies on every queue. A cluster cannot keep two promises over several lanes: J2 between lanes, and K5.
macro_rules! bodies {
    (everywhere: [$($body:ident),* $(,)?], not_on_a_cluster: [$($single:ident),* $(,)?] $(,)?) => {
        crate::place::on_both!($($body,)* $($single),*);
        #[cfg(feature = "redis")]
        crate::place::on_redis!($($body,)* $($single),*);
        #[cfg(feature = "redis")]
        crate::place::on_cluster!($($body),*);
    };
}
use bodies;

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

async fn bury(world: &World, row: &str) {
    world.offer(row, 1).await;
    let job = world.take(1).await.remove(0);
    assert_eq!(world.finish(&job, Verdict::Bury { reason: "no mapping".into() }).await, Settled::Applied);
}
