//! Goal: every document in search and Redis ends equal to what the database itself says, whatever breaks on the way; nothing
//! is lost, nothing older lies over newer, and nodes stay small. Method: a seeded trader writes real transactions to
//! MariaDB; Debezium, Kafka, two nodes of the real binary on HBase and asynq's queues carry them; parts are killed, frozen
//! and cut off under load; the documents are held against plain SQL.
//!
//! A run takes a fresh sample of the faults and prints its seed. WIDEROW_SEED repeats one; WIDEROW_CHAOS names faults,
//! or is `all`; WIDEROW_CAPTURE is `canal` or `maxwell` for another reader; WIDEROW_SOAK_MINUTES lengthens the stretch over which memory and open files must stay flat.
//!
//! Not part of the `stack` binary: recovery times mean nothing beside other tests.

/// What is broken and how.
mod faults;
/// A widerow process.
mod node;
/// The servers that are shared with the other tests on real components.
#[path = "../stack/servers.rs"]
mod servers;
/// Servers and nodes together, and when they are quiet.
mod site;
/// A long stretch during which nothing may grow.
mod soak;
/// What writes to the database.
mod trader;
/// What the documents must be.
mod truth;
/// Memory and open files of a process.
mod vitals;

use faults::{FAULTS, Fault};
use site::{Format, Site, say};
use std::time::SystemTime;

const BATCH: usize = 60;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn seed() -> u64 {
    variable("WIDEROW_SEED").map_or_else(
        || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs()),
        |seed| seed.parse().expect("WIDEROW_SEED is a number"),
    )
}

/// The faults this run is to try.
fn chosen(seed: u64, format: Format) -> Vec<&'static Fault> {
    let here: Vec<_> = FAULTS.iter().filter(|fault| format == Format::Debezium || !fault.needs_debezium()).collect();
    match variable("WIDEROW_CHAOS").as_deref() {
        None => vec![here[seed as usize % here.len()]],
        Some("all") => here,
        Some(names) => names.split(',').map(named).collect(),
    }
}

fn named(name: &str) -> &'static Fault {
    let all = || FAULTS.iter().map(|fault| fault.name).collect::<Vec<_>>().join(", ");
    FAULTS.iter().find(|fault| fault.name == name).unwrap_or_else(|| panic!("no fault is called {name}; allowed: all, {}", all()))
}

/// As the module says.
#[test]
fn documents_end_as_the_database_says() {
    let seed = seed();
    let format = variable("WIDEROW_CAPTURE").map_or(Format::Debezium, |name| Format::named(&name));
    let faults = chosen(seed, format);
    say(&format!("seed {seed}, {format:?}: {}", faults.iter().map(|fault| fault.name).collect::<Vec<_>>().join(", ")));
    let mut site = Site::new(seed, format);

    // What was there before the first node, and a second node that comes while the first is at work.
    site.trade(BATCH);
    site.nodes[0].start();
    site.trade(BATCH);
    site.alter();
    site.trade(BATCH);
    site.nodes[1].start();
    site.trade(BATCH);
    site.watch_versions();
    say(&format!("no fault: all equal after {:.1} s", site.converge().as_secs_f64()));

    for fault in faults {
        site.alter();
        site.suffer(fault);
    }
    if let Some(minutes) = variable("WIDEROW_SOAK_MINUTES") {
        site.soak(minutes.parse().expect("WIDEROW_SOAK_MINUTES is a number"));
    }
    for node in site.nodes.iter_mut().filter(|node| node.pid() > 0) {
        assert_eq!(node.ask("/api/v1/dead-letters").map(|letters| letters["dead_letters"].to_string()), Some("[]".into()));
        assert_eq!(node.stop(), Some(0), "{} did not end well:\n{}", node.name, node.last_words());
    }
}
