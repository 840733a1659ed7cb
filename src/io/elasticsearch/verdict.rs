//! What a reply of `_bulk` says of each write.
//!
//! Keeps K2's list: 409 with a version above ours is superseded, 429, 503 and the like are unknown, 400 is rejected, 404 of
//! a delete is done. A request that failed whole is not a verdict on its documents. Pure.

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RowVersion;
use crate::ports::sink::{Body, SinkOutcome, SinkWrite};
use serde::Deserialize;

/// The parts of a reply that are asked for.
pub const FILTER: &str = "items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by";

/// What a whole reply says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// One outcome per write. `throttled`: some were refused for want of room.
    Items { outcomes: Vec<SinkOutcome>, throttled: bool, no_index: bool },
    /// 413: nothing was looked at; send less at once.
    TooLarge,
    /// 400 as a whole: some document makes the request unreadable.
    Unreadable(String),
    /// Nothing is known of any write.
    Failed(Fault),
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    items: Vec<Item>,
}

/// `{"index": {…}}` or `{"delete": {…}}`: exactly one of them.
#[derive(Deserialize)]
struct Item {
    index: Option<Done>,
    delete: Option<Done>,
}

#[derive(Deserialize)]
struct Done {
    status: u16,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
    caused_by: Option<Box<Error>>,
}

impl Error {
    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.kind, self.reason);
        let mut cause = self.caused_by.as_deref();
        while let Some(error) = cause {
            text.push_str(&format!("; caused by {}: {}", error.kind, error.reason));
            cause = error.caused_by.as_deref();
        }
        shortened(&text)
    }
}

/// Characters of the server's words that are kept.
const WORDS_MAX: usize = 500;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WORDS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Reads the reply to a request with these writes.
pub fn read(status: u16, reply: &[u8], writes: &[SinkWrite], place: &str) -> Reading {
    match status {
        200 => items(reply, writes, place),
        413 => Reading::TooLarge,
        400 => Reading::Unreadable(whole(status, reply, place).what),
        _ => Reading::Failed(whole(status, reply, place)),
    }
}

/// A request that failed as a whole.
pub fn whole(status: u16, reply: &[u8], place: &str) -> Fault {
    #[derive(Deserialize)]
    struct Refused {
        error: Error,
    }
    let kind = match status {
        429 => FaultKind::Throttled,
        401 | 403 => FaultKind::Forbidden,
        408 | 504 => FaultKind::Timeout,
        502 | 503 => FaultKind::Unreachable,
        507 => FaultKind::Full,
        400..=499 => FaultKind::Incompatible,
        _ => FaultKind::Unreachable,
    };
    let words = serde_json::from_slice::<Refused>(reply).map_or_else(
        |_| shortened(String::from_utf8_lossy(&reply[..reply.len().min(4 * WORDS_MAX)]).trim()),
        |refused| refused.error.text(),
    );
    let help = help(status);
    Fault::new(kind, place, format!("the server answered {status}: {words}{help}"))
}

/// What to do about a refusal, where the status says it.
fn help(status: u16) -> &'static str {
    match status {
        401 => "; check `auth`",
        403 => "; `widerow check --connect` lists the rights that are missing",
        _ => "",
    }
}

fn items(reply: &[u8], writes: &[SinkWrite], place: &str) -> Reading {
    let garbage = |what: String| Reading::Failed(Fault::new(FaultKind::Unreachable, place, what));
    let read: Reply = match serde_json::from_slice(reply) {
        Ok(read) => read,
        Err(error) => return garbage(format!("the reply is not a search server's: {error}")),
    };
    if read.items.len() != writes.len() {
        return garbage(format!("the reply tells of {} documents, and {} were sent", read.items.len(), writes.len()));
    }
    let mut outcomes = Vec::with_capacity(writes.len());
    let (mut throttled, mut no_index) = (false, false);
    for (item, write) in read.items.into_iter().zip(writes) {
        let done = match write.body {
            Body::Index(_) => item.index,
            Body::Delete => item.delete,
        };
        let Some(done) = done else {
            return garbage("the reply tells of another kind of write than was sent".to_owned());
        };
        throttled |= done.status == 429;
        no_index |= done.error.as_ref().is_some_and(|e| e.kind == "index_not_found_exception");
        outcomes.push(outcome(done, write, place));
    }
    Reading::Items { outcomes, throttled, no_index }
}

fn outcome(done: Done, write: &SinkWrite, place: &str) -> SinkOutcome {
    let later = |kind: FaultKind, counts: bool, text: String| {
        let what = format!("document {}: the server answered {}: {text}", write.id, done.status);
        SinkOutcome::Retry { fault: Fault::new(kind, place, what), counts }
    };
    let error = match (done.status, done.error) {
        (200..=299, None) => return SinkOutcome::Written,
        // A delete of what is not there leaves its version behind all the same.
        (404, None) if write.body == Body::Delete => return SinkOutcome::Written,
        (_, Some(error)) => error,
        (_, None) => Error { kind: "without a reason".to_owned(), reason: String::new(), caused_by: None },
    };
    let text = error.text();
    match done.status {
        409 if error.kind == "version_conflict_engine_exception" => conflict(&error.reason, write, place),
        404 if error.kind == "index_not_found_exception" => later(FaultKind::Incompatible, false, text),
        429 => later(FaultKind::Throttled, false, text),
        // A block after the disk ran full; the server lifts it by itself.
        403 if error.kind == "cluster_block_exception" => later(FaultKind::Full, false, text),
        401 | 403 => later(FaultKind::Forbidden, false, text + help(done.status)),
        502..=504 | 408 => later(FaultKind::Unreachable, false, text),
        400..=499 if error.kind != "version_conflict_engine_exception" && done.status != 409 => SinkOutcome::Rejected(text),
        _ => later(FaultKind::Unreachable, true, text),
    }
}

/// A conflict is a success only where the held version is above ours.
fn conflict(reason: &str, write: &SinkWrite, place: &str) -> SinkOutcome {
    match current_version(reason) {
        Some(held) if held <= write.version => {
            let what = format!("document {}: refused under version {}, and it holds {held}", write.id, write.version);
            SinkOutcome::Retry { fault: Fault::new(FaultKind::Incompatible, place, what), counts: true }
        }
        held => SinkOutcome::Superseded(held),
    }
}

/// `…current version [9] is higher than the one provided [8]`, in all versions since 2.
fn current_version(reason: &str) -> Option<RowVersion> {
    let rest = reason.split_once("current version [")?.1;
    rest.split_once(']')?.0.parse().ok().map(RowVersion)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{delete, index};
    use super::*;
    use proptest::prelude::*;

    fn only(write: SinkWrite, verb: &str, done: &str) -> SinkOutcome {
        let reply = format!(r#"{{"items":[{{"{verb}":{done}}}]}}"#);
        match read(200, reply.as_bytes(), &[write], "search") {
            Reading::Items { mut outcomes, .. } => outcomes.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn short(outcome: SinkOutcome) -> String {
        match outcome {
            SinkOutcome::Written => "written".into(),
            SinkOutcome::Superseded(held) => format!("superseded by {:?}", held.map(|v| v.0)),
            SinkOutcome::Rejected(_) => "rejected".into(),
            SinkOutcome::Retry { fault, counts } => format!("{} {counts}", fault.kind.label()),
        }
    }

    /// Goal: K2's whole list, item by item. Method: a table of real replies.
    #[test]
    fn every_status_has_its_verdict() {
        let error = |status: u16, kind: &str, reason: &str| {
            format!(r#"{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}"#)
        };
        let conflict = "version_conflict_engine_exception";
        let table = [
            (r#"{"status":201}"#.to_owned(), "written"),
            (r#"{"status":200}"#.to_owned(), "written"),
            (
                error(409, conflict, "[1]: version conflict, current version [9] is higher than the one provided [5]"),
                "superseded by Some(9)",
            ),
            (
                error(409, conflict, "[1]: version conflict, current version [9223372036854775807] is higher than …"),
                "superseded by Some(9223372036854775807)",
            ),
            (error(409, conflict, "said in other words"), "superseded by None"),
            (error(409, conflict, "current version [4] is lower"), "incompatible true"),
            (error(409, "other", "not a version"), "unreachable true"),
            (error(429, "es_rejected_execution_exception", "queue full"), "throttled false"),
            (error(503, "unavailable_shards_exception", "primary gone"), "unreachable false"),
            (error(500, "i_o_exception", "disk"), "unreachable true"),
            (error(400, "document_parsing_exception", "failed to parse field [n]"), "rejected"),
            (error(403, "cluster_block_exception", "read-only / allow delete"), "full false"),
            (error(403, "security_exception", "no right"), "forbidden false"),
            (error(404, "index_not_found_exception", "no such index"), "incompatible false"),
        ];
        for (done, want) in table {
            assert_eq!(short(only(index("1", 5, "{}"), "index", &done)), want, "{done}");
        }
        assert_eq!(short(only(delete("1", 5), "delete", r#"{"status":404}"#)), "written");
        assert_eq!(short(only(delete("1", 5), "delete", &error(404, "index_not_found_exception", ""))), "incompatible false");
    }

    /// Goal: the reason of a refusal is the innermost one too. Method: a mapper's error with its cause.
    #[test]
    fn causes_are_told() {
        let done = r#"{"status":400,"error":{"type":"document_parsing_exception","reason":"field [n]",
            "caused_by":{"type":"illegal_argument_exception","reason":"For input string: \"x\""}}}"#;
        let SinkOutcome::Rejected(reason) = only(index("1", 1, "{}"), "index", done) else { panic!("not rejected") };
        assert!(reason.contains("field [n]") && reason.contains("For input string"), "{reason}");
    }

    /// Goal: a request that failed whole says nothing of its documents. Method: a table of statuses, then odd bodies.
    #[test]
    fn whole_failures() {
        let writes = [index("1", 1, "{}"), delete("2", 1)];
        let kinds = [(429, "throttled"), (503, "unreachable"), (401, "forbidden"), (403, "forbidden"), (504, "timeout")];
        for (status, want) in kinds.into_iter().chain([(405, "incompatible"), (500, "unreachable"), (302, "unreachable")]) {
            let Reading::Failed(fault) = read(status, b"<html>", &writes, "search") else { panic!("{status}") };
            assert_eq!(fault.kind.label(), want, "{status}");
        }
        assert_eq!(read(413, b"", &writes, "search"), Reading::TooLarge);
        assert!(matches!(read(400, b"", &writes, "search"), Reading::Unreadable(_)));
        let odd = [
            "",
            "<html>",
            "{}",
            r#"{"items":[{"index":{"status":200}}]}"#,
            r#"{"items":[{"index":{"status":200}},{"index":{"status":200}}]}"#,
            r#"{"items":[{"index":{"status":"x"}},{"delete":{}}]}"#,
        ];
        for reply in odd {
            assert!(matches!(read(200, reply.as_bytes(), &writes, "search"), Reading::Failed(_)), "{reply}");
        }
    }

    proptest! {
        /// Goal: no reply makes a panic or a wrong count. Method: random bytes, and random cuts of a good reply.
        #[test]
        fn any_reply_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), status in 100u16..600, end in 0usize..70) {
            let writes = [index("1", 1, "{}"), delete("2", 1)];
            let good = br#"{"items":[{"index":{"status":201}},{"delete":{"status":200}}]}"#;
            for reply in [&bytes[..], &good[..end.min(good.len())]] {
                if let Reading::Items { outcomes, .. } = read(status, reply, &writes, "search") {
                    prop_assert_eq!(outcomes.len(), 2);
                }
            }
        }
    }
}
