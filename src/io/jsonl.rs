//! Files of JSON lines: recorded events in (3-interfaces 3.3), documents out.
//!
//! `line` is the form of a recorded event, `scan` the pass over a file that must be trusted before it is read, `source`
//! the source and what it commits, `reader` its reading thread, `survey` a look without a run, `sink` the documents.

pub mod line;
mod reader;
mod scan;
mod sink;
mod source;
mod survey;

pub use sink::JsonlSink;
pub use source::JsonlSource;
pub use survey::Survey;

use crate::domain::fault::{Fault, FaultKind};
use std::io;
use std::path::Path;

/// What the operating system said of a file, as a fault with the file's name.
fn file_fault(path: &Path, doing: &str, error: &io::Error) -> Fault {
    use io::ErrorKind as E;
    let kind = match error.kind() {
        E::StorageFull | E::QuotaExceeded | E::FileTooLarge => FaultKind::Full,
        E::PermissionDenied | E::ReadOnlyFilesystem => FaultKind::Forbidden,
        E::InvalidData => FaultKind::Corrupt,
        _ => FaultKind::Unreachable,
    };
    Fault::new(kind, path.display().to_string(), format!("{doing}: {error}"))
}
