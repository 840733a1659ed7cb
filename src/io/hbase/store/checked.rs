//! What must hold of a row when a checked write or a purge reaches the server.
//!
//! A condition of HBase looks at one cell, or asks whether a filtered read of the row finds anything. "No cell of this table
//! row has come since it was read" is the second: the row is found whole unless one of its cells belongs to the table row and
//! has another stamp than those that were read; stamps only rise, so the highest is still the highest (C5, R3). A purge looks
//! at one cell, its tombstone: as long as that one holds the time it was read with, nobody deleted the table row again or
//! revoked the delete, and what a delete marker at its stamp hides was dead (M5). A dead cell that arrived meanwhile is
//! hidden with the others, and the base takes over no less than its weight (V3).

use super::layout::{self, LayoutError, OWN_FAMILY};
use crate::domain::row::{Part, PartId, Purged, Tombstone, WideRow, moved_mark};
use crate::domain::schema::VersionKind;
use crate::domain::version::weight_of;
use crate::io::hbase::cell::CellType;
use crate::io::hbase::types::{CheckAndMutate, Compare, Condition, Durability, Filter, RowMutations};
use bytes::Bytes;
use prost::Message;

const PACKAGE: &str = "org.apache.hadoop.hbase.filter.";
/// The comparison that lets through what does *not* compare equal.
const NOT_EQUAL: i32 = 3;
/// One of a list's filters must let a cell through.
const MUST_PASS_ONE: i32 = 2;

/// `Filter.proto` and `Comparator.proto`, as far as they are used here.
mod wire {
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Named {
        #[prost(string, required, tag = "1")]
        pub name: String,
        #[prost(bytes = "bytes", optional, tag = "2")]
        pub serialized: Option<Bytes>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct CompareFilter {
        #[prost(int32, required, tag = "1")]
        pub compare: i32,
        #[prost(message, optional, tag = "2")]
        pub comparator: Option<Named>,
    }
    /// `FamilyFilter` and `QualifierFilter`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Comparing {
        #[prost(message, required, tag = "1")]
        pub compare: CompareFilter,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct FilterList {
        #[prost(int32, required, tag = "1")]
        pub operator: i32,
        #[prost(message, repeated, tag = "2")]
        pub filters: Vec<Named>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SkipFilter {
        #[prost(message, required, tag = "1")]
        pub filter: Named,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimestampsFilter {
        #[prost(int64, repeated, tag = "1")]
        pub timestamps: Vec<i64>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct BinaryComparator {
        #[prost(message, required, tag = "1")]
        pub comparable: Comparable,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Comparable {
        #[prost(bytes = "bytes", optional, tag = "1")]
        pub value: Option<Bytes>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RegexComparator {
        #[prost(string, required, tag = "1")]
        pub pattern: String,
        #[prost(int32, required, tag = "2")]
        pub flags: i32,
        #[prost(string, required, tag = "3")]
        pub charset: String,
    }
}

fn named(class: &str, message: &impl Message) -> wire::Named {
    wire::Named { name: format!("{PACKAGE}{class}"), serialized: Some(message.encode_to_vec().into()) }
}

fn differs(class: &str, comparator: wire::Named) -> wire::Named {
    let compare = wire::CompareFilter { compare: NOT_EQUAL, comparator: Some(comparator) };
    named(class, &wire::Comparing { compare })
}

/// Nothing of this table row has another stamp than those it was read with (`held`).
pub fn unchanged(family: &Bytes, part: &PartId, held: Option<&Part>) -> Condition {
    let comparable = wire::Comparable { value: Some(family.clone()) };
    let of_family = named("BinaryComparator", &wire::BinaryComparator { comparable });
    let pattern = layout::part_pattern(part);
    let of_part = named("RegexStringComparator", &wire::RegexComparator { pattern, flags: 0, charset: "UTF-8".into() });
    let mut filters = vec![differs("FamilyFilter", of_family), differs("QualifierFilter", of_part)];
    let cells = held.iter().flat_map(|held| held.cells.iter().map(|cell| cell.stamp));
    let tombstone = held.and_then(|held| held.tombstone).map(|tombstone| tombstone.stamp);
    let mut timestamps: Vec<i64> = cells.chain(tombstone).map(|stamp| stamp.0).collect();
    timestamps.sort_unstable();
    timestamps.dedup();
    if !timestamps.is_empty() {
        filters.push(named("TimestampsFilter", &wire::TimestampsFilter { timestamps }));
    }
    let list = named("FilterList", &wire::FilterList { operator: MUST_PASS_ONE, filters });
    let whole = wire::SkipFilter { filter: list };
    let filter = Filter { class: format!("{PACKAGE}SkipFilter"), serialized: whole.encode_to_vec().into() };
    Condition::Filter { filter, time_range: None }
}

/// Removes what a tombstone covers, and it, and the marks of moves out of its table row, as long as it stands as it was read;
/// with what went.
///
/// # Errors
/// A row that cannot have been written.
pub fn purge(
    family: &Bytes,
    row: &Bytes,
    held: &WideRow,
    part: &Part,
    tombstone: Tombstone,
    version: VersionKind,
) -> Result<(CheckAndMutate, Purged), LayoutError> {
    let mut purged = Purged { tombstones: 1, ..Purged::default() };
    let mut mutations = RowMutations::new(row.clone())?;
    let mut qualifier = Vec::new();
    let stamp = layout::timestamp(tombstone.stamp)?;
    for cell in part.cells.iter().filter(|cell| cell.stamp <= tombstone.stamp) {
        layout::qualifier_of(&part.id, cell.name, &mut qualifier);
        // All versions at or below the stamp: an older one that hides behind the newest would come out of its shadow.
        mutations.delete(Durability::Sync, CellType::DeleteColumn, family, &qualifier, stamp)?;
        purged.cells += 1;
    }
    layout::tombstone_qualifier(&part.id, &mut qualifier);
    mutations.delete(Durability::Sync, CellType::DeleteColumn, family, &qualifier, stamp)?;
    let own = OWN_FAMILY.as_bytes();
    let moved = moved_mark(part.id.table, &part.id.child, "");
    for (name, at) in held.marks.iter().filter(|(name, _)| name.starts_with(&moved)) {
        let (qualifier, at) = (layout::mark_qualifier(name)?, layout::mark_timestamp(*at)?);
        mutations.delete(Durability::Sync, CellType::DeleteColumn, own, qualifier, at)?;
        purged.marks += 1;
    }
    let base = match version {
        VersionKind::Weight => weight_of(tombstone.stamp).saturating_mul(purged.cells as i64 + 1),
        VersionKind::Counter => 1,
    };
    mutations.increment(Durability::Sync, own, layout::BASE, base)?;
    let condition = Condition::Value {
        family: family.clone(),
        qualifier: qualifier.into(),
        compare: Compare::Equal,
        value: layout::tombstone_value(tombstone).into(),
        time_range: None,
    };
    Ok((CheckAndMutate { condition, mutations }, purged))
}
