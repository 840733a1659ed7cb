//! How values are written on the command line: durations, rates, shares, `column=value`.

use std::str::FromStr;
use std::time::Duration;

/// `90s`, `10m`, `1h30m`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is written 500ms, 90s, 10m or 1h30m".to_owned();
    let parsed = jiff::SignedDuration::from_str(text).map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// Per second: `2000/s`; the unit may be left out.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim().parse::<f64>().ok();
    number.filter(|n| n.is_finite() && *n > 0.0).ok_or_else(|| "a rate is written 2000/s and is above zero".to_owned())
}

/// A share of one: `5%`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
    let share = number.filter(|n| (0.0..=100.0).contains(n)).map(|n| n / 100.0);
    share.ok_or_else(|| "a share is written 5% and lies between 0% and 100%".to_owned())
}

/// A Zipf exponent, 0 being uniform.
pub(super) fn skew(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=4.0).contains(n));
    number.ok_or_else(|| "a skew is a number from 0 (uniform) to 4".to_owned())
}

/// `column=value`; the value may hold further `=`.
pub(super) fn key_column(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        _ => Err("a key column is written column=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each form is read, and nothing near it. Method: tables of (text, meaning or refusal).
    #[test]
    fn written_values() {
        for (text, want) in
            [("500ms", Some(500)), ("10m", Some(600_000)), ("1h30m", Some(5_400_000)), ("10", None), ("-1s", None)]
        {
            assert_eq!(duration(text).ok(), want.map(Duration::from_millis), "{text}");
        }
        for (text, want) in [("2000/s", Some(2000.0)), ("0.5", Some(0.5)), ("0/s", None), ("inf", None), ("2000/m", None)] {
            assert_eq!(rate(text).ok(), want, "{text}");
        }
        for (text, want) in [("5%", Some(0.05)), ("100%", Some(1.0)), ("101%", None), ("0.05", None)] {
            assert_eq!(share(text).ok(), want, "{text}");
        }
        for (text, want) in [("0", Some(0.0)), ("1.2", Some(1.2)), ("-1", None), ("NaN", None)] {
            assert_eq!(skew(text).ok(), want, "{text}");
        }
        assert_eq!(key_column("order_no=a=b").unwrap(), ("order_no".into(), "a=b".into()));
        assert!(key_column("order_no").is_err() && key_column("=1").is_err());
    }
}
