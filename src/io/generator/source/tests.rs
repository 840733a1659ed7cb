use super::*;
use crate::domain::decode::Format;
use crate::io::feed::testing::{CALLS_MAX, Call, Engine, block_on};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;

fn settings() -> GeneratorSettings {
    GeneratorSettings {
        seed: 3,
        entities: 50,
        events: Some(3_000),
        rate: None,
        disorder: 0.1,
        duplicates: 0.1,
        partitions: 2,
        format: Format::Canal,
        skew: 0.0,
        hot: 0.0,
        big: 0.0,
        replay: 0.0,
    }
}

struct Run {
    control: Arc<dyn SourceControl>,
    shop: Arc<Mutex<Shop>>,
    calls: Receiver<Call>,
    partitions: Vec<Partition>,
    /// Answers the assignment; trade begins with the first look at the calls.
    begin: Option<oneshot::Sender<()>>,
}

fn start(settings: &GeneratorSettings) -> Run {
    let (calls, mut called) = channel(CALLS_MAX);
    let source = GeneratorSource::new("shop", settings);
    let shop = source.shop();
    let control = Box::new(source).start(Arc::new(Engine(calls))).unwrap();
    let Some(Call::Assigned(assigned, begin)) = called.blocking_recv() else { panic!("the first call is the assignment") };
    assert!(assigned.iter().all(|a| a.start == NextOffset(0) && a.partitions == settings.partitions));
    Run { control, shop, calls: called, partitions: assigned.into_iter().map(|a| a.partition).collect(), begin: Some(begin) }
}

impl Run {
    /// Takes until these partitions have ended, keeping back the answers of `stuck`.
    fn take(
        &mut self,
        mut ending: Vec<Partition>,
        stuck: Option<Partition>,
    ) -> (Vec<(Generation, Record)>, Vec<oneshot::Sender<()>>) {
        if let Some(begin) = self.begin.take() {
            let _ = begin.send(());
        }
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        while !ending.is_empty() {
            match self.calls.blocking_recv().expect("the source called") {
                Call::Deliver(delivery, answer) => {
                    assert!((1..=DELIVERY_RECORDS_MAX).contains(&delivery.records.len()));
                    taken.extend(delivery.records.into_iter().map(|r| (delivery.reading, r)));
                    if Some(delivery.partition) == stuck {
                        kept.push(answer);
                    } else {
                        let _ = answer.send(());
                    }
                }
                Call::Ended(partition) => ending.retain(|p| *p != partition),
                Call::Failed(fault) => panic!("{fault}"),
                Call::Assigned(..) => panic!("assigned twice"),
            }
        }
        (taken, kept)
    }
}

fn of(taken: &[(Generation, Record)], partition: Partition) -> Vec<(i64, i64)> {
    taken.iter().filter(|(_, r)| r.partition == partition).map(|(_, r)| (r.position.0, r.offset)).collect()
}

/// Goal: the source delivers the shop's records, all of them, in its order per partition. Method: beside a shop of the
/// same settings; paced very fast, so that the pace's way is walked too.
#[test]
fn it_delivers_what_the_shop_makes() {
    for rate in [None, Some(1e6)] {
        let settings = GeneratorSettings { rate, ..settings() };
        let mut run = start(&settings);
        let (taken, _) = run.take(run.partitions.clone(), None);
        let mut shop = Shop::new(&settings);
        let records = shop.next_records(usize::MAX);
        assert_eq!(taken.len(), records.len());
        for partition in &run.partitions {
            let want: Vec<_> = records.iter().filter(|r| r.partition == *partition).map(|r| (r.position.0, r.offset)).collect();
            assert_eq!(of(&taken, *partition), want);
        }
        assert_eq!(lock(&run.shop).expected(), shop.expected());
        assert!(lock(&run.shop).next_records(1).is_empty());
        block_on(run.control.stop());
        assert!(run.calls.try_recv().is_err(), "nothing after the end");
    }
}

/// Goal: O4 and rewinds: one unanswered delivery a partition, the others go on; a rewind reads again from its place, no
/// further back than the last commit. Method: one partition stuck, then rewound, then committed and rewound before it.
#[test]
fn a_rewind_reads_again_what_is_not_committed() {
    let mut run = start(&settings());
    let (stuck, others) = (run.partitions[0], run.partitions[1..].to_vec());
    let (first, kept) = run.take(others.clone(), Some(stuck));
    assert_eq!(kept.len(), 1, "no second delivery before the answer to the first");
    let reading = run.control.rewind(stuck, NextOffset(0));
    let (taken, _) = run.take(vec![stuck], None);
    assert!(taken.iter().all(|(r, record)| *r == reading && record.partition == stuck));
    let all = of(&taken, stuck);
    assert!(all.starts_with(&of(&first, stuck)) && all.len() > 100, "{}", all.len());
    block_on(run.control.commit(vec![(stuck, NextOffset(40))])).unwrap();
    run.control.rewind(stuck, NextOffset(60));
    assert_eq!(of(&run.take(vec![stuck], None).0, stuck), all[60..]);
    run.control.rewind(stuck, NextOffset(39));
    let mut failed = false;
    let again = loop {
        match run.calls.blocking_recv().unwrap() {
            Call::Failed(fault) => failed = fault.kind == FaultKind::Incompatible,
            Call::Deliver(delivery, _) => break delivery,
            _ => {}
        }
    };
    assert!(failed, "what cannot be read again is said");
    assert_eq!(again.records[0].position, crate::domain::ids::RecordOffset(40));
}

/// Goal: a paused partition keeps nothing from the others, and gets its own later. Method: pause before anything, take the
/// others to their end, resume.
#[test]
fn a_paused_partition_waits_alone() {
    let mut run = start(&settings());
    let (paused, others) = (run.partitions[0], run.partitions[1..].to_vec());
    run.control.pause(paused);
    let (taken, _) = run.take(others, None);
    assert!(of(&taken, paused).is_empty(), "paused before anything was made");
    run.control.resume(paused);
    let taken = of(&run.take(vec![paused], None).0, paused);
    assert!(taken.len() > 100, "{}", taken.len());
    assert_eq!(taken.iter().map(|(p, _)| *p).collect::<Vec<_>>(), (0..taken.len() as i64).collect::<Vec<_>>());
}

/// Goal: a shop that is closed ends, however slowly it trades. Method: a shop of one event in a quarter of an hour, closed.
#[test]
fn a_closed_shop_ends_at_any_rate() {
    let mut run = start(&GeneratorSettings { events: None, rate: Some(1e-3), ..settings() });
    lock(&run.shop).close();
    assert!(run.take(run.partitions.clone(), None).0.is_empty());
}
