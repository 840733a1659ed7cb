//! Business lines: which changes matter to whom, on which lane, as which named types.
//!
//! Keeps C4's last sentence (life of a root row concerns every line) and 3-interfaces 3.2 `when`, `lanes`, `types`.

use super::document::Document;
use super::ids::Name;
use super::job::Lane;
use super::route::Touched;
use smallvec::SmallVec;

/// A business line, compiled.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: Name,
    /// The row kind it looks at.
    pub kind: Name,
    pub when: When,
    pub lanes: LaneRules,
    /// Named change types, told to the sink.
    pub types: Vec<(Name, Vec<Selector>)>,
    /// `None` for `queue_only` lines without a document.
    pub document: Option<Document>,
    pub delete: DeleteMode,
    /// K5.
    pub skip_equal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Any,
    Columns(Vec<Selector>),
}

/// `trade.orders.status` or `trade.order_item.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The table's short name.
    pub table: Name,
    /// `None` is `*`.
    pub column: Option<Name>,
}

/// Which lane a change asks for; the most urgent rule that holds wins.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LaneRules {
    pub default: Lane,
    pub by_column: Vec<(Lane, Vec<Selector>)>,
    /// Insert of the root row, not by a snapshot.
    pub first_seen: Option<Lane>,
    pub snapshot: Option<Lane>,
}

/// K4: what a dead entity does to its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeleteMode {
    #[default]
    Delete,
    /// A small document with `_deleted: true`.
    Tombstone,
    Ignore,
}

/// A line wants to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub lane: Lane,
    pub types: SmallVec<[Name; 2]>,
}

impl Line {
    /// Whether this change is the line's business, and how urgent.
    pub fn wants(&self, touched: &Touched) -> Option<Wanted> {
        let matters = touched.life
            || match &self.when {
                When::Any => true,
                When::Columns(selectors) => selectors.iter().any(|s| s.matches(touched)),
            };
        if !matters {
            return None;
        }
        let types = self.types.iter().filter(|(_, s)| s.iter().any(|s| s.matches(touched))).map(|(name, _)| *name);
        Some(Wanted { lane: self.lanes.lane(touched), types: types.collect() })
    }
}

impl Selector {
    pub fn matches(&self, touched: &Touched) -> bool {
        touched.table == Some(self.table)
            && match self.column {
                None => touched.all || !touched.columns.is_empty(),
                Some(column) => touched.all || touched.columns.contains(&column),
            }
    }
}

impl LaneRules {
    fn lane(&self, touched: &Touched) -> Lane {
        if touched.snapshot {
            return self.snapshot.unwrap_or(self.default);
        }
        let by_column =
            self.by_column.iter().filter(|(_, selectors)| selectors.iter().any(|s| s.matches(touched))).map(|(lane, _)| *lane);
        let first_seen = self.first_seen.filter(|_| touched.first_seen);
        by_column.chain(first_seen).min().unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests;
