//! The thread that reads a file of recorded events and delivers it.
//!
//! It goes over the file in chunks, in file order, for all partitions that take records. A partition that is paused, or
//! does not answer for a moment, is left out and its lines are read again from its own place when it takes them; so
//! nothing is held for it, and the others go on. Memory: one chunk, beside what the engine was handed.

use super::scan::{Cursor, Lines, changed};
use super::source::{Shared, State};
use crate::domain::fault::Fault;
use crate::domain::ids::{Generation, RecordOffset};
use crate::domain::record::Record;
use crate::io::feed::{DELIVERY_BYTES_MAX, DELIVERY_RECORDS_MAX, Handed};
use crate::ports::source::{Delivery, Intake};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the file one chunk goes over; the line that reaches it is the last.
const CHUNK_BYTES_MAX: u64 = 4 << 20;
/// How long a chunk waits for partitions that have not answered before it goes on without them. It keeps file order
/// among partitions that are all a little slow; a stuck one costs the others this much once.
const PATIENCE: Duration = Duration::from_millis(20);

pub(super) struct Reader {
    source: String,
    shared: Arc<Shared>,
    intake: Arc<dyn Intake>,
    lines: Lines,
    handed: Handed,
}

/// Where one partition stood when a chunk began.
struct View {
    follows: bool,
    reading: Generation,
    cursor: Cursor,
    from: i64,
    records: Vec<Record>,
    bytes: usize,
}

/// What became of one partition's part of a chunk.
enum Step {
    Done,
    /// It still owes the answer to its last delivery.
    Busy,
    Deliver(Delivery, futures_util::future::AbortRegistration),
}

impl Reader {
    pub(super) fn new(source: String, shared: Arc<Shared>, intake: Arc<dyn Intake>, lines: Lines) -> Self {
        Self { source, shared, intake, lines, handed: Handed::default() }
    }

    /// Assigns, then reads until stopped.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let assigned = self.shared.lock().assigned();
        let answer = self.intake.assigned(&self.source, assigned);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                () = &mut answer => break,
                () = self.shared.changed.notified() => if self.shared.lock().stopped { return Ok(()) },
            }
        }
        loop {
            self.tell_ended();
            let start = {
                let state = self.shared.lock();
                if state.stopped {
                    return Ok(());
                }
                state.parts.iter().filter(|p| p.takes()).map(|p| p.cursor).min_by_key(|c| c.line)
            };
            match start {
                None => self.wait().await,
                Some(start) => {
                    self.lines.go_to(start)?;
                    let chunk = self.read_chunk()?;
                    self.deliver_chunk(chunk).await;
                }
            }
        }
    }

    /// Tells of partitions that are read and answered for.
    fn tell_ended(&self) {
        let mut ended = Vec::new();
        for part in &mut self.shared.lock().parts {
            if part.is_read() && !part.gate.is_busy() && !part.ended_told {
                part.ended_told = true;
                ended.push((part.found.partition, part.gate.reading()));
            }
        }
        ended.into_iter().for_each(|(partition, reading)| self.intake.ended(partition, reading));
    }

    /// Waits for an answer or for a call of the engine.
    async fn wait(&mut self) {
        tokio::select! {
            (partition, reading) = self.handed.next() => {
                let mut state = self.shared.lock();
                if let Some(at) = state.index.get(&partition).copied() {
                    let part = &mut state.parts[at];
                    part.gate.answered(reading);
                    part.stalled &= part.gate.is_busy();
                }
            }
            () = self.shared.changed.notified() => {}
        }
    }

    fn read_chunk(&mut self) -> Result<Vec<View>, Fault> {
        let (mut views, index) = {
            let state = self.shared.lock();
            (views(&state), state.index.clone())
        };
        let (_, start) = self.lines.place();
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next()? {
            let (number, byte) = (line.number, line.byte);
            if let Some(event) = line.event(&path)? {
                let at = *index.get(&event.partition).ok_or_else(|| changed(&path))?;
                let view = &mut views[at];
                if view.follows && number >= view.cursor.line {
                    let offset = event.offset.unwrap_or(view.cursor.offset);
                    view.cursor.offset = offset.saturating_add(1);
                    if number >= view.from {
                        let record = event.into_record(RecordOffset(number), offset);
                        view.bytes += record.bytes();
                        view.records.push(record);
                        if view.records.len() >= DELIVERY_RECORDS_MAX || view.bytes >= DELIVERY_BYTES_MAX {
                            break;
                        }
                    }
                }
            }
            if byte - start >= CHUNK_BYTES_MAX {
                break;
            }
        }
        Ok(views)
    }

    /// Hands each partition its part of the chunk, waiting a little for those that still owe an answer.
    async fn deliver_chunk(&mut self, mut views: Vec<View>) {
        let (line, byte) = self.lines.place();
        let mut open: Vec<usize> = (0..views.len()).filter(|at| views[*at].follows && views[*at].cursor.line <= line).collect();
        open.sort_unstable_by_key(|at| views[*at].records.first().map(|r| r.position));
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            let mut busy = Vec::new();
            for at in open {
                let view = &mut views[at];
                match step(&mut self.shared.lock(), at, view, Cursor { line, byte, offset: view.cursor.offset }) {
                    Step::Done => {}
                    Step::Busy => busy.push(at),
                    Step::Deliver(delivery, registration) => self.handed.hand(&*self.intake, delivery, registration),
                }
            }
            open = busy;
            if open.is_empty() {
                return;
            }
            self.tell_ended();
            // Nobody else could go on: then waiting costs nothing.
            let alone = !self.shared.lock().parts.iter().any(|p| p.takes() && !p.gate.is_busy());
            tokio::select! {
                () = self.wait() => {}
                () = &mut patience, if !alone => {
                    let mut state = self.shared.lock();
                    for at in open {
                        state.parts[at].stalled = state.parts[at].gate.is_busy();
                    }
                    return;
                }
            }
        }
    }
}

fn views(state: &State) -> Vec<View> {
    let view = |part: &super::source::Part| View {
        follows: part.takes(),
        reading: part.gate.reading(),
        cursor: part.cursor,
        from: part.from,
        records: Vec::new(),
        bytes: 0,
    };
    state.parts.iter().map(view).collect()
}

/// Moves one partition over the chunk, or leaves it where it was: paused, rewound, stopped, or busy.
fn step(state: &mut State, at: usize, view: &mut View, to: Cursor) -> Step {
    let stopped = state.stopped;
    let part = &mut state.parts[at];
    if stopped || part.gate.reading() != view.reading || part.gate.is_paused() {
        return Step::Done;
    }
    let Some(last) = view.records.last() else {
        part.cursor = to;
        return Step::Done;
    };
    if part.gate.is_busy() {
        return Step::Busy;
    }
    part.delivered_to = last.position.0 + 1;
    part.cursor = to;
    let delivery = Delivery {
        partition: part.found.partition,
        reading: view.reading,
        records: std::mem::take(&mut view.records),
        high_watermark: Some(part.found.last + 1),
    };
    Step::Deliver(delivery, part.gate.begin())
}
