use super::*;
use std::collections::HashSet;

fn name(text: &str) -> Name {
    Name::of(text)
}

fn load(offered: i64, types: &[&str]) -> Load {
    Load { first_offered: Millis(offered), types: types.iter().map(|t| name(t)).collect(), ..Load::default() }
}

fn offered(lane: u8, offered: i64) -> KeyState {
    let mut state = KeyState::default();
    assert_eq!(state.offer(Lane(lane), &load(offered, &[]), false), Offered::Created);
    state
}

/// Goal: what an offer finds and makes (J2, J4, J7, J9). Method: a table of what waits.
#[test]
fn offers_coalesce_onto_what_has_not_started() {
    for (hold, spill, want, after) in [
        (None, false, Offered::Created, Hold::Ready),
        (None, true, Offered::Spilled, Hold::Spilled),
        (Some(Hold::Ready), true, Offered::Coalesced, Hold::Ready),
        (Some(Hold::Until(Millis(9))), false, Offered::Coalesced, Hold::Until(Millis(9))),
        (Some(Hold::Parked), false, Offered::Coalesced, Hold::Parked),
        (Some(Hold::Spilled), false, Offered::Coalesced, Hold::Spilled),
        (Some(Hold::Buried { reason: "no".into() }), false, Offered::Created, Hold::Ready),
        (Some(Hold::Buried { reason: "no".into() }), true, Offered::Spilled, Hold::Spilled),
    ] {
        let held = |hold: &Hold| Waiting { lane: Lane(2), load: load(3, &["a"]), attempts: 4, hold: hold.clone() };
        let mut state = KeyState { waiting: hold.as_ref().map(held), active: None };
        let coming = Load { must_write: true, oldest: Some(Millis(1)), newest: Some(Millis(2)), ..load(8, &["b", "a"]) };
        assert_eq!(state.offer(Lane(1), &coming, spill), want, "{hold:?}");
        let waiting = state.waiting.expect("something waits");
        assert_eq!((waiting.hold, waiting.lane, waiting.load.must_write), (after, Lane(1), true), "{hold:?}");
        assert_eq!((waiting.load.oldest, waiting.load.newest), (Some(Millis(1)), Some(Millis(2))));
        assert!(["a", "b"].iter().all(|t| waiting.load.types.contains(&name(t))) && waiting.load.types.len() == 2);
        let anew = hold.is_none() || matches!(hold, Some(Hold::Buried { .. }));
        assert_eq!((waiting.load.first_offered, waiting.attempts), if anew { (Millis(8), 0) } else { (Millis(3), 4) }, "J8");
    }
}

/// Goal: what may be taken (J2, J7, J8, J9). Method: a table of holds and times.
#[test]
fn only_what_is_ready_is_taken() {
    for (hold, now, taken) in [
        (Hold::Ready, 0, true),
        (Hold::Until(Millis(5)), 4, false),
        (Hold::Until(Millis(5)), 5, true),
        (Hold::Parked, 9, false),
        (Hold::Spilled, 9, false),
        (Hold::Buried { reason: "no".into() }, 9, false),
    ] {
        let mut state = offered(1, 0);
        state.waiting.as_mut().expect("a job").hold = hold.clone();
        assert_eq!(state.take(Millis(now), Lease(1), Millis(99)).is_some(), taken, "{hold:?} at {now}");
        assert_eq!(state.waiting.is_none(), taken);
    }
}

/// Goal: each verdict with and without a follow-up (J4, J7, J10). Method: a table of what is left.
#[test]
fn verdicts_end_a_run() {
    let retry = |counts| Verdict::Retry { at: Millis(50), counts };
    let bury = || Verdict::Bury { reason: "no".into() };
    let buried = || Hold::Buried { reason: "no".into() };
    let until = || Hold::Until(Millis(50));
    for (verdict, follow_up, settled, left) in [
        (Verdict::Done, false, Settled::Applied, None),
        (Verdict::Done, true, Settled::Applied, Some((2, 0, Hold::Ready))),
        (retry(true), false, Settled::Applied, Some((1, 1, until()))),
        (retry(false), false, Settled::Applied, Some((1, 0, until()))),
        (retry(true), true, Settled::GaveWay, Some((1, 1, until()))),
        (bury(), false, Settled::Applied, Some((1, 1, buried()))),
        (bury(), true, Settled::GaveWay, Some((1, 0, Hold::Ready))),
        (Verdict::Requeue, false, Settled::Applied, Some((1, 0, Hold::Ready))),
        (Verdict::Requeue, true, Settled::GaveWay, Some((1, 0, Hold::Ready))),
    ] {
        let mut state = offered(1, 3);
        state.take(Millis(4), Lease(1), Millis(10)).expect("a job");
        if follow_up {
            assert_eq!(state.offer(Lane(2), &load(5, &["late"]), false), Offered::Created, "J2: a follow-up");
        }
        assert_eq!(state.settle(Lease(2), verdict.clone()), Settled::LeaseGone, "J10");
        assert_eq!(state.settle(Lease(1), verdict.clone()), settled, "{verdict:?}");
        let waits = state.waiting.as_ref().map(|w| (w.lane.0, w.attempts, w.hold.clone()));
        assert_eq!((waits, state.active.is_some()), (left, false), "{verdict:?}, follow-up: {follow_up}");
        if settled == Settled::GaveWay {
            let kept = &state.waiting.as_ref().expect("a follow-up").load;
            assert_eq!((kept.first_offered, kept.types.as_slice()), (Millis(3), &[name("late")][..]), "J4, J8");
        }
        assert_eq!(state.settle(Lease(1), Verdict::Done), Settled::LeaseGone, "a second verdict counts for nothing");
    }
}

/// Goal: leases end by time alone, and progress keeps them (J10). Method: expiry around an extension.
#[test]
fn leases_expire_unless_extended() {
    let mut state = offered(1, 0);
    state.take(Millis(0), Lease(1), Millis(10)).expect("a job");
    assert!(!state.expire(Millis(10)), "the lease holds through its last millisecond");
    assert!(!state.extend(Lease(2), Millis(99)) && state.extend(Lease(1), Millis(20)) && state.extend(Lease(1), Millis(15)));
    assert!(!state.expire(Millis(20)) && state.expire(Millis(21)) && !state.expire(Millis(99)));
    assert_eq!(state.waiting.as_ref().map(|w| (w.attempts, &w.hold)), Some((1, &Hold::Until(Millis(21)))));
    assert!(!state.extend(Lease(1), Millis(99)));
}

/// Goal: what is put aside comes back with all its tries and runs whatever its age (J8, J9). Method: a table of holds.
#[test]
fn release_brings_back_what_is_aside() {
    for (hold, parks, released) in [
        (Hold::Ready, true, false),
        (Hold::Until(Millis(5)), true, false),
        (Hold::Parked, false, true),
        (Hold::Spilled, false, true),
        (Hold::Buried { reason: "no".into() }, false, true),
    ] {
        let mut state = offered(1, 0);
        let waiting = state.waiting.as_mut().expect("a job");
        (waiting.hold, waiting.attempts) = (hold.clone(), 7);
        assert_eq!(state.clone().park(), parks, "{hold:?}");
        assert_eq!(state.release(), released, "{hold:?}");
        let waiting = state.waiting.expect("a job");
        let want = if released { (Hold::Ready, 0, true) } else { (hold, 7, false) };
        assert_eq!((waiting.hold, waiting.attempts, waiting.load.run_late), want);
    }
    assert!(!KeyState::default().release() && !KeyState::default().park());
}

mod exploration;
