//! Fills `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` into every scalar, after parsing.
//!
//! A variable can therefore never change the structure of a file. Values of variables stand in no finding, nor what is
//! written inside the braces: it may be the default of a secret.

use super::findings::{Code, Findings};
use super::tree::{Node, Scalar, Value};

/// Looks a variable up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Defaults may hold variables again, to this depth.
const NESTING_MAX: usize = 8;

/// Fills the variables of a whole tree.
pub fn fill(node: &mut Node, env: Env<'_>, findings: &mut Findings) {
    let place = node.place;
    match &mut node.value {
        Value::Broken => {}
        Value::List(items) => items.iter_mut().for_each(|item| fill(item, env, findings)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| fill(&mut entry.value, env, findings)),
        Value::Scalar(scalar) if !scalar.text.contains('$') => {}
        Value::Scalar(scalar) => {
            let mut variables = Vec::new();
            match expand(&scalar.text, env, &mut variables, 0) {
                Ok(text) => {
                    let written = std::mem::replace(&mut scalar.text, text);
                    // A value that came from a variable is as if quoted: an empty one is an empty text, not a missing value.
                    scalar.quoted |= !variables.is_empty();
                    *scalar = Scalar { written: Some(written), variables, ..std::mem::take(scalar) };
                }
                Err(wrong) => {
                    match wrong {
                        Wrong::Unset { name, message } => {
                            let why = message.map_or_else(|| "is not set".to_owned(), |m| format!("is not set: {m}"));
                            let finding =
                                findings.add(Code::UnsetVariable, place, format!("environment variable `{name}` {why}"));
                            finding.help(format!("set it, or give a default: `${{{name}:-…}}`"));
                        }
                        Wrong::Form(what) => {
                            let finding = findings.add(Code::BadVariable, place, what);
                            finding.help("write `${VAR}`, `${VAR:-default}` or `${VAR:?message}`; `$$` is a dollar sign");
                        }
                    }
                    node.value = Value::Broken;
                }
            }
        }
    }
}

enum Wrong {
    Unset { name: String, message: Option<String> },
    Form(String),
}

fn expand(text: &str, env: Env<'_>, variables: &mut Vec<String>, depth: usize) -> Result<String, Wrong> {
    if depth > NESTING_MAX {
        return Err(Wrong::Form(format!("variables nested deeper than {NESTING_MAX}")));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| Wrong::Form("a `${` that is not closed".to_owned()))?;
            out.push_str(&variable(&after[..end], env, variables, depth)?);
            rest = &after[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The `}` that closes what was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn variable(inner: &str, env: Env<'_>, variables: &mut Vec<String>, depth: usize) -> Result<String, Wrong> {
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, form) = inner.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Wrong::Form("a `${…}` that does not begin with a variable's name".to_owned()));
    }
    let value = env(name);
    let mut set = |value: String| {
        variables.push(name.to_owned());
        Ok(value)
    };
    let filled = value.clone().filter(|v| !v.is_empty());
    if form.is_empty() {
        return value.map_or_else(|| Err(Wrong::Unset { name: name.to_owned(), message: None }), set);
    }
    if let Some(default) = form.strip_prefix(":-") {
        return match filled {
            Some(value) => set(value),
            None => expand(default, env, variables, depth + 1),
        };
    }
    if let Some(message) = form.strip_prefix(":?") {
        return filled.map_or_else(|| Err(Wrong::Unset { name: name.to_owned(), message: Some(message.to_owned()) }), set);
    }
    Err(Wrong::Form(format!("something other than a default or a message after the variable's name `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tree::Place;

    fn filled(text: &str) -> Result<String, Code> {
        let env = |name: &str| match name {
            "A" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let scalar = Scalar { text: text.to_owned(), ..Scalar::default() };
        let mut node = Node { place: Place::default(), value: Value::Scalar(scalar) };
        let mut findings = Findings::default();
        fill(&mut node, &env, &mut findings);
        match node.text() {
            Some(text) => Ok(text.to_owned()),
            None => Err(findings.finish()[0].code),
        }
    }

    /// Goal: the compose forms and no others. Method: a table of scalars.
    #[test]
    fn compose_forms() {
        for (text, want) in [
            ("${A}", Ok("x")),
            ("a${A}b${A}", Ok("axbx")),
            ("${B:-d}", Ok("d")),
            ("${EMPTY:-d}", Ok("d")),
            ("${EMPTY}", Ok("")),
            ("${B:-${A}}", Ok("x")),
            ("${B:-{k}}", Ok("{k}")),
            ("$$", Ok("$")),
            ("$${A}", Ok("${A}")),
            ("a$b", Ok("a$b")),
            ("$", Ok("$")),
            ("${B}", Err(Code::UnsetVariable)),
            ("${EMPTY:?why}", Err(Code::UnsetVariable)),
            ("${A", Err(Code::BadVariable)),
            ("${}", Err(Code::BadVariable)),
            ("${A:d}", Err(Code::BadVariable)),
            ("${9}", Err(Code::BadVariable)),
        ] {
            assert_eq!(filled(text), want.map(str::to_owned), "{text}");
        }
        let deep = "${B:-".repeat(50) + &"}".repeat(50);
        assert_eq!(filled(&deep), Err(Code::BadVariable));
    }
}
