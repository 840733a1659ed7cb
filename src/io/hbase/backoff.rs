//! Pauses between tries: a table, full jitter, more for a server that is short of something. And the little chance that
//! jitter and nonces need.
//!
//! Many callers share a server, so each pauses a random part of the step: they must not come back together.

use super::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Steps in units of the base. HBase's own clients go to ten seconds; a server that is back is worth asking sooner.
const STEPS: &[u32] = &[1, 2, 3, 5, 10, 20, 50];
const BASE: Duration = Duration::from_millis(100);
const BASE_OVERLOADED: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The longest pause before try number `tries` (1 = the first repetition).
pub(super) fn ceiling(tries: u32, overloaded: bool) -> Duration {
    let step = STEPS[(tries.max(1) as usize - 1).min(STEPS.len() - 1)];
    let base = if overloaded { BASE_OVERLOADED } else { BASE };
    (base * step).min(PAUSE_MAX)
}

/// The pause before the next try after this error; what the server asked for is the least.
pub(super) fn pause(tries: u32, error: &Error) -> Duration {
    let ceiling = ceiling(tries, error.overloaded);
    let part = ceiling.mul_f64((random() >> 11) as f64 / (1u64 << 53) as f64);
    part.saturating_add(error.wait.unwrap_or_default())
}

/// A number nobody can foresee, never 0 (to HBase, a nonce of 0 is none).
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::hbase::error::Class;

    /// Goal: pauses grow to their cap, and an overloaded server gets longer ones. Method: the table's ends and its middle.
    #[test]
    fn pauses_follow_the_table() {
        let millis = |tries, overloaded| ceiling(tries, overloaded).as_millis();
        assert_eq!([millis(0, false), millis(1, false), millis(5, false), millis(900, false)], [100, 100, 1000, 5000]);
        assert_eq!([millis(1, true), millis(4, true), millis(5, true), millis(6, true)], [500, 2500, 5000, 5000]);
    }

    /// Goal: jitter spreads, and a named pause is kept. Method: a thousand draws.
    #[test]
    fn pauses_are_spread() {
        let mut error = Error::new(Class::Throttled, "here", "wait");
        error.wait = Some(Duration::from_secs(3));
        let draws: Vec<Duration> = (0..1000).map(|_| pause(2, &error)).collect();
        assert!(draws.iter().all(|d| (3000..=3200).contains(&d.as_millis())), "{draws:?}");
        let distinct: std::collections::HashSet<_> = draws.iter().collect();
        assert!(distinct.len() > 900);
    }
}
