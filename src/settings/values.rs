//! Whether one value is what its key takes.
//!
//! Knows kinds of values, not keys or trees.

use super::findings::Code;
use super::scalar;
use super::spec::Kind;
use crate::domain::ids::NAME_BYTES_MAX;

/// The largest secret in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A secret kept in a file, without its line end.
///
/// # Errors
/// Why it cannot be read, with the path.
pub fn read_secret(path: &str) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("{path}: {e}"))?;
    if meta.len() > SECRET_BYTES_MAX {
        return Err(format!("{path} has {} bytes; a secret may have {SECRET_BYTES_MAX}", meta.len()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether a text can name something of ours: names become metric labels, folders and parts of keys.
pub fn good_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !text.is_empty() && text.len() <= 64 && text.chars().all(plain) && !text.starts_with('-')
}

/// Whether a text can name a column: the qualifiers of cells (M1) and templates must be able to carry it.
pub fn good_column(text: &str) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '.' | ':' | ',' | '*' | '{' | '}' | '(' | ')' | '%');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX / 2 && !text.chars().any(bad)
}

/// What is wrong with a value: the code, and what is allowed.
pub fn wrong_scalar(kind: Kind, text: &str) -> Option<(Code, String)> {
    let bad = |allowed: &str| Some((Code::BadValue, allowed.to_owned()));
    let range = |allowed: String| Some((Code::OutOfRange, allowed));
    match kind {
        Kind::OneOf(list) if list.contains(&text) => None,
        Kind::OneOf(list) => Some((Code::BadValue, format!("one of: {}", list.join(", ")))),
        Kind::Stamp if matches!(text, "offset" | "position") => None,
        Kind::Stamp => bad("`offset`, `position` or `{ column: name }`"),
        Kind::Bool if scalar::boolean(text).is_some() => None,
        Kind::Bool => bad("true or false"),
        Kind::Integer { min, max } => match scalar::integer(text) {
            Some(n) if (min..=max).contains(&n) => None,
            Some(_) if max == u64::MAX => range(format!("at least {min}")),
            Some(_) => range(format!("between {min} and {max}")),
            None => bad("a whole number"),
        },
        Kind::Unbounded if text == "none" || scalar::integer(text).is_some() => None,
        Kind::Unbounded => bad("a whole number or `none`"),
        Kind::Number { min, max } => match scalar::number_of(text) {
            Some(n) if (min..=max).contains(&n) => None,
            Some(_) => range(format!("between {min} and {max}")),
            None => bad("a number"),
        },
        Kind::Duration => match scalar::duration(text) {
            Some(d) if !d.is_zero() => None,
            Some(_) => range("above zero".to_owned()),
            None => bad("a duration like 500ms, 30s, 10m, 1h30m or 7d"),
        },
        Kind::Size { min } => match scalar::size(text) {
            Some(n) if n >= min && usize::try_from(n).is_ok() => None,
            Some(_) => range(format!("at least {}, and addressable", scalar::size_text(min))),
            None => bad("a size like 512B, 64KiB, 8MiB or 1GB"),
        },
        Kind::Rate if text == "none" || scalar::rate(text).is_some() => None,
        Kind::Rate => bad("a rate above zero like 2000/s, or `none`"),
        Kind::Percent if scalar::percent(text).is_some() => None,
        Kind::Percent => bad("a share from 0% to 100%"),
        Kind::Path if text.is_empty() => bad("a path"),
        _ => None,
    }
}
