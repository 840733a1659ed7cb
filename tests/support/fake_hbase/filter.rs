//! Filters of a read, as far as widerow sends them: whole rows by what every cell of them is.
//!
//! `SkipFilter` (a row with one cell that does not pass is not found), `FilterList` of one that must pass, `FamilyFilter`,
//! `QualifierFilter` by bytes or by the simplest of patterns, `TimestampsFilter`.

use prost::Message;
use widerow::io::hbase::cell::Cell;

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    serialized: Vec<u8>,
}
#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    operator: i32,
    #[prost(message, optional, tag = "2")]
    comparator: Option<Named>,
}
#[derive(Clone, PartialEq, Message)]
struct Comparing {
    #[prost(message, optional, tag = "1")]
    compare: Option<Compare>,
}
#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(int32, tag = "1")]
    operator: i32,
    #[prost(message, repeated, tag = "2")]
    filters: Vec<Named>,
}
#[derive(Clone, PartialEq, Message)]
struct Skip {
    #[prost(message, optional, tag = "1")]
    filter: Option<Named>,
}
#[derive(Clone, PartialEq, Message)]
struct Timestamps {
    #[prost(int64, repeated, tag = "1")]
    timestamps: Vec<i64>,
}
#[derive(Clone, PartialEq, Message)]
struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    value: Vec<u8>,
}
#[derive(Clone, PartialEq, Message)]
struct Binary {
    #[prost(message, optional, tag = "1")]
    comparable: Option<Bytes>,
}
#[derive(Clone, PartialEq, Message)]
struct Regex {
    #[prost(string, tag = "1")]
    pattern: String,
}

/// What a filter leaves of a row's cells, or what of it is not known here.
pub fn rest_of(name: &str, serialized: &[u8], cells: Vec<Cell>) -> Result<Vec<Cell>, String> {
    if name.rsplit('.').next() != Some("SkipFilter") {
        return Err(name.to_owned());
    }
    let inner = read::<Skip>(serialized)?.filter.unwrap_or_default();
    for cell in &cells {
        if !passes(&inner, cell)? {
            return Ok(Vec::new());
        }
    }
    Ok(cells)
}

fn passes(filter: &Named, cell: &Cell) -> Result<bool, String> {
    Ok(match filter.name.rsplit('.').next().unwrap_or_default() {
        "FilterList" => {
            let list: List = read(&filter.serialized)?;
            if list.operator != 2 {
                return Err("a list of filters that must all pass".to_owned());
            }
            let mut passed = false;
            for filter in &list.filters {
                passed |= passes(filter, cell)?;
            }
            passed
        }
        "FamilyFilter" => differs(&filter.serialized, &cell.family)?,
        "QualifierFilter" => differs(&filter.serialized, &cell.qualifier)?,
        "TimestampsFilter" => read::<Timestamps>(&filter.serialized)?.timestamps.contains(&cell.timestamp),
        other => return Err(other.to_owned()),
    })
}

fn differs(serialized: &[u8], part: &[u8]) -> Result<bool, String> {
    let compare = read::<Comparing>(serialized)?.compare.unwrap_or_default();
    if compare.operator != 3 {
        return Err(format!("comparison {}", compare.operator));
    }
    let comparator = compare.comparator.unwrap_or_default();
    Ok(match comparator.name.rsplit('.').next().unwrap_or_default() {
        "BinaryComparator" => read::<Binary>(&comparator.serialized)?.comparable.unwrap_or_default().value != part,
        "RegexStringComparator" => !finds(&read::<Regex>(&comparator.serialized)?.pattern, &String::from_utf8_lossy(part))?,
        other => return Err(other.to_owned()),
    })
}

/// `^`, escaped letters, `[^:]*` once, `\z`.
fn finds(pattern: &str, text: &str) -> Result<bool, String> {
    let parts = pattern.strip_prefix('^').and_then(|p| p.strip_suffix("\\z")).and_then(|p| p.split_once("[^:]*"));
    let (head, tail) = parts.ok_or_else(|| pattern.to_owned())?;
    let plain = |text: &str| {
        let mut out = String::new();
        let mut letters = text.chars();
        while let Some(c) = letters.next() {
            out.extend(if c == '\\' { letters.next() } else { Some(c) });
        }
        out
    };
    let rest = text.strip_prefix(&plain(head)).and_then(|rest| rest.strip_suffix(&plain(tail)));
    Ok(rest.is_some_and(|between| !between.contains(':')))
}

fn read<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|e| e.to_string())
}
