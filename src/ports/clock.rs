//! The clock by which both sides of a door measure how old something is.
//!
//! Counts suspension and is never set (CLOCK_BOOTTIME): a machine that slept must not take an old document for a fresh
//! one (K2). Knows nothing of dates.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A point in time of this machine's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let since = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(since.tv_sec).unwrap_or(0), u32::try_from(since.tv_nsec).unwrap_or(0));
        Self(Duration::new(seconds, nanos))
    }

    /// How long ago an earlier moment was.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
