//! Key and id templates: `{last4(order_no)}:{order_no}`.
//!
//! The functions are a closed list: `last4`, `md5_4`, `pad(x, n)`; `{{` and `}}` are plain braces. Knows nothing of rows;
//! callers hand in a look-up.

use super::ids::Name;
use md5::{Digest, Md5};
use std::cell::Cell;
use std::fmt::Write;

/// A parsed template. Renders to text from column values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column { name: Name, function: Function },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Whole,
    /// The last four characters, shorter ones padded with 0 on the left.
    Last4,
    /// The first four hex digits of the MD5 of the text.
    Md5,
    /// Padded with 0 on the left to n characters.
    Pad(usize),
}

/// Where a template is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TemplateError {
    /// Byte offset into the template text.
    pub at: usize,
    pub what: String,
}

/// What the texts of a template begin with, where their first varying piece takes its values about evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Four decimal digits (`last4` of numbers).
    Decimal,
    /// Four hex digits (`md5_4`).
    Hex,
}

/// The longest `pad`.
const PAD_MAX: usize = 64;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// An open brace, an unknown function, a missing or malformed argument: with the place.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut at = 0;
        while let Some(first) = source[at..].chars().next() {
            let doubled = source[at + first.len_utf8()..].starts_with(first);
            match first {
                '{' | '}' if doubled => {
                    text.push(first);
                    at += 2;
                }
                '}' => return Err(TemplateError { at, what: "a `}` without its `{`".into() }),
                '{' => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    let Some(len) = source[at + 1..].find('}') else {
                        return Err(TemplateError { at, what: "a `{` that is not closed".into() });
                    };
                    pieces.push(parse_piece(&source[at + 1..at + 1 + len], at + 1)?);
                    at += len + 2;
                }
                _ => {
                    text.push(first);
                    at += first.len_utf8();
                }
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self { source: source.to_owned(), pieces })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// What every rendered text begins with.
    pub fn leading_text(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Columns in their first order of mention, each once.
    pub fn columns(&self) -> Vec<Name> {
        let mut columns = Vec::new();
        for piece in &self.pieces {
            if let Piece::Column { name, .. } = piece
                && !columns.contains(name)
            {
                columns.push(*name);
            }
        }
        columns
    }

    /// Columns that stand whole in the text; two entities with the same ones may still share a key (M9).
    pub fn whole_columns(&self) -> Vec<Name> {
        let whole = |p: &Piece| match p {
            Piece::Column { name, function: Function::Whole | Function::Pad(_) } => Some(*name),
            _ => None,
        };
        self.pieces.iter().filter_map(whole).collect()
    }

    /// The fixed text in front, and how what follows it is spread; `None` where nobody can tell. A store cuts its key space
    /// by it.
    pub fn spread(&self) -> Option<(&str, Spread)> {
        let (front, first) = match self.pieces.as_slice() {
            [Piece::Text(front), first, ..] => (front.as_str(), first),
            [first, ..] => ("", first),
            [] => return None,
        };
        match first {
            Piece::Column { function: Function::Last4, .. } => Some((front, Spread::Decimal)),
            Piece::Column { function: Function::Md5, .. } => Some((front, Spread::Hex)),
            Piece::Column { .. } | Piece::Text(_) => None,
        }
    }

    /// The text, or the first column without a value.
    ///
    /// # Errors
    /// The column whose look-up gave nothing.
    pub fn render<'a>(&self, value: impl Fn(Name) -> Option<&'a str>) -> Result<String, Name> {
        self.rendered(value, str::to_owned)
    }

    /// As [`Template::render`], for a caller that keeps something else than the text; its room is used again.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn rendered<'a, T>(&self, value: impl Fn(Name) -> Option<&'a str>, keep: impl FnOnce(&str) -> T) -> Result<T, Name> {
        thread_local! {
            static ROOM: Cell<String> = const { Cell::new(String::new()) };
        }
        let mut out = ROOM.take();
        out.clear();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Column { name, function } => function.write(value(*name).ok_or(*name)?, &mut out),
            }
        }
        let kept = keep(&out);
        ROOM.set(out);
        Ok(kept)
    }
}

/// Ways to read a text that are tried, at most.
const READINGS_MAX: usize = 10_000;

impl Template {
    /// The columns' values that give this text, if exactly one reading does.
    ///
    /// Every column must stand whole, a padded one beside its padding too; a text that values with separators inside make
    /// readable in two ways has no reading.
    pub fn read(&self, text: &str) -> Option<Vec<(Name, String)>> {
        let mut reading = Reading { template: self, whole: text, values: Vec::new(), found: None, tries: 0 };
        reading.go(&self.pieces, text).then_some(())?;
        reading.found
    }

    /// Whether texts of it can be read back, values without separators at least.
    pub fn is_readable(&self) -> bool {
        let values: Vec<_> = self.columns().into_iter().enumerate().map(|(i, name)| (name, i.to_string())).collect();
        let render = self.render(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str()));
        render.is_ok_and(|text| self.read(&text).is_some_and(|read| read == values))
    }

    /// A pattern that every text of it matches: columns as `column`, texts as `text` says.
    pub fn pattern(&self, text: impl Fn(&str) -> String, column: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(literal) => text(literal),
            Piece::Column { .. } => column.to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

/// One search for the readings of a text.
struct Reading<'a> {
    template: &'a Template,
    whole: &'a str,
    values: Vec<(Name, &'a str)>,
    found: Option<Vec<(Name, String)>>,
    tries: usize,
}

impl<'a> Reading<'a> {
    /// Tries the pieces on the rest of the text; false once a second reading was found, or after too many tries.
    fn go(&mut self, pieces: &[Piece], rest: &'a str) -> bool {
        self.tries += 1;
        if self.tries > READINGS_MAX {
            return false;
        }
        let Some((piece, after)) = pieces.split_first() else { return !rest.is_empty() || self.end() };
        match piece {
            Piece::Text(literal) => rest.strip_prefix(literal.as_str()).is_none_or(|rest| self.go(after, rest)),
            Piece::Column { name, function: Function::Whole } => match self.value(*name) {
                Some(value) => rest.strip_prefix(value).is_none_or(|rest| self.go(after, rest)),
                None => self.ends(after, rest).into_iter().all(|end| {
                    self.values.push((*name, &rest[..end]));
                    let on = self.go(after, &rest[end..]);
                    self.values.pop();
                    on
                }),
            },
            // What a function makes of a column tells nothing new: the end holds it against the column's value.
            Piece::Column { .. } => self.ends(after, rest).into_iter().all(|end| self.go(after, &rest[end..])),
        }
    }

    fn value(&self, name: Name) -> Option<&'a str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Where a column's text may end: before each next literal, or anywhere.
    fn ends(&self, after: &[Piece], rest: &str) -> Vec<usize> {
        match after.first() {
            None => vec![rest.len()],
            Some(Piece::Text(literal)) => {
                (0..=rest.len()).filter(|at| rest.is_char_boundary(*at) && rest[*at..].starts_with(literal)).collect()
            }
            Some(_) => (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).collect(),
        }
    }

    /// All pieces and the whole text are used up.
    fn end(&mut self) -> bool {
        if self.template.render(|name| self.value(name)).as_deref() != Ok(self.whole) {
            return true;
        }
        let value = |name| self.value(name).map(|value| (name, value.to_owned()));
        let reading = self.template.columns().into_iter().map(value).collect::<Option<Vec<_>>>();
        if self.found.as_ref().is_some_and(|found| Some(found) != reading.as_ref()) {
            return false;
        }
        self.found = reading;
        true
    }
}

fn parse_piece(inner: &str, at: usize) -> Result<Piece, TemplateError> {
    let wrong = |what: String| TemplateError { at, what };
    let (function, column) = match inner.split_once('(') {
        None => (Function::Whole, inner),
        Some((name, args)) => {
            let args = args.strip_suffix(')').ok_or_else(|| wrong(format!("`{inner}` lacks its closing `)`")))?;
            match name.trim() {
                "last4" => (Function::Last4, args),
                "md5_4" => (Function::Md5, args),
                "pad" => {
                    let (column, n) = args.split_once(',').ok_or_else(|| wrong("`pad` is written `pad(column, n)`".into()))?;
                    let n = n.trim().parse().ok().filter(|n| (1..=PAD_MAX).contains(n));
                    (Function::Pad(n.ok_or_else(|| wrong(format!("`pad` takes a width from 1 to {PAD_MAX}")))?), column)
                }
                other => return Err(wrong(format!("`{other}` is not a function; allowed: last4(x), md5_4(x), pad(x, n)"))),
            }
        }
    };
    let column = column.trim();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-');
    if column.is_empty() || !column.chars().all(plain) {
        return Err(wrong(format!("`{column}` is not a column name")));
    }
    Ok(Piece::Column { name: Name::of(column), function })
}

impl Function {
    fn write(self, value: &str, out: &mut String) {
        let pad = |out: &mut String, have: usize, want: usize| (have..want).for_each(|_| out.push('0'));
        match self {
            Self::Whole => out.push_str(value),
            Self::Last4 => {
                let count = value.chars().count();
                pad(out, count, 4);
                out.extend(value.chars().skip(count.saturating_sub(4)));
            }
            Self::Md5 => {
                let digest = Md5::digest(value.as_bytes());
                // Writing to a text cannot fail.
                let _ = write!(out, "{:02x}{:02x}", digest[0], digest[1]);
            }
            Self::Pad(width) => {
                pad(out, value.chars().count(), width);
                out.push_str(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_render() {
        for (template, value, want) in [
            ("{last4(n)}:{n}", "2308221547134561234789456", "9456:2308221547134561234789456"),
            ("{last4(n)}:{n}", "7", "0007:7"),
            ("{md5_4(n)}{pad(n, 6)}", "12", "c20a000012"),
            ("p{n}", "门店", "p门店"),
        ] {
            let got = Template::parse(template).unwrap().render(|_| Some(value)).unwrap();
            assert_eq!(got, want, "{template} of {value}");
        }
        assert_eq!(Template::parse("{a}{b}").unwrap().render(|c| (c == Name::of("a")).then_some("x")), Err(Name::of("b")));
    }

    /// Goal: plain braces, and what is read back is what was put in. Method: a table of templates, values and texts.
    #[test]
    fn texts_are_read_back() {
        let (a, b) = (Name::of("a"), Name::of("b"));
        for (template, values, text, readable) in [
            ("{a}", ["7", ""], "7", true),
            ("order:{a}", ["", ""], "order:", true),
            ("{{{a}}}:{b}", ["7", "x"], "{7}:x", true),
            ("{{shop}}:{a}", ["7", ""], "{shop}:7", true),
            ("{last4(a)}:{a}", ["123456", ""], "3456:123456", true),
            ("{a}-{md5_4(a)}", ["1-2", ""], "1-2-98c6", true),
            ("{a}:{b}", ["1", "2"], "1:2", true),
            ("{a}:{b}", ["1:2", "3"], "1:2:3", false),
            ("{a}{b}", ["1", "2"], "12", false),
            ("{pad(a, 4)}", ["1", ""], "0001", false),
            ("{pad(a, 4)}/{a}", ["1", ""], "0001/1", true),
            ("{last4(a)}", ["12345", ""], "2345", false),
        ] {
            let parsed = Template::parse(template).unwrap();
            let rendered = parsed.render(|name| Some(if name == a { values[0] } else { values[1] })).unwrap();
            assert_eq!(rendered, text, "{template}");
            let want: Vec<_> = parsed.columns().into_iter().map(|n| (n, values[usize::from(n == b)].to_owned())).collect();
            assert_eq!(parsed.read(&rendered), readable.then_some(want), "{template} of {rendered}");
        }
        for (template, readable) in
            [("{a}:{b}", true), ("{a}{b}", false), ("{pad(a, 4)}", false), ("{last4(a)}:{a}", true), ("{{{a}}}", true)]
        {
            assert_eq!(Template::parse(template).unwrap().is_readable(), readable, "{template}");
        }
        assert_eq!(Template::parse("a*{{{b}:{last4(b)}").unwrap().pattern(|text| text.replace('*', "\\*"), "*"), "a\\*{*:*");
        assert_eq!(Template::parse("x{a}").unwrap().read("y7"), None);
    }

    #[test]
    fn a_wrong_template_says_where() {
        for (template, at) in
            [("a{b", 1), ("a}b", 1), ("x{up(n)}", 2), ("{pad(n)}", 1), ("{pad(n,0)}", 1), ("{}", 1), ("{a b}", 1), ("{a}}", 3)]
        {
            assert_eq!(Template::parse(template).unwrap_err().at, at, "{template}");
        }
    }
}
