//! From a record's bytes to row changes: limits, sniffing, and one decoder per format.
//!
//! Keeps C1, C2, C6, C7, C8. Knows nothing of entities, stamps or stores.

mod body;
mod canal;
mod columns;
mod ddl;
mod debezium;
mod json;
mod maxwell;
mod text;

use super::change::{Change, Snapshot};
use super::ids::Name;
use super::record::Record;
use super::schema::Schema;
use body::{Body, Shape};
pub use columns::Plans;
use flate2::read::MultiGzDecoder;
use json::Noted;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::io::Read;

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

/// What a decoder knows besides the body.
struct Context<'a> {
    record: &'a Record,
    settings: &'a DecodeSettings,
    schema: &'a Schema,
    plans: &'a Plans,
    /// Of the body whose format is decoded.
    noted: &'a Noted,
}

impl Context<'_> {
    /// M8: the format's own way, unless the settings say otherwise.
    fn snapshot(&self, own: Snapshot) -> Snapshot {
        self.settings.snapshot.unwrap_or(own)
    }
}

/// Decodes one record.
///
/// # Errors
/// [`BadRecord`] for everything that C7 sends to the dead letters.
pub fn decode(record: &Record, settings: &DecodeSettings, schema: &Schema) -> Result<Decoded, BadRecord> {
    decode_by(record, settings, schema, &Plans::default())
}

/// As [`decode`], for a reader of many records: what it learns of columns is kept in `plans`, which belong to one schema.
///
/// # Errors
/// As [`decode`].
pub fn decode_by(record: &Record, settings: &DecodeSettings, schema: &Schema, plans: &Plans) -> Result<Decoded, BadRecord> {
    let Some(value) = record.value.as_deref().filter(|v| !v.is_empty()) else {
        return Ok(Decoded::Ignored(Ignored::Tombstone));
    };
    let value = open(value, settings)?;
    let text = checked_text(&value, settings)?;
    let mut noted = plans.noted(0);
    let body = Body::read(text, &mut noted)?;
    // A Debezium record with schemas on; a null payload is what its converter makes of a tombstone.
    if let Some(payload) = body.payload.filter(|_| body.members <= 2 && !body.unwrapped) {
        if payload == "null" {
            return Ok(Decoded::Ignored(Ignored::Tombstone));
        }
        let types = body.schema.filter(|s| s.starts_with('{'));
        let inner = body::object(Some(payload), "payload")?.unwrap_or("{}");
        let mut noted = plans.noted(1);
        let body = Body::read(inner, &mut noted)?;
        return dispatch(&body, types, &Context { record, settings, schema, plans, noted: &noted });
    }
    dispatch(&body, None, &Context { record, settings, schema, plans, noted: &noted })
}

fn dispatch<'a>(body: &Body<'a>, types: Option<&'a str>, context: &Context<'a>) -> Result<Decoded, BadRecord> {
    let shape = body.shape();
    let seen = match shape {
        Some(Shape::Debezium | Shape::Unwrapped) => Some(Format::Debezium),
        Some(Shape::Canal) => Some(Format::Canal),
        Some(Shape::Maxwell) => Some(Format::Maxwell),
        None => None,
    };
    let wanted = context.settings.format;
    if wanted != Format::Auto && seen != Some(wanted) {
        let seen = seen.map_or_else(|| "nothing we know".to_owned(), |f| format!("{f:?}"));
        let detail = format!("the source's format is {wanted:?}, and this record looks like {seen}");
        return Err(BadRecord::new(BadReason::UnknownFormat, detail));
    }
    match shape {
        Some(Shape::Debezium) => debezium::decode(body, types, context),
        Some(Shape::Unwrapped) => debezium::decode_unwrapped(body.text, types, context),
        Some(Shape::Canal) => canal::decode(body, context),
        Some(Shape::Maxwell) => maxwell::decode(body, context),
        None => Err(BadRecord::new(
            BadReason::UnknownFormat,
            "neither Debezium (`op` and `source`, or `__op` and `__deleted` of unwrapped rows), Canal (`isDdl`) nor Maxwell \
             (`database`, `type`, `ts`)",
        )),
    }
}

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// C8: the size cap, and gzip bodies inflated within it and within the largest ratio.
fn open<'a>(value: &'a [u8], settings: &DecodeSettings) -> Result<Cow<'a, [u8]>, BadRecord> {
    let max = settings.record_bytes_max;
    let too_large = |what: String| BadRecord::new(BadReason::TooLarge, what);
    if value.len() > max {
        return Err(too_large(format!("a body of {} bytes; allowed: {max}", value.len())));
    }
    if !value.starts_with(&GZIP) {
        return Ok(Cow::Borrowed(value));
    }
    let allowed = max.min(value.len().saturating_mul(settings.inflate_ratio_max));
    let mut inflated = Vec::with_capacity(allowed.min(value.len() * 4));
    MultiGzDecoder::new(value)
        .take(allowed as u64 + 1)
        .read_to_end(&mut inflated)
        .map_err(|e| BadRecord::new(BadReason::BadGzip, format!("a gzip body that cannot be inflated: {e}")))?;
    if inflated.len() > allowed {
        let ratio = settings.inflate_ratio_max;
        let size = value.len();
        return Err(too_large(format!(
            "a gzip body of {size} bytes inflates to more than {allowed}; allowed: {max} bytes and {ratio} times its size"
        )));
    }
    Ok(Cow::Owned(inflated))
}

/// C8: what every format's body must be: not Avro, UTF-8, an object, not too deep.
fn checked_text<'a>(value: &'a [u8], settings: &DecodeSettings) -> Result<&'a str, BadRecord> {
    let first = value.iter().find(|b| !b.is_ascii_whitespace()).copied().unwrap_or(b' ');
    if settings.format == Format::Dts || (settings.format == Format::Auto && first < b' ') {
        return Err(BadRecord::new(
            BadReason::Unsupported,
            "a binary body (Avro: of DTS, or of a schema registry); ask DTS for Canal JSON, a connector for the JSON converter",
        ));
    }
    let text =
        std::str::from_utf8(value).map_err(|e| BadRecord::new(BadReason::NotUtf8, format!("the body is not UTF-8: {e}")))?;
    if first != b'{' {
        let found: String = text.chars().take(40).collect();
        return Err(BadRecord::new(BadReason::NotJson, format!("the body must be one JSON object, found `{found}`")));
    }
    if json::is_too_deep(value) {
        return Err(BadRecord::new(BadReason::TooDeep, format!("a body nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
