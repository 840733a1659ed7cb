//! When a partition that is read faster than taken is held back at the broker, and when it is let go (O4).
//!
//! Two marks, because a client that holds a partition back throws away what it has fetched: one mark would fetch the same
//! records again and again. Knows nothing of clients.

/// Records and bytes that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    pub records: usize,
    pub bytes: usize,
}

/// Held back at `high` of either, let go below `low` of both.
#[derive(Clone, Copy, Debug)]
pub struct Tide {
    pub high: Level,
    pub low: Level,
}

impl Tide {
    /// Whether the partition is to be held back now, given whether it is.
    pub const fn holds(&self, level: Level, held: bool) -> bool {
        if held {
            level.records >= self.low.records || level.bytes >= self.low.bytes
        } else {
            level.records >= self.high.records || level.bytes >= self.high.bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: held at the high mark, kept until below the low one. Method: a table of levels in order.
    #[test]
    fn between_the_marks_nothing_changes() {
        let tide = Tide { high: Level { records: 10, bytes: 100 }, low: Level { records: 4, bytes: 40 } };
        let mut held = false;
        for (records, bytes, expected) in [
            (9, 99, false),
            (10, 0, true),
            (5, 0, true),
            (3, 39, false),
            (3, 100, true),
            (0, 40, true),
            (4, 0, true),
            (3, 0, false),
            (9, 50, false),
        ] {
            held = tide.holds(Level { records, bytes }, held);
            assert_eq!(held, expected, "{records} records, {bytes} bytes");
        }
    }
}
