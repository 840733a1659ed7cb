//! How many documents a second does one core of Redis take under their versions, beside a plain pipeline of SET that knows
//! nothing of versions?
//!
//! Documents of about one kilobyte in batches of 200, four batches at a time, into one real server: new ones, newer
//! versions of the same, and outdated ones. Counted is the server's own CPU time, which is what a core of it can bear; in
//! the end every document is read back and compared.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/stack/servers.rs"]
mod servers;

use bytes::Bytes;
use common::measure::{Report, argument, median, say};
use futures_util::StreamExt;
use futures_util::stream;
use std::time::{Duration, Instant};
use widerow::domain::ids::{RowKey, RowVersion};
use widerow::domain::template::Template;
use widerow::io::redis_sink::RedisSink;
use widerow::ports::sink::{Body, Sink, SinkOutcome, SinkWrite};
use widerow::settings::{HashForm, RedisAddress, RedisMode, RedisSinkSettings};

const BATCH: usize = 200;
const IN_FLIGHT: usize = 4;

fn main() {
    let (documents, rounds) = (argument("--documents", 100_000), argument("--rounds", 3));
    let server = servers::redis();
    let mut report = Report::new("sinks_redis");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&server, documents, rounds, &mut report));
    report.finish();
}

/// About one kilobyte.
fn text(id: usize, change: usize) -> String {
    let items: Vec<String> = (0..8)
        .map(|n| format!(r#"{{"id":{n},"qty":{},"name":"item {n} of order {id}","price":"{id}.50"}}"#, n + change))
        .collect();
    let note = "lorem ipsum dolor sit amet, consectetur adipiscing elit ".repeat(7);
    format!(r#"{{"no":"{id}","change":{change},"note":"{note}","items":[{}]}}"#, items.join(","))
}

fn write(id: usize, version: i64, change: usize) -> SinkWrite {
    let id_text = id.to_string();
    let row = RowKey::new(&id_text);
    SinkWrite { id: id_text, version: RowVersion(version), body: Body::Index(Bytes::from(text(id, change))), row, types: vec![] }
}

async fn run(server: &servers::Server, documents: usize, rounds: usize, report: &mut Report) {
    let settings = RedisSinkSettings {
        redis: RedisAddress {
            mode: RedisMode::Single,
            hosts: vec![server.address()],
            database: 0,
            username: None,
            password: None,
            tls: None,
            timeout: Duration::from_secs(30),
        },
        key: Template::parse("order:{no}").expect("a template"),
        ttl: None,
        form: HashForm::Document,
    };
    let sink = RedisSink::open(&settings, &Template::parse("{no}").expect("a template"), Duration::from_secs(604_800));
    let sink = sink.unwrap_or_else(|fault| panic!("{fault}"));
    let client = redis::Client::open(format!("redis://{}/", server.address())).expect("an address");
    let mut plain = client.get_multiplexed_async_connection().await.expect("a server");
    // A cache keeps no log; with one, its writes weigh on both sides alike.
    let log = if argument("--log", 0) > 0 { "yes" } else { "no" };
    let _: () = redis::cmd("CONFIG").arg("SET").arg("appendonly").arg(log).query_async(&mut plain).await.expect("an answer");
    say(format!("{documents} documents of {} bytes, batches of {BATCH}, {IN_FLIGHT} at a time, log {log}", text(7, 0).len()));
    let mut figures: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.expect("an answer");
        let high = 1_000 + round as i64;
        let new = put(&sink, &mut plain, documents, high, 0, |o| *o == SinkOutcome::Written).await;
        let newer = put(&sink, &mut plain, documents, high + 1, 1, |o| *o == SinkOutcome::Written).await;
        let late = put(&sink, &mut plain, documents, high, 2, |o| matches!(o, SinkOutcome::Superseded(Some(_)))).await;
        for id in (0..documents).step_by(97) {
            let held = sink.get(id.to_string()).await.expect("an answer").expect("a document");
            assert_eq!((held.version.0, held.document), (high + 1, Some(Bytes::from(text(id, 1)))), "document {id}");
        }
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.expect("an answer");
        let naive = sets(&mut plain, documents).await;
        for (figures, took) in figures.iter_mut().zip([new, newer, late, naive]) {
            figures.push(took.0);
        }
        let shown = |(core, wall): (f64, f64)| format!("{:.0} k/s a core ({:.0} k/s by the clock)", core / 1e3, wall / 1e3);
        let round = round + 1;
        say(format!(
            "round {round}: new {}, newer {}, outdated {}; plain SET {}",
            shown(new),
            shown(newer),
            shown(late),
            shown(naive)
        ));
    }
    let [new, newer, late, naive] = figures.map(median);
    report.put("documents", documents);
    report.put("new_per_redis_core", new);
    report.put("newer_per_redis_core", newer);
    report.put("outdated_per_redis_core", late);
    report.put("plain_set_per_redis_core", naive);
    report.put("share_of_plain_set", newer / naive);
}

/// Documents per second of the server's CPU, and by the clock.
async fn put(
    sink: &RedisSink,
    plain: &mut redis::aio::MultiplexedConnection,
    documents: usize,
    version: i64,
    change: usize,
    expected: fn(&SinkOutcome) -> bool,
) -> (f64, f64) {
    let batches: Vec<Vec<SinkWrite>> = (0..documents)
        .step_by(BATCH)
        .map(|from| (from..(from + BATCH).min(documents)).map(|id| write(id, version, change)).collect())
        .collect();
    let (before, begun) = (server_cpu(plain).await, Instant::now());
    let mut sent = stream::iter(batches).map(|batch| sink.write(batch)).buffer_unordered(IN_FLIGHT);
    while let Some(outcomes) = sent.next().await {
        let other = outcomes.iter().find(|outcome| !expected(outcome));
        assert!(other.is_none(), "{other:?}");
    }
    drop(sent);
    let wall = begun.elapsed().as_secs_f64();
    (documents as f64 / (server_cpu(plain).await - before), documents as f64 / wall)
}

/// The naive way: whole documents, last writer wins.
async fn sets(plain: &mut redis::aio::MultiplexedConnection, documents: usize) -> (f64, f64) {
    let (before, begun) = (server_cpu(plain).await, Instant::now());
    for from in (0..documents).step_by(BATCH) {
        let mut pipe = redis::pipe();
        for id in from..(from + BATCH).min(documents) {
            pipe.set(format!("order:{id}"), text(id, 1)).ignore();
        }
        let _: () = pipe.query_async(plain).await.expect("an answer");
    }
    let wall = begun.elapsed().as_secs_f64();
    (documents as f64 / (server_cpu(plain).await - before), documents as f64 / wall)
}

/// Seconds of CPU of the server's one thread that runs commands.
async fn server_cpu(plain: &mut redis::aio::MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(plain).await.expect("an answer");
    let seconds = |key: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or_else(|| panic!("the server tells no {key}"))
    };
    seconds("used_cpu_sys_main_thread") + seconds("used_cpu_user_main_thread")
}
