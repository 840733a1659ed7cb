use super::*;
use crate::domain::decode::{BadReason, Ignored};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::health::{ActorKind, ActorState};
use crate::domain::ids::{Name, NextOffset, Partition, RowKey, RowVersion};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Runs with a recorder of its own and hands out what it would show.
fn measured(body: impl FnOnce(&Metrics)) -> String {
    let recorder = builder().unwrap().build_recorder();
    let metrics = Metrics { handle: recorder.handle() };
    ::metrics::with_local_recorder(&recorder, || {
        names::describe();
        body(&metrics);
    });
    metrics.render()
}

/// The value of the one line that begins with this series.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = found.next()?.parse().unwrap();
    assert_eq!(found.next(), None, "{series} stands twice");
    Some(value)
}

fn topic() -> Partition {
    Partition { topic: Name::of("shop.orders"), number: 3 }
}

/// Everything that can be counted, once.
fn everything(totals: &Arc<Totals>) -> Vec<Box<dyn std::any::Any>> {
    let second = Duration::from_secs(1);
    let topic_meters = TopicMeters::new("shop", topic().topic, totals);
    topic_meters.received(3);
    topic_meters.chunk(4, 5);
    StoreMeters::new(totals).stale(1);
    StoreMeters::new(totals).move_unseen();
    topic_meters.ignored(Ignored::Heartbeat);
    late_verdicts(1);
    PartitionReleased { partition: topic(), committed: NextOffset(1), unsettled: 1 }.emit();
    let partition = PartitionMeters::new(topic());
    partition.lag_records(12);
    partition.lag_seconds(second);
    let store = StoreMeters::new(totals);
    store.written(6, 60);
    store.retried(1);
    store.failed(1);
    StoreOp::ALL.iter().for_each(|op| store.request(*op, second));
    let line = LineMeters::new(Name::of("order_search"), totals);
    for (n, outcome) in JobOutcome::ALL.iter().enumerate() {
        line.jobs(*outcome, n as u64 + 1);
    }
    for (n, outcome) in DocumentOutcome::ALL.iter().enumerate() {
        line.documents(*outcome, n as u64 + 1);
    }
    Stage::ALL.iter().for_each(|stage| line.stage(*stage, second));
    line.request(second);
    line.ambiguous(2);
    let row = RowKey::new("4456:1");
    JobLate { row: &row, age: second }.emit(&line);
    let lane = LaneMeters::new(Name::of("order_search"), Name::of("urgent"));
    lane.set(7, Some(second));
    lane.guards([true, false]);
    let actors = ActorMeters::new(ActorKind::Writer);
    actors.mailbox_depth(2);
    actors.busy(0.5);
    actors.counts(ActorState::Running, 1);
    DeadLettered { partition: topic(), offset: 9, reason: BadReason::NotJson, detail: "d", again: false }.emit(totals);
    let next = AfterExit::RestartedAfter(second);
    ActorExited { kind: ActorKind::Writer, id: "writer-0", cause: "panicked", detail: "", next }.emit();
    InvariantBroken { invariant: Invariant::BoundsHold, place: "here", detail: "" }.emit();
    owe_check(OwedFor::Gap);
    degraded(true);
    let config = ConfigInfo::new("abc");
    meters::build_info();
    vec![Box::new(partition), Box::new(lane), Box::new(config)]
}

/// Goal: the closed list is the truth. Method: count everything once; the names, kinds and label names shown are the list's.
#[test]
fn what_is_shown_is_what_the_list_says() {
    let mut held = Vec::new();
    let text = measured(|_| held = everything(&Arc::default()));
    let mut shown: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            shown.insert(name, (kind, BTreeSet::new()));
        } else if !line.starts_with('#') && !line.is_empty() {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            let names = labels.split("\",").filter_map(|l| l.split_once('=')).map(|(n, _)| n).filter(|n| *n != "le");
            shown.get_mut(name).unwrap_or_else(|| panic!("{name} has no TYPE line")).1.extend(names);
        }
    }
    let kind = |kind| match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    let listed: BTreeMap<_, _> =
        METRICS.iter().map(|m| (m.name, (kind(m.kind), m.labels.iter().copied().collect::<BTreeSet<_>>()))).collect();
    assert_eq!(shown, listed);
    assert!(METRICS.iter().all(|m| text.contains(&format!("# HELP {} {}", m.name, m.help))), "a help text is missing");
}

/// Goal: totals and metrics are one count. Method: count everything once, compare each total with its series.
#[test]
fn totals_are_sums_of_outcomes() {
    let totals = Arc::new(Totals::default());
    let mut held = Vec::new();
    let text = measured(|_| held = everything(&totals));
    for (total, series) in [
        (totals.records(), r#"widerow_events_received_total{source="shop",topic="shop.orders"}"#),
        (totals.row_writes(), r#"widerow_row_writes_total{outcome="written"}"#),
        (totals.dead_letters(), r#"widerow_dead_letters_total{reason="not_json"}"#),
    ] {
        assert_eq!(value(&text, series), Some(total as f64), "{series}");
    }
    for outcome in JobOutcome::ALL {
        let series = format!(r#"widerow_jobs_total{{line="order_search",outcome="{}"}}"#, outcome.label());
        assert_eq!(value(&text, &series), Some(totals.jobs(*outcome) as f64), "{series}");
    }
    for outcome in DocumentOutcome::ALL {
        let series = format!(r#"widerow_sink_documents_total{{line="order_search",outcome="{}"}}"#, outcome.label());
        assert_eq!(value(&text, &series), Some(totals.documents(*outcome) as f64), "{series}");
    }
}

/// Goal: the summary line is the interface's, key by key. Method: its exact text after one of everything.
#[test]
fn the_summary_line() {
    let totals = Arc::new(Totals::default());
    everything(&totals);
    assert_eq!(
        totals.summary_json(),
        r#"{"records":3,"changes":4,"rows":5,"row_writes":6,"jobs":{"created":9,"coalesced":2,"done":3,"buried":5,"parked":6},"documents":{"written":1,"superseded":2,"deleted":4,"skipped":3,"rejected":5},"dead_letters":1}"#
    );
}

/// Goal: a partition that left is not shown, and comes back. Method: drop its meters, also while a new life holds its own.
#[test]
fn departed_series_disappear() {
    // A topic of its own: series are owned per process, and other tests run beside this one.
    let topic = || Partition { topic: Name::of("departing"), number: 3 };
    let series = r#"widerow_source_lag_records{topic="departing",partition="3"}"#;
    measured(|metrics| {
        let old = PartitionMeters::new(topic());
        old.lag_records(5);
        assert_eq!(value(&metrics.render(), series), Some(5.0));
        let new = PartitionMeters::new(topic());
        new.lag_records(8);
        drop(old);
        assert_eq!(value(&metrics.render(), series), Some(8.0), "the old life took the new one's series along");
        drop(new);
        assert_eq!(value(&metrics.render(), series), None);
        let again = PartitionMeters::new(topic());
        again.lag_records(1);
        assert_eq!(value(&metrics.render(), series), Some(1.0));
    });
}

/// Goal: actors are counted in the state they are in, and no longer than they live. Method: one actor's way.
#[test]
fn an_actor_is_counted_in_one_state() {
    let series = |state: &str| format!(r#"widerow_actor_state{{kind="sink",state="{state}"}}"#);
    measured(|metrics| {
        let meters = ActorMeters::new(ActorKind::Sink);
        for state in ActorState::ALL {
            meters.states([state].into_iter());
            let text = metrics.render();
            let counted: f64 = ActorState::ALL.iter().filter_map(|s| value(&text, &series(s.label()))).sum();
            assert_eq!((value(&text, &series(state.label())), counted), (Some(1.0), 1.0), "{state:?}");
        }
        meters.states([].into_iter());
        assert_eq!(value(&metrics.render(), &series("failed")), Some(0.0));
    });
}

/// Goal: dead letters count positions, not deliveries. Method: the same position twice.
#[test]
fn a_dead_letter_counts_once() {
    let totals = Totals::default();
    let text = measured(|_| {
        for again in [false, true] {
            DeadLettered { partition: topic(), offset: 1, reason: BadReason::TooDeep, detail: "", again }.emit(&totals);
        }
    });
    assert_eq!(totals.dead_letters(), 1);
    assert_eq!(value(&text, r#"widerow_dead_letters_total{reason="too_deep"}"#), Some(1.0));
}

/// Goal: times fall into buckets in seconds. Method: one time, the buckets on both sides of it.
#[test]
fn times_are_seconds_in_buckets() {
    let text = measured(|_| {
        LineMeters::new(Name::of("l"), &Arc::default()).stage(Stage::BinlogToSink, Duration::from_millis(80));
    });
    let bucket =
        |le: &str| value(&text, &format!(r#"widerow_stage_delay_seconds_bucket{{line="l",stage="binlog_to_sink",le="{le}"}}"#));
    assert_eq!((bucket("0.05"), bucket("0.08"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)));
}

/// Goal: each record without data is counted under its own reason. Method: one of each, none missing, none twice.
#[test]
fn ignored_records_have_a_reason_each() {
    let all = [
        Ignored::Tombstone,
        Ignored::Heartbeat,
        Ignored::Transaction,
        Ignored::Ddl,
        Ignored::Destructive { table: Name::of("t") },
        Ignored::UnknownTable,
        Ignored::Marker,
    ];
    let text = measured(|_| {
        let meters = TopicMeters::new("s", topic().topic, &Arc::default());
        all.iter().for_each(|what| meters.ignored(*what));
    });
    for what in all {
        let series = format!(r#"widerow_events_ignored_total{{reason="{}"}}"#, ignored_label(what));
        assert_eq!(value(&text, &series), Some(1.0), "{what:?}");
    }
}

/// Goal: happenings of a line reach its totals. Method: one of each, compared with what each must add.
#[test]
fn happenings_count() {
    let totals = Arc::new(Totals::default());
    let text = measured(|_| {
        let line = LineMeters::new(Name::of("l"), &totals);
        let row = RowKey::new("r");
        Superseded { row: &row, version: RowVersion(1), held: Some(RowVersion(2)) }.emit(&line);
        SinkAhead { row: &row, version: RowVersion(1), held: RowVersion(2), rows: 3 }.emit(&line);
        DocumentRejected { row: &row, version: RowVersion(1), reason: "r" }.emit(&line);
        JobBuried { row: &row, attempts: 1, reason: "r" }.emit(&line);
        JobRetried { row: &row, attempts: 1, fault: &Fault::new(FaultKind::Timeout, "sink", "no answer") }.emit(&line);
        RowKeyClash { kind: Name::of("order"), row: &row, detail: "" }.emit();
    });
    let documents = |o| totals.documents(o);
    assert_eq!([DocumentOutcome::Superseded, DocumentOutcome::Rejected].map(documents), [1; 2]);
    assert_eq!([JobOutcome::Buried, JobOutcome::Retried].map(|o| totals.jobs(o)), [1; 2]);
    let violated = |id: &str| value(&text, &format!(r#"widerow_invariant_violations_total{{id="{id}"}}"#));
    assert_eq!(["I1", "I2"].map(violated), [Some(1.0), Some(3.0)]);
    assert_eq!(totals.sinks_ahead(), 3);
}
