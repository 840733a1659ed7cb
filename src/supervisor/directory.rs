//! Row key → entity: look-up, spawn on miss and send under one guard; passivation under the same guard.
//!
//! Keeps N3's bounds (count, bytes, idleness; least recently used first, by a clock hand) and the promise that no message
//! is lost between an entity's last rest and its end: it leaves only when all that was sent to it is handled.

use super::threads::Threads;
use crate::actors::entity::{EntityActor, EntitySetup};
use crate::domain::ids::{Millis, Name, RowId};
use crate::messages::entity::{ApplyChanges, EntityKeeper, EntityPulse, Forget, RowDirectory};
use actix::dev::channel::channel;
use actix::prelude::*;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

/// Entities looked at for passivation per spawn past the bound.
const LOOKS_PER_SPAWN: usize = 8;

/// How often an entity is looked at while it may rest, and how many a sweep looks at in any case.
const LOOKS_PER_REST: u64 = 4;
const LOOKS_PER_SWEEP: usize = 2_000;

/// An entity's mailbox, as actix makes them. It bounds nothing: what is in flight is what intake let in (O4).
const MAILBOX: usize = 16;

/// What the directory may hold (N3).
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub entities_max: usize,
    pub bytes_max: usize,
    pub idle_max: Duration,
}

struct Live {
    address: Arc<Addr<EntityActor>>,
    life: u64,
    sent: u64,
    pulse: Arc<EntityPulse>,
}

impl Live {
    /// Counts what it sends: an entity may go only when it has handled as much (N3).
    fn send<M>(&mut self, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        EntityActor: Handler<M>,
    {
        self.sent += 1;
        self.address.do_send(message);
    }
}

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct DirectoryCounts {
    pub spawned: AtomicU64,
    pub passivated: AtomicU64,
    pub panicked: AtomicU64,
}

/// Setups by thread, then by row kind.
type Setups = Vec<HashMap<Name, Arc<EntitySetup>>>;

pub struct EntityDirectory {
    /// For the work it hands to other threads.
    me: Weak<Self>,
    live: DashMap<RowId, Live, BuildHasherDefault<RowHasher>>,
    threads: Arc<Threads>,
    setups: RwLock<Setups>,
    /// The clock hand's order: each live entity once.
    order: Mutex<VecDeque<(RowId, u64)>>,
    bounds: Bounds,
    lives: AtomicU64,
    bytes: AtomicUsize,
    idle: AtomicUsize,
    pub counts: DirectoryCounts,
}

impl EntityDirectory {
    pub fn new(threads: Arc<Threads>, bounds: Bounds) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            live: DashMap::default(),
            threads,
            setups: RwLock::default(),
            order: Mutex::default(),
            bounds,
            lives: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            counts: DirectoryCounts::default(),
        })
    }

    /// Gives the directory what its entities are made of. They point back here, so [`EntityDirectory::close`] parts them.
    pub fn open(&self, setups: Setups) {
        *self.setups.write().unwrap_or_else(|e| e.into_inner()) = setups;
    }

    pub fn close(&self) {
        self.live.clear();
        self.setups.write().unwrap_or_else(|e| e.into_inner()).clear();
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
    /// About how many bytes live entities hold, by those that were last looked at.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// About how many live entities are at rest, by those that were last looked at, and the others: looking costs nothing per
    /// entity.
    pub fn states(&self) -> (u64, u64) {
        let live = self.live.len();
        let idle = self.idle.load(Ordering::Relaxed).min(live);
        (idle as u64, (live - idle) as u64)
    }

    /// One entity's pulse: whether it is at rest, bytes, messages sent to it, when it last worked.
    pub fn look(&self, row: &RowId) -> Option<(bool, usize, u64, Millis)> {
        self.live.get(row).map(|e| (e.pulse.is_idle(), e.pulse.bytes(), e.sent, e.pulse.last()))
    }

    /// N3: nothing remembered of any row is trusted any more; entities at rest go, the others forget.
    pub fn forget_all(&self) {
        let rounds = self.order.lock().unwrap_or_else(|e| e.into_inner()).len();
        for _ in 0..rounds {
            self.look_at_next(|_| true);
        }
        for mut live in self.live.iter_mut() {
            live.send(Forget);
        }
    }

    /// A stuck thread's entities are left to it: new ones take their rows, and what the old ones still say is late.
    pub fn abandon(&self, place: usize) {
        let count = self.threads.count();
        self.live.retain(|row, _| place_of(row) as usize % count != place);
    }

    /// Lets go what rested too long, or is too much. Called once a second, it looks at a part of the entities, so that many
    /// that rest cost little: at each of them four times while it may rest, or as a few thousand are looked at.
    pub fn sweep(&self, now: Millis) {
        let live = self.live.len();
        let sweeps = usize::try_from(self.bounds.idle_max.as_secs() / LOOKS_PER_REST).unwrap_or(usize::MAX).max(1);
        let idle_max = self.bounds.idle_max.as_millis() as i64;
        let (mut stay, mut held, mut idle) = (0_usize, 0, 0);
        for _ in 0..live.min((live / sweeps).max(LOOKS_PER_SWEEP)) {
            let mut seen = None;
            let went = self.look_at_next(|pulse| {
                seen = Some((pulse.bytes(), pulse.is_idle()));
                now.since(pulse.last()) > idle_max
            });
            match (went, seen) {
                (None, _) => break,
                (Some(false), Some((bytes, is_idle))) => {
                    (stay, held, idle) = (stay + 1, held + bytes, idle + usize::from(is_idle));
                }
                (Some(_), _) => {}
            }
        }
        // What was looked at stands for the others.
        let live = self.live.len();
        let of_all = |part: usize| (part as f64 * live as f64 / stay.max(1) as f64) as usize;
        self.idle.store(of_all(idle), Ordering::Relaxed);
        let mut bytes = of_all(held);
        // A burst may have spawned more than could rest at the time, and nothing spawns after it.
        for _ in 0..2 * live {
            if bytes <= self.bounds.bytes_max && self.live.len() <= self.bounds.entities_max {
                break;
            }
            let mut frees = 0;
            let seen = self.look_at_next(|pulse| {
                frees = pulse.bytes();
                !pulse.take_recent()
            });
            match seen {
                None => break,
                Some(true) => bytes = bytes.saturating_sub(frees),
                Some(false) => {}
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Moves the clock hand by one, and lets go what is at rest if it `goes`; whether it did. `None` at an empty clock.
    fn look_at_next(&self, goes: impl FnOnce(&EntityPulse) -> bool) -> Option<bool> {
        let (row, life) = self.order.lock().unwrap_or_else(|e| e.into_inner()).pop_front()?;
        let goes = |_: &RowId, e: &Live| e.life == life && goes(&e.pulse) && e.pulse.is_at_rest(e.sent);
        let removed = self.live.remove_if(&row, goes).is_some();
        if removed {
            self.counts.passivated.fetch_add(1, Ordering::Relaxed);
        } else if self.live.get(&row).is_some_and(|e| e.life == life) {
            self.order.lock().unwrap_or_else(|e| e.into_inner()).push_back((row, life));
        }
        Some(removed)
    }

    fn make_room(&self) {
        let mut looks = 0;
        while self.live.len() > self.bounds.entities_max && looks < LOOKS_PER_SPAWN {
            // Second chance: what worked since the hand last came by stays for one more round.
            self.look_at_next(|pulse| !pulse.take_recent());
            looks += 1;
        }
    }

    fn spawn(&self, row: &RowId) -> Option<Live> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let place = place_of(row) as usize % self.threads.count();
        let setup = {
            let setups = self.setups.read().unwrap_or_else(|e| e.into_inner());
            Arc::clone(setups.get(place)?.get(&row.kind)?)
        };
        let pulse = Arc::new(EntityPulse::default());
        let (its_row, its_pulse) = (row.clone(), Arc::clone(&pulse));
        let entity = move || EntityActor::new(setup, its_row, life, its_pulse);
        let address = if self.threads.is_here(place) {
            start_here(entity())
        } else {
            EntityActor::start_in_arbiter(&self.threads.at(place), move |_| entity())
        };
        let address = Arc::new(address);
        let home: Weak<Addr<EntityActor>> = Arc::downgrade(&address);
        pulse.lives_at(home);
        self.counts.spawned.fetch_add(1, Ordering::Relaxed);
        self.order.lock().unwrap_or_else(|e| e.into_inner()).push_back((row.clone(), life));
        Some(Live { address, life, sent: 0, pulse })
    }
}

impl RowDirectory for EntityDirectory {
    fn apply(&self, message: ApplyChanges) {
        // Most rows live already: found by a borrowed key.
        if let Some(mut held) = self.live.get_mut(&message.row)
            && held.address.connected()
        {
            held.send(message);
            return;
        }
        let mut spawned = false;
        match self.live.entry(message.row.clone()) {
            Entry::Occupied(mut held) => {
                if !held.get().address.connected() {
                    // It panicked and its farewell is still on the way.
                    let Some(fresh) = self.spawn(&message.row) else { return };
                    held.insert(fresh);
                }
                held.get_mut().send(message);
            }
            Entry::Vacant(vacant) => {
                // Without setups the process is closing: the message drops and its tickets fail.
                let Some(mut fresh) = self.spawn(&message.row) else { return };
                spawned = true;
                fresh.send(message);
                vacant.insert(fresh);
            }
        }
        if spawned {
            self.make_room();
        }
    }

    /// A message from another thread would wake its entity alone, and the writer behind it for one row; a stretch that
    /// is handed over as one makes the entities run together, and their writes one batch. One thread's stretches stay
    /// in order. A thread that is gone drops its messages, and their tickets fail.
    fn apply_all(&self, messages: Vec<ApplyChanges>) {
        let count = self.threads.count();
        let mut stretches: Vec<Vec<ApplyChanges>> = (0..count).map(|_| Vec::with_capacity(messages.len())).collect();
        for message in messages {
            stretches[place_of(&message.row) as usize % count].push(message);
        }
        for (place, stretch) in stretches.into_iter().enumerate().filter(|(_, stretch)| !stretch.is_empty()) {
            let Some(me) = self.me.upgrade() else { return };
            self.threads.at(place).spawn_fn(move || stretch.into_iter().for_each(|message| me.apply(message)));
        }
    }
}

impl EntityKeeper for EntityDirectory {
    fn left(&self, row: &RowId, life: u64, panicked: bool) {
        if panicked {
            self.counts.panicked.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%row, "entity panicked, its records are read again");
        }
        self.live.remove_if(row, |_, e| e.life == life);
    }
}

/// As `start_in_arbiter` of the caller's own thread, without the way through its queue. `start` would make a second sender.
fn start_here(entity: EntityActor) -> Addr<EntityActor> {
    let (sender, mailbox) = channel(MAILBOX);
    actix::spawn(Context::with_receiver(mailbox).into_future(entity));
    Addr::new(sender)
}

fn place_of(row: &RowId) -> u64 {
    let mut hasher = RowHasher::default();
    row.hash(&mut hasher);
    hasher.finish() >> 32
}

/// The key's own hash and its kind's number: the map's own hash, and the thread an entity lives on.
#[derive(Default)]
pub struct RowHasher(u64);
impl Hasher for RowHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }
    fn write_u32(&mut self, number: u32) {
        self.0 ^= u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    // A row is named by numbers alone.
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }
}
