//! A file of recorded events as a source: every (topic, partition) of it is a partition whose positions are lines.
//!
//! Keeps O1 for the file as a whole: what is committed is the first line that is not settled in every partition, with the
//! hash of the first line, so that another file under the same name is refused (E3's rule for files). The epoch is 0;
//! whoever knows of a bump raises it. Reading is in `reader`.

use super::reader::Reader;
use super::scan::{Cursor, Found, Lines, Scan};
use crate::domain::epoch::Epochs;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Generation, Name, NextOffset, Partition};
use crate::io::feed::{self, Ended, Gate};
use crate::ports::Answer;
use crate::ports::ledger::Ledger;
use crate::ports::source::{Assigned, Intake, Source, SourceControl};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use tokio::sync::Notify;

/// A file of recorded events, not yet read.
pub struct JsonlSource {
    name: String,
    path: PathBuf,
    ledger: Arc<dyn Ledger>,
    from_start: bool,
}

impl JsonlSource {
    /// `ledger` keeps the committed line; `from_start` reads the file again from its first line.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, ledger: Arc<dyn Ledger>, from_start: bool) -> Self {
        Self { name: name.into(), path: path.into(), ledger, from_start }
    }
}

impl Source for JsonlSource {
    fn name(&self) -> &str {
        &self.name
    }

    /// Blocks for one pass over the file.
    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let Self { name, path, ledger, from_start } = *self;
        let (opened, outcome) = mpsc::sync_channel(1);
        let (note, kept_in, told) = (note_name(&name), ledger.clone(), intake.clone());
        let body = {
            let name = name.clone();
            async move || {
                let (shared, lines) = match open(&path, &note, &*ledger, from_start).await {
                    Ok((shared, lines)) => (Arc::new(shared), lines),
                    Err(fault) => {
                        let _ = opened.send(Err(fault));
                        return Ok(());
                    }
                };
                let _ = opened.send(Ok(shared.clone()));
                Reader::new(name, shared, intake, lines).run().await
            }
        };
        let ended = feed::spawn(&name, told, body)?;
        let gone =
            || Fault::new(FaultKind::Panicked, format!("source {name}"), "the reading thread ended before the file was read");
        let shared = outcome.recv().map_err(|_| gone())??;
        Ok(Arc::new(Control { shared, ended, ledger: kept_in, note: note_name(&name), kept: tokio::sync::Mutex::new(None) }))
    }
}

fn note_name(source: &str) -> String {
    format!("source/{source}/file")
}

/// What the ledger keeps of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Committed {
    /// The first line not settled, counting from 0.
    line: i64,
    /// Lines the file had.
    lines: i64,
    /// Hash of the first line, as hex digits.
    first: String,
}

async fn open(path: &Path, note: &str, ledger: &dyn Ledger, from_start: bool) -> Result<(Shared, Lines), Fault> {
    let scan = Scan::of(path)?;
    let lines = Lines::open(path, scan.bytes)?;
    let mut start = 0;
    if from_start {
        ledger.set_notes(vec![(note.to_owned(), None)]).await?;
    } else if let Some(text) = ledger.note(note).await? {
        let committed: Committed = serde_json::from_str(&text)
            .map_err(|e| Fault::new(FaultKind::Corrupt, format!("note {note}"), format!("not a committed line: {e}")))?;
        start = still_the_file(path, &scan, &committed)?;
    }
    Ok((Shared::new(scan, start), lines))
}

/// The committed line, if this is the file it was committed of.
fn still_the_file(path: &Path, scan: &Scan, committed: &Committed) -> Result<i64, Fault> {
    let refuse = |found: String| {
        let what =
            format!("{found}; read it from its start with --from-start, or give this file another source name or data_dir");
        Err(Fault::new(FaultKind::Incompatible, path.display().to_string(), what))
    };
    if committed.line > scan.lines {
        return refuse(format!("{} lines were committed, and the file has {}", committed.line, scan.lines));
    }
    if committed.line > 0 && committed.first != hex(scan.first) {
        return refuse(format!("{} lines were committed of a file with another first line", committed.line));
    }
    Ok(committed.line)
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// What the reading thread and the engine's calls share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the reading thread after a call changed something.
    pub(super) changed: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub parts: Vec<Part>,
    pub index: Arc<HashMap<Partition, usize>>,
    pub stopped: bool,
    lines: i64,
    first: u64,
}

/// One partition while the file is read.
#[derive(Debug)]
pub(super) struct Part {
    pub found: Found,
    pub gate: Gate,
    /// No record of the partition before this line is still to be delivered, those below `from` apart.
    pub cursor: Cursor,
    /// Records before this line are only counted, for their offsets.
    pub from: i64,
    /// The line after the last one delivered.
    pub delivered_to: i64,
    /// The first line the engine has not settled.
    committable: i64,
    /// It did not answer in time; the others go on without it until it does.
    pub stalled: bool,
    pub ended_told: bool,
}

impl Part {
    fn new(found: Found, start: i64) -> Self {
        let mut part = Self {
            gate: Gate::default(),
            cursor: found.point(start),
            from: start,
            delivered_to: start,
            committable: start,
            stalled: false,
            ended_told: false,
            found,
        };
        part.read_from(start);
        part
    }

    fn read_from(&mut self, line: i64) {
        self.cursor = self.found.point(line);
        if line > self.found.last {
            self.cursor.line = line;
        }
        self.from = line;
        self.delivered_to = line;
        self.stalled = false;
        self.ended_told = false;
    }

    pub(super) fn is_read(&self) -> bool {
        self.cursor.line > self.found.last
    }

    /// Lines of it may be read and delivered now.
    pub(super) fn takes(&self) -> bool {
        !self.gate.is_paused() && !self.stalled && !self.is_read()
    }

    /// O1: its first line without a verdict; `None` when every line has one.
    fn open_line(&self) -> Option<i64> {
        if self.delivered_to > self.committable {
            Some(self.committable)
        } else if self.is_read() {
            None
        } else {
            Some(self.cursor.line.max(self.from))
        }
    }
}

impl Shared {
    fn new(scan: Scan, start: i64) -> Self {
        let parts: Vec<_> = scan.partitions.into_iter().map(|found| Part::new(found, start)).collect();
        let index = parts.iter().enumerate().map(|(i, p)| (p.found.partition, i)).collect();
        let state = State { parts, index: Arc::new(index), stopped: false, lines: scan.lines, first: scan.first };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn with_part<T>(&self, partition: Partition, act: impl FnOnce(&mut Part) -> T) -> Option<T> {
        let mut state = self.lock();
        let at = *state.index.get(&partition)?;
        let out = act(&mut state.parts[at]);
        drop(state);
        self.changed.notify_one();
        Some(out)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }
}

impl State {
    pub(super) fn assigned(&self) -> Vec<Assigned> {
        let mut counts: HashMap<Name, u32> = HashMap::new();
        for part in &self.parts {
            let Partition { topic, number } = part.found.partition;
            let count = counts.entry(topic).or_default();
            *count = (*count).max(number.unsigned_abs() + 1);
        }
        let assign = |part: &Part| Assigned {
            partition: part.found.partition,
            start: NextOffset(part.from),
            partitions: counts[&part.found.partition.topic],
            epochs: Epochs::default(),
            high_watermark: None,
        };
        self.parts.iter().map(assign).collect()
    }

    fn committed(&self) -> Committed {
        let line = self.parts.iter().filter_map(Part::open_line).min().unwrap_or(self.lines);
        Committed { line, lines: self.lines, first: hex(self.first) }
    }
}

/// The engine's hand on a file that is being read.
struct Control {
    shared: Arc<Shared>,
    ended: Ended,
    ledger: Arc<dyn Ledger>,
    note: String,
    /// What the ledger holds; its lock keeps notes in the order of their making.
    kept: tokio::sync::Mutex<Option<Committed>>,
}

impl SourceControl for Control {
    fn commit(&self, positions: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            let mut kept = self.kept.lock().await;
            let committed = {
                let mut state = self.shared.lock();
                for (partition, next) in positions {
                    if let Some(at) = state.index.get(&partition).copied() {
                        state.parts[at].committable = next.0;
                    }
                }
                state.committed()
            };
            if kept.as_ref() == Some(&committed) {
                return Ok(());
            }
            let text = serde_json::to_string(&committed).map_err(|e| Fault::new(FaultKind::Invalid, self.note.clone(), e))?;
            self.ledger.set_notes(vec![(self.note.clone(), Some(text))]).await?;
            *kept = Some(committed);
            Ok(())
        })
    }

    fn rewind(&self, partition: Partition, to: NextOffset) -> Generation {
        let rewind = |part: &mut Part| {
            part.read_from(to.0);
            part.committable = part.committable.min(to.0);
            part.gate.rewound()
        };
        self.shared.with_part(partition, rewind).unwrap_or_default()
    }

    fn pause(&self, partition: Partition) {
        self.shared.with_part(partition, |part| part.gate.pause(true));
    }

    fn resume(&self, partition: Partition) {
        self.shared.with_part(partition, |part| part.gate.pause(false));
    }

    fn stop(&self) -> Answer<'_, ()> {
        self.shared.stop();
        Box::pin(self.ended.clone().wait())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

#[cfg(test)]
mod tests;
