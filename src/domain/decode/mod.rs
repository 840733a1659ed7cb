//! From a record's bytes to row changes: limits, sniffing, and one decoder per format.
//!
//! Keeps C1, C2, C6, C7, C8. Knows nothing of entities, stamps or stores.

use super::change::Change;
use super::ids::Name;
use super::record::Record;
use super::schema::Schema;
use smallvec::SmallVec;

/// Which format a source carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Format {
    /// By the bytes of each record (notes of `docs/formats.md`).
    #[default]
    Auto,
    Debezium,
    Canal,
    Maxwell,
    Dts,
}

/// How one source's records are read.
#[derive(Clone, Debug)]
pub struct DecodeSettings {
    pub format: Format,
    /// M8 override; `None` is `auto`: ordered for Debezium, fill for Maxwell's bootstrap and DTS's INIT.
    pub snapshot: Option<super::change::Snapshot>,
    /// C8: the largest body, inflated, in bytes.
    pub record_bytes_max: usize,
    /// C8: the largest ratio of inflated to gzip bytes.
    pub inflate_ratio_max: usize,
}

impl Default for DecodeSettings {
    fn default() -> Self {
        Self { format: Format::Auto, snapshot: None, record_bytes_max: 1 << 20, inflate_ratio_max: 200 }
    }
}

/// C8: how deep a body may nest.
pub const DEPTH_MAX: usize = 128;

/// What a record was.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// Changes of one configured table in record order (C3).
    Changes(SmallVec<[Change; 1]>),
    /// C6: counted, settled, no data.
    Ignored(Ignored),
}

/// Why a record carries no data for us (C6), as a closed list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ignored {
    /// A null body.
    Tombstone,
    Heartbeat,
    Transaction,
    /// DDL other than truncate and drop; also canal's QUERY records.
    Ddl,
    /// Truncate, drop, alter of a configured table: an alarm and an owed check.
    Destructive {
        table: Name,
    },
    UnknownTable,
    /// Maxwell's bootstrap start and end, Debezium's signals.
    Marker,
}

/// C7: why a record cannot be used, as a closed list (a metric label).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadReason {
    TooLarge,
    TooDeep,
    NotUtf8,
    BadGzip,
    NotJson,
    UnknownFormat,
    /// The format's own structure is broken: a needed member is missing or has another shape.
    Malformed,
    /// A primary key or key column is missing or null.
    MissingKey,
    /// A value its declared type cannot hold.
    BadValue,
    TooManyColumns,
    /// Encrypted bodies, Shareplex, formats we do not read.
    Unsupported,
    /// A panic while this record alone was handled (O2).
    Panicked,
    /// It failed alone n times (O2).
    Failed,
}

impl BadReason {
    pub const ALL: [Self; 13] = [
        Self::TooLarge,
        Self::TooDeep,
        Self::NotUtf8,
        Self::BadGzip,
        Self::NotJson,
        Self::UnknownFormat,
        Self::Malformed,
        Self::MissingKey,
        Self::BadValue,
        Self::TooManyColumns,
        Self::Unsupported,
        Self::Panicked,
        Self::Failed,
    ];
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NotUtf8 => "not_utf8",
            Self::BadGzip => "bad_gzip",
            Self::NotJson => "not_json",
            Self::UnknownFormat => "unknown_format",
            Self::Malformed => "malformed",
            Self::MissingKey => "missing_key",
            Self::BadValue => "bad_value",
            Self::TooManyColumns => "too_many_columns",
            Self::Unsupported => "unsupported",
            Self::Panicked => "panicked",
            Self::Failed => "failed",
        }
    }
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.label() == text)
    }
}

/// C7: a record that goes to the dead letters.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {detail}", reason.label())]
pub struct BadRecord {
    pub reason: BadReason,
    /// What was found and what is allowed, for a person.
    pub detail: String,
}

impl BadRecord {
    pub fn new(reason: BadReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Decodes one record.
///
/// # Errors
/// [`BadRecord`] for everything that C7 sends to the dead letters.
pub fn decode(record: &Record, settings: &DecodeSettings, schema: &Schema) -> Result<Decoded, BadRecord> {
    let _ = (record, settings, schema);
    Err(BadRecord::new(BadReason::UnknownFormat, "no decoder yet"))
}
