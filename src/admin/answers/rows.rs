//! One wide row as it stands: cells with stamps, what is alive, its version and its documents' ids.

use super::{Code, Office, Problem, at_most, choices};
use crate::domain::change::Value;
use crate::domain::ids::{Name, RowId, RowKey};
use crate::domain::merge;
use crate::domain::row::{Part, WideRow};
use crate::domain::schema::RowKind;
use serde::{Deserialize, Serialize};

/// A wide row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowAnswer {
    pub kind: String,
    pub key: String,
    /// Whether anything was ever written under the key.
    pub exists: bool,
    /// M6.
    pub alive: bool,
    pub version: String,
    /// `weight` or `counter` (V1).
    pub version_kind: String,
    pub base: String,
    pub counter: String,
    /// M9.
    pub keys: Vec<KeyColumn>,
    pub marks: Vec<MarkAnswer>,
    pub tables: Vec<PartAnswer>,
    pub documents: Vec<RowDocument>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    pub column: String,
    /// `None` is SQL null.
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkAnswer {
    pub name: String,
    pub stamp: String,
}

/// One table row inside the wide row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAnswer {
    pub table: String,
    /// Its own primary key, escaped (M1); empty where cells carry none.
    pub child: String,
    pub alive: bool,
    pub tombstone: Option<TombstoneAnswer>,
    pub cells: Vec<CellAnswer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstoneAnswer {
    pub stamp: String,
    /// In ms since 1970.
    pub written: i64,
    pub revoked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellAnswer {
    pub column: String,
    /// `None` is SQL null.
    pub value: Option<String>,
    pub stamp: String,
    /// Above the tombstone (M5).
    pub alive: bool,
}

/// The document a line makes of the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDocument {
    pub line: String,
    pub id: Option<String>,
    /// Why there is no id.
    pub problem: Option<String>,
}

/// Row keys of a kind, in key order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowKeysAnswer {
    pub kind: String,
    pub keys: Vec<String>,
    /// Ask again from here; `None` at the end.
    pub next: Option<String>,
}

impl Office {
    /// One row.
    ///
    /// # Errors
    /// No such kind, no such row, a store that does not answer.
    pub async fn row(&self, kind: &str, key: &str) -> Result<RowAnswer, Problem> {
        let (kind, row) = self.read(kind, key).await?;
        let row = row.ok_or_else(|| {
            let help = "look at the key's spelling (`widerow row get KIND --key column=value` makes it), and at the dead letters";
            Problem::new(Code::NoSuchRow, format!("nothing was ever written to row {}/{key}", kind.name)).help(help)
        })?;
        Ok(self.describe(kind, key, Some(&row)))
    }

    /// The row key that key columns make.
    ///
    /// # Errors
    /// No such kind, a column that is missing or that the key does not have.
    pub fn row_key(&self, kind: &str, columns: &[(String, String)]) -> Result<RowKey, Problem> {
        let kind = self.kind(kind)?;
        let known = || choices(kind.key_columns.iter().map(|c| c.as_str()));
        for (column, _) in columns {
            if !kind.key_columns.iter().any(|c| c.as_str() == column) {
                let what = format!("`{column}` is no key column of row kind `{}`", kind.name);
                return Err(Problem::new(Code::BadRequest, what).help(known()));
            }
        }
        let value = |name: Name| columns.iter().find(|(c, _)| c == name.as_str()).map(|(_, v)| v.as_str());
        let key = kind.key.render(value).map_err(|missing| {
            let what = format!("key column `{missing}` of row kind `{}` is missing", kind.name);
            Problem::new(Code::BadRequest, what).help(known())
        })?;
        Ok(RowKey::new(&key))
    }

    /// Row keys of a kind from `from` (included) on.
    ///
    /// # Errors
    /// No such kind, a store that does not answer.
    pub async fn row_keys(&self, kind: &str, from: Option<&str>, max: usize) -> Result<RowKeysAnswer, Problem> {
        let kind = self.kind(kind)?;
        let page = self.doors.rows.scan(kind.name, from.map(RowKey::new), None, at_most(max)).await?;
        Ok(RowKeysAnswer {
            kind: kind.name.to_string(),
            keys: page.rows.iter().map(|r| r.row.key.to_string()).collect(),
            next: page.next.map(|key| key.to_string()),
        })
    }

    /// A row as one read saw it (V2).
    pub(super) async fn read(&self, kind: &str, key: &str) -> Result<(&RowKind, Option<WideRow>), Problem> {
        let kind = self.kind(kind)?;
        let rows = self.doors.rows.read(vec![RowId { kind: kind.name, key: RowKey::new(key) }]).await?;
        Ok((kind, rows.into_iter().next().flatten()))
    }

    pub(super) fn describe(&self, kind: &RowKind, key: &str, row: Option<&WideRow>) -> RowAnswer {
        let empty = WideRow::default();
        let content = row.unwrap_or(&empty);
        let documents = self.lines_of(kind.name).filter_map(|line| {
            let id = line.document.as_ref()?.id(content);
            let (id, problem) = match id {
                Ok(id) => (Some(id), None),
                Err(error) => (None, Some(error.to_string())),
            };
            Some(RowDocument { line: line.name.to_string(), id, problem })
        });
        RowAnswer {
            kind: kind.name.to_string(),
            key: key.to_owned(),
            exists: row.is_some(),
            alive: content.is_alive(kind),
            version: content.version(kind.version).to_string(),
            version_kind: kind.version.to_string(),
            base: content.base.to_string(),
            counter: content.counter.to_string(),
            keys: content.keys.iter().map(key_column).collect(),
            marks: content.marks.iter().map(|(name, s)| MarkAnswer { name: name.clone(), stamp: s.0.to_string() }).collect(),
            tables: parts(content),
            documents: documents.filter(|_| row.is_some()).collect(),
        }
    }
}

fn key_column((name, value): (Name, Value<'_>)) -> KeyColumn {
    KeyColumn { column: name.to_string(), value: value.text().map(str::to_owned) }
}

/// Tables and columns by their text: names order by when they were met, which tells people nothing.
fn parts(row: &WideRow) -> Vec<PartAnswer> {
    let mut parts: Vec<_> = row.parts.iter().map(part).collect();
    parts.sort_by(|a, b| (&a.table, &a.child).cmp(&(&b.table, &b.child)));
    parts
}

fn part(part: &Part) -> PartAnswer {
    let dead = part.dead_through();
    let cell = |c: crate::domain::row::Cell<'_>| CellAnswer {
        column: c.name.to_string(),
        value: c.value.map(str::to_owned),
        stamp: c.stamp.0.to_string(),
        alive: !merge::is_dead(c.stamp, dead),
    };
    let mut cells: Vec<_> = part.cells.iter().map(cell).collect();
    cells.sort_by(|a, b| a.column.cmp(&b.column));
    PartAnswer {
        table: part.id.table.to_string(),
        child: part.id.child.to_string(),
        alive: part.is_alive(),
        tombstone: part.tombstone.map(|t| TombstoneAnswer {
            stamp: t.stamp.0.to_string(),
            written: t.written.0,
            revoked: t.revoked,
        }),
        cells,
    }
}
