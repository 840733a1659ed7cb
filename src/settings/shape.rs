//! Checks a tree against the list of keys and fills in what is not written.
//!
//! What comes out is complete and of the right shape: unknown keys are gone, values of the wrong type are replaced by
//! defaults, and each of them has left a finding. So the rooms after this one read without checking again, and one bad
//! value does not hide the next. Knows nothing of how keys hang together.

use super::findings::{Code, Findings, nearest};
use super::secrets::sounds_secret;
use super::settings::Secret;
use super::spec::{Component, Kind, ROLES_LATER, Spec};
use super::tree::{Entry, Node, Place, Scalar, Value};
use super::values::{good_column, good_name, wrong_scalar};
use super::vars::Env;
use crate::domain::ids::NAME_BYTES_MAX;
use std::collections::HashMap;

pub struct Shaper<'a> {
    pub findings: &'a mut Findings,
    pub env: Env<'a>,
    /// Revealed secrets by path; the tree itself holds only what may be shown.
    pub secrets: HashMap<String, Secret>,
    /// What is filled in stands for something already found fault with; what it lacks is no second finding.
    pub quiet: bool,
    /// Keys from the top to here, with the names the user gave.
    pub path: Vec<String>,
}

impl Shaper<'_> {
    /// The complete form of `written`. `None`: it is not there, or a finding was made of it.
    pub fn fill(&mut self, spec: &Spec, written: Option<&Entry>, default: Option<&Entry>, parent: Place) -> Option<Entry> {
        let written = written.filter(|e| !e.value.is_null());
        // What a user named keeps its name; anything else is called as in the list of keys.
        let name = written.map(|e| e.key.as_str()).or_else(|| spec.path.rsplit('.').next());
        self.path.push(name.unwrap_or_default().to_owned());
        let filled = self.fill_here(spec, written, default, parent);
        self.path.pop();
        filled
    }

    fn fill_here(&mut self, spec: &Spec, written: Option<&Entry>, default: Option<&Entry>, parent: Place) -> Option<Entry> {
        if let Some(entry) = written
            && !entry.value.is_broken()
        {
            let value = match spec.kind {
                Kind::Map { .. } => self.map(spec, entry, default),
                Kind::Named(what) => self.named(spec, entry, default, what),
                Kind::Component(component) => self.component(spec, component, entry, default),
                Kind::Field => self.field(spec, entry),
                _ => self.leaf(spec, entry, default),
            };
            if value.is_some() {
                return value;
            }
        }
        let told = written.is_some();
        let was_quiet = self.quiet;
        self.quiet |= told;
        let filled = self.fallback(spec, default, parent, told);
        self.quiet = was_quiet;
        filled
    }

    fn fallback(&mut self, spec: &Spec, default: Option<&Entry>, parent: Place, told: bool) -> Option<Entry> {
        match spec.kind {
            Kind::Map { optional: true } => None,
            Kind::Map { .. } => self.map(spec, &empty(default?, parent), default),
            Kind::Named(what) if !told => self.named(spec, &empty(default?, parent), default, what),
            Kind::Named(_) => None,
            Kind::Component(component) if !told => self.component(spec, component, &empty(default?, parent), default),
            Kind::Component(_) => None,
            _ if default.is_some_and(|d| d.value.is_null()) => {
                self.missing(spec, parent);
                None
            }
            _ => default.cloned(),
        }
    }

    fn missing(&mut self, spec: &Spec, parent: Place) {
        if self.quiet {
            return;
        }
        let key = self.path.last().cloned().unwrap_or_default();
        let within = &self.path[..self.path.len().saturating_sub(1)];
        let message = format!("`{key}` is missing{}", within_text(within));
        let finding = self.findings.add(Code::MissingKey, parent, message);
        let hint = match spec.path.as_str() {
            "version" => "begin the file with `version: 1`".to_owned(),
            path => format!("`widerow config explain {}` tells what belongs there", path.replace("*.", "")),
        };
        finding.help(hint);
    }

    fn map(&mut self, spec: &Spec, entry: &Entry, default: Option<&Entry>) -> Option<Entry> {
        let Value::Map(entries) = &entry.value.value else { return self.wrong_shape(entry, "a map") };
        for written in entries.iter().filter(|e| spec.child(&e.key).is_none()) {
            self.unknown(spec, written);
        }
        let mut out = Vec::new();
        for (name, child) in &spec.children {
            let default = default.and_then(|d| find(&d.value, name));
            out.extend(self.fill(child, find(&entry.value, name), default, entry.key_place));
        }
        Some(rebuilt(entry, Value::Map(out)))
    }

    fn named(&mut self, spec: &Spec, entry: &Entry, default: Option<&Entry>, what: &str) -> Option<Entry> {
        let Value::Map(entries) = &entry.value.value else {
            return self.wrong_shape(entry, &format!("a map with a name for each {what}"));
        };
        let child = spec.named()?;
        let default = default.and_then(|d| find(&d.value, "*"));
        let mut out = Vec::new();
        for written in entries {
            if !self.check_name(what, written) {
                continue;
            }
            let filled = match child.kind {
                Kind::Field if written.value.is_null() => self.wrong_shape(written, "`table.column` or a map"),
                Kind::Map { .. } | Kind::Component(_) if written.value.is_null() => {
                    let named = rebuilt(written, Value::Map(Vec::new()));
                    self.fill(child, Some(&named), default, written.key_place)
                }
                _ => self.fill(child, Some(written), default, written.key_place),
            };
            out.extend(filled.map(|filled| Entry { key: written.key.clone(), key_place: written.key_place, ..filled }));
        }
        Some(rebuilt(entry, Value::Map(out)))
    }

    /// Names of components become metric labels, folders and key parts; those of tables and fields are freer.
    fn check_name(&mut self, what: &str, entry: &Entry) -> bool {
        let name = entry.key.as_str();
        let allowed = match what {
            "field" => !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control),
            "table" => {
                let parts: Vec<&str> = name.split('.').collect();
                parts.len() == 2 && parts.iter().all(|part| good_column(part))
            }
            _ => good_name(name),
        };
        if !allowed {
            let finding = self.findings.add(Code::BadName, entry.key_place, format!("`{name}` cannot name a {what}"));
            finding.help(match what {
                "field" => "a field's name is a text of 1 to 256 bytes without control characters",
                "table" => "write `database.table`; shards of one table are named once, with `match:`",
                _ => "a name is 1 to 64 of: a-z A-Z 0-9 _ -",
            });
        }
        allowed
    }

    fn component(&mut self, spec: &Spec, component: Component, entry: &Entry, default: Option<&Entry>) -> Option<Entry> {
        let Value::Map(entries) = &entry.value.value else { return self.wrong_shape(entry, "a map that names the kind") };
        let (what, available) = (component.what, component.available());
        let chosen: Vec<&Entry> = entries.iter().filter(|e| component.is_built(&e.key)).collect();
        let mut told = false;
        for written in entries {
            let key = written.key.as_str();
            if component.is_kind(key) && !component.is_built(key) {
                told = true;
                let message = format!("`{key}` is not built into this version; available: {available}");
                self.findings.add(Code::NotBuilt, written.key_place, message);
                self.hide_below(&written.value, false);
            } else if spec.child(key).is_none() {
                let kind_like = chosen.is_empty() && matches!(written.value.value, Value::Map(_));
                if kind_like && nearest(key, spec.child_names().filter(|c| !component.is_kind(c))).is_none() {
                    told = true;
                    let message = format!("`{key}` is no kind of {what}; available: {available}");
                    self.findings.add(Code::UnknownKind, written.key_place, message).nearest(key, component.built());
                    self.hide_below(&written.value, false);
                } else {
                    self.unknown(spec, written);
                }
            }
        }
        if let [first, second, ..] = chosen[..] {
            let message = format!("a {what} has one kind, and here are `{}` and `{}`", first.key, second.key);
            self.findings.add(Code::TwoKinds, second.key_place, message).help("keep one of them");
        }
        let kind = match chosen.first() {
            Some(chosen) => Some(chosen.key.as_str()),
            None if told => None,
            None if component.default.is_some() => component.default,
            None => {
                let message = format!("this {what} does not say its kind; available: {available}");
                let finding = self.findings.add(Code::NoKind, entry.key_place, message);
                finding.help(format!(
                    "write one of them as a key, like `{}: {{ … }}`",
                    component.built().next().unwrap_or("embedded")
                ));
                None
            }
        };
        let mut out = Vec::new();
        for (name, child) in spec.children.iter().filter(|(name, _)| !component.is_kind(name) || Some(*name) == kind) {
            let default = default.and_then(|d| find(&d.value, name));
            out.extend(self.fill(child, find(&entry.value, name), default, entry.key_place));
        }
        Some(rebuilt(entry, Value::Map(out)))
    }

    fn field(&mut self, spec: &Spec, entry: &Entry) -> Option<Entry> {
        match &entry.value.value {
            Value::Scalar(_) => Some(entry.clone()),
            Value::Map(entries) => {
                for written in entries.iter().filter(|e| spec.child(&e.key).is_none()) {
                    self.unknown(spec, written);
                }
                let known = entries.iter().filter_map(|e| Some((e, spec.child(&e.key)?)));
                let known: Vec<_> = known.filter(|(e, _)| !e.value.is_null()).collect();
                let out = known.into_iter().filter_map(|(e, child)| self.fill(child, Some(e), None, e.key_place)).collect();
                Some(rebuilt(entry, Value::Map(out)))
            }
            _ => self.wrong_shape(entry, "`table.column` or a map"),
        }
    }

    fn leaf(&mut self, spec: &Spec, entry: &Entry, default: Option<&Entry>) -> Option<Entry> {
        let place = entry.value.place;
        match (spec.kind, &entry.value.value) {
            (Kind::Dict(_) | Kind::Lanes, Value::Map(_)) => Some(entry.clone()),
            (Kind::Properties, Value::Map(entries)) => Some(rebuilt(entry, Value::Map(self.properties(entries)))),
            (Kind::Properties, _) => self.wrong_shape(entry, "a map of properties and their values"),
            (Kind::Dict(what), _) => self.wrong_shape(entry, &format!("a map of {what}")),
            (Kind::Lanes, _) => self.wrong_shape(entry, "`{ name: weight, … }` or `{ strict: [name, …] }`"),
            (Kind::Stamp, Value::Map(entries)) => {
                let column = matches!(&entries[..], [only] if only.key == "column" && only.value.text().is_some_and(good_column));
                if column { Some(entry.clone()) } else { self.wrong_shape(entry, "`offset`, `position` or `{ column: name }`") }
            }
            (Kind::List(allowed), Value::List(items)) => self.list(entry, items, allowed),
            (Kind::AnyOrList, Value::List(items)) => self.list(entry, items, &[]),
            (Kind::AnyOrList, Value::Scalar(s)) if s.text == "any" => Some(entry.clone()),
            (Kind::AnyOrList, _) => {
                let shown = entry.value.scalar().map_or("table.column", Scalar::shown).to_owned();
                self.findings.add(Code::WrongShape, place, "`any` or a list belongs here").help(format!("write `[{shown}]`"));
                None
            }
            (Kind::List(_), value) => {
                let found = entry.value.shape();
                let finding = self.findings.add(Code::WrongShape, place, format!("a list belongs here, and this is {found}"));
                if let Value::Scalar(scalar) = value {
                    finding.help(format!("write `[{}]`", scalar.shown()));
                }
                None
            }
            (kind, Value::Scalar(scalar)) => {
                if scalar.text == "none" && default.is_some_and(|d| d.value.text() == Some("none")) {
                    return Some(entry.clone());
                }
                if kind == Kind::Secret {
                    return self.secret(entry, scalar);
                }
                if scalar.text.starts_with("secret://") {
                    let message = "a secret cannot stand here: this value is shown in logs and pages";
                    let secret_keys = "keys that take one say so in `widerow config explain`: tokens, passwords, API keys";
                    self.findings.add(Code::SecretMisplaced, place, message).help(secret_keys);
                    return None;
                }
                match wrong_scalar(kind, &scalar.text) {
                    None => Some(entry.clone()),
                    Some((code, allowed)) => {
                        let message = format!("`{}` is not {allowed}", scalar.shown());
                        let finding = self.findings.add(code, place, message);
                        if let (Kind::OneOf(list), None) = (kind, &scalar.written) {
                            finding.nearest(&scalar.text, list.iter().copied());
                        }
                        None
                    }
                }
            }
            _ => self.wrong_shape(entry, "a single value"),
        }
    }

    fn list(&mut self, entry: &Entry, items: &[Node], allowed: &[&'static str]) -> Option<Entry> {
        let mut out = Vec::new();
        for item in items.iter().filter(|item| !item.is_broken()) {
            let Some(scalar) = item.scalar().filter(|s| !s.is_null()) else {
                let message = format!("a single value belongs here, and this is {}", item.shape());
                self.findings.add(Code::WrongShape, item.place, message);
                continue;
            };
            let text = scalar.text.as_str();
            if allowed.is_empty() || allowed.contains(&text) {
                out.push(item.clone());
                continue;
            }
            let known = format!("available: {}", allowed.join(", "));
            if ROLES_LATER.contains(&text) {
                let message = format!("`{text}` is not built into this version; {known}");
                self.findings.add(Code::NotBuilt, item.place, message);
            } else {
                let message = format!("`{}` is not known here; {known}", scalar.shown());
                self.findings.add(Code::BadValue, item.place, message).nearest(text, allowed.iter().copied());
            }
        }
        // A list of which nothing is left was already found fault with; its default keeps later checks quiet.
        if out.is_empty() && !items.is_empty() { None } else { Some(rebuilt(entry, Value::List(out))) }
    }

    fn unknown(&mut self, spec: &Spec, written: &Entry) {
        let key = written.key.as_str();
        let near = nearest(key, spec.child_names());
        let secret = sounds_secret(key) || near.and_then(|n| spec.child(n)).is_some_and(|s| s.kind == Kind::Secret);
        self.hide_below(&written.value, secret);
        let known: Vec<&str> = spec.child_names().collect();
        let message = format!("unknown key `{key}`{}", within_text(&self.path));
        let finding = self.findings.add(Code::UnknownKey, written.key_place, message);
        finding.nearest(key, known.iter().copied());
        finding.help(if known.is_empty() {
            "nothing can be set here".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        });
    }

    pub(super) fn wrong_shape(&mut self, entry: &Entry, wanted: &str) -> Option<Entry> {
        self.hide_below(&entry.value, sounds_secret(&entry.key));
        if !entry.value.is_broken() {
            let found = entry.value.shape();
            let message = format!("`{}` takes {wanted}, and this is {found}", entry.key);
            self.findings.add(Code::WrongShape, entry.value.place, message);
        }
        None
    }
}

/// ` in `a.b``, or nothing at the top, whose own name comes first in a path.
fn within_text(path: &[String]) -> String {
    match path {
        [] | [_] => String::new(),
        [_, path @ ..] => format!(" in `{}`", path.join(".")),
    }
}

fn find<'a>(node: &'a Node, key: &str) -> Option<&'a Entry> {
    node.entries().iter().find(|e| e.key == key)
}

pub(super) fn rebuilt(entry: &Entry, value: Value) -> Entry {
    Entry { key: entry.key.clone(), key_place: entry.key_place, value: Node { place: entry.value.place, value } }
}

/// A map that nobody wrote; findings of what is missing in it point at the parent.
fn empty(default: &Entry, parent: Place) -> Entry {
    let value = Node { place: default.value.place, value: Value::Map(Vec::new()) };
    Entry { key: default.key.clone(), key_place: parent, value }
}
