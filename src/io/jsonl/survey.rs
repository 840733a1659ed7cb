//! What a file of recorded events holds, for those who look before they run.
//!
//! Goes over the whole file as a run would, so that a line which would stop a run is found now. Delivers nothing.

use super::scan::{Lines, Scan};
use crate::domain::fault::Fault;
use crate::domain::ids::{Partition, RecordOffset};
use crate::domain::record::Record;
use std::path::Path;

/// What the file holds.
#[derive(Debug)]
pub struct Survey {
    pub lines: u64,
    pub bytes: u64,
    /// In the order of their first lines.
    pub partitions: Vec<Partition>,
    /// Its first records.
    pub first: Vec<Record>,
}

impl Survey {
    /// Reads the file and keeps its first `keep` records.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is not an event: with file, line and column.
    pub fn of(path: &Path, keep: usize) -> Result<Self, Fault> {
        let scan = Scan::of(path)?;
        let mut lines = Lines::open(path, scan.bytes)?;
        let mut first = Vec::new();
        while first.len() < keep
            && let Some(line) = lines.next()?
        {
            let (number, event) = (line.number, line.event(path)?);
            first.extend(event.map(|event| {
                let offset = event.offset.unwrap_or(number);
                event.into_record(RecordOffset(number), offset)
            }));
        }
        let partitions = scan.partitions.iter().map(|found| found.partition).collect();
        Ok(Self { lines: scan.lines.unsigned_abs(), bytes: scan.bytes, partitions, first })
    }
}
