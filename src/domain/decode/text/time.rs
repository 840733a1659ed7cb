//! Dates and times in every encoding: counts since 1970, ISO text, MySQL's own text with its zero dates.

use super::{Fit, Kind, Unfit, allowed};
use jiff::SignedDuration;
use jiff::civil::DateTime;

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
        let number = whole(number)?;
        match self {
            Self::Millis => number.checked_mul(1_000),
            Self::Micros => Some(number),
            Self::Nanos => Some(number.div_euclid(1_000)),
        }
    }
}

/// A whole number; those of few digits, as nearly all are, without a look at each one's overflow.
fn whole(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return text.parse().ok();
    }
    let mut number = 0;
    for byte in text.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return text.parse().ok();
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

const DATE: Unfit = Unfit("days since 1970 or `YYYY-MM-DD`");

fn unfit_time() -> Unfit {
    Unfit(allowed(&Kind::Time { unit: Unit::Micros, digits: None }))
}

fn unfit_date_time() -> Unfit {
    Unfit(allowed(&Kind::DateTime { unit: Unit::Micros, digits: None, utc: false }))
}

/// A day of the calendar that MySQL counts by, also before it was in use.
#[derive(Clone, Copy)]
struct Day {
    year: u32,
    month: u32,
    day: u32,
}

/// Days from 0000-03-01 to 1970-01-01; that year's first two months lie before it.
const DAYS_TO_EPOCH: i64 = 719_468;
/// The last day of the year 9999.
const DAYS_MAX: i64 = 2_932_896;
const DAYS_PER_ERA: u32 = 146_097;

/// The date so many days after 1970-01-01, within the years MySQL can print. Years are counted from March, so that the leap
/// day is the last of one, and in eras of 400, which are all alike.
fn civil(days: i64) -> Option<Day> {
    // An era earlier, so that no day counts below zero.
    let days = Some(days).filter(|days| (-DAYS_MAX..=DAYS_MAX).contains(days))?;
    let days = u32::try_from(days + DAYS_TO_EPOCH + i64::from(DAYS_PER_ERA)).ok()?;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year_of_era, if month < 10 { month + 3 } else { month - 9 });
    let year = (year + u32::from(month <= 2)).checked_sub(400)?;
    Some(Day { year, month, day })
}

pub(super) fn date_of_days(out: &mut String, days: &str) -> Fit {
    push_date(out, whole(days).and_then(civil).ok_or(DATE)?);
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
    push_date(out, Day { year: moved.year() as u32, month: moved.month() as u32, day: moved.day() as u32 });
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

fn push_date(out: &mut String, at: Day) {
    two(out, at.year / 100);
    two(out, at.year);
    out.push('-');
    two(out, at.month);
    out.push('-');
    two(out, at.day);
}

fn push_clock(out: &mut String, hours: i64, minutes: i64, seconds: i64) {
    if hours >= 100 {
        out.push(char::from(b'0' + (hours / 100 % 10) as u8));
    }
    two(out, hours as u32);
    out.push(':');
    two(out, minutes as u32);
    out.push(':');
    two(out, seconds as u32);
}

/// The last two digits of a number.
fn two(out: &mut String, number: u32) {
    let at = (number % 100) as usize * 2;
    out.push_str(&PAIRS[at..at + 2]);
}

/// Every number below 100 in two digits.
const PAIRS: &str = "\
    0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
    5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// Microseconds below a second in `digits` digits, or as many as they need (none, 3 or 6); `None` when some would be lost.
fn fraction(out: &mut String, micros: i64, digits: Option<u8>) -> Option<()> {
    let digits = digits.unwrap_or(match micros {
        0 => 0,
        m if m % 1_000 == 0 => 3,
        _ => 6,
    });
    let micros = micros as u32;
    if !micros.is_multiple_of(UNITS[usize::from(digits.min(6))]) {
        return None;
    }
    if digits > 0 {
        out.push('.');
        for unit in &UNITS[1..=usize::from(digits.min(6))] {
            out.push(char::from(b'0' + (micros / unit % 10) as u8));
        }
    }
    Some(())
}

/// Microseconds of the last of so many digits.
const UNITS: [u32; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
