//! One value of a format's encoding into canonical text: what MySQL prints for it, binary as base64 (C2).
//!
//! Numbers never pass through a float. Knows nothing of records, columns' names or where a type was learnt.

use super::json::{self, Json};
use crate::domain::schema::ColumnType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::fmt::Write;

mod number;
mod time;

pub(super) use time::Unit;

/// Whose encoding a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Debezium,
    Canal,
    Maxwell,
}

/// How a column's values are read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// The plain text as it came.
    AsIs,
    Long,
    Decimal {
        scale: Option<u32>,
    },
    Double,
    Bool,
    Date,
    /// Fractional digits are as many as the value needs where nobody tells them.
    Time {
        unit: Unit,
        digits: Option<u8>,
    },
    /// `utc`: a TIMESTAMP, whose text may carry an offset.
    DateTime {
        unit: Unit,
        digits: Option<u8>,
        utc: bool,
    },
    Year,
    Json,
    /// Padded with zero bytes to `length`, which some formats cut off.
    Binary {
        length: usize,
    },
    Bit {
        bits: u8,
    },
    /// An empty list holds any label.
    Enum(Cow<'a, [String]>),
    Set(Cow<'a, [String]>),
}

impl<'a> Kind<'a> {
    /// A declared type; where it says no unit, the one Debezium sends by default (DATETIME(0-3) ms, (4-6) µs, TIME µs).
    pub(super) fn declared(column: &'a ColumnType) -> Self {
        let date_time =
            |n: u8, utc| Self::DateTime { unit: if n <= 3 { Unit::Millis } else { Unit::Micros }, digits: Some(n), utc };
        match column {
            ColumnType::String => Self::AsIs,
            ColumnType::Long => Self::Long,
            ColumnType::Decimal { scale } => Self::Decimal { scale: *scale },
            ColumnType::Double => Self::Double,
            ColumnType::Bool => Self::Bool,
            ColumnType::Date => Self::Date,
            ColumnType::Time(n) => Self::Time { unit: Unit::Micros, digits: Some(*n) },
            ColumnType::DateTime(n) => date_time(*n, false),
            ColumnType::Timestamp(n) => date_time(*n, true),
            ColumnType::Year => Self::Year,
            ColumnType::Json => Self::Json,
            ColumnType::Binary => Self::Binary { length: 0 },
            ColumnType::Bit(bits) => Self::Bit { bits: *bits },
            ColumnType::Enum(labels) => Self::Enum(Cow::Borrowed(labels)),
            ColumnType::Set(labels) => Self::Set(Cow::Borrowed(labels)),
        }
    }

    /// The same with labels of its own.
    pub(super) fn into_owned(self) -> Kind<'static> {
        match self {
            Self::AsIs => Kind::AsIs,
            Self::Long => Kind::Long,
            Self::Decimal { scale } => Kind::Decimal { scale },
            Self::Double => Kind::Double,
            Self::Bool => Kind::Bool,
            Self::Date => Kind::Date,
            Self::Time { unit, digits } => Kind::Time { unit, digits },
            Self::DateTime { unit, digits, utc } => Kind::DateTime { unit, digits, utc },
            Self::Year => Kind::Year,
            Self::Json => Kind::Json,
            Self::Binary { length } => Kind::Binary { length },
            Self::Bit { bits } => Kind::Bit { bits },
            Self::Enum(labels) => Kind::Enum(Cow::Owned(labels.into_owned())),
            Self::Set(labels) => Kind::Set(Cow::Owned(labels.into_owned())),
        }
    }

    /// The event's own type, completed by the declared one where the event leaves something open: digits of a time,
    /// a scale, what travels as text.
    pub(super) fn refined(self, declared: Option<Self>) -> Self {
        match (self, declared) {
            // The event only says that it is text; the declaration says what the text must hold (C7).
            (Self::AsIs, Some(declared)) => declared,
            (Self::Double, Some(decimal @ Self::Decimal { .. })) => decimal,
            (Self::Time { unit, digits: None }, Some(Self::Time { digits, .. })) => Self::Time { unit, digits },
            (Self::DateTime { unit, digits: None, utc }, Some(Self::DateTime { digits, .. })) => {
                Self::DateTime { unit, digits, utc }
            }
            (told, _) => told,
        }
    }
}

/// What a type would have allowed, for the message of a refused value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) &'static str);
type Fit = Result<(), Unfit>;

/// Appends the canonical text of a value that is not null.
///
/// # Errors
/// [`Unfit`] where the type cannot hold the value; what was appended before is to be thrown away.
pub(super) fn write(out: &mut String, value: &Json<'_>, kind: &Kind<'_>, wire: Wire) -> Fit {
    match (kind, value) {
        (_, Json::Null) => Err(Unfit("a value")),
        (Kind::Json, value) => json_text(out, value, wire),
        (Kind::AsIs | Kind::Long | Kind::Bool | Kind::Bit { .. }, Json::Bool(on)) => {
            out.push(if *on { '1' } else { '0' });
            Ok(())
        }
        (Kind::Set(labels), Json::Nested(array)) => set_of_array(out, array, labels),
        (Kind::AsIs, Json::Nested(raw)) => {
            json::push_compact(out, raw);
            Ok(())
        }
        (_, Json::Bool(_) | Json::Nested(_)) => Err(Unfit(allowed(kind))),
        (kind, Json::Number(number)) => number_text(out, number, kind),
        (kind, Json::Text(text)) => text_text(out, text, kind, wire),
    }
}

fn allowed(kind: &Kind<'_>) -> &'static str {
    match kind {
        Kind::AsIs => "any text",
        Kind::Long => "an integer of 64 bits",
        Kind::Decimal { .. } => "a decimal number with no more digits after the point than declared",
        Kind::Double => "a number",
        Kind::Bool => "true, false, 1 or 0",
        Kind::Date => "days since 1970 or `YYYY-MM-DD`",
        Kind::Time { .. } => "a time of at most 838:59:59 with no more fractional digits than declared",
        Kind::DateTime { .. } => "a date and time of the years 0 to 9999 with no more fractional digits than declared",
        Kind::Year => "0 or a year from 1900 to 2155",
        Kind::Json => "JSON of at most 128 levels",
        Kind::Binary { .. } => "bytes (base64; in Canal ISO-8859-1 text)",
        Kind::Bit { .. } => "as many bits as declared",
        Kind::Enum(_) => "one of the declared labels",
        Kind::Set(_) => "some of the declared labels",
    }
}

fn number_text(out: &mut String, number: &str, kind: &Kind<'_>) -> Fit {
    match kind {
        Kind::AsIs => {
            out.push_str(number);
            Ok(())
        }
        Kind::Long => number::long(out, number),
        Kind::Decimal { scale } => number::decimal(out, number, *scale),
        Kind::Double => number::double(out, number),
        Kind::Bool => bool_text(out, number),
        Kind::Date => time::date_of_days(out, number),
        Kind::Time { unit, digits } => time::time_of_number(out, number, *unit, *digits),
        Kind::DateTime { unit, digits, .. } => time::date_time_of_number(out, number, *unit, *digits),
        Kind::Year => year(out, number),
        Kind::Bit { bits } => number::bit_number(out, number, *bits),
        Kind::Enum(labels) => label_at(out, number, labels),
        Kind::Set(labels) => labels_of_mask(out, number, labels),
        Kind::Json | Kind::Binary { .. } => Err(Unfit(allowed(kind))),
    }
}

fn text_text(out: &mut String, text: &str, kind: &Kind<'_>, wire: Wire) -> Fit {
    match kind {
        Kind::AsIs => {
            out.push_str(text);
            Ok(())
        }
        Kind::Long if wire == Wire::Debezium && !number::looks_like_number(text) => number::long_of_base64(out, text),
        Kind::Decimal { scale } if number::is_plain_decimal(text, *scale) => {
            out.push_str(text);
            Ok(())
        }
        Kind::Decimal { scale } if wire == Wire::Debezium && number::is_unscaled(text, *scale) => {
            let scale = scale.ok_or(Unfit("a decimal whose scale is known: declare `decimal(p,s)`, or send schemas"))?;
            number::unscaled_of_base64(out, text, scale)
        }
        Kind::Binary { length } if wire == Wire::Canal => binary_of_latin1(out, text, *length),
        Kind::Binary { .. } => binary(out, text),
        Kind::Bit { bits } if wire == Wire::Debezium => number::bit_of_base64(out, text, *bits),
        Kind::Enum(labels) if wire == Wire::Canal && is_digits(text) => label_at(out, text, labels),
        Kind::Enum(labels) => label(out, text, labels),
        Kind::Set(labels) if wire == Wire::Canal && is_digits(text) => labels_of_mask(out, text, labels),
        Kind::Set(labels) => set_of_labels(out, text.split(','), labels),
        Kind::Date => time::date_of_text(out, text),
        Kind::Time { digits, .. } => time::time_of_text(out, text, *digits),
        Kind::DateTime { digits, utc, .. } => time::date_time_of_text(out, text, *digits, *utc),
        Kind::Json | Kind::Long | Kind::Decimal { .. } | Kind::Double | Kind::Bool | Kind::Year | Kind::Bit { .. } => {
            number_text(out, text, kind)
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn bool_text(out: &mut String, text: &str) -> Fit {
    match text {
        "1" | "true" => out.push('1'),
        "0" | "false" => out.push('0'),
        _ => return Err(Unfit(allowed(&Kind::Bool))),
    }
    Ok(())
}

/// YEAR begins at 1901, so a 1900 is the zero year as Debezium and Maxwell send it.
fn year(out: &mut String, text: &str) -> Fit {
    match text.parse::<u16>() {
        Ok(0 | 1900) => out.push_str("0000"),
        Ok(year @ 1901..=2155) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{year}");
        }
        _ => return Err(Unfit(allowed(&Kind::Year))),
    }
    Ok(())
}

fn json_text(out: &mut String, value: &Json<'_>, wire: Wire) -> Fit {
    match value {
        Json::Nested(raw) | Json::Number(raw) => json::push_compact(out, raw),
        Json::Bool(on) => out.push_str(if *on { "true" } else { "false" }),
        Json::Text(text) => {
            if json::is_too_deep(text.as_bytes()) {
                return Err(Unfit(allowed(&Kind::Json)));
            }
            if serde_json::from_str::<IgnoredAny>(text).is_ok() {
                json::push_compact(out, text);
            } else if wire == Wire::Maxwell {
                // Newer versions nest the JSON value itself, so a JSON string arrives without its quotes.
                out.push_str(&serde_json::to_string(text).map_err(|_| Unfit(allowed(&Kind::Json)))?);
            } else {
                return Err(Unfit(allowed(&Kind::Json)));
            }
        }
        Json::Null => return Err(Unfit(allowed(&Kind::Json))),
    }
    Ok(())
}

fn binary(out: &mut String, text: &str) -> Fit {
    let body = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let plain = body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if !plain || !text.len().is_multiple_of(4) {
        return Err(Unfit(allowed(&Kind::Binary { length: 0 })));
    }
    out.push_str(text);
    Ok(())
}

fn binary_of_latin1(out: &mut String, text: &str, length: usize) -> Fit {
    let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
    let mut bytes = bytes.map_err(|_| Unfit(allowed(&Kind::Binary { length })))?;
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
    STANDARD.encode_string(bytes, out);
    Ok(())
}

fn label(out: &mut String, text: &str, labels: &[String]) -> Fit {
    // The empty text is MySQL's own mark of an invalid value, which any ENUM can hold.
    if !text.is_empty() && !labels.is_empty() && !labels.iter().any(|l| l == text) {
        return Err(Unfit("one of the declared labels"));
    }
    out.push_str(text);
    Ok(())
}

/// An ENUM's ordinal, from 1; 0 is MySQL's mark of an invalid value.
fn label_at(out: &mut String, ordinal: &str, labels: &[String]) -> Fit {
    let at = ordinal.parse::<usize>().map_err(|_| Unfit("the ordinal of a declared label"))?;
    if at > 0 {
        out.push_str(labels.get(at - 1).ok_or(Unfit("the ordinal of a declared label; is a label not declared?"))?);
    }
    Ok(())
}

fn labels_of_mask(out: &mut String, mask: &str, labels: &[String]) -> Fit {
    let unfit = || Unfit("a bit mask over the declared labels; is a label not declared?");
    let mask = mask.parse::<u64>().map_err(|_| unfit())?;
    if labels.len() < 64 && mask >> labels.len() != 0 {
        return Err(unfit());
    }
    let set = labels.iter().take(64).enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    join(out, set.map(|(_, label)| label.as_str()));
    Ok(())
}

fn set_of_labels<'t>(out: &mut String, set: impl Iterator<Item = &'t str> + Clone, labels: &[String]) -> Fit {
    let known = |text: &str| text.is_empty() || labels.is_empty() || labels.iter().any(|l| l == text);
    if !set.clone().all(known) {
        return Err(Unfit("some of the declared labels"));
    }
    join(out, set);
    Ok(())
}

fn set_of_array(out: &mut String, array: &str, labels: &[String]) -> Fit {
    let mut set: Vec<Cow<'_, str>> = Vec::new();
    let mut strings = true;
    let read = json::each_element(array, |raw| {
        match Json::of(raw)? {
            Json::Text(text) => set.push(text),
            _ => strings = false,
        }
        Ok(())
    });
    if read.is_err() || !strings {
        return Err(Unfit("an array of labels"));
    }
    set_of_labels(out, set.iter().map(AsRef::as_ref), labels)
}

fn join<'t>(out: &mut String, parts: impl Iterator<Item = &'t str>) {
    for (i, part) in parts.enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests;
