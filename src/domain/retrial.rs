//! What a partition does after tickets failed: the range again, then one record at a time (O2).
//!
//! Only a record that fails alone counts, at most n times; then it is condemned and goes the way of bad records.
//! Knows nothing of actors or time.

use super::ids::{NextOffset, RecordOffset};
use std::collections::HashMap;

/// How often a record may fail alone before it is condemned.
pub const FAILS_ALONE_MAX: u32 = 5;

/// One partition's memory of its failures, kept over its generations.
#[derive(Clone, Debug, Default)]
pub struct Retrial {
    /// Failures of whole ranges since the frontier last passed one.
    failures: u32,
    /// The highest record that was taken when one failed.
    range_end: Option<RecordOffset>,
    alone: HashMap<RecordOffset, u32>,
    causes: HashMap<RecordOffset, String>,
}

impl Retrial {
    /// Tickets failed while `highest` was the last record taken.
    pub fn failed(&mut self, failed: &[RecordOffset], highest: Option<RecordOffset>, cause: &str) {
        // A record's parts fail one by one: several verdicts on one record are one failure of it.
        let one = failed.first().filter(|first| failed.iter().all(|f| f == *first));
        match one {
            Some(record) if self.is_alone() => {
                *self.alone.entry(*record).or_default() += 1;
                self.causes.insert(*record, cause.to_owned());
            }
            _ => self.failures += 1,
        }
        self.range_end = self.range_end.max(highest).max(failed.iter().copied().max());
    }

    /// The partition got so far; past the range everything is forgotten.
    pub fn passed(&mut self, frontier: NextOffset) {
        if self.range_end.is_some_and(|end| frontier.0 > end.0) {
            *self = Self::default();
        }
    }

    /// Whether anything has failed that is not past yet.
    pub fn is_wary(&self) -> bool {
        self.failures > 0 || !self.alone.is_empty()
    }

    /// O2: after a second failure, one record at a time until past the range.
    pub fn is_alone(&self) -> bool {
        self.failures >= 2
    }

    /// Why this record is not tried again, if it is not.
    pub fn condemned(&self, record: RecordOffset) -> Option<&str> {
        let fails = self.alone.get(&record)?;
        (*fails >= FAILS_ALONE_MAX).then(|| self.causes.get(&record).map_or("", String::as_str))
    }

    /// An operator wants everything tried anew.
    pub fn forgive(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: O2's whole path for a record that always fails. Method: play the generations by hand.
    #[test]
    fn a_poison_record_is_found_alone_and_its_neighbours_go_on() {
        let (poison, last) = (RecordOffset(7), Some(RecordOffset(12)));
        let mut retrial = Retrial::default();
        retrial.failed(&[poison, RecordOffset(9)], last, "boom");
        assert!(!retrial.is_alone(), "the first failure tries the range again as it was");
        retrial.failed(&[poison], last, "boom");
        assert!(retrial.is_alone());
        for fails in 1..=FAILS_ALONE_MAX {
            assert!(retrial.condemned(poison).is_none(), "condemned after {} fails alone", fails - 1);
            retrial.failed(&[poison], Some(poison), "boom alone");
        }
        assert_eq!(retrial.condemned(poison), Some("boom alone"));
        let (other, several) = (RecordOffset(9), [RecordOffset(9); 3]);
        (0..FAILS_ALONE_MAX).for_each(|_| retrial.failed(&several, Some(other), "three parts of one record"));
        assert_eq!(retrial.condemned(other), Some("three parts of one record"));
        retrial.passed(NextOffset(12));
        assert!(retrial.is_alone(), "record 12 belongs to the range");
        retrial.passed(NextOffset(13));
        assert!(!retrial.is_alone() && retrial.condemned(poison).is_none());
    }
}
