//! Goal: each worked case ends in its documents, however the process dies on the way (2.12; O1, O2, J5, K1, W1).
//!
//! Method: `tests/golden/<case>/` holds a configuration, records and the documents they must end in. Each case runs straight
//! through the real binary; then with an abort at the n-th time of every step of a change's way, started again until it ends;
//! then with panics at every step. Always the same documents, and no version ever falls.

use crate::world::{Ran, Site, assert_same, side_by_side};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use widerow::domain::steps::Step;

/// Starts until a run must have ended.
const STARTS_MAX: usize = 3;

struct Case {
    name: String,
    config: String,
    records: String,
    documents: BTreeMap<String, BTreeMap<String, Value>>,
    dead_letters: u64,
}

fn cases() -> Vec<Case> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(golden).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(config) = std::fs::read_to_string(folder.join("config.yaml")) else { continue };
        let records = std::fs::read_to_string(folder.join("records.jsonl")).unwrap();
        let expected: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("documents.json")).unwrap()).unwrap();
        cases.push(Case {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            config,
            records,
            documents: serde_json::from_value(expected["documents"].clone()).unwrap(),
            dead_letters: expected["dead_letters"].as_u64().unwrap(),
        });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() >= 7, "the golden cases were not found");
    cases
}

impl Case {
    fn site(&self) -> Site {
        Site::new(&self.config, &self.records)
    }

    fn check(&self, site: &Site, when: &str) {
        for (line, want) in &self.documents {
            assert_same(&site.fold(line), want, &format!("{} {when}, line {line}", self.name));
        }
    }
}

/// A straight run ends in the documents, and its summary adds up: every job created is done or buried, every run of a job
/// has one outcome, every bad position is a dead letter once. A second run finds nothing left to read.
#[test]
fn straight() {
    side_by_side(&cases(), |case| {
        let site = case.site();
        let ran = site.run(&[], None);
        assert_eq!(ran.code, Some(0), "{}: {}", case.name, ran.log);
        case.check(&site, "straight");
        assert_eq!(ran.count("/records"), case.records.lines().count() as u64, "{}", case.name);
        assert_eq!(ran.count("/dead_letters"), case.dead_letters, "{}: {}", case.name, ran.summary);
        let jobs = |what: &str| ran.count(&format!("/jobs/{what}"));
        let documents = |what: &str| ran.count(&format!("/documents/{what}"));
        assert_eq!(jobs("created"), jobs("done") + jobs("buried") + jobs("parked"), "{}: {}", case.name, ran.summary);
        let outcomes: u64 = ["written", "superseded", "deleted", "skipped", "rejected"].map(documents).iter().sum();
        assert_eq!(outcomes, jobs("done") + jobs("buried"), "{}: {}", case.name, ran.summary);
        assert_eq!(documents("rejected") + jobs("parked"), 0, "{}: {}", case.name, ran.summary);
        assert!(ran.count("/rows") >= ran.count("/row_writes") && ran.count("/row_writes") > 0, "{}: {}", case.name, ran.summary);
        let again = site.run(&[], None);
        assert_eq!((again.code, again.count("/records"), again.count("/jobs/created")), (Some(0), 0, 0), "{}", case.name);
        let anew = site.run(&["--from-start"], None);
        assert_eq!(anew.code, Some(0), "{}: {}", case.name, anew.log);
        assert_eq!(anew.count("/dead_letters"), 0, "{}: known letters are met again", case.name);
        case.check(&site, "read again from the start");
    });
}

/// Starts until a run ends well; the first one's exit code.
fn started_until_over(site: &Site, step: &str, name: &str) -> Option<i32> {
    let first: Ran = site.run(&[], Some(step));
    let mut last = first.code;
    let mut starts = 1;
    while last != Some(0) {
        assert!(starts < STARTS_MAX, "{name} {step}: still not over after {starts} starts: {last:?}\n{}", first.log);
        last = site.run(&[], None).code;
        starts += 1;
    }
    first.code
}

/// An abort right after any step loses nothing and doubles nothing (2.12 case 7).
#[test]
fn aborted_at_every_step() {
    let cases = cases();
    let mut jobs = Vec::new();
    for step in Step::ALL {
        for (place, case) in cases.iter().enumerate() {
            // Later moments need not be tried in every case.
            let later = if place % 2 == 0 { 2 } else { 5 };
            jobs.extend([1, later].map(|nth| (case, step, nth)));
        }
    }
    let struck = Mutex::new(Vec::new());
    side_by_side(&jobs, |(case, step, nth)| {
        let site = case.site();
        let script = format!("abort:{}:{nth}", step.label());
        if started_until_over(&site, &script, &case.name).is_none() {
            struck.lock().unwrap().push((*step, *nth));
        }
        case.check(&site, &script);
    });
    let struck = struck.into_inner().unwrap();
    for step in Step::ALL {
        assert!(struck.contains(&(step, 1)), "no case ever reaches {}", step.label());
    }
}

/// A panic, once or three times, at any step is survived in the same process; one in the root ends it, and the next start
/// goes on.
#[test]
fn panics_at_every_step() {
    let cases = cases();
    let mut jobs = Vec::new();
    for (number, step) in Step::ALL.into_iter().enumerate() {
        for (place, case) in cases.iter().enumerate().filter(|(place, _)| (number + place) % 2 == 0) {
            jobs.push((case, step, [(1, 1), (2, 3), (1, 3)][place % 3]));
        }
    }
    side_by_side(&jobs, |(case, step, (nth, times))| {
        let site = case.site();
        let script = format!("panic:{}:{nth}:{times}", step.label());
        let code = started_until_over(&site, &script, &case.name);
        let root = code == Some(4) && *step == Step::PositionCommitted;
        assert!(code == Some(0) || root, "{} {script}: ended with {code:?}; only the root's panic ends the process", case.name);
        case.check(&site, &script);
    });
}
