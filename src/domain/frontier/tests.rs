use super::*;
use proptest::prelude::*;

/// The naive way: every record ever taken, in order, with what is left of it.
struct Naive {
    start: i64,
    records: Vec<(i64, u32, usize)>,
}

impl Naive {
    fn settled(&self) -> usize {
        self.records.iter().take_while(|(_, left, _)| *left == 0).count()
    }

    fn agrees(&self, frontier: &Frontier) {
        let settled = self.settled();
        let committable = settled.checked_sub(1).map_or(self.start, |last| self.records[last].0 + 1);
        let open = || self.records.iter().filter(|(_, left, _)| *left > 0);
        let tracked = &self.records[settled..];
        assert_eq!(frontier.committable(), NextOffset(committable), "O1");
        assert_eq!(frontier.unsettled(), open().count());
        assert_eq!(frontier.bytes(), open().map(|(_, _, bytes)| bytes).sum::<usize>());
        assert_eq!(frontier.span(), tracked.len(), "O4");
        assert_eq!(frontier.oldest_open(), open().next().map(|(at, _, _)| RecordOffset(*at)));
        assert_eq!(frontier.highest_taken(), tracked.last().map(|(at, _, _)| RecordOffset(*at)));
    }
}

proptest! {
    /// Goal: O1 and O4's counts in any order of completion, with holes and records of several parts.
    /// Method: the same steps against a plain list; a settle may name a record that never was.
    #[test]
    fn as_a_plain_list(
        start in 0i64..1_000,
        steps in prop::collection::vec((any::<bool>(), -1i64..4, 0u32..4, 0usize..50, any::<prop::sample::Index>()), 1..200),
    ) {
        let mut frontier = Frontier::starting_at(NextOffset(start));
        let mut naive = Naive { start, records: Vec::new() };
        for (take, gap, parts, bytes, which) in steps {
            let last = naive.records.last().map_or(start - 1, |(at, _, _)| *at);
            if take {
                let at = last + gap;
                prop_assert_eq!(frontier.open(RecordOffset(at), parts, bytes), gap > 0, "{} after {}", at, last);
                if gap > 0 {
                    naive.records.push((at, parts, bytes));
                }
            } else {
                let at = start + which.index(usize::try_from(last - start + 3).unwrap_or(1)) as i64;
                let found = naive.records.iter_mut().find(|(held, left, _)| *held == at && *left > 0);
                let open = found.is_some();
                if let Some((_, left, _)) = found {
                    *left -= 1;
                }
                prop_assert_eq!(frontier.settle(RecordOffset(at)), open, "settling {}", at);
            }
            naive.agrees(&frontier);
        }
    }
}
