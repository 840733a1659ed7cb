//! Names in Redis: asynq's own keys, ids that tell the row, and the few keys that are ours.
//!
//! asynq's keys begin with `asynq:{queue}:`, braces included, so that every key of one queue lies in one slot of a cluster.
//! Ours begin with `widerow:`. Ids and queue names keep to letters, digits and `_ . - ~`, because asynq's web page puts
//! them into paths.

use crate::domain::ids::{Name, RowKey};
use crate::domain::job::Lane;
use xxhash_rust::xxh3::xxh3_128;

/// Longest row in an id, in bytes: an id stays below 128 bytes, so its length is one byte in protobuf.
const ROW_BYTES_MAX: usize = 120;
const FIRST_SLOT: &str = "~0";

/// Letters, digits and `_ . -` as they are; every other byte as `~` and two hex digits.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => out.push(char::from(byte)),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('~');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// What [`escaped`] wrote; `None` for anything else.
pub fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'~' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// The id of a row's job where nothing else of the row is, which also names the row in the line's book; its follow-up's id
/// ends in 1. A row key too long is a hash, and then only the payload tells the row.
pub fn base(row: &RowKey) -> String {
    let mut base = escaped(row.as_str());
    if base.len() > ROW_BYTES_MAX {
        base = format!("~~{:032x}", xxh3_128(row.as_str().as_bytes()));
    }
    base.push_str(FIRST_SLOT);
    base
}

/// The row a base tells, unless it is a hash.
pub fn row_of(base: &str) -> Option<RowKey> {
    let row = base.strip_suffix(FIRST_SLOT)?;
    if row.starts_with("~~") { None } else { unescaped(row).map(|row| RowKey::new(&row)) }
}

/// The queues of all lines.
#[derive(Clone, Debug)]
pub struct Names {
    pattern: String,
    lanes: Vec<Name>,
}

impl Names {
    /// `pattern` holds `{line}` and `{lane}`.
    pub fn new(pattern: &str, lanes: Vec<Name>) -> Self {
        Self { pattern: pattern.to_owned(), lanes }
    }

    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Lanes by name, for scripts: records name lanes, because their order may change between two runs.
    pub fn lane(&self, lane: Lane) -> String {
        self.lanes.get(usize::from(lane.0)).map_or_else(String::new, |name| escaped(name.as_str()))
    }

    pub fn queue(&self, line: Name, lane: Lane) -> String {
        self.pattern.replace("{line}", &escaped(line.as_str())).replace("{lane}", &self.lane(lane))
    }

    /// Names a line's own keys: its queues' name without the lane.
    pub fn tag(&self, line: Name) -> String {
        self.pattern.replace("{line}", &escaped(line.as_str())).replace("{lane}", "~")
    }
}

/// `asynq:{queue}:`, to which asynq adds `pending`, `t:<id>` and so on.
pub fn prefix(queue: &str) -> String {
    format!("asynq:{{{queue}}}:")
}

/// Every queue's name; what is not in it does not exist for asynq's tools.
pub const QUEUES: &str = "asynq:queues";
/// Full names of server entries by when they end.
pub const SERVERS: &str = "asynq:servers";
pub const WORKERS: &str = "asynq:workers";
/// J11: names this life of the server's content.
pub const LIFE: &str = "widerow:life";

pub fn server(host: &str, pid: u32, id: &str) -> String {
    format!("asynq:servers:{{{host}:{pid}:{id}}}")
}

pub fn workers(host: &str, pid: u32, id: &str) -> String {
    format!("asynq:workers:{{{host}:{pid}:{id}}}")
}

/// asynq's lock of a unique task: a payload of no bytes at all (`nil` in Go) has no hash.
pub fn unique(queue: &str, kind: &str, payload: Option<&[u8]>) -> String {
    use md5::{Digest, Md5};
    let hash = payload.map(|payload| Md5::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    format!("{}unique:{kind}:{}", prefix(queue), hash.unwrap_or_default())
}

/// The records of jobs that carry this tag.
pub fn book(tag: &str) -> String {
    format!("widerow:{{{tag}}}:jobs")
}

/// K5: hashes of documents, before the number of the period they were put into.
pub fn documents(tag: &str) -> String {
    format!("widerow:{{{tag}}}:document:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Goal: the bytes asynq's tools look for. Method: keys as asynq 0.26 writes them.
    #[test]
    fn keys_are_asynqs() {
        let names = Names::new("{line}_{lane}", ["urgent", "bulk"].map(Name::of).to_vec());
        assert_eq!(names.queue(Name::of("order_search"), Lane(1)), "order_search_bulk");
        assert_eq!(names.queue(Name::of("a b/c"), Lane(0)), "a~20b~2Fc_urgent");
        assert_eq!(prefix("order_search_bulk"), "asynq:{order_search_bulk}:");
        assert_eq!(server("box", 7, "id"), "asynq:servers:{box:7:id}");
        assert_eq!(workers("box", 7, "id"), "asynq:workers:{box:7:id}");
        // From asynq's own tests of its key functions.
        let unique_of = |payload: Option<&[u8]>| unique("default", "email:send", payload);
        assert_eq!(unique_of(None), "asynq:{default}:unique:email:send:");
        assert_eq!(unique_of(Some(b"")), "asynq:{default}:unique:email:send:d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(unique_of(Some(b"a")), "asynq:{default}:unique:email:send:0cc175b9c0f1b6a831c399e269772661");
        assert_eq!(book(&names.tag(Name::of("x"))), "widerow:{x_~}:jobs");
    }

    /// Goal: ids stay short and tell rows apart. Method: rows around the limit.
    #[test]
    fn long_rows_become_hashes() {
        let row = |n: usize| RowKey::new(&"x".repeat(n));
        assert_eq!(row_of(&base(&row(120))), Some(row(120)));
        let long = base(&row(121));
        assert!(long.len() <= ROW_BYTES_MAX && row_of(&long).is_none() && long != base(&row(122)), "{long}");
    }

    proptest! {
        /// Goal: a base is fit for paths and tells its row. Method: any text there and back.
        #[test]
        fn bases_tell_their_rows(text in "\\PC{0,30}") {
            let base = base(&RowKey::new(&text));
            prop_assert!(base.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-~".contains(&b)));
            prop_assert!(base.starts_with("~~") || row_of(&base) == Some(RowKey::new(&text)));
        }
    }
}
