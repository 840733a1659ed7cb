//! What a record in hand leaves behind, so that one that kills the process is found (O2).
//!
//! Before records are decoded their range is noted, and taken off after. A note that is still there at the next start is
//! of a process that died with them in hand: they are then taken one by one, so that the next note names the culprit, and
//! a single record that was in hand at three deaths is not tried again. Knows nothing of files or processes.

use super::ids::RecordOffset;
use serde::{Deserialize, Serialize};

/// Deaths with one record in hand before it is set aside.
pub const DEATHS_MAX: u32 = 3;

/// Records in hand, first and last, and how often a process died with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crumb {
    pub first: i64,
    pub last: i64,
    pub deaths: u32,
}

/// How a partition goes on after a start, and what it notes meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caution {
    held: Option<Crumb>,
}

impl Caution {
    /// After a start that found this note.
    pub fn after(found: Option<Crumb>) -> Self {
        Self { held: found.map(|crumb| Crumb { deaths: crumb.deaths.saturating_add(1), ..crumb }) }
    }

    /// Whether an earlier process died with records in hand that are not past yet.
    pub fn is_wary(&self) -> bool {
        self.held.is_some()
    }

    /// Records of the range are taken one by one.
    pub fn is_alone(&self, at: RecordOffset) -> bool {
        self.held.is_some_and(|held| at.0 <= held.last)
    }

    /// A process died [`DEATHS_MAX`] times with this record, and it alone, in hand.
    pub fn condemned(&self, at: RecordOffset) -> bool {
        self.held.is_some_and(|held| held.deaths >= DEATHS_MAX && held.first == at.0 && held.last == at.0)
    }

    /// What to note before these records are taken in hand. Deaths with a range count for each record of it.
    pub fn crumb(&self, first: RecordOffset, last: RecordOffset) -> Crumb {
        let within = |held: &Crumb| held.first <= last.0 && first.0 <= held.last;
        Crumb { first: first.0, last: last.0, deaths: self.held.filter(within).map_or(0, |held| held.deaths) }
    }

    /// The partition is past this record; past the range there is nothing left to be careful about.
    pub fn passed(&mut self, at: RecordOffset) {
        if self.held.is_some_and(|held| at.0 >= held.last) {
            self.held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(offset: i64) -> RecordOffset {
        RecordOffset(offset)
    }

    /// Goal: a killer is found and set aside after its third death, its neighbours are not. Method: play processes that take
    /// records 0 to 99 in chunks of 10 and die at 57, until one gets through.
    #[test]
    fn a_record_that_kills_is_found() {
        let (mut note, mut deaths) = (None, 0);
        'process: loop {
            let mut caution = Caution::after(note);
            let mut next = 0;
            while next < 100 {
                let chunk = if caution.is_alone(at(next)) { 1 } else { 10 };
                let last = next + chunk - 1;
                if !caution.condemned(at(next)) {
                    note = Some(caution.crumb(at(next), at(last)));
                    if (next..=last).contains(&57) {
                        deaths += 1;
                        assert!(deaths < 10, "nobody finds it");
                        continue 'process;
                    }
                } else {
                    assert_eq!((next, last), (57, 57));
                }
                caution.passed(at(last));
                next = last + 1;
            }
            break;
        }
        assert_eq!(deaths, DEATHS_MAX, "the chunk it lies in counts too");
    }

    /// Goal: deaths at different places condemn nobody. Method: three notes that do not overlap.
    #[test]
    fn strangers_do_not_add_up() {
        let first = Caution::after(Some(Crumb { first: 3, last: 3, deaths: 1 }));
        assert_eq!(first.crumb(at(8), at(8)).deaths, 0);
        let second = Caution::after(Some(first.crumb(at(8), at(8))));
        assert!(!second.condemned(at(8)) && second.is_alone(at(8)) && !second.is_alone(at(9)));
    }
}
