//! Numbers in every encoding: plain, with an exponent, base64 of an unscaled integer, bits. Digits only, never a float.

use super::{Fit, Kind, Unfit, allowed, is_digits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// No base64 of a precise unsigned integer begins with a digit: its first bit would be the sign's.
pub(super) fn looks_like_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
}

/// Whether Debezium sent the unscaled integer. As a string a decimal always shows its whole scale, so digits alone are
/// base64 (of a negative number) where a scale is known; with none, they are taken for the number they show.
pub(super) fn is_unscaled(text: &str, scale: Option<u32>) -> bool {
    if is_digits(text) {
        return scale.is_some_and(|s| s > 0) && text.len().is_multiple_of(4);
    }
    Number::parse(text).is_none()
}

/// A number taken apart.
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Number<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            // Bounded, so that no exponent can ask for a gigabyte of zeros.
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok().filter(|e| e.abs() < 10_000)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Self { negative, whole, fraction, exponent: i64::from(exponent) })
    }

    /// Significant digits, and where among them the point stands.
    fn digits(&self) -> (String, i64) {
        let mut all = String::with_capacity(self.whole.len() + self.fraction.len());
        all.push_str(self.whole);
        all.push_str(self.fraction);
        let leading = all.len() - all.trim_start_matches('0').len();
        let point = self.whole.len() as i64 + self.exponent - leading as i64;
        all.drain(..leading);
        (all, point)
    }
}

/// The longest number MySQL's DECIMAL holds, on either side of the point.
const DECIMAL_DIGITS_MAX: i64 = 65;

pub(super) fn long(out: &mut String, text: &str) -> Fit {
    let canonical = text.len() <= 18 && is_digits(text) && (!text.starts_with('0') || text.len() == 1);
    if canonical {
        out.push_str(text);
        return Ok(());
    }
    let number = text.parse::<i128>().map_err(|_| Unfit(allowed(&Kind::Long)))?;
    long_of(out, number)
}

fn long_of(out: &mut String, number: i128) -> Fit {
    if number < i128::from(i64::MIN) || number > i128::from(u64::MAX) {
        return Err(Unfit(allowed(&Kind::Long)));
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "{number}");
    Ok(())
}

pub(super) fn long_of_base64(out: &mut String, text: &str) -> Fit {
    let unfit = Unfit(allowed(&Kind::Long));
    match STANDARD.decode(text) {
        Ok(bytes) if (1..=16).contains(&bytes.len()) => long_of(out, two_complement(&bytes)),
        _ => Err(unfit),
    }
}

/// Big-endian two's complement of at most 16 bytes.
fn two_complement(bytes: &[u8]) -> i128 {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| (number << 8) | i128::from(*byte))
}

/// Whether the text is the canonical one already, as nearly all are. Says no to some that are, such as those below zero.
pub(super) fn is_plain_decimal(text: &str, scale: Option<u32>) -> bool {
    let (bytes, fraction) = (text.as_bytes(), scale.unwrap_or(0) as usize);
    let whole = if fraction == 0 { Some(bytes.len()) } else { bytes.len().checked_sub(fraction + 1) };
    let Some((whole, rest)) = whole.and_then(|at| bytes.split_at_checked(at)) else { return false };
    let sound = !whole.is_empty() && (whole[0] != b'0' || whole.len() == 1) && bytes.len() as i64 <= DECIMAL_DIGITS_MAX;
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    sound && digits(whole) && rest.split_first().is_none_or(|(point, rest)| *point == b'.' && digits(rest))
}

pub(super) fn decimal(out: &mut String, text: &str, scale: Option<u32>) -> Fit {
    if is_plain_decimal(text, scale) {
        out.push_str(text);
        return Ok(());
    }
    exact(out, text, scale)
}

/// As [`decimal`], whatever the text looks like.
pub(super) fn exact(out: &mut String, text: &str, scale: Option<u32>) -> Fit {
    let number = Number::parse(text).ok_or(Unfit("a decimal number"))?;
    let plain = number.exponent == 0
        && !number.negative
        && (number.whole == "0" || !(number.whole.is_empty() || number.whole.starts_with('0')))
        && !text.starts_with('+')
        && scale.is_none_or(|s| number.fraction.len() == s as usize)
        && text.len() as i64 <= DECIMAL_DIGITS_MAX;
    if plain {
        out.push_str(text);
        return Ok(());
    }
    let (digits, point) = number.digits();
    plain_digits(out, number.negative, &digits, point, scale)
}

/// `digits` (no leading zeros) with the point after the first `point` of them, brought to the scale.
fn plain_digits(out: &mut String, negative: bool, digits: &str, point: i64, scale: Option<u32>) -> Fit {
    let unfit = || Unfit(allowed(&Kind::Decimal { scale }));
    let have = (digits.len() as i64 - point).max(0);
    let wanted = scale.map_or(have, i64::from);
    if wanted > DECIMAL_DIGITS_MAX || point > DECIMAL_DIGITS_MAX {
        return Err(unfit());
    }
    let kept = if have > wanted { (digits.len() as i64 - (have - wanted)).max(0) as usize } else { digits.len() };
    if digits[kept..].bytes().any(|b| b != b'0') {
        return Err(unfit());
    }
    let digits = &digits[..kept];
    // MySQL has no negative zero among decimals.
    if negative && digits.bytes().any(|b| b != b'0') {
        out.push('-');
    }
    let whole = point.clamp(0, digits.len() as i64) as usize;
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    if whole > 0 {
        zeros(out, point - whole as i64);
    }
    if wanted > 0 {
        out.push('.');
        let before = (-point).clamp(0, wanted);
        zeros(out, before);
        out.push_str(&digits[whole..]);
        zeros(out, wanted - before - (digits.len() - whole) as i64);
    }
    Ok(())
}

fn zeros(out: &mut String, count: i64) {
    (0..count).for_each(|_| out.push('0'));
}

/// Debezium's precise decimal: base64 of a big-endian two's complement integer.
pub(super) fn unscaled_of_base64(out: &mut String, text: &str, scale: u32) -> Fit {
    // 32 bytes hold more than the 65 digits of the longest DECIMAL.
    let decoded = STANDARD.decode(text).ok().filter(|bytes| (1..=32).contains(&bytes.len()));
    let bytes = decoded.ok_or(Unfit(allowed(&Kind::Decimal { scale: None })))?;
    let negative = bytes[0] & 0x80 != 0;
    let digits = if bytes.len() <= 16 { two_complement(&bytes).unsigned_abs().to_string() } else { magnitude(&bytes, negative) };
    let digits = digits.trim_start_matches('0');
    plain_digits(out, negative, digits, digits.len() as i64 - i64::from(scale), Some(scale))
}

/// The decimal digits of a long integer's absolute value, by division of 32-bit limbs.
fn magnitude(bytes: &[u8], negative: bool) -> String {
    const STEP: u64 = 1_000_000_000;
    let mut limbs: Vec<u32> = Vec::with_capacity(9);
    let mut carry = u64::from(negative);
    for chunk in bytes.rchunks(4) {
        let fill = if negative { u32::MAX } else { 0 };
        let limb = chunk.iter().fold(fill, |limb, byte| (limb << 8) | u32::from(*byte));
        let sum = u64::from(if negative { !limb } else { limb }) + carry;
        limbs.push(sum as u32);
        carry = sum >> 32;
    }
    limbs.push(carry as u32);
    let mut groups = Vec::with_capacity(9);
    while limbs.iter().any(|l| *l != 0) {
        let mut rest = 0u64;
        for limb in limbs.iter_mut().rev() {
            let here = (rest << 32) | u64::from(*limb);
            *limb = (here / STEP) as u32;
            rest = here % STEP;
        }
        groups.push(rest);
    }
    groups.iter().rev().fold(String::new(), |mut text, group| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{group:09}");
        text
    })
}

/// As MySQL prints a double: plain while the point stands within 15 digits, else `1.5e-20` (its `my_gcvt`).
pub(super) fn double(out: &mut String, text: &str) -> Fit {
    let number = Number::parse(text).ok_or(Unfit(allowed(&Kind::Double)))?;
    let (digits, point) = number.digits();
    let digits = digits.trim_end_matches('0');
    if number.negative {
        out.push('-');
    }
    if digits.is_empty() {
        out.push('0');
        return Ok(());
    }
    if !(-330..=309).contains(&point) {
        return Err(Unfit("a number within the range of a double"));
    }
    let count = digits.len() as i64;
    match point {
        -14..=0 => {
            out.push_str("0.");
            zeros(out, -point);
            out.push_str(digits);
        }
        1..=15 if count <= point => {
            out.push_str(digits);
            zeros(out, point - count);
        }
        1..=15 => {
            let (whole, fraction) = digits.split_at(point as usize);
            out.extend([whole, ".", fraction]);
        }
        _ => {
            out.push_str(&digits[..1]);
            if count > 1 {
                out.extend([".", &digits[1..]]);
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "e{}", point - 1);
        }
    }
    Ok(())
}

pub(super) fn bit_number(out: &mut String, text: &str, bits: u8) -> Fit {
    let number = text.parse::<u64>().map_err(|_| Unfit(allowed(&Kind::Bit { bits })))?;
    bit(out, number, bits)
}

/// Debezium sends the bits as little-endian bytes.
pub(super) fn bit_of_base64(out: &mut String, text: &str, bits: u8) -> Fit {
    match STANDARD.decode(text) {
        Ok(bytes) if (1..=8).contains(&bytes.len()) => {
            bit(out, bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)), bits)
        }
        _ => bit_number(out, text, bits),
    }
}

fn bit(out: &mut String, number: u64, bits: u8) -> Fit {
    if bits < 64 && number >> bits != 0 {
        return Err(Unfit(allowed(&Kind::Bit { bits })));
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "{number}");
    Ok(())
}
