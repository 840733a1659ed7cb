//! J9: a line whose queue stays too long has its new jobs put into its lowest lane, until it is calm.
//!
//! Only the highest lane is left as it is: what is urgent stays urgent, and what comes in masses waits behind everything
//! else. Pure: told how the line stands and what time it is.

use crate::domain::ids::Millis;
use crate::domain::job::Lane;

/// A state must last this long before it counts: bursts come and go.
const STAYS_MS: i64 = 60_000;

/// One line's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Diversion {
    on: bool,
    /// Since when the line has stood the other way.
    since: Option<Millis>,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A lane is full, or jobs of it lie in the overflow.
    Long,
    /// Every lane is below half, and nothing lies in the overflow.
    Calm,
    Between,
}

/// A decision, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Begins,
    Ends,
}

impl Diversion {
    pub(super) fn look(&mut self, standing: Standing, now: Millis) -> Option<Turn> {
        let turning = if self.on { Standing::Calm } else { Standing::Long };
        if standing != turning {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) < STAYS_MS {
            return None;
        }
        *self = Self { on: !self.on, since: None };
        Some(if self.on { Turn::Begins } else { Turn::Ends })
    }

    /// Where a new job of this lane goes.
    pub(super) fn lane(&self, lane: Lane, lanes: usize) -> Lane {
        if self.on && lane.0 > 0 { Lane(lanes.saturating_sub(1) as u8) } else { lane }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only what lasts counts, and it is given back. Method: a line's hours as (second, standing, decision).
    #[test]
    fn a_line_that_stays_long_is_diverted_until_it_is_calm() {
        use Standing::{Between, Calm, Long};
        let mut diversion = Diversion::default();
        for (second, standing, turn) in [
            (0, Long, None),
            (59, Long, None),
            (60, Between, None),
            (61, Long, None),
            (120, Long, None),
            (121, Long, Some(Turn::Begins)),
            (300, Long, None),
            (301, Calm, None),
            (302, Between, None),
            (303, Calm, None),
            (363, Calm, Some(Turn::Ends)),
            (999, Calm, None),
        ] {
            assert_eq!(diversion.look(standing, Millis(second * 1_000)), turn, "second {second}");
        }
    }

    /// Goal: what is urgent stays urgent. Method: each lane with and without.
    #[test]
    fn only_lower_lanes_are_diverted() {
        let lanes = |diversion: Diversion| [0, 1, 2].map(|lane| diversion.lane(Lane(lane), 3).0);
        assert_eq!(lanes(Diversion::default()), [0, 1, 2]);
        assert_eq!(lanes(Diversion { on: true, since: None }), [0, 2, 2]);
        assert_eq!(Diversion { on: true, since: None }.lane(Lane(0), 1), Lane(0));
    }
}
