//! Where things lie: the table and row of an entity and of a value beside the rows, and how tables are cut.
//!
//! A table name with `{row}` gives each row kind its own table, and one more for the values beside the rows; their row keys
//! are the entities' keys as they are. Without it all share one table, and a row's key begins with its kind and `/`; the
//! values beside the rows, which are of no kind, begin with `/`. So a scan tells kinds apart without reading a cell.
//!
//! HBase refuses the empty row key: in a table of one kind, an empty key and one that begins with a zero byte get a zero byte
//! in front, which keeps their order. Knows nothing of cells.

use crate::domain::ids::{Name, RowId, RowKey};
use crate::domain::schema::Schema;
use crate::domain::template::{Spread, Template};
use crate::io::hbase::cell::ROW_BYTES_MAX;
use crate::io::hbase::types::{TableName, TableNameError};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Stands for the row kind in a table name.
const ROW_KIND: &str = "{row}";
/// What stands there for the values beside the rows; no row kind begins so.
const BESIDE: &str = "_meta";
/// Between kind and key in a shared table. [`AFTER_MARK`] is the next byte.
const MARK: char = '/';
const AFTER_MARK: char = '0';
/// Regions of a new table, at most: the master opens them one by one.
const REGIONS_MAX: u32 = 4096;

/// A table and a row in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub table: TableName,
    pub row: Bytes,
}

/// What a key cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error(transparent)]
    Table(#[from] TableNameError),
    #[error("its key has {0} bytes; HBase takes {ROW_BYTES_MAX}")]
    TooLong(usize),
    #[error("row key {0:?} of its table is none that widerow writes")]
    Foreign(Bytes),
}

/// A stretch of a table: start included, stop not included, empty for the table's ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub table: TableName,
    pub start: Bytes,
    pub stop: Bytes,
}

/// Which tables there are.
#[derive(Clone, Debug)]
pub struct Tables {
    template: String,
    shared: Option<TableName>,
    beside: TableName,
    kinds: BTreeMap<Name, TableName>,
}

impl Tables {
    /// `template` as configured, `schema` for the kinds.
    ///
    /// # Errors
    /// A name that HBase does not take.
    pub fn new(template: &str, schema: &Schema) -> Result<Self, TableNameError> {
        let shared = if template.contains(ROW_KIND) { None } else { Some(TableName::parse(template)?) };
        let beside = TableName::parse(&template.replace(ROW_KIND, BESIDE))?;
        let named = |kind: Name| Ok((kind, TableName::parse(&template.replace(ROW_KIND, kind.as_str()))?));
        let kinds = schema.kinds.iter().map(|kind| named(kind.name)).collect::<Result<_, _>>()?;
        Ok(Self { template: template.to_owned(), shared, beside, kinds })
    }

    /// The table of the values beside the rows.
    pub fn beside(&self) -> &TableName {
        &self.beside
    }

    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The table of a row kind, configured or not.
    ///
    /// # Errors
    /// No table can be named after it.
    pub fn of(&self, kind: Name) -> Result<TableName, PlaceError> {
        if let Some(table) = self.shared.as_ref().or_else(|| self.kinds.get(&kind)) {
            return Ok(table.clone());
        }
        Ok(TableName::parse(&self.template.replace(ROW_KIND, kind.as_str()))?)
    }

    /// Where an entity's row lies.
    ///
    /// # Errors
    /// Its key is too long, or no table can be named after its kind.
    pub fn place(&self, row: &RowId) -> Result<Place, PlaceError> {
        Ok(Place { table: self.of(row.kind)?, row: checked(self.key(Some(row.kind), row.key.as_str()))? })
    }

    /// Where a value beside the rows lies.
    ///
    /// # Errors
    /// Its key is too long.
    pub fn place_beside(&self, key: &str) -> Result<Place, PlaceError> {
        Ok(Place { table: self.beside.clone(), row: checked(self.key(None, key))? })
    }

    /// The rows of a kind from `from` to `to`; `None`: there can be none.
    ///
    /// # Errors
    /// No table can be named after the kind.
    pub fn stretch(&self, kind: Name, from: Option<&RowKey>, to: Option<&RowKey>) -> Result<Option<Stretch>, PlaceError> {
        let table = self.of(kind)?;
        let start = from.map(|from| self.key(Some(kind), from.as_str()));
        let start = start.unwrap_or_else(|| if self.is_shared() { self.key(Some(kind), "") } else { Bytes::new() });
        let stop = match to {
            Some(to) => self.key(Some(kind), to.as_str()),
            None if self.is_shared() => format!("{kind}{AFTER_MARK}").into(),
            None => Bytes::new(),
        };
        let none = start >= stop && (to.is_some() || self.is_shared());
        Ok((!none).then_some(Stretch { table, start, stop }))
    }

    /// The entity's key of a row that a stretch of its kind holds.
    ///
    /// # Errors
    /// Somebody else wrote it.
    pub fn key_of(&self, kind: Name, row: &Bytes) -> Result<RowKey, PlaceError> {
        let foreign = || PlaceError::Foreign(row.clone());
        let text = std::str::from_utf8(row).map_err(|_| foreign())?;
        let key = if self.is_shared() {
            text.strip_prefix(kind.as_str()).and_then(|rest| rest.strip_prefix(MARK))
        } else {
            Some(text.strip_prefix('\0').unwrap_or(text))
        };
        key.map(RowKey::new).ok_or_else(foreign)
    }

    fn key(&self, kind: Option<Name>, key: &str) -> Bytes {
        let front = match (self.is_shared(), kind) {
            (true, Some(kind)) => return format!("{kind}{MARK}{key}").into(),
            (true, None) => return format!("{MARK}{key}").into(),
            (false, _) if key.is_empty() || key.starts_with('\0') => "\0",
            (false, _) => "",
        };
        format!("{front}{key}").into()
    }

    /// Where new tables are cut so that each has about `regions` regions, by what the kinds' keys begin with. A kind whose
    /// keys tell nothing gets one region, which HBase cuts as it grows.
    pub fn splits(&self, schema: &Schema, regions: u32) -> BTreeMap<TableName, Vec<Bytes>> {
        let regions = regions.clamp(1, REGIONS_MAX);
        let mut out: BTreeMap<TableName, Vec<Bytes>> = BTreeMap::from([(self.beside.clone(), Vec::new())]);
        let Some(shared) = &self.shared else {
            for (kind, table) in schema.kinds.iter().filter_map(|k| Some((k, self.kinds.get(&k.name)?))) {
                out.insert(table.clone(), cuts(&kind.key, regions).into_iter().map(Bytes::from).collect());
            }
            return out;
        };
        let each = (regions / (schema.kinds.len().max(1) as u32)).max(1);
        let all = out.entry(shared.clone()).or_default();
        for kind in &schema.kinds {
            let front = format!("{}{MARK}", kind.name);
            all.extend(cuts(&kind.key, each).into_iter().map(|cut| Bytes::from(format!("{front}{cut}"))));
            all.push(front.into());
        }
        all.sort_unstable();
        out
    }
}

fn checked(row: Bytes) -> Result<Bytes, PlaceError> {
    if row.len() > ROW_BYTES_MAX { Err(PlaceError::TooLong(row.len())) } else { Ok(row) }
}

/// The keys at which a kind's rows are cut into this many parts.
fn cuts(key: &Template, parts: u32) -> Vec<String> {
    let Some((front, spread)) = key.spread() else { return Vec::new() };
    let cut = |part: u32| match spread {
        Spread::Decimal => format!("{front}{:04}", part * 10_000 / parts),
        Spread::Hex => format!("{front}{:04x}", part * 65_536 / parts),
    };
    (1..parts).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::{name, row_id, shop};
    use crate::domain::schema::VersionKind;
    use proptest::prelude::*;

    fn tables(template: &str) -> Tables {
        Tables::new(template, &shop(VersionKind::Weight)).unwrap()
    }

    /// Goal: who reads the tables finds rows by their plain keys. Method: a table of places for both shapes.
    #[test]
    fn rows_lie_where_their_keys_say() {
        for (template, id, table, row) in [
            ("widerow_{row}", row_id("order", "4711:4711"), "widerow_order", "4711:4711"),
            ("shop:{row}", row_id("order", ""), "shop:order", "\0"),
            ("shop:{row}", row_id("new", "\0x"), "shop:new", "\0\0x"),
            ("wide", row_id("order", "4711:4711"), "wide", "order/4711:4711"),
            ("wide", row_id("order", ""), "wide", "order/"),
        ] {
            let tables = tables(template);
            let place = tables.place(&id).unwrap();
            assert_eq!((place.table.to_string().as_str(), &place.row[..]), (table, row.as_bytes()), "{template} {id}");
            assert_eq!(tables.key_of(id.kind, &place.row), Ok(id.key));
        }
        assert_eq!(tables("w_{row}").place_beside("format").unwrap().table.to_string(), "w__meta");
        assert_eq!(tables("wide").place_beside("format").unwrap().row, "/format");
        let long = "x".repeat(ROW_BYTES_MAX + 1);
        assert_eq!(tables("w_{row}").place(&row_id("order", &long)), Err(PlaceError::TooLong(ROW_BYTES_MAX + 1)));
        assert!(Tables::new("wide{row}!", &shop(VersionKind::Weight)).is_err());
        assert!(tables("wide").key_of(name("order"), &Bytes::from_static(b"other/1")).is_err());
    }

    proptest! {
        /// Goal: a scan's bounds mean the same in keys and in rows, and no other kind lies between. Method: random keys.
        #[test]
        fn rows_are_in_key_order(a in "[\\x00-\\x02/0a:门]{0,3}", b in "[\\x00-\\x02/0a:门]{0,3}", kind in "order[2/0]?", shared in any::<bool>()) {
            let tables = tables(if shared { "wide" } else { "w_{row}" });
            let place = |kind: &str, key: &str| tables.place(&row_id(kind, key)).unwrap().row;
            prop_assert_eq!(a.cmp(&b), place("order", &a).cmp(&place("order", &b)));
            let (from, to) = (RowKey::new(&a), RowKey::new(&b));
            let within = |key: &str, stretch: &Stretch| {
                let row = place("order", key);
                row >= stretch.start && (stretch.stop.is_empty() || row < stretch.stop)
            };
            let stretch = tables.stretch(name("order"), Some(&from), Some(&to)).unwrap();
            prop_assert_eq!(stretch.is_some_and(|s| within(&a, &s)), a < b);
            let open = tables.stretch(name("order"), Some(&from), None).unwrap().unwrap();
            prop_assert_eq!(within(&b, &open), b >= a);
            let all = tables.stretch(name("order"), None, None).unwrap().unwrap();
            prop_assert!(within(&b, &all));
            if shared && kind != "order" && !kind.contains('/') {
                let other = place(&kind, &b);
                prop_assert!(other < all.start || other >= all.stop);
            }
            let beside = tables.place_beside(&b).unwrap().row;
            prop_assert!(!shared || beside < all.start || beside >= all.stop);
        }
    }

    /// Goal: new tables are cut evenly by what keys begin with. Method: three templates in both shapes.
    #[test]
    fn tables_are_cut_by_their_keys() {
        let mut schema = shop(VersionKind::Weight);
        schema.kinds[1].key = Template::parse("p-{md5_4(product_id)}").unwrap();
        let text = |cuts: &[Bytes]| cuts.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect::<Vec<_>>();
        let own = tables("w_{row}").splits(&schema, 4);
        assert_eq!(text(&own[&TableName::parse("w_order").unwrap()]), ["2500", "5000", "7500"]);
        assert_eq!(text(&own[&TableName::parse("w_product").unwrap()]), ["p-4000", "p-8000", "p-c000"]);
        assert!(own[&TableName::parse("w__meta").unwrap()].is_empty());
        let shared = tables("wide").splits(&schema, 4);
        let cut = ["order/", "order/5000", "product/", "product/p-8000"];
        assert_eq!(text(&shared[&TableName::parse("wide").unwrap()]), cut);
        schema.kinds[0].key = Template::parse("{order_no}").unwrap();
        assert!(tables("w_{row}").splits(&schema, 4)[&TableName::parse("w_order").unwrap()].is_empty());
        let many = &tables("w_{row}").splits(&schema, u32::MAX)[&TableName::parse("w_product").unwrap()];
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]), "cuts are distinct");
    }
}
