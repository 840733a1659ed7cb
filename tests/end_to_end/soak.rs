//! A long stretch of trade during which nothing may grow: memory and open files of the nodes stay as they were after the first third.
//!
//! The shop is as large at the end as at the beginning ([`crate::trader`] deletes what is too much), and dead cells are purged
//! as operators are told to; what still grows is ours.

use crate::site::{Site, pause, say};
use crate::vitals;
use serde_json::json;
use std::time::{Duration, Instant};

/// Transactions of one statement file.
const BATCH: usize = 60;
/// After so many of them everything must be equal, and what is dead long enough goes.
const BATCHES: usize = 20;
/// The shop trades for so much of the time, and rests for the other.
const LOAD_PERCENT: u32 = 60;
const REST_PERCENT: u32 = 100 - LOAD_PERCENT;
const LOOK: Duration = Duration::from_millis(200);
/// A purge of so few rows takes seconds.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long dead cells stay in a soak: long enough for everything that was written before to have arrived.
pub const HORIZON: &str = "5m";

impl Site {
    /// As the module says.
    pub fn soak(&mut self, minutes: u64) {
        let (began, whole) = (Instant::now(), Duration::from_secs(60 * minutes));
        let (mut early, mut batches, mut purged, mut slowest) = (None, 0, 0, Duration::ZERO);
        while began.elapsed() < whole {
            let trading = Instant::now();
            self.trade(BATCH);
            pause(trading.elapsed() * REST_PERCENT / LOAD_PERCENT);
            batches += 1;
            if batches % BATCHES == 0 {
                slowest = slowest.max(self.converge());
                purged += self.purge("order") + self.purge("product");
            }
            if batches % (10 * BATCHES) == 0 {
                let records: u64 = self.nodes.iter().map(|node| node.taken()).sum();
                let minute = began.elapsed().as_secs() / 60;
                say(&format!("minute {minute}: {records} records, {purged} cells purged, {}", told(&self.vitals())));
            }
            if early.is_none() && began.elapsed() > whole / 3 {
                early = Some(self.vitals());
            }
        }
        slowest = slowest.max(self.converge());
        let (early, late) = (early.unwrap_or_default(), self.vitals());
        say(&format!(
            "soak of {minutes} min: {} transactions, {purged} cells purged, all equal after {:.1} s at most; {} became {}",
            batches * BATCH,
            slowest.as_secs_f64(),
            told(&early),
            told(&late)
        ));
        for (early, late) in early.into_iter().zip(late) {
            assert!(late.bytes < early.bytes + early.bytes / 3 + (64 << 20), "memory grew from {early:?} to {late:?}");
            assert!(late.files < early.files + 40, "open files grew from {early:?} to {late:?}");
        }
    }

    fn vitals(&self) -> Vec<vitals::Vitals> {
        self.nodes.iter().filter(|node| node.pid() > 0).map(|node| vitals::of(node.pid())).collect()
    }

    /// Takes away what is dead for longer than the horizon; says how many cells went.
    fn purge(&self, kind: &str) -> u64 {
        let body = json!({ "dry": false, "reason": "soak" });
        let run = self.nodes[0].order(&format!("/api/v1/rows/{kind}:purge"), &body).expect("a node takes a purge");
        let began = Instant::now();
        loop {
            let told = self.nodes[0].ask("/api/v1/runs").unwrap_or_default();
            let ours = told["runs"].as_array().into_iter().flatten().find(|held| held["id"] == run["id"]);
            match ours.map(|held| (held["state"].as_str().unwrap_or_default(), held)) {
                Some(("done", held)) => return held["cells"].as_u64().unwrap_or(0),
                Some(("failed" | "cancelled", held)) => panic!("the purge did not end well: {held}"),
                _ => assert!(began.elapsed() < PATIENCE, "the purge does not end: {told}"),
            }
            pause(LOOK);
        }
    }
}

fn told(vitals: &[vitals::Vitals]) -> String {
    let node = |v: &vitals::Vitals| format!("{} MB and {} files", v.bytes >> 20, v.files);
    vitals.iter().map(node).collect::<Vec<_>>().join(", ")
}
