//! The pause between tries against a side that does not answer: doubling, capped.
//!
//! No jitter: one actor per thread calls a store, and the workers of a line share one pause, so there is no herd to scatter.
//! Jobs jitter in `actors/delivery.rs`.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

/// One caller's back-off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    tries: u32,
    waiting: bool,
}

impl Backoff {
    /// How long to wait now; until [`Backoff::waited`] the caller holds back.
    pub fn pause(&mut self) -> Duration {
        self.waiting = true;
        let pause = FIRST.saturating_mul(1 << self.tries.min(16)).min(CAP);
        self.tries += 1;
        pause
    }
    pub fn waited(&mut self) {
        self.waiting = false;
    }
    pub fn reset(&mut self) {
        *self = Self::default();
    }
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_cap_and_starts_anew() {
        let mut backoff = Backoff::default();
        assert_eq!([backoff.pause(), backoff.pause(), backoff.pause()].map(|d| d.as_millis()), [50, 100, 200]);
        for _ in 0..40 {
            assert!(backoff.pause() <= CAP);
        }
        backoff.reset();
        assert!(!backoff.is_waiting());
        assert_eq!(backoff.pause(), FIRST);
    }
}
