//! Aligned tables for people, and how numbers, times and texts look in them.
//!
//! No colours and no lines: what is printed can be cut and sorted. Control characters in a value are shown as escapes, so
//! that a row of a database cannot steer a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a cell at most; the JSON form has all of it.
const CELL_WIDTH_MAX: usize = 120;
/// Columns between two cells.
const GAP: &str = "  ";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Left,
    Right,
}

/// A table that is written once it is whole.
#[derive(Debug)]
pub struct Table {
    head: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Column heads; one that begins with `>` stands on the right, as numbers do.
    pub fn new(heads: &[&'static str]) -> Self {
        let side = |head: &'static str| head.strip_prefix('>').map_or((head, Side::Left), |head| (head, Side::Right));
        Self { head: heads.iter().map(|head| side(head)).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| shown(&cell)).collect();
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    /// The table, or `none` where it has no rows.
    pub fn or(self, none: &str) -> String {
        if self.rows.is_empty() { format!("{none}\n") } else { self.text() }
    }

    pub fn text(&self) -> String {
        let heads: Vec<String> = self.head.iter().map(|(head, _)| head.to_uppercase()).collect();
        let all = || std::iter::once(&heads).chain(&self.rows);
        let width = |at: usize| all().map(|cells| cells[at].width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let mut out = String::new();
        for cells in all() {
            let mut line = String::new();
            for (at, cell) in cells.iter().enumerate() {
                let pad = " ".repeat(widths[at] - cell.width());
                let gap = if at == 0 { "" } else { GAP };
                match self.head[at].1 {
                    Side::Left => line.extend([gap, cell, &pad]),
                    Side::Right => line.extend([gap, &pad, cell]),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// A value without control characters, cut where it is very long.
pub fn shown(text: &str) -> String {
    let mut width = 0;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= CELL_WIDTH_MAX
    };
    let short: String = text.chars().take_while(fits).collect();
    let mut out = tamed(&short);
    if short.len() < text.len() {
        out.push('…');
    }
    out
}

/// The whole text with escapes for what could steer a terminal.
pub fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Control characters, and those that turn the direction of writing.
fn is_steering(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A length of time from milliseconds: `850 ms`, `12.5 s`, `3m 20s`, `2h 5m`, `4d 3h`.
pub fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let two = |big: i64, unit: &str, small: i64, part: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit} {small}{part}") }
    };
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..=59 => format!("{}.{} s", s, ms % 1000 / 100),
        60..=3_599 => two(s / 60, "m", s % 60, "s"),
        3_600..=86_399 => two(s / 3_600, "h", s % 3_600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

/// How long before `now` a time in ms since 1970 was.
pub fn ago(at: i64, now: i64) -> String {
    if at > now + 999 { format!("in {}", span(at - now)) } else { format!("{} ago", span(now - at)) }
}

/// A number of bytes: `512 B`, `1.5 KiB`, `64.0 MiB`.
pub fn bytes(n: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = units[0];
    for next in &units[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: columns stand under their heads, wide characters counted by their columns. Method: a golden text.
    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["line", ">waiting", "oldest"]);
        table.row(["门店".to_owned(), "7".into(), "3m 20s".into()]);
        table.row(["order_search".to_owned(), "12345678".into(), String::new()]);
        table.row(["short".to_owned()]);
        let want = "LINE           WAITING  OLDEST\n门店                 7  3m 20s\norder_search  12345678\nshort\n";
        assert_eq!(table.text(), want);
        assert_eq!(Table::new(&["a"]).or("no lines"), "no lines\n");
    }

    /// Goal: a value cannot steer the terminal or flood it. Method: a table of texts.
    #[test]
    fn values_are_tamed() {
        for (text, want) in
            [("a\nb", "a\\nb"), ("\u{1b}[31mred", "\\u{1b}[31mred"), ("\u{202e}x", "\\u{202e}x"), ("好 😀", "好 😀")]
        {
            assert_eq!(shown(text), want);
        }
        let long = shown(&"x".repeat(1000));
        assert!(long.width() <= CELL_WIDTH_MAX + 1 && long.ends_with('…'), "{long}");
    }

    /// Goal: spans and sizes are read at a glance. Method: a table around every border.
    #[test]
    fn spans_and_sizes() {
        for (ms, want) in [
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (59_999, "59.9 s"),
            (60_000, "1m"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (86_400_000, "1d"),
            (360_000_000, "4d 4h"),
        ] {
            assert_eq!(span(ms), want, "{ms}");
        }
        assert_eq!((ago(1_000, 3_000).as_str(), ago(63_000, 3_000).as_str()), ("2.0 s ago", "in 1m"));
        for (n, want) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64.0 MiB"), (3 << 40, "3.0 TiB")] {
            assert_eq!(bytes(n), want);
        }
    }
}
