//! The effective configuration, secrets starred, with the origin of every value: default, file and line, or variable.
//!
//! Knows only what may be shown: secrets were starred before they came here.

use super::secrets::without_user;
use super::spec::{self, Kind, Spec};
use super::tree::{Node, Place, Scalar, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// Where one value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from")]
pub enum From {
    Default,
    File {
        file: String,
        line: u32,
        column: u32,
    },
    /// Environment variables, named in a file or in the defaults.
    Env {
        variables: Vec<String>,
    },
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, .. } => write!(f, "{file}:{line}"),
            Self::Env { variables } => write!(f, "env {}", variables.join(", ")),
        }
    }
}

/// One effective value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OriginOf {
    pub path: String,
    pub value: Json,
    pub origin: From,
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub struct Origin {
    root: Node,
    files: Vec<String>,
}

impl Origin {
    pub(super) fn new(root: Node, files: Vec<String>) -> Self {
        Self { root, files }
    }

    /// As YAML that loads again; with `origin`, each value's origin stands behind it.
    pub fn yaml(&self, origin: bool) -> String {
        let mut lines: Vec<(String, Option<From>)> = Vec::new();
        self.write(&self.root, Some(spec::root()), 0, &mut lines);
        let width = lines.iter().map(|(text, _)| text.chars().count()).filter(|n| *n <= 60).max().unwrap_or_default();
        let mut out = String::new();
        for (text, from) in lines {
            let pad = width.saturating_sub(text.chars().count());
            match from.filter(|_| origin) {
                Some(from) => out.push_str(&format!("{text}{:pad$}  # {from}\n", "")),
                None => out.push_str(&format!("{text}\n")),
            }
        }
        out
    }

    /// As one JSON object: `config`, and `origins` with path, value and origin of every value.
    pub fn json(&self) -> Json {
        let mut origins = Vec::new();
        self.collect(&self.root, Some(spec::root()), "", &mut origins);
        let mut out = Map::new();
        out.insert("config".to_owned(), json(&self.root, Some(spec::root())));
        out.insert("origins".to_owned(), serde_json::to_value(origins).unwrap_or_default());
        Json::Object(out)
    }

    /// Sixteen hex digits that differ when any shown value differs (`config_info{hash}`).
    pub fn hash(&self) -> String {
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(self.yaml(false).as_bytes()))
    }

    fn from(&self, place: Place, scalar: Option<&Scalar>) -> From {
        match scalar {
            Some(scalar) if !scalar.variables.is_empty() => From::Env { variables: scalar.variables.clone() },
            _ if place.file == 0 => From::Default,
            _ => {
                let file = self.files.get(usize::from(place.file)).cloned().unwrap_or_default();
                From::File { file, line: place.line, column: place.column }
            }
        }
    }

    fn write(&self, node: &Node, spec: Option<&Spec>, depth: usize, lines: &mut Vec<(String, Option<From>)>) {
        let indent = "  ".repeat(depth);
        for entry in node.entries() {
            let spec = below(spec, &entry.key);
            let key = text_yaml(&entry.key);
            match &entry.value.value {
                Value::Map(inner) if !inner.is_empty() => {
                    lines.push((format!("{indent}{key}:"), None));
                    self.write(&entry.value, spec, depth + 1, lines);
                }
                Value::Scalar(scalar) => {
                    let from = self.from(entry.value.place, Some(scalar));
                    lines.push((format!("{indent}{key}: {}", scalar_yaml(scalar, spec)), Some(from)));
                }
                _ => {
                    let from = self.from(entry.value.place, None);
                    lines.push((format!("{indent}{key}: {}", flow_yaml(&entry.value)), Some(from)));
                }
            }
        }
    }

    fn collect(&self, node: &Node, spec: Option<&Spec>, path: &str, out: &mut Vec<OriginOf>) {
        for entry in node.entries() {
            let spec = below(spec, &entry.key);
            let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match &entry.value.value {
                Value::Map(inner) if !inner.is_empty() => self.collect(&entry.value, spec, &path, out),
                _ => {
                    let origin = self.from(entry.value.place, entry.value.scalar());
                    out.push(OriginOf { path, value: json(&entry.value, spec), origin });
                }
            }
        }
    }
}

fn below<'a>(spec: Option<&'a Spec>, key: &str) -> Option<&'a Spec> {
    spec.and_then(|spec| if matches!(spec.kind, Kind::Named(_)) { spec.named() } else { spec.child(key) })
}

fn json(node: &Node, spec: Option<&Spec>) -> Json {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|e| (e.key.clone(), json(&e.value, below(spec, &e.key)))).collect(),
        Value::List(items) => items.iter().map(|item| json(item, None)).collect(),
        Value::Broken => Json::Null,
        Value::Scalar(scalar) => {
            let text = scalar.text.as_str();
            let kind = spec.map(|s| s.kind);
            let number = match kind {
                Some(Kind::Integer { .. } | Kind::Unbounded) => super::scalar::integer(text).map(Json::from),
                Some(Kind::Bool) => super::scalar::boolean(text).map(Json::from),
                _ => None,
            };
            number.unwrap_or_else(|| Json::String(without_user(text)))
        }
    }
}

fn scalar_yaml(scalar: &Scalar, spec: Option<&Spec>) -> String {
    match spec.map(|s| s.kind) {
        Some(Kind::Integer { .. } | Kind::Number { .. } | Kind::Bool) => scalar.text.clone(),
        _ => text_yaml(&without_user(&scalar.text)),
    }
}

fn flow_yaml(node: &Node) -> String {
    match &node.value {
        Value::Map(entries) => {
            let inner: Vec<String> = entries.iter().map(|e| format!("{}: {}", text_yaml(&e.key), flow_yaml(&e.value))).collect();
            if inner.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", inner.join(", ")) }
        }
        Value::List(items) => format!("[{}]", items.iter().map(flow_yaml).collect::<Vec<_>>().join(", ")),
        Value::Scalar(scalar) => scalar_yaml(scalar, None),
        Value::Broken => "~".to_owned(),
    }
}

/// A text in quotes where YAML or we would read it as something else.
fn text_yaml(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '%' | '-' | '(' | ')');
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/'));
    if starts && text.chars().all(plain) && !matches!(text, "null" | "true" | "false") && !text.starts_with("...") {
        return text.to_owned();
    }
    // A JSON string is a YAML string; a dollar sign would begin a variable.
    serde_json::to_string(&text.replace('$', "$$")).unwrap_or_default()
}
