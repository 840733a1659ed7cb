//! What does a row cost a region server and its client, in puts, in puts with a counter, in gets; beside HBase's own client?
//!
//! Our client, the row store on it and HBase's client do the same work on the same server in the same run, by turns: batches
//! of 300 rows, 6 in flight, cells of 60 bytes with stamps, synced. Plain puts carry `version: weight`, puts with an increment
//! in one atomic step `version: counter` (V1). Before every turn the tables are flushed, and files are not made one while it
//! lasts: nobody pays for what another has written. The first round warms up and is not counted; what was written is read
//! back cell by cell before a figure counts. Last, a row that changes often is read from two kinds of server memory. Server
//! and clients share the machine: CPU per row and ratios say more than rates.

mod common;
#[path = "hbase/hot.rs"]
mod hot;
#[path = "../tests/support/peer.rs"]
mod peer;
#[path = "../tests/stack/servers.rs"]
mod servers;
#[path = "hbase/store.rs"]
mod store;

use common::measure::{Report, Watch, Whose, argument, median, say};
use futures_util::{StreamExt, stream};
use peer::Peer;
use serde_json::json;
use std::ops::Range;
use std::time::{Duration, Instant};
use store::Store;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::types::{Durability, FamilyDescriptor, Get, Put, RowMutations, Scan, TableDescriptor, TableName};

const VALUE_BYTES: usize = 60;
const BATCH: usize = 300;
const IN_FLIGHT: usize = 6;
const VERBS: [&str; 3] = ["put", "mutate", "get"];

/// One stretch of work and what it took.
#[derive(Clone, Copy)]
struct Took {
    rows: usize,
    wall: Duration,
    client: Duration,
    server: Duration,
    p50: Duration,
    p99: Duration,
}

impl Took {
    fn per_row(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.rows as f64
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Client,
    Store,
    Java,
}

const EACH: [Who; 3] = [Who::Client, Who::Store, Who::Java];

struct Bench {
    client: Client,
    table: TableName,
    store: Store,
    server: u32,
}

fn main() {
    let (rows, rounds) = (argument("--rows", 20_000), argument("--rounds", 5).max(2));
    let server = servers::with_heap(servers::Kind::Hbase, "2g");
    let addresses = &server.addresses()[..2];
    let mut report = Report::new("hbase");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let table = TableName::parse("bench").expect("a table's name");
    let client = runtime.block_on(async { Client::new(ClientSettings::new(addresses.to_vec())) }).expect("settings");
    let bench = Bench { client, table, store: Store::open(addresses), server: server.pid() };
    runtime.block_on(bench.make_tables());
    let mut peer = Peer::start(addresses, "bench");
    say(format!("{rows} rows a round, {rounds} rounds of which the first warms up, {BATCH} rows a batch, {IN_FLIGHT} in flight"));
    for cells in [3, 14] {
        for verb in VERBS {
            let mut took = EACH.map(|_| Vec::new());
            for round in 0..rounds {
                let stretch = |letter: &str| match verb {
                    // A get reads what the last round of puts wrote.
                    "get" => format!("put{cells}{letter}{}-", rounds - 1),
                    _ => format!("{verb}{cells}{letter}{round}-"),
                };
                for turn in 0..EACH.len() {
                    // No one has a place of its own in the round.
                    let at = (turn + round) % EACH.len();
                    runtime.block_on(bench.settle());
                    took[at].push(match EACH[at] {
                        Who::Client => runtime.block_on(bench.ours(verb, &stretch("o"), rows, cells)),
                        Who::Store => {
                            let round = if verb == "get" { rounds - 1 } else { round };
                            runtime.block_on(bench.stored(verb, round, rows, cells))
                        }
                        Who::Java => bench.theirs(&mut peer, verb, &stretch("j"), rows, cells),
                    });
                }
                for prefix in [stretch("o"), stretch("j")] {
                    runtime.block_on(bench.check(&prefix, rows, cells, verb == "mutate"));
                }
            }
            tell(&mut report, &format!("{verb}, {cells} cells"), took.each_ref().map(|took| &took[1..]));
        }
    }
    runtime.block_on(hot::run(&bench.client, bench.server, &mut report));
    report.put("rows", rows);
    report.finish();
}

fn tell(report: &mut Report, what: &str, took: [&[Took]; 3]) {
    let middle = |took: &[Took], of: &dyn Fn(&Took) -> f64| median(took.iter().map(of).collect());
    let figures = took.map(|took| {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        [
            middle(took, &|t| t.rows as f64 / t.wall.as_secs_f64()),
            middle(took, &|t| t.per_row(t.server)),
            middle(took, &|t| t.per_row(t.client)),
            middle(took, &|t| ms(t.p50)),
            middle(took, &|t| ms(t.p99)),
        ]
    });
    let java = figures[2];
    let mut told = serde_json::Map::new();
    for (who, f) in EACH.iter().zip(figures) {
        let name = format!("{who:?}").to_lowercase();
        say(format!(
            "{what}: {name} {:.1} k rows/s, {:.1} µs server CPU, {:.2} µs client CPU a row, batch p50 {:.1} ms, p99 {:.1} ms",
            f[0] / 1e3,
            f[1],
            f[2],
            f[3],
            f[4]
        ));
        let [rate, server, client, p50, p99] = f;
        let figures = json!({ "rows_per_second": rate, "server_us_per_row": server, "client_us_per_row": client, "batch_p50_ms": p50, "batch_p99_ms": p99 });
        told.insert(name.clone(), figures);
        if *who != Who::Java {
            let ratios = [rate / java[0], server / java[1], client / java[2], p99 / java[4]];
            say(format!(
                "{what}: {name} to java: rate {:.2}, server CPU {:.2}, client CPU {:.2}, p99 {:.2}",
                ratios[0], ratios[1], ratios[2], ratios[3]
            ));
            let ratio = json!({ "rate": ratios[0], "server": ratios[1], "client": ratios[2], "p99": ratios[3] });
            told.insert(format!("{name}_to_java"), ratio);
        }
    }
    report.put(what, told);
}

fn row(prefix: &str, n: usize) -> String {
    format!("{prefix}{n:08}")
}

fn value(n: usize, cell: usize) -> [u8; VALUE_BYTES] {
    let mut value = [b'.'; VALUE_BYTES];
    let start = format!("{n}/{cell}");
    value[..start.len()].copy_from_slice(start.as_bytes());
    value
}

fn qualifier(cell: usize) -> [u8; 14] {
    let mut name = *b"orders:column?";
    name[13] = b'a' + cell as u8;
    name
}

impl Bench {
    async fn make_tables(&self) {
        // One region that stays one, whose files stay as they are and never hold up a write.
        let attributes = [
            ("SPLIT_POLICY", "org.apache.hadoop.hbase.regionserver.DisabledRegionSplitPolicy"),
            ("COMPACTION_ENABLED", "false"),
            ("hbase.hstore.blockingStoreFiles", "1000"),
        ];
        for name in self.tables() {
            let wanted = TableDescriptor {
                name,
                families: vec![FamilyDescriptor::new("cf"), FamilyDescriptor::new("m")],
                attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            };
            self.client.ensure_table(&wanted, &[]).await.unwrap_or_else(|e| panic!("{e}"));
        }
    }

    fn tables(&self) -> [TableName; 3] {
        let [weight, counter] = store::TABLES.map(|name| TableName::parse(name).expect("a table's name"));
        [self.table.clone(), weight, counter]
    }

    /// What was written before lies in files: the next one begins with an empty memory.
    async fn settle(&self) {
        for table in self.tables() {
            self.client.flush_table(&table).await.unwrap_or_else(|e| panic!("{e}"));
        }
    }

    async fn ours(&self, verb: &str, prefix: &str, rows: usize, cells: usize) -> Took {
        self.timed(rows, |rows| self.batch(verb, prefix, rows, cells)).await
    }

    async fn stored(&self, verb: &str, round: usize, rows: usize, cells: usize) -> Took {
        let took = self.timed(rows, |rows| self.store.batch(verb, round, rows, cells)).await;
        self.store.check(verb, round, rows, cells).await;
        took
    }

    async fn timed<F>(&self, rows: usize, batch: impl Fn(Range<usize>) -> F) -> Took
    where
        F: Future<Output = ()>,
    {
        let one = async |rows| {
            let began = Instant::now();
            batch(rows).await;
            began.elapsed()
        };
        let (server, client) = (Watch::start(Whose::Other(self.server)), Watch::start(Whose::Process));
        let began = Instant::now();
        let batches = (0..rows).step_by(BATCH).map(|from| one(from..(from + BATCH).min(rows)));
        let mut took: Vec<Duration> = stream::iter(batches).buffer_unordered(IN_FLIGHT).collect().await;
        let wall = began.elapsed();
        let (client, server) = (client.stop().cpu, server.stop().cpu);
        took.sort_unstable();
        Took { rows, wall, client, server, p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] }
    }

    async fn batch(&self, verb: &str, prefix: &str, rows: Range<usize>, cells: usize) {
        match verb {
            "put" => {
                let puts = rows.map(|n| put(prefix, n, cells)).collect();
                self.client.put_many(&self.table, puts).await.into_iter().for_each(|o| o.unwrap_or_else(|e| panic!("{e}")));
            }
            "mutate" => {
                let bumps = rows.map(|n| bump(prefix, n, cells)).collect();
                for outcome in self.client.mutate_many(&self.table, bumps).await {
                    outcome.unwrap_or_else(|e| panic!("{e}"));
                }
            }
            _ => {
                let gets = rows.map(|n| Get::new(row(prefix, n))).collect();
                for answer in self.client.get_many(&self.table, gets).await {
                    let found = answer.unwrap_or_else(|e| panic!("{e}")).len();
                    assert!(found >= cells, "a row of {found} cells; wanted are {cells}");
                }
            }
        }
    }

    fn theirs(&self, peer: &mut Peer, verb: &str, prefix: &str, rows: usize, cells: usize) -> Took {
        let server = Watch::start(Whose::Other(self.server));
        let numbers = [rows, cells, BATCH, IN_FLIGHT].map(|n| n.to_string());
        let answer = peer.ask(&[verb, prefix, &numbers[0], &numbers[1], &numbers[2], &numbers[3]]);
        let server = server.stop().cpu;
        assert_eq!((answer[0].as_str(), answer.len()), ("done", 6), "{answer:?}");
        let micros = |at: usize| Duration::from_micros(answer[at].parse().expect("a number of microseconds"));
        Took { rows, wall: micros(2), client: micros(3), server, p50: micros(4), p99: micros(5) }
    }

    /// Every row of the stretch is there with every cell, and its counter counted once.
    async fn check(&self, prefix: &str, rows: usize, cells: usize, counted: bool) {
        let mut scan = Scan { stop: row(prefix, 99_999_999).into(), ..Scan::from(prefix.to_owned(), 5000) };
        let mut n = 0;
        loop {
            let page = self.client.scan(&self.table, &scan).await.unwrap_or_else(|e| panic!("{e}"));
            for found in &page.rows {
                assert_eq!(found[0].row, row(prefix, n), "rows are missing");
                assert_eq!(found.len(), cells + usize::from(counted), "row {}", row(prefix, n));
                for (c, cell) in found.iter().take(cells).enumerate() {
                    assert_eq!((&cell.qualifier[..], &cell.value[..]), (&qualifier(c)[..], &value(n, c)[..]));
                    assert_eq!(cell.timestamp, n as i64 + 1);
                }
                assert!(!counted || found[cells].value == 1i64.to_be_bytes()[..], "row {} counted otherwise", row(prefix, n));
                n += 1;
            }
            let Some(next) = page.next else { break };
            scan.start = next;
        }
        assert_eq!(n, rows, "rows of {prefix}");
    }
}

fn put(prefix: &str, n: usize, cells: usize) -> Put {
    let mut put = Put::with_capacity(row(prefix, n), Durability::Sync, cells * 120).expect("a row key");
    for cell in 0..cells {
        put.cell(b"cf", &qualifier(cell), n as i64 + 1, &value(n, cell)).expect("a cell that fits");
    }
    put
}

fn bump(prefix: &str, n: usize, cells: usize) -> RowMutations {
    let mut bump = RowMutations::new(row(prefix, n)).expect("a row key");
    for cell in 0..cells {
        bump.put(Durability::Sync, b"cf", &qualifier(cell), n as i64 + 1, &value(n, cell)).expect("a cell that fits");
    }
    bump.increment(Durability::Sync, b"m", b"counter", 1).expect("a cell that fits");
    bump
}
