//! Every door in plain memory, with scripted faults: the stores of tests and of the engine's benches.
//!
//! They keep the same rules as the embedded ones (`tests/contract` runs one body on both), except durability. A script
//! makes the next calls fail before they do anything, or do their work and then report a failure: the lost reply.

mod documents;
mod ledger;
mod queue;
mod rows;

pub use documents::{MemoryDocuments, NullSink};
pub use ledger::MemoryLedger;
pub use queue::MemoryQueue;
pub use rows::MemoryRowStore;

use crate::domain::fault::Fault;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which calls a scripted fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Rows, documents, dead letters, notes: whatever changes them.
    Write,
    /// Whatever only looks.
    Read,
    Offer,
    Take,
    Finish,
    /// `extend`, `tend`, `release`.
    Tend,
}

/// What the next calls of a door meet.
#[derive(Default)]
pub struct Script {
    /// So that a door without a script pays one load.
    left: AtomicUsize,
    acts: Mutex<VecDeque<Act>>,
}

struct Act {
    call: Call,
    fault: Fault,
    /// The work is done, only its answer is lost.
    lost_reply: bool,
}

impl Script {
    /// The next `n` calls of this kind do nothing and answer the fault.
    pub fn fail_next(&self, call: Call, n: usize, fault: &Fault) {
        self.push(call, n, fault, false);
    }

    /// The next `n` calls of this kind do their work and answer the fault all the same.
    pub fn lose_next(&self, call: Call, n: usize, fault: &Fault) {
        self.push(call, n, fault, true);
    }

    fn push(&self, call: Call, n: usize, fault: &Fault, lost_reply: bool) {
        let mut acts = self.acts.lock().unwrap_or_else(|e| e.into_inner());
        acts.extend((0..n).map(|_| Act { call, fault: fault.clone(), lost_reply }));
        self.left.store(acts.len(), Ordering::Release);
    }

    /// The fault for a call, and whether its work is done before.
    fn next(&self, call: Call) -> Option<(Fault, bool)> {
        if self.left.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut acts = self.acts.lock().unwrap_or_else(|e| e.into_inner());
        let at = acts.iter().position(|act| act.call == call)?;
        let act = acts.remove(at)?;
        self.left.store(acts.len(), Ordering::Release);
        Some((act.fault, act.lost_reply))
    }

    /// Runs a call under the script.
    fn play<T>(&self, call: Call, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        match self.next(call) {
            None => work(),
            Some((fault, lost_reply)) => {
                if lost_reply {
                    work()?;
                }
                Err(fault)
            }
        }
    }
}
