//! Exact arithmetic on numbers as MySQL prints them: DECIMAL(65,30), any 64-bit integer, doubles.
//!
//! Keeps C2's "never through a float" for what documents sum and order (K6). Digits are kept as digits, so nothing
//! overflows. Knows nothing of JSON.

use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;

/// The largest exponent read, either way; a double's ends at 308, and its digits must not become a page.
const EXPONENT_MAX: i64 = 400;

/// A decimal number: digits × 10^-scale. Equal when the values are: 1.50 = 1.5.
#[derive(Clone, Debug, Default)]
pub struct Decimal {
    negative: bool,
    /// 0 to 9 each, the highest first, without leading zeros; none for zero.
    digits: SmallVec<[u8; 24]>,
    /// Digits after the point.
    scale: usize,
}

impl Decimal {
    /// Reads `-12.50`, `+5`, `.5`, `5.`, `007`, `1.5E3`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok().filter(|e| e.abs() <= EXPONENT_MAX)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut out = Self { negative, ..Self::default() };
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            if byte != b'0' || !out.digits.is_empty() {
                out.digits.push(byte - b'0');
            }
        }
        let scale = fraction.len() as i64 - exponent;
        if scale < 0 && !out.digits.is_empty() {
            out.digits.extend(std::iter::repeat_n(0, scale.unsigned_abs() as usize));
        }
        out.scale = usize::try_from(scale).unwrap_or(0);
        out.negative &= !out.digits.is_empty();
        Some(out)
    }

    /// Adds; the result keeps the longer fraction, as MySQL's SUM does.
    pub fn add(&mut self, other: &Self) {
        let scale = self.scale.max(other.scale);
        let (mut a, b) = (self.at_scale(scale), other.at_scale(scale));
        if self.negative == other.negative {
            add_digits(&mut a, &b);
        } else if compare_digits(&a, &b).is_ge() {
            subtract_digits(&mut a, &b);
        } else {
            let mut larger = b;
            subtract_digits(&mut larger, &a);
            a = larger;
            self.negative = other.negative;
        }
        let leading = a.iter().take_while(|d| **d == 0).count();
        a.drain(..leading);
        self.digits = a;
        self.scale = scale;
        self.negative &= !self.digits.is_empty();
    }

    fn at_scale(&self, scale: usize) -> SmallVec<[u8; 24]> {
        let mut digits = self.digits.clone();
        digits.extend(std::iter::repeat_n(0, scale - self.scale));
        digits
    }
}

/// The numbers end together; the shorter one has zeros in front.
fn add_digits(a: &mut SmallVec<[u8; 24]>, b: &[u8]) {
    if a.len() < b.len() {
        a.insert_many(0, std::iter::repeat_n(0, b.len() - a.len()));
    }
    let mut carry = 0;
    for (i, digit) in a.iter_mut().rev().enumerate() {
        let sum = *digit + carry + b.len().checked_sub(i + 1).map_or(0, |at| b[at]);
        *digit = sum % 10;
        carry = sum / 10;
    }
    if carry > 0 {
        a.insert(0, carry);
    }
}

/// `a` is at least `b`.
fn subtract_digits(a: &mut [u8], b: &[u8]) {
    let mut borrow = 0;
    for (i, digit) in a.iter_mut().rev().enumerate() {
        let take = borrow + b.len().checked_sub(i + 1).map_or(0, |at| b[at]);
        borrow = u8::from(*digit < take);
        *digit = *digit + 10 * borrow - take;
    }
}

/// Whole numbers without leading zeros.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |n: &Self| (!n.digits.is_empty()).then(|| n.digits.len() as i64 - n.scale as i64);
        let trimmed = |n: &Self| n.digits.len() - n.digits.iter().rev().take_while(|d| **d == 0).count();
        let magnitude =
            || size(self).cmp(&size(other)).then_with(|| self.digits[..trimmed(self)].cmp(&other.digits[..trimmed(other)]));
        match (self.negative, other.negative) {
            (false, false) => magnitude(),
            (true, true) => magnitude().reverse(),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}
impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Decimal {}

/// Plain digits, never an exponent: also a JSON number.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::with_capacity(self.digits.len() + self.scale + 3);
        if self.negative {
            out.push('-');
        }
        let digit = |d: u8| char::from(b'0' + d);
        let whole = self.digits.len().saturating_sub(self.scale);
        if whole == 0 {
            out.push('0');
        }
        out.extend(self.digits[..whole].iter().copied().map(digit));
        if self.scale > 0 {
            out.push('.');
            out.extend(std::iter::repeat_n('0', self.scale.saturating_sub(self.digits.len())));
            out.extend(self.digits[whole..].iter().copied().map(digit));
        }
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests;
