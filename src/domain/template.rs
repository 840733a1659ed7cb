//! Key and id templates: `{last4(order_no)}:{order_no}`.
//!
//! The functions are a closed list: `last4`, `md5_4`, `pad(x, n)`. Knows nothing of rows; callers hand in a look-up.

use super::ids::Name;
use md5::{Digest, Md5};
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

/// The longest `pad`.
const PAD_MAX: usize = 64;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// An open brace, an unknown function, a missing or malformed argument: with the place.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < source.len() {
            let rest = &source[at..];
            let open = rest.find('{').unwrap_or(rest.len());
            if let Some(stray) = rest[..open].find('}') {
                return Err(TemplateError { at: at + stray, what: "a `}` without its `{`".into() });
            }
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            if open == rest.len() {
                break;
            }
            let inner_at = at + open + 1;
            let Some(len) = source[inner_at..].find('}') else {
                return Err(TemplateError { at: at + open, what: "a `{` that is not closed".into() });
            };
            pieces.push(parse_piece(&source[inner_at..inner_at + len], inner_at)?);
            at = inner_at + len + 1;
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

    /// The text, or the first column without a value.
    ///
    /// # Errors
    /// The column whose look-up gave nothing.
    pub fn render<'a>(&self, value: impl Fn(Name) -> Option<&'a str>) -> Result<String, Name> {
        let mut out = String::with_capacity(40);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Column { name, function } => function.write(value(*name).ok_or(*name)?, &mut out),
            }
        }
        Ok(out)
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
                // Writing to a String cannot fail.
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

    #[test]
    fn a_wrong_template_says_where() {
        for (template, at) in
            [("a{b", 1), ("a}b", 1), ("x{up(n)}", 2), ("{pad(n)}", 1), ("{pad(n,0)}", 1), ("{}", 1), ("{a b}", 1)]
        {
            assert_eq!(Template::parse(template).unwrap_err().at, at, "{template}");
        }
    }
}
