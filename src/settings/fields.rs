//! A document's fields, from the completed tree to [`Field`]s.
//!
//! Keeps K6 as far as it can be known beforehand: numbers are added only where numbers are declared, defaults are of
//! their field's type. Knows nothing of lanes or sinks.

use super::findings::{Code, Findings};
use super::lines::Kind;
use super::read::At;
use super::tree::{Entry, Node};
use super::values::good_column;
use crate::domain::document::{As, ColumnRef, Field, OrderBy, Scalar};
use crate::domain::ids::Name;
use crate::domain::schema::ColumnType;

/// The forms of a field and the keys that may stand beside each.
pub const FORMS: &[(&str, &[&str])] = &[
    ("from", &["as", "default"]),
    ("each", &["order_by", "fields"]),
    ("sum", &["as"]),
    ("min", &["as"]),
    ("max", &["as"]),
    ("count", &[]),
    ("join", &["with"]),
];

/// Builds `document.fields`.
pub fn fields(at: At<'_>, kind: &Kind<'_>, findings: &mut Findings) -> Vec<(String, Field)> {
    let mut reader = Reader { kind, findings };
    at.entries().iter().filter_map(|e| Some((e.key.clone(), reader.field(e)?))).collect()
}

struct Reader<'a, 'b> {
    kind: &'a Kind<'a>,
    findings: &'b mut Findings,
}

/// A column that was found: its table's place in the kind, and what it is declared as.
struct Column<'a> {
    table: usize,
    at: ColumnRef,
    declared: Option<&'a ColumnType>,
}

impl<'a> Reader<'a, '_> {
    fn field(&mut self, entry: &Entry) -> Option<Field> {
        let at = At(Some(entry));
        if !at.is_map() {
            let column = self.column(&entry.value)?;
            self.one_of_many(&column, &entry.value);
            return Some(Field::Column { from: column.at, scalar: Scalar { shown_as: As::of(column.declared), default: None } });
        }
        let form = self.form(entry)?;
        let value = at.get(form);
        let node = &value.0?.value;
        match form {
            "from" => {
                let column = self.column(node)?;
                self.one_of_many(&column, node);
                Some(Field::Column { from: column.at, scalar: self.scalar(at, column.declared) })
            }
            "each" => self.each(at, node),
            "count" => Some(Field::Count { table: self.table(node).map(|t| self.kind.names.short(t))? }),
            "join" => {
                let with = at.get("with").scalar().map_or_else(default_join, |s| s.text.clone());
                Some(Field::Join { from: self.column(node)?.at, with })
            }
            _ => {
                let column = self.column(node)?;
                let shown_as = self.number(at, &column, form, node)?;
                let from = column.at;
                Some(match form {
                    "sum" => Field::Sum { from, shown_as },
                    "min" => Field::Min { from, shown_as },
                    _ => Field::Max { from, shown_as },
                })
            }
        }
    }

    /// Which form this is; a field has one, and only what belongs to it.
    fn form(&mut self, entry: &Entry) -> Option<&'static str> {
        let written: Vec<&Entry> = entry.value.entries().iter().collect();
        let forms: Vec<_> = FORMS.iter().filter(|(form, _)| written.iter().any(|e| e.key == *form)).collect();
        let names: Vec<&str> = FORMS.iter().map(|(form, _)| *form).collect();
        let [(form, beside)] = forms[..] else {
            let what = match &forms[..] {
                [] => format!("field `{}` does not say what it shows", entry.key),
                [(a, _), (b, _), ..] => format!("field `{}` is both `{a}` and `{b}`", entry.key),
                [_] => return None,
            };
            let finding = self.findings.add(Code::BadField, entry.key_place, what);
            finding.help(format!("write `table.column`, or a map with one of: {}", names.join(", ")));
            return None;
        };
        for stray in written.iter().filter(|e| e.key != *form && !beside.contains(&e.key.as_str())) {
            let message = format!("`{}` means nothing beside `{form}`", stray.key);
            let allowed = if beside.is_empty() { "nothing".to_owned() } else { beside.join(", ") };
            self.findings.add(Code::BadField, stray.key_place, message).help(format!("beside `{form}` may stand: {allowed}"));
        }
        Some(form)
    }

    fn each(&mut self, at: At<'_>, node: &Node) -> Option<Field> {
        let table = self.table(node)?;
        let order_by = at.get("order_by");
        let order_by = order_by
            .0
            .and_then(|entry| self.column_of(table, &entry.value))
            .map(|column| OrderBy { column: column.at.column, numeric: column.declared.is_some_and(ColumnType::is_numeric) });
        let elements = at.get("fields");
        if elements.entries().is_empty() {
            let finding = self.findings.add(Code::BadField, node.place, "`each` needs `fields`: what an element shows");
            finding.help("write `fields: { name: column }`");
            return None;
        }
        let mut fields = Vec::new();
        for entry in elements.entries() {
            fields.extend(self.element(table, entry));
        }
        Some(Field::Each { table: self.kind.names.short(table), order_by, fields })
    }

    fn element(&mut self, table: usize, entry: &Entry) -> Option<(String, Name, Scalar)> {
        let at = At(Some(entry));
        let from = if at.is_map() { at.get("from") } else { at };
        let Some(from) = from.0 else {
            let finding =
                self.findings.add(Code::BadField, entry.key_place, format!("field `{}` does not say its column", entry.key));
            finding.help("write `name: column` or `name: { from: column, as: …, default: … }`");
            return None;
        };
        let column = self.column_of(table, &from.value)?;
        let scalar = match at.is_map() {
            true => self.scalar(at, column.declared),
            false => Scalar { shown_as: As::of(column.declared), default: None },
        };
        Some((entry.key.clone(), column.at.column, scalar))
    }

    fn scalar(&mut self, at: At<'_>, declared: Option<&ColumnType>) -> Scalar {
        let shown_as = As::parse(at.get("as").text()).unwrap_or_else(|| As::of(declared));
        let default = at.get("default").scalar().map(|s| s.text.clone());
        if let Some(text) = &default
            && !reads_as(text, shown_as)
        {
            let shown = at.get("default").scalar().map_or("", |s| s.shown());
            let message = format!("the default `{shown}` is not a {}", word(shown_as));
            let finding = self.findings.add(Code::BadValue, at.get("default").place(), message);
            finding.help("a default is read as the field's type (K6); `as:` says another type");
        }
        Scalar { shown_as, default }
    }

    /// `sum`, `min` and `max` compare and add numbers; which ones, the column or `as` says.
    fn number(&mut self, at: At<'_>, column: &Column<'_>, form: &str, node: &Node) -> Option<As> {
        let declared = column.declared.filter(|t| t.is_numeric()).map(|t| As::of(Some(t)));
        match As::parse(at.get("as").text()).or(declared) {
            Some(shown_as @ (As::Long | As::Decimal | As::Double)) => Some(shown_as),
            _ => {
                let table = self.kind.schema.table(self.kind.kind.tables[column.table].table).name;
                let message = format!("`{form}` needs a number, and `{table}.{}` is not declared as one", column.at.column);
                let place = if at.get("as").0.is_some() { at.get("as").place() } else { node.place };
                let declare = format!("declare it: `tables: {{ {table}: {{ columns: {{ {}: long }} }} }}`", column.at.column);
                let finding = self.findings.add(Code::NotANumber, place, message);
                finding.help(format!("{declare}, or say `as: long`, `as: decimal` or `as: double` here"));
                None
            }
        }
    }

    fn table(&mut self, node: &Node) -> Option<usize> {
        let text = node.text()?;
        self.kind.names.find_or_tell(text, node, self.kind.kind.name.as_str(), self.findings)
    }

    /// `table.column` or `database.table.column`.
    fn column(&mut self, node: &Node) -> Option<Column<'a>> {
        let text = node.text()?;
        let Some((table, column)) = text.rsplit_once('.').filter(|(t, c)| !t.is_empty() && good_column(c)) else {
            let finding = self.findings.add(Code::BadColumn, node.place, format!("`{text}` is not `table.column`"));
            finding.help(format!("tables: {}", self.kind.names.full().collect::<Vec<_>>().join(", ")));
            return None;
        };
        let table = self.kind.names.find_or_tell(table, node, self.kind.kind.name.as_str(), self.findings)?;
        Some(self.found(table, column))
    }

    /// A column of this very table: its name alone, or with the table before it.
    fn column_of(&mut self, table: usize, node: &Node) -> Option<Column<'a>> {
        let text = node.text()?;
        let bare = match text.rsplit_once('.') {
            Some((named, column)) if self.kind.names.find(named) == Some(table) => column,
            _ => text,
        };
        if !good_column(bare) {
            let full = self.kind.names.full().nth(table).unwrap_or_default().to_owned();
            let finding = self.findings.add(Code::BadColumn, node.place, format!("`{text}` is not a column of `{full}`"));
            finding.help("inside `each`, write the column alone: its table is known");
            return None;
        }
        Some(self.found(table, bare))
    }

    fn found(&self, table: usize, column: &str) -> Column<'a> {
        let column = Name::of(column);
        let declared = self.kind.schema.table(self.kind.kind.tables[table].table).column_type(column);
        Column { table, at: ColumnRef { table: self.kind.names.short(table), column }, declared }
    }

    /// M1: of several living rows the greatest primary key answers, which is seldom what was meant.
    fn one_of_many(&mut self, column: &Column<'_>, node: &Node) {
        if self.kind.kind.tables[column.table].many {
            let message =
                format!("`{}` has many rows in one `{}`, and this asks one of them", column.at.table, self.kind.kind.name);
            let finding = self.findings.add(Code::ManyAsOne, node.place, message);
            finding
                .help("the row with the greatest primary key answers; `each`, `sum`, `min`, `max`, `count` and `join` take all");
        }
    }
}

/// What `config/default.yaml` says of `with`.
fn default_join() -> String {
    let path = ["lines", "*", "document", "fields", "*", "with"];
    let node = path.iter().try_fold(super::load::defaults(), |node, key| node.get(key));
    node.and_then(Node::text).unwrap_or_default().to_owned()
}

fn word(shown_as: As) -> &'static str {
    match shown_as {
        As::String => "string",
        As::Long => "long",
        As::Decimal => "decimal",
        As::Double => "double",
        As::Bool => "bool (true, false, 1 or 0)",
        As::DateTime => "datetime",
        As::Date => "date",
        As::Json => "JSON value",
    }
}

/// Whether a default can be read as its field's type.
fn reads_as(text: &str, shown_as: As) -> bool {
    match shown_as {
        As::String | As::DateTime | As::Date => true,
        As::Long => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
        As::Decimal => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
            let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            all_digits(whole) && all_digits(fraction)
        }
        As::Double => text.parse::<f64>().is_ok_and(f64::is_finite),
        As::Bool => matches!(text, "true" | "false" | "0" | "1"),
        As::Json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
    }
}
