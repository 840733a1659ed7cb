//! Whose CPU a stretch of a run cost.

use crate::bed::Bed;
use crate::common::measure::{Whose, cpu, cpu_of};
use crate::servers;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// The share of all CPU that Java's compilers take of servers that count as warm.
pub const WARM: f64 = 0.1;

/// The processes of a run, by what they are called in tables.
pub struct Meter {
    processes: Vec<(&'static str, Whose, f64)>,
    java: [u32; 3],
    compilers: HashMap<PathBuf, f64>,
    began: Instant,
}

/// CPU seconds by process, and how long it took.
#[derive(Clone, Debug)]
pub struct Cost {
    pub seconds: f64,
    pub cpu: Vec<(&'static str, f64)>,
    /// Those of Java's compilers, which are part of their servers'.
    compiling: f64,
}

impl Meter {
    /// `worker`: the program under test.
    pub fn start(bed: &Bed, worker: u32) -> Self {
        let of = |name, whose| (name, whose, cpu(whose).as_secs_f64());
        let processes = vec![
            of("worker", Whose::Other(worker)),
            of("hbase", Whose::Other(bed.hbase.pid())),
            of("kafka", Whose::Other(bed.kafka.pid())),
            of("redis", Whose::Other(bed.redis.pid())),
            of("search", Whose::Other(bed.search.pid())),
            of("this program", Whose::Process),
        ];
        let java = [&bed.hbase, &bed.kafka, &bed.search].map(servers::Server::pid);
        Self { processes, java, compilers: compilers(java), began: Instant::now() }
    }

    pub fn stop(&self) -> Cost {
        self.read(&self.processes)
    }

    /// The same where the program under test has ended and can no longer be asked.
    pub fn stop_without_worker(&self) -> Cost {
        self.read(&self.processes[1..])
    }

    fn read(&self, processes: &[(&'static str, Whose, f64)]) -> Cost {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu = processes.iter().map(|(name, whose, before)| (*name, cpu(*whose).as_secs_f64() - before)).collect();
        let since = |(thread, now): (PathBuf, f64)| now - self.compilers.get(&thread).copied().unwrap_or_default();
        let compiling = compilers(self.java).into_iter().map(since).sum();
        Cost { seconds, cpu, compiling }
    }
}

/// CPU seconds that each compiler thread of these Java processes has taken. Java starts and ends such threads as it needs
/// them: what one took that has ended is not told. Linux cuts their names (`C1 CompilerThread0`) short.
fn compilers(java: [u32; 3]) -> HashMap<PathBuf, f64> {
    let threads = java.into_iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten().flatten();
    let compiles = |thread: &PathBuf| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("C1 Comp") || name.starts_with("C2 Comp"))
    };
    let threads = threads.map(|entry| entry.path()).filter(compiles);
    threads.filter_map(|thread| cpu_of(&thread).map(|cpu| (thread, cpu.as_secs_f64()))).collect()
}

impl Cost {
    /// What Java's compilers took of all CPU.
    pub fn compiling(&self) -> f64 {
        self.compiling / self.cpu.iter().map(|(_, seconds)| seconds).sum::<f64>()
    }

    /// Microseconds of CPU an event, by process.
    pub fn split(&self, events: u64) -> Value {
        let each =
            |(name, seconds): &(&str, f64)| ((*name).to_owned(), Value::from((seconds * 1e7 / events as f64).round() / 10.0));
        Value::Object(self.cpu.iter().map(each).collect::<Map<_, _>>())
    }

    /// The same in words.
    pub fn told(&self, events: u64) -> String {
        let each = |(name, seconds): &(&str, f64)| format!("{name} {:.1}", seconds * 1e6 / events as f64);
        let split = self.cpu.iter().map(each).collect::<Vec<_>>().join(", ");
        format!("{split}; {:.0} % of all by Java's compilers", self.compiling() * 100.0)
    }
}
