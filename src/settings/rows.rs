//! Row kinds and their tables, from the completed tree to [`Schema`].
//!
//! Keeps M1 (short names, one cell set per entity or per table row), M6 (the root), M9 (templates that clash). Knows
//! nothing of lines.

use super::findings::{Code, Findings};
use super::read::{At, inside};
use super::tree::{Entry, Node};
use super::values::good_column;
use crate::domain::ids::Name;
use crate::domain::schema::{ColumnType, KindTable, RowKind, Schema, Table, TableId, VersionKind};
use crate::domain::template::Template;
use std::collections::HashMap;

/// The tables of one row kind by the names a configuration may use for them.
pub struct TableNames(Vec<(String, Name)>);

impl TableNames {
    pub fn of(kind: &RowKind, schema: &Schema) -> Self {
        Self(kind.tables.iter().map(|t| (schema.table(t.table).name.as_str().to_owned(), t.short)).collect())
    }
    /// `database.table`, or the table alone where only one database has it.
    pub fn find(&self, text: &str) -> Option<usize> {
        if let Some(at) = self.0.iter().position(|(full, _)| full == text) {
            return Some(at);
        }
        let mut same = self.0.iter().enumerate().filter(|(_, (full, _))| table_part(full) == text);
        let first = same.next()?;
        same.next().is_none().then_some(first.0)
    }
    pub fn short(&self, at: usize) -> Name {
        self.0[at].1
    }
    pub fn full(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(full, _)| full.as_str())
    }
    /// The table, or a finding at `node`.
    pub fn find_or_tell(&self, text: &str, node: &Node, kind: &str, findings: &mut Findings) -> Option<usize> {
        let found = self.find(text);
        if found.is_none() {
            let known: Vec<&str> = self.full().collect();
            let finding = findings.add(Code::UnknownTable, node.place, format!("row kind `{kind}` has no table `{text}`"));
            finding.nearest(text, known.iter().copied().chain(known.iter().map(|full| table_part(full))));
            finding.help(format!("its tables: {}", known.join(", ")));
        }
        found
    }
}

fn table_part(full: &str) -> &str {
    full.split_once('.').map_or(full, |(_, table)| table)
}

/// Builds the schema of `rows:`.
pub fn schema(rows: At<'_>, findings: &mut Findings) -> Schema {
    let mut builder =
        Builder { findings, tables: Vec::new(), by_name: HashMap::new(), patterns: Vec::new(), databases: HashMap::new() };
    for table in rows.entries().iter().flat_map(|kind| At(Some(kind)).get("tables").entries()) {
        let full = table.key.as_str();
        let databases = builder.databases.entry(table_part(full).to_owned()).or_default();
        if !databases.iter().any(|known| known == full) {
            databases.push(full.to_owned());
        }
    }
    let kinds = rows.entries().iter().filter_map(|kind| builder.kind(kind)).collect();
    Schema::new(builder.tables, kinds, builder.patterns)
}

struct Builder<'a> {
    findings: &'a mut Findings,
    tables: Vec<Table>,
    by_name: HashMap<String, TableId>,
    patterns: Vec<(String, TableId)>,
    /// Table part → full names (M1).
    databases: HashMap<String, Vec<String>>,
}

impl Builder<'_> {
    fn kind(&mut self, entry: &Entry) -> Option<RowKind> {
        let at = At(Some(entry));
        let key = template(at.get("key"), self.findings);
        let key_columns = key.as_ref().map(Template::columns).unwrap_or_default();
        if let Some(key) = &key {
            self.check_key(&entry.key, key, at.get("key"));
        }
        let tables = at.get("tables");
        if tables.0.is_some() && tables.entries().is_empty() {
            let place = if tables.is_written() { tables.key_place() } else { entry.key_place };
            let finding = self.findings.add(Code::NoTable, place, format!("no table feeds row kind `{}`", entry.key));
            finding.help("name its tables: `tables: { db.table: { id: [id] } }`");
        }
        let mut used = Vec::new();
        for table in tables.entries() {
            used.extend(self.table(table, &key_columns, key.is_some()));
        }
        let names = TableNames(
            used.iter().map(|t: &KindTable| (self.tables[usize::from(t.table.0)].name.to_string(), t.short)).collect(),
        );
        let root = at.get("root");
        let root = match (root.optional(), root.0) {
            (Some(text), Some(node)) => names.find_or_tell(text, &node.value, &entry.key, self.findings),
            _ => None,
        };
        let version = if at.get("version").text() == "counter" { VersionKind::Counter } else { VersionKind::Weight };
        Some(RowKind { name: Name::of(&entry.key), key: key?, key_columns, root, version, tables: used })
    }

    /// M9: two entities must not share a row.
    fn check_key(&mut self, kind: &str, key: &Template, at: At<'_>) {
        if let Some(why) = clash(key) {
            let finding =
                self.findings.add(Code::WeakKey, at.place(), format!("two entities of `{kind}` can have one row key: {why}"));
            finding.help("let every key column stand whole, with a text between two of them");
        }
    }

    fn table(&mut self, entry: &Entry, key_columns: &[Name], key_known: bool) -> Option<KindTable> {
        let at = At(Some(entry));
        let (id, short) = self.table_id(entry)?;
        for column in at.get("columns").entries() {
            self.column(id, column);
        }
        self.pattern(id, at.get("match"));
        let mut columns = Vec::new();
        for node in at.get("id").items() {
            let text = node.text().unwrap_or_default();
            if good_column(text) {
                columns.push(Name::of(text));
            } else {
                self.bad_column(text, node);
            }
        }
        if columns.is_empty() && at.get("id").is_written() && at.get("id").items().is_empty() {
            let message = format!("`{}` needs at least one primary key column", entry.key);
            self.findings.add(Code::BadColumn, at.get("id").place(), message).help("write `id: [column]`");
        }
        let mut route: Vec<Name> = key_columns.to_vec();
        for pair in at.get("route").entries() {
            self.route(pair, key_columns, key_known, &mut route);
        }
        let single = !columns.is_empty() && columns.iter().all(|c| route.contains(c));
        Some(KindTable { table: id, short, id: columns, many: at.get("many").boolean(), route, single })
    }

    /// The table's number, known or new, and its short name (M1).
    fn table_id(&mut self, entry: &Entry) -> Option<(TableId, Name)> {
        let full = entry.key.as_str();
        let part = table_part(full);
        let alone = self.databases.get(part).is_none_or(|databases| databases.len() < 2);
        let short = Name::of(if alone { part } else { full });
        if let Some(id) = self.by_name.get(full) {
            return Some((*id, short));
        }
        let Ok(number) = u16::try_from(self.tables.len()) else {
            self.findings.add(Code::TooBig, entry.key_place, "more than 65,536 tables");
            return None;
        };
        self.tables.push(Table { name: Name::of(full), short, types: Default::default() });
        self.by_name.insert(full.to_owned(), TableId(number));
        Some((TableId(number), short))
    }

    fn column(&mut self, id: TableId, entry: &Entry) {
        if !good_column(&entry.key) {
            let node = Node { place: entry.key_place, value: entry.value.value.clone() };
            return self.bad_column(&entry.key, &node);
        }
        let Some(text) = entry.value.text() else {
            if !entry.value.is_broken() {
                let message = format!("a column type belongs here, and this is {}", entry.value.shape());
                self.findings.add(Code::WrongShape, entry.value.place, message);
            }
            return;
        };
        let wanted = match ColumnType::parse(text) {
            Ok(wanted) => wanted,
            Err(error) => {
                let finding = self.findings.add(Code::BadType, entry.value.place, error.to_string());
                match mysql_name(text) {
                    Some(ours) => finding.label(format!("did you mean `{ours}`?")),
                    None => finding.nearest(text, TYPES.iter().copied()),
                };
                return;
            }
        };
        let table = &mut self.tables[usize::from(id.0)];
        let name = Name::of(&entry.key);
        match table.types.get(&name) {
            Some(known) if *known != wanted => {
                let message = format!("`{}.{name}` has another type in another row kind", table.name);
                let finding = self.findings.add(Code::TypeConflict, entry.value.place, message);
                finding.help("a table has one definition: give the column one type, or declare it in one place only");
            }
            _ => {
                table.types.insert(name, wanted);
            }
        }
    }

    fn pattern(&mut self, id: TableId, at: At<'_>) {
        let Some(pattern) = at.optional() else { return };
        let mut tell = |message: String, help: &str| {
            self.findings.add(Code::BadMatch, at.place(), message).help(help.to_owned());
        };
        let form = "a pattern is `database.table` with `*` for any text, like `trade.order_item_*`";
        if !pattern.contains('*') {
            return tell(format!("`{pattern}` matches one table only"), "name the table itself so, and leave `match` out");
        }
        if pattern.split('.').count() != 2
            || pattern.split('.').any(|part| part.is_empty() || !good_column(&part.replace('*', "x")))
        {
            return tell(format!("`{pattern}` is not a pattern of tables"), form);
        }
        if self.patterns.contains(&(pattern.to_owned(), id)) {
            return;
        }
        if let Some((other, owner)) = self.patterns.iter().find(|(other, _)| patterns_meet(other, pattern)) {
            let owner = self.tables[usize::from(owner.0)].name;
            let message = format!("`{pattern}` matches tables that `{other}` of `{owner}` matches too");
            return tell(
                message,
                "a shard belongs to one table: make the patterns differ, and a table's the same in every row kind",
            );
        }
        self.patterns.push((pattern.to_owned(), id));
    }

    fn route(&mut self, pair: &Entry, key_columns: &[Name], key_known: bool, route: &mut [Name]) {
        if pair.value.entries().iter().any(|e| e.key == "via") {
            let message = "routes through another table are not built into this version; available: a column of this table";
            self.findings.add(Code::NotBuilt, pair.value.place, message);
            return;
        }
        let at = key_columns.iter().position(|c| c.as_str() == pair.key);
        if at.is_none() && key_known {
            let known: Vec<&str> = key_columns.iter().map(|c| c.as_str()).collect();
            let message = format!("`{}` is not a key column of this row kind", pair.key);
            let finding = self.findings.add(Code::NotAKeyColumn, pair.key_place, message);
            finding.nearest(&pair.key, known.iter().copied());
            finding.help(format!("write `key column: what this table calls it`; key columns: {}", known.join(", ")));
        }
        match pair.value.text() {
            Some(text) if good_column(text) => {
                if let Some(at) = at {
                    route[at] = Name::of(text);
                }
            }
            _ if pair.value.is_broken() => {}
            text => self.bad_column(text.unwrap_or_default(), &pair.value),
        }
    }

    fn bad_column(&mut self, text: &str, node: &Node) {
        let finding = self.findings.add(Code::BadColumn, node.place, format!("`{text}` is not a column name"));
        finding.help("the column alone, without its table, and without spaces or any of . : , * % ( ) { }");
    }
}

/// Reads a template, or leaves a finding at the very character.
pub fn template(at: At<'_>, findings: &mut Findings) -> Option<Template> {
    let scalar = at.scalar()?;
    let functions =
        "`{column}`, `{last4(column)}`, `{md5_4(column)}` and `{pad(column, n)}` are filled in, other text stands as it is";
    match Template::parse(&scalar.text) {
        Err(error) => {
            findings.add(Code::BadTemplate, inside(at.place(), scalar, error.at), error.what).help(functions);
            None
        }
        Ok(template) if template.columns().is_empty() => {
            findings.add(Code::BadTemplate, at.place(), "a template without a column is the same for every row").help(functions);
            None
        }
        Ok(template) => match template.columns().iter().find(|c| !good_column(c.as_str())) {
            None => Some(template),
            Some(column) => {
                findings.add(Code::BadTemplate, at.place(), format!("`{column}` is not a column name"));
                None
            }
        },
    }
}

/// M9: how two entities can get one text, if they can.
pub fn clash(template: &Template) -> Option<String> {
    let columns = template.columns();
    let whole = template.whole_columns();
    if let Some(cut) = columns.iter().find(|c| !whole.contains(c)) {
        return Some(format!("`{cut}` does not stand whole in it"));
    }
    // Two columns with nothing between run into each other: 1 and 11 read like 11 and 1.
    let render = |a: Name, b: Name| {
        template
            .render(|c| {
                Some(if c == a {
                    "1"
                } else if c == b {
                    "11"
                } else {
                    "0"
                })
            })
            .ok()
    };
    for (i, a) in columns.iter().enumerate() {
        for b in &columns[i + 1..] {
            if render(*a, *b) == render(*b, *a) {
                return Some(format!("`{a}` and `{b}` stand without a text between"));
            }
        }
    }
    None
}

/// Whether some table can match both: one pattern's text is tried against the other.
fn patterns_meet(a: &str, b: &str) -> bool {
    use crate::domain::schema::glob;
    glob(a, &b.replace('*', "0")) || glob(b, &a.replace('*', "0"))
}

pub const TYPES: &[&str] = &[
    "string",
    "long",
    "decimal",
    "double",
    "bool",
    "date",
    "time",
    "datetime",
    "timestamp",
    "year",
    "json",
    "binary",
    "bit",
    "enum",
    "set",
];

/// Our name of a MySQL type that people write first.
fn mysql_name(text: &str) -> Option<&'static str> {
    let head = text.split('(').next().unwrap_or_default().trim().to_lowercase();
    Some(match head.split(' ').next().unwrap_or_default() {
        "int" | "integer" | "bigint" | "smallint" | "mediumint" | "tinyint" => "long",
        "varchar" | "char" | "text" | "longtext" | "mediumtext" | "tinytext" => "string",
        "float" | "real" => "double",
        "numeric" => "decimal",
        "boolean" => "bool",
        "blob" | "longblob" | "mediumblob" | "tinyblob" | "varbinary" => "binary",
        _ => return None,
    })
}
