//! What the configuration says of tables and row kinds, compiled for the other rooms.
//!
//! Keeps the closed list of column types (3-interfaces 3.2) and M1's choice between `table:column` and
//! `table:column:child key`. Knows nothing of YAML: `settings` builds it.

use super::ids::Name;
use super::quick::QuickMap;
use super::template::Template;
use std::fmt;

/// A declared column type: how to read a format's encoding into canonical text, and what a document prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    String,
    /// Any 64-bit integer, signed or not.
    Long,
    /// Digits after the point, where the declaration tells them.
    Decimal {
        scale: Option<u32>,
    },
    Double,
    Bool,
    Date,
    /// Fractional digits, 0 to 6.
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    Year,
    Json,
    Binary,
    /// Number of bits, 1 to 64.
    Bit(u8),
    Enum(Vec<String>),
    Set(Vec<String>),
}

/// A type text that is not in the closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a column type; allowed: string, long, decimal, decimal(p,s), double, bool, date, time(0-6), datetime(0-6), timestamp(0-6), year, json, binary, bit(n), enum('a',…), set('a',…)"
)]
pub struct TypeError(pub String);

impl ColumnType {
    /// Reads a declaration of the closed list.
    ///
    /// # Errors
    /// [`TypeError`] with the list of what is allowed.
    pub fn parse(text: &str) -> Result<Self, TypeError> {
        let wrong = || TypeError(text.to_owned());
        let trimmed = text.trim();
        let (head, args) = match trimmed.split_once('(') {
            Some((head, rest)) => (head.trim(), Some(rest.strip_suffix(')').ok_or_else(wrong)?.trim())),
            None => (trimmed, None),
        };
        let fraction = || match args {
            None => Ok(0),
            Some(n) => n.parse::<u8>().ok().filter(|n| *n <= 6).ok_or_else(wrong),
        };
        let bare = |kind: Self| if args.is_none() { Ok(kind) } else { Err(wrong()) };
        match head {
            "string" => bare(Self::String),
            "long" => bare(Self::Long),
            "decimal" => match args {
                None => Ok(Self::Decimal { scale: None }),
                Some(args) => {
                    let (precision, scale) = args.split_once(',').unwrap_or((args, "0"));
                    let precision: u32 = precision.trim().parse().map_err(|_| wrong())?;
                    let scale: u32 = scale.trim().parse().map_err(|_| wrong())?;
                    if precision == 0 || precision > 65 || scale > 30 || scale > precision {
                        return Err(wrong());
                    }
                    Ok(Self::Decimal { scale: Some(scale) })
                }
            },
            "double" => bare(Self::Double),
            "bool" => bare(Self::Bool),
            "date" => bare(Self::Date),
            "time" => Ok(Self::Time(fraction()?)),
            "datetime" => Ok(Self::DateTime(fraction()?)),
            "timestamp" => Ok(Self::Timestamp(fraction()?)),
            "year" => bare(Self::Year),
            "json" => bare(Self::Json),
            "binary" => bare(Self::Binary),
            "bit" => {
                let bits = args.unwrap_or("1").parse::<u8>().map_err(|_| wrong())?;
                if (1..=64).contains(&bits) { Ok(Self::Bit(bits)) } else { Err(wrong()) }
            }
            "enum" => Ok(Self::Enum(quoted_list(args.ok_or_else(wrong)?).ok_or_else(wrong)?)),
            "set" => Ok(Self::Set(quoted_list(args.ok_or_else(wrong)?).ok_or_else(wrong)?)),
            _ => Err(wrong()),
        }
    }

    /// Whether its values compare and add as numbers.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Long | Self::Decimal { .. } | Self::Double | Self::Year | Self::Bit(_))
    }
}

/// The labels of `'a','it''s'`, as MySQL writes them in a column type.
pub fn quoted_list(text: &str) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    let mut rest = text.trim();
    loop {
        rest = rest.strip_prefix('\'')?;
        let mut label = String::new();
        loop {
            let end = rest.find('\'')?;
            label.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(after) => {
                    label.push('\'');
                    rest = after;
                }
                None => break,
            }
        }
        labels.push(label);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(labels);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// A configured table's place in [`Schema::tables`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TableId(pub u16);

/// A configured table, with the column types of every row kind that uses it.
#[derive(Clone, Debug)]
pub struct Table {
    /// As configured: `db.table`.
    pub name: Name,
    /// The name in qualifiers (M1): without the database, unless two databases have a table of that name.
    pub short: Name,
    pub types: QuickMap<Name, ColumnType>,
}

impl Table {
    pub fn column_type(&self, column: Name) -> Option<&ColumnType> {
        self.types.get(&column)
    }
}

/// One table's part in a row kind.
#[derive(Clone, Debug)]
pub struct KindTable {
    pub table: TableId,
    pub short: Name,
    /// The table row's own primary key.
    pub id: Vec<Name>,
    pub many: bool,
    /// The key columns as this table calls them, in the order of [`RowKind::key_columns`].
    pub route: Vec<Name>,
    /// M1: every `id` column is a key column, so cells carry no child key.
    pub single: bool,
}

/// How a row's version rises (V1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VersionKind {
    #[default]
    Weight,
    Counter,
}
impl fmt::Display for VersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight",
            Self::Counter => "counter",
        })
    }
}

/// A business thing that many tables describe.
#[derive(Clone, Debug)]
pub struct RowKind {
    pub name: Name,
    pub key: Template,
    /// The key template's columns in their first order of mention.
    pub key_columns: Vec<Name>,
    /// Index into `tables` of the root table (M6).
    pub root: Option<usize>,
    pub version: VersionKind,
    pub tables: Vec<KindTable>,
}

impl RowKind {
    pub fn table(&self, short: Name) -> Option<&KindTable> {
        self.tables.iter().find(|t| t.short == short)
    }

    /// M6: whether this table's rows decide that the entity lives.
    pub fn is_root(&self, index: usize) -> bool {
        self.root.is_none_or(|root| root == index)
    }
}

/// Everything configured about rows.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub tables: Vec<Table>,
    pub kinds: Vec<RowKind>,
    /// `db.table` exactly → table.
    by_name: QuickMap<String, QuickMap<String, TableId>>,
    /// Sharded tables (`match:`): pattern with `*` → table.
    patterns: Vec<(String, TableId)>,
    /// Table → (kind index, index in the kind's tables).
    uses: Vec<Vec<(usize, usize)>>,
}

impl Schema {
    /// Puts tables and kinds together. `patterns` are the `match:` texts of sharded tables.
    pub fn new(tables: Vec<Table>, kinds: Vec<RowKind>, patterns: Vec<(String, TableId)>) -> Self {
        let mut by_name: QuickMap<String, QuickMap<String, TableId>> = QuickMap::default();
        for (i, table) in tables.iter().enumerate() {
            if let Some((db, name)) = table.name.as_str().split_once('.') {
                by_name.entry(db.to_owned()).or_default().insert(name.to_owned(), TableId(i as u16));
            }
        }
        let mut uses = vec![Vec::new(); tables.len()];
        for (k, kind) in kinds.iter().enumerate() {
            for (t, used) in kind.tables.iter().enumerate() {
                uses[used.table.0 as usize].push((k, t));
            }
        }
        Self { tables, kinds, by_name, patterns, uses }
    }

    /// The configured table a record's `db` and `table` belong to, shards included.
    pub fn find(&self, db: &str, table: &str) -> Option<TableId> {
        if let Some(id) = self.by_name.get(db).and_then(|tables| tables.get(table)) {
            return Some(*id);
        }
        if self.patterns.is_empty() {
            return None;
        }
        let full = format!("{db}.{table}");
        self.patterns.iter().find(|(pattern, _)| glob(pattern, &full)).map(|(_, id)| *id)
    }

    pub fn table(&self, id: TableId) -> &Table {
        &self.tables[id.0 as usize]
    }

    pub fn kind(&self, name: Name) -> Option<&RowKind> {
        self.kinds.iter().find(|k| k.name == name)
    }

    /// The row kinds this table feeds: (kind, its table there).
    pub fn uses(&self, id: TableId) -> impl Iterator<Item = (&RowKind, usize)> {
        self.uses[id.0 as usize].iter().map(|(k, t)| (&self.kinds[*k], *t))
    }
}

/// `*` stands for any text; everything else for itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_list_and_nothing_else() {
        for (text, want) in [
            ("long", ColumnType::Long),
            ("decimal", ColumnType::Decimal { scale: None }),
            ("decimal(18, 2)", ColumnType::Decimal { scale: Some(2) }),
            ("datetime(3)", ColumnType::DateTime(3)),
            ("time", ColumnType::Time(0)),
            ("bit(10)", ColumnType::Bit(10)),
            ("enum('a','it''s')", ColumnType::Enum(vec!["a".into(), "it's".into()])),
        ] {
            assert_eq!(ColumnType::parse(text), Ok(want), "{text}");
        }
        for text in ["int", "decimal(2,3)", "datetime(7)", "bit(65)", "bit(0)", "enum(a)", "enum", "long(3)", "time(3", ""] {
            assert!(ColumnType::parse(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn shards_match_by_stars() {
        for (pattern, text, want) in [
            ("trade.order_item_*", "trade.order_item_07", true),
            ("trade.order_item_*", "trade.order_items", false),
            ("trade_*.orders", "trade_3.orders", true),
            ("trade_*.order_*", "trade_3.order_9", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("exact", "exactly", false),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} on {text}");
        }
    }
}
