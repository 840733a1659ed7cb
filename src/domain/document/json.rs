//! Canonical text to JSON text, without a float between (C2, K6).

use super::As;
use crate::domain::decode::DEPTH_MAX;
use serde_json::value::RawValue;

/// Writes a value as its field shows it. On failure nothing is written, and the answer is what was wanted.
pub(super) fn write_scalar(out: &mut Vec<u8>, text: &str, shown_as: As) -> Result<(), &'static str> {
    match shown_as {
        As::String | As::DateTime | As::Date => write_string(out, text),
        As::Long => write_number(out, text, Grammar::Integer).ok_or("whole number")?,
        As::Decimal => write_number(out, text, Grammar::Exponent).ok_or("decimal number")?,
        As::Double => {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or("double")?;
            write_number(out, text, Grammar::Exponent).ok_or("double")?;
        }
        As::Bool => out.extend_from_slice(truth(text).ok_or("bool (allowed: true, false, or a whole number)")?),
        As::Json => write_json(out, text)?,
    }
    Ok(())
}

pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// MySQL's truth: zero is false, every other number true.
fn truth(text: &str) -> Option<&'static [u8]> {
    if text.eq_ignore_ascii_case("true") {
        return Some(b"true");
    }
    if text.eq_ignore_ascii_case("false") {
        return Some(b"false");
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| if digits.bytes().all(|b| b == b'0') { &b"false"[..] } else { b"true" })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grammar {
    Integer,
    Exponent,
}

/// Writes a number with the digits it came with, in JSON's grammar: no `+`, no leading zeros, digits around a point.
fn write_number(out: &mut Vec<u8>, text: &str, grammar: Grammar) -> Option<()> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = rest.find(['e', 'E']).map_or((rest, ""), |at| rest.split_at(at));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let power = exponent.get(1..).unwrap_or_default();
    let power = power.strip_prefix(['-', '+']).unwrap_or(power);
    let sound = digits(whole) && digits(fraction) && digits(power) && !(whole.is_empty() && fraction.is_empty());
    let integer = grammar == Grammar::Integer;
    // 8.00 is a whole number too: what a sum of DECIMAL(10,2) comes to.
    let fits = !integer || (exponent.is_empty() && fraction.bytes().all(|b| b == b'0'));
    if !sound || !fits || (!exponent.is_empty() && power.is_empty()) {
        return None;
    }
    // MySQL prints no negative zero, and some readers of JSON would turn one into a float.
    if negative && mantissa.bytes().any(|b| matches!(b, b'1'..=b'9')) {
        out.push(b'-');
    }
    let whole = whole.trim_start_matches('0');
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
    if !fraction.is_empty() && !integer {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(exponent.as_bytes());
    Some(())
}

/// Embeds JSON as it is. Line breaks stand only between tokens there, and one document is one line.
fn write_json(out: &mut Vec<u8>, text: &str) -> Result<(), &'static str> {
    if !depth_is_sane(text) {
        return Err("JSON value of at most 128 levels");
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| "JSON value")?;
    out.extend(raw.get().bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
    Ok(())
}

/// C8's depth cap, by a byte scan: what readers of the document do with deeper ones is not ours to try.
fn depth_is_sane(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}
