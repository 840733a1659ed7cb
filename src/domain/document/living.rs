//! The living rows of each table, in the order documents show them (K6, M1).

use crate::domain::change::Value;
use crate::domain::decimal::Decimal;
use crate::domain::ids::Name;
use crate::domain::row::{Part, WideRow, child_key_parts};
use crate::domain::schema::{RowKind, Schema};
use smallvec::SmallVec;

/// What one value is ordered by; nothing comes first. A numeric column's text that is no number comes last, by bytes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKey<'a> {
    Nothing,
    Number(Decimal),
    Text(std::borrow::Cow<'a, str>),
}

impl<'a> SortKey<'a> {
    fn of(text: std::borrow::Cow<'a, str>, numeric: bool) -> Self {
        match numeric.then(|| Decimal::parse(&text)).flatten() {
            Some(number) => Self::Number(number),
            None => Self::Text(text),
        }
    }

    pub(super) fn of_value(value: Value<'a>, numeric: bool) -> Self {
        value.text().map_or(Self::Nothing, |text| Self::of(text.into(), numeric))
    }
}

type Parts<'a> = SmallVec<[&'a Part; 4]>;

/// One row's living parts, found and ordered once per table.
pub(super) struct Living<'a> {
    row: &'a WideRow,
    kind: &'a RowKind,
    schema: &'a Schema,
    tables: SmallVec<[(Name, Parts<'a>); 4]>,
}

impl<'a> Living<'a> {
    pub(super) fn new(row: &'a WideRow, kind: &'a RowKind, schema: &'a Schema) -> Self {
        Self { row, kind, schema, tables: SmallVec::new() }
    }

    /// A table's living rows by child key, ascending; numeric id columns compare as numbers.
    pub(super) fn of(&mut self, table: Name) -> &[&'a Part] {
        let at = match self.tables.iter().position(|(name, _)| *name == table) {
            Some(at) => at,
            None => {
                let mut parts: Parts<'a> = self.row.parts_of(table).filter(|p| p.is_alive()).collect();
                if parts.len() > 1 {
                    let numeric = self.numeric_ids(table);
                    parts.sort_by_cached_key(|part| child_sort_key(&part.id.child, &numeric));
                }
                self.tables.push((table, parts));
                self.tables.len() - 1
            }
        };
        &self.tables[at].1
    }

    fn numeric_ids(&self, table: Name) -> SmallVec<[bool; 2]> {
        let Some(used) = self.kind.table(table) else { return SmallVec::new() };
        let types = self.schema.table(used.table);
        used.id.iter().map(|column| types.column_type(*column).is_some_and(|t| t.is_numeric())).collect()
    }
}

fn child_sort_key(child: &str, numeric: &[bool]) -> SmallVec<[SortKey<'static>; 1]> {
    let parts = child_key_parts(child).into_iter().enumerate();
    parts.map(|(i, part)| SortKey::of(part.into(), numeric.get(i).copied().unwrap_or(false))).collect()
}
