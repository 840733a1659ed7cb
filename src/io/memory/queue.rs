//! The queue in memory: the job book with a shelf in memory.

use super::{Call, Script};
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{JobKey, Lease, Offer, Offered, Settled};
use crate::io::jobbook::wait::{Bells, Clock};
use crate::io::jobbook::{JobBook, MemoryShelf, Rules};
use crate::ports::Answer;
use crate::ports::queue::{Batch, Finish, JobQueue, LaneCount, Listed, Which};
use crate::settings::Queue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The door to the jobs. A clone is the same queue.
#[derive(Clone)]
pub struct MemoryQueue {
    inner: Arc<Inner>,
}

struct Inner {
    book: Mutex<JobBook<MemoryShelf>>,
    rules: Rules,
    bells: Bells,
    clock: Clock,
    life: AtomicU64,
    script: Script,
}

/// Leases one life may give out.
const LEASES_PER_LIFE: u64 = 1 << 40;

impl MemoryQueue {
    pub fn new(settings: &Queue, clock: Clock) -> Self {
        let (rules, bells) = (Rules::from(settings), Bells::default());
        let book = Mutex::new(JobBook::new(rules.clone(), MemoryShelf::default(), bells.clone(), LEASES_PER_LIFE));
        let inner = Inner { book, rules, bells, clock, life: AtomicU64::new(1), script: Script::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Faults to come.
    pub fn script(&self) -> &Script {
        &self.inner.script
    }

    /// J11: the queue loses everything and lives another life.
    pub fn lose_everything(&self) {
        let life = self.inner.life.fetch_add(1, Ordering::AcqRel) + 1;
        let empty = JobBook::new(
            self.inner.rules.clone(),
            MemoryShelf::default(),
            self.inner.bells.clone(),
            life.saturating_mul(LEASES_PER_LIFE),
        );
        *self.inner.book.lock().unwrap_or_else(|e| e.into_inner()) = empty;
    }

    fn step<T>(&self, call: Call, step: impl FnOnce(&mut JobBook<MemoryShelf>, Millis) -> Result<T, Fault>) -> Result<T, Fault> {
        let Inner { book, clock, script, .. } = &*self.inner;
        script.play(call, || step(&mut book.lock().unwrap_or_else(|e| e.into_inner()), clock()))
    }
}

impl JobQueue for MemoryQueue {
    fn offer(&self, offers: Vec<Offer>) -> Answer<'_, Result<Vec<Offered>, Fault>> {
        Box::pin(async move { self.step(Call::Offer, |book, now| book.offer(now, offers)) })
    }

    fn take(&self, line: Name, max: usize) -> Answer<'_, Result<Batch, Fault>> {
        Box::pin(async move { self.step(Call::Take, |book, now| book.take(now, line, max)) })
    }

    fn finish(&self, verdicts: Vec<Finish>) -> Answer<'_, Result<Vec<Settled>, Fault>> {
        Box::pin(async move { self.step(Call::Finish, |book, now| book.finish(now, verdicts)) })
    }

    fn extend(&self, leases: Vec<(JobKey, Lease)>) -> Answer<'_, Result<(), Fault>> {
        let extend = move |book: &mut JobBook<MemoryShelf>, now| {
            book.extend(now, leases);
            Ok(())
        };
        Box::pin(async move { self.step(Call::Tend, extend) })
    }

    fn wait(&self, line: Name) -> Answer<'_, ()> {
        let Inner { book, bells, clock, .. } = &*self.inner;
        Box::pin(async move {
            let outlook = || async { book.lock().unwrap_or_else(|e| e.into_inner()).outlook(line, clock()) };
            bells.wait(line, clock, outlook).await;
        })
    }

    fn tend(&self) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move { self.step(Call::Tend, |book, now| book.tend(now)) })
    }

    fn counts(&self, line: Name) -> Answer<'_, Result<Vec<LaneCount>, Fault>> {
        Box::pin(async move { self.step(Call::Read, |book, _| book.counts(line)) })
    }

    fn list(&self, which: Which, max: usize) -> Answer<'_, Result<Vec<Listed>, Fault>> {
        Box::pin(async move { self.step(Call::Read, |book, _| book.list(&which, max)) })
    }

    fn release(&self, which: Which) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move { self.step(Call::Tend, |book, _| book.release(&which)) })
    }

    fn life(&self) -> Answer<'_, Result<String, Fault>> {
        let life = self.inner.life.load(Ordering::Acquire).to_string();
        Box::pin(async move { self.inner.script.play(Call::Read, || Ok(life)) })
    }
}
