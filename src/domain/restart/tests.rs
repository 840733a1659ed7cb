use super::ExitReason::{Asked, DownstreamGone, Fault, Finished, Panicked, Stuck};
use super::*;
use crate::domain::fault::FaultKind::{Corrupt, Forbidden, Incompatible, Invalid, Rejected, Throttled, Timeout, Unreachable};

const POLICY: Policy = Policy {
    restarts_max: 3,
    window: Duration::from_secs(60),
    pause: Duration::from_millis(100),
    pause_max: Duration::from_secs(1),
};

fn history(exits: &[(i64, ExitReason)]) -> History {
    let mut history = History::default();
    for (second, reason) in exits {
        history.note(Exit { at: Millis(second * 1000), reason: *reason, cause: String::new() });
    }
    history
}

fn restart(ms: u64) -> Action {
    Action::Restart { after: Duration::from_millis(ms) }
}

/// Goal: every reason has its action. Method: a table of reason, earlier exits and the answer at second 100.
#[test]
fn reasons_and_history_decide() {
    for (reason, earlier, want) in [
        (Finished, &[][..], Action::Leave),
        (Asked, &[(99, Panicked), (99, Panicked), (99, Panicked)], Action::Leave),
        (Panicked, &[], restart(100)),
        (Stuck, &[], restart(100)),
        (Fault(Rejected), &[], restart(100)),
        (Fault(Forbidden), &[], Action::Escalate),
        (Fault(Corrupt), &[], Action::Escalate),
        (Fault(Incompatible), &[], Action::Escalate),
        (Panicked, &[(99, Panicked)], restart(200)),
        (Panicked, &[(98, Stuck), (99, Fault(Invalid))], restart(400)),
        (Panicked, &[(97, Panicked), (98, Panicked), (99, Stuck)], Action::Escalate),
        // A minute ago is not within the window, and a calm window starts the pauses anew.
        (Panicked, &[(40, Panicked), (98, Panicked), (99, Panicked)], restart(800)),
        (Panicked, &[(37, Panicked), (38, Panicked), (39, Panicked)], restart(100)),
        // The outside never escalates, nor counts as a fault of its own; its pauses grow to the cap.
        (Fault(Unreachable), &[(97, Panicked), (98, Panicked), (99, Panicked)], restart(800)),
        (Fault(Timeout), &[(95, Stuck), (96, Stuck), (97, Stuck), (98, Stuck), (99, Stuck)], restart(1000)),
        (Panicked, &[(96, Fault(Throttled)), (97, DownstreamGone), (98, Fault(Timeout)), (99, DownstreamGone)], restart(1000)),
        (DownstreamGone, &[], restart(100)),
        // What was asked to stop and was started again begins anew.
        (Panicked, &[(97, Panicked), (98, Panicked), (99, Asked)], restart(100)),
    ] {
        let got = decide(reason, &history(earlier), Millis(100_000), &POLICY);
        assert_eq!(got, want, "{reason:?} after {earlier:?}");
    }
}

/// Goal: an outage of any length keeps being retried at the capped pace. Method: a hundred exits in a row.
#[test]
fn an_outage_never_escalates_and_the_history_stays_bounded() {
    let mut history = History::default();
    let mut now = Millis(0);
    let mut pauses = Vec::new();
    for n in 0..100 {
        let Action::Restart { after } = decide(Fault(Unreachable), &history, now, &POLICY) else { panic!("gave up at {n}") };
        pauses.push(after.as_millis());
        history.note(Exit { at: now, reason: Fault(Unreachable), cause: format!("try {n}") });
        now = Millis(now.0 + i64::try_from(after.as_millis()).unwrap());
    }
    assert_eq!(pauses[..5], [100, 200, 400, 800, 1000]);
    assert!(pauses[4..].iter().all(|p| *p == 1000));
    assert_eq!((history.exits().count(), history.total()), (EXITS_MAX, 100));
    assert_eq!(history.exits().next_back().map(|e| e.cause.as_str()), Some("try 99"));
}

/// Goal: a limit above what is kept still ends. Method: intensity far beyond the history's length.
#[test]
fn the_intensity_cannot_outgrow_the_history() {
    let policy = Policy { restarts_max: 1000, ..POLICY };
    let earlier: Vec<_> = (0..EXITS_MAX).map(|_| (99, Panicked)).collect();
    assert_eq!(decide(Panicked, &history(&earlier), Millis(100_000), &policy), Action::Escalate);
    let never = Policy { restarts_max: 0, ..POLICY };
    assert_eq!(decide(Panicked, &History::default(), Millis(0), &never), Action::Escalate);
}
