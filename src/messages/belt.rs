//! From many entities to the one actor that batches for them: items lie here until it takes them all, and one wake-up stands
//! for a whole burst. An item costs a place in a list, not a message of its own.
//!
//! The taker can be replaced: what lies here when it dies is the next one's. Knows nothing of what is in an item.

use actix::dev::{Message, Recipient};
use std::sync::{Arc, Mutex, MutexGuard};

/// Something lies on the belt.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Shared handle to a belt.
pub struct Belt<T>(Arc<Mutex<Inner<T>>>);

struct Inner<T> {
    items: Vec<T>,
    /// A wake-up is on its way.
    woken: bool,
    taker: Option<Recipient<Wake>>,
}

impl<T> Clone for Belt<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Belt<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner { items: Vec::new(), woken: false, taker: None })))
    }
}

impl<T> Belt<T> {
    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Puts an item down. With no taker it drops, and its guards speak for it.
    pub fn put(&self, item: T) {
        let mut inner = self.inner();
        if inner.taker.is_none() {
            drop(inner);
            return drop(item);
        }
        inner.items.push(item);
        inner.wake();
    }

    /// Everything that lies here, in order, behind what `into` holds.
    pub fn take(&self, into: &mut impl Extend<T>) {
        let mut inner = self.inner();
        inner.woken = false;
        into.extend(inner.items.drain(..));
    }

    /// How much lies here.
    pub fn len(&self) -> usize {
        self.inner().items.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new taker; it is woken for what lies here.
    pub fn point_to(&self, taker: Recipient<Wake>) {
        let mut inner = self.inner();
        inner.taker = Some(taker);
        inner.woken = false;
        if !inner.items.is_empty() {
            inner.wake();
        }
    }

    /// Nobody takes any more; what lies here drops.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.taker = None;
        let left = std::mem::take(&mut inner.items);
        // Guards speak when they drop: not under the lock.
        drop(inner);
        drop(left);
    }
}

impl<T> Inner<T> {
    fn wake(&mut self) {
        if let Some(taker) = self.taker.as_ref().filter(|_| !self.woken) {
            self.woken = true;
            taker.do_send(Wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::prelude::*;

    /// Takes what lies on the belt and keeps one list per wake-up, until it is asked; then it is as good as dead.
    struct Taker(Option<Belt<u32>>, Vec<Vec<u32>>);
    impl Actor for Taker {
        type Context = Context<Self>;
    }
    impl Handler<Wake> for Taker {
        type Result = ();
        fn handle(&mut self, _: Wake, _: &mut Self::Context) {
            let mut taken = Vec::new();
            if let Some(belt) = &self.0 {
                belt.take(&mut taken);
                self.1.push(taken);
            }
        }
    }
    #[derive(Message)]
    #[rtype(result = "Vec<Vec<u32>>")]
    struct Tell;
    impl Handler<Tell> for Taker {
        type Result = Vec<Vec<u32>>;
        fn handle(&mut self, _: Tell, _: &mut Self::Context) -> Self::Result {
            self.0 = None;
            self.1.clone()
        }
    }

    /// Goal: a burst is one wake-up, nothing is left behind over a change of taker, and without one items drop. Method: two
    /// takers one after the other, items before, between and after.
    #[test]
    fn a_burst_wakes_once_and_the_next_taker_finds_what_lies_there() {
        System::new().block_on(burst());
    }

    async fn burst() {
        let belt = Belt::default();
        belt.put(0);
        assert!(belt.is_empty(), "nobody takes");
        let first = Taker(Some(belt.clone()), Vec::new()).start();
        belt.point_to(first.clone().recipient());
        (1..4).for_each(|item| belt.put(item));
        assert_eq!(first.send(Tell).await.unwrap(), [vec![1, 2, 3]]);
        belt.put(4);
        let second = Taker(Some(belt.clone()), Vec::new()).start();
        belt.point_to(second.clone().recipient());
        assert_eq!(second.send(Tell).await.unwrap(), [vec![4]]);
        belt.put(5);
        assert_eq!(belt.len(), 1);
        belt.clear();
        belt.put(6);
        assert!(belt.is_empty(), "what lay there dropped, and nobody takes more");
    }
}
