//! Server-side filters, as far as anybody here sends them: lists, families, qualifiers, timestamps, whole rows.

use super::calls::decode;
use super::world::Fail;
use bytes::Bytes;
use prost::Message;
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::pb;

#[derive(Clone, PartialEq, Message)]
struct FilterList {
    /// MUST_PASS_ALL 1, MUST_PASS_ONE 2.
    #[prost(int32, required, tag = "1")]
    operator: i32,
    #[prost(message, repeated, tag = "2")]
    filters: Vec<pb::Filter>,
}

#[derive(Clone, PartialEq, Message)]
struct SkipFilter {
    #[prost(message, required, tag = "1")]
    filter: pb::Filter,
}

#[derive(Clone, PartialEq, Message)]
struct TimestampsFilter {
    #[prost(int64, repeated, tag = "1")]
    timestamps: Vec<i64>,
}

/// `FamilyFilter` and `QualifierFilter`.
#[derive(Clone, PartialEq, Message)]
struct Comparing {
    #[prost(message, required, tag = "1")]
    compare: CompareFilter,
}

#[derive(Clone, PartialEq, Message)]
struct CompareFilter {
    /// EQUAL 2, NOT_EQUAL 3.
    #[prost(int32, required, tag = "1")]
    operator: i32,
    #[prost(message, optional, tag = "2")]
    comparator: Option<pb::Comparator>,
}

#[derive(Clone, PartialEq, Message)]
struct RegexComparator {
    #[prost(string, required, tag = "1")]
    pattern: String,
    #[prost(int32, required, tag = "2")]
    flags: i32,
}

/// What a filter leaves of a row.
pub fn left(filter: &pb::Filter, cells: Vec<Cell>) -> Result<Vec<Cell>, Fail> {
    if last(&filter.name) != "SkipFilter" {
        let passes = passing(filter)?;
        return Ok(cells.into_iter().filter(|cell| passes(cell)).collect());
    }
    let skip: SkipFilter = decode(&serialized(filter))?;
    let passes = passing(&skip.filter)?;
    Ok(if cells.iter().all(passes) { cells } else { Vec::new() })
}

type Passes = Box<dyn Fn(&Cell) -> bool>;
type Fits = Box<dyn Fn(&[u8]) -> bool>;

fn passing(filter: &pb::Filter) -> Result<Passes, Fail> {
    let bytes = serialized(filter);
    Ok(match last(&filter.name) {
        "FilterList" => {
            let list: FilterList = decode(&bytes)?;
            let parts = list.filters.iter().map(passing).collect::<Result<Vec<_>, _>>()?;
            let one = list.operator == 2;
            Box::new(move |cell| if one { parts.iter().any(|p| p(cell)) } else { parts.iter().all(|p| p(cell)) })
        }
        "TimestampsFilter" => {
            let wanted: TimestampsFilter = decode(&bytes)?;
            Box::new(move |cell| wanted.timestamps.contains(&cell.timestamp))
        }
        "FamilyFilter" => {
            let fits = comparing(&bytes)?;
            Box::new(move |cell| fits(&cell.family))
        }
        "QualifierFilter" => {
            let fits = comparing(&bytes)?;
            Box::new(move |cell| fits(&cell.qualifier))
        }
        _ => return Err(Fail::new("DoNotRetryIOException", format!("the filter {} is not known here", filter.name))),
    })
}

fn comparing(bytes: &Bytes) -> Result<Fits, Fail> {
    let unknown = |what: String| Fail::new("DoNotRetryIOException", format!("{what} is not known here"));
    let compare = decode::<Comparing>(bytes)?.compare;
    let wants = match compare.operator {
        2 => true,
        3 => false,
        other => return Err(unknown(format!("comparison {other}"))),
    };
    let comparator = compare.comparator.unwrap_or_default();
    let serialized = comparator.serialized_comparator.clone().unwrap_or_default();
    match last(&comparator.name) {
        "BinaryComparator" => {
            let value = decode::<pb::BinaryComparator>(&serialized)?.comparable.value.unwrap_or_default();
            Ok(Box::new(move |found| (*found == value[..]) == wants))
        }
        "RegexStringComparator" => {
            let pattern = decode::<RegexComparator>(&serialized)?.pattern;
            let regex = regex_lite::Regex::new(&pattern).map_err(|e| unknown(format!("pattern {pattern}: {e}")))?;
            Ok(Box::new(move |found| std::str::from_utf8(found).is_ok_and(|text| regex.is_match(text)) == wants))
        }
        _ => Err(unknown(comparator.name)),
    }
}

fn last(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

fn serialized(filter: &pb::Filter) -> Bytes {
    filter.serialized_filter.clone().unwrap_or_default()
}
