//! The breaker of one line: closed, open until, half-open. While it is open no jobs are taken.
//!
//! Keeps J7's second sentence (a side that does not answer uses up no retries, the line waits) for all workers of a line
//! together: one of them probes, the others wait, and nobody spins. Pure: *now* is an argument, counted from any fixed
//! start. Knows nothing of sinks, queues or actors.

use super::backoff::Backoff;
use super::fault::Fault;
use super::ids::Millis;
use std::time::Duration;

/// How long a probe may be out before another worker may send one: its worker may have died.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);
/// How often a worker asks whether somebody else's probe came back.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Which side did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// No jobs can be taken or finished.
    Queue,
    /// Rows cannot be read, or documents not written.
    Work,
}

/// What a worker may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Take jobs.
    Take,
    /// Take a few: the answer decides for everybody.
    Probe,
    /// Ask again after this long.
    Wait(Duration),
}

/// Why the line waits, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    pub fault: Fault,
    /// When the other side was first found silent.
    pub since: Millis,
}

/// One line's breaker; its workers share it.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    standing: Standing,
    backoff: Backoff,
    outage: Option<(Side, Outage)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    /// A probe is out.
    HalfOpen {
        since: Duration,
    },
}

impl Breaker {
    /// A worker asks leave to take jobs.
    pub fn ask(&mut self, now: Duration) -> Leave {
        match self.standing {
            Standing::Closed => Leave::Take,
            Standing::Open { until } if now < until => Leave::Wait(until - now),
            Standing::HalfOpen { since } if now < since + PROBE_PATIENCE => Leave::Wait(ASK_AGAIN),
            Standing::Open { .. } | Standing::HalfOpen { .. } => {
                self.standing = Standing::HalfOpen { since: now };
                Leave::Probe
            }
        }
    }

    /// The other side did the work. `true`: this ended an outage.
    pub fn answered(&mut self) -> bool {
        let ended = self.outage.is_some();
        *self = Self::default();
        ended
    }

    /// There was nothing to do, so only the queue has been heard of; a probe that found no jobs goes back. `true`: this
    /// ended an outage.
    pub fn idle(&mut self, now: Duration) -> bool {
        if matches!(self.outage, Some((Side::Queue, _))) {
            return self.answered();
        }
        if let Standing::HalfOpen { .. } = self.standing {
            self.standing = Standing::Open { until: now };
        }
        false
    }

    /// A side did not answer: the pause begins, or goes on where another worker has found the same.
    pub fn failed(&mut self, side: Side, fault: Fault, now: Duration, wall: Millis) -> Duration {
        let since = self.outage.as_ref().map_or(wall, |(_, outage)| outage.since);
        self.outage = Some((side, Outage { fault, since }));
        if let Standing::Open { until } = self.standing
            && now < until
        {
            return until - now;
        }
        let pause = self.backoff.pause();
        self.standing = Standing::Open { until: now + pause };
        pause
    }

    /// Pauses in a row so far.
    pub fn tries(&self) -> u32 {
        self.backoff.tries()
    }

    /// Why the line waits, while it does.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref().map(|(_, outage)| outage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::FaultKind;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn fail(breaker: &mut Breaker, side: Side, at: u64) -> Duration {
        breaker.failed(side, Fault::new(FaultKind::Unreachable, "sink", at), ms(at), Millis(at as i64))
    }

    enum Do {
        Ask(Leave),
        Fail(u64),
        Idle(bool),
        Answer(bool),
    }

    /// Goal: every way through closed, open and half-open. Method: a table of (ms, what happens, what must come of it).
    #[test]
    fn one_probes_and_the_others_wait() {
        use Do::{Answer, Ask, Fail, Idle};
        use Leave::{Probe, Take, Wait};
        let steps = [
            (0, Ask(Take)),
            (0, Ask(Take)),
            (10, Fail(50)),
            // The second worker's request was out at the same time: one outage, one pause.
            (20, Fail(40)),
            (20, Ask(Wait(ms(40)))),
            (60, Ask(Probe)),
            (60, Ask(Wait(ASK_AGAIN))),
            (70, Fail(100)),
            (100, Ask(Wait(ms(70)))),
            (170, Ask(Probe)),
            // The probe found no jobs: the next worker may try at once.
            (180, Idle(false)),
            (180, Ask(Probe)),
            // Its worker died: after a while another one probes.
            (60_179, Ask(Wait(ASK_AGAIN))),
            (60_180, Ask(Probe)),
            (60_190, Answer(true)),
            (60_190, Ask(Take)),
            (60_190, Answer(false)),
            (60_200, Fail(50)),
        ];
        let mut breaker = Breaker::default();
        for (at, step) in steps {
            match step {
                Ask(leave) => assert_eq!(breaker.ask(ms(at)), leave, "asked at {at}"),
                Fail(pause) => assert_eq!(fail(&mut breaker, Side::Work, at), ms(pause), "failed at {at}"),
                Idle(ended) => assert_eq!(breaker.idle(ms(at)), ended, "idle at {at}"),
                Answer(ended) => assert_eq!(breaker.answered(), ended, "answered at {at}"),
            }
        }
    }

    /// Goal: an outage is told with its beginning and its newest reason, and an idle queue ends only its own.
    /// Method: two failures; then idle after each side.
    #[test]
    fn an_outage_has_a_beginning_and_a_reason() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.outage(), None);
        fail(&mut breaker, Side::Work, 5);
        fail(&mut breaker, Side::Work, 900);
        let told = breaker.outage().map(|outage| (outage.since, outage.fault.what.clone()));
        assert_eq!((told, breaker.tries()), (Some((Millis(5), "900".to_owned())), 2));
        assert!(!breaker.idle(ms(2_000)) && breaker.outage().is_some(), "an empty queue says nothing of the sink");
        fail(&mut breaker, Side::Queue, 3_000);
        assert!(breaker.idle(ms(4_000)) && breaker.outage().is_none(), "an empty queue has answered");
    }
}
