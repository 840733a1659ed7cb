//! Numbers, ages and times as people read them.

use crate::domain::ids::Millis;

/// `12345` as `12 345`, with narrow no-break spaces.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A rate: whole from ten on, else one digit.
pub fn rate(per_second: f64) -> String {
    if per_second >= 10.0 || per_second == 0.0 { count(per_second.round() as u64) } else { format!("{per_second:.1}") }
}

/// A share of one as a whole percentage.
pub fn percent(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 100.0).round() as u32
}

/// Milliseconds as the largest unit that fits, and the next.
pub fn age(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match s {
        0 => format!("{} ms", ms.max(0)),
        1..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// Bytes in binary units.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A moment in UTC, to the second.
pub fn time(at: Millis) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0);
    moment.map_or_else(|_| at.0.to_string(), |moment| moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Points of a line in a box of 300 by 40: the newest of at most `places` values at the right, the highest at the top.
pub fn points(values: &[f64], places: usize, highest: f64) -> String {
    let step = 300.0 / places.saturating_sub(1).max(1) as f64;
    let first = places.saturating_sub(values.len());
    let point =
        |(at, value): (usize, &f64)| format!("{:.1},{:.1}", (first + at) as f64 * step, 39.0 - value / highest.max(1.0) * 38.0);
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: people read what was meant. Method: a table per form.
    #[test]
    fn forms() {
        for (n, want) in [(0, "0"), (999, "999"), (1000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")] {
            assert_eq!(count(n), want);
        }
        for (ms, want) in [
            (-5, "0 ms"),
            (12, "12 ms"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(age(ms), want);
        }
        for (n, want) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16777216.0 TiB")] {
            assert_eq!(bytes(n), want);
        }
        for (r, want) in [(0.0, "0"), (0.25, "0.2"), (9.94, "9.9"), (1234.5, "1\u{202f}235")] {
            assert_eq!(rate(r), want);
        }
        assert_eq!(time(Millis(1_740_794_401_000)), "2025-03-01 02:00:01 UTC");
        assert_eq!(points(&[0.0, 2.0, 4.0], 4, 4.0), "100.0,39.0 200.0,20.0 300.0,1.0");
    }
}
