//! CPU time rather than wall time, a fixed loop that tells how fast the machine is now, and where results go.

use super::count::allocations;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Prints a line; the benches' only voice.
pub fn say(line: impl std::fmt::Display) {
    // A closed pipe is the reader's wish.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// User and system time.
    pub cpu: Duration,
    pub wall: Duration,
    pub allocations: u64,
}

impl Took {
    pub fn micros_per(&self, n: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / n as f64
    }
    pub fn nanos_per(&self, n: usize) -> f64 {
        self.micros_per(n) * 1e3
    }
    pub fn per_second(&self, n: usize) -> f64 {
        n as f64 / self.wall.as_secs_f64()
    }
    pub fn allocations_per(&self, n: usize) -> f64 {
        self.allocations as f64 / n as f64
    }
}

/// Whose CPU time is read.
#[derive(Clone, Copy)]
pub enum Whose {
    /// This thread's, to the nanosecond.
    Thread,
    /// That of all threads, ended ones included, in the kernel's ticks.
    Process,
    /// The same of another process.
    Other(u32),
}

/// A stop watch.
pub struct Watch {
    whose: Whose,
    cpu: Duration,
    wall: Instant,
    allocations: u64,
}

impl Watch {
    pub fn start(whose: Whose) -> Self {
        Self { whose, cpu: cpu(whose), wall: Instant::now(), allocations: allocations() }
    }
    pub fn stop(&self) -> Took {
        Took { cpu: cpu(self.whose) - self.cpu, wall: self.wall.elapsed(), allocations: allocations() - self.allocations }
    }
}

/// Ticks per second of `/proc/*/stat`: the same on every Linux we know.
const TICKS: u64 = 100;

/// User and system time so far.
pub fn cpu(whose: Whose) -> Duration {
    match whose {
        Whose::Thread => {
            let text = read("/proc/thread-self/schedstat");
            let nanos = text.split(' ').next().and_then(|n| n.parse().ok());
            Duration::from_nanos(nanos.expect("the kernel tells a thread's time"))
        }
        Whose::Process | Whose::Other(_) => {
            let folder = match whose {
                Whose::Other(pid) => format!("/proc/{pid}"),
                _ => "/proc/self".to_owned(),
            };
            cpu_of(Path::new(&folder)).unwrap_or_else(|| panic!("{folder}/stat cannot be read; the benches run on Linux"))
        }
    }
}

/// User and system time of the process or thread of this folder; `None` once it has ended.
pub fn cpu_of(folder: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(folder.join("stat")).ok()?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}; the benches run on Linux"))
}

/// Resident bytes of this process.
pub fn resident_bytes() -> u64 {
    let text = read("/proc/self/statm");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Runs `work` over and over for a while; nanoseconds of this thread per item of `items`, the best of five stretches.
pub fn nanos_each(items: usize, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let mut best = (f64::MAX, 0.0);
    for _ in 0..5 {
        let watch = Watch::start(Whose::Thread);
        let (mut rounds, began) = (0, Instant::now());
        while began.elapsed() < Duration::from_millis(200) {
            work();
            rounds += 1;
        }
        let took = watch.stop();
        let nanos = took.nanos_per(rounds * items);
        if nanos < best.0 {
            best = (nanos, took.allocations_per(rounds * items));
        }
    }
    best
}

/// The machine's own speed: nanoseconds to parse one fixed record into `serde_json::Value`.
pub fn calibration() -> f64 {
    let record = super::shop::sample_body();
    nanos_each(1000, || {
        for _ in 0..1000 {
            std::hint::black_box(serde_json::from_slice::<Value>(std::hint::black_box(&record)).is_ok());
        }
    })
    .0
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One bench's figures, kept as JSON.
pub struct Report {
    name: &'static str,
    values: Map<String, Value>,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        let mut report = Self { name, values: Map::new() };
        report.put("cores", std::thread::available_parallelism().map_or(0, usize::from));
        report.put("load", read("/proc/loadavg").split(' ').next().unwrap_or_default());
        report.put("calibration_ns", calibration());
        say(format!(
            "calibration: {:.0} ns for a 0.9 KB record into serde_json::Value; load {}",
            report.values["calibration_ns"].as_f64().unwrap_or(0.0),
            report.values["load"]
        ));
        report
    }

    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// A figure of a micro bench beside the naive way's.
    pub fn compare(&mut self, what: &str, ours: (f64, f64), naive: (f64, f64)) {
        let ratio = naive.0 / ours.0;
        say(format!(
            "{what}: {:.0} ns, {:.1} allocations; naive {:.0} ns, {:.1} allocations; {ratio:.2} times fewer",
            ours.0, ours.1, naive.0, naive.1
        ));
        let value =
            json!({ "ns": ours.0, "allocations": ours.1, "naive_ns": naive.0, "naive_allocations": naive.1, "ratio": ratio });
        self.put(what, value);
    }

    /// Writes `bench-results/NAME.json`.
    pub fn finish(self) {
        let folder = std::path::Path::new("bench-results");
        let path = folder.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(&self.values).unwrap_or_default();
        match std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text + "\n")) {
            Ok(()) => say(format!("kept in {}", path.display())),
            Err(e) => say(format!("{} cannot be written: {e}", path.display())),
        }
    }
}

/// The number after `--name` among the arguments, or the default.
pub fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    match (arguments.next(), arguments.next()) {
        (Some(_), Some(value)) => value.parse().unwrap_or_else(|_| panic!("{name} {value}: a whole number is needed")),
        _ => default,
    }
}
