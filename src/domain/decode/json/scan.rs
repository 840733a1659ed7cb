//! One pass over JSON text: where each value ends, and whether it is JSON at all. Accepts exactly what `serde_json` does.
//!
//! Knows nothing of what values mean. A third of a record's decoding is this file's, so it looks at eight bytes at once
//! inside strings and keeps its stack in one number.

use super::super::DEPTH_MAX;

/// What is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    pub(super) wanted: &'static str,
    pub(super) at: usize,
}

type Scan<T> = Result<T, NotJson>;

/// One bit per level: set inside an object, clear inside an array.
struct Nesting {
    objects: u128,
    depth: usize,
}

impl Nesting {
    fn enter(&mut self, object: bool) -> bool {
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
        self.depth <= DEPTH_MAX
    }
    fn leave(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }
    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// How far it has read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether the next value is an object; stays before it.
    pub(super) fn is_at_object(&mut self) -> bool {
        self.token() == Some(b'{')
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong<T>(&self, wanted: &'static str) -> Scan<T> {
        Err(NotJson { wanted, at: self.at })
    }

    /// The next byte that is no white space; stays on it.
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Passes one expected byte, white space before it.
    pub(super) fn expect(&mut self, byte: u8, wanted: &'static str) -> Scan<()> {
        if self.token() != Some(byte) {
            return self.wrong(wanted);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the byte if it is the next one.
    pub(super) fn passes(&mut self, byte: u8) -> bool {
        let is = self.token() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// Only white space is left.
    pub(super) fn end(&mut self) -> Scan<()> {
        match self.token() {
            None => Ok(()),
            Some(_) => self.wrong("nothing more"),
        }
    }

    /// A member's name with its quotes, and whether anything in it is escaped; passes the colon.
    pub(super) fn key(&mut self) -> Scan<(&'a str, bool)> {
        if self.token() != Some(b'"') {
            return self.wrong("a member's name");
        }
        let from = self.at;
        let escaped = self.string()?;
        let key = &self.text[from..self.at];
        self.expect(b':', "`:` after a member's name")?;
        Ok((key, escaped))
    }

    /// Passes `text` and stays behind it, if what is left begins with it.
    #[inline]
    pub(super) fn passes_text(&mut self, text: &str) -> bool {
        let is = self.text.as_bytes()[self.at..].starts_with(text.as_bytes());
        self.at += if is { text.len() } else { 0 };
        is
    }

    /// Passes `member` and stays behind it, if the text goes on with it and it is whole: a name, its value and then a comma
    /// or the object's end.
    #[inline]
    pub(super) fn passes_member(&mut self, member: &[u8]) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let is = rest.starts_with(member) && matches!(rest.get(member.len()), Some(b',' | b'}'));
        self.at += if is { member.len() } else { 0 };
        is
    }

    /// Where a part of the text begins.
    pub(super) fn start_of(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.text.as_ptr() as usize
    }

    /// What was passed since a place.
    pub(super) fn passed(&self, from: usize) -> &'a str {
        &self.text[from..self.at]
    }

    /// The next value's own text.
    pub(super) fn value(&mut self) -> Scan<&'a str> {
        let (from, _) = self.value_at()?;
        Ok(&self.text[from..self.at])
    }

    /// Passes the next value: where it begins, and whether it is a string in which something is escaped.
    #[inline]
    pub(super) fn value_at(&mut self) -> Scan<(usize, bool)> {
        let first = self.token();
        let from = self.at;
        let escaped = match first {
            Some(b'"') => self.string()?,
            Some(b'{' | b'[') => self.nested().map(|()| false)?,
            first => self.scalar(first).map(|()| false)?,
        };
        Ok((from, escaped))
    }

    fn scalar(&mut self, first: Option<u8>) -> Scan<()> {
        match first {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null"),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            _ => self.wrong("a value"),
        }
    }

    fn word(&mut self, word: &'static str) -> Scan<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.wrong("null, true or false");
        }
        self.at += word.len();
        Ok(())
    }

    /// An object or array to its end, without recursion.
    fn nested(&mut self) -> Scan<()> {
        let mut nesting = Nesting { objects: 0, depth: 0 };
        loop {
            let first = self.token();
            match first {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    if !nesting.enter(open == b'{') {
                        return self.wrong("fewer levels");
                    }
                    if !self.passes(if open == b'{' { b'}' } else { b']' }) {
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                    nesting.leave();
                }
                first => self.scalar(first)?,
            }
            loop {
                if nesting.depth == 0 {
                    return Ok(());
                }
                match (self.token(), nesting.in_object()) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        nesting.leave();
                    }
                    _ => return self.wrong("`,` or the end of an object or array"),
                }
            }
        }
    }

    /// A string to behind its closing quote; whether anything in it is escaped.
    fn string(&mut self) -> Scan<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.pass_plain();
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                Some(_) => return self.wrong("no control character in a string"),
                None => return self.wrong("the end of a string"),
            }
        }
    }

    /// To the next quote, backslash or control character.
    fn pass_plain(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        const TOPS: u64 = ONES << 7;
        let bytes = self.text.as_bytes();
        while let Some(chunk) = bytes[self.at..].first_chunk::<8>() {
            let eight = u64::from_le_bytes(*chunk);
            // A byte's top bit is set where the byte is zero, or below 32; the lowest such bit is always right.
            let zero = |x: u64| x.wrapping_sub(ONES) & !x;
            let quote = zero(eight ^ (ONES * u64::from(b'"')));
            let backslash = zero(eight ^ (ONES * u64::from(b'\\')));
            let control = eight.wrapping_sub(ONES * 0x20) & !eight;
            let found = (quote | backslash | control) & TOPS;
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while bytes.get(self.at).is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..0x20)) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Scan<()> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                let digits = self.text.as_bytes().get(self.at..self.at + 4);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.wrong("four hexadecimal digits");
                }
                self.at += 4;
            }
            _ => return self.wrong("an escape of JSON"),
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let from = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { self.wrong("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Scan<()> {
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
            if self.byte().is_some_and(|b| b.is_ascii_digit()) {
                return self.wrong("no leading zero");
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }
}
