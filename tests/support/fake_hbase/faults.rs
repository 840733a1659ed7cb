//! What goes wrong, and when: a script of faults in order, and chance with a seed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// One fault of one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Done only once the gate opens.
    Hold(Gate),
    /// Done, and answered this much later.
    Late(Duration),
    /// Neither done nor answered: what a server does with a call whose deadline passed in its queue.
    DropCall,
    /// Done, never answered.
    DropReply,
    /// Not done; the connection closes.
    CloseBefore,
    /// Done; the connection closes instead of an answer.
    CloseAfter,
    /// Done; half of the answer, then the connection closes.
    CloseMidFrame,
    /// Done; the answer's bytes are noise of the same length.
    Garbage,
    /// Done; a few bytes of the answer, its lengths among them, are others.
    Twist,
    /// Not done; the call answers with this Java class.
    Fail(&'static str),
    /// Not done; every region of a batch answers with this class. Other calls fail as a whole.
    FailRegion(&'static str),
    /// A batch's actions after the first `n` answer `MultiActionResultTooLarge`.
    ReplyFull(usize),
}

/// Holds calls until the test opens it, for good.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(super) async fn pass(&self) {
        drop(self.0.acquire().await);
    }
}

/// Which calls a fault meets.
#[derive(Clone, Debug)]
pub struct When {
    method: &'static str,
    table: Option<String>,
    server: Option<usize>,
    skip: usize,
    times: usize,
}

impl When {
    /// The next call of this method.
    pub fn next(method: &'static str) -> Self {
        Self { method, table: None, server: None, skip: 0, times: 1 }
    }

    /// The next `times` calls.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Only after `skip` others.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Only calls on this table.
    pub fn on(self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self }
    }

    /// Only calls to this region server.
    pub fn at(self, server: usize) -> Self {
        Self { server: Some(server), ..self }
    }
}

/// What of a call decides about its faults.
#[derive(Clone, Debug)]
pub struct Facts {
    pub method: String,
    pub table: String,
    /// `None`: the master.
    pub server: Option<usize>,
}

/// Faults by chance: each data call meets one of `faults` with a chance of one in `one_in`.
#[derive(Clone, Debug)]
pub struct Chance {
    pub one_in: u64,
    pub faults: Vec<Fault>,
    /// At most this many, so that a run ends.
    pub left: usize,
}

#[derive(Debug)]
pub struct Script {
    rules: VecDeque<(When, Fault)>,
    chance: Option<Chance>,
    dice: Dice,
    /// Faults that were met, by name.
    pub met: Vec<String>,
}

impl Script {
    pub fn new(seed: u64) -> Self {
        Self { rules: VecDeque::new(), chance: None, dice: Dice(seed), met: Vec::new() }
    }

    pub fn add(&mut self, when: When, fault: Fault) {
        self.rules.push_back((when, fault));
    }

    pub fn by_chance(&mut self, chance: Option<Chance>) {
        self.chance = chance;
    }

    /// The fault of this call, if it has one.
    pub fn fault_of(&mut self, facts: &Facts) -> Option<Fault> {
        let fault = self.scripted(facts).or_else(|| self.thrown(facts))?;
        let name = format!("{fault:?}");
        self.met.push(name.split(['(', ' ']).next().unwrap_or_default().to_owned());
        Some(fault)
    }

    fn scripted(&mut self, facts: &Facts) -> Option<Fault> {
        let meets = |when: &When| {
            when.method == facts.method
                && when.table.as_ref().is_none_or(|t| *t == facts.table)
                && when.server.is_none_or(|s| Some(s) == facts.server)
        };
        let at = self.rules.iter().position(|(when, _)| meets(when))?;
        let (when, fault) = self.rules.get_mut(at)?;
        if when.skip > 0 {
            when.skip -= 1;
            return None;
        }
        when.times -= 1;
        let fault = fault.clone();
        if when.times == 0 {
            self.rules.remove(at);
        }
        Some(fault)
    }

    fn thrown(&mut self, facts: &Facts) -> Option<Fault> {
        let chance = self.chance.as_mut()?;
        let data = matches!(facts.method.as_str(), "Multi" | "Mutate" | "Get" | "Scan");
        if !data || chance.left == 0 || self.dice.below(chance.one_in) != 0 {
            return None;
        }
        chance.left -= 1;
        let at = self.dice.below(chance.faults.len() as u64) as usize;
        chance.faults.get(at).cloned()
    }
}

/// Chance that repeats itself (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }
}
