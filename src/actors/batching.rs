//! What the writer and the offerer share: many askers, one call in flight, a pause when the other side does not answer.
//!
//! Keeps O2's last sentence (who cannot be reached is waited for) and group commit (what arrives meanwhile is the next
//! batch). Knows nothing of what is in a batch.

use crate::domain::backoff::Backoff;
use crate::domain::fault::Fault;
use crate::domain::ids::Millis;
use crate::messages::belt::Belt;
use crate::messages::observe::{ActorKind, ActorState, Observation};
use crate::telemetry::WaitingFor;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;

/// Items of one call.
pub const BATCH_ITEMS_MAX: usize = 512;

/// The hands of one batching actor.
pub struct Batching<T> {
    kind: ActorKind,
    thread: usize,
    restarts: u64,
    belt: Belt<T>,
    waiting: VecDeque<T>,
    in_flight: usize,
    backoff: Backoff,
    handled: u64,
    since: Millis,
    last_progress: Millis,
    last_error: Option<Fault>,
    draining: Vec<oneshot::Sender<u64>>,
}

impl<T> Batching<T> {
    pub fn new(belt: Belt<T>, kind: ActorKind, thread: usize, restarts: u64, now: Millis) -> Self {
        Self {
            kind,
            thread,
            restarts,
            belt,
            waiting: VecDeque::new(),
            in_flight: 0,
            backoff: Backoff::default(),
            handled: 0,
            since: now,
            last_progress: now,
            last_error: None,
            draining: Vec::new(),
        }
    }

    /// The next batch, unless one is in flight, a pause is on, or nothing waits; then whoever asked for a drain hears.
    pub fn next_batch(&mut self, now: Millis) -> Option<Vec<T>> {
        self.belt.take(&mut self.waiting);
        if self.in_flight > 0 || self.backoff.is_waiting() {
            return None;
        }
        if self.waiting.is_empty() {
            super::answer_all(&mut self.draining);
            return None;
        }
        let batch: Vec<T> = self.waiting.drain(..self.waiting.len().min(BATCH_ITEMS_MAX)).collect();
        self.in_flight = batch.len();
        self.last_progress = now;
        Some(batch)
    }

    /// The call in flight has been answered.
    pub fn answered(&mut self, now: Millis) {
        self.in_flight = 0;
        self.last_progress = now;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::FaultKind;
    use crate::messages::belt::Wake;
    use actix::prelude::{Actor, Context, Handler, System};

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
        assert_eq!(hands.next_batch(Millis(1)), Some(vec![1, 2]));
        belt.put(3);
        assert_eq!(hands.next_batch(Millis(1)), None);
        hands.answered(Millis(2));
        let pause = hands.again(vec![1, 2], Fault::new(FaultKind::Unreachable, "store", "gone"));
        assert!(pause > Duration::ZERO);
        assert_eq!((hands.next_batch(Millis(3)), hands.observe().state), (None, ActorState::BackingOff));
        hands.waited();
        assert_eq!(hands.next_batch(Millis(4)), Some(vec![1, 2, 3]));
        hands.answered(Millis(5));
        hands.well();
        let mut drained = hands.drain();
        assert_eq!(hands.next_batch(Millis(6)), None);
        assert_eq!(drained.try_recv(), Ok(0));
    }
}
