//! A declared mapping, and the document it makes of a row.
//!
//! Keeps K4's tombstone and K6 (absent, null, default, order, exact numbers). The document is JSON text, written once:
//! numbers go from canonical text to JSON text without a float between. Knows nothing of sinks, nor of versions.

mod json;
mod living;

use super::change::Value;
use super::decimal::Decimal;
use super::ids::Name;
use super::row::{Part, WideRow};
use super::schema::{ColumnType, RowKind, Schema};
use super::template::Template;
use json::{write_scalar, write_string};
use living::{Living, SortKey};
use std::cell::Cell;

/// One line's document, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// M9: made of key columns only.
    pub id: Template,
    pub fields: Vec<(String, Field)>,
}

/// How a column's text becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum As {
    #[default]
    String,
    Long,
    /// Keeps its digits as a JSON number (K6).
    Decimal,
    Double,
    Bool,
    DateTime,
    Date,
    Json,
}

impl As {
    /// What a declared column type prints as where the field does not say.
    pub fn of(column: Option<&ColumnType>) -> Self {
        match column {
            Some(ColumnType::Long | ColumnType::Year | ColumnType::Bit(_)) => Self::Long,
            Some(ColumnType::Decimal { .. }) => Self::Decimal,
            Some(ColumnType::Double) => Self::Double,
            Some(ColumnType::Bool) => Self::Bool,
            Some(ColumnType::Date) => Self::Date,
            Some(ColumnType::DateTime(_) | ColumnType::Timestamp(_)) => Self::DateTime,
            Some(ColumnType::Json) => Self::Json,
            _ => Self::String,
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "string" => Self::String,
            "long" => Self::Long,
            "decimal" => Self::Decimal,
            "double" => Self::Double,
            "bool" => Self::Bool,
            "datetime" => Self::DateTime,
            "date" => Self::Date,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

/// A column of one of the kind's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    /// The table's short name.
    pub table: Name,
    pub column: Name,
}

/// One scalar of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    pub shown_as: As,
    /// Stands in for absent and null (K6), read as the column's type.
    pub default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// One column of one row; of several that live, the greatest primary key answers (M1).
    Column {
        from: ColumnRef,
        scalar: Scalar,
    },
    /// An array of the table's living rows (K6).
    Each {
        table: Name,
        order_by: Option<OrderBy>,
        fields: Vec<(String, Name, Scalar)>,
    },
    Sum {
        from: ColumnRef,
        shown_as: As,
    },
    Min {
        from: ColumnRef,
        shown_as: As,
    },
    Max {
        from: ColumnRef,
        shown_as: As,
    },
    Count {
        table: Name,
    },
    Join {
        from: ColumnRef,
        with: String,
    },
}

/// K6: `each` is ordered by a column, numeric types numerically, others by bytes; ties by child key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBy {
    pub column: Name,
    pub numeric: bool,
}

/// Why a row has no document; the job is buried with it (J7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("field `{field}`: `{value}` is not a {wanted}")]
    NotA { field: String, value: String, wanted: &'static str },
    #[error("the document id needs key column `{0}`, and the row does not hold it")]
    NoId(Name),
}

/// A thread builds its documents in one room, and hands each out in a copy of just its size; what outgrew this goes.
const ROOM_BYTES_MAX: usize = 64 * 1024;

/// A document and what was odd about the row.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Built {
    /// JSON text.
    pub json: Vec<u8>,
    /// M1: fields that found several living rows of a one-to-one table.
    pub ambiguous: u32,
}

impl Document {
    /// The document's id from the row's key columns (M9).
    ///
    /// # Errors
    /// A key column the row does not hold.
    pub fn id(&self, row: &WideRow) -> Result<String, DocumentError> {
        self.id.render(|c| row.keys.get(c).text()).map_err(DocumentError::NoId)
    }

    /// Builds the document of a living row. `kind` is one of the schema's.
    ///
    /// # Errors
    /// A value that is not what the field says it is.
    pub fn build(&self, row: &WideRow, kind: &RowKind, schema: &Schema) -> Result<Built, DocumentError> {
        thread_local! {
            static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let mut out = ROOM.take();
        out.clear();
        let mut builder = Builder { out, living: Living::new(row, kind, schema), kind, schema, ambiguous: 0 };
        builder.out.push(b'{');
        for (name, field) in &self.fields {
            builder.field(name, field)?;
        }
        builder.out.push(b'}');
        let Builder { out, ambiguous, .. } = builder;
        let built = Built { json: out.as_slice().to_vec(), ambiguous };
        if out.capacity() <= ROOM_BYTES_MAX {
            ROOM.set(out);
        }
        Ok(built)
    }

    /// K4: what stands for a dead entity where it leaves a document: `_deleted` and the id's key columns.
    ///
    /// # Errors
    /// A key column the row does not hold.
    pub fn tombstone(&self, row: &WideRow, kind: &RowKind, schema: &Schema) -> Result<Vec<u8>, DocumentError> {
        let mut out = br#"{"_deleted":true"#.to_vec();
        for column in self.id.columns() {
            let text = row.keys.get(column).text().ok_or(DocumentError::NoId(column))?;
            begin_field(&mut out, column.as_str());
            if write_scalar(&mut out, text, key_shown_as(column, kind, schema)).is_err() {
                write_string(&mut out, text);
            }
        }
        out.push(b'}');
        Ok(out)
    }
}

/// A key column shows as the table shows it that decides the entity's life.
fn key_shown_as(column: Name, kind: &RowKind, schema: &Schema) -> As {
    let place = kind.key_columns.iter().position(|c| *c == column);
    let table = kind.tables.get(kind.root.unwrap_or(0));
    let own = place.zip(table).and_then(|(at, table)| Some((table, *table.route.get(at)?)));
    As::of(own.and_then(|(table, column)| schema.table(table.table).column_type(column)))
}

/// One document in the making.
struct Builder<'a> {
    out: Vec<u8>,
    living: Living<'a>,
    kind: &'a RowKind,
    schema: &'a Schema,
    ambiguous: u32,
}

impl Builder<'_> {
    fn field(&mut self, name: &str, field: &Field) -> Result<(), DocumentError> {
        match field {
            Field::Column { from, scalar } => {
                let living = self.living.of(from.table);
                self.ambiguous += u32::from(living.len() > 1);
                let value = living.last().map_or(Value::Absent, |part| part.value(from.column));
                write_value(&mut self.out, name, value, scalar).map_err(|e| e.at(name))
            }
            Field::Each { table, order_by, fields } => self.each(name, *table, *order_by, fields),
            Field::Sum { from, shown_as } => self.sum(name, *from, *shown_as),
            Field::Min { from, shown_as } => self.extreme(name, *from, *shown_as, false),
            Field::Max { from, shown_as } => self.extreme(name, *from, *shown_as, true),
            Field::Count { table } => {
                begin_field(&mut self.out, name);
                let count = self.living.of(*table).len();
                self.out.extend_from_slice(count.to_string().as_bytes());
                Ok(())
            }
            Field::Join { from, with } => {
                begin_field(&mut self.out, name);
                let texts: Vec<&str> = told(self.living.of(from.table), from.column).collect();
                write_string(&mut self.out, &texts.join(with));
                Ok(())
            }
        }
    }

    fn each(
        &mut self,
        name: &str,
        table: Name,
        order_by: Option<OrderBy>,
        fields: &[(String, Name, Scalar)],
    ) -> Result<(), DocumentError> {
        let by_key = self.living.of(table);
        let mut ordered = Vec::new();
        if let Some(OrderBy { column, numeric }) = order_by {
            // Stable, so ties stay in child-key order.
            ordered.extend_from_slice(by_key);
            ordered.sort_by_cached_key(|part| SortKey::of_value(part.value(column), numeric));
        }
        begin_field(&mut self.out, name);
        self.out.push(b'[');
        for (i, part) in if order_by.is_some() { &ordered[..] } else { by_key }.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.out.push(b'{');
            for (inner, column, scalar) in fields {
                write_value(&mut self.out, inner, part.value(*column), scalar).map_err(|e| e.at(&format!("{name}.{inner}")))?;
            }
            self.out.push(b'}');
        }
        self.out.push(b']');
        Ok(())
    }

    /// A sum is a number, whatever text the column is shown as. Doubles add as doubles, everything else exactly.
    fn sum(&mut self, name: &str, from: ColumnRef, shown_as: As) -> Result<(), DocumentError> {
        let doubles = self.column_type(from) == Some(&ColumnType::Double);
        let not_a_number = |text: &str| NotA::new(text, "number to add").at(name);
        let texts = told(self.living.of(from.table), from.column);
        let sum = if doubles {
            let mut sum = 0.0;
            for text in texts {
                sum += text.parse::<f64>().map_err(|_| not_a_number(text))?;
            }
            format!("{sum:?}").trim_end_matches(".0").to_owned()
        } else {
            let mut sum = Decimal::default();
            for text in texts {
                sum.add(&Decimal::parse(text).ok_or_else(|| not_a_number(text))?);
            }
            sum.to_string()
        };
        let shown_as = if matches!(shown_as, As::Long | As::Double) { shown_as } else { As::Decimal };
        begin_field(&mut self.out, name);
        write_scalar(&mut self.out, &sum, shown_as).map_err(|wanted| NotA::new(&sum, wanted).at(name))
    }

    /// The least or greatest value, null over nothing.
    fn extreme(&mut self, name: &str, from: ColumnRef, shown_as: As, greatest: bool) -> Result<(), DocumentError> {
        let declared = self.column_type(from).is_some_and(ColumnType::is_numeric);
        let numeric = declared || matches!(shown_as, As::Long | As::Decimal | As::Double);
        let mut found: Option<(SortKey<'_>, &str)> = None;
        for text in told(self.living.of(from.table), from.column) {
            let key = SortKey::of_value(Value::Text(text), numeric);
            if found.as_ref().is_none_or(|(held, _)| if greatest { key > *held } else { key < *held }) {
                found = Some((key, text));
            }
        }
        begin_field(&mut self.out, name);
        match found {
            None => self.out.extend_from_slice(b"null"),
            Some((_, text)) => {
                write_scalar(&mut self.out, text, shown_as).map_err(|wanted| NotA::new(text, wanted).at(name))?;
            }
        }
        Ok(())
    }

    fn column_type(&self, from: ColumnRef) -> Option<&ColumnType> {
        let used = self.kind.table(from.table)?;
        self.schema.table(used.table).column_type(from.column)
    }
}

/// A column's values in these rows; nulls and absent ones are skipped, as SQL's aggregates do.
fn told<'p>(parts: &'p [&'p Part], column: Name) -> impl Iterator<Item = &'p str> {
    parts.iter().filter_map(move |part| part.value(column).text())
}

/// K6: absent is left out, null is null, the default stands in for both.
fn write_value(out: &mut Vec<u8>, name: &str, value: Value<'_>, scalar: &Scalar) -> Result<(), NotA> {
    let text = value.text().or(scalar.default.as_deref());
    if text.is_none() && value == Value::Absent {
        return Ok(());
    }
    begin_field(out, name);
    match text {
        None => out.extend_from_slice(b"null"),
        Some(text) => write_scalar(out, text, scalar.shown_as).map_err(|wanted| NotA::new(text, wanted))?,
    }
    Ok(())
}

fn begin_field(out: &mut Vec<u8>, name: &str) {
    if out.last().is_some_and(|last| *last != b'{') {
        out.push(b',');
    }
    write_string(out, name);
    out.push(b':');
}

/// A value that is not what its field shows; the field's path is put to it further out.
struct NotA {
    value: String,
    wanted: &'static str,
}

/// Characters of a wrong value that an error repeats.
const SHOWN_MAX: usize = 80;

impl NotA {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { value: text.chars().take(SHOWN_MAX).collect(), wanted }
    }

    fn at(self, field: &str) -> DocumentError {
        DocumentError::NotA { field: field.to_owned(), value: self.value, wanted: self.wanted }
    }
}

#[cfg(test)]
mod tests;
