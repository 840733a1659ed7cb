//! Reads single values: durations, sizes, rates, shares, whole numbers (3-interfaces 3.2).
//!
//! Every reader is total: a text is a value or it is not; the caller says where it stood.

use std::time::Duration;

/// The longest duration: a hundred years, so that sums of them stay far from any limit.
const DURATION_MS_MAX: u64 = 36_525 * 86_400_000;

/// `500ms`, `10m`, `1h30m`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = digits(rest)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let ms = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(ms)?)?;
        rest = next;
    }
    (total <= DURATION_MS_MAX).then(|| Duration::from_millis(total))
}

/// `64MiB`, `1MB`, `512B`: bytes. A unit is needed; a bare number would leave open which one was meant.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = digits(text.trim())?;
    let bytes = match unit.trim_start() {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// So many bytes as [`size`] reads them, in the largest unit that leaves no rest.
pub fn size_text(bytes: u64) -> String {
    let fits = |shift: &u32| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match [30, 20, 10].into_iter().find(fits) {
        Some(shift) => format!("{}{}iB", bytes >> shift, ["K", "M", "G"][shift as usize / 10 - 1]),
        None => format!("{bytes}B"),
    }
}

/// `2000/s`, `90/m`: events per second, above zero.
pub fn rate(text: &str) -> Option<f64> {
    let (number, per) = text.trim().split_once('/')?;
    let number = number_of(number.trim())?;
    let seconds = match per.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    (number > 0.0).then_some(number / seconds)
}

/// `5%`, `0.1%`, `0`: a share from 0 to 1.
pub fn percent(text: &str) -> Option<f64> {
    let text = text.trim();
    if text == "0" {
        return Some(0.0);
    }
    let share = number_of(text.strip_suffix('%')?.trim_end())? / 100.0;
    (0.0..=1.0).contains(&share).then_some(share)
}

/// A plain number: digits, at most one point, no exponent.
pub fn number_of(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    if plain { text.parse().ok().filter(|n: &f64| n.is_finite()) } else { None }
}

/// A whole number; `_` may part its digits.
pub fn integer(text: &str) -> Option<u64> {
    let digits: String = text.trim().chars().filter(|c| *c != '_').collect();
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !text.trim().starts_with('_');
    if plain { digits.parse().ok() } else { None }
}

pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the forms of 3-interfaces 3.2 and their near misses. Method: tables of text and value.
    #[test]
    fn forms_and_near_misses() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("7d", Some(604_800_000)),
            ("10", None),
            ("m", None),
            ("-1s", None),
            ("1.5s", None),
            ("1h 30m", Some(5_400_000)),
            ("", None),
            ("99999999999999999999d", None),
            ("40000d", None),
        ] {
            assert_eq!(duration(text).map(|d| d.as_millis()), ms, "{text}");
        }
        for (text, bytes) in
            [("64MiB", Some(64 << 20)), ("1MB", Some(1_000_000)), ("1 GiB", Some(1 << 30)), ("5", None), ("20000000000GiB", None)]
        {
            assert_eq!(size(text), bytes, "{text}");
        }
        for (bytes, text) in [(1 << 20, "1MiB"), (1_500, "1500B"), (3 << 30, "3GiB"), (1 << 10, "1KiB"), (0, "0B")] {
            assert_eq!((size_text(bytes).as_str(), size(text)), (text, Some(bytes)));
        }
        for (text, per_second) in
            [("2000/s", Some(2000.0)), ("90/m", Some(1.5)), ("0/s", None), ("5", None), ("1e3/s", None), ("./s", None)]
        {
            assert_eq!(rate(text), per_second, "{text}");
        }
        for (text, share) in
            [("5%", Some(0.05)), ("0", Some(0.0)), ("0.5%", Some(0.005)), ("101%", None), ("5", None), ("-1%", None)]
        {
            assert_eq!(percent(text), share, "{text}");
        }
        for (text, number) in
            [("4096", Some(4096)), ("20_000", Some(20_000)), ("-1", None), ("1.0", None), ("_1", None), ("", None)]
        {
            assert_eq!(integer(text), number, "{text}");
        }
    }
}
