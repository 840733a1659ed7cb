//! Delivered-through marks and the lives of the queue (J11).
//!
//! A mark says: every change before these positions has had its jobs finished. It is a sample of committed positions,
//! older than the oldest unfinished job by a minute, so that it never says too much. A queue that lives another life has
//! lost its jobs: each partition goes back to the mark, and notes the new life once everything up to where it stood has
//! been accepted again; until all have, no mark moves. A mark names its epoch (E4): in a later life of its topic the same
//! offset is another place. Knows nothing of queues, ledgers or actors.

use super::epoch::Epochs;
use super::ids::{Epoch, Millis, NextOffset, Partition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// Committed positions at one moment.
pub type Positions = BTreeMap<Partition, NextOffset>;

/// A mark takes the sample at least this much older than the oldest unfinished job: offers and commits of one moment
/// are not one step.
pub const MARK_MARGIN_MS: i64 = 60_000;
/// Samples kept. When there are more, every second one goes: an older sample is always safe.
pub const SAMPLES_MAX: usize = 512;

/// Stands between a mark's position and its epoch.
const EPOCH: char = '/';

/// A delivered-through mark of one partition. The default lies before everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    next: NextOffset,
    /// Of the last record before it.
    epoch: Epoch,
}

impl Default for Mark {
    fn default() -> Self {
        Self { next: NextOffset(0), epoch: Epoch(0) }
    }
}

impl Mark {
    pub fn at(next: NextOffset, epochs: &Epochs) -> Self {
        Self { next, epoch: last_before(next, epochs) }
    }

    /// Where it lies in a log of these epochs. `None`: it is of an earlier life of the topic, whose records are gone.
    pub fn within(self, epochs: &Epochs) -> Option<NextOffset> {
        (last_before(self.next, epochs) == self.epoch).then_some(self.next)
    }

    /// As it was printed; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (next, epoch) = text.split_once(EPOCH).unwrap_or((text, "0"));
        Some(Self { next: NextOffset(next.parse().ok()?), epoch: Epoch(epoch.parse().ok()?) })
    }
}

/// `12` in the first epoch, `12/3` in another.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Epoch(0) => write!(f, "{}", self.next.0),
            Epoch(epoch) => write!(f, "{}{EPOCH}{epoch}", self.next.0),
        }
    }
}

fn last_before(next: NextOffset, epochs: &Epochs) -> Epoch {
    epochs.at((next.0 - 1).max(0))
}

/// Samples of committed positions, oldest first, by the queue's own clock.
#[derive(Clone, Debug, Default)]
pub struct Samples(VecDeque<(Millis, Positions)>);

impl Samples {
    pub fn take(&mut self, at: Millis, positions: Positions) {
        if self.0.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        self.0.push_back((at, positions));
        if self.0.len() > SAMPLES_MAX {
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// The newest sample a minute older than the oldest unfinished job of any line, or than now. `None`: none is that old.
    pub fn mark(&self, oldest_unfinished: Option<Millis>, now: Millis) -> Option<&Positions> {
        let before = oldest_unfinished.map_or(now, |oldest| oldest.min(now)).0.saturating_sub(MARK_MARGIN_MS);
        self.0.iter().rev().find(|(at, _)| at.0 <= before).map(|(_, positions)| positions)
    }

    /// A partition begins here anew, maybe behind where it was, maybe in another life of its topic: what was sampled of it
    /// before says nothing of that.
    pub fn forget(&mut self, partition: Partition) {
        for (_, positions) in &mut self.0 {
            positions.remove(&partition);
        }
    }

    /// A life was lost: samples of it say nothing of the next.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Which life of the queue each partition has noted, and who still goes back over a loss.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    current: Option<String>,
    noted: BTreeMap<Partition, String>,
    /// Whose note is on its way, and may never arrive.
    telling: BTreeSet<Partition>,
    /// Where each partition stood when the loss was seen.
    recovering: BTreeMap<Partition, NextOffset>,
    /// Those of them whose log no longer reaches back to their mark: the jobs of what left it are made by a sweep.
    unswept: BTreeSet<Partition>,
}

impl Lives {
    /// What the durable notes say of each partition.
    pub fn remember(&mut self, noted: impl IntoIterator<Item = (Partition, String)>) {
        self.noted.extend(noted);
    }

    /// The queue says which life it lives. `true`: another than before in this process; every partition must go back.
    pub fn heard(&mut self, life: &str, standing: &Positions) -> bool {
        let lost = self.current.as_deref().is_some_and(|current| current != life);
        self.current = Some(life.to_owned());
        if lost {
            for (partition, next) in standing {
                let target = self.recovering.entry(*partition).or_insert(*next);
                *target = (*target).max(*next);
            }
        }
        lost
    }

    /// A partition comes to this process, committed up to `committed`. `true`: its notes name another life, go back. One
    /// that is committed and has no note may have had jobs in any life: nobody commits before the life is noted.
    pub fn assigned(&mut self, partition: Partition, committed: NextOffset) -> bool {
        let lost = match (self.noted.get(&partition), &self.current) {
            (Some(noted), Some(current)) => noted != current,
            (None, _) => committed > NextOffset(0),
            (Some(_), None) => false,
        };
        if lost {
            self.recovering.insert(partition, committed);
        }
        lost
    }

    pub fn left(&mut self, partition: Partition) {
        self.recovering.remove(&partition);
        self.unswept.remove(&partition);
    }

    /// The log of a partition begins beyond where it is read. Where it stood when the queue was lost, if it goes back over a
    /// loss: the jobs of what left the log before that were in the queue alone, so a sweep is owed.
    pub fn cut(&mut self, partition: Partition) -> Option<NextOffset> {
        let target = self.recovering.get(&partition).copied();
        if target.is_some() {
            self.unswept.insert(partition);
        }
        target
    }

    /// The life in which a sweep is owed.
    pub fn owes_sweep(&self) -> Option<&str> {
        self.current().filter(|_| !self.unswept.is_empty())
    }

    /// Every row's jobs were offered in this life, since it was heard of.
    pub fn swept(&mut self, life: &str) {
        if self.current() == Some(life) {
            self.unswept.clear();
        }
    }

    /// Partitions that may note the current life now: not going back, or back where they stood with no sweep owed. Each is
    /// told once.
    pub fn to_note(&mut self, settled: &Positions) -> Vec<Partition> {
        let Some(current) = &self.current else { return Vec::new() };
        let mut noting = Vec::new();
        for (partition, next) in settled {
            if self.recovering.get(partition).is_some_and(|target| next < target) || self.unswept.contains(partition) {
                continue;
            }
            self.recovering.remove(partition);
            if self.noted.get(partition) != Some(current) {
                self.noted.insert(*partition, current.clone());
                self.telling.insert(*partition);
                noting.push(*partition);
            }
        }
        noting
    }

    /// It does not go back, and no durable note of it names the current life for sure.
    pub fn is_unnoted(&self, partition: Partition) -> bool {
        let is_sure = self.noted.get(&partition) == self.current.as_ref() && !self.telling.contains(&partition);
        !self.recovering.contains_key(&partition) && !is_sure
    }

    /// What became of the notes: those that could not be kept are told again.
    pub fn told(&mut self, partitions: impl IntoIterator<Item = Partition>, kept: bool) {
        for partition in partitions {
            self.telling.remove(&partition);
            if !kept {
                self.noted.remove(&partition);
            }
        }
    }

    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// No mark moves while any partition has not noted the life.
    pub fn marks_may_move(&self) -> bool {
        self.recovering.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Name;
    use proptest::prelude::*;

    fn at(number: i32) -> Partition {
        Partition { topic: Name::of("t"), number }
    }
    fn positions(pairs: &[(i32, i64)]) -> Positions {
        pairs.iter().map(|(p, n)| (at(*p), NextOffset(*n))).collect()
    }

    /// Goal: J11, a loss and a second one during the way back. Method: play both.
    #[test]
    fn a_life_is_noted_only_where_everything_was_accepted_again() {
        let mut lives = Lives::default();
        assert!(!lives.heard("a", &positions(&[(0, 10), (1, 20)])), "the first life is no loss");
        assert_eq!(lives.to_note(&positions(&[(0, 10), (1, 20)])), [at(0), at(1)]);
        assert!(lives.heard("b", &positions(&[(0, 30), (1, 25)])));
        assert!(!lives.marks_may_move());
        assert_eq!(lives.to_note(&positions(&[(0, 29), (1, 25)])), [at(1)]);
        assert!(lives.heard("c", &positions(&[(0, 29), (1, 26)])), "lost again on the way back");
        assert_eq!(lives.to_note(&positions(&[(0, 29), (1, 10)])), [], "0 stood at 30 when the first loss was seen");
        assert_eq!(lives.to_note(&positions(&[(0, 30), (1, 26)])), [at(0), at(1)]);
        assert!(lives.marks_may_move());
    }

    /// Goal: nobody commits on a note that may not arrive. Method: ask before it was told, on its way, lost, kept.
    #[test]
    fn a_note_counts_once_it_is_kept() {
        let mut lives = Lives::default();
        lives.heard("a", &Positions::new());
        assert!(lives.is_unnoted(at(0)), "nothing is noted yet");
        for (kept, is_unnoted) in [(false, true), (true, false)] {
            assert_eq!(lives.to_note(&positions(&[(0, 0)])), [at(0)]);
            assert!(lives.is_unnoted(at(0)), "on its way");
            lives.told([at(0)], kept);
            assert_eq!(lives.is_unnoted(at(0)), is_unnoted, "kept: {kept}");
        }
    }

    /// Goal: who owns a partition before its life is noted goes back. Method: a partition comes with an old note.
    #[test]
    fn a_new_owner_goes_back_too() {
        let mut lives = Lives::default();
        lives.remember([(at(0), "a".to_owned())]);
        lives.heard("b", &Positions::new());
        assert!(lives.assigned(at(0), NextOffset(7)));
        assert!(!lives.assigned(at(1), NextOffset(0)), "what was never committed has no jobs to lose");
        assert!(lives.assigned(at(2), NextOffset(3)), "somebody committed it in a life that nobody noted");
        assert!(!lives.marks_may_move());
        assert_eq!(lives.to_note(&positions(&[(0, 6), (1, 7), (2, 2)])), [at(1)]);
        assert_eq!(lives.to_note(&positions(&[(0, 7), (2, 3)])), [at(0), at(2)]);
    }

    /// Goal: a partition whose log was cut below the loss notes no life before a sweep of that life. Method: cut, sweep of
    /// an older life, sweep; one that goes back over nothing owes nothing.
    #[test]
    fn a_cut_log_owes_a_sweep() {
        let mut lives = Lives::default();
        lives.heard("a", &positions(&[(0, 10), (1, 20)]));
        assert_eq!((lives.cut(at(0)), lives.owes_sweep()), (None, None), "no jobs were lost");
        lives.heard("b", &positions(&[(0, 10), (1, 20)]));
        assert_eq!(lives.cut(at(0)), Some(NextOffset(10)));
        assert_eq!(lives.owes_sweep(), Some("b"));
        assert_eq!(lives.to_note(&positions(&[(0, 10), (1, 20)])), [at(1)]);
        lives.heard("c", &positions(&[(0, 10), (1, 20)]));
        lives.swept("b");
        assert_eq!(lives.owes_sweep(), Some("c"), "what was offered in a life that ended is lost again");
        lives.swept("c");
        assert_eq!(lives.to_note(&positions(&[(0, 10), (1, 20)])), [at(0), at(1)]);
        lives.heard("d", &positions(&[(0, 10)]));
        lives.cut(at(0));
        lives.left(at(0));
        assert_eq!(lives.owes_sweep(), None, "its next owner finds the old note, and the log cut");
    }

    /// Goal: E4, a mark counts in the life of the topic it was made in. Method: a table of marks and the epochs of a log, as
    /// kept and as read again.
    #[test]
    fn a_mark_of_an_earlier_life_lies_nowhere() {
        let (first, second) = (Epochs::default(), Epochs::whole(Epoch(1)));
        let raised: Epochs = serde_json::from_str("[[0,0],[50,1]]").unwrap();
        let cases = [
            (57, &first, "57", &first, Some(57)),
            (57, &first, "57", &second, None),
            (57, &second, "57/1", &second, Some(57)),
            (50, &first, "50", &raised, Some(50)),
            (57, &first, "57", &raised, None),
            (0, &first, "0", &second, None),
        ];
        for (next, made, text, now, lies) in cases {
            let mark = Mark::at(NextOffset(next), made);
            assert_eq!(mark.to_string(), text);
            let read = Mark::parse(text).unwrap();
            assert_eq!((read, read.within(now)), (mark, lies.map(NextOffset)), "{text} within {now:?}");
        }
        assert_eq!(Mark::default().within(&second), None, "what was never marked may have had jobs in the first life");
        assert_eq!([Mark::parse("x"), Mark::parse("5/"), Mark::parse("")], [None; 3]);
    }

    /// Goal: a sample of a partition's earlier stay moves no mark. Method: sample two, forget one.
    #[test]
    fn what_begins_anew_has_no_samples() {
        let mut samples = Samples::default();
        samples.take(Millis(0), positions(&[(0, 57), (1, 9)]));
        samples.forget(at(0));
        assert_eq!(samples.mark(None, Millis(MARK_MARGIN_MS)), Some(&positions(&[(1, 9)])));
    }

    proptest! {
        /// Goal: a mark never passes an unfinished job. Method: jobs offered at random times, some finished; positions
        /// grow with time, so a position stands for when it was committed.
        #[test]
        fn a_mark_lies_before_every_unfinished_job(
            steps in prop::collection::vec((1i64..20_000, any::<bool>()), 1..1_500),
            unfinished in any::<prop::sample::Index>(),
        ) {
            let (mut samples, mut now, mut offered) = (Samples::default(), 0, Vec::new());
            for (pause, offer) in steps {
                now += pause;
                samples.take(Millis(now), positions(&[(0, now)]));
                if offer {
                    offered.push(now);
                }
            }
            let oldest = (!offered.is_empty()).then(|| Millis(offered[unfinished.index(offered.len())]));
            if let Some(mark) = samples.mark(oldest, Millis(now)) {
                let through = mark[&at(0)].0;
                prop_assert!(through + MARK_MARGIN_MS <= oldest.map_or(now, |o| o.0));
            }
            prop_assert!(samples.0.len() <= SAMPLES_MAX);
        }
    }
}
