//! A file of written documents as a sink: one write a line, `{"id","version","op":"index"|"delete","doc"}`.
//!
//! Keeps K1 and I4 (a version below the last one held for an id is superseded; versions are learnt again from the file
//! when it is opened), and 3-interfaces 3.3 (on disk before the answer, one sync for all writes that wait for one, a torn
//! last line cut). Memory: id, version and place of every document. Knows nothing of rows.

use super::file_fault;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RowVersion;
use crate::io::locking;
use crate::ports::Answer;
use crate::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A line's documents in a file.
pub struct JsonlSink(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Lines and what they hold.
    book: Mutex<Book>,
    /// How far the file is on disk: whoever holds it syncs for all that were appended before.
    synced: Mutex<u64>,
}

struct Book {
    /// `None` after a fault that left the file in doubt; the next call opens it again.
    file: Option<Arc<File>>,
    end: u64,
    ids: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    version: RowVersion,
    at: u64,
    len: u32,
    deleted: bool,
}

impl JsonlSink {
    /// Opens or makes the file and learns its versions. Blocks for one pass over it.
    ///
    /// # Errors
    /// It cannot be opened, is open elsewhere, or a line before the last is not one of ours.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Fault> {
        let path = path.into();
        let book = Book::open(&path)?;
        let synced = Mutex::new(book.end);
        Ok(Self(Arc::new(Shared { path, book: Mutex::new(book), synced })))
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> Result<T, Fault> {
        let shared = self.0.clone();
        let place = shared.path.display().to_string();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.map_err(|error| Fault::new(FaultKind::Panicked, place, error))
    }
}

impl Sink for JsonlSink {
    fn kind(&self) -> &'static str {
        "jsonl"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(async move {
            let count = batch.len();
            let written = self.blocking(move |shared| shared.write(&batch)).await;
            written.and_then(|outcomes| outcomes).unwrap_or_else(|fault| vec![SinkOutcome::Retry { fault, counts: false }; count])
        })
    }

    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        Box::pin(async move { self.blocking(move |shared| shared.get(&id)).await? })
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        Box::pin(async move { self.blocking(move |shared| shared.list(after, max)).await? })
    }
}

impl Shared {
    fn write(&self, batch: &[SinkWrite]) -> Result<Vec<SinkOutcome>, Fault> {
        let (outcomes, file, end) = {
            let mut book = self.book()?;
            let outcomes = book.append(&self.path, batch)?;
            (outcomes, book.file.clone(), book.end)
        };
        // A superseded write waits too: the one above it must be on disk before anybody is told of it.
        if let Some(file) = file {
            self.sync(&file, end)?;
        }
        Ok(outcomes)
    }

    /// The file on disk up to `end`, by this call or by one that came before.
    fn sync(&self, file: &File, end: u64) -> Result<(), Fault> {
        let mut synced = self.synced.lock().unwrap_or_else(|e| e.into_inner());
        if *synced >= end {
            return Ok(());
        }
        let appended = self.lock().end;
        match file.sync_data() {
            Ok(()) => {
                *synced = appended;
                Ok(())
            }
            Err(error) => {
                // What reached the disk is unknown after a failed sync, and a second one may hide it.
                self.lock().file = None;
                Err(file_fault(&self.path, "sync", &error))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The book over an open file, opened again if a fault closed it.
    fn book(&self) -> Result<MutexGuard<'_, Book>, Fault> {
        let mut book = self.lock();
        if book.file.is_none() {
            *book = Book::open(&self.path)?;
        }
        Ok(book)
    }

    fn get(&self, id: &str) -> Result<Option<Held>, Fault> {
        let Some(entry) = self.book()?.ids.get(id).copied() else { return Ok(None) };
        let mut file = File::open(&self.path).map_err(|e| file_fault(&self.path, "open", &e))?;
        self.read(&mut file, id, entry).map(Some)
    }

    fn list(&self, after: Option<String>, max: usize) -> Result<Vec<Held>, Fault> {
        let entries: Vec<_> = {
            let book = self.book()?;
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let living = book.ids.range((from, Bound::Unbounded)).filter(|(_, entry)| !entry.deleted);
            living.take(max).map(|(id, entry)| (id.clone(), *entry)).collect()
        };
        let mut file = File::open(&self.path).map_err(|e| file_fault(&self.path, "open", &e))?;
        entries.into_iter().map(|(id, entry)| self.read(&mut file, &id, entry)).collect()
    }

    fn read(&self, file: &mut File, id: &str, entry: Entry) -> Result<Held, Fault> {
        let held = |document| Held { id: id.to_owned(), version: entry.version, document };
        if entry.deleted {
            return Ok(held(None));
        }
        let mut text = vec![0; entry.len as usize];
        let read = file.seek(SeekFrom::Start(entry.at)).and_then(|_| file.read_exact(&mut text));
        read.map_err(|e| file_fault(&self.path, "read", &e))?;
        let line = read_line(&text).map_err(|what| Fault::new(FaultKind::Corrupt, self.path.display().to_string(), what))?;
        Ok(held(line.doc.map(|doc| Bytes::copy_from_slice(doc.get().as_bytes()))))
    }
}

impl Book {
    fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |doing: &'static str| move |error: std::io::Error| file_fault(path, doing, &error);
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(fault("make the folder"))?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fault("open"))?;
        if !locking::lock(&file).map_err(fault("lock"))? {
            let what = "another process or line writes this file; give each line its own";
            return Err(Fault::new(FaultKind::Incompatible, path.display().to_string(), what));
        }
        let mut book = Self { file: None, end: 0, ids: BTreeMap::new() };
        let mut reader = BufReader::with_capacity(1 << 18, &file);
        let (mut text, mut number) = (Vec::new(), 0_u64);
        loop {
            text.clear();
            number += 1;
            let read = reader.read_until(b'\n', &mut text).map_err(fault("read"))?;
            if read == 0 {
                break;
            }
            let torn = text.last() != Some(&b'\n');
            match read_line(&text) {
                Ok(line) => book.learn(line.id, line.version, line.op == "delete", read),
                Err(_) if torn => break,
                Err(what) => return Err(Fault::new(FaultKind::Corrupt, format!("{}:{number}", path.display()), what)),
            }
            if torn {
                // Whole but for its line end.
                (&file).write_all(b"\n").map_err(fault("write"))?;
                book.end += 1;
            }
        }
        drop(reader);
        file.set_len(book.end).map_err(fault("cut"))?;
        file.sync_all().map_err(fault("sync"))?;
        sync_folder(path);
        book.file = Some(Arc::new(file));
        Ok(book)
    }

    /// Takes in a line of `len` bytes at the end of the file.
    fn learn(&mut self, id: String, version: RowVersion, deleted: bool, len: usize) {
        let entry = Entry { version, at: self.end, len: u32::try_from(len).unwrap_or(u32::MAX), deleted };
        self.end += len as u64;
        let held = self.ids.entry(id).or_insert(entry);
        if held.version <= version {
            *held = entry;
        }
    }

    /// Appends what is not superseded, all or nothing.
    fn append(&mut self, path: &Path, batch: &[SinkWrite]) -> Result<Vec<SinkOutcome>, Fault> {
        let Some(file) = self.file.clone() else { return Ok(Vec::new()) };
        let mut text = Vec::new();
        let mut lines = Vec::with_capacity(batch.len());
        let mut outcomes = Vec::with_capacity(batch.len());
        for write in batch {
            let held = self.ids.get(&write.id).map(|entry| entry.version).filter(|held| *held > write.version);
            if let Some(held) = held {
                outcomes.push(SinkOutcome::Superseded(Some(held)));
                continue;
            }
            let start = text.len();
            match print_line(write, &mut text) {
                Ok(()) => {
                    lines.push((write, text.len() - start));
                    outcomes.push(SinkOutcome::Written);
                }
                Err(why) => {
                    text.truncate(start);
                    outcomes.push(SinkOutcome::Rejected(why));
                }
            }
        }
        if let Err(error) = (&*file).write_all(&text) {
            // Part of it may stand in the file; without it, the next append would follow a torn line.
            if file.set_len(self.end).is_err() {
                self.file = None;
            }
            return Err(file_fault(path, "write", &error));
        }
        for (write, len) in lines {
            self.learn(write.id.clone(), write.version, matches!(write.body, Body::Delete), len);
        }
        Ok(outcomes)
    }
}

/// Puts a new file's name on disk, where the system lets a folder be synced; the file's content is synced by itself.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[derive(Deserialize)]
struct ReadLine<'a> {
    id: String,
    #[serde(borrow)]
    version: &'a RawValue,
    op: String,
    #[serde(default, borrow)]
    doc: Option<&'a RawValue>,
}

struct WrittenLine<'a> {
    id: String,
    version: RowVersion,
    op: String,
    doc: Option<&'a RawValue>,
}

fn read_line(text: &[u8]) -> Result<WrittenLine<'_>, String> {
    let remedy = "mend or remove the line, or write to another file";
    // A struct could also be read from an array of its members.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(format!("not a JSON object; {remedy}"));
    }
    let ReadLine { id, version, op, doc } =
        serde_json::from_slice(text).map_err(|e| format!("not a written document: {e}; {remedy}"))?;
    let digits = version.get().trim_matches('"');
    let version =
        digits.parse().map(RowVersion).map_err(|_| format!("`{digits}` is not a version, a 64-bit integer; {remedy}"))?;
    match (op.as_str(), doc) {
        ("index", Some(_)) | ("delete", _) => Ok(WrittenLine { id, version, op, doc }),
        ("index", None) => Err(format!("an `index` without its `doc`; {remedy}")),
        (other, _) => Err(format!("`op` is `{other}`; allowed: index, delete; {remedy}")),
    }
}

/// Appends the write as a line.
///
/// # Errors
/// A document that is not JSON would break the file.
fn print_line(write: &SinkWrite, out: &mut Vec<u8>) -> Result<(), String> {
    let (op, doc): (_, &[u8]) = match &write.body {
        Body::Delete => ("delete", b"null"),
        Body::Index(doc) => {
            serde_json::from_slice::<IgnoredAny>(doc).map_err(|e| format!("the document is not JSON: {e}"))?;
            if doc.trim_ascii() == b"null" {
                return Err("the document is `null`, which would read as none".into());
            }
            ("index", doc)
        }
    };
    out.extend_from_slice(b"{\"id\":");
    serde_json::to_writer(&mut *out, &write.id).map_err(|e| e.to_string())?;
    // Writing into memory cannot fail.
    let _ = write!(out, ",\"version\":\"{}\",\"op\":\"{op}\",\"doc\":", write.version);
    // A line end in JSON can only stand between its tokens, where a space is the same.
    out.extend(doc.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"}\n");
    Ok(())
}

#[cfg(test)]
mod tests;
