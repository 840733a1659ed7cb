//! What a seed plays: the shape of its run, and what goes wrong in it.

use super::cases::How;
use super::sea::Rates;
use crate::world::Dice;
use std::time::Duration;

/// Times as slow as usual.
const SLOW: u64 = 25;

/// The shape of a run, drawn from its seed.
pub struct Plan {
    pub nodes: usize,
    pub threads: usize,
    pub events: u64,
    pub orders: u64,
    pub partitions: i64,
    pub rates: Rates,
    pub in_flight: usize,
    pub skip_equal: bool,
    /// So often the queue is lost.
    pub queue_losses: u64,
    pub extras: Extras,
}

/// What is drawn apart from the rest of the plan, so that a seed of the corpus goes on meaning what it meant.
#[derive(Default)]
pub struct Extras {
    /// The row store loses what was not made durable, so often (W3).
    pub row_losses: Option<u64>,
    /// The sink is away for this long, once.
    pub sink_away: Option<Duration>,
    /// Liveness: one node stays frozen for good.
    pub left_frozen: bool,
    /// So often retention cuts the log, mostly as the queue is lost.
    pub log_cuts: u64,
    /// Of a thousand records so many are none (C7).
    pub bad: u64,
    /// V1's other kind of version.
    pub counter: bool,
    /// Lanes are short: offers go to the overflow (J9).
    pub crowded: bool,
    /// Times as slow: marks move only behind samples a minute old (J11).
    pub slow: u64,
    /// J11: the sink goes away amid the run and the queue is lost while jobs have waited for it longer than a mark's margin.
    pub ordeal: Option<Ordeal>,
    /// J11: the queue and the node are lost as a partition is committed for the first time.
    pub lost_at_first_commit: bool,
    /// Late jobs are parked (J8).
    pub parks: bool,
    /// So often somebody purges amid the run; and once at the end, if at all (M5).
    pub purges: u64,
    /// A topic is created anew amid the run (E3).
    pub remade: bool,
}

/// How the queue is lost while old jobs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordeal {
    /// At any time.
    Whenever,
    /// After a node has begun to count its jobs.
    AmidCount,
}

impl Extras {
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::silent(seed ^ 0x77_6964_6572_6f77);
        let mut one_of = |list: &[u64]| list[dice.below(list.len() as u64) as usize];
        Self {
            row_losses: [None, Some(0), Some(1), Some(3)][one_of(&[0, 0, 0, 1, 2, 3]) as usize],
            // Mostly minutes: an hour of ticks costs as much as twenty other seeds, and case 13 has it always.
            sink_away: Some(Duration::from_secs(one_of(&[0, 0, 0, 300, 0, 0, 0, 300, 0, 0, 0, 3_600])))
                .filter(|span| !span.is_zero()),
            left_frozen: one_of(&[0, 0, 1]) == 1,
            log_cuts: one_of(&[0, 0, 1, 2]),
            bad: one_of(&[0, 0, 60]),
            counter: one_of(&[0, 0, 1]) == 1,
            crowded: one_of(&[0, 0, 1]) == 1,
            slow: one_of(&[0, 0, SLOW]),
            ordeal: [None, Some(Ordeal::Whenever), Some(Ordeal::AmidCount)][one_of(&[0, 0, 0, 0, 0, 1, 2]) as usize],
            lost_at_first_commit: one_of(&[0, 0, 0, 1]) == 1,
            parks: one_of(&[0, 0, 1]) == 1,
            purges: one_of(&[0, 0, 0, 2]),
            remade: one_of(&[0, 0, 0, 1]) == 1,
        }
        .suited()
    }

    /// What goes together.
    pub fn suited(mut self) -> Self {
        if self.row_losses.is_some() {
            // A row store that goes back brings back what was purged, and with it versions.
            self.purges = 0;
        }
        if self.ordeal.is_some() || self.purges > 0 {
            self.slow = SLOW;
        }
        if self.ordeal.is_some() {
            self.sink_away = None;
        }
        self
    }

    /// Calls in a thousand that fail for ever.
    fn for_ever(seed: u64) -> u64 {
        [0, 0, 20][Dice::silent(seed ^ 0x66_6f72_6576_6572).below(3) as usize]
    }
}

/// What is asked of a run besides its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything the seed says.
    Whole,
    /// As seeds were played before rows could be lost; for the corpus of that time.
    Plain,
    /// One of the worked cases of the design, by its place in `cases::CASES`.
    Case(usize),
    /// Worked case 7: the only node dies at this step, and nothing else goes wrong.
    Kill(u64),
}

impl Plan {
    /// One node, one partition a table, no chance at all.
    pub fn still() -> Self {
        Self {
            nodes: 1,
            threads: 1,
            events: 0,
            orders: 0,
            partitions: 1,
            rates: Rates { fail: 0, lose_reply: 0, crash: 0, stall: 0, panic: 0, for_ever: 0 },
            in_flight: 4,
            skip_equal: true,
            queue_losses: 0,
            extras: Extras::default(),
        }
    }

    /// What a worked case asks for comes before what the seed says.
    pub fn suited(mut self, how: How) -> Self {
        match how {
            How::Free => {}
            How::SlowSink => self.nodes = self.nodes.min(2),
            How::QueueLostTwice => self.queue_losses = 0,
            How::Halves => self.nodes = 2,
            How::SinkAway => (self.extras.sink_away, self.extras.ordeal) = (None, None),
        }
        self
    }

    pub fn draw(dice: &mut Dice, seed: u64, kind: Kind) -> Self {
        let mut one_of = |list: &[u64]| list[dice.below(list.len() as u64) as usize];
        let rates = Rates {
            fail: one_of(&[0, 5, 50]),
            lose_reply: one_of(&[0, 5, 50]),
            crash: one_of(&[0, 0, 1, 4]),
            stall: one_of(&[0, 0, 3]),
            panic: one_of(&[0, 0, 2]),
            for_ever: if kind == Kind::Plain { 0 } else { Extras::for_ever(seed) },
        };
        Self {
            nodes: one_of(&[1, 2, 2, 3]) as usize,
            threads: one_of(&[1, 2]) as usize,
            events: one_of(&[15, 60, 150]),
            orders: one_of(&[1, 3, 8]),
            partitions: one_of(&[1, 2, 3]) as i64,
            rates,
            in_flight: one_of(&[1, 4, 4096]) as usize,
            skip_equal: one_of(&[0, 1]) == 1,
            queue_losses: one_of(&[0, 0, 1, 2]),
            extras: if kind == Kind::Plain { Extras::default() } else { Extras::draw(seed) },
        }
    }
}
