//! The pass over a file of recorded events before anything of it is delivered.
//!
//! A file with a line that is not an event is refused as a whole, with the place: it is broken input, and half of it
//! would be a silent loss. Finds the partitions, where each begins and ends, and every so many records a point to read
//! on from. Knows nothing of the engine.

use super::file_fault;
use super::line::{self, Event};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Partition;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// The longest line. A body may be far above the record limit of C8 and still get to the dead letters.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Distinct partitions of one file.
const PARTITIONS_MAX: usize = 10_000;
/// Records of a partition between two points to read on from.
const POINT_RECORDS: u64 = 1_024;

/// A place in the file from one partition's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Counts from 0.
    pub line: i64,
    pub byte: u64,
    /// The offset of the partition's next record, should its line not tell one.
    pub offset: i64,
}

/// One partition of the file.
#[derive(Debug)]
pub(super) struct Found {
    pub partition: Partition,
    /// Its last line.
    pub last: i64,
    /// Places of every so many of its records, its first one included.
    points: Vec<Cursor>,
}

impl Found {
    /// The nearest point at or before this line; its first line where there is none.
    pub(super) fn point(&self, line: i64) -> Cursor {
        self.points[self.points.partition_point(|p| p.line <= line).saturating_sub(1)]
    }
}

/// What the file holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub lines: i64,
    /// Where the last line ends; what is appended later belongs to the next run.
    pub bytes: u64,
    /// Hash of the first line.
    pub first: u64,
    /// In the order of their first lines.
    pub partitions: Vec<Found>,
}

impl Scan {
    /// Reads the whole file once.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is not an event: with file, line and column.
    pub(super) fn of(path: &Path) -> Result<Self, Fault> {
        let mut lines = Lines::open(path, u64::MAX)?;
        let mut scan = Self { lines: 0, bytes: 0, first: xxh3_64(b""), partitions: Vec::new() };
        let mut index = HashMap::new();
        let mut counts: Vec<(u64, i64)> = Vec::new();
        while let Some(line) = lines.next()? {
            if line.number == 0 {
                scan.first = xxh3_64(line.text);
            }
            let Some(event) = line.event(path)? else { continue };
            let at = *index.entry(event.partition).or_insert_with(|| {
                scan.partitions.push(Found { partition: event.partition, last: line.number, points: Vec::new() });
                counts.push((0, 0));
                scan.partitions.len() - 1
            });
            if at >= PARTITIONS_MAX {
                let what = format!("more than {PARTITIONS_MAX} partitions; are `topic` and `partition` what they should be?");
                return Err(Fault::new(FaultKind::Invalid, line.place(path, 1), what));
            }
            let (records, next) = &mut counts[at];
            if *records % POINT_RECORDS == 0 {
                scan.partitions[at].points.push(Cursor { line: line.number, byte: line.byte, offset: *next });
            }
            scan.partitions[at].last = line.number;
            *records += 1;
            *next = event.offset.unwrap_or(*next).saturating_add(1);
        }
        (scan.lines, scan.bytes) = lines.place();
        Ok(scan)
    }
}

/// The file line by line, from any place of it.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: i64,
    byte: u64,
    end: u64,
    buffer: Vec<u8>,
}

/// One line without its line end.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub number: i64,
    pub byte: u64,
    pub text: &'a [u8],
}

impl Line<'_> {
    /// The event of the line; `None` for an empty one.
    pub(super) fn event(&self, path: &Path) -> Result<Option<Event>, Fault> {
        if self.text.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let wrong = |error: line::LineError| {
            let what = format!("not a recorded event: {}; mend or remove the line, then start again", error.what);
            Fault::new(FaultKind::Invalid, self.place(path, error.column), what)
        };
        line::parse(self.text).map(Some).map_err(wrong)
    }

    /// `file:line:column`, counting from 1.
    pub(super) fn place(&self, path: &Path, column: usize) -> String {
        format!("{}:{}:{column}", path.display(), self.number + 1)
    }
}

impl Lines {
    /// From the start to `end` bytes.
    pub(super) fn open(path: &Path, end: u64) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|e| file_fault(path, "open", &e))?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path: path.to_owned(), file, line: 0, byte: 0, end, buffer: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The line and the byte that are read next.
    pub(super) fn place(&self) -> (i64, u64) {
        (self.line, self.byte)
    }

    /// Goes on from this place.
    pub(super) fn go_to(&mut self, to: Cursor) -> Result<(), Fault> {
        if to.byte != self.byte {
            self.file.seek(SeekFrom::Start(to.byte)).map_err(|e| file_fault(&self.path, "seek", &e))?;
        }
        (self.line, self.byte) = (to.line, to.byte);
        Ok(())
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, Fault> {
        if self.byte >= self.end {
            return Ok(None);
        }
        self.buffer.clear();
        let limit = (self.end - self.byte).min(LINE_BYTES_MAX + 1);
        let read = self.file.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|e| file_fault(&self.path, "read", &e))? as u64;
        if read == 0 {
            return if self.end == u64::MAX { Ok(None) } else { Err(changed(&self.path)) };
        }
        let line = Line { number: self.line, byte: self.byte, text: self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer) };
        if read > LINE_BYTES_MAX {
            let what = format!("a line longer than {} MiB; is this a file of JSON lines?", LINE_BYTES_MAX >> 20);
            return Err(Fault::new(FaultKind::Invalid, line.place(&self.path, 1), what));
        }
        self.line += 1;
        self.byte += read;
        Ok(Some(line))
    }
}

/// The file is not what it was when it was scanned.
pub(super) fn changed(path: &Path) -> Fault {
    let what = "the file was changed while it was read; start again";
    Fault::new(FaultKind::Incompatible, path.display().to_string(), what)
}
