//! What is broken, as data, and how it is broken and mended.
//!
//! Every fault strikes under load and is held for a while under load; the recovery time counts from the mending to the
//! moment at which an order written then stands in both sinks.

use crate::site::{Site, pause, say};
use crate::vitals;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    First,
    Second,
    /// Not there unless a fault brings it.
    Third,
    Kafka,
    Hbase,
    Redis,
    Search,
    /// What reads the database's changes.
    Capture,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL, and started again on the same data.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// SIGSTOP for longer than its leases last, SIGCONT, and a restart: HBase ends itself when its session is over.
    Outlast,
    /// Its connections are ended; it lives on.
    Cut,
    /// A node more, which leaves in order at the end.
    Join,
    /// Told to end, and started again, in order.
    Restart,
}

#[derive(Debug)]
pub struct Fault {
    pub name: &'static str,
    pub harms: &'static [(Part, Harm)],
    /// Batches of transactions while it lasts.
    pub load: usize,
    /// How long it lasts at least.
    pub lasts: Duration,
}

const fn fault(name: &'static str, lasts: u64, harms: &'static [(Part, Harm)]) -> Fault {
    Fault { name, harms, load: 3, lasts: Duration::from_secs(lasts) }
}

use Harm::{Cut, Freeze, Join, Kill, Outlast, Restart};
use Part::{Capture, First, Hbase, Kafka, Redis, Search, Second, Third};

pub const FAULTS: &[Fault] = &[
    fault("node-killed", 2, &[(First, Kill)]),
    fault("node-away", 12, &[(First, Kill)]),
    fault("both-nodes-killed", 2, &[(First, Kill), (Second, Kill)]),
    fault("node-frozen", 12, &[(Second, Freeze)]),
    fault("kafka-killed", 3, &[(Kafka, Kill)]),
    fault("kafka-frozen", 10, &[(Kafka, Freeze)]),
    fault("hbase-killed", 3, &[(Hbase, Kill)]),
    fault("hbase-frozen", 0, &[(Hbase, Freeze)]),
    fault("hbase-outlasted", 12, &[(Hbase, Outlast)]),
    fault("redis-killed", 3, &[(Redis, Kill)]),
    fault("redis-frozen", 10, &[(Redis, Freeze)]),
    fault("redis-cut", 0, &[(Redis, Cut)]),
    fault("search-killed", 3, &[(Search, Kill)]),
    fault("search-frozen", 10, &[(Search, Freeze)]),
    fault("debezium-killed", 2, &[(Capture, Kill)]),
    fault("debezium-frozen", 8, &[(Capture, Freeze)]),
    fault("debezium-cut", 0, &[(Capture, Cut)]),
    fault("node-and-redis", 3, &[(First, Kill), (Redis, Kill)]),
    fault("node-and-hbase", 3, &[(Second, Kill), (Hbase, Kill)]),
    fault("kafka-and-search", 3, &[(Kafka, Kill), (Search, Kill)]),
    fault("hbase-and-redis", 3, &[(Hbase, Kill), (Redis, Kill)]),
    fault("frozen-node-and-redis", 8, &[(First, Freeze), (Redis, Kill)]),
    fault("debezium-and-kafka", 3, &[(Capture, Kill), (Kafka, Kill)]),
    fault("third-joins", 8, &[(Third, Join)]),
    fault("third-joins-one-killed", 8, &[(Third, Join), (First, Kill)]),
    fault("third-joins-one-frozen", 12, &[(Third, Join), (Second, Freeze)]),
    fault("rolling-restart", 4, &[(Third, Join), (First, Restart), (Second, Restart), (Third, Restart)]),
    // J9 and O4: what cannot be delivered waits outside of memory.
    Fault { name: "dead-sink", harms: &[(Search, Kill)], load: 40, lasts: Duration::from_secs(20) },
];

/// Transactions of one batch.
const BATCH: usize = 40;

impl Fault {
    /// Whether it breaks what only a site with Debezium has.
    pub fn needs_debezium(&self) -> bool {
        self.harms.iter().any(|(part, _)| *part == Capture)
    }
}

impl Site {
    /// Load, fault, load, mending, load; then everything must be right.
    pub fn suffer(&mut self, fault: &Fault) {
        self.trade(BATCH);
        let again = self.again;
        let struck = Instant::now();
        for (part, harm) in fault.harms {
            self.strike(*part, *harm);
        }
        for _ in 0..fault.load {
            self.trade(BATCH);
            self.watch_versions_unless(fault);
        }
        // The fault's own length; nothing waits for it.
        pause(fault.lasts.saturating_sub(struck.elapsed()));
        for (part, harm) in fault.harms.iter().rev() {
            self.mend(*part, *harm);
        }
        let mended = Instant::now();
        let mark = self.mark();
        self.trade(BATCH);
        self.await_mark(&mark);
        let recovered = mended.elapsed();
        self.converge();
        let equal = mended.elapsed();
        self.again = self.delivered_again();
        let vitals: Vec<_> = self.nodes.iter().filter(|node| node.pid() > 0).map(|node| vitals::of(node.pid())).collect();
        say(&format!(
            "{:<22} for {:>5.1} s, recovered after {:>5.1} s, all equal after {:>5.1} s; {} records again; {} MB, {} files",
            fault.name,
            mended.duration_since(struck).as_secs_f64(),
            recovered.as_secs_f64(),
            equal.as_secs_f64(),
            (self.again - again).max(0),
            vitals.iter().map(|v| v.bytes >> 20).max().unwrap_or(0),
            vitals.iter().map(|v| v.files).max().unwrap_or(0),
        ));
        for vitals in vitals {
            assert!(vitals.bytes < vitals::BYTES_MAX, "{}: {} MB", fault.name, vitals.bytes >> 20);
            assert!(vitals.files < vitals::FILES_MAX, "{}: {} files are open", fault.name, vitals.files);
        }
    }

    fn watch_versions_unless(&mut self, fault: &Fault) {
        if fault.harms.iter().all(|(part, _)| *part != Redis) {
            self.watch_versions();
        }
    }

    fn strike(&mut self, part: Part, harm: Harm) {
        match (part, harm) {
            (_, Join) => self.nodes[place(part)].start(),
            (_, Restart) => {
                let node = &mut self.nodes[place(part)];
                assert_eq!(node.stop(), Some(0), "{} did not end well:\n{}", node.name, node.last_words());
                node.start();
                self.trade(BATCH);
                self.watch_versions();
                self.await_members();
            }
            (First | Second | Third, Kill | Cut) => self.nodes[place(part)].kill(),
            (First | Second | Third, Freeze | Outlast) => self.nodes[place(part)].signal("STOP"),
            (Capture, Cut) => self.cut_reader(),
            (_, Cut) => self.cut_redis(),
            (_, Kill) => self.server(part).kill(),
            (_, Freeze | Outlast) => self.server(part).freeze(),
        }
    }

    fn mend(&mut self, part: Part, harm: Harm) {
        match (part, harm) {
            (_, Join) => {
                let node = &mut self.nodes[place(part)];
                assert_eq!(node.stop(), Some(0), "{} did not end well:\n{}", node.name, node.last_words());
            }
            (_, Restart) => {}
            (First | Second | Third, Kill) => self.nodes[place(part)].start(),
            (First | Second | Third, Freeze | Outlast) => self.nodes[place(part)].signal("CONT"),
            // Debezium 3.5 does not come back from an ended connection to MariaDB, and says that it runs.
            (Capture, Cut) => {
                self.capture.kill();
                self.capture.start_again();
            }
            (_, Cut) => {}
            (_, Kill) => self.server(part).start_again(),
            (_, Freeze) => self.server(part).thaw(),
            (_, Outlast) => {
                self.server(part).thaw();
                self.server(part).kill();
                self.server(part).start_again();
            }
        }
    }

    fn server(&self, part: Part) -> &crate::servers::Server {
        match part {
            Kafka => &self.kafka,
            Hbase => &self.hbase,
            Redis => &self.redis,
            Search => &self.search,
            _ => &self.capture,
        }
    }
}

const fn place(part: Part) -> usize {
    match part {
        Second => 1,
        Third => 2,
        _ => 0,
    }
}
