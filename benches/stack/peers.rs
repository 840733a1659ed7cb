//! Beside what a user would build instead: the Go design of `peers/pipeline` on the same servers and the same log, in
//! turns; and the naive loop of `benches/common`, which keeps nothing, as the floor of what events cost.

use crate::bed::{Bed, REGIONS};
use crate::common::measure::{Report, Watch, Whose, argument, median, say};
use crate::common::naive::Naive;
use crate::common::shop::Log;
use crate::cost::Meter;
use crate::load::Load;
use crate::watch::pause;
use crate::{Warmth, number, poured, truth, widerow_round};
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use widerow::io::hbase::types::TableName;

pub fn run() {
    let (events, rounds) = (argument("--events", 60_000), argument("--rounds", 3));
    let mut warmth = Warmth::asked();
    let program = build();
    let mut report = Report::new("peers");
    naive(&mut report, events);
    let bed = Bed::new();
    let mut load = poured(&bed, &mut report, events);
    load.close();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0.. {
        if theirs.len() == rounds {
            break;
        }
        let counts = !warmth.is_cold();
        let (own, go) = (format!("widerow{round}"), format!("go{round}"));
        // Who goes first changes; the first round makes the index that the other side's is made like.
        let figures = if round % 2 == 0 {
            let own = widerow_round(&bed, &load, &own);
            (own, go_round(&bed, &load, &program, &go))
        } else {
            let go = go_round(&bed, &load, &program, &go);
            (widerow_round(&bed, &load, &own), go)
        };
        // The first round's tables are the model.
        if round > 0 {
            bed.forget(&own);
            bed.forget(&go);
        }
        if counts {
            ours.push(figures.0);
            theirs.push(figures.1);
        } else {
            warmth.after(&[&figures.0, &figures.1]);
        }
    }
    let rate = |figures: &[Value]| median(figures.iter().map(|f| number(f, "events_per_second")).collect());
    let ratio =
        median(ours.iter().zip(&theirs).map(|(o, t)| number(o, "events_per_second") / number(t, "events_per_second")).collect());
    say(format!("widerow {:.0} events/s, the Go design {:.0}: {ratio:.1} times", rate(&ours), rate(&theirs)));
    report.put("system", bed.described());
    report.put("warm_ups", warmth.rounds);
    report.put("widerow_events_per_second", rate(&ours));
    report.put("go_events_per_second", rate(&theirs));
    report.put("of_go", ratio);
    report.put("widerow", ours);
    report.put("go", theirs);
    report.finish();
}

/// Decode, merge, document in one thread, nothing kept: what the work costs where no promise is made.
fn naive(report: &mut Report, events: usize) {
    let log = Log::of(events);
    let watch = Watch::start(Whose::Thread);
    let done = Naive::run(&log);
    let took = watch.stop();
    assert!(done.is_right(&log), "the naive loop ended otherwise: no figure");
    let (rate, each) = (took.per_second(events), took.micros_per(events));
    say(format!("naive loop, nothing kept, one thread: {rate:.0} events/s, {each:.1} us CPU an event"));
    report.put("naive_events_per_second", rate.round());
    report.put("naive_cpu_us_per_event", each);
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".stack/bin/pipeline");
    let mut build = Command::new("go");
    build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(root.join("peers/pipeline"));
    let built = build.status().unwrap_or_else(|e| panic!("go: {e}; ./dev bench peers brings it"));
    assert!(built.success(), "peers/pipeline could not be built; see above");
    program
}

fn go_round(bed: &Bed, load: &Load, program: &Path, name: &str) -> Value {
    prepare(bed, name);
    let began = Instant::now();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command.args([bed.kafka.address(), bed.hbase.addresses()[1].clone(), bed.redis.address(), bed.search_url()]);
    // Its garbage collector may use the room that ours has anyway.
    command.args([name, &load.records.to_string()]).env("GOGC", "200").stdout(Stdio::piped());
    let process = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let pid = process.id();
    let meter = Meter::start(bed, pid);
    // Its time can only be read while it lives: it ends right after its last word.
    let last = std::thread::spawn(move || last_cpu(pid));
    let output = process.wait_with_output().expect("its words");
    let (whole, mut cost) = (began.elapsed(), meter.stop_without_worker());
    cost.cpu.insert(0, ("worker", last.join().unwrap_or(f64::NAN)));
    assert!(output.status.success(), "{name}: {}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}"));
    let judged = truth::judge(bed, name, load.expected());
    judged.demand_of_peer(load.probes);
    let events = load.events();
    let rate = events as f64 / told["working_seconds"].as_f64().unwrap_or(f64::NAN);
    say(format!(
        "{name}: {rate:.0} events/s, {:.1} s from start to done, {:.2} tasks an event, {} documents right",
        whole.as_secs_f64(),
        told["tasks"].as_f64().unwrap_or(f64::NAN) / events as f64,
        judged.right
    ));
    say(format!("  CPU in us an event: {}", cost.told(events)));
    bed.flush_redis();
    json!({
        "events_per_second": rate.round(), "seconds": whole.as_secs_f64(), "told": told,
        "cpu_us_per_event": cost.split(events), "compiling": cost.compiling(), "documents_right": judged.right,
    })
}

/// CPU seconds of a process when it was last seen.
fn last_cpu(pid: u32) -> f64 {
    let (mut last, path) = (0.0, format!("/proc/{pid}/stat"));
    while let Ok(text) = std::fs::read_to_string(&path) {
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        if fields.first() == Some(&"Z") {
            return last;
        }
        last = (ticks(11) + ticks(12)) / 100.0;
        pause(Duration::from_millis(20));
    }
    last
}

/// Tables and index like those that widerow made for its first round.
fn prepare(bed: &Bed, name: &str) {
    let client = bed.hbase_client();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let model = "widerow0";
    runtime.block_on(async {
        for (kind, cuts) in [("order", ["2500", "5000", "7500"]), ("product", ["4000", "8000", "c000"])] {
            let table = |of: &str| TableName::parse(&format!("{of}_{kind}")).unwrap_or_else(|e| panic!("{e}"));
            let described = client.describe_table(&table(model)).await.unwrap_or_else(|e| panic!("{e}"));
            let mut wanted = described.unwrap_or_else(|| panic!("{model} made no table of {kind}"));
            wanted.name = table(name);
            let cuts: Vec<Bytes> = cuts.iter().map(|cut| Bytes::from_static(cut.as_bytes())).collect();
            assert_eq!(cuts.len() + 1, REGIONS, "as many regions as ours");
            client.ensure_table(&wanted, &cuts).await.unwrap_or_else(|e| panic!("{e}"));
        }
    });
    let model: Value = serde_json::from_str(&bed.ask_search("GET", &format!("/{model}-orders"), None)).expect("an index");
    let like = &model["widerow0-orders"];
    let settings = &like["settings"]["index"];
    let body = json!({
        "mappings": like["mappings"],
        "settings": { "index": {
            "number_of_shards": settings["number_of_shards"], "number_of_replicas": settings["number_of_replicas"],
            "gc_deletes": settings["gc_deletes"],
        } },
    });
    bed.ask_search("PUT", &format!("/{name}-orders"), Some(&body.to_string()));
}
