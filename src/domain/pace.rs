//! How soon a dear row is delivered again. Reading a row, building its document and indexing it cost by the cell, and a hot row
//! grows: without a rest a few rows of thousands of cells take the workers' whole time, and everybody else waits.
//!
//! So what a row of many cells took of a batch's time, it rests nine times as long, a quarter of a second at most; what changes
//! meanwhile is one document (J2). Pure: *now* is an argument, counted from any fixed start. Knows nothing of queues.

use super::ids::RowKey;
use std::collections::HashMap;
use std::time::Duration;

/// Rows of fewer cells never rest.
const CELLS_MIN: usize = 200;
/// What any row costs beside its cells, in cells.
const CELLS_ALIKE: usize = 20;
/// Rests per time taken: a row has a tenth of one worker at most.
const RESTS: u32 = 9;
/// The longest rest: what it may add to a change's way.
const REST_MAX: Duration = Duration::from_millis(250);
/// A shorter one is none: putting a job back costs the queue something too.
const REST_MIN: Duration = Duration::from_millis(10);
/// Rows remembered at a time; those beyond do not rest.
const ROWS_MAX: usize = 4_096;

/// The dear rows of one line, and until when each rests.
#[derive(Debug, Default)]
pub struct Pace {
    rests: HashMap<RowKey, Duration>,
}

impl Pace {
    /// How long the row rests from now on; `None`: it may be delivered.
    pub fn left(&mut self, row: &RowKey, now: Duration) -> Option<Duration> {
        let until = *self.rests.get(row)?;
        if until <= now {
            self.rests.remove(row);
            return None;
        }
        Some(until - now)
    }

    /// These rows, of so many cells, were delivered together in this time.
    pub fn delivered<'a>(&mut self, rows: impl Iterator<Item = (&'a RowKey, usize)> + Clone, took: Duration, now: Duration) {
        let all: usize = rows.clone().map(|(_, cells)| cells + CELLS_ALIKE).sum();
        for (row, cells) in rows.filter(|(_, cells)| *cells >= CELLS_MIN) {
            let rest = (took * RESTS).mul_f64(cells as f64 / all as f64).min(REST_MAX);
            if rest < REST_MIN {
                continue;
            }
            if self.rests.len() >= ROWS_MAX {
                self.rests.retain(|_, until| *until > now);
            }
            if self.rests.len() < ROWS_MAX {
                self.rests.insert(row.clone(), now + rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn key(n: usize) -> RowKey {
        RowKey::new(&format!("k{n}"))
    }

    fn delivered(pace: &mut Pace, cells: &[usize], took: u64, now: u64) {
        let rows: Vec<_> = cells.iter().enumerate().map(|(n, cells)| (key(n), *cells)).collect();
        pace.delivered(rows.iter().map(|(row, cells)| (row, *cells)), ms(took), ms(now));
    }

    /// Goal: a dear row rests nine times its part of the batch, within bounds; a cheap one never. Method: batches whose parts are
    /// plain to see.
    #[test]
    fn a_dear_row_rests_by_its_part() {
        for (cells, took, rests) in [
            (&[980][..], 10, vec![Some(88)]),
            (&[980, 980], 10, vec![Some(44), Some(44)]),
            (&[2_980, 199, 761], 20, vec![Some(134), None, Some(34)]),
            (&[199], 5_000, vec![None]),
            (&[100_000], 5_000, vec![Some(250)]),
            (&[980], 1, vec![None]),
            (&[], 1, vec![]),
        ] {
            let mut pace = Pace::default();
            delivered(&mut pace, cells, took, 1_000);
            let found: Vec<_> =
                (0..cells.len()).map(|n| pace.left(&key(n), ms(1_000)).map(|left| left.as_millis() as u64)).collect();
            assert_eq!(found, rests, "{cells:?} in {took} ms");
        }
    }

    /// Goal: a rest ends by itself. Method: ask before, at and after its end.
    #[test]
    fn a_rest_ends() {
        let mut pace = Pace::default();
        delivered(&mut pace, &[100_000], 100, 1_000);
        assert_eq!(pace.left(&key(0), ms(1_200)), Some(ms(50)));
        assert_eq!(pace.left(&key(0), ms(1_250)), None);
        assert_eq!(pace.left(&key(0), ms(1_000)), None, "it is forgotten");
    }

    /// Goal: what is remembered is bounded, and room comes back. Method: more dear rows than there is room, then later.
    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pace = Pace::default();
        for n in 0..ROWS_MAX + 10 {
            pace.delivered([(&key(n), 1_000)].into_iter(), ms(100), ms(0));
        }
        assert_eq!(pace.rests.len(), ROWS_MAX);
        assert_eq!(pace.left(&key(ROWS_MAX + 5), ms(1)), None);
        pace.delivered([(&key(ROWS_MAX + 5), 1_000)].into_iter(), ms(100), ms(300));
        assert_eq!(pace.rests.len(), 1);
        assert!(pace.left(&key(ROWS_MAX + 5), ms(301)).is_some());
    }
}
