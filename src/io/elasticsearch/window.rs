//! How much may be under way to one search server: halves when it pushes back, grows while it keeps up.
//!
//! Keeps the bounds of 2.8 (documents, requests in flight) and J7's *send less*. Below one request in flight the window
//! goes on shrinking as fewer documents per request. Pure: told what happened, never when.

use std::time::Duration;

/// Least share of a full request.
const LEAST: f64 = 1.0 / 32.0;
/// A request this many times slower than the usual one counts as push-back, and this long at least.
const SLOW: f64 = 4.0;
const SLOW_MIN: Duration = Duration::from_secs(2);

/// What became of one request, as far as the window cares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply {
    /// Answered in this time.
    Fine(Duration),
    /// 429, 503, a time-out, or no answer at all.
    PushedBack,
}

/// The window of one sink, in requests.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    size: f64,
    max: f64,
    /// Usual seconds of a request, smoothed.
    usual: Option<f64>,
    /// Replies to come of requests that were sent before the last halving.
    old: usize,
}

impl Window {
    /// At most `in_flight` requests; begins with all of them, as a server that is well takes them.
    pub fn new(in_flight: usize) -> Self {
        let max = in_flight.max(1) as f64;
        Self { size: max, max, usual: None, old: 0 }
    }

    /// Requests that may be in flight.
    pub fn requests(&self) -> usize {
        (self.size as usize).max(1)
    }

    /// Documents of one request, of `max` at full size.
    pub fn docs(&self, max: usize) -> usize {
        ((max as f64 * self.size.min(1.0)) as usize).clamp(1, max.max(1))
    }

    /// A request was answered, or not; `others` are still in flight.
    pub fn told(&mut self, reply: Reply, others: usize) {
        let was_old = self.old > 0;
        self.old = self.old.saturating_sub(1).min(others);
        match reply {
            Reply::Fine(took) if !self.is_slow(took) => {
                self.size = (self.size + (1.0 / self.size.max(1.0)).min(self.size)).min(self.max);
            }
            // One crisis halves once: what was in flight beside it tells of the same moment.
            _ if was_old => {}
            _ => {
                self.size = (self.size / 2.0).max(LEAST);
                self.old = others;
            }
        }
    }

    fn is_slow(&mut self, took: Duration) -> bool {
        let seconds = took.as_secs_f64();
        let usual = self.usual.unwrap_or(seconds);
        self.usual = Some(usual * 0.9 + seconds * 0.1);
        took >= SLOW_MIN && seconds > usual * SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FINE: Reply = Reply::Fine(Duration::from_millis(20));

    /// Goal: growth to the bound, one halving per crisis, fewer documents below one request. Method: play a crisis.
    #[test]
    fn a_crisis_halves_once_and_recovers() {
        let mut window = Window::new(4);
        assert_eq!((window.requests(), window.docs(1_000)), (4, 1_000));
        for others in (0..4).rev() {
            window.told(Reply::PushedBack, others);
        }
        assert_eq!(window.requests(), 2, "four refusals of one moment");
        for _ in 0..2 {
            window.told(Reply::PushedBack, 0);
        }
        assert_eq!((window.requests(), window.docs(1_000)), (1, 500));
        for _ in 0..20 {
            window.told(Reply::PushedBack, 0);
        }
        assert_eq!(window.docs(1_000), 31, "the least");
        for _ in 0..20 {
            window.told(FINE, 0);
        }
        assert_eq!((window.requests(), window.docs(1_000)), (4, 1_000));
    }

    /// Goal: a slow reply counts as push-back only against what is usual. Method: the same time after fast and slow ones.
    #[test]
    fn slowness_is_relative() {
        let slow = Reply::Fine(Duration::from_secs(3));
        let (mut fast, mut used_to_it) = (Window::new(4), Window::new(4));
        for _ in 0..30 {
            fast.told(FINE, 0);
            used_to_it.told(slow, 0);
        }
        fast.told(slow, 0);
        used_to_it.told(slow, 0);
        assert_eq!((fast.requests(), used_to_it.requests()), (2, 4));
    }

    proptest! {
        /// Goal: the bounds hold whatever is told. Method: random replies.
        #[test]
        fn bounds_hold(steps in prop::collection::vec((0u8..3, 0usize..9), 0..200), max in 0usize..9) {
            let mut window = Window::new(max);
            for (what, others) in steps {
                let reply = match what {
                    0 => FINE,
                    1 => Reply::Fine(Duration::from_secs(60)),
                    _ => Reply::PushedBack,
                };
                window.told(reply, others);
                prop_assert!((1..=max.max(1)).contains(&window.requests()));
                prop_assert!((1..=700).contains(&window.docs(700)));
            }
        }
    }
}
