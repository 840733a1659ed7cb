//! What the writer and the offerer share: many askers, one call in flight, a pause when the other side does not answer.
//!
//! Keeps O2's last sentence (who cannot be reached is waited for) and group commit (what arrives meanwhile is the next
//! batch). A small batch waits as long as the call before it took (`REST_MAX` at most): the dearer a call, the fewer there
//! are, and a server that is short of time is not asked again at once for one row. Knows nothing of what is in a batch.

use crate::domain::backoff::Backoff;
use crate::domain::fault::Fault;
use crate::domain::ids::Millis;
use crate::messages::belt::Belt;
use crate::messages::observe::{ActorKind, ActorState, Observation};
use crate::telemetry::WaitingFor;
use actix::prelude::{Actor, AsyncContext, Context};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Items of one call.
pub const BATCH_ITEMS_MAX: usize = 512;
/// The longest rest between two calls: what a stage may add to a change's way.
const REST_MAX: Duration = Duration::from_millis(20);
/// A shorter rest is none: timers tick in milliseconds.
const REST_MIN: Duration = Duration::from_millis(1);

/// What the hands do next.
#[derive(Debug, PartialEq)]
enum Turn<T> {
    Call(Vec<T>),
    /// Asked again after this.
    Rest(Duration),
    Nothing,
}

/// The hands of one batching actor.
pub struct Batching<T> {
    kind: ActorKind,
    thread: usize,
    restarts: u64,
    belt: Belt<T>,
    waiting: VecDeque<T>,
    in_flight: usize,
    called: Instant,
    rests_until: Instant,
    /// When the last timer of a rest rings, or rang.
    rings: Instant,
    backoff: Backoff,
    handled: u64,
    since: Millis,
    last_progress: Millis,
    last_error: Option<Fault>,
    draining: Vec<oneshot::Sender<u64>>,
}

impl<T> Batching<T> {
    pub fn new(belt: Belt<T>, kind: ActorKind, thread: usize, restarts: u64, now: Millis) -> Self {
        let start = Instant::now();
        Self {
            kind,
            thread,
            restarts,
            belt,
            waiting: VecDeque::new(),
            in_flight: 0,
            called: start,
            rests_until: start,
            rings: start,
            backoff: Backoff::default(),
            handled: 0,
            since: now,
            last_progress: now,
            last_error: None,
            draining: Vec::new(),
        }
    }

    /// The next batch, unless one is in flight, a pause is on, or nothing waits; then whoever asked for a drain hears.
    /// After a rest the actor goes on with `flush`, which asks again.
    pub fn next_batch<A: Actor<Context = Context<A>>>(
        &mut self,
        now: Millis,
        ctx: &mut Context<A>,
        flush: fn(&mut A, &mut Context<A>),
    ) -> Option<Vec<T>> {
        match self.next_turn(now) {
            Turn::Call(batch) => return Some(batch),
            Turn::Rest(rest) => drop(ctx.run_later(rest, flush)),
            Turn::Nothing => {}
        }
        None
    }

    /// A full batch rests no more, nor does a drain.
    fn next_turn(&mut self, now: Millis) -> Turn<T> {
        self.belt.take(&mut self.waiting);
        if self.in_flight > 0 || self.backoff.is_waiting() {
            return Turn::Nothing;
        }
        if self.waiting.is_empty() {
            super::answer_all(&mut self.draining);
            return Turn::Nothing;
        }
        let begins = Instant::now();
        let rest = self.rests_until.saturating_duration_since(begins);
        if !rest.is_zero() && self.waiting.len() < BATCH_ITEMS_MAX && self.draining.is_empty() {
            // One timer at a time: it finds what is left of a rest that has become longer.
            if self.rings > begins {
                return Turn::Nothing;
            }
            self.rings = self.rests_until;
            return Turn::Rest(rest);
        }
        let batch: Vec<T> = self.waiting.drain(..self.waiting.len().min(BATCH_ITEMS_MAX)).collect();
        self.in_flight = batch.len();
        self.called = begins;
        self.last_progress = now;
        Turn::Call(batch)
    }

    /// The call in flight has been answered.
    pub fn answered(&mut self, now: Millis) {
        self.in_flight = 0;
        self.last_progress = now;
        let ended = Instant::now();
        self.rests_until = ended + rest_after(ended - self.called, REST_MAX);
    }

    /// So many items are done; the other side is well.
    pub fn done(&mut self, items: u64) {
        self.handled += items;
    }

    pub fn well(&mut self) {
        self.backoff.reset();
    }

    /// Something went wrong that a pause does not mend.
    pub fn failed(&mut self, fault: Fault) {
        self.last_error = Some(fault);
    }

    /// These go again first, after this pause; the actor calls [`Batching::waited`] when it is over.
    pub fn again(&mut self, items: Vec<T>, fault: Fault) -> Duration {
        let pause = self.backoff.pause();
        WaitingFor { fault: &fault, attempts: self.backoff.tries(), after: pause }.emit();
        self.last_error = Some(fault);
        self.since = self.last_progress;
        for item in items.into_iter().rev() {
            self.waiting.push_front(item);
        }
        pause
    }

    pub fn waited(&mut self) {
        self.backoff.waited();
    }

    /// Resolves once nothing waits and nothing is in flight.
    pub fn drain(&mut self) -> oneshot::Receiver<u64> {
        let (done, answer) = oneshot::channel();
        self.draining.push(done);
        answer
    }

    pub fn observe(&self) -> Observation {
        let waiting = self.backoff.is_waiting();
        let error = self.last_error.as_ref().map(Fault::to_string);
        Observation {
            state: if waiting { ActorState::BackingOff } else { ActorState::Running },
            reason: error.clone().filter(|_| waiting).unwrap_or_default(),
            since: self.since.0,
            thread: self.thread,
            depth: (self.waiting.len() + self.belt.len()) as u64,
            in_flight: self.in_flight as u64,
            handled: self.handled,
            restarts: self.restarts,
            last_error: error,
            last_progress: self.last_progress.0,
            ..Observation::new(format!("{}:{}", self.kind.label(), self.thread), self.kind, self.since)
        }
    }
}

/// How long to let work gather after a call that took so long: as long, so that half of the time at most goes into small
/// calls.
pub fn rest_after(took: Duration, most: Duration) -> Duration {
    if took < REST_MIN { Duration::ZERO } else { took.min(most) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::FaultKind;
    use crate::messages::belt::Wake;
    use actix::prelude::{Handler, System};

    struct Idle;
    impl Actor for Idle {
        type Context = Context<Self>;
    }
    impl Handler<Wake> for Idle {
        type Result = ();
        fn handle(&mut self, _: Wake, _: &mut Self::Context) {}
    }

    /// Goal: one call in flight, order kept over a pause. Method: play a burst, a refusal, its end.
    #[test]
    fn what_is_put_back_goes_first() {
        System::new().block_on(async { put_back() });
    }

    fn put_back() {
        let belt = Belt::default();
        belt.point_to(Idle.start().recipient());
        let mut hands = Batching::new(belt.clone(), ActorKind::Writer, 0, 0, Millis(0));
        belt.put(1);
        belt.put(2);
        assert_eq!(hands.observe().depth, 2, "what lies on the belt is in hand");
        assert_eq!(hands.next_turn(Millis(1)), Turn::Call(vec![1, 2]));
        belt.put(3);
        assert_eq!(hands.next_turn(Millis(1)), Turn::Nothing);
        hands.answered(Millis(2));
        let pause = hands.again(vec![1, 2], Fault::new(FaultKind::Unreachable, "store", "gone"));
        assert!(pause > Duration::ZERO);
        assert_eq!((hands.next_turn(Millis(3)), hands.observe().state), (Turn::Nothing, ActorState::BackingOff));
        hands.waited();
        assert_eq!(hands.next_turn(Millis(4)), Turn::Call(vec![1, 2, 3]));
        hands.answered(Millis(5));
        hands.well();
        let mut drained = hands.drain();
        assert_eq!(hands.next_turn(Millis(6)), Turn::Nothing);
        assert_eq!(drained.try_recv(), Ok(0));
    }

    /// A clock that stands still but for the sleeps, so that how long something took is what the test says.
    fn with_still_clock(test: impl Future<Output = ()>) {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        System::with_tokio_rt(move || runtime().expect("a runtime")).block_on(test);
    }

    /// Goal: a small batch waits as long as the call before it took, within bounds; a full one and a drain do not wait.
    /// Method: calls of several lengths, then what comes next.
    #[test]
    fn a_small_batch_waits_as_long_as_the_call_before() {
        with_still_clock(async {
            let ms = Duration::from_millis;
            let belt = Belt::default();
            belt.point_to(Idle.start().recipient());
            let mut hands = Batching::new(belt.clone(), ActorKind::Writer, 0, 0, Millis(0));
            for (took, rest) in [(0, None), (7, Some(ms(7))), (500, Some(REST_MAX))] {
                belt.put(0);
                assert_eq!(hands.next_turn(Millis(0)), Turn::Call(vec![0]), "after nothing, or a rest that is over");
                tokio::time::sleep(ms(took)).await;
                hands.answered(Millis(0));
                belt.put(1);
                match rest {
                    None => assert_eq!(hands.next_turn(Millis(0)), Turn::Call(vec![1])),
                    Some(rest) => {
                        assert_eq!(hands.next_turn(Millis(0)), Turn::Rest(rest), "after {took} ms");
                        assert_eq!(hands.next_turn(Millis(0)), Turn::Nothing, "one timer is enough");
                        tokio::time::sleep(rest).await;
                        assert_eq!(hands.next_turn(Millis(0)), Turn::Call(vec![1]));
                    }
                }
                hands.answered(Millis(0));
            }
            for hurried in ["full", "drained"] {
                belt.put(2);
                assert!(matches!(hands.next_turn(Millis(0)), Turn::Call(_)));
                tokio::time::sleep(ms(10)).await;
                hands.answered(Millis(0));
                belt.put(3);
                assert_eq!(hands.next_turn(Millis(0)), Turn::Rest(ms(10)));
                let _drained = (hurried == "drained").then(|| hands.drain());
                (1..BATCH_ITEMS_MAX).filter(|_| hurried == "full").for_each(|_| belt.put(3));
                assert!(matches!(hands.next_turn(Millis(0)), Turn::Call(_)), "{hurried}");
                hands.answered(Millis(0));
                tokio::time::sleep(ms(10)).await;
            }
        });
    }
}
