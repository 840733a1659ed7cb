//! The queue in the embedded store: the job book (`io/jobbook`) with fjall as its shelf.
//!
//! Keeps J5: what was offered or finished is synced before the answer. Every key that has a job lies in `jobs`; those
//! aside (parked, spilled, buried) also in `overflow`, in order: line, lane, kind, sequence → row key.
//! Keeps J11's life: a text made with the store; hashes (K5) do not outlive the process.
//! Jobs of lines that are no longer configured stay and are listed. Knows nothing of workers.

use super::codec::{Packer, Unpacker, after_prefix, as_text, scoped, unscoped};
use super::job_format::{self, LaneNames};
use super::rows::check_key;
use super::{EmbeddedStore, blocking};
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{JobKey, Lane, Lease, Offer, Offered, Settled};
use crate::io::jobbook::wait::{Bells, Clock};
use crate::io::jobbook::{Aside, Change, Entry, Filed, JobBook, Outlook, Rules, Shelf};
use crate::ports::Answer;
use crate::ports::queue::{Batch, Finish, JobQueue, LaneCount, Listed, Which};
use crate::settings::Queue;
use std::sync::{Arc, Mutex};

/// Keys of `meta` that are the queue's.
const LIFE: &[u8] = b"q:life";
const OPENINGS: &[u8] = b"q:openings";
/// Leases one opening may give out: each opening counts from its own number, so no lease is given twice.
const LEASES_PER_OPENING: u64 = 1 << 40;
/// Changes of one batch while jobs are admitted.
const ADMITTED_PER_BATCH: usize = 3_000;

/// The door to the jobs.
#[derive(Clone)]
pub struct EmbeddedQueue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<EmbeddedStore>,
    book: Mutex<JobBook<FjallShelf>>,
    bells: Bells,
    clock: Clock,
    life: String,
}

impl EmbeddedQueue {
    /// The queue of an open store, with every job it holds. A store has one such door.
    ///
    /// # Errors
    /// `corrupt` naming the job that cannot be read; the store's.
    pub fn open(store: Arc<EmbeddedStore>, settings: &Queue, clock: Clock) -> Result<Self, Fault> {
        let lanes = LaneNames { names: settings.lanes.iter().map(|(name, _)| *name).collect(), default: settings.default_lane };
        let (life, opening) = begin_life(&store, clock())?;
        let bells = Bells::default();
        let shelf = FjallShelf { store: store.clone(), lanes };
        let mut book = JobBook::new(Rules::from(settings), shelf, bells.clone(), opening.saturating_mul(LEASES_PER_OPENING));
        admit_all(&store, &mut book)?;
        store.sync()?;
        Ok(Self { inner: Arc::new(Inner { store, book: Mutex::new(book), bells, clock, life }) })
    }

    /// Runs one step of the book, and syncs what it put on the shelf.
    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut JobBook<FjallShelf>, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = self.inner.clone();
        blocking(move || {
            let answer = step(&mut inner.book.lock().unwrap_or_else(|e| e.into_inner()), (inner.clock)())?;
            inner.store.sync()?;
            Ok(answer)
        })
        .await
    }

    /// As [`EmbeddedQueue::step`], for steps whose loss is harmless.
    async fn step_unsynced<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut JobBook<FjallShelf>, Millis) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = self.inner.clone();
        blocking(move || step(&mut inner.book.lock().unwrap_or_else(|e| e.into_inner()), (inner.clock)())).await
    }
}

/// J11: the life's name, made once, and the number of this opening.
fn begin_life(store: &EmbeddedStore, now: Millis) -> Result<(String, u64), Fault> {
    let corrupt = |what| store.corrupt("the queue's life", what);
    let opening = match store.get(&store.meta, OPENINGS)? {
        Some(bytes) => Unpacker::new(&bytes).varint().map_err(corrupt)?.saturating_add(1),
        None => 1,
    };
    let held = store.get(&store.meta, LIFE)?;
    let life = match &held {
        Some(bytes) => as_text(bytes).map_err(corrupt)?.to_owned(),
        None => format!("{:x}-{:016x}", now.0, chance()),
    };
    let mut batch = store.batch();
    let mut number = Packer::default();
    number.varint(opening);
    batch.insert(&store.meta, OPENINGS, number.0);
    if held.is_none() {
        batch.insert(&store.meta, LIFE, life.as_str());
    }
    store.commit(batch)?;
    Ok((life, opening))
}

/// A number that two stores made in one millisecond do not share.
fn chance() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Hands every stored job to the book. What is no longer as it was stored (what ran waits again, a lane is gone) is stored
/// anew, because the overflow is found by lane.
fn admit_all(store: &Arc<EmbeddedStore>, book: &mut JobBook<FjallShelf>) -> Result<(), Fault> {
    let mut changed = store.batch();
    for entry in store.jobs.iter() {
        let (key_bytes, value) = entry.into_inner().map_err(|e| store.read_fault(&e))?;
        let key = job_key(&key_bytes).map_err(|e| store.corrupt("a job's key", e))?;
        let lanes = &book.shelf().lanes;
        let read = job_format::unpack(&value, lanes).map_err(|e| corrupt_job(store, &key, e))?;
        let stored = read.entry.filed().map(|filed| {
            let lane = read.unknown_lane.as_deref().unwrap_or(lanes.name(filed.lane));
            place(key.line, lane, filed)
        });
        let ran = read.entry.state.active.is_some();
        let entry = read.entry.settled();
        if ran || read.unknown_lane.is_some() {
            let now = entry.filed().map(|filed| place(key.line, lanes.name(filed.lane), filed));
            if let Some(stored) = stored.filter(|stored| now.as_ref() != Some(stored)) {
                changed.remove(&store.overflow, stored);
            }
            if let Some(now) = now {
                changed.insert(&store.overflow, now, key.row.as_str());
            }
            changed.insert(&store.jobs, key_bytes, job_format::pack(&entry, lanes));
        }
        book.admit(key, entry);
        if changed.len() >= ADMITTED_PER_BATCH {
            store.commit(std::mem::replace(&mut changed, store.batch()))?;
        }
    }
    store.commit(changed)
}

fn corrupt_job(store: &EmbeddedStore, key: &JobKey, what: super::codec::Malformed) -> Fault {
    store.corrupt(format_args!("job of line {} row {}", key.line, key.row), what)
}

fn job_key(bytes: &[u8]) -> Result<JobKey, super::codec::Malformed> {
    let (line, row) = unscoped(bytes)?;
    let line = Name::intern(line).map_err(|_| super::codec::Malformed("its line's name is too long"))?;
    Ok(JobKey { line, row: RowKey::new(as_text(row)?) })
}

/// Where a key that lies aside is found in order.
fn place(line: Name, lane: &str, filed: Filed) -> Vec<u8> {
    let mut key = order_prefix(line, lane, filed.aside);
    key.extend_from_slice(&filed.seq.to_be_bytes());
    key
}

fn order_prefix(line: Name, lane: &str, aside: Aside) -> Vec<u8> {
    scoped(line.as_str(), &scoped(lane, &[aside as u8]))
}

/// A shelf for jobs that lie aside of a queue elsewhere (J9): whatever it commits has been synced. A store has one queue or
/// one such shelf.
pub fn overflow_shelf(store: Arc<EmbeddedStore>, settings: &Queue) -> Box<dyn Shelf> {
    let lanes = LaneNames { names: settings.lanes.iter().map(|(name, _)| *name).collect(), default: settings.default_lane };
    Box::new(SyncedShelf(FjallShelf { store, lanes }))
}

struct SyncedShelf(FjallShelf);

impl Shelf for SyncedShelf {
    fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault> {
        self.0.load(key)
    }

    fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
        self.0.filed(line, aside, lane, after, max)
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault> {
        self.0.commit(changes)?;
        self.0.store.sync()
    }
}

/// The shelf in fjall.
struct FjallShelf {
    store: Arc<EmbeddedStore>,
    lanes: LaneNames,
}

impl Shelf for FjallShelf {
    fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault> {
        let Some(value) = self.store.get(&self.store.jobs, &bytes_of(key)?)? else { return Ok(None) };
        let read = job_format::unpack(&value, &self.lanes).map_err(|e| corrupt_job(&self.store, key, e))?;
        Ok(Some(read.entry))
    }

    fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
        let prefix = order_prefix(line, self.lanes.name(lane), aside);
        let start = place(line, self.lanes.name(lane), Filed { aside, lane, seq: after.saturating_add(1) });
        let Some(end) = after_prefix(&prefix) else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        for entry in self.store.overflow.range(start..end).take(max) {
            let (key, value) = entry.into_inner().map_err(|e| self.store.read_fault(&e))?;
            let corrupt = |e| self.store.corrupt(format_args!("a place in the overflow of line {line}"), e);
            let seq = key.last_chunk::<8>().map(|seq| u64::from_be_bytes(*seq)).unwrap_or_default();
            rows.push((seq, RowKey::new(as_text(&value).map_err(corrupt)?)));
        }
        Ok(rows)
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault> {
        let store = &self.store;
        let mut batch = store.batch();
        for change in changes {
            let (key, line) = (bytes_of(change.key)?, change.key.line);
            let after = change.after.and_then(Entry::filed);
            if let Some(before) = change.before.filter(|before| Some(*before) != after) {
                batch.remove(&store.overflow, place(line, self.lanes.name(before.lane), before));
            }
            if let Some(after) = after.filter(|after| Some(*after) != change.before) {
                batch.insert(&store.overflow, place(line, self.lanes.name(after.lane), after), change.key.row.as_str());
            }
            match change.after {
                Some(entry) => batch.insert(&store.jobs, key, job_format::pack(entry, &self.lanes)),
                None => batch.remove(&store.jobs, key),
            }
        }
        store.commit(batch)
    }
}

fn bytes_of(key: &JobKey) -> Result<Vec<u8>, Fault> {
    check_key(scoped(key.line.as_str(), key.row.as_str().as_bytes()), || format!("a job of line {}", key.line))
}

impl JobQueue for EmbeddedQueue {
    fn offer(&self, offers: Vec<Offer>) -> Answer<'_, Result<Vec<Offered>, Fault>> {
        Box::pin(self.step(move |book, now| book.offer(now, offers)))
    }

    fn take(&self, line: Name, max: usize) -> Answer<'_, Result<Batch, Fault>> {
        // Late jobs that are put aside again after a crash are still late: nothing is lost without a sync.
        Box::pin(self.step_unsynced(move |book, now| book.take(now, line, max)))
    }

    fn finish(&self, verdicts: Vec<Finish>) -> Answer<'_, Result<Vec<Settled>, Fault>> {
        Box::pin(self.step(move |book, now| book.finish(now, verdicts)))
    }

    fn extend(&self, leases: Vec<(JobKey, Lease)>) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.step_unsynced(move |book, now| {
            book.extend(now, leases);
            Ok(())
        }))
    }

    fn wait(&self, line: Name) -> Answer<'_, ()> {
        Box::pin(async move {
            let outlook = || async {
                let read = self.step_unsynced(move |book, now| Ok(book.outlook(line, now))).await;
                // A fault here shows at the next taking.
                read.unwrap_or(Outlook::Ready)
            };
            self.inner.bells.wait(line, &self.inner.clock, outlook).await;
        })
    }

    fn tend(&self) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(self.step(|book, now| book.tend(now)))
    }

    fn counts(&self, line: Name) -> Answer<'_, Result<Vec<LaneCount>, Fault>> {
        Box::pin(self.step_unsynced(move |book, _| book.counts(line)))
    }

    fn list(&self, which: Which, max: usize) -> Answer<'_, Result<Vec<Listed>, Fault>> {
        Box::pin(self.step_unsynced(move |book, _| book.list(&which, max)))
    }

    fn release(&self, which: Which) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(self.step(move |book, _| book.release(&which)))
    }

    fn life(&self) -> Answer<'_, Result<String, Fault>> {
        let life = self.inner.life.clone();
        Box::pin(async move { Ok(life) })
    }
}
