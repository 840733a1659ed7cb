//! The shop as a source: it trades at its rate and delivers, partition by partition.
//!
//! Its log is not on any disk: each partition keeps what is not committed, so a rewind reaches back to the last commit and
//! no further. A new process begins the same trade at its first record, with the same offsets and the same rows, whatever
//! was committed: stored rows then take the old changes as redeliveries (M4, N2). Trade waits while the log is full.

use super::shop::Shop;
use crate::domain::epoch::Epochs;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Generation, Millis, NextOffset, Partition};
use crate::domain::record::Record;
use crate::io::feed::{self, DELIVERY_BYTES_MAX, DELIVERY_RECORDS_MAX, Ended, Gate, Handed};
use crate::ports::Answer;
use crate::ports::source::{Assigned, Delivery, Intake, Source, SourceControl};
use crate::settings::GeneratorSettings;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// Records kept over all partitions until they are committed; trade waits at it.
const KEPT_RECORDS_MAX: usize = 200_000;
/// Bytes of them.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Records that may wait for delivery, no partition counted with more than its share: one that takes nothing must not
/// end the trade of the others.
const WAITING_RECORDS_MAX: usize = 8_000;
const WAITING_SHARE_MAX: usize = 1_000;
/// Records made at once.
const MADE_MAX: usize = 500;
/// The shortest and the longest wait of a paced shop.
const PACE_MIN: Duration = Duration::from_millis(2);
const PACE_MAX: Duration = Duration::from_millis(100);

/// A shop that delivers.
pub struct GeneratorSource {
    name: String,
    rate: Option<f64>,
    shop: Arc<Mutex<Shop>>,
}

impl GeneratorSource {
    pub fn new(name: impl Into<String>, settings: &GeneratorSettings) -> Self {
        Self { name: name.into(), rate: settings.rate, shop: Arc::new(Mutex::new(Shop::new(settings))) }
    }

    /// The shop itself, for its truth, and to end its trade ([`Shop::close`]).
    pub fn shop(&self) -> Arc<Mutex<Shop>> {
        self.shop.clone()
    }
}

impl Source for GeneratorSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let Self { name, rate, shop } = *self;
        let partitions = lock(&shop).partitions();
        let parts: Vec<_> = partitions.into_iter().map(Part::new).collect();
        let index = parts.iter().enumerate().map(|(i, p)| (p.partition, i)).collect();
        let state = State { parts, index, over: false, stopped: false, kept: 0, kept_bytes: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), intake: intake.clone() });
        let runner = Runner { source: name.clone(), rate, shop, shared: shared.clone(), handed: Handed::default() };
        let ended = feed::spawn(&name, intake, async move || runner.run().await)?;
        Ok(Arc::new(Control { shared, ended }))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|e| e.into_inner())
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    intake: Arc<dyn Intake>,
}

struct State {
    parts: Vec<Part>,
    index: HashMap<Partition, usize>,
    /// Nothing new will happen.
    over: bool,
    stopped: bool,
    kept: usize,
    kept_bytes: usize,
}

struct Part {
    partition: Partition,
    gate: Gate,
    /// Records from the committed one on.
    log: VecDeque<Record>,
    /// Position of the first of them.
    base: i64,
    /// Position of the next one to deliver.
    next: i64,
    ended_told: bool,
}

impl Part {
    fn new(partition: Partition) -> Self {
        Self { partition, gate: Gate::default(), log: VecDeque::new(), base: 0, next: 0, ended_told: false }
    }
    fn end(&self) -> i64 {
        self.base + self.log.len() as i64
    }
    fn waiting(&self) -> usize {
        usize::try_from(self.end() - self.next).unwrap_or(0)
    }

    fn next_delivery(&mut self) -> Option<Delivery> {
        if self.gate.is_busy() || self.gate.is_paused() || self.waiting() == 0 {
            return None;
        }
        let mut bytes = 0;
        let from = usize::try_from(self.next - self.base).unwrap_or(0);
        let mut records = Vec::new();
        for record in self.log.range(from..).take(DELIVERY_RECORDS_MAX) {
            bytes += record.bytes();
            records.push(record.clone());
            if bytes >= DELIVERY_BYTES_MAX {
                break;
            }
        }
        self.next += records.len() as i64;
        let high_watermark = Some(self.end());
        Some(Delivery { partition: self.partition, reading: self.gate.reading(), records, high_watermark })
    }
}

impl State {
    /// The log has room, and somebody waits for more.
    fn wants_more(&self) -> bool {
        let waiting: usize = self.parts.iter().map(|p| p.waiting().min(WAITING_SHARE_MAX)).sum();
        !self.over && self.kept < KEPT_RECORDS_MAX && self.kept_bytes < KEPT_BYTES_MAX && waiting < WAITING_RECORDS_MAX
    }

    fn keep(&mut self, records: Vec<Record>) {
        for record in records {
            if let Some(at) = self.index.get(&record.partition) {
                self.kept += 1;
                self.kept_bytes += record.bytes();
                self.parts[*at].log.push_back(record);
            }
        }
    }

    fn forget(&mut self, partition: Partition, before: i64) {
        let Some(at) = self.index.get(&partition).copied() else { return };
        let part = &mut self.parts[at];
        while part.base < before.min(part.next)
            && let Some(record) = part.log.pop_front()
        {
            part.base += 1;
            self.kept -= 1;
            self.kept_bytes -= record.bytes();
        }
    }
}

struct Runner {
    source: String,
    rate: Option<f64>,
    shop: Arc<Mutex<Shop>>,
    shared: Arc<Shared>,
    handed: Handed,
}

impl Runner {
    async fn run(mut self) -> Result<(), Fault> {
        let intake = self.shared.intake.clone();
        let answer = intake.assigned(&self.source, self.assigned());
        tokio::pin!(answer);
        loop {
            tokio::select! {
                () = &mut answer => break,
                () = self.shared.changed.notified() => if lock(&self.shared.state).stopped { return Ok(()) },
            }
        }
        // Permits to make a record; a shop that had to wait makes up for half a second of it, not more.
        let (mut permits, mut last) = (0.0, Instant::now());
        loop {
            if lock(&self.shared.state).stopped {
                return Ok(());
            }
            let now = Instant::now();
            let made_max = match self.rate {
                None => MADE_MAX,
                // What a closed shop still owes has no pace.
                Some(_) if lock(&self.shop).is_over() => MADE_MAX,
                Some(rate) => {
                    permits = f64::min(permits + rate * (now - last).as_secs_f64(), (rate / 2.0).max(1.0));
                    (permits as usize).min(MADE_MAX)
                }
            };
            last = now;
            let made = if made_max > 0 { self.make(made_max) } else { 0 };
            permits -= made as f64;
            self.deliver();
            self.tell_ended();
            // With nothing made, wait until something changes; a paced shop also for its next record.
            if made < MADE_MAX {
                self.wait().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn assigned(&self) -> Vec<Assigned> {
        let state = lock(&self.shared.state);
        let topics = state.parts.iter().map(|p| p.partition.number).max().unwrap_or(0).unsigned_abs() + 1;
        let assign = |part: &Part| Assigned {
            partition: part.partition,
            start: NextOffset(0),
            partitions: topics,
            epochs: Epochs::default(),
            high_watermark: None,
        };
        state.parts.iter().map(assign).collect()
    }

    fn make(&self, max: usize) -> usize {
        if !lock(&self.shared.state).wants_more() {
            return 0;
        }
        let records = {
            let mut shop = lock(&self.shop);
            shop.set_clock(now());
            shop.next_records(max)
        };
        let made = records.len();
        let mut state = lock(&self.shared.state);
        state.over = made == 0;
        state.keep(records);
        made
    }

    fn deliver(&mut self) {
        let count = lock(&self.shared.state).parts.len();
        for at in 0..count {
            let next = {
                let mut state = lock(&self.shared.state);
                if state.stopped {
                    return;
                }
                let part = &mut state.parts[at];
                part.next_delivery().map(|delivery| (delivery, part.gate.begin()))
            };
            if let Some((delivery, registration)) = next {
                self.handed.hand(&*self.shared.intake, delivery, registration);
            }
        }
    }

    fn tell_ended(&self) {
        let mut ended = Vec::new();
        {
            let mut state = lock(&self.shared.state);
            let over = state.over;
            for part in &mut state.parts {
                if over && part.waiting() == 0 && !part.gate.is_busy() && !part.ended_told {
                    part.ended_told = true;
                    ended.push((part.partition, part.gate.reading()));
                }
            }
        }
        ended.into_iter().for_each(|(partition, reading)| self.shared.intake.ended(partition, reading));
    }

    /// Until an answer, a call of the engine, or the time of the next record.
    async fn wait(&mut self) {
        let trades = lock(&self.shared.state).wants_more();
        let pace = match self.rate {
            None if trades => Duration::ZERO,
            Some(rate) if trades => Duration::from_secs_f64((1.0 / rate.max(1e-3)).min(1.0)).clamp(PACE_MIN, PACE_MAX),
            _ => Duration::MAX,
        };
        tokio::select! {
            (partition, reading) = self.handed.next() => {
                let mut state = lock(&self.shared.state);
                if let Some(at) = state.index.get(&partition).copied() {
                    state.parts[at].gate.answered(reading);
                }
            }
            () = self.shared.changed.notified() => {}
            () = tokio::time::sleep(pace), if trades => {}
        }
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

struct Control {
    shared: Arc<Shared>,
    ended: Ended,
}

impl Control {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.shared.state));
        self.shared.changed.notify_one();
    }

    fn change_part(&self, partition: Partition, change: impl FnOnce(&mut Part)) {
        self.change(|state| {
            if let Some(at) = state.index.get(&partition).copied() {
                change(&mut state.parts[at]);
            }
        });
    }
}

impl SourceControl for Control {
    /// Forgets what was committed; nothing of it outlives the process.
    fn commit(&self, positions: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>> {
        self.change(|state| positions.into_iter().for_each(|(partition, next)| state.forget(partition, next.0)));
        Box::pin(async { Ok(()) })
    }

    /// Further back than the last commit it cannot read: it says so to the intake and reads from there.
    fn rewind(&self, partition: Partition, to: NextOffset) -> Generation {
        let base = {
            let state = lock(&self.shared.state);
            let Some(at) = state.index.get(&partition).copied() else { return Generation::default() };
            state.parts[at].base
        };
        if to.0 < base {
            let what = format!("asked to read again from {}, and a generator keeps nothing before its last commit, {base}", to.0);
            self.shared
                .intake
                .failed(Some(partition), Fault::new(FaultKind::Incompatible, format!("generator {partition}"), what));
        }
        let mut reading = Generation::default();
        self.change_part(partition, |part| {
            part.next = to.0.clamp(part.base, part.end());
            part.ended_told = false;
            reading = part.gate.rewound();
        });
        reading
    }

    fn pause(&self, partition: Partition) {
        self.change_part(partition, |part| part.gate.pause(true));
    }

    fn resume(&self, partition: Partition) {
        self.change_part(partition, |part| part.gate.pause(false));
    }

    fn stop(&self) -> Answer<'_, ()> {
        self.change(|state| state.stopped = true);
        Box::pin(self.ended.clone().wait())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.change(|state| state.stopped = true);
    }
}

#[cfg(test)]
mod tests;
