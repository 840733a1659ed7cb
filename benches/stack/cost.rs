//! Whose CPU a stretch of a run cost.

use crate::bed::Bed;
use crate::common::measure::{Whose, cpu};
use serde_json::{Map, Value};
use std::time::Instant;

/// The processes of a run, by what they are called in tables.
pub struct Meter {
    processes: Vec<(&'static str, Whose, f64)>,
    began: Instant,
}

/// CPU seconds by process, and how long it took.
#[derive(Clone, Debug)]
pub struct Cost {
    pub seconds: f64,
    pub cpu: Vec<(&'static str, f64)>,
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
        Self { processes, began: Instant::now() }
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
        Cost { seconds, cpu }
    }
}

impl Cost {
    /// Microseconds of CPU an event, by process.
    pub fn split(&self, events: u64) -> Value {
        let each =
            |(name, seconds): &(&str, f64)| ((*name).to_owned(), Value::from((seconds * 1e7 / events as f64).round() / 10.0));
        Value::Object(self.cpu.iter().map(each).collect::<Map<_, _>>())
    }

    /// The same in words.
    pub fn told(&self, events: u64) -> String {
        let each = |(name, seconds): &(&str, f64)| format!("{name} {:.1}", seconds * 1e6 / events as f64);
        self.cpu.iter().map(each).collect::<Vec<_>>().join(", ")
    }
}
