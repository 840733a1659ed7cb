//! Cells and cell blocks: the form in which rows travel beside the messages (`KeyValueCodec`, without tags).
//!
//! A block is cells back to back, all numbers big endian: `u32` cell length, `u32` key length, `u32` value length, `u16` row
//! length, row, `u8` family length, family, qualifier (what remains of the key), `u64` timestamp, `u8` type, value.
//! Reading copies nothing: a cell's parts are slices of the block. Knows nothing of frames and calls.

use bytes::{Buf, Bytes};

/// Longest row key, in bytes.
pub const ROW_BYTES_MAX: usize = i16::MAX as usize;
/// Longest family name, in bytes.
pub const FAMILY_BYTES_MAX: usize = i8::MAX as usize;
/// The timestamp that stands for the server's clock at the time of the write.
pub const LATEST: i64 = i64::MAX;

/// Bytes of a key beside row, family and qualifier.
const KEY_FIXED: usize = 2 + 1 + 8 + 1;
/// Bytes of a cell beside key and value, its own length included.
const CELL_FIXED: usize = 4 + 4 + 4;
/// Longest qualifier and value that fit the format's signed 32-bit lengths with room to spare, in bytes.
const PART_BYTES_MAX: usize = 1 << 30;

/// What a cell does to the cells of its column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CellType {
    /// A value.
    Put = 4,
    /// Hides exactly its timestamp.
    Delete = 8,
    /// Hides a family's cells of exactly its timestamp.
    DeleteFamilyVersion = 10,
    /// Hides its column at and below its timestamp.
    DeleteColumn = 12,
    /// Hides its family at and below its timestamp.
    DeleteFamily = 14,
}

impl CellType {
    /// The type of this number on the wire.
    pub const fn from_wire(code: u8) -> Option<Self> {
        Some(match code {
            4 => Self::Put,
            8 => Self::Delete,
            10 => Self::DeleteFamilyVersion,
            12 => Self::DeleteColumn,
            14 => Self::DeleteFamily,
            _ => return None,
        })
    }
}

/// One cell as a server gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The key of its row.
    pub row: Bytes,
    pub family: Bytes,
    /// Its column's name within the family.
    pub qualifier: Bytes,
    /// What its writer said, or the server's clock in milliseconds.
    pub timestamp: i64,
    pub kind: CellType,
    /// Shares its memory with the reply it came in, like every part.
    pub value: Bytes,
}

/// Bytes that are no cell, or parts too long for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    #[error("the cell block ends inside a cell")]
    Torn,
    #[error("lengths of a cell contradict each other")]
    Lengths,
    #[error("{0} is not a cell type; known are 4, 8, 10, 12 and 14")]
    Type(u8),
    #[error("a row of {0} bytes; allowed are 1 to {ROW_BYTES_MAX}")]
    Row(usize),
    #[error("a family name of {0} bytes; allowed are 1 to {FAMILY_BYTES_MAX}")]
    Family(usize),
    #[error("a qualifier or value of {0} bytes; allowed are {PART_BYTES_MAX}")]
    Part(usize),
    #[error("timestamp {0} is negative")]
    Timestamp(i64),
}

/// Cells of one row as they will travel, written once and sent as often as needed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CellRun {
    bytes: Vec<u8>,
    count: u32,
}

impl CellRun {
    /// An empty run with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Appends one cell.
    ///
    /// # Errors
    /// A part is longer than HBase accepts, or the timestamp negative; the run is as it was.
    pub fn push(
        &mut self,
        row: &[u8],
        family: &[u8],
        qualifier: &[u8],
        timestamp: i64,
        kind: CellType,
        value: &[u8],
    ) -> Result<(), CellError> {
        check_row(row)?;
        if family.is_empty() || family.len() > FAMILY_BYTES_MAX {
            return Err(CellError::Family(family.len()));
        }
        if let Some(part) = [qualifier, value].into_iter().find(|part| part.len() > PART_BYTES_MAX) {
            return Err(CellError::Part(part.len()));
        }
        if timestamp < 0 {
            return Err(CellError::Timestamp(timestamp));
        }
        let key = KEY_FIXED + row.len() + family.len() + qualifier.len();
        let out = &mut self.bytes;
        out.reserve(CELL_FIXED + key + value.len());
        // The bounds above keep every length below 2^32, so no cast loses anything.
        out.extend_from_slice(&((8 + key + value.len()) as u32).to_be_bytes());
        out.extend_from_slice(&(key as u32).to_be_bytes());
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        out.extend_from_slice(&(row.len() as u16).to_be_bytes());
        out.extend_from_slice(row);
        out.push(family.len() as u8);
        out.extend_from_slice(family);
        out.extend_from_slice(qualifier);
        out.extend_from_slice(&timestamp.to_be_bytes());
        out.push(kind as u8);
        out.extend_from_slice(value);
        self.count += 1;
        Ok(())
    }

    /// Appends a cell that was read; what [`CellRun::push`] refuses is refused here too.
    ///
    /// # Errors
    /// As [`CellRun::push`].
    pub fn push_cell(&mut self, cell: &Cell) -> Result<(), CellError> {
        self.push(&cell.row, &cell.family, &cell.qualifier, cell.timestamp, cell.kind, &cell.value)
    }

    /// The cells' bytes, ready for a cell block.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many cells there are.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// A row key that HBase accepts.
///
/// # Errors
/// It is empty or too long.
pub fn check_row(row: &[u8]) -> Result<(), CellError> {
    if row.is_empty() || row.len() > ROW_BYTES_MAX { Err(CellError::Row(row.len())) } else { Ok(()) }
}

/// Takes cells off a block, front to back, without copying.
#[derive(Clone, Debug, Default)]
pub struct CellReader {
    block: Bytes,
}

impl CellReader {
    /// A reader at the front of a block.
    pub fn new(block: Bytes) -> Self {
        Self { block }
    }

    /// True when no byte is left.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The next cell; `None` at the end of the block.
    ///
    /// # Errors
    /// The bytes are no cell. The reader then stands where it stood.
    pub fn next_cell(&mut self) -> Result<Option<Cell>, CellError> {
        let block = &self.block;
        if block.is_empty() {
            return Ok(None);
        }
        let (total, key, value) = (number(block, 0)?, number(block, 4)?, number(block, 8)?);
        if total != 8 + key + value {
            return Err(CellError::Lengths);
        }
        if ((block.len() - 4) as u64) < total {
            return Err(CellError::Torn);
        }
        // The cell lies in the block from here on, so its lengths fit a usize.
        let (key, value) = (key as usize, value as usize);
        let row_at = CELL_FIXED + 2;
        let key_end = CELL_FIXED + key;
        let row_len = if key < KEY_FIXED { None } else { block.get(CELL_FIXED..row_at) };
        let row_end = row_at + row_len.map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let family_len = block.get(row_end).copied().filter(|_| row_len.is_some()).ok_or(CellError::Lengths)?;
        let family_end = row_end + 1 + usize::from(family_len);
        let qualifier_end = key_end - 9;
        if family_end > qualifier_end {
            return Err(CellError::Lengths);
        }
        let mut tail = &block[qualifier_end..key_end];
        let timestamp = tail.get_i64();
        let code = tail.get_u8();
        let kind = CellType::from_wire(code).ok_or(CellError::Type(code))?;
        let cell = Cell {
            row: block.slice(row_at..row_end),
            family: block.slice(row_end + 1..family_end),
            qualifier: block.slice(family_end..qualifier_end),
            timestamp,
            kind,
            value: block.slice(key_end..key_end + value),
        };
        self.block.advance(key_end + value);
        Ok(Some(cell))
    }

    /// The next `count` cells.
    ///
    /// # Errors
    /// As [`CellReader::next_cell`], and when the block holds fewer.
    pub fn take(&mut self, count: usize) -> Result<Vec<Cell>, CellError> {
        // A count is the other side's word: room is made only for what can lie in the bytes that are there.
        let mut cells = Vec::with_capacity(count.min(self.block.len() / (CELL_FIXED + KEY_FIXED)));
        for _ in 0..count {
            cells.push(self.next_cell()?.ok_or(CellError::Torn)?);
        }
        Ok(cells)
    }
}

/// Four bytes as a number, wide enough that sums of three cannot overflow.
fn number(block: &[u8], at: usize) -> Result<u64, CellError> {
    let bytes = block.get(at..at + 4).ok_or(CellError::Torn)?;
    Ok(u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Goal: the bytes are HBase's. Method: two cells against bytes made by hand from the format.
    #[test]
    fn cells_have_the_known_bytes() {
        let mut run = CellRun::default();
        run.push(b"r1", b"d", b"a.x", 42, CellType::Put, b"hi").unwrap();
        assert_eq!(run.bytes(), hex("0000001c 00000012 00000002 0002 7231 01 64 612e78 000000000000002a 04 6869"));
        let mut run = CellRun::default();
        run.push(b"r1", b"v", b"n", LATEST, CellType::Put, &1i64.to_be_bytes()).unwrap();
        assert_eq!(run.bytes(), hex("00000020 00000010 00000008 0002 7231 01 76 6e 7fffffffffffffff 04 0000000000000001"));
    }

    /// Goal: what HBase would refuse is refused before it is sent. Method: each bound, one step beyond.
    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let mut run = CellRun::default();
        let long = vec![b'x'; ROW_BYTES_MAX + 1];
        for (row, family, timestamp, error) in [
            (&b""[..], &b"f"[..], 1, CellError::Row(0)),
            (&long, b"f", 1, CellError::Row(ROW_BYTES_MAX + 1)),
            (b"r", b"", 1, CellError::Family(0)),
            (b"r", &long[..FAMILY_BYTES_MAX + 1], 1, CellError::Family(128)),
            (b"r", b"f", -1, CellError::Timestamp(-1)),
        ] {
            assert_eq!(run.push(row, family, b"q", timestamp, CellType::Put, b""), Err(error));
        }
        assert_eq!((run.count(), run.bytes().len()), (0, 0));
        run.push(&long[1..], &long[..FAMILY_BYTES_MAX], b"", 0, CellType::Delete, b"").unwrap();
        assert_eq!(run.count(), 1);
    }

    fn any_cell() -> impl Strategy<Value = Cell> {
        let kind = prop::sample::select(vec![
            CellType::Put,
            CellType::Delete,
            CellType::DeleteFamilyVersion,
            CellType::DeleteColumn,
            CellType::DeleteFamily,
        ]);
        let bytes = |range| prop::collection::vec(any::<u8>(), range).prop_map(Bytes::from);
        (bytes(1..40), bytes(1..9), bytes(0..40), 0..i64::MAX, kind, bytes(0..60))
            .prop_map(|(row, family, qualifier, timestamp, kind, value)| Cell { row, family, qualifier, timestamp, kind, value })
    }

    proptest! {
        /// Goal: reading undoes writing. Method: any cells in one block, taken off in two stretches.
        #[test]
        fn cells_come_back(cells in prop::collection::vec(any_cell(), 0..20), cut in 0usize..20) {
            let mut run = CellRun::default();
            for cell in &cells {
                run.push_cell(cell).unwrap();
            }
            prop_assert_eq!(run.count() as usize, cells.len());
            let cut = cut.min(cells.len());
            let mut reader = CellReader::new(Bytes::copy_from_slice(run.bytes()));
            let mut read = reader.take(cut).unwrap();
            read.extend(reader.take(cells.len() - cut).unwrap());
            prop_assert_eq!(read, cells);
            prop_assert!(reader.is_empty());
            prop_assert_eq!(reader.take(1), Err(CellError::Torn));
        }

        /// Goal: hostile bytes are an error, never a panic, and a count is not believed. Method: one good cell with any
        /// bytes changed or cut off, and any bytes at all.
        #[test]
        fn hostile_blocks_are_refused(cell in any_cell(), at in any::<prop::sample::Index>(), byte in any::<u8>(), keep in any::<prop::sample::Index>(), noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut run = CellRun::default();
            run.push_cell(&cell).unwrap();
            let mut bytes = run.bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(keep.index(bytes.len() + 1));
            for block in [bytes, noise] {
                let length = block.len();
                let mut reader = CellReader::new(Bytes::from(block));
                let mut taken = 0;
                while let Ok(Some(cell)) = reader.next_cell() {
                    taken += CELL_FIXED + KEY_FIXED + cell.row.len() + cell.family.len() + cell.qualifier.len() + cell.value.len();
                }
                prop_assert!(taken <= length);
                prop_assert!(reader.is_empty() || reader.take(usize::MAX).is_err());
            }
        }
    }
}
