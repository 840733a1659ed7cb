//! One row's life across all systems: what it is, what each line would make of it, what waits, what its sinks hold.
//!
//! Keeps K4 and V5: what should be there is decided as a worker decides it, under the version of the same read.

use super::documents::raw;
use super::lines::sink_name;
use super::{EntityAnswer, JobAnswer, Office, Problem, RowAnswer};
use crate::domain::ids::{RowId, RowKey};
use crate::domain::line::{DeleteMode, Line};
use crate::domain::row::WideRow;
use crate::domain::schema::RowKind;
use crate::ports::queue::Which;
use crate::ports::sink::Held;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Jobs shown per line: a row has at most one that waits and one that runs (J2).
const JOBS_MAX: usize = 10;

/// A row's life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyAnswer {
    pub row: RowAnswer,
    /// Its live entity; `None` where none lives, or no node runs.
    pub entity: Option<EntityAnswer>,
    pub lines: Vec<LineWhy>,
}

/// What one line has to do with the row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineWhy {
    pub line: String,
    pub agreement: Agreement,
    /// The agreement in words, with what follows from it.
    pub says: String,
    pub wish: Wish,
    pub jobs: Vec<JobAnswer>,
    pub sink: SinkWhy,
}

/// How the sink's document stands to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    UpToDate,
    Behind,
    Ahead,
    Missing,
    Unknown,
}

impl Agreement {
    pub const fn label(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// What a worker would ask of the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Index,
    Delete,
    /// K4: a small document that says so.
    Tombstone,
    Nothing,
}

/// What a worker would do with the row as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    pub op: Op,
    pub id: Option<String>,
    pub document: Option<Box<RawValue>>,
    /// Why there is nothing to write.
    pub problem: Option<String>,
}

/// What the sink holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkWhy {
    pub kind: String,
    pub version: Option<String>,
    pub deleted: bool,
    pub document: Option<Box<RawValue>>,
    /// Why it was not asked, or did not answer.
    pub problem: Option<String>,
}

impl Wish {
    fn nothing(why: impl ToString) -> Self {
        Self { op: Op::Nothing, id: None, document: None, problem: Some(why.to_string()) }
    }
}

impl Office {
    /// A row's life. A row never written has one too: its lines and jobs.
    ///
    /// # Errors
    /// No such kind, a row store that does not answer.
    pub async fn why(&self, kind: &str, key: &str) -> Result<WhyAnswer, Problem> {
        let (kind, row) = self.read(kind, key).await?;
        let id = RowId { kind: kind.name, key: RowKey::new(key) };
        let mut lines = Vec::new();
        for line in self.lines_of(kind.name) {
            lines.push(self.line_why(line, kind, key, row.as_ref()).await?);
        }
        let entity = self.entity.as_ref().and_then(|look| look(&id));
        Ok(WhyAnswer { row: self.describe(kind, key, row.as_ref()), entity, lines })
    }

    async fn line_why(&self, line: &Line, kind: &RowKind, key: &str, row: Option<&WideRow>) -> Result<LineWhy, Problem> {
        let wish = self.wish(line, kind, row);
        let which = Which { line: Some(line.name), state: None, row: Some(key.to_owned()) };
        let now = self.now();
        let listed = self.doors.queue.list(which, JOBS_MAX).await?;
        let jobs: Vec<_> = listed.into_iter().map(|job| self.job(job, now)).collect();
        let (held, problem) = match (self.doors.sinks.get(&line.name), &wish.id) {
            (None, _) => (None, Some("the line is queue_only: others work its jobs".to_owned())),
            (Some(_), None) => (None, Some("without an id there is nothing to ask for".to_owned())),
            (Some(sink), Some(id)) => match sink.get(id.clone()).await {
                Ok(held) => (held, None),
                Err(fault) => (None, Some(fault.to_string())),
            },
        };
        let version = row.map_or_else(Default::default, |row| row.version(kind.version)).0;
        let (agreement, says) = match &problem {
            Some(problem) => (Agreement::Unknown, problem.clone()),
            None => judge(&wish, version, held.as_ref(), &jobs),
        };
        let settings = self.line_settings(line.name.as_str())?;
        let sink = SinkWhy {
            kind: sink_name(&settings.sink).to_owned(),
            version: held.as_ref().map(|h| h.version.to_string()),
            deleted: held.as_ref().is_some_and(|h| h.document.is_none()),
            document: held.as_ref().and_then(|h| h.document.as_deref()).and_then(raw),
            problem,
        };
        Ok(LineWhy { line: line.name.to_string(), agreement, says, wish, jobs, sink })
    }

    fn wish(&self, line: &Line, kind: &RowKind, row: Option<&WideRow>) -> Wish {
        let Some(row) = row else { return Wish::nothing("nothing was ever written to the row") };
        let Some(document) = &line.document else { return Wish::nothing("the line declares no document") };
        let id = match document.id(row) {
            Ok(id) => id,
            Err(error) => return Wish::nothing(error),
        };
        let schema = &self.settings.schema;
        let built = if row.is_alive(kind) {
            document.build(row, kind, schema).map(|built| (Op::Index, Some(built.json)))
        } else {
            match line.delete {
                DeleteMode::Ignore => {
                    return Wish { id: Some(id), ..Wish::nothing("the row is dead, and the line ignores deletes") };
                }
                DeleteMode::Delete => Ok((Op::Delete, None)),
                DeleteMode::Tombstone => document.tombstone(row, kind, schema).map(|json| (Op::Tombstone, Some(json))),
            }
        };
        match built {
            Ok((op, json)) => Wish { op, id: Some(id), document: json.as_deref().and_then(raw), problem: None },
            Err(error) => Wish { id: Some(id), ..Wish::nothing(error) },
        }
    }
}

/// V5 and K1, in words. `version` is the row's.
fn judge(wish: &Wish, version: i64, held: Option<&Held>, jobs: &[JobAnswer]) -> (Agreement, String) {
    let pending = match jobs.iter().find(|job| job.state != "active").or(jobs.first()) {
        Some(job) if job.state == "buried" => "its job is buried; release it once the cause is mended".to_owned(),
        Some(job) => format!("a job is {}", job.state),
        None => "no job waits: the change was none of the line's `when`, or the line was not there yet; a rebuild offers one"
            .to_owned(),
    };
    let same = held.and_then(|h| h.document.as_deref()).map(<[u8]>::as_ref) == wish.document.as_ref().map(|d| d.get().as_bytes());
    match (wish.op, held) {
        (Op::Nothing, _) => (Agreement::Unknown, wish.problem.clone().unwrap_or_default()),
        (Op::Delete, None) => (Agreement::UpToDate, "the row is dead, and the sink holds nothing".to_owned()),
        (_, None) => (Agreement::Missing, format!("the sink has no document; {pending}")),
        (_, Some(held)) if held.version.0 > version => {
            let says = "the sink holds a higher version than the row: the row store may have lost data (V5)";
            (Agreement::Ahead, says.to_owned())
        }
        (_, Some(_)) if same => (Agreement::UpToDate, "the sink holds what the row says".to_owned()),
        (_, Some(held)) if held.version.0 == version => {
            let says = format!("the sink holds another document under the row's version, so the mapping changed; {pending}");
            (Agreement::Behind, says)
        }
        (_, Some(_)) => (Agreement::Behind, format!("the sink holds a lower version than the row; {pending}")),
    }
}
