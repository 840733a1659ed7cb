//! Reading the tree: tracked files, and Rust text as tokens that know their line and whether they are test code.

use std::path::Path;
use std::process::Command;

/// One tracked text file, its path from the root with `/` between.
pub struct Source {
    pub path: String,
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Word,
    Punct,
    /// The text without quotes, escapes as written.
    Text,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
    pub last_line: usize,
    pub in_test: bool,
    /// Inline modules around it.
    pub inline: usize,
}

/// Rust text taken apart.
pub struct Rust {
    pub tokens: Vec<Token>,
    /// (line, text).
    pub comments: Vec<(usize, String)>,
}

/// What was made, not written; as in `.gitignore`.
const MADE: &[&str] = &[".git", ".stack", "bench-results", "data", "target"];

/// Every text file git knows of, or that it would add. Without git (an unpacked archive, a foreign owner): every text file.
pub fn tracked(root: &Path) -> Vec<Source> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let paths: Vec<String> = match Command::new("git").args(args).current_dir(root).output() {
        Ok(listed) if listed.status.success() => {
            let text = String::from_utf8_lossy(&listed.stdout);
            text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect()
        }
        _ => {
            let mut found = Vec::new();
            walk(root, "", &mut found);
            found
        }
    };
    let read = |path: String| {
        let text = String::from_utf8(std::fs::read(root.join(&path)).ok()?).ok()?;
        Some(Source { path, text })
    };
    paths.into_iter().filter_map(read).collect()
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            _ if prefix.is_empty() && MADE.contains(&name.as_str()) => {}
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &format!("{path}/"), found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

/// Takes Rust text apart.
pub fn lex(text: &str) -> Rust {
    let mut lexer = Lexer { rest: text, line: 1, out: Rust { tokens: Vec::new(), comments: Vec::new() } };
    while lexer.step() {}
    let mut rust = lexer.out;
    mark_tests(&mut rust.tokens);
    mark_inline(&mut rust.tokens);
    rust
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    out: Rust,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) -> bool {
        let Some(c) = self.rest.chars().next() else { return false };
        if c.is_whitespace() {
            self.take(c.len_utf8());
        } else if self.rest.starts_with("//") {
            let line = self.line;
            let comment = self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            self.out.comments.push((line, comment.to_owned()));
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if let Some((open, hashes)) = self.string_start() {
            self.string(open, hashes);
        } else if c == '\'' {
            self.quote();
        } else if c.is_alphanumeric() || c == '_' {
            let line = self.line;
            let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
            let word = self.take(end);
            self.push(Kind::Word, word, line);
        } else {
            let line = self.line;
            let punct = self.take(if self.rest.starts_with("::") { 2 } else { c.len_utf8() });
            self.push(Kind::Punct, punct, line);
        }
        true
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, text: &str, line: usize) {
        let token = Token { kind, text: text.to_owned(), line, last_line: self.line, in_test: false, inline: 0 };
        self.out.tokens.push(token);
    }

    fn block_comment(&mut self) {
        let (line, mut depth, mut end) = (self.line, 0, 0);
        while end < self.rest.len() {
            if self.rest[end..].starts_with("/*") {
                (depth, end) = (depth + 1, end + 2);
            } else if self.rest[end..].starts_with("*/") {
                (depth, end) = (depth - 1, end + 2);
                if depth == 0 {
                    break;
                }
            } else {
                end += self.rest[end..].chars().next().map_or(1, char::len_utf8);
            }
        }
        let comment = self.take(end).to_owned();
        self.out.comments.extend(comment.lines().enumerate().map(|(n, text)| (line + n, text.to_owned())));
    }

    /// Bytes before the text, and the hashes of a raw string (`None` where backslashes escape).
    fn string_start(&self) -> Option<(usize, Option<usize>)> {
        let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|p| {
            self.rest.strip_prefix(p).is_some_and(|r| {
                let r = if p.ends_with('r') { r.trim_start_matches('#') } else { r };
                r.starts_with('"')
            })
        })?;
        if !prefix.ends_with('r') {
            return Some((prefix.len() + 1, None));
        }
        let hashes = self.rest[prefix.len()..].bytes().take_while(|b| *b == b'#').count();
        Some((prefix.len() + hashes + 1, Some(hashes)))
    }

    fn string(&mut self, open: usize, hashes: Option<usize>) {
        let line = self.line;
        self.take(open);
        let (len, close) = match hashes {
            Some(n) => {
                let close = format!("\"{}", "#".repeat(n));
                (self.rest.find(&close).unwrap_or(self.rest.len()), close.len())
            }
            None => {
                let mut escaped = false;
                let end = self.rest.find(|c| match c {
                    _ if escaped => {
                        escaped = false;
                        false
                    }
                    '\\' => {
                        escaped = true;
                        false
                    }
                    c => c == '"',
                });
                (end.unwrap_or(self.rest.len()), 1)
            }
        };
        let text = self.take(len);
        self.take(close.min(self.rest.len()));
        self.push(Kind::Text, text, line);
    }

    /// A character, or a lifetime.
    fn quote(&mut self) {
        let line = self.line;
        let after = &self.rest[1..];
        let len = if after.starts_with('\\') {
            after[2..].find('\'').map(|end| end + 4)
        } else {
            let first = after.chars().next().map_or(0, char::len_utf8);
            after[first..].starts_with('\'').then_some(first + 2)
        };
        self.take(len.unwrap_or(1));
        self.push(Kind::Punct, "'", line);
    }
}

/// The index after the group that opens at `open`, which is one of `(`, `[`, `{`.
pub fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.kind == Kind::Punct {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

/// Whether these tokens stand here; the pattern's are separated by blanks, and `"` is any string.
pub fn matches(tokens: &[Token], at: usize, pattern: &str) -> bool {
    pattern.split(' ').enumerate().all(|(n, want)| {
        tokens.get(at + n).is_some_and(|t| match t.kind {
            Kind::Text => want == "\"",
            _ => t.text == want,
        })
    })
}

/// Marks what `#[cfg(test)]` and `#[test]` stand before: up to the end of the item.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        if !matches(tokens, at, "# [ cfg ( test ) ]") && !matches(tokens, at, "# [ test ]") {
            at += 1;
            continue;
        }
        let mut end = at;
        while end < tokens.len() && !matches!(tokens[end].text.as_str(), ";" | "{") {
            end = if matches!(tokens[end].text.as_str(), "(" | "[") { group_end(tokens, end) } else { end + 1 };
        }
        if end < tokens.len() {
            end = if tokens[end].text == "{" { group_end(tokens, end) } else { end + 1 };
        }
        tokens[at..end].iter_mut().for_each(|t| t.in_test = true);
        at = end;
    }
}

fn mark_inline(tokens: &mut [Token]) {
    for at in 0..tokens.len() {
        if tokens[at].text == "mod" && tokens.get(at + 2).is_some_and(|t| t.text == "{") {
            let end = group_end(tokens, at + 2);
            tokens[at + 3..end].iter_mut().for_each(|t| t.inline += 1);
        }
    }
}
