//! What an index of a line looks like: made from the document's fields and their types.
//!
//! Keeps K7 (unknown columns never create fields) and K2's hour of `gc_deletes`. Also says whether a mapping that somebody
//! else made can take the documents. Pure.

use crate::domain::document::{As, Document, Field};
use crate::domain::line::{DeleteMode, Line};
use serde_json::{Map, Value, json};

/// `gc_deletes` of the indexes we make.
pub const GC_DELETES: &str = "1h";
/// Four bytes a character at most, and Lucene takes terms of 32,766 bytes: longer texts are kept but not sorted by.
const KEYWORD_CHARS_MAX: usize = 8_191;
/// What `document` prints for dates; a zero date of MySQL is kept and not indexed.
const DATE_FORMATS: &str = "yyyy-MM-dd HH:mm:ss||yyyy-MM-dd HH:mm:ss.SSSSSS||yyyy-MM-dd HH:mm:ss.SSS\
                            ||yyyy-MM-dd HH:mm:ss.S||yyyy-MM-dd||strict_date_optional_time";

/// Fields by name, in the document's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    fields: Vec<(String, Shape)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    One(As),
    /// An array of the table's rows; each keeps its values together.
    Rows(Vec<(String, As)>),
}

/// Where a mapping of the server does not take what documents hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The field is not there; `add` is what `_mapping` takes to add it.
    Missing { field: String, add: Value },
    /// It is there as something else.
    Unfit { field: String, found: String, wanted: String },
}

/// The mapping of a line's documents.
pub fn mapping_of(line: &Line) -> Mapping {
    let mut fields: Vec<_> = line.document.iter().flat_map(shapes).collect();
    if line.delete == DeleteMode::Tombstone {
        fields.push(("_deleted".to_owned(), Shape::One(As::Bool)));
    }
    Mapping { fields }
}

fn shapes(document: &Document) -> impl Iterator<Item = (String, Shape)> {
    document.fields.iter().map(|(name, field)| {
        let shape = match field {
            Field::Column { scalar, .. } => Shape::One(scalar.shown_as),
            Field::Each { fields, .. } => {
                Shape::Rows(fields.iter().map(|(name, _, scalar)| (name.clone(), scalar.shown_as)).collect())
            }
            // A sum is a number whatever its column shows as.
            Field::Sum { shown_as: As::Long, .. } | Field::Count { .. } => Shape::One(As::Long),
            Field::Sum { .. } => Shape::One(As::Decimal),
            Field::Min { shown_as, .. } | Field::Max { shown_as, .. } => Shape::One(*shown_as),
            Field::Join { .. } => Shape::One(As::String),
        };
        (name.clone(), shape)
    })
}

impl Mapping {
    /// What `PUT index` takes.
    pub fn index_body(&self) -> Value {
        json!({
            "settings": { "index": { "gc_deletes": GC_DELETES } },
            "mappings": { "dynamic": false, "properties": self.properties() },
        })
    }

    /// What `PUT _index_template/…` takes, for one index and no other.
    pub fn template_body(&self, index: &str) -> Value {
        json!({
            "index_patterns": [index],
            "priority": 500,
            "template": self.index_body(),
            "_meta": { "made_by": "widerow" },
        })
    }

    fn properties(&self) -> Value {
        Value::Object(self.fields.iter().map(|(name, shape)| (name.clone(), property(shape))).collect())
    }

    /// Where the server's mapping (`mappings` of the index) cannot take our documents.
    pub fn differences(&self, mappings: &Value) -> Vec<Difference> {
        let mut out = Vec::new();
        let held = |at: &Value, name: &str| at.get("properties").and_then(|p| p.get(name)).cloned();
        for (name, shape) in &self.fields {
            let Some(found) = held(mappings, name) else {
                out.push(missing(name, name, shape));
                continue;
            };
            match shape {
                Shape::One(shown_as) => out.extend(unfit(name, *shown_as, &found)),
                Shape::Rows(fields) => {
                    if !matches!(type_of(&found), "nested" | "object") {
                        out.push(not_a(name, type_of(&found), "nested or object"));
                        continue;
                    }
                    if found.get("enabled") == Some(&Value::Bool(false)) {
                        continue;
                    }
                    for (inner, shown_as) in fields {
                        let path = format!("{name}.{inner}");
                        match held(&found, inner) {
                            Some(found) => out.extend(unfit(&path, *shown_as, &found)),
                            None => out.push(missing(&path, name, &Shape::Rows(vec![(inner.clone(), *shown_as)]))),
                        }
                    }
                }
            }
        }
        out
    }
}

fn property(shape: &Shape) -> Value {
    match shape {
        Shape::One(shown_as) => scalar(*shown_as),
        Shape::Rows(fields) => {
            let fields: Map<_, _> = fields.iter().map(|(name, shown_as)| (name.clone(), scalar(*shown_as))).collect();
            json!({ "type": "nested", "properties": fields })
        }
    }
}

fn scalar(shown_as: As) -> Value {
    match shown_as {
        As::String => {
            json!({ "type": "text", "fields": { "keyword": { "type": "keyword", "ignore_above": KEYWORD_CHARS_MAX } } })
        }
        As::Long => json!({ "type": "long" }),
        // The document keeps every digit; the index sorts and sums by the nearest double.
        As::Decimal | As::Double => json!({ "type": "double" }),
        As::Bool => json!({ "type": "boolean" }),
        As::DateTime | As::Date => json!({ "type": "date", "format": DATE_FORMATS, "ignore_malformed": true }),
        As::Json => json!({ "type": "object", "enabled": false }),
    }
}

/// The server leaves the type of plain objects out.
fn type_of(found: &Value) -> &str {
    found.get("type").and_then(Value::as_str).unwrap_or("object")
}

/// Types that take what a field prints.
fn fitting(shown_as: As) -> &'static [&'static str] {
    match shown_as {
        As::String => {
            &["text", "keyword", "wildcard", "match_only_text", "search_as_you_type", "constant_keyword", "ip", "version"]
        }
        As::Long => &["long", "unsigned_long", "double", "scaled_float", "keyword", "text", "wildcard", "rank_feature"],
        As::Decimal | As::Double => &["double", "scaled_float", "float", "keyword", "text", "wildcard", "rank_feature"],
        As::Bool => &["boolean", "keyword", "text"],
        As::DateTime | As::Date => &["date", "date_nanos", "keyword", "text", "wildcard"],
        As::Json => &["object", "flattened", "flat_object", "nested"],
    }
}

fn unfit(field: &str, shown_as: As, found: &Value) -> Option<Difference> {
    let kind = type_of(found);
    let fits = fitting(shown_as).contains(&kind) || kind == "alias";
    (!fits).then(|| not_a(field, kind, &fitting(shown_as).join(", ")))
}

fn not_a(field: &str, found: &str, wanted: &str) -> Difference {
    Difference::Unfit { field: field.to_owned(), found: found.to_owned(), wanted: wanted.to_owned() }
}

fn missing(field: &str, top: &str, shape: &Shape) -> Difference {
    Difference::Missing { field: field.to_owned(), add: json!({ top: property(shape) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        let one = |name: &str, shown_as| (name.to_owned(), Shape::One(shown_as));
        let rows = vec![("qty".to_owned(), As::Long), ("name".to_owned(), As::String)];
        let fields = vec![
            one("no", As::String),
            one("amount", As::Decimal),
            one("paid_at", As::DateTime),
            one("extra", As::Json),
            ("items".to_owned(), Shape::Rows(rows)),
        ];
        Mapping { fields }
    }

    /// Goal: an index of our own takes our documents. Method: what we make, held against itself.
    #[test]
    fn ours_fits() {
        let body = mapping().index_body();
        assert_eq!(mapping().differences(&body["mappings"]), []);
        assert_eq!((&body["mappings"]["dynamic"], &body["settings"]["index"]["gc_deletes"]), (&json!(false), &json!("1h")));
        assert_eq!(mapping().template_body("shop")["index_patterns"], json!(["shop"]), "nobody else's index");
    }

    /// Goal: what another mapping lacks or cannot take is found, and nothing else. Method: a table of changes to ours.
    #[test]
    fn differences_are_found() {
        type Change = fn(&mut Value);
        let table: [(&str, Change, Option<&str>); 9] = [
            ("a keyword is as good", |m| m["no"] = json!({ "type": "keyword" }), None),
            ("a plain object is as good as nested", |m| drop(m["items"].as_object_mut().unwrap().remove("type")), None),
            ("items kept unindexed", |m| m["items"] = json!({ "type": "object", "enabled": false }), None),
            ("an alias is somebody's wish", |m| m["no"] = json!({ "type": "alias", "path": "x" }), None),
            ("gone", |m| drop(m.as_object_mut().unwrap().remove("amount")), Some("amount")),
            ("too narrow", |m| m["items"]["properties"]["qty"] = json!({ "type": "integer" }), Some("items.qty")),
            ("a date is no number", |m| m["amount"] = json!({ "type": "date" }), Some("amount")),
            ("inner gone", |m| drop(m["items"]["properties"].as_object_mut().unwrap().remove("name")), Some("items.name")),
            ("no rows", |m| m["items"] = json!({ "type": "keyword" }), Some("items")),
        ];
        for (case, change, want) in table {
            let mut body = mapping().index_body();
            change(&mut body["mappings"]["properties"]);
            let found = mapping().differences(&body["mappings"]);
            let fields: Vec<_> = found
                .iter()
                .map(|d| match d {
                    Difference::Missing { field, .. } | Difference::Unfit { field, .. } => field.as_str(),
                })
                .collect();
            assert_eq!(fields, want.into_iter().collect::<Vec<_>>(), "{case}");
        }
    }

    /// Goal: what is said to add a field adds it. Method: add it, and look again.
    #[test]
    fn the_remedy_mends() {
        let mut mappings = mapping().index_body()["mappings"].clone();
        mappings["properties"]["items"]["properties"].as_object_mut().unwrap().remove("qty");
        let found = mapping().differences(&mappings);
        let [Difference::Missing { add, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(add["items"]["properties"]["qty"]["type"], "long");
        mappings["properties"]["items"]["properties"]["qty"] = add["items"]["properties"]["qty"].clone();
        assert_eq!(mapping().differences(&mappings), []);
    }
}
