//! How many jobs a worker takes at once, so that what their rows weigh stays within a bound in every process that holds them.
//!
//! Rows are weighed only once they were read, so the next portion is cut by what the last ones weighed. Knows nothing of
//! queues and stores.

/// The first portion: small, because what a line's rows weigh is not known yet.
const FIRST: usize = 32;

/// How much one worker takes.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    jobs: usize,
    bytes: usize,
    /// Bytes of a row, by the last reads.
    row: Option<usize>,
}

impl Portion {
    /// At most `jobs` at once, whose rows weigh about `bytes` together.
    pub const fn new(jobs: usize, bytes: usize) -> Self {
        Self { jobs, bytes, row: None }
    }

    /// How many jobs to take next; never none.
    pub fn next(&self) -> usize {
        let fitting = self.row.map_or(FIRST, |row| self.bytes / row.max(1));
        fitting.min(self.jobs).max(1)
    }

    /// So many rows were read, and weighed so many bytes together. Heavier ones count at once, lighter ones bit by bit: a
    /// burst of heavy rows is often followed by more of them.
    pub fn weighed(&mut self, rows: usize, bytes: usize) {
        if rows == 0 {
            return;
        }
        let (row, held) = (bytes / rows, self.row.unwrap_or(0));
        self.row = Some(if row >= held { row } else { held - (held - row).div_ceil(4) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Goal: a portion begins small, is whole for light rows, shrinks at once with heavy ones and grows slowly again. Method: a
    /// table of reads in order.
    #[test]
    fn heavy_rows_make_small_portions() {
        let mut portion = Portion::new(200, 1_000_000);
        assert_eq!(portion.next(), FIRST);
        for (rows, bytes, next) in [
            (32, 32_000, 200),
            (200, 200 * 50_000, 20),
            (20, 20_000, 26),
            (0, 0, 26),
            (26, 26_000, 35),
            (1, 3_000_000, 1),
            (1, 3_000_000, 1),
        ] {
            portion.weighed(rows, bytes);
            assert_eq!(portion.next(), next, "after {rows} rows of {bytes} bytes");
        }
    }

    proptest! {
        /// Goal: rows as heavy as the last ones never pass the bound, unless one alone does; some portion is always taken; light
        /// rows bring whole portions back. Method: any reads.
        #[test]
        fn the_bound_holds(reads in prop::collection::vec((0_usize..300, 0_usize..5_000_000), 1..20)) {
            let mut portion = Portion::new(200, 1 << 20);
            for (rows, each) in reads {
                portion.weighed(rows, rows * each);
                let next = portion.next();
                prop_assert!((1..=200).contains(&next));
                prop_assert!(rows == 0 || next == 1 || next * each <= 1 << 20);
            }
            for _ in 0..64 {
                portion.weighed(1, 1_000);
            }
            prop_assert_eq!(portion.next(), 200);
        }
    }
}
