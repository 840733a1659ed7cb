//! A tap: shows a few events of a running node, at one or more stages of their way, to whoever asks just now.
//!
//! With nobody at the tap an event costs one relaxed load. What is shown is bounded: a listener holds so many lines and
//! bytes; what does not fit is counted and not made. Values of columns whose names say that they are a person's or a
//! secret are never shown. Knows nothing of actors and HTTP: they tell and listen.

use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Who may listen at once.
pub const LISTENERS_MAX: usize = 8;
/// Lines, and their bytes, that wait for a slow listener.
const WAITING_MAX: usize = 1_000;
const WAITING_BYTES_MAX: usize = 1 << 20;
/// The longest value that is shown whole, in characters.
const VALUE_CHARS_MAX: usize = 2_048;
/// The longest body that is looked into, in bytes.
const BODY_BYTES_MAX: usize = 256 << 10;
/// From this length on a hidden value is also looked for inside other texts, in bytes.
const SECRET_WITHIN_MIN: usize = 4;
/// Nested texts that hold JSON themselves are opened this deep.
const NESTED_MAX: usize = 2;

/// Where an event is on its way; [`TapStage::about`] says what each shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapStage {
    Source,
    Change,
    Row,
    Job,
    Document,
}

impl TapStage {
    pub const ALL: [Self; 5] = [Self::Source, Self::Change, Self::Row, Self::Job, Self::Document];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Change => "change",
            Self::Row => "row",
            Self::Job => "job",
            Self::Document => "document",
        }
    }

    /// What is seen there.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Source => "Records as the log delivered them",
            Self::Change => "What they mean for a row",
            Self::Row => "Writes that the row store acknowledged",
            Self::Job => "Jobs that the queue took",
            Self::Document => "Ends of jobs: documents, and what the sink said",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.label() == text)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which columns are hidden: those whose name holds one of these, in whatever case.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    fragments: Vec<String>,
}

impl Mask {
    pub fn new(fragments: &[String]) -> Self {
        Self { fragments: fragments.iter().map(|f| f.to_lowercase()).filter(|f| !f.is_empty()).collect() }
    }

    /// Whether the values of a column of this name are hidden.
    pub fn hides(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.fragments.iter().any(|fragment| name.contains(fragment))
    }

    /// A column's value as it may be shown.
    pub fn value(&self, name: &str, value: Option<&str>) -> Value {
        match value {
            None => Value::Null,
            Some(text) if self.hides(name) => Value::String(starred(text)),
            Some(text) => Value::String(cut(text)),
        }
    }

    /// A body as it may be shown: JSON with the hidden members' values starred, anything else by its length only, as
    /// nobody knows what is in it. `secrets` are texts that stand for a hidden column wherever they come up.
    pub fn body(&self, body: &[u8], secrets: &[String]) -> Value {
        if body.len() > BODY_BYTES_MAX {
            return Value::String(format!("({} bytes, too many to show)", body.len()));
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(mut value) if value.is_object() || value.is_array() => {
                self.walk(&mut value, secrets, NESTED_MAX);
                value
            }
            _ => Value::String(format!("({} bytes, no JSON)", body.len())),
        }
    }

    fn walk(&self, value: &mut Value, secrets: &[String], nested: usize) {
        match value {
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    // Statements hold the values of every column.
                    if self.hides(name) || matches!(name.as_str(), "sql" | "query") {
                        star(member);
                    } else {
                        self.walk(member, secrets, nested);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item, secrets, nested)),
            Value::String(text) => {
                if secrets.iter().any(|secret| holds(text, secret)) {
                    *text = starred(text);
                } else if nested > 0 && text.starts_with(['{', '[']) {
                    if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                        self.walk(&mut inner, secrets, nested - 1);
                        *text = cut(&inner.to_string());
                    }
                } else {
                    *text = cut(text);
                }
            }
            Value::Number(number) if secrets.contains(&number.to_string()) => star(value),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// A short text is in many others by chance.
fn holds(text: &str, secret: &str) -> bool {
    text == secret || (secret.len() >= SECRET_WITHIN_MIN && text.contains(secret))
}

/// Only how long it was.
fn starred(text: &str) -> String {
    format!("***({})", text.chars().count())
}

fn star(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => members.values_mut().for_each(star),
        Value::Array(items) => items.iter_mut().for_each(star),
        Value::String(text) => *text = starred(text),
        Value::Bool(_) | Value::Number(_) => *value = Value::String(starred(&value.to_string())),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// What a listener wants to see.
#[derive(Clone, Debug, Default)]
pub struct TapWish {
    /// All of them when empty.
    pub stages: Vec<TapStage>,
    /// Only rows whose key holds this text.
    pub key: Option<String>,
    pub mask: Mask,
    /// The lanes by their number, for their names.
    pub lanes: Vec<String>,
}

impl TapWish {
    fn bits(&self) -> u8 {
        let all: &[TapStage] = if self.stages.is_empty() { &TapStage::ALL } else { &self.stages };
        all.iter().fold(0, |bits, stage| bits | stage.bit())
    }

    /// Whether an event of this row is wanted.
    pub fn wants(&self, row: &str) -> bool {
        self.key.as_deref().is_none_or(|key| row.contains(key))
    }
}

struct Seat {
    wish: TapWish,
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
    rings: Notify,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Seat {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The taps of this process: there is one node in it.
static LISTENING: AtomicU8 = AtomicU8::new(0);
static SEATS: Mutex<Vec<Arc<Seat>>> = Mutex::new(Vec::new());

fn change_seats<T>(change: impl FnOnce(&mut Vec<Arc<Seat>>) -> T) -> T {
    let mut seats = SEATS.lock().unwrap_or_else(|e| e.into_inner());
    let done = change(&mut seats);
    LISTENING.store(seats.iter().fold(0, |bits, seat| bits | seat.wish.bits()), Ordering::Relaxed);
    done
}

/// Somebody who listens; dropped, the tap is closed.
pub struct TapListener(Arc<Seat>);

impl TapListener {
    /// Opens a tap; `None`: as many as may be are open.
    pub fn open(wish: TapWish) -> Option<Self> {
        let seat = Arc::new(Seat { wish, waiting: Mutex::default(), dropped: AtomicU64::new(0), rings: Notify::new() });
        change_seats(|seats| {
            let room = seats.len() < LISTENERS_MAX;
            if room {
                seats.push(Arc::clone(&seat));
            }
            room
        })
        .then_some(Self(seat))
    }

    /// The next event, one line of JSON; waits for it.
    pub async fn next(&self) -> String {
        loop {
            // Asked for before the look, so that a ring between look and wait is heard.
            let rung = self.0.rings.notified();
            if let Some(line) = self.take() {
                return line;
            }
            rung.await;
        }
    }

    fn take(&self) -> Option<String> {
        let mut waiting = self.0.waiting();
        let line = waiting.lines.pop_front()?;
        waiting.bytes -= line.len();
        Some(line)
    }

    /// Events that found no room.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for TapListener {
    fn drop(&mut self) {
        change_seats(|seats| seats.retain(|seat| !Arc::ptr_eq(seat, &self.0)));
    }
}

/// Whether anybody listens at this stage. One relaxed load.
#[inline]
pub fn tapped(stage: TapStage) -> bool {
    LISTENING.load(Ordering::Relaxed) & stage.bit() != 0
}

/// Whether anybody listens at all. One relaxed load.
#[inline]
pub fn tapping() -> bool {
    LISTENING.load(Ordering::Relaxed) != 0
}

/// Shows an event to those who want it; it is made only for them, and only when it finds room.
pub fn tap(stage: TapStage, wanted: impl Fn(&TapWish) -> bool, event: impl Fn(&TapWish) -> Map<String, Value>) {
    if !tapped(stage) {
        return;
    }
    let seats = SEATS.lock().unwrap_or_else(|e| e.into_inner()).clone();
    for seat in seats.iter().filter(|seat| seat.wish.bits() & stage.bit() != 0 && wanted(&seat.wish)) {
        let has_room = |waiting: &Waiting| waiting.lines.len() < WAITING_MAX && waiting.bytes < WAITING_BYTES_MAX;
        if !has_room(&seat.waiting()) {
            seat.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut told = event(&seat.wish);
        told.insert("stage".to_owned(), json!(stage.label()));
        let line = Value::Object(told).to_string();
        let mut waiting = seat.waiting();
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        drop(waiting);
        seat.rings.notify_one();
    }
}

#[cfg(test)]
mod tests;
