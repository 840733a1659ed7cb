//! Bytes of our own on disk: varints, zigzag, length-prefixed text, scoped keys.
//!
//! Knows nothing of what is packed. Reading checks every length, so that damaged bytes end in [`Malformed`].

use std::fmt;

/// Stored bytes are not what we wrote: which piece could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored bytes are damaged: {}", self.0)
    }
}

/// Builds one packed value.
#[derive(Default)]
pub struct Packer(pub Vec<u8>);

impl Packer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, lowest first.
    pub fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Zigzag: small numbers of both signs stay short.
    pub fn signed(&mut self, number: i64) {
        self.varint(((number << 1) ^ (number >> 63)) as u64);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Length + 1 before the bytes; 0 stands for none.
    pub fn optional_bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.byte(0),
            Some(bytes) => {
                self.varint(bytes.len() as u64 + 1);
                self.0.extend_from_slice(bytes);
            }
        }
    }

    pub fn optional_signed(&mut self, number: Option<i64>) {
        self.byte(u8::from(number.is_some()));
        if let Some(number) = number {
            self.signed(number);
        }
    }
}

/// Reads what [`Packer`] wrote.
pub struct Unpacker<'a> {
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed("they end too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("a number is wider than 64 bits"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a number does not end"))
    }

    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn exactly(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed("a length is too large"))?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("they end too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.varint()?;
        self.exactly(len)
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        as_text(self.bytes()?)
    }

    pub fn optional_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.varint()? {
            0 => Ok(None),
            len => self.exactly(len - 1).map(Some),
        }
    }

    pub fn optional_text(&mut self) -> Result<Option<&'a str>, Malformed> {
        self.optional_bytes()?.map(as_text).transpose()
    }

    pub fn optional_signed(&mut self) -> Result<Option<i64>, Malformed> {
        Ok(if self.byte()? == 0 { None } else { Some(self.signed()?) })
    }

    /// A count of things that each take at least one byte, so that damage cannot ask for memory.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.varint()?;
        if count > self.rest.len() as u64 {
            return Err(Malformed("a count is larger than what follows"));
        }
        Ok(count as usize)
    }

    /// What has not been read yet.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Everything must have been read.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("bytes are left over")) }
    }
}

pub fn as_text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

/// The longest key the store takes, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;

/// A key inside a scope (row kind, line): never empty, and no scope is another's prefix.
pub fn scoped(scope: &str, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + scope.len() + rest.len());
    // A scope is a Name, at most 256 bytes.
    key.extend_from_slice(&(scope.len() as u16).to_be_bytes());
    key.extend_from_slice(scope.as_bytes());
    key.extend_from_slice(rest);
    key
}

/// Scope and rest of a key made by [`scoped`].
pub fn unscoped(key: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (len, rest) = key.split_first_chunk::<2>().ok_or(Malformed("a key is too short"))?;
    let (scope, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or(Malformed("a key is too short"))?;
    Ok((as_text(scope)?, rest))
}

/// The first key above every key that begins so; `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: what is packed comes back. Method: random numbers and bytes through both sides.
        #[test]
        fn numbers_and_bytes_come_back(a: u64, b: i64, c: Vec<u8>, d: Option<Vec<u8>>, e: Option<i64>) {
            let mut packer = Packer::default();
            packer.varint(a);
            packer.signed(b);
            packer.bytes(&c);
            packer.optional_bytes(d.as_deref());
            packer.optional_signed(e);
            let mut from = Unpacker::new(&packer.0);
            prop_assert_eq!(from.varint(), Ok(a));
            prop_assert_eq!(from.signed(), Ok(b));
            prop_assert_eq!(from.bytes(), Ok(c.as_slice()));
            prop_assert_eq!(from.optional_bytes(), Ok(d.as_deref()));
            prop_assert_eq!(from.optional_signed(), Ok(e));
            prop_assert_eq!(from.end(), Ok(()));
        }

        /// Goal: keys keep scope and order. Method: random pairs compared before and after.
        #[test]
        fn scopes_do_not_mix(scope in "[a-z_.]{0,6}", other in "[a-z_.]{0,6}", a: Vec<u8>, b: Vec<u8>) {
            let key = scoped(&scope, &a);
            prop_assert_eq!(unscoped(&key), Ok((scope.as_str(), a.as_slice())));
            prop_assert_eq!(key < scoped(&scope, &b), a < b);
            if scope != other {
                prop_assert!(!scoped(&other, &b).starts_with(&scoped(&scope, &[])));
            }
        }
    }

    /// Goal: small numbers are short, the widest still read. Method: a table of lengths.
    #[test]
    fn lengths() {
        for (number, len) in [(0u64, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            let mut packer = Packer::default();
            packer.varint(number);
            assert_eq!(packer.0.len(), len, "{number}");
        }
        assert!(Unpacker::new(&[0xff; 10]).varint().is_err(), "wider than 64 bits");
    }
}
