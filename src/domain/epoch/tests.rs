use super::*;
use proptest::prelude::*;

fn part(low: i64, high: i64) -> PartSeen {
    PartSeen { low, high, committed: None }
}

fn seen(id: &str, parts: &[PartSeen]) -> TopicSeen {
    let parts: BTreeMap<_, _> = (0..).zip(parts.iter().copied()).collect();
    TopicSeen { id: Some(id.to_owned()), partitions: u32::try_from(parts.len()).unwrap(), parts }
}

fn committed(next: i64, epoch: Option<u32>) -> Option<Committed> {
    Some(Committed { next: NextOffset(next), epoch })
}

/// Goal: a stopped partition never seems to have nothing behind it. Method: a table of what the group holds and the end that is
/// remembered.
#[test]
fn where_a_stopped_partition_stands() {
    for (next, high, stands) in [(Some(7), 9, 7), (Some(0), 9, 0), (None, 9, 9), (None, 0, 1)] {
        let memory = TopicMemory::first(&seen("a", &[part(0, high)]));
        let again = PartSeen { committed: next.and_then(|next| committed(next, None)), ..part(0, 2) };
        assert_eq!(memory.held(0, &again), NextOffset(stands), "committed {next:?}, remembered {high}");
    }
}

/// Goal: E3's list of what stops a topic, and what does not. Method: a table against one memory of two partitions.
#[test]
fn what_stops_a_topic() {
    let memory = TopicMemory::first(&seen("a", &[part(0, 100), part(0, 50)]));
    let nothing: [TopicSeen; 4] = [
        seen("a", &[part(0, 100), part(0, 50)]),
        seen("a", &[part(90, 400), part(50, 50)]),
        TopicSeen { id: None, ..seen("a", &[part(0, 100), part(0, 50)]) },
        seen("a", &[PartSeen { committed: committed(100, None), ..part(0, 100) }, part(0, 50)]),
    ];
    for seen in nothing {
        assert_eq!(memory.judge(&seen), [], "{seen:?}");
    }
    let stops = [
        (seen("b", &[part(0, 1), part(0, 1)]), Break::Recreated { was: "a".into(), is: "b".into() }),
        (seen("a", &[part(0, 100), part(0, 50), part(0, 0)]), Break::Grown { from: 2, to: 3 }),
        (seen("a", &[part(0, 100)]), Break::Shrunk { from: 2, to: 1 }),
        (seen("a", &[part(0, 99), part(0, 50)]), Break::Truncated { partition: 0, remembered: 100, high: 99 }),
        (
            seen("a", &[part(0, 100), PartSeen { committed: committed(61, Some(0)), ..part(0, 60) }]),
            Break::CommittedAbove { partition: 1, committed: 61, high: 60 },
        ),
    ];
    for (seen, found) in stops {
        assert_eq!(memory.judge(&seen), [found], "{seen:?}");
    }
}

/// Goal: where reading begins. Method: a table of committed positions against a partition whose epoch 1 begins at 80.
#[test]
fn where_reading_begins() {
    let mut memory = TopicMemory::first(&seen("a", &[part(0, 200)]));
    memory.parts.get_mut(&0).unwrap().epochs = Epochs::whole(Epoch(0)).raised(80, 1);
    for (low, held, at, missing) in [
        (0, None, 0, 0),
        (30, None, 30, 0),
        (0, committed(50, Some(0)), 50, 0),
        (0, committed(150, Some(1)), 150, 0),
        (0, committed(150, None), 150, 0),
        (0, committed(150, Some(0)), 80, 0),
        (120, committed(150, Some(0)), 120, 0),
        (60, committed(50, Some(0)), 60, 10),
    ] {
        let part = PartSeen { low, high: 200, committed: held };
        assert_eq!(memory.start(0, &part), Start { at: NextOffset(at), missing }, "{part:?}");
    }
}

/// Goal: E4 for each break. Method: bump, and look which offsets of which partition have which epoch.
#[test]
fn an_epoch_belongs_to_the_record() {
    let memory = TopicMemory::first(&seen("a", &[part(0, 100), part(0, 50)]));
    let again = memory.bump(&seen("b", &[part(0, 7), part(0, 0)]));
    assert_eq!(again.boundaries, [(0, 0), (1, 0)]);
    assert_eq!((again.memory.epochs(0).at(0), again.memory.epoch, again.memory.parts[&0].high), (Epoch(1), 1, 7));

    let grown = memory.bump(&seen("a", &[part(0, 300), part(0, 50), part(0, 2), part(0, 0)]));
    assert_eq!(grown.boundaries, [(2, 0), (3, 0)]);
    assert_eq!((grown.memory.epochs(0).at(299), grown.memory.epochs(2).at(0)), (Epoch(0), Epoch(1)));
    assert!(!grown.keys_moved, "with a multiple keys move only to new partitions");
    assert!(memory.bump(&seen("a", &[part(0, 100), part(0, 50), part(0, 0)])).keys_moved);

    let lost = memory.bump(&seen("a", &[part(0, 80), part(0, 50)]));
    assert_eq!((lost.boundaries.as_slice(), lost.records_lost), (&[(0, 0)][..], true));
    assert_eq!(lost.memory.epochs(1).at(49), Epoch(0), "the other partition lost nothing");

    let unasked = memory.bump(&seen("a", &[part(0, 100), part(0, 50)]));
    assert_eq!(unasked.boundaries, [(0, 100), (1, 50)]);
    assert_eq!((unasked.memory.epochs(0).at(99), unasked.memory.epochs(0).at(100)), (Epoch(0), Epoch(1)));
}

/// Goal: what was committed before a bump does not skip what came after. Method: commit, recreate, bump, start.
#[test]
fn a_position_of_an_earlier_life_starts_nothing() {
    let memory = TopicMemory::first(&seen("a", &[part(0, 100)]));
    let again = PartSeen { committed: committed(90, Some(0)), ..part(0, 95) };
    let bumped = memory.bump(&seen("b", &[again])).memory;
    assert_eq!(bumped.judge(&seen("b", &[again])), []);
    assert_eq!(bumped.start(0, &again).at, NextOffset(0));
}

#[derive(Clone, Debug)]
enum Happening {
    Written(usize, i64),
    Recreated,
    Grown,
    Truncated(usize, i64),
}

proptest! {
    /// Goal: E1 over every life: whoever bumps when told to gives each partition rising stamps in the order of writing, and
    /// after a bump nothing is wrong any more. Method: a random history of a topic, judged and bumped after each step.
    #[test]
    fn a_bump_mends_what_was_found(happenings in prop::collection::vec(prop_oneof![
        (0usize..6, 1i64..50).prop_map(|(p, n)| Happening::Written(p, n)),
        Just(Happening::Recreated),
        Just(Happening::Grown),
        (0usize..6, 1i64..30).prop_map(|(p, n)| Happening::Truncated(p, n)),
    ], 1..30)) {
        let (mut life, mut highs) = (0, vec![0i64; 2]);
        let now = |life: i32, highs: &[i64]| {
            seen(&life.to_string(), &highs.iter().map(|high| part(0, *high)).collect::<Vec<_>>())
        };
        let mut memory = TopicMemory::first(&now(life, &highs));
        for happening in happenings {
            let before = memory.clone();
            match happening {
                Happening::Written(p, n) => { let p = p % highs.len(); highs[p] += n; }
                Happening::Recreated => { life += 1; highs = vec![3; highs.len()]; }
                Happening::Grown => if highs.len() < 24 { highs.resize(highs.len() * 2, 1) },
                Happening::Truncated(p, n) => { let p = p % highs.len(); highs[p] = (highs[p] - n).max(0); }
            }
            let found = now(life, &highs);
            if !memory.judge(&found).is_empty() {
                memory = memory.bump(&found).memory;
                prop_assert_eq!(memory.epoch, before.epoch + 1);
            }
            prop_assert_eq!(memory.judge(&found), []);
            memory.remember(&found);
            for (number, part) in &memory.parts {
                let was = before.epochs(*number);
                let rises = part.epochs.0.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
                prop_assert!(rises, "{:?}", part.epochs);
                prop_assert!(part.epochs.at(0) >= was.at(0), "an epoch fell");
            }
        }
    }
}
