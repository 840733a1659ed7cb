use super::*;
use crate::domain::record::Record;
use crate::io::feed::testing::{CALLS_MAX, Call, Engine, block_on, part};
use crate::ports::ledger::{DeadLetter, Kept};
use std::collections::BTreeMap;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;

/// Notes in memory; nothing else of a ledger is used here.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<String, String>>);

fn answer<'a, T: Send + 'a>(value: T) -> Answer<'a, Result<T, Fault>> {
    Box::pin(async move { Ok(value) })
}

impl Ledger for Notes {
    fn keep_dead_letter(&self, _: DeadLetter) -> Answer<'_, Result<Kept, Fault>> {
        answer(Kept::New)
    }
    fn dead_letters(&self, _: Option<String>, _: usize) -> Answer<'_, Result<Vec<DeadLetter>, Fault>> {
        answer(Vec::new())
    }
    fn dead_letter(&self, _: &str) -> Answer<'_, Result<Option<DeadLetter>, Fault>> {
        answer(None)
    }
    fn drop_dead_letter(&self, _: &str) -> Answer<'_, Result<(), Fault>> {
        answer(())
    }
    fn dead_letter_count(&self) -> Answer<'_, Result<u64, Fault>> {
        answer(0)
    }
    fn note(&self, name: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        answer(self.0.lock().unwrap().get(name).cloned())
    }
    fn notes(&self, _: &str) -> Answer<'_, Result<Vec<(String, String)>, Fault>> {
        answer(Vec::new())
    }
    fn set_notes(&self, notes: Vec<(String, Option<String>)>) -> Answer<'_, Result<(), Fault>> {
        let mut held = self.0.lock().unwrap();
        for (name, value) in notes {
            match value {
                Some(value) => held.insert(name, value),
                None => held.remove(&name),
            };
        }
        answer(())
    }
}

/// A running source and what it called, step by step.
struct Run {
    control: Arc<dyn SourceControl>,
    calls: Receiver<Call>,
    assigned: Vec<Assigned>,
    held: HashMap<Partition, oneshot::Sender<()>>,
    /// Answers the assignment; reading begins with the first look at the calls.
    begin: Option<oneshot::Sender<()>>,
}

impl Run {
    fn start(path: &Path, notes: &Arc<Notes>, from_start: bool) -> Result<Self, Fault> {
        let (calls, called) = channel(CALLS_MAX);
        let source = Box::new(JsonlSource::new("s", path, notes.clone(), from_start));
        let control = source.start(Arc::new(Engine(calls)))?;
        let mut run = Self { control, calls: called, assigned: Vec::new(), held: HashMap::new(), begin: None };
        match run.call() {
            Call::Assigned(assigned, answer) => {
                run.assigned = assigned;
                run.begin = Some(answer);
            }
            _ => panic!("the first call is the assignment"),
        }
        Ok(run)
    }

    fn call(&mut self) -> Call {
        if let Some(begin) = self.begin.take() {
            let _ = begin.send(());
        }
        self.calls.blocking_recv().expect("the source called")
    }

    /// Takes everything until these partitions have ended, answering each delivery unless its partition is `stuck`.
    fn take_until_ended(&mut self, mut ending: Vec<Partition>, stuck: &[Partition]) -> Vec<(Generation, Record)> {
        let mut taken = Vec::new();
        while !ending.is_empty() {
            match self.call() {
                Call::Deliver(delivery, answer) => {
                    let partition = delivery.partition;
                    assert!(!self.held.contains_key(&partition), "a delivery of {partition} before the answer to the last");
                    assert!(!delivery.records.is_empty() && delivery.records.len() <= feed::DELIVERY_RECORDS_MAX);
                    if stuck.contains(&partition) {
                        self.held.insert(partition, answer);
                    } else {
                        let _ = answer.send(());
                    }
                    taken.extend(delivery.records.into_iter().map(|r| (delivery.reading, r)));
                }
                Call::Ended(partition) => ending.retain(|p| *p != partition),
                Call::Failed(fault) => panic!("{fault}"),
                Call::Assigned(..) => panic!("assigned twice"),
            }
        }
        taken
    }

    fn commit(&self, positions: &[(Partition, i64)]) {
        let positions = positions.iter().map(|(p, n)| (*p, NextOffset(*n))).collect();
        block_on(self.control.commit(positions)).unwrap();
    }

    fn stop(mut self) -> usize {
        block_on(self.control.stop());
        let mut calls = 0;
        while self.calls.try_recv().is_ok() {
            calls += 1;
        }
        calls
    }
}

/// Lines of partitions in turn, `lines` in all; the offset is not told, the key is the line.
fn write_file(path: &Path, partitions: &[Partition], lines: usize) {
    let line = |n: usize| {
        let Partition { topic, number } = partitions[n % partitions.len()];
        format!("{{\"topic\":\"{topic}\",\"partition\":{number},\"key\":\"{n}\",\"value\":null}}\n")
    };
    std::fs::write(path, (0..lines).map(line).collect::<String>()).unwrap();
}

fn positions(taken: &[(Generation, Record)], partition: Partition) -> Vec<i64> {
    taken.iter().filter(|(_, r)| r.partition == partition).map(|(_, r)| r.position.0).collect()
}

fn committed(notes: &Notes) -> i64 {
    let held = notes.0.lock().unwrap();
    serde_json::from_str::<Committed>(&held["source/s/file"]).unwrap().line
}

/// Goal: everything once, in order, within bounds, offsets counted per partition. Method: three partitions in turn over
/// several chunks and points.
#[test]
fn a_file_is_delivered_in_order_with_counted_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let all = [part("a", 0), part("a", 3), part("b", 0)];
    write_file(&path, &all, 10_000);
    let mut run = Run::start(&path, &Arc::default(), false).unwrap();
    let counts: Vec<_> = run.assigned.iter().map(|a| (a.partition, a.start.0, a.partitions)).collect();
    assert_eq!(counts, [(all[0], 0, 4), (all[1], 0, 4), (all[2], 0, 1)]);
    let taken = run.take_until_ended(all.to_vec(), &[]);
    for (at, partition) in all.iter().enumerate() {
        let want: Vec<i64> = (0..10_000).filter(|n| n % 3 == at as i64).collect();
        assert_eq!(positions(&taken, *partition), want);
    }
    for (_, record) in &taken {
        assert_eq!(record.offset, record.position.0 / 3);
        assert_eq!(record.key.as_deref(), Some(record.position.0.to_string().as_bytes()));
    }
    assert_eq!(run.stop(), 0, "nothing after the end");
}

/// Goal: told offsets are kept, also when they fall; a missing one goes on from the line before. Method: a table of lines.
#[test]
fn told_offsets_are_kept_and_missing_ones_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let line = |offset: &str| format!("{{\"topic\":\"t\",\"partition\":0,{offset}\"value\":null}}\n");
    let lines: String = ["\"offset\":5,", "", "\"offset\":3,", "\"offset\":3,", "", "\"offset\":null,"].map(line).concat();
    std::fs::write(&path, format!("\n{}", lines.trim_end())).unwrap();
    let mut run = Run::start(&path, &Arc::default(), false).unwrap();
    let taken = run.take_until_ended(vec![part("t", 0)], &[]);
    let places: Vec<_> = taken.iter().map(|(_, r)| (r.position.0, r.offset)).collect();
    assert_eq!(places, [(1, 5), (2, 6), (3, 3), (4, 3), (5, 4), (6, 5)], "the empty line counts as a line");
}

/// Goal: one partition never blocks another (O4), and its lines come when it takes them. Method: one partition does not
/// answer, another is paused from the start on; a third is read to its end, then both go on.
#[test]
fn a_stuck_or_paused_partition_does_not_hold_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let [free, stuck, paused] = [part("t", 0), part("t", 1), part("t", 2)];
    write_file(&path, &[free, stuck, paused], 9_000);
    let mut run = Run::start(&path, &Arc::default(), false).unwrap();
    run.control.pause(paused);
    let mut taken = run.take_until_ended(vec![free], &[stuck]);
    assert_eq!(positions(&taken, free).len(), 3_000);
    assert!(positions(&taken, stuck).len() <= feed::DELIVERY_RECORDS_MAX, "one delivery without an answer, not two");
    assert!(positions(&taken, paused).is_empty(), "paused before anything was read");
    let _ = run.held.remove(&stuck).unwrap().send(());
    run.control.resume(paused);
    taken.extend(run.take_until_ended(vec![stuck, paused], &[]));
    for (at, partition) in [free, stuck, paused].iter().enumerate() {
        let want: Vec<i64> = (0..9_000).filter(|n| n % 3 == at as i64).collect();
        assert_eq!(positions(&taken, *partition), want);
    }
}

/// Goal: a rewind reads again from its line, with the same offsets, under a new reading, also past an unanswered delivery,
/// and ends again. Method: rewind one of two partitions at its end, and before its first answer.
#[test]
fn a_rewind_reads_again_under_a_new_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let [p, q] = [part("t", 0), part("t", 1)];
    write_file(&path, &[p, q], 8_000);
    let mut run = Run::start(&path, &Arc::default(), false).unwrap();
    let first = run.take_until_ended(vec![p, q], &[]);
    for to in [7_998, 5_001, 0, 9_999] {
        let reading = run.control.rewind(p, NextOffset(to));
        let again = run.take_until_ended(vec![p], &[]);
        assert!(again.iter().all(|(r, record)| *r == reading && record.partition == p), "only the rewound partition, newly");
        let want: Vec<_> = first.iter().filter(|(_, r)| r.partition == p && r.position.0 >= to).map(|(_, r)| r.clone()).collect();
        assert_eq!(again.into_iter().map(|(_, r)| r).collect::<Vec<_>>(), want, "from {to}");
    }
    drop(run);
    let mut run = Run::start(&path, &Arc::default(), false).unwrap();
    run.take_until_ended(vec![q], &[p]);
    let old = run.held.remove(&p).unwrap();
    let reading = run.control.rewind(p, NextOffset(0));
    let again = run.take_until_ended(vec![p], &[]);
    assert_eq!(again.iter().filter(|(r, _)| *r == reading).count(), 4_000, "the old delivery's answer never came");
    drop(old);
}

/// Goal: O1 over partitions: the file's line is the first without a verdict in any of them, durably. Method: settle
/// partitions step by step, look at the note, start again from it.
#[test]
fn a_run_goes_on_from_the_first_line_not_settled_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let [p, q] = [part("t", 0), part("t", 1)];
    write_file(&path, &[p, q], 6_000);
    let notes = Arc::new(Notes::default());
    let mut run = Run::start(&path, &notes, false).unwrap();
    run.take_until_ended(vec![p, q], &[]);
    for (p_next, q_next, want) in [(0, 6_000, 0), (2_001, 0, 0), (5_999, 3_002, 3_002), (4_001, 5_000, 4_001)] {
        run.commit(&[(p, p_next), (q, q_next)]);
        assert_eq!(committed(&notes), want, "p settled to {p_next}, q to {q_next}");
    }
    run.stop();
    let mut run = Run::start(&path, &notes, false).unwrap();
    assert!(run.assigned.iter().all(|a| a.start == NextOffset(4_001)));
    let rest = run.take_until_ended(vec![p, q], &[]);
    assert_eq!((positions(&rest, p)[0], positions(&rest, q)[0]), (4_002, 4_001));
    assert!(rest.iter().all(|(_, r)| r.offset == r.position.0 / 2), "offsets are those of the whole file");
    run.commit(&[(p, 5_999), (q, 6_000)]);
    assert_eq!(committed(&notes), 6_000);
    run.stop();
    let mut run = Run::start(&path, &notes, false).unwrap();
    assert!(run.take_until_ended(vec![p, q], &[]).is_empty(), "a file that is done only ends");
    let reading = run.control.rewind(p, NextOffset(5_000));
    run.commit(&[(q, 6_000)]);
    assert_eq!(committed(&notes), 5_000, "what is read again is open again");
    assert_eq!(run.take_until_ended(vec![p], &[]).iter().filter(|(r, _)| *r == reading).count(), 500);
    run.stop();
    let mut run = Run::start(&path, &notes, true).unwrap();
    assert_eq!(run.take_until_ended(vec![p, q], &[]).len(), 6_000, "--from-start");
    assert!(notes.0.lock().unwrap().is_empty(), "a run from the start that dies must not be followed by one from the old line");
}

/// Goal: another file under the same name is refused, a longer one is not. Method: commit, change the file, start.
#[test]
fn a_changed_or_shortened_file_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let p = part("t", 0);
    let notes = Arc::new(Notes::default());
    write_file(&path, &[p], 100);
    let mut run = Run::start(&path, &notes, false).unwrap();
    run.take_until_ended(vec![p], &[]);
    run.commit(&[(p, 60)]);
    run.stop();
    write_file(&path, &[p], 130);
    assert_eq!(Run::start(&path, &notes, false).unwrap().take_until_ended(vec![p], &[]).len(), 70, "grown");
    write_file(&path, &[p], 59);
    let shorter = Run::start(&path, &notes, false).err().unwrap();
    write_file(&path, &[part("u", 0)], 100);
    let other = Run::start(&path, &notes, false).err().unwrap();
    for (fault, words) in [(shorter, "60 lines were committed, and the file has 59"), (other, "another first line")] {
        assert_eq!(fault.kind, FaultKind::Incompatible);
        assert!(fault.what.contains(words) && fault.what.contains("--from-start"), "{fault}");
    }
    assert!(Run::start(&path, &notes, true).is_ok());
}

/// Goal: a file that is broken anywhere is refused before anything of it is delivered. Method: a table of last lines.
#[test]
fn a_broken_line_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let good = "{\"topic\":\"t\",\"partition\":0,\"value\":null}";
    for (last, place) in [("{\"topic\":\"t\",", ":3:13"), ("not json\n", ":3:1"), ("[]\n", ":3:")] {
        std::fs::write(&path, format!("{good}\n{good}\n{last}")).unwrap();
        let fault = Run::start(&path, &Arc::default(), false).err().unwrap();
        assert_eq!(fault.kind, FaultKind::Invalid);
        assert!(fault.place.contains(place), "{fault}");
    }
    std::fs::write(&path, format!("{good}\n{good}")).unwrap();
    let taken = Run::start(&path, &Arc::default(), false).unwrap().take_until_ended(vec![part("t", 0)], &[]);
    assert_eq!(taken.len(), 2, "a last line that only lacks its line end is whole");
    let missing = Run::start(&folder.path().join("none"), &Arc::default(), false).err().unwrap();
    assert_eq!(missing.kind, FaultKind::Unreachable);
}

/// Goal: no delivery begins after `stop` has answered. Method: stop in the middle of a long file, then count the calls.
#[test]
fn stop_is_the_end_of_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let p = part("t", 0);
    write_file(&path, &[p], 5_000);
    let mut run = Run::start(&path, &Arc::default(), false).unwrap();
    let Call::Deliver(first, answer) = run.call() else { panic!("no delivery") };
    block_on(run.control.stop());
    let _ = answer.send(());
    assert_eq!(first.records.len(), feed::DELIVERY_RECORDS_MAX);
    assert!(run.calls.blocking_recv().is_none(), "the thread is gone and with it its hand on the engine");
}
