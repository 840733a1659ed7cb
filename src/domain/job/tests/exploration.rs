//! Every interleaving of a few changes, two workers and a bounded number of mishaps, one step at a time.
//!
//! Content is a set of changes: a write adds one, a run reads the set, and the sink keeps a set only if it is no smaller
//! (K1 by version). What a state must never show is asserted on the way; what must hold in the end, where nothing can
//! move any more.

use super::*;

const CHANGES: u8 = 3;
const ALL: u8 = (1 << CHANGES) - 1;
const WORKERS: usize = 2;
/// The lane each change asks for: neither rising nor falling.
const LANES: [u8; CHANGES as usize] = [1, 2, 0];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Worker {
    Idle,
    Taken(Active),
    /// It has read the row: these changes.
    Read(Active, u8),
    /// The sink has answered.
    Delivered(Active, u8),
}

impl Worker {
    fn lease(&self) -> Option<Lease> {
        match self {
            Self::Idle => None,
            Self::Taken(run) | Self::Read(run, _) | Self::Delivered(run, _) => Some(run.lease),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct World {
    key: KeyState,
    workers: [Worker; WORKERS],
    /// Changes in the row store, and those whose offer was accepted.
    written: u8,
    offered: u8,
    /// What the sink holds.
    held: u8,
    /// Changes that a finished run had read when it ended, and the types and *must write* it carried.
    served: u8,
    /// What the run that was buried last had read and carried.
    buried: Option<(u8, u8)>,
    mishaps: u8,
}

/// The changes whose types a load carries. Change 0 must be written, and the load must say so exactly then (J4).
fn carried(load: &Load) -> u8 {
    let bits = (0..CHANGES).filter(|c| load.types.contains(&type_of(*c))).fold(0u8, |bits, c| bits | 1 << c);
    assert_eq!(load.must_write, bits & 1 != 0, "J4: `must write` and the types part: {load:?}");
    assert!(bits & (1 << load.first_offered.0) != 0, "J8: an age that none of its changes has: {load:?}");
    bits
}

fn type_of(change: u8) -> Name {
    name(["first", "second", "third"][usize::from(change)])
}

impl World {
    fn start(mishaps: u8) -> Self {
        let workers = [const { Worker::Idle }; WORKERS];
        Self { key: KeyState::default(), workers, written: 0, offered: 0, held: 0, served: 0, buried: None, mishaps }
    }

    /// Every state that one step leads to.
    fn next(&self) -> Vec<Self> {
        let mut out = Vec::new();
        self.writers(&mut out);
        for w in 0..WORKERS {
            self.worker(w, &mut out);
        }
        if self.key.active.is_some() && self.mishaps > 0 {
            let mut world = self.clone();
            world.mishaps -= 1;
            assert!(world.key.expire(Millis(100)));
            out.push(world);
        }
        out
    }

    /// Each change is its own writer: it writes, and some time later offers (J3).
    fn writers(&self, out: &mut Vec<Self>) {
        for change in 0..CHANGES {
            let bit = 1 << change;
            let mut world = self.clone();
            if self.written & bit == 0 {
                world.written |= bit;
            } else if self.offered & bit == 0 {
                world.offered |= bit;
                let load = Load {
                    first_offered: Millis(i64::from(change)),
                    types: [type_of(change)].into_iter().collect(),
                    must_write: change == 0,
                    ..Load::default()
                };
                world.key.offer(Lane(LANES[usize::from(change)]), &load, false);
            } else {
                continue;
            }
            out.push(world);
        }
    }

    fn worker(&self, w: usize, out: &mut Vec<Self>) {
        match self.workers[w].clone() {
            Worker::Idle => {
                let mut world = self.clone();
                let lease = (1..).map(Lease).find(|lease| self.workers.iter().all(|w| w.lease() != Some(*lease)));
                let Some(run) = world.key.take(Millis(0), lease.expect("a free lease"), Millis(10)).cloned() else { return };
                let holds = |w: &Worker| w.lease().is_some() && w.lease() == self.key.active.as_ref().map(|a| a.lease);
                assert!(!self.workers.iter().any(holds), "J2: a second run under a living lease");
                world.workers[w] = Worker::Taken(run);
                out.push(world);
            }
            Worker::Taken(run) => {
                let mut world = self.clone();
                world.workers[w] = Worker::Read(run.clone(), self.written);
                out.push(world);
                self.ends(w, &run, Verdict::Requeue, 0, out);
            }
            Worker::Read(run, seen) => {
                let mut world = self.clone();
                if seen.count_ones() >= self.held.count_ones() {
                    world.held = seen;
                }
                world.workers[w] = Worker::Delivered(run.clone(), seen);
                out.push(world);
                self.ends(w, &run, Verdict::Retry { at: Millis(0), counts: true }, seen, out);
                self.ends(w, &run, Verdict::Bury { reason: "no".into() }, seen, out);
                self.dies(w, out);
            }
            Worker::Delivered(run, seen) => {
                self.ends(w, &run, Verdict::Done, seen, out);
                self.dies(w, out);
            }
        }
    }

    /// A worker that is never heard of again; its lease runs out some day.
    fn dies(&self, w: usize, out: &mut Vec<Self>) {
        if self.mishaps > 0 {
            let mut world = self.clone();
            world.mishaps -= 1;
            world.workers[w] = Worker::Idle;
            out.push(world);
        }
    }

    fn ends(&self, w: usize, run: &Active, verdict: Verdict, seen: u8, out: &mut Vec<Self>) {
        let mishap = u8::from(verdict != Verdict::Done);
        if self.mishaps < mishap {
            return;
        }
        let mut world = self.clone();
        world.mishaps -= mishap;
        world.workers[w] = Worker::Idle;
        let settled = world.key.settle(run.lease, verdict.clone());
        let living = self.key.active.as_ref().is_some_and(|active| active.lease == run.lease);
        assert_eq!(settled == Settled::LeaseGone, !living, "J10");
        if settled == Settled::LeaseGone {
            assert_eq!(world.key, self.key, "J10: a verdict without a lease did something");
        } else if verdict == Verdict::Done {
            world.served |= carried(&run.load) & seen;
        } else if matches!(verdict, Verdict::Bury { .. }) && settled == Settled::Applied {
            world.buried = Some((seen, carried(&run.load)));
        }
        out.push(world);
    }

    /// What holds in every state.
    fn check(&self) {
        let loads = [self.key.waiting.as_ref().map(|w| (w.lane, &w.load)), self.key.active.as_ref().map(|a| (a.lane, &a.load))];
        let mut in_queue = 0;
        for (lane, load) in loads.into_iter().flatten() {
            let bits = carried(load);
            in_queue |= bits;
            let urgent = (0..CHANGES).filter(|c| bits & (1 << c) != 0).map(|c| LANES[usize::from(c)]).min();
            assert_eq!(Some(lane.0), urgent, "J4: the lane fell in {self:?}");
        }
        assert_eq!(self.offered & !(in_queue | self.served), 0, "J4, J5: an accepted offer vanished in {self:?}");
    }

    /// What holds where only mishaps could still happen: every change was read by a run that ended well, or stands
    /// buried where people see it.
    fn check_end(&self) {
        assert_eq!((self.written, self.offered), (ALL, ALL));
        assert!(self.key.active.is_none(), "{self:?}");
        match &self.key.waiting {
            None => {
                assert_eq!(self.held, ALL, "I7: the newest content was not delivered: {self:?}");
                assert_eq!(self.served, ALL, "J4: types were lost: {self:?}");
            }
            Some(waiting) => {
                assert!(matches!(waiting.hold, Hold::Buried { .. }), "a job was left lying: {self:?}");
                let (seen, bits) = self.buried.expect("a burial");
                assert_eq!(seen, ALL, "J7: buried without having seen the last change: {self:?}");
                assert_eq!(bits | self.served, ALL, "J4: types were lost: {self:?}");
            }
        }
    }

    /// No worker, no writer and no taking can go on; a lease that nobody will end is still to expire.
    fn is_over(&self) -> bool {
        let idle = self.workers.iter().all(|w| *w == Worker::Idle);
        let ready = matches!(&self.key.waiting, Some(w) if matches!(w.hold, Hold::Ready | Hold::Until(_)));
        self.written == ALL && self.offered == ALL && idle && !ready && self.key.active.is_none()
    }
}

/// Goal: I7, J2, J3, J4, J7, J10: no interleaving loses an update. Method: all of them, with up to three mishaps: a lost
/// lease, a failed run, a burial, a requeue, a worker that dies.
#[test]
fn no_interleaving_loses_an_update() {
    let (mut seen, mut ends) = (HashSet::new(), 0);
    // A death takes one mishap and its lease's expiry another, so three allow one more beside it.
    let mut open = vec![World::start(3)];
    while let Some(world) = open.pop() {
        if !seen.insert(format!("{world:?}")) {
            continue;
        }
        world.check();
        if world.is_over() {
            world.check_end();
            ends += 1;
        }
        open.extend(world.next());
    }
    assert!(seen.len() > 10_000 && ends > 50, "only {} states and {ends} ends were explored", seen.len());
}
