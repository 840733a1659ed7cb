//! A wide row as HBase cells, and back. Pure.
//!
//! Keeps M1 (qualifiers `table:column[:child]`), M2 (two families), M3 (plain values, null as one zero byte), M5 (tombstones
//! `table:#del[:child]`, their value the time of the write) and M9 (`m:k:<column>`). The stamp of a data cell is its
//! timestamp, so the server's own rule, the highest timestamp shows, is M4; of equal timestamps the later write shows.
//!
//! Family `m` holds, beside the key columns, two counters that are only ever incremented (`base`, `counter`; their
//! timestamps are the server's) and marks, each named as it is called, its value the stamp in decimal. A mark's timestamp is
//! its stamp + 1, so the highest stands without a read; a mark below zero, which no rule makes, has timestamp 0. Key columns
//! have one fixed timestamp: they never change.
//!
//! HBase takes no negative timestamps: a data cell stamped below zero is refused. `%`, `:` and control characters in names of
//! tables and columns are percent-escaped, and a `#` that begins a column's name, so that every name has one qualifier.
//! Knows nothing of servers, and not where a row lies.

use crate::domain::change::Value;
use crate::domain::ids::{Millis, Name, Stamp};
use crate::domain::row::{self, Part, PartId, Tombstone, WideRow};
use crate::io::hbase::cell::{Cell, CellError, LATEST};
use bytes::Bytes;
use std::borrow::Cow;

/// What widerow needs itself (M2).
pub const OWN_FAMILY: &str = "m";
/// V3: changed only by increments.
pub const BASE: &[u8] = b"base";
/// V1 `counter`.
pub const COUNTER: &[u8] = b"counter";
/// M9: before a key column's name.
const KEY: &str = "k:";
/// M5: a tombstone's place among the columns.
const TOMBSTONE: &str = "#del";
/// M5: a tombstone that counts for nothing.
const REVOKED: &str = "revoked";
/// What stands for SQL null, and before a text that begins with it (M3).
const NULL: u8 = 0;
/// The timestamp of own cells that never change their value, and whose later write shows where they do.
pub const FIXED_TIMESTAMP: i64 = 1;

/// Something that has no place in the layout, or cells that were not written by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("stamp {0} is no timestamp; HBase takes 0 to 2^63 - 2")]
    Stamp(i64),
    #[error("a mark named `{0}`, which is the name of another cell; marks are named like `moved:…`")]
    Mark(String),
    #[error("cell `{qualifier}` holds {found}; written are {allowed}")]
    Value { qualifier: String, found: String, allowed: &'static str },
    #[error("qualifier `{0}` cannot be a name: {1}")]
    Name(String, String),
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// Every cell of the data family: qualifier, timestamp, value.
///
/// # Errors
/// A stamp that is no timestamp, and what `put` answers.
pub fn data_cells(change: &WideRow, mut put: impl FnMut(&[u8], i64, &[u8]) -> Result<(), CellError>) -> Result<(), LayoutError> {
    let (mut qualifier, mut value) = (Vec::with_capacity(64), Vec::new());
    for part in &change.parts {
        if let Some(tombstone) = part.tombstone {
            tombstone_qualifier(&part.id, &mut qualifier);
            put(&qualifier, timestamp(tombstone.stamp)?, tombstone_value(tombstone).as_bytes())?;
        }
        for cell in part.cells.iter() {
            qualifier_of(&part.id, cell.name, &mut qualifier);
            put(&qualifier, timestamp(cell.stamp)?, value_of(cell.value, &mut value))?;
        }
    }
    Ok(())
}

/// The cells of [`OWN_FAMILY`] that are put: marks, and the key columns where asked for.
///
/// # Errors
/// A mark that has the name of another cell, and what `put` answers.
pub fn own_cells(
    change: &WideRow,
    with_keys: bool,
    mut put: impl FnMut(&[u8], i64, &[u8]) -> Result<(), CellError>,
) -> Result<(), LayoutError> {
    let mut buffer = Vec::new();
    for (name, value) in change.keys.iter().filter(|_| with_keys) {
        let text = match value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Absent => None,
        };
        put(format!("{KEY}{name}").as_bytes(), FIXED_TIMESTAMP, value_of(text, &mut buffer))?;
    }
    for (name, stamp) in &change.marks {
        put(mark_qualifier(name)?, mark_timestamp(*stamp)?, stamp.0.to_string().as_bytes())?;
    }
    Ok(())
}

/// About how many bytes the cells of a change will take in a request.
pub fn bytes_of(change: &WideRow, row: &[u8], family: &[u8]) -> usize {
    let fixed = 24 + row.len() + family.len();
    let part = |p: &row::Part| {
        let qualifiers = p.id.table.as_str().len() + p.id.child.len() + 16;
        (p.cells.len() + 1) * (fixed + qualifiers) + p.cells.text_bytes()
    };
    change.parts.iter().map(part).sum::<usize>() + change.keys.len() * (fixed + 16) + change.keys.text_bytes()
}

/// The row that these cells are; `None` when none of them is of ours. Foreign cells in our families are left out.
///
/// # Errors
/// A cell of ours whose value we never write.
pub fn row_of(cells: &[Cell], family: &[u8]) -> Result<Option<WideRow>, LayoutError> {
    let mut row = WideRow::default();
    let mut found = false;
    let mut reader = None;
    for cell in cells {
        found |= if cell.family == family {
            DataReader::read(&mut reader, cell, &mut row)?
        } else if cell.family == OWN_FAMILY.as_bytes() {
            read_own(cell, &mut row)?
        } else {
            false
        };
    }
    Ok(found.then_some(row))
}

/// Appends `table:column[:child]` (M1).
pub fn qualifier_of(part: &PartId, column: Name, out: &mut Vec<u8>) {
    begin(part, out);
    match column.as_str().strip_prefix('#') {
        Some(rest) => {
            out.extend_from_slice(b"%23");
            escape(rest, out);
        }
        None => escape(column.as_str(), out),
    }
    end(part, out);
}

/// Sets `out` to `table:#del[:child]` (M5).
pub fn tombstone_qualifier(part: &PartId, out: &mut Vec<u8>) {
    begin(part, out);
    out.extend_from_slice(TOMBSTONE.as_bytes());
    end(part, out);
}

/// A Java regular expression that finds the qualifiers of one table row, and no others.
pub fn part_pattern(part: &PartId) -> String {
    let mut out = Vec::new();
    begin(part, &mut out);
    let mut pattern = String::from("^");
    quote(&String::from_utf8_lossy(&out), &mut pattern);
    pattern.push_str("[^:]*");
    if !part.child.is_empty() {
        pattern.push(':');
        quote(&part.child, &mut pattern);
    }
    // `$` would also match before a final line break.
    pattern.push_str("\\z");
    pattern
}

/// A value beside the rows as its cell holds it: never empty, because a condition takes an empty value for none.
pub fn beside_value(text: &str) -> Vec<u8> {
    let front: &[u8] = if text.is_empty() || text.as_bytes()[0] == NULL { &[NULL] } else { &[] };
    [front, text.as_bytes()].concat()
}

/// The value such a cell holds.
///
/// # Errors
/// It is no text.
pub fn beside_text(value: &[u8]) -> Result<&str, std::str::Utf8Error> {
    std::str::from_utf8(value.strip_prefix(&[NULL]).unwrap_or(value))
}

/// What a tombstone's cell holds: the time of the write in ms, after `revoked:` when it counts for nothing.
pub fn tombstone_value(tombstone: Tombstone) -> String {
    let written = tombstone.written.0;
    if tombstone.revoked { format!("{REVOKED}:{written}") } else { written.to_string() }
}

/// A stamp as the timestamp of a data cell.
///
/// # Errors
/// Negative, or the number that stands for the server's clock.
pub fn timestamp(stamp: Stamp) -> Result<i64, LayoutError> {
    if (0..LATEST).contains(&stamp.0) { Ok(stamp.0) } else { Err(LayoutError::Stamp(stamp.0)) }
}

/// A mark's timestamp.
///
/// # Errors
/// It would be the number that stands for the server's clock.
pub fn mark_timestamp(stamp: Stamp) -> Result<i64, LayoutError> {
    if stamp.0 < LATEST - 1 { Ok((stamp.0 + 1).max(0)) } else { Err(LayoutError::Stamp(stamp.0)) }
}

/// A mark's qualifier.
///
/// # Errors
/// It has the name of another own cell.
pub fn mark_qualifier(name: &str) -> Result<&[u8], LayoutError> {
    let taken = name.as_bytes() == BASE || name.as_bytes() == COUNTER || name.starts_with(KEY);
    if taken { Err(LayoutError::Mark(name.to_owned())) } else { Ok(name.as_bytes()) }
}

fn begin(part: &PartId, out: &mut Vec<u8>) {
    out.clear();
    escape(part.table.as_str(), out);
    out.push(b':');
}

fn end(part: &PartId, out: &mut Vec<u8>) {
    if !part.child.is_empty() {
        out.push(b':');
        out.extend_from_slice(part.child.as_bytes());
    }
}

/// M3.
fn value_of<'a>(value: Option<&'a str>, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(text) = value else { return &[NULL] };
    if text.as_bytes().first() != Some(&NULL) {
        return text.as_bytes();
    }
    buffer.clear();
    buffer.push(NULL);
    buffer.extend_from_slice(text.as_bytes());
    buffer
}

fn read_value(cell: &Cell) -> Result<Option<&str>, LayoutError> {
    let text = match &cell.value[..] {
        [NULL] => return Ok(None),
        [NULL, rest @ ..] if rest[0] == NULL => rest,
        [NULL, ..] => return Err(wrong(cell, "text, one zero byte for null, or a zero byte before a text that begins with one")),
        plain => plain,
    };
    std::str::from_utf8(text).map(Some).map_err(|_| wrong(cell, "texts in UTF-8"))
}

/// Reads data cells into a row.
///
/// Cells come in the order of their qualifiers: one column of every table row, by child key, then the next column. So a
/// cell mostly shares its table and column with the one before, and belongs to the part behind that one's.
struct DataReader<'a> {
    /// `table:column:`; none where the last cell had no child key.
    prefix: Option<&'a str>,
    table: Name,
    /// `None`: a tombstone.
    column: Option<Name>,
    /// The last cell's part.
    at: usize,
}

/// Room a table row's first cell makes for the others.
const PART_CELLS: usize = 12;
const PART_BYTES: usize = 96;

impl<'a> DataReader<'a> {
    /// One data cell into the row; `false`: not of ours.
    fn read(reader: &mut Option<Self>, cell: &'a Cell, row: &mut WideRow) -> Result<bool, LayoutError> {
        let Ok(qualifier) = std::str::from_utf8(&cell.qualifier) else { return Ok(false) };
        let same = reader.as_mut().and_then(|known| Some((qualifier.strip_prefix(known.prefix?)?, known)));
        let (child, known) = match same {
            Some(same) => same,
            None => {
                let Some((table, rest)) = qualifier.split_once(':') else { return Ok(false) };
                let (column, child) = rest.split_once(':').map_or((rest, None), |(column, child)| (column, Some(child)));
                let prefix = child.map(|child| &qualifier[..qualifier.len() - child.len()]);
                let column = if column == TOMBSTONE { None } else { Some(name(column)?) };
                let at = reader.as_ref().map_or(0, |before| before.at);
                (child.unwrap_or(""), reader.insert(Self { prefix, table: name(table)?, column, at }))
            }
        };
        let part = known.part(child, row);
        let stamp = Stamp(cell.timestamp);
        match known.column {
            None => part.tombstone = Some(read_tombstone(cell, stamp)?),
            Some(name) => part.cells.push(row::Cell { name, stamp, value: read_value(cell)? }),
        }
        Ok(true)
    }

    fn part<'r>(&mut self, child: &str, row: &'r mut WideRow) -> &'r mut Part {
        let is_it = |part: &&Part| part.id.table == self.table && *part.id.child == *child;
        let near = [self.at, self.at + 1].into_iter().find(|at| row.parts.get(*at).as_ref().is_some_and(is_it));
        self.at = near.unwrap_or_else(|| {
            let sought = (self.table, child);
            row.parts.binary_search_by(|part| (part.id.table, &*part.id.child).cmp(&sought)).unwrap_or_else(|at| {
                let mut part = Part::new(PartId { table: self.table, child: child.into() });
                part.cells = row::Cells::with_capacity(PART_CELLS, PART_BYTES);
                row.parts.insert(at, part);
                at
            })
        });
        &mut row.parts[self.at]
    }
}

fn read_tombstone(cell: &Cell, stamp: Stamp) -> Result<Tombstone, LayoutError> {
    let allowed = "a time in ms, or `revoked`";
    let text = std::str::from_utf8(&cell.value).map_err(|_| wrong(cell, allowed))?;
    let (revoked, written) = match text.strip_prefix(REVOKED) {
        Some("") => (true, "0"),
        Some(rest) => (true, rest.strip_prefix(':').ok_or_else(|| wrong(cell, allowed))?),
        None => (false, text),
    };
    let written = written.parse().map(Millis).map_err(|_| wrong(cell, allowed))?;
    Ok(Tombstone { stamp, written, revoked })
}

fn read_own(cell: &Cell, row: &mut WideRow) -> Result<bool, LayoutError> {
    if cell.qualifier == BASE {
        row.base = read_counter(cell)?;
    } else if cell.qualifier == COUNTER {
        row.counter = read_counter(cell)?;
    } else {
        let Ok(qualifier) = std::str::from_utf8(&cell.qualifier) else { return Ok(false) };
        if let Some(column) = qualifier.strip_prefix(KEY) {
            row.keys.set(interned(column)?, read_value(cell)?.map_or(Value::Null, Value::Text));
            return Ok(true);
        }
        let stamp = std::str::from_utf8(&cell.value).ok().and_then(|text| text.parse().ok());
        // Only marks are left, and what somebody else wrote there.
        let Some(stamp) = stamp else { return Ok(false) };
        row.marks.push((qualifier.to_owned(), Stamp(stamp)));
    }
    Ok(true)
}

fn read_counter(cell: &Cell) -> Result<i64, LayoutError> {
    let bytes = cell.value[..].try_into().map_err(|_| wrong(cell, "counters of eight bytes"))?;
    Ok(i64::from_be_bytes(bytes))
}

fn wrong(cell: &Cell, allowed: &'static str) -> LayoutError {
    let shown = |bytes: &Bytes| bytes.iter().take(60).flat_map(|b| std::ascii::escape_default(*b)).map(char::from).collect();
    let value: String = shown(&cell.value);
    LayoutError::Value { qualifier: shown(&cell.qualifier), found: format!("`{value}`"), allowed }
}

fn name(escaped: &str) -> Result<Name, LayoutError> {
    interned(&unescape(escaped))
}

fn interned(text: &str) -> Result<Name, LayoutError> {
    Name::intern(text).map_err(|e| LayoutError::Name(text.to_owned(), e.to_string()))
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if matches!(byte, b'%' | b':') || byte.is_ascii_control() {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        // Escaped are ASCII characters only; a `%` that escapes nothing is foreign and stays as it is.
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &after[2..];
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn quote(text: &str, pattern: &mut String) {
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
}

#[cfg(test)]
mod tests;
