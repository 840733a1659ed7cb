//! The actor threads: one arbiter each, with a beat that another thread can see stop.
//!
//! Keeps the placement of actors (partitions in turn, entities by row key) and the heartbeat of 4.4. A thread that stays
//! silent past its deadline is replaced; the old one is left to itself, and what its actors still say is of an old life.

use actix::{Arbiter, ArbiterHandle};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// How often a healthy thread beats.
const BEAT: Duration = Duration::from_millis(100);

thread_local! {
    /// The beat of the actor thread that this is.
    static OWN_BEAT: Cell<*const AtomicU64> = const { Cell::new(std::ptr::null()) };
}

/// One place for a thread; the thread in it may be replaced.
struct Slot {
    arbiter: ArbiterHandle,
    beats: Arc<AtomicU64>,
    seen: (u64, Instant),
}

/// All actor threads of the process.
pub struct Threads {
    slots: RwLock<Vec<Slot>>,
    stopping: AtomicBool,
    /// They are the caller's own thread, which is not ours to stop.
    lent: bool,
}

impl Threads {
    pub fn start(count: usize) -> Arc<Self> {
        let slots = (0..count.max(1)).map(|_| Slot::start()).collect();
        Arc::new(Self { slots: RwLock::new(slots), stopping: AtomicBool::new(false), lent: false })
    }

    /// So many places that are all the calling system's thread: for tests that own its time. It has no beat of its own.
    pub fn here(count: usize) -> Arc<Self> {
        let place = || Slot { arbiter: Arbiter::current(), beats: Arc::default(), seen: (0, Instant::now()) };
        let slots = (0..count.max(1)).map(|_| place()).collect();
        Arc::new(Self { slots: RwLock::new(slots), stopping: AtomicBool::new(false), lent: true })
    }

    pub fn count(&self) -> usize {
        self.slots.read().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// The thread now at this place.
    pub fn at(&self, place: usize) -> ArbiterHandle {
        let slots = self.slots.read().unwrap_or_else(|e| e.into_inner());
        slots[place % slots.len()].arbiter.clone()
    }

    /// Whether the caller runs on the thread now at this place. A lent thread never says so.
    pub fn is_here(&self, place: usize) -> bool {
        let slots = self.slots.read().unwrap_or_else(|e| e.into_inner());
        std::ptr::eq(Arc::as_ptr(&slots[place % slots.len()].beats), OWN_BEAT.get())
    }

    /// Places whose thread has not beaten for `silence`.
    pub fn silent(&self, silence: Duration) -> Vec<usize> {
        if self.lent || self.stopping.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let now = Instant::now();
        let mut slots = self.slots.write().unwrap_or_else(|e| e.into_inner());
        let mut silent = Vec::new();
        for (place, slot) in slots.iter_mut().enumerate() {
            let beats = slot.beats.load(Ordering::Relaxed);
            if beats != slot.seen.0 {
                slot.seen = (beats, now);
            } else if now - slot.seen.1 > silence {
                silent.push(place);
            }
        }
        silent
    }

    /// Puts a new thread into the place of a stuck one.
    pub fn replace(&self, place: usize) {
        let mut slots = self.slots.write().unwrap_or_else(|e| e.into_inner());
        slots[place] = Slot::start();
    }

    /// Stops every thread; what still runs on them ends with them.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.lent {
            return;
        }
        for slot in self.slots.read().unwrap_or_else(|e| e.into_inner()).iter() {
            slot.arbiter.stop();
        }
    }
}

impl Slot {
    fn start() -> Self {
        let arbiter = Arbiter::new().handle();
        let beats = Arc::new(AtomicU64::new(0));
        let beating = Arc::clone(&beats);
        arbiter.spawn(async move {
            OWN_BEAT.set(Arc::as_ptr(&beating));
            let mut ticks = actix::clock::interval(BEAT);
            loop {
                ticks.tick().await;
                beating.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { arbiter, beats, seen: (0, Instant::now()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn asked(threads: &Arc<Threads>, by: &ArbiterHandle) -> [bool; 2] {
        let (tell, told) = mpsc::sync_channel(1);
        let threads = Arc::clone(threads);
        by.spawn_fn(move || tell.send([threads.is_here(0), threads.is_here(1)]).unwrap());
        told.recv().unwrap()
    }

    /// Goal: a thread knows its own place, until another one has it. Method: ask on each thread and on none, and again after
    /// one was replaced.
    #[test]
    fn a_thread_knows_its_place() {
        actix::System::new().block_on(async {
            let threads = Threads::start(2);
            let (first, second) = (threads.at(0), threads.at(1));
            assert_eq!(asked(&threads, &first), [true, false]);
            assert_eq!(asked(&threads, &second), [false, true]);
            assert!(!threads.is_here(0) && !threads.is_here(1), "this is no actor thread");
            threads.replace(0);
            assert_eq!(asked(&threads, &first), [false, false], "it has no place any more");
            assert_eq!(asked(&threads, &threads.at(0)), [true, false]);
            first.stop();
            threads.stop();
        });
    }
}
