//! Secrets: which keys hold one, how it is read, and how it is kept out of everything that is shown.
//!
//! Keeps 3-interfaces 3.2: a secret is in no output. Keys that are known say so in `spec`; for the rest (properties of a
//! client library, misspelt keys, lines that are not YAML) their names tell. Too much is starred rather than too little.

use super::findings::Code;
use super::settings::Secret;
use super::shape::{Shaper, rebuilt};
use super::tree::{Entry, Node, Place, Scalar, Value};
use super::values::read_secret;

/// What stands for a secret in every output.
pub const STARS: &str = "***";

/// Words that make a key's value look like a secret even where the key is misspelt or out of place.
const SECRET_WORDS: &[&str] =
    &["token", "pass", "pwd", "secret", "credential", "auth", "apikey", "api_key", "private", "jaas", "key.pem"];

/// Whether a key's name says that its value is a secret.
pub fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether a property of librdkafka holds a secret. What `oauthbearer` is part of is no secret by that word alone, and
/// where a secret lies is none.
pub fn secret_property(key: &str) -> bool {
    let place = [".url", ".location", ".file", ".method", ".id", ".enabled"].iter().any(|end| key.ends_with(end));
    let free_text = key == "sasl.oauthbearer.config";
    free_text || (!place && sounds_secret(&key.to_lowercase().replace("oauthbearer", "")))
}

impl Shaper<'_> {
    /// Properties of a client library: single values, of which those that sound secret or refer to one are kept apart.
    pub(super) fn properties(&mut self, entries: &[Entry]) -> Vec<Entry> {
        let mut out = Vec::new();
        for entry in entries {
            let Some(scalar) = entry.value.scalar() else {
                self.wrong_shape(entry, "a single value");
                continue;
            };
            if secret_property(&entry.key) || scalar.text.starts_with("secret://") {
                self.path.push(entry.key.clone());
                out.extend(self.secret(entry, scalar));
                self.path.pop();
            } else {
                out.push(entry.clone());
            }
        }
        out
    }

    /// Reads a secret and keeps it beside the tree, which from here on holds stars.
    pub(super) fn secret(&mut self, entry: &Entry, scalar: &Scalar) -> Option<Entry> {
        let place = entry.value.place;
        let text = scalar.text.as_str();
        let read = if let Some(path) = text.strip_prefix("secret://file/") {
            read_secret(path)
        } else if let Some(name) = text.strip_prefix("secret://env/") {
            (self.env)(name).ok_or_else(|| format!("environment variable `{name}` is not set"))
        } else if text.starts_with("secret://") {
            Err("a secret is kept in `secret://file/PATH` or `secret://env/NAME`".to_owned())
        } else {
            self.findings.hide(text, place);
            self.findings.hide(scalar.shown(), place);
            if scalar.variables.is_empty() {
                let finding = self.findings.add(Code::PlainSecret, place, "a secret stands in the file itself");
                finding.help("keep it elsewhere and write `secret://file/PATH` or `secret://env/NAME`");
            }
            Ok(text.to_owned())
        };
        let value = match read {
            Ok(value) if !value.is_empty() => value,
            Ok(_) => {
                self.findings.add(Code::SecretUnreadable, place, "this secret is empty");
                return None;
            }
            Err(why) => {
                let finding = self.findings.add(Code::SecretUnreadable, place, format!("this secret cannot be read: {why}"));
                finding.help("PATH starts at the working directory; an absolute one has two slashes: `secret://file//run/token`");
                return None;
            }
        };
        // The place of a reference may be shown; what it refers to may not.
        if text.starts_with("secret://") {
            self.findings.hide(&value, Place::default());
        }
        // The first of the path stands for the file itself.
        let path = self.path.get(1..).unwrap_or_default().join(".");
        self.secrets.insert(path, Secret::new(value));
        let shown = Scalar { text: STARS.to_owned(), quoted: true, variables: scalar.variables.clone(), written: None };
        Some(rebuilt(entry, Value::Scalar(shown)))
    }

    /// Stars what sounds secret in a part of the tree that no spec describes; all of it under a key that does.
    pub(super) fn hide_below(&mut self, node: &Node, secret: bool) {
        match &node.value {
            Value::Scalar(scalar) if secret => {
                self.findings.hide(&scalar.text, node.place);
                self.findings.hide(scalar.shown(), node.place);
            }
            Value::List(items) => items.iter().for_each(|item| self.hide_below(item, secret)),
            Value::Map(entries) => {
                entries.iter().for_each(|entry| self.hide_below(&entry.value, secret || sounds_secret(&entry.key)));
            }
            Value::Scalar(_) | Value::Broken => {}
        }
    }
}

/// What looks like a secret in a line, as ranges of characters: values after keys that sound secret, and the user part
/// of addresses. For lines no key was understood of.
pub(super) fn suspicious(line: &[char]) -> Vec<(usize, usize)> {
    let mut ranges = user_parts(line);
    let end_of = |from: usize| line[from..].iter().position(|c| matches!(c, ',' | '}' | ']')).map_or(line.len(), |n| from + n);
    for colon in line.iter().enumerate().filter(|(_, c)| **c == ':').map(|(at, _)| at) {
        let word_start = line[..colon].iter().rposition(|c| matches!(c, ' ' | '{' | ',' | '[')).map_or(0, |at| at + 1);
        let word: String = line[word_start..colon].iter().collect();
        if !sounds_secret(&word) {
            continue;
        }
        let Some(space) = line[colon + 1..].iter().position(|c| *c != ' ') else { continue };
        let value = colon + 1 + space;
        let rest: String = line[value..].iter().take(12).collect();
        let reference = ["secret://", "\"secret://", "'secret://", "{", "#", "//"].iter().any(|p| rest.starts_with(p));
        let end = end_of(value);
        let none = line[value..end].iter().collect::<String>().trim() == "none";
        if !reference && !none {
            let quote = matches!(line[value], '"' | '\'').then_some(line[value]);
            let closing = quote.and_then(|q| line[value + 1..].iter().position(|c| *c == q));
            ranges.push((value, closing.map_or(end, |n| value + n + 2)));
        }
    }
    ranges
}

/// The user parts of the addresses in a text: what stands before an `@` and holds a colon, `://` and what precedes it
/// left out. A password may hold any mark but blanks and quotes.
fn user_parts(line: &[char]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in line.iter().enumerate().filter(|(_, c)| **c == '@').map(|(at, _)| at) {
        let before = line[..at].iter().rposition(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '`'));
        let word = before.map_or(0, |n| n + 1);
        let scheme = line[word..at].windows(3).position(|w| *w == [':', '/', '/']).map(|n| word + n + 3);
        let start = scheme.unwrap_or_else(|| word + line[word..at].iter().take_while(|c| matches!(c, '[' | '{' | '(')).count());
        if start >= at || (scheme.is_none() && !line[start..at].contains(&':')) {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.0 == start => last.1 = at,
            _ => ranges.push((start, at)),
        }
    }
    ranges
}

/// A text with the user parts of its addresses starred.
pub fn without_user(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    let mut line: Vec<char> = text.chars().collect();
    for (from, to) in user_parts(&line).into_iter().rev() {
        line.splice(from..to, STARS.chars());
    }
    line.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: users of addresses are starred and nothing else is. Method: a table.
    #[test]
    fn users_of_addresses() {
        for (text, want) in [
            ("redis://u:p@h/0", "redis://***@h/0"),
            ("redis://u:p/w,x@y@h/0", "redis://***@h/0"),
            ("http://u@h", "http://***@h"),
            ("u:p@h:9092", "***@h:9092"),
            ("[u:p@h:1, b:2]", "[***@h:1, b:2]"),
            ("`u:p@h` is not `host:port`", "`***@h` is not `host:port`"),
            ("order@shop", "order@shop"),
            ("a:1 at @", "a:1 at @"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_user(text), want);
        }
    }

    /// Goal: librdkafka's secrets are known, and settings that only sound like them stay readable. Method: a table.
    #[test]
    fn properties_that_hold_secrets() {
        for secret in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.jaas.config",
        ] {
            assert!(secret_property(secret), "{secret}");
        }
        for plain in [
            "sasl.username",
            "sasl.oauthbearer.method",
            "sasl.oauthbearer.client.id",
            "sasl.oauthbearer.token.endpoint.url",
            "enable.sasl.oauthbearer.unsecure.jwt",
            "sasl.oauthbearer.assertion.private.key.file",
            "ssl.key.location",
            "ssl.ca.pem",
            "fetch.message.max.bytes",
        ] {
            assert!(!secret_property(plain), "{plain}");
        }
    }
}
