//! One wide row as one packed value.
//!
//! ```text
//! 1                                   the format's version
//! base, counter                       zigzag varints
//! keys     n × (name, value)          value: length + 1 and bytes; 0 is SQL null
//! marks    n × (text, stamp)
//! parts    n × (table, child key, flags, [tombstone stamp, written], cells)
//! cells    n × (name, [stamp], value) the stamp only where flag SAME_STAMP is not set; else once before the cells
//! ```
//!
//! Names are numbers of the dictionary (`names.rs`). Stamps are zigzag differences to the stamp before them, over the
//! whole value, because a row's stamps lie close together. Values are the canonical text of C2; absent columns are
//! simply not there (C1), so rows written under another set of columns read as they are.

use super::codec::{Malformed, Packer, Unpacker};
use super::names::Dictionary;
use crate::domain::change::Value;
use crate::domain::ids::{Millis, Name, Stamp};
use crate::domain::row::{Cell, Cells, Part, PartId, Tombstone, WideRow};

const VERSION: u8 = 1;
const TOMBSTONE: u8 = 1;
const REVOKED: u8 = 2;
const SAME_STAMP: u8 = 4;

/// Packs a row; `number` gives each name its number.
pub(super) fn pack(row: &WideRow, mut number: impl FnMut(Name) -> u32) -> Vec<u8> {
    let text: usize = row.parts.iter().map(|p| p.cells.text_bytes() + p.cells.len() * 4 + p.id.child.len() + 8).sum();
    let mut out = Packer::with_capacity(text + row.keys.text_bytes() + 32);
    out.byte(VERSION);
    out.signed(row.base);
    out.signed(row.counter);
    out.varint(row.keys.len() as u64);
    for (name, value) in row.keys.iter() {
        out.varint(u64::from(number(name)));
        out.optional_bytes(value.text().map(str::as_bytes));
    }
    let mut stamps = Stamps(0);
    out.varint(row.marks.len() as u64);
    for (name, stamp) in &row.marks {
        out.text(name);
        stamps.pack(*stamp, &mut out);
    }
    out.varint(row.parts.len() as u64);
    for part in &row.parts {
        pack_part(part, &mut stamps, &mut number, &mut out);
    }
    out.0
}

fn pack_part(part: &Part, stamps: &mut Stamps, number: &mut impl FnMut(Name) -> u32, out: &mut Packer) {
    out.varint(u64::from(number(part.id.table)));
    out.text(&part.id.child);
    let first = part.cells.iter().next().map(|c| c.stamp);
    let same = part.cells.iter().all(|c| Some(c.stamp) == first);
    let flags = if part.tombstone.is_some() { TOMBSTONE } else { 0 }
        | if part.tombstone.is_some_and(|t| t.revoked) { REVOKED } else { 0 }
        | if same { SAME_STAMP } else { 0 };
    out.byte(flags);
    if let Some(tombstone) = part.tombstone {
        stamps.pack(tombstone.stamp, out);
        out.signed(tombstone.written.0);
    }
    out.varint(part.cells.len() as u64);
    if let Some(first) = first.filter(|_| same) {
        stamps.pack(first, out);
    }
    for cell in part.cells.iter() {
        out.varint(u64::from(number(cell.name)));
        if !same {
            stamps.pack(cell.stamp, out);
        }
        out.optional_bytes(cell.value.map(str::as_bytes));
    }
}

/// Reads a packed row.
///
/// # Errors
/// [`Malformed`] for bytes that [`pack`] did not write.
pub(super) fn unpack(bytes: &[u8], names: &Dictionary) -> Result<WideRow, Malformed> {
    let mut from = Unpacker::new(bytes);
    if from.byte()? != VERSION {
        return Err(Malformed("the row has a format we do not know"));
    }
    let mut row = WideRow { base: from.signed()?, counter: from.signed()?, ..WideRow::default() };
    let keys = from.count()?;
    for _ in 0..keys {
        let name = names.name(from.varint()?)?;
        row.keys.set(name, from.optional_text()?.map_or(Value::Null, Value::Text));
    }
    let mut stamps = Stamps(0);
    for _ in 0..from.count()? {
        let name = from.text()?.to_owned();
        row.marks.push((name, stamps.unpack(&mut from)?));
    }
    let parts = from.count()?;
    row.parts.reserve_exact(parts);
    for _ in 0..parts {
        row.parts.push(unpack_part(&mut from, &mut stamps, names)?);
    }
    from.end()?;
    // Names are ordered by when this process first met them; the process that wrote the row may have met them otherwise.
    if !row.parts.is_sorted_by(|a, b| a.id < b.id) {
        row.parts.sort_by(|a, b| a.id.cmp(&b.id));
        if row.parts.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(Malformed("a table row stands in it twice"));
        }
    }
    Ok(row)
}

fn unpack_part(from: &mut Unpacker<'_>, stamps: &mut Stamps, names: &Dictionary) -> Result<Part, Malformed> {
    let table = names.name(from.varint()?)?;
    let mut part = Part::new(PartId { table, child: from.text()?.into() });
    let flags = from.byte()?;
    if flags & !(TOMBSTONE | REVOKED | SAME_STAMP) != 0 {
        return Err(Malformed("a table row has unknown flags"));
    }
    if flags & TOMBSTONE != 0 {
        let stamp = stamps.unpack(from)?;
        part.tombstone = Some(Tombstone { stamp, written: Millis(from.signed()?), revoked: flags & REVOKED != 0 });
    }
    let count = from.count()?;
    let same = if flags & SAME_STAMP != 0 && count > 0 { Some(stamps.unpack(from)?) } else { None };
    let mut cells: Vec<Cell<'_>> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = names.name(from.varint()?)?;
        let stamp = same.map_or_else(|| stamps.unpack(from), Ok)?;
        cells.push(Cell { name, stamp, value: from.optional_text()? });
    }
    if !cells.is_sorted_by_key(|c| c.name) {
        cells.sort_by_key(|c| c.name);
    }
    part.cells = Cells::with_capacity(count, cells.iter().filter_map(|c| c.value).map(str::len).sum());
    cells.into_iter().for_each(|cell| part.cells.push(cell));
    Ok(part)
}

/// The stamp before, which the next one is told against.
struct Stamps(i64);

impl Stamps {
    fn pack(&mut self, stamp: Stamp, out: &mut Packer) {
        out.signed(stamp.0.wrapping_sub(self.0));
        self.0 = stamp.0;
    }

    fn unpack(&mut self, from: &mut Unpacker<'_>) -> Result<Stamp, Malformed> {
        self.0 = self.0.wrapping_add(from.signed()?);
        Ok(Stamp(self.0))
    }
}
