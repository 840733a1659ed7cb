//! The rules, each a function from one file to its findings.

use crate::source::{Kind, Rust, Token, group_end, lex, matches};
use crate::*;
use std::fmt;

/// One fault: where, what, and what to do about it.
pub struct Finding {
    path: String,
    line: usize,
    what: String,
    remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} — {}", self.path, self.line, self.what, self.remedy)
    }
}

/// A Rust file with what the rules ask of it.
struct File<'a> {
    path: &'a str,
    rust: Rust,
    out: Vec<Finding>,
}

/// Holds every rule against one file.
pub fn check(source: &Source) -> Vec<Finding> {
    let path = source.path.as_str();
    let mut out = texts(source);
    if !path.ends_with(".rs") {
        return out;
    }
    let mut file = File { path, rust: lex(&source.text), out: Vec::new() };
    file.bans();
    file.comments();
    if path.starts_with("src/") && !is_test_file(path) {
        file.header(&source.text);
        file.arrows();
        file.purity();
        file.crates();
        file.sizes();
        file.logs();
    }
    out.extend(file.out);
    out
}

/// `place` is a file without its `.rs`, or a folder.
fn lies_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/samples.rs")
        || path.ends_with("/testing.rs")
        || path.contains("/tests/")
}

/// Banned texts anywhere, and banned words in files that are not Rust (in Rust only comments are held against them).
fn texts(source: &Source) -> Vec<Finding> {
    let path = source.path.as_str();
    let excepted = |text: &str| {
        TEXT_EXCEPTIONS.iter().any(|(place, allowed, _)| lies_in(path, place) && (*allowed == "*" || *allowed == text))
    };
    let data = DATA.iter().any(|place| lies_in(path, place));
    let mut out = Vec::new();
    for (n, line) in source.text.lines().enumerate() {
        let mut add = |what: String, remedy: &str| {
            out.push(Finding { path: path.to_owned(), line: n + 1, what, remedy: remedy.to_owned() });
        };
        for (text, remedy) in BANNED_TEXTS {
            if stands_alone(line, text) && !excepted(text) {
                add(format!("`{text}`"), remedy);
            }
        }
        if !path.ends_with(".rs") && !data && !path.ends_with(".jsonl") {
            for (word, remedy) in BANNED_WORDS.iter().filter(|(word, _)| has_word(line, word) && !excepted(word)) {
                add(format!("`{word}`"), remedy);
            }
        }
    }
    out
}

/// Whether the text stands in the line, not as the tail of a longer name or path.
fn stands_alone(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        !line[..at]
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '}' | ')') || (c == '.' && !text.contains('.')))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| !joins(line[..at].chars().next_back()) && !joins(line[at + word.len()..].chars().next()))
}

impl File<'_> {
    fn find(&mut self, line: usize, what: impl Into<String>, remedy: impl Into<String>) {
        self.out.push(Finding { path: self.path.to_owned(), line, what: what.into(), remedy: remedy.into() });
    }

    fn is_product(&self, token: &Token) -> bool {
        !token.in_test && self.path.starts_with("src/") && !is_test_file(self.path)
    }

    fn bans(&mut self) {
        for at in 0..self.rust.tokens.len() {
            let token = &self.rust.tokens[at];
            let line = token.line;
            for (pattern, place, remedy) in BANS {
                if !matches(&self.rust.tokens, at, pattern) {
                    continue;
                }
                if *place == Where::Product && !self.is_product(&self.rust.tokens[at]) {
                    continue;
                }
                let argument = self.rust.tokens.get(at + 3).map_or("", |t| &t.text);
                if EXPECTED.iter().any(|(path, text, _)| *path == self.path && *text == argument) {
                    continue;
                }
                self.find(line, format!("`{}`", pattern.replace(' ', "").trim_end_matches('"')), *remedy);
            }
        }
    }

    fn comments(&mut self) {
        if crate::TEXT_EXCEPTIONS.iter().any(|(place, text, _)| *text == "*" && lies_in(self.path, place)) {
            return;
        }
        for (line, comment) in std::mem::take(&mut self.rust.comments) {
            for (word, remedy) in BANNED_WORDS.iter().filter(|(word, _)| has_word(&comment, word)) {
                self.find(line, format!("`{word}` in a comment"), *remedy);
            }
        }
    }

    fn header(&mut self, text: &str) {
        if !text.starts_with("//! ") {
            self.find(1, "no `//!` header", "say what the file does, which rules it keeps, what it does not know");
        }
    }

    /// The room of this file: `src/io/redis.rs` → `io`.
    fn room(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// The file's own module path below `src`.
    fn module(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(inside, "lib" | "main") { Vec::new() } else { inside.split('/').map(str::to_owned).collect() }
    }

    fn arrows(&mut self) {
        let room = self.room().to_owned();
        if room == "lib" {
            return;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            self.find(1, format!("room `{room}` is not known"), "add it to ARROWS in tests/tidy.rs with what it may name");
            return;
        };
        for (line, path) in self.crate_paths() {
            let Some(target) = path.first() else { continue };
            let known = ARROWS.iter().any(|(name, _)| name == target);
            let one_more = FILE_ARROWS.iter().any(|(place, more)| lies_in(self.path, place) && more == target);
            if known && *target != room && !allowed.contains(&target.as_str()) && !one_more {
                let names = if allowed.is_empty() { "no other room".to_owned() } else { allowed.join(", ") };
                self.find(line, format!("`{room}` names `{target}`"), format!("it may name {names}; pass what is needed in"));
            }
            let own = self.module();
            if room == "actors"
                && target == "actors"
                && let (Some(role), Some(me)) = (path.get(1), own.get(1))
                && ACTOR_ROLES.contains(&role.as_str())
                && role != me
            {
                self.find(line, format!("actor `{me}` names actor `{role}`"), "hold a Recipient, given by wiring.rs");
            }
        }
    }

    /// Paths of product code that begin at this crate's root, after resolving `crate`, `super` and use groups.
    fn crate_paths(&self) -> Vec<(usize, Vec<String>)> {
        let tokens = &self.rust.tokens;
        let mut out = Vec::new();
        for at in 0..tokens.len() {
            let token = &tokens[at];
            let starts =
                matches!(token.text.as_str(), "crate" | "super") || (token.text == "widerow" && self.path == "src/main.rs");
            let inside = at > 0 && tokens[at - 1].text == "::";
            if token.in_test || token.kind != Kind::Word || !starts || inside || !matches(tokens, at + 1, "::") {
                continue;
            }
            let mut paths = Vec::new();
            read_path(tokens, at, Vec::new(), &mut paths);
            for path in paths {
                out.push((token.line, self.resolve(&path, token.inline)));
            }
        }
        out
    }

    fn resolve(&self, path: &[String], inline: usize) -> Vec<String> {
        let supers = path.iter().take_while(|p| *p == "super").count();
        let rest = path[supers..].iter().filter(|p| *p != "crate" && *p != "widerow").cloned();
        if supers == 0 {
            return rest.collect();
        }
        let mut base = self.module();
        base.truncate((base.len() + inline).saturating_sub(supers));
        base.into_iter().chain(rest).collect()
    }

    fn purity(&mut self) {
        if self.room() != "domain" {
            return;
        }
        for at in 0..self.rust.tokens.len() {
            let Token { line, in_test, .. } = self.rust.tokens[at];
            for (pattern, remedy) in IMPURE {
                if !in_test && matches(&self.rust.tokens, at, pattern) {
                    let shown = pattern.replace(" :: ", "::");
                    self.find(line, format!("`{}` in a pure room", shown.trim_end_matches(" ::")), *remedy);
                }
            }
        }
    }

    fn crates(&mut self) {
        for at in 0..self.rust.tokens.len() {
            let tokens = &self.rust.tokens;
            let token = &tokens[at];
            let Some((name, places)) = CRATES.iter().find(|(name, _)| *name == token.text) else { continue };
            let before = at.checked_sub(1).map_or("", |b| tokens[b].text.as_str());
            let before_that = at.checked_sub(2).map_or("", |b| tokens[b].text.as_str());
            // `::metrics::…` is the crate, `super::metrics::…` is a module.
            let below =
                before == "::" && tokens.get(at.wrapping_sub(2)).is_some_and(|t| t.kind == Kind::Word && before_that != "use");
            let used = matches(tokens, at + 1, "::") || before == "use";
            let own_module = (0..at).any(|m| matches(tokens, m, &format!("mod {name}")));
            let skip = token.in_test || token.kind != Kind::Word || below || !used || own_module || before == ".";
            if !skip && !places.iter().any(|place| lies_in(self.path, place)) {
                let line = token.line;
                self.find(line, format!("crate `{name}`"), format!("it is known only in {}", places.join(", ")));
            }
        }
    }

    fn sizes(&mut self) {
        let mut last = 0;
        let mut lines = 0;
        for token in self.rust.tokens.iter().filter(|t| !t.in_test) {
            lines += token.last_line + 1 - token.line.max(last + 1).min(token.last_line + 1);
            last = last.max(token.last_line);
        }
        if lines > FILE_LINES_MAX {
            self.find(1, format!("{lines} lines of code"), format!("at most {FILE_LINES_MAX}: make a folder of it"));
        }
        for at in 0..self.rust.tokens.len() {
            let tokens = &self.rust.tokens;
            if tokens[at].in_test || tokens[at].text != "fn" || tokens[at].kind != Kind::Word {
                continue;
            }
            let Some(name) = tokens.get(at + 1).filter(|t| t.kind == Kind::Word).map(|t| t.text.clone()) else { continue };
            let mut open = at;
            while open < tokens.len() && !matches!(tokens[open].text.as_str(), "{" | ";") {
                open = if matches!(tokens[open].text.as_str(), "(" | "[") { group_end(tokens, open) } else { open + 1 };
            }
            if tokens.get(open).is_none_or(|t| t.text == ";") {
                continue;
            }
            let line = tokens[at].line;
            let long = tokens[group_end(tokens, open) - 1].line - line + 1;
            if long > FUNCTION_LINES_MAX {
                self.find(
                    line,
                    format!("fn {name} has {long} lines"),
                    format!("at most {FUNCTION_LINES_MAX}: give a part of it a name"),
                );
            }
        }
    }

    /// Log lines: a fixed message, lower case, without full stop; facts are fields.
    fn logs(&mut self) {
        const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
        for at in 0..self.rust.tokens.len() {
            let tokens = &self.rust.tokens;
            if tokens[at].in_test || !LEVELS.contains(&tokens[at].text.as_str()) || !matches(tokens, at + 1, "! (") {
                continue;
            }
            let (line, end) = (tokens[at].line, group_end(tokens, at + 2));
            let message = message_of(tokens, at + 3, end);
            let Some(message) = message else {
                self.find(line, "a log line without a fixed message", "end it with a short text; facts are fields");
                continue;
            };
            if message.starts_with(char::is_uppercase) {
                self.find(line, format!("log text `{message}` begins in upper case"), "log text is lower case");
            }
            if message.ends_with('.') {
                self.find(line, format!("log text `{message}` ends with a full stop"), "leave it out");
            }
            if message.contains('{') {
                self.find(line, format!("log text `{message}` holds a value"), "facts are fields: name = %value");
            }
        }
    }
}

/// The string that stands alone among the arguments of a log macro: not a field's value, not inside a call.
fn message_of(tokens: &[Token], first: usize, end: usize) -> Option<String> {
    let mut at = first;
    while at < end {
        let stands = |t: &Token| matches!(t.text.as_str(), "," | "(" | ")");
        if tokens[at].kind == Kind::Text && stands(&tokens[at - 1]) && stands(&tokens[at + 1]) {
            return Some(tokens[at].text.clone());
        }
        at = if matches!(tokens[at].text.as_str(), "(" | "[" | "{") { group_end(tokens, at) } else { at + 1 };
    }
    None
}

/// Reads `a::b::{c, d::e}` as `a::b::c` and `a::b::d::e`; says where it ended.
fn read_path(tokens: &[Token], at: usize, mut path: Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at].text != "}" {
                    at = read_path(tokens, at, path.clone(), out);
                    if matches(tokens, at, ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "*" => {
                at += 1;
                break;
            }
            _ if token.kind == Kind::Word => path.push(token.text.clone()),
            _ => {
                at += 1;
                break;
            }
        }
        at += 1;
        if !matches(tokens, at, "::") {
            break;
        }
        at += 1;
    }
    if matches(tokens, at, "as") {
        at += 2;
    }
    out.push(path);
    at
}
