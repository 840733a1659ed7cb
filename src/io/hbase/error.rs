//! Errors: what happened, as a closed list, and what to do about each.
//!
//! A server names Java classes. In batches a failure is only a name and a text without a flag, so the list of names is ours
//! (from HBase's sources). Decisions are made on the class and its advice; texts are for people. Knows nothing of sockets.

use super::pb;
use super::types::Address;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest text kept of a server's message, in bytes: what follows is a stack trace.
const TEXT_BYTES_MAX: usize = 400;

/// What happened. A closed list, usable as a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// The server does not hold the region.
    NotServing,
    /// The region moved, and the server says where to.
    Moved,
    /// The region is being opened there.
    Opening,
    /// A region's memory is full, or a store is too hot.
    TooBusy,
    /// A row's lock was not to be had in time.
    LockTimeout,
    /// The server's call queue is full.
    Overloaded,
    /// A batch's reply reached its size limit: the rest was not done.
    ReplyFull,
    /// A quota.
    Throttled,
    /// The server stops or dies.
    Stopping,
    /// The server or the master is starting.
    Starting,
    /// The master is not the active one, or stops.
    MasterGone,
    /// The scanner is unknown, out of step or expired.
    ScannerLost,
    /// The frame is larger than the server takes.
    RequestTooBig,
    NoTable,
    TableDisabled,
    /// "Ensure" takes this for success.
    Exists,
    NoFamily,
    /// The server understood, and will never do it.
    Refused,
    Forbidden,
    /// The server does not accept the connection: wrong service, authentication, codec.
    Handshake,
    /// A class that is on no list of ours.
    Unknown,
    /// No connection could be made.
    Unreachable,
    /// The connection broke.
    Lost,
    /// No answer in time.
    Timeout,
    /// The server sent bytes that are no answer.
    Garbled,
    /// Meta shows no region for the row, or one without a server.
    NoRegion,
    /// The caller asked for something that no server accepts.
    Invalid,
}

/// What the client does about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Forget where the region is, look again, try again.
    Relocate,
    /// Use the address the error names.
    Follow,
    /// The same again later.
    BackOff,
    /// The same again later, and less at once.
    SlowDown,
    /// Only what failed, at once.
    Resend,
    /// Close the server's sockets, forget all its regions, look again.
    LeaveServer,
    /// Ask again who is master.
    FindMaster,
    /// Open the scan again after the last whole row.
    Reopen,
    /// Send it in smaller pieces.
    Split,
    /// Trying again changes nothing.
    Fail,
}

impl Class {
    /// The label of this class.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotServing => "not_serving",
            Self::Moved => "moved",
            Self::Opening => "opening",
            Self::TooBusy => "too_busy",
            Self::LockTimeout => "lock_timeout",
            Self::Overloaded => "overloaded",
            Self::ReplyFull => "reply_full",
            Self::Throttled => "throttled",
            Self::Stopping => "stopping",
            Self::Starting => "starting",
            Self::MasterGone => "master_gone",
            Self::ScannerLost => "scanner_lost",
            Self::RequestTooBig => "request_too_big",
            Self::NoTable => "no_table",
            Self::TableDisabled => "table_disabled",
            Self::Exists => "exists",
            Self::NoFamily => "no_family",
            Self::Refused => "refused",
            Self::Forbidden => "forbidden",
            Self::Handshake => "handshake",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Garbled => "garbled",
            Self::NoRegion => "no_region",
            Self::Invalid => "invalid",
        }
    }

    /// A call that failed so may have been done nevertheless.
    pub const fn may_be_done(self) -> bool {
        matches!(self, Self::Stopping | Self::Unknown | Self::Lost | Self::Timeout | Self::Garbled)
    }

    /// When rows are refused together, one of them may be the cause; else each of them would be refused alone too.
    pub const fn may_be_one_rows_fault(self) -> bool {
        matches!(self, Self::Refused | Self::NoFamily | Self::RequestTooBig | Self::Unknown)
    }

    /// What to do about an error of this class.
    pub const fn advice(self) -> Advice {
        match self {
            Self::NotServing | Self::Unknown | Self::NoRegion | Self::Timeout => Advice::Relocate,
            Self::Moved => Advice::Follow,
            Self::Opening | Self::Starting | Self::Throttled | Self::LockTimeout => Advice::BackOff,
            Self::TooBusy | Self::Overloaded => Advice::SlowDown,
            Self::ReplyFull => Advice::Resend,
            Self::Stopping | Self::Unreachable | Self::Lost | Self::Garbled => Advice::LeaveServer,
            Self::MasterGone => Advice::FindMaster,
            Self::ScannerLost => Advice::Reopen,
            Self::RequestTooBig => Advice::Split,
            Self::NoTable
            | Self::TableDisabled
            | Self::Exists
            | Self::NoFamily
            | Self::Refused
            | Self::Forbidden
            | Self::Handshake
            | Self::Invalid => Advice::Fail,
        }
    }
}

/// Class names by their last part, which is unique among those a client meets.
const CLASSES: &[(&str, Class)] = &[
    ("NotServingRegionException", Class::NotServing),
    ("RegionMovedException", Class::Moved),
    ("RegionOpeningException", Class::Opening),
    ("RegionTooBusyException", Class::TooBusy),
    ("TimeoutIOException", Class::LockTimeout),
    ("CallQueueTooBigException", Class::Overloaded),
    ("CallDroppedException", Class::Overloaded),
    ("RetryImmediatelyException", Class::ReplyFull),
    ("MultiActionResultTooLarge", Class::ReplyFull),
    ("RpcThrottlingException", Class::Throttled),
    ("RegionServerStoppedException", Class::Stopping),
    ("RegionServerAbortedException", Class::Stopping),
    ("ServerNotRunningYetException", Class::Starting),
    ("PleaseHoldException", Class::Starting),
    ("MasterNotRunningException", Class::Starting),
    ("PleaseRestartMasterException", Class::MasterGone),
    ("MasterStoppedException", Class::MasterGone),
    ("UnknownScannerException", Class::ScannerLost),
    ("OutOfOrderScannerNextException", Class::ScannerLost),
    ("ScannerResetException", Class::ScannerLost),
    ("LeaseException", Class::ScannerLost),
    ("RequestTooBigException", Class::RequestTooBig),
    ("TableNotFoundException", Class::NoTable),
    ("TableNotEnabledException", Class::TableDisabled),
    ("TableExistsException", Class::Exists),
    ("NamespaceExistException", Class::Exists),
    ("NoSuchColumnFamilyException", Class::NoFamily),
    ("FailedSanityCheckException", Class::Refused),
    ("WrongRegionException", Class::NotServing),
    ("WrongRowIOException", Class::Refused),
    ("InvalidMutationException", Class::Refused),
    ("InvalidFamilyOperationException", Class::Refused),
    ("NamespaceNotFoundException", Class::Refused),
    ("ConstraintException", Class::Refused),
    ("QuotaExceededException", Class::Refused),
    ("UnknownProtocolException", Class::Refused),
    ("UnsupportedOperationException", Class::Refused),
    ("IllegalArgumentException", Class::Refused),
    ("DoNotRetryIOException", Class::Refused),
    ("DoNotRetryNowIOException", Class::Refused),
    ("AccessDeniedException", Class::Forbidden),
    ("AccessControlException", Class::Forbidden),
    ("FatalConnectionException", Class::Handshake),
    ("BadAuthException", Class::Handshake),
    ("WrongVersionException", Class::Handshake),
    ("UnsupportedCellCodecException", Class::Handshake),
    ("UnsupportedCompressionCodecException", Class::Handshake),
    ("UnsupportedCryptoException", Class::Handshake),
    ("UnknownServiceException", Class::Handshake),
];

/// Texts of a plain `IOException` that say more than its class.
const TEXTS: &[(&str, Class)] =
    &[("Cannot append; log is closed", Class::Stopping), ("Timed out waiting for lock for row", Class::LockTimeout)];

/// One error with its place. Cheap to clone: a failed batch gives it to each of its rows.
#[derive(Clone, Debug)]
pub struct Error {
    /// What happened, for decisions; texts are for people.
    pub class: Class,
    /// Which call, on which server or row: `Multi on rs1:16020`.
    pub place: Arc<str>,
    /// The server's own first words, or ours.
    pub text: Arc<str>,
    /// The call may have taken effect all the same.
    pub outcome_unknown: bool,
    /// The server is short of something: pause longer.
    pub overloaded: bool,
    /// Where the region is now, when the server said so.
    pub moved_to: Option<Arc<Address>>,
    /// The pause the server asked for.
    pub wait: Option<Duration>,
}

impl Error {
    /// An error whose call certainly had no effect.
    pub fn new(class: Class, place: impl fmt::Display, text: impl fmt::Display) -> Self {
        let (place, text) = (place.to_string().into(), text.to_string().into());
        Self { class, place, text, outcome_unknown: false, overloaded: false, moved_to: None, wait: None }
    }

    /// The same, but the call may have taken effect.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }

    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        self.class.advice()
    }

    /// A reply's exception.
    pub fn from_exception(place: impl fmt::Display, exception: &pb::ExceptionResponse) -> Self {
        let name = exception.exception_class_name.as_deref().unwrap_or_default();
        let text = exception.stack_trace.as_deref().unwrap_or_default();
        let mut error = Self::from_java(place, name, text);
        if error.class == Class::Unknown && exception.do_not_retry == Some(true) {
            error.class = Class::Refused;
        }
        error.overloaded |= exception.server_overloaded == Some(true);
        if let (Some(host), Some(port)) = (&exception.hostname, exception.port.and_then(|p| u16::try_from(p).ok())) {
            error.moved_to = Some(Arc::new(Address { host: host.clone(), port }));
        }
        error
    }

    /// A failure inside a batch: class name and stack text.
    pub fn from_pair(place: impl fmt::Display, pair: &pb::NameBytesPair) -> Self {
        Self::from_java(place, &pair.name, &String::from_utf8_lossy(pair.value.as_deref().unwrap_or_default()))
    }

    /// A failed procedure of the master.
    pub fn from_foreign(place: impl fmt::Display, foreign: &pb::ForeignExceptionMessage) -> Self {
        let generic = foreign.generic_exception.clone().unwrap_or_default();
        Self::from_java(place, generic.class_name.as_deref().unwrap_or_default(), &generic.message.unwrap_or_default())
    }

    /// An error by its Java class name and stack text.
    pub fn from_java(place: impl fmt::Display, name: &str, stack: &str) -> Self {
        let class = classify(name, stack);
        let words = stack.lines().next().unwrap_or_default();
        // The first line mostly begins with the class name; where it does not, the name is the best word there is.
        let text = if words.contains(name) { words.to_owned() } else { format!("{name}: {words}") };
        let mut error = Self::new(class, place, cut(&text));
        error.overloaded = class == Class::Overloaded;
        match class {
            Class::Moved => error.moved_to = moved_to(stack).map(Arc::new),
            Class::Throttled => error.wait = named_wait(words),
            _ => {}
        }
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.text, self.class.label())?;
        if self.outcome_unknown { f.write_str("; the outcome is unknown") } else { Ok(()) }
    }
}
impl std::error::Error for Error {}

fn classify(name: &str, stack: &str) -> Class {
    if let Some(class) = by_name(name) {
        return class;
    }
    if let Some((_, class)) = TEXTS.iter().find(|(text, _)| stack.contains(text)) {
        return *class;
    }
    // A wrapper hides its cause in the text: the first line that names a class of ours decides.
    let nested = |line: &str| line.split([':', ' ', '\t', ',']).find_map(by_name);
    stack.lines().filter(|line| !line.trim_start().starts_with("at ")).find_map(nested).unwrap_or(Class::Unknown)
}

fn by_name(name: &str) -> Option<Class> {
    let last = name.rsplit(['.', '$']).next().unwrap_or(name);
    CLASSES.iter().find(|(known, _)| *known == last).map(|(_, class)| *class)
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// `Region moved to: hostname=h port=p startCode=…`.
fn moved_to(text: &str) -> Option<Address> {
    let part = |key: &str| text.split(key).nth(1)?.split([' ', '.', ',', '\n']).next();
    // A host name has dots, so it ends only at a blank.
    let host = text.split("hostname=").nth(1)?.split([' ', '\n']).next()?;
    Some(Address { host: host.to_owned(), port: part("port=")?.parse().ok()? })
}

/// `… - wait 1mins, 20sec, 33ms`.
fn named_wait(text: &str) -> Option<Duration> {
    let words = text.rsplit_once("wait ")?.1;
    let mut total = None;
    for word in words.split([',', ' ']).filter(|word| !word.is_empty()) {
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let unit = match &word[digits..] {
            "hrs" => 3_600_000,
            "mins" => 60_000,
            "sec" => 1000,
            "ms" => 1,
            _ => break,
        };
        let millis = word[..digits].parse::<u64>().ok()?.checked_mul(unit)?;
        total = Some(total.unwrap_or(Duration::ZERO).saturating_add(Duration::from_millis(millis)));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Goal: names, flags and nested causes lead to the right advice. Method: a table of what servers send.
    #[test]
    fn servers_words_become_classes() {
        for (name, stack, class) in [
            ("org.apache.hadoop.hbase.NotServingRegionException", "org.apache…: t,,1. is not online", Class::NotServing),
            ("org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException", "", Class::NoFamily),
            ("org.apache.hadoop.hbase.quotas.RpcThrottlingException", "", Class::Throttled),
            ("java.io.IOException", "java.io.IOException: Cannot append; log is closed\n\tat x", Class::Stopping),
            ("java.io.IOException", "java.io.IOException: Timed out waiting for lock for row: r in region x", Class::LockTimeout),
            (
                "java.io.IOException",
                "java.io.IOException\n\tat a.b.RegionTooBusyException.x(Y.java)\nCaused by: org.apache.hadoop.hbase.exceptions.RegionOpeningException: t is opening\n",
                Class::Opening,
            ),
            ("org.apache.hadoop.hbase.client.RegionOfflineException", "offline", Class::Unknown),
            ("", "", Class::Unknown),
        ] {
            assert_eq!(Error::from_java("here", name, stack).class, class, "{name}: {stack}");
        }
        let exception = pb::ExceptionResponse {
            exception_class_name: Some("a.b.SomethingNew".into()),
            do_not_retry: Some(true),
            server_overloaded: Some(true),
            ..Default::default()
        };
        let error = Error::from_exception("here", &exception);
        assert_eq!((error.class, error.overloaded), (Class::Refused, true));
    }

    /// Goal: what a message names is used. Method: a moved region and quota messages, good and bad.
    #[test]
    fn addresses_and_pauses_are_read() {
        let text = "org.apache.hadoop.hbase.exceptions.RegionMovedException: Region moved to: hostname=rs2.shop.example port=16020 startCode=17. As of locationSeqNum=5.";
        let error = Error::from_java("here", "org.apache.hadoop.hbase.exceptions.RegionMovedException", text);
        assert_eq!(error.moved_to.as_deref(), Some(&Address { host: "rs2.shop.example".to_owned(), port: 16020 }));
        for (text, wait) in [
            ("x: write size limit exceeded - wait 1mins, 20sec, 33ms", Some(80_033)),
            ("x: number of requests exceeded - wait 250ms", Some(250)),
            ("x: wait 18446744073709551615hrs", None),
            ("x: wait a while", None),
            ("x", None),
        ] {
            assert_eq!(named_wait(text), wait.map(Duration::from_millis), "{text}");
        }
    }

    /// Goal: an error reads as one short line. Method: a server's message of many lines with wide letters.
    #[test]
    fn texts_are_cut() {
        let error = Error::from_java("Multi on rs:1", "a.B", &format!("a.B: {}\n\tat c.D", "ü".repeat(4000)));
        assert!(error.text.len() <= TEXT_BYTES_MAX && error.text.len() > TEXT_BYTES_MAX - 4);
        assert!(error.with_unknown_outcome().to_string().ends_with("(unknown); the outcome is unknown"));
    }

    proptest! {
        /// Goal: no text makes the reader panic. Method: any name and any text, and the words it looks for.
        #[test]
        fn any_words_are_read(name in "\\PC{0,60}", stack in "(\\PC|\n|hostname=|port=|wait |ms|sec|Caused by: |[0-9]){0,80}") {
            for name in [name.as_str(), "RegionMovedException", "RpcThrottlingException"] {
                prop_assert!(Error::from_java("here", name, &stack).text.len() <= TEXT_BYTES_MAX);
            }
        }
    }
}
