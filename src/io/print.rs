//! The dry run's sink: documents as lines on standard output, nothing kept.

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Name;
use crate::ports::Answer;
use crate::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};
use rustix::process::{Signal, getpid, kill_process};
use std::io::Write;
use std::sync::Once;

/// Prints `{"line","id","version","op","doc"}`, one write a line, for one line of the configuration.
pub struct PrintSink {
    line: Name,
}

impl PrintSink {
    pub fn new(line: Name) -> Self {
        Self { line }
    }

    fn print(&self, write: &SinkWrite, out: &mut impl Write) -> std::io::Result<()> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        write!(out, r#"{{"line":{},"id":{},"version":"{}","#, quoted(self.line.as_str()), quoted(&write.id), write.version)?;
        match &write.body {
            Body::Delete => out.write_all(b"\"op\":\"delete\"}\n"),
            Body::Index(json) => {
                out.write_all(b"\"op\":\"index\",\"doc\":")?;
                out.write_all(json)?;
                out.write_all(b"}\n")
            }
        }
    }
}

impl Sink for PrintSink {
    fn kind(&self) -> &'static str {
        "print"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        let mut text = Vec::new();
        for write in &batch {
            // Writing to memory cannot fail.
            let _ = self.print(write, &mut text);
        }
        let printed = std::io::stdout().lock().write_all(&text);
        let outcome = match printed {
            Ok(()) => SinkOutcome::Written,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                nobody_reads();
                SinkOutcome::Written
            }
            Err(error) => SinkOutcome::Rejected(format!("standard output: {error}")),
        };
        Box::pin(std::future::ready(vec![outcome; batch.len()]))
    }

    fn get(&self, _: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        Box::pin(std::future::ready(Err(not_asked())))
    }

    fn list(&self, _: Option<String>, _: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        Box::pin(std::future::ready(Err(not_asked())))
    }
}

/// As after `| head`: the run has nothing more to do, and ends as it would when asked to. Rust takes the signal away that
/// ends other programs here.
fn nobody_reads() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        if let Err(error) = kill_process(getpid(), Signal::TERM) {
            tracing::warn!(%error, "nobody reads what is printed, and the run cannot end itself");
        }
    });
}

fn not_asked() -> Fault {
    Fault::new(FaultKind::Rejected, "dry run", "printed documents are not kept")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{RowKey, RowVersion};

    #[test]
    fn a_line_names_everything() {
        let mut out = Vec::new();
        let mut write = SinkWrite {
            id: "a\"b".to_owned(),
            version: RowVersion(9_007_199_254_740_993),
            body: Body::Index("{\"n\":8.80}".into()),
            row: RowKey::new("k"),
            types: Vec::new(),
        };
        let sink = PrintSink::new(Name::of("search"));
        sink.print(&write, &mut out).unwrap();
        write.body = Body::Delete;
        sink.print(&write, &mut out).unwrap();
        let want = "{\"line\":\"search\",\"id\":\"a\\\"b\",\"version\":\"9007199254740993\",\"op\":\"index\",\"doc\":{\"n\":8.80}}\n\
                    {\"line\":\"search\",\"id\":\"a\\\"b\",\"version\":\"9007199254740993\",\"op\":\"delete\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
