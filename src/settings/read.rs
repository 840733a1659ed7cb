//! Reads a tree that `shape` has completed.
//!
//! Where a value is missing, `shape` has left a finding and the settings are thrown away in the end, so every reader
//! answers with something harmless instead of failing.

use super::scalar;
use super::tree::{Entry, Node, Place, Scalar};
use std::path::PathBuf;
use std::time::Duration;

/// A place in the completed tree, there or not.
#[derive(Clone, Copy)]
pub struct At<'a>(pub Option<&'a Entry>);

impl<'a> At<'a> {
    pub fn get(self, key: &str) -> At<'a> {
        At(self.entries().iter().find(|e| e.key == key))
    }
    pub fn entries(self) -> &'a [Entry] {
        self.0.map_or(&[], |e| e.value.entries())
    }
    pub fn items(self) -> &'a [Node] {
        self.0.map_or(&[], |e| e.value.items())
    }
    pub fn scalar(self) -> Option<&'a Scalar> {
        self.0.and_then(|e| e.value.scalar())
    }
    pub fn is_map(self) -> bool {
        self.0.is_some_and(|e| matches!(e.value.value, super::tree::Value::Map(_)))
    }
    /// The text, empty where there is none.
    pub fn text(self) -> &'a str {
        self.scalar().map_or("", |s| s.text.as_str())
    }
    /// The text, unless it is `none` or missing.
    pub fn optional(self) -> Option<&'a str> {
        self.scalar().map(|s| s.text.as_str()).filter(|text| *text != "none")
    }
    pub fn place(self) -> Place {
        self.0.map_or_else(Place::default, |e| e.value.place)
    }
    pub fn key_place(self) -> Place {
        self.0.map_or_else(Place::default, |e| e.key_place)
    }
    /// Whether a file says this, rather than the defaults.
    pub fn is_written(self) -> bool {
        self.place().file != 0
    }
    pub fn path(self) -> PathBuf {
        PathBuf::from(self.text())
    }
    pub fn duration(self) -> Duration {
        scalar::duration(self.text()).unwrap_or_default()
    }
    /// Bytes.
    pub fn size(self) -> usize {
        scalar::size(self.text()).and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
    }
    pub fn integer(self) -> u64 {
        scalar::integer(self.text()).unwrap_or_default()
    }
    pub fn count(self) -> usize {
        usize::try_from(self.integer()).unwrap_or(usize::MAX)
    }
    pub fn count32(self) -> u32 {
        u32::try_from(self.integer()).unwrap_or(u32::MAX)
    }
    pub fn number(self) -> f64 {
        scalar::number_of(self.text()).unwrap_or_default()
    }
    pub fn percent(self) -> f64 {
        scalar::percent(self.text()).unwrap_or_default()
    }
    pub fn boolean(self) -> bool {
        scalar::boolean(self.text()).unwrap_or_default()
    }
}

/// The place of character `skip` of a scalar's text, where the file holds that text as it is; else the whole scalar.
pub fn inside(place: Place, scalar: &Scalar, byte: usize) -> Place {
    if scalar.written.is_some() || place.len <= 1 {
        return place;
    }
    let skip = scalar.text.get(..byte).map_or(0, |head| head.chars().count());
    place.inside(skip + usize::from(scalar.quoted))
}
