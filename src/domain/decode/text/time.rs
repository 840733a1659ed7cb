//! Dates and times in every encoding: counts since 1970, ISO text, MySQL's own text with its zero dates.

use super::{Fit, Kind, Unfit, allowed};
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, date};

/// What a number of time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// The number in microseconds; MySQL knows nothing finer.
    fn micros(self, number: &str) -> Option<i64> {
        let number = number.parse::<i64>().ok()?;
        match self {
            Self::Millis => number.checked_mul(1_000),
            Self::Micros => Some(number),
            Self::Nanos => Some(number.div_euclid(1_000)),
        }
    }
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

const EPOCH: Date = date(1970, 1, 1);

const DATE: Unfit = Unfit("days since 1970 or `YYYY-MM-DD`");

fn unfit_time() -> Unfit {
    Unfit(allowed(&Kind::Time { unit: Unit::Micros, digits: None }))
}

fn unfit_date_time() -> Unfit {
    Unfit(allowed(&Kind::DateTime { unit: Unit::Micros, digits: None, utc: false }))
}

/// The date so many days after 1970-01-01, within the years MySQL can print.
fn civil(days: i64) -> Option<Date> {
    let hours = days.checked_mul(24).filter(|h| h.abs() < 1 << 32)?;
    EPOCH.checked_add(SignedDuration::from_hours(hours)).ok().filter(|date| date.year() >= 0)
}

pub(super) fn date_of_days(out: &mut String, days: &str) -> Fit {
    push_date(out, days.parse().ok().and_then(civil).ok_or(DATE)?);
    Ok(())
}

pub(super) fn date_of_text(out: &mut String, text: &str) -> Fit {
    // Debezium's IsoDate carries a `Z` that means nothing.
    let text = text.strip_suffix('Z').unwrap_or(text);
    if !is_date(text) {
        return Err(DATE);
    }
    out.push_str(text);
    Ok(())
}

pub(super) fn date_time_of_number(out: &mut String, number: &str, unit: Unit, digits: Option<u8>) -> Fit {
    let micros = unit.micros(number).ok_or_else(unfit_date_time)?;
    let date = civil(micros.div_euclid(MICROS_PER_DAY)).ok_or_else(unfit_date_time)?;
    let seconds = micros.rem_euclid(MICROS_PER_DAY) / MICROS_PER_SECOND;
    push_date(out, date);
    out.push(' ');
    push_clock(out, seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(out, micros.rem_euclid(MICROS_PER_SECOND), digits).ok_or_else(unfit_date_time)
}

/// MySQL's own text, or ISO with `T` and an offset. A DATETIME has no zone, so there only a meaningless `Z` may stand;
/// a TIMESTAMP is brought to UTC, which a text without an offset is taken to be in already.
pub(super) fn date_time_of_text(out: &mut String, text: &str, digits: Option<u8>, utc: bool) -> Fit {
    let (date, rest) = text.split_at_checked(10).filter(|(date, _)| is_date(date)).ok_or_else(unfit_date_time)?;
    let Some(rest) = rest.strip_prefix([' ', 'T']) else {
        if !rest.is_empty() {
            return Err(unfit_date_time());
        }
        out.extend([date, " 00:00:00"]);
        return fraction(out, 0, digits).ok_or_else(unfit_date_time);
    };
    let (clock, seconds_east) = split_offset(rest).ok_or_else(unfit_date_time)?;
    let clock = Clock::parse(clock).filter(|c| !c.negative && c.hours < 24).ok_or_else(unfit_date_time)?;
    if seconds_east == 0 {
        out.push_str(date);
        out.push(' ');
        return clock.push(out, digits).ok_or_else(unfit_date_time);
    }
    if !utc {
        return Err(Unfit("a date and time without an offset, since a DATETIME has no zone"));
    }
    let part = |from: usize, to: usize| date.get(from..to).and_then(|t| t.parse::<i16>().ok());
    let [year, month, day] = [part(0, 4), part(5, 7), part(8, 10)].map(|p| p.unwrap_or_default());
    let local = DateTime::new(year, month as i8, day as i8, clock.hours as i8, clock.minutes as i8, clock.seconds as i8, 0);
    let moved = local.and_then(|at| at.checked_sub(SignedDuration::from_secs(seconds_east)));
    let moved = moved.ok().filter(|at| at.year() >= 0).ok_or_else(unfit_date_time)?;
    push_date(out, moved.date());
    out.push(' ');
    let clock = Clock { hours: moved.hour().into(), minutes: moved.minute().into(), seconds: moved.second().into(), ..clock };
    clock.push(out, digits).ok_or_else(unfit_date_time)
}

pub(super) fn time_of_number(out: &mut String, number: &str, unit: Unit, digits: Option<u8>) -> Fit {
    let micros = unit.micros(number).ok_or_else(unfit_time)?;
    if micros < 0 {
        out.push('-');
    }
    let micros = micros.checked_abs().ok_or_else(unfit_time)?;
    let seconds = micros / MICROS_PER_SECOND;
    let hours = seconds / 3600;
    if hours > HOURS_MAX {
        return Err(unfit_time());
    }
    push_clock(out, hours, seconds / 60 % 60, seconds % 60);
    fraction(out, micros % MICROS_PER_SECOND, digits).ok_or_else(unfit_time)
}

pub(super) fn time_of_text(out: &mut String, text: &str, digits: Option<u8>) -> Fit {
    let clock = Clock::parse(text.strip_suffix('Z').unwrap_or(text)).ok_or_else(unfit_time)?;
    if clock.negative {
        out.push('-');
    }
    clock.push(out, digits).ok_or_else(unfit_time)
}

/// MySQL's TIME ends at 838:59:59.
const HOURS_MAX: i64 = 838;

/// A clock's text taken apart.
struct Clock<'a> {
    negative: bool,
    hours: i64,
    minutes: i64,
    seconds: i64,
    /// Digits after the point, as sent.
    fraction: &'a str,
}

impl<'a> Clock<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut parts = clock.split(':');
        let mut part = |max: i64| {
            let text = parts.next()?;
            let digits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse().ok().filter(|n| *n <= max) } else { None }
        };
        let (hours, minutes) = (part(HOURS_MAX)?, part(59)?);
        // ISO text may leave out seconds of zero.
        let seconds = if clock.matches(':').count() == 1 { 0 } else { part(59)? };
        let whole = parts.next().is_none() && fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
        whole.then_some(Self { negative, hours, minutes, seconds, fraction })
    }

    fn push(&self, out: &mut String, digits: Option<u8>) -> Option<()> {
        push_clock(out, self.hours, self.minutes, self.seconds);
        match digits {
            None if self.fraction.is_empty() => {}
            None => {
                out.push('.');
                out.push_str(&self.fraction[..self.fraction.len().min(6)]);
            }
            Some(n) => {
                let n = usize::from(n);
                let kept = self.fraction.len().min(n);
                if self.fraction.as_bytes()[kept..].iter().any(|b| *b != b'0') {
                    return None;
                }
                if n > 0 {
                    out.push('.');
                    out.push_str(&self.fraction[..kept]);
                    (kept..n).for_each(|_| out.push('0'));
                }
            }
        }
        Some(())
    }
}

/// The clock and its offset in seconds east of UTC; none is none.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let offset = &text[at + 1..];
    let (hours, minutes) = match offset.len() {
        2 => (offset, "0"),
        4 => offset.split_at_checked(2)?,
        5 => offset.split_once(':')?,
        _ => return None,
    };
    let seconds = hours.parse::<u8>().ok()? as i64 * 3600 + minutes.parse::<u8>().ok()? as i64 * 60;
    let east = if text.as_bytes()[at] == b'-' { -seconds } else { seconds };
    (seconds <= 18 * 3600).then_some((&text[..at], east))
}

/// `YYYY-MM-DD`, months and days of zero included: MySQL may hold such.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| bytes[from..to].iter().all(u8::is_ascii_digit);
    let number = |at: usize| u32::from(bytes[at] - b'0') * 10 + u32::from(bytes[at + 1] - b'0');
    bytes.len() == 10
        && (bytes[4], bytes[7]) == (b'-', b'-')
        && digits(0, 4)
        && digits(5, 7)
        && digits(8, 10)
        && number(5) <= 12
        && number(8) <= 31
}

fn push_date(out: &mut String, at: Date) {
    let year = i64::from(at.year());
    two(out, year / 100);
    two(out, year % 100);
    out.push('-');
    two(out, at.month().into());
    out.push('-');
    two(out, at.day().into());
}

fn push_clock(out: &mut String, hours: i64, minutes: i64, seconds: i64) {
    if hours >= 100 {
        out.push(digit(hours / 100));
    }
    two(out, hours % 100);
    out.push(':');
    two(out, minutes);
    out.push(':');
    two(out, seconds);
}

fn two(out: &mut String, number: i64) {
    out.push(digit(number / 10));
    out.push(digit(number));
}

fn digit(number: i64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

/// Microseconds below a second in `digits` digits, or as many as they need (none, 3 or 6); `None` when some would be lost.
fn fraction(out: &mut String, micros: i64, digits: Option<u8>) -> Option<()> {
    let digits = digits.unwrap_or(match micros {
        0 => 0,
        m if m % 1_000 == 0 => 3,
        _ => 6,
    });
    let unit = 10i64.pow(6 - u32::from(digits.min(6)));
    if micros % unit != 0 {
        return None;
    }
    if digits > 0 {
        out.push('.');
        let mut place = 100_000;
        for _ in 0..digits.min(6) {
            out.push(digit(micros / place));
            place /= 10;
        }
    }
    Some(())
}
