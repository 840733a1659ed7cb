//! A fault: what kind, what to do about it, where.
//!
//! Decisions are made on the kind and the advice, never on the text. Kinds are a closed list, usable as metric labels.

use std::fmt;

/// What went wrong, as a closed list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// The other side cannot be reached, or went away.
    Unreachable,
    /// No answer in time: the outcome is unknown.
    Timeout,
    /// The other side asks for fewer requests.
    Throttled,
    /// It understood and will never accept this.
    Rejected,
    /// A right is missing.
    Forbidden,
    /// No room: disk, memory, quota.
    Full,
    /// Stored bytes are not what we wrote.
    Corrupt,
    /// A store of another version, another configuration, or open elsewhere.
    Incompatible,
    /// Input that cannot be read.
    Invalid,
    /// A panic that was caught.
    Panicked,
}

impl FaultKind {
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Throttled,
        Self::Rejected,
        Self::Forbidden,
        Self::Full,
        Self::Corrupt,
        Self::Incompatible,
        Self::Invalid,
        Self::Panicked,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Incompatible => "incompatible",
            Self::Invalid => "invalid",
            Self::Panicked => "panicked",
        }
    }

    pub const fn advice(self) -> Advice {
        match self {
            Self::Unreachable | Self::Timeout | Self::Full => Advice::Wait,
            Self::Throttled => Advice::SlowDown,
            Self::Rejected | Self::Invalid | Self::Panicked => Advice::Bury,
            Self::Forbidden | Self::Corrupt | Self::Incompatible => Advice::Stop,
        }
    }
}

/// What the caller does about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// The same again after a pause; it uses up no retries (J7).
    Wait,
    /// Wait, and send less.
    SlowDown,
    /// This one item will never pass: keep it aside and go on.
    Bury,
    /// A person is needed.
    Stop,
}

impl Advice {
    /// One sentence for the reference page.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Wait => "The same again after a pause; it uses up no retries.",
            Self::SlowDown => "The same again after a pause, and less at once.",
            Self::Bury => "This one item is kept aside and the rest goes on.",
            Self::Stop => "A person is needed: what depends on it stops and says so.",
        }
    }
}

/// One fault with its place. `Display` is one line for logs and people: what, where, and the source's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Which part, which request: `embedded rows in ./data/rows`.
    pub place: String,
    pub what: String,
}

impl Fault {
    pub fn new(kind: FaultKind, place: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { kind, place: place.into(), what: what.to_string() }
    }
    pub const fn advice(&self) -> Advice {
        self.kind.advice()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.what, self.kind.label())
    }
}
impl std::error::Error for Fault {}

/// A panic's own words.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
