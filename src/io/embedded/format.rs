//! The format file: which version of us wrote a store.
//!
//! It is a text of its own, read before fjall touches anything, so that an unknown store is left as it was found.

use super::io_fault;
use crate::domain::fault::{Fault, FaultKind};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Raised when older programs could no longer read what we write.
const VERSION: u32 = 1;
const HEAD: &str = "widerow store ";

/// Writes the file of a new store; of an existing one, makes sure that we can read it.
///
/// # Errors
/// `incompatible` for another version or a missing or foreign file beside existing data.
pub(super) fn check(path: &Path, db_path: &Path, place: &str) -> Result<(), Fault> {
    let file = path.join("format");
    let wrong = |what: String| Err(Fault::new(FaultKind::Incompatible, place, what));
    let text = match std::fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if db_path.exists() {
                return wrong(format!("{} is missing beside existing data; restore it from the backup", file.display()));
            }
            return write(path, &file).map_err(|e| io_fault(place, &e));
        }
        Err(e) => return Err(io_fault(place, &e)),
    };
    match text.strip_prefix(HEAD).and_then(|v| v.trim_end().parse::<u32>().ok()) {
        Some(VERSION) => Ok(()),
        Some(other) => wrong(format!(
            "format {other} was written by another version of widerow; this one reads format {VERSION}; run that version, or use another data_dir"
        )),
        None => wrong(format!("{} is not a format file of ours; use another data_dir", file.display())),
    }
}

fn write(path: &Path, file: &Path) -> io::Result<()> {
    let new = path.join("format.new");
    let mut out = File::create(&new)?;
    writeln!(out, "{HEAD}{VERSION}")?;
    out.sync_all()?;
    std::fs::rename(&new, file)?;
    File::open(path)?.sync_all()
}
