//! The list of keys as a reference: `config explain KEY`, the reference page and the JSON Schema.
//!
//! Both are made from `spec` and `config/default.yaml` alone, so they cannot differ from what the loader accepts.

use super::findings::nearest;
use super::load::defaults;
use super::scalar;
use super::spec::{self, KEYS, Kind, Spec};
use super::tree::{Node, Value};
use serde_json::{Map, Value as Json, json};

/// What one key means: its text, type, default and what stands below it.
///
/// `path` is a key's path, with names or `*` where the user names things: `queue.retry.max`, `rows.order.key`; the end
/// of a path will do. Several matches are listed.
///
/// # Errors
/// No such key, with the nearest one.
pub fn explain(path: &str) -> Result<String, String> {
    let asked: Vec<&str> = path.split('.').filter(|s| !s.is_empty()).collect();
    if asked.is_empty() {
        return Ok(children_of(spec::root()));
    }
    // Names have dots too (tables do), so several keys may match; the one that leaves least to a name is meant.
    let whole = KEYS.iter().filter(|key| matches(&key.path.split('.').collect::<Vec<_>>(), &asked, false));
    if let Some(key) = whole.max_by_key(|key| key.path.split('.').filter(|s| *s != "*").count()) {
        return Ok(one(key.path));
    }
    let ends = |key: &&spec::Key| {
        let segments: Vec<&str> = key.path.split('.').collect();
        (1..segments.len()).any(|at| segments[at] != "*" && matches(&segments[at..], &asked, true))
    };
    let found: Vec<&str> = KEYS.iter().filter(ends).map(|key| key.path).collect();
    match found[..] {
        [] => {
            let last = asked.last().copied().unwrap_or_default();
            let near = nearest(path, KEYS.iter().map(|key| key.path));
            let near = near.or_else(|| KEYS.iter().map(|key| key.path).find(|p| nearest(last, [segment(p)]).is_some()));
            let hint =
                near.map_or_else(|| "`config explain` alone lists the keys".to_owned(), |n| format!("did you mean `{n}`?"));
            Err(format!("there is no key `{path}`; {hint}"))
        }
        [only] => Ok(one(only)),
        _ => Ok(found.iter().map(|path| format!("{path}\n  {}\n", doc(path))).collect()),
    }
}

/// A key as the reference page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// `*` where the user names things.
    pub path: &'static str,
    pub takes: String,
    /// Empty where a default means nothing, or where the key must be written.
    pub default: String,
    pub doc: &'static str,
}

/// Every key, in the order of the list.
pub fn keys() -> impl Iterator<Item = KeyLine> {
    KEYS.iter().map(|key| {
        let optional = key.kind == Kind::Map { optional: true };
        let takes = if optional { "a map; may be left out".to_owned() } else { takes(key.kind) };
        let default = match key.kind {
            Kind::Component(component) => component.default.map(str::to_owned),
            kind => default_of(key.path).filter(|node| !node.is_null()).and_then(|_| default_text(key.path, kind)),
        };
        KeyLine { path: key.path, takes, default: default.unwrap_or_default(), doc: doc(key.path) }
    })
}

/// Whether a key's segments match what was asked. `*` takes one name, or several segments of one (tables have dots);
/// where names are left out altogether, `*` may take none.
fn matches(segments: &[&str], asked: &[&str], literal: bool) -> bool {
    match (segments, asked) {
        ([], []) => true,
        ([], _) => false,
        (["*"], []) => false,
        (_, []) => false,
        (["*", rest @ ..], _) => {
            let most = if literal { 1 } else { asked.len().min(3) };
            (0..=most).any(|taken| (taken > 0 || !rest.is_empty()) && matches(rest, &asked[taken..], literal))
        }
        ([segment, rest @ ..], [first, others @ ..]) => segment == first && matches(rest, others, literal),
    }
}

fn segment(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn doc(path: &str) -> &'static str {
    spec::docs().get(path).map_or("", String::as_str)
}

fn default_of(path: &str) -> Option<&'static Node> {
    path.split('.').try_fold(defaults(), |node, key| node.get(key))
}

fn one(path: &str) -> String {
    let mut out = format!("{path}\n  {}\n", doc(path));
    let Some(spec) = spec::root().at(path) else { return out };
    out.push_str(&format!("\n  takes    {}\n", takes(spec.kind)));
    if let Some(default) = default_text(path, spec.kind) {
        out.push_str(&format!("  default  {default}\n"));
    }
    if !spec.children.is_empty() {
        out.push('\n');
        out.push_str(&children_of(spec));
    }
    out
}

/// The default as a text; `None` where a default means nothing.
fn default_text(path: &str, kind: Kind) -> Option<String> {
    if let Kind::Component(component) = kind {
        return Some(component.default.map_or_else(|| "none: the kind must be written".to_owned(), str::to_owned));
    }
    let node = default_of(path)?;
    match &node.value {
        Value::Map(entries) if entries.is_empty() => Some("{}".to_owned()),
        Value::Map(_) if kind != Kind::Lanes => None,
        _ if node.is_null() => Some("none: it must be written".to_owned()),
        _ => Some(flow(node)),
    }
}

fn flow(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let inner: Vec<String> = entries.iter().map(|e| format!("{}: {}", e.key, flow(&e.value))).collect();
            format!("{{ {} }}", inner.join(", "))
        }
        Value::Broken => String::new(),
    }
}

fn children_of(spec: &Spec) -> String {
    let width = spec.child_names().map(str::len).max().unwrap_or_default();
    let line = |(name, child): &(&str, Spec)| {
        let shown = if *name == "*" { "NAME" } else { name };
        format!("  {shown:width$}  {}\n", doc(&child.path))
    };
    spec.children.iter().map(line).collect()
}

/// What a key takes, in words.
fn takes(kind: Kind) -> String {
    match kind {
        Kind::Map { .. } => "a map".to_owned(),
        Kind::Named(what) => format!("a map with a name for each {what}"),
        Kind::Component(component) => format!("a map with one of the kinds: {}", component.available()),
        Kind::Field => "a text, or a map".to_owned(),
        Kind::Dict(what) => format!("a map of {what}"),
        Kind::Properties => {
            "a map of properties and their values; secret ones as secret://file/PATH or secret://env/NAME".to_owned()
        }
        Kind::Lanes => "{ name: weight, … }, or { strict: [name, …] }".to_owned(),
        Kind::Stamp => "offset, position, or { column: name }".to_owned(),
        Kind::List([]) => "a list of names".to_owned(),
        Kind::List(allowed) => format!("a list of: {}", allowed.join(", ")),
        Kind::AnyOrList => "any, or a list".to_owned(),
        Kind::Text => "a text".to_owned(),
        Kind::Path => "a path; a relative one starts at the working directory".to_owned(),
        Kind::OneOf(list) => format!("one of: {}", list.join(", ")),
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer { min, max } if max == u64::MAX => format!("a whole number from {min}"),
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Unbounded => "a whole number, or none".to_owned(),
        Kind::Number { min, max } => format!("a number from {min} to {max}"),
        Kind::Duration => "a duration like 500ms, 30s, 10m, 1h30m or 7d".to_owned(),
        Kind::Size { min } => format!("a size like 64KiB, 8MiB or 1GB, at least {}", scalar::size_text(min)),
        Kind::Rate => "a rate like 2000/s, or none".to_owned(),
        Kind::Percent => "a share from 0% to 100%".to_owned(),
        Kind::Secret => "secret://file/PATH or secret://env/NAME, or none".to_owned(),
    }
}

/// The JSON Schema (2020-12) of a configuration file, for editors. Any value may also be a text with a variable in it.
pub fn json_schema() -> Json {
    let mut root = schema_of(spec::root());
    if let Json::Object(root) = &mut root {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("widerow configuration"));
        root.insert("required".to_owned(), json!(["version"]));
    }
    root
}

fn schema_of(spec: &Spec) -> Json {
    let mut schema = match spec.kind {
        Kind::Map { .. } => object(spec, &[]),
        Kind::Named(_) => {
            json!({ "type": ["object", "null"], "additionalProperties": spec.named().map(schema_of).unwrap_or_default() })
        }
        Kind::Component(component) => {
            let built: Vec<&str> = component.built().collect();
            let mut schema = object(spec, &built);
            let kinds: Vec<Json> = built.iter().map(|kind| json!({ "required": [kind] })).collect();
            if let (None, Json::Object(schema)) = (component.default, &mut schema) {
                schema.insert("oneOf".to_owned(), Json::Array(kinds));
            }
            schema
        }
        Kind::Field => json!({ "anyOf": [{ "type": "string" }, object(spec, &[])] }),
        kind => leaf(kind),
    };
    if let Json::Object(schema) = &mut schema {
        if !doc(&spec.path).is_empty() {
            schema.insert("description".to_owned(), json!(doc(&spec.path)));
        }
        let scalar = default_of(&spec.path).filter(|node| node.scalar().is_some() && !node.is_null());
        if let Some(text) = scalar.and_then(Node::text) {
            schema.insert("default".to_owned(), typed_default(spec.kind, text));
        }
    }
    schema
}

fn typed_default(kind: Kind, text: &str) -> Json {
    match kind {
        Kind::Integer { .. } => super::scalar::integer(text).map_or_else(|| json!(text), |n| json!(n)),
        Kind::Number { .. } => super::scalar::number_of(text).map_or_else(|| json!(text), |n| json!(n)),
        Kind::Bool => json!(text == "true"),
        _ => json!(text),
    }
}

fn object(spec: &Spec, kinds: &[&str]) -> Json {
    let properties: Map<String, Json> =
        spec.children.iter().map(|(name, child)| ((*name).to_owned(), schema_of(child))).collect();
    let required = |(name, child): &&(&str, Spec)| {
        let leaf = child.children.is_empty() && !kinds.contains(name);
        (leaf && default_of(&child.path).is_some_and(Node::is_null))
            || matches!(child.kind, Kind::Component(c) if c.default.is_none())
    };
    let required: Vec<&str> = spec.children.iter().filter(required).map(|(name, _)| *name).collect();
    // An empty value stands for an empty map.
    let mut schema = json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties });
    if let (false, Json::Object(schema)) = (required.is_empty(), &mut schema) {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

const VARIABLE: &str = r"\$\{";

fn leaf(kind: Kind) -> Json {
    let or_variable = |schema: Json| json!({ "anyOf": [schema, { "type": "string", "pattern": VARIABLE }] });
    let pattern = |pattern: &str| or_variable(json!({ "type": "string", "pattern": pattern }));
    let names = json!({ "type": "array", "items": { "type": ["string", "number"] } });
    match kind {
        // A bare 1 is a number to an editor and a text to us.
        Kind::OneOf(list) => {
            let mut values: Vec<Json> = list.iter().map(|text| json!(text)).collect();
            values.extend(list.iter().filter_map(|text| text.parse::<u64>().ok()).map(|n| json!(n)));
            or_variable(json!({ "enum": values }))
        }
        Kind::Bool => or_variable(json!({ "type": "boolean" })),
        Kind::Integer { min, max } => or_variable(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Kind::Unbounded => or_variable(json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "none" }] })),
        Kind::Number { min, max } => or_variable(json!({ "type": "number", "minimum": min, "maximum": max })),
        Kind::Duration => pattern(r"^([0-9]+ *(ms|s|m|min|h|d) *)+$"),
        Kind::Size { .. } => pattern(r"^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)$"),
        Kind::Rate => pattern(r"^(none|[0-9.]+ */ *(s|m|h))$"),
        Kind::Percent => or_variable(json!({ "anyOf": [{ "type": "string", "pattern": r"^[0-9.]+ *%$" }, { "const": 0 }] })),
        Kind::List([]) => names,
        Kind::List(allowed) => json!({ "type": "array", "items": { "enum": allowed } }),
        Kind::AnyOrList => json!({ "anyOf": [{ "const": "any" }, names] }),
        Kind::Dict(_) | Kind::Properties => json!({ "type": ["object", "null"] }),
        Kind::Lanes => json!({ "type": "object", "minProperties": 1 }),
        Kind::Stamp => {
            let column = json!({ "column": { "type": "string" } });
            let column = json!({ "type": "object", "required": ["column"], "additionalProperties": false, "properties": column });
            json!({ "anyOf": [{ "enum": ["offset", "position"] }, column] })
        }
        _ => json!({ "type": ["string", "number", "boolean"] }),
    }
}
