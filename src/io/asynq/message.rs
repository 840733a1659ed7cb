//! asynq's protobuf: tasks, server and worker entries, field by field as asynq 0.26 reads them.
//!
//! Go refuses a message whose strings are not UTF-8, and one such message stops a whole server's recovery: text is cut at
//! character borders. Scripts put messages together from pieces and change them by appending fields, of which the last
//! counts; [`TaskMessage`] reads the outcome.

use prost::Message;
use std::collections::{BTreeMap, HashMap};

/// A task as it lies in its hash under `msg`.
#[derive(Clone, PartialEq, Message)]
pub struct TaskMessage {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(string, tag = "4")]
    pub queue: String,
    /// Retries at most.
    #[prost(int32, tag = "5")]
    pub retry: i32,
    #[prost(int32, tag = "6")]
    pub retried: i32,
    #[prost(string, tag = "7")]
    pub error_msg: String,
    /// Seconds a run may take; 0 is none.
    #[prost(int64, tag = "8")]
    pub timeout: i64,
    /// Seconds since 1970; 0 is none.
    #[prost(int64, tag = "9")]
    pub deadline: i64,
    #[prost(string, tag = "10")]
    pub unique_key: String,
    #[prost(int64, tag = "11")]
    pub last_failed_at: i64,
    #[prost(int64, tag = "12")]
    pub retention: i64,
    #[prost(int64, tag = "13")]
    pub completed_at: i64,
    #[prost(string, tag = "14")]
    pub group_key: String,
    #[prost(btree_map = "string, string", tag = "15")]
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A process that works queues.
#[derive(Clone, PartialEq, Message)]
pub struct ServerInfo {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(int32, tag = "2")]
    pub pid: i32,
    #[prost(string, tag = "3")]
    pub server_id: String,
    #[prost(int32, tag = "4")]
    pub concurrency: i32,
    #[prost(map = "string, int32", tag = "5")]
    pub queues: HashMap<String, i32>,
    #[prost(bool, tag = "6")]
    pub strict_priority: bool,
    /// `new`, `active`, `stopped` or `closed`.
    #[prost(string, tag = "7")]
    pub status: String,
    #[prost(message, optional, tag = "8")]
    pub start_time: Option<Timestamp>,
    #[prost(int32, tag = "9")]
    pub active_worker_count: i32,
}

/// A task in work.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerInfo {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(int32, tag = "2")]
    pub pid: i32,
    #[prost(string, tag = "3")]
    pub server_id: String,
    #[prost(string, tag = "4")]
    pub task_id: String,
    #[prost(string, tag = "5")]
    pub task_type: String,
    #[prost(bytes = "vec", tag = "6")]
    pub task_payload: Vec<u8>,
    #[prost(string, tag = "7")]
    pub queue: String,
    #[prost(message, optional, tag = "8")]
    pub start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "9")]
    pub deadline: Option<Timestamp>,
}

/// What asynq gives a task without time-out or deadline, in seconds; with neither, its server logs an internal error.
pub const TIMEOUT_S: i64 = 1_800;
/// Error texts longer than this are cut.
const ERROR_BYTES_MAX: usize = 1_024;

/// The pieces of our messages: type first, payload next, then the id, then what every job of a lane shares.
pub fn type_field(line: &str) -> Vec<u8> {
    TaskMessage { kind: line.to_owned(), ..TaskMessage::default() }.encode_to_vec()
}

pub fn payload_field(payload: Vec<u8>) -> Vec<u8> {
    TaskMessage { payload, ..TaskMessage::default() }.encode_to_vec()
}

pub fn id_field(id: &str) -> Vec<u8> {
    TaskMessage { id: id.to_owned(), ..TaskMessage::default() }.encode_to_vec()
}

pub fn lane_fields(queue: &str, retries: u32) -> Vec<u8> {
    let retry = i32::try_from(retries).unwrap_or(i32::MAX);
    TaskMessage { queue: queue.to_owned(), retry, timeout: TIMEOUT_S, ..TaskMessage::default() }.encode_to_vec()
}

/// Named change types for workers that read headers (asynq 0.26).
pub fn header_fields(types: &str) -> Vec<u8> {
    if types.is_empty() {
        return Vec::new();
    }
    let headers = BTreeMap::from([("types".to_owned(), types.to_owned())]);
    TaskMessage { headers, ..TaskMessage::default() }.encode_to_vec()
}

/// Cut at a character's border.
pub fn short(text: &str) -> &str {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// J1: the whole payload.
pub fn payload(line: &str, row: &str) -> Vec<u8> {
    // A map of two texts: writing it cannot fail.
    serde_json::to_vec(&serde_json::json!({ "line": line, "row": row })).unwrap_or_default()
}

/// The row a payload names: ours, or a foreign producer's `{"row": "…"}`.
///
/// # Errors
/// What was found instead.
pub fn row_of(payload: &[u8], line: &str) -> Result<String, String> {
    #[derive(serde::Deserialize)]
    struct Payload {
        line: Option<String>,
        row: String,
    }
    let read: Payload = serde_json::from_slice(payload)
        .map_err(|error| format!("the payload names no row ({error}); allowed: {{\"row\": \"<row key>\"}}"))?;
    match read.line {
        Some(other) if other != line => Err(format!("the payload is for line `{other}`; this queue is of line `{line}`")),
        _ => Ok(read.row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the bytes of a task are those Go writes. Method: a message as asynq 0.26 encodes it, byte by byte.
    #[test]
    fn a_task_has_gos_bytes() {
        let pieces = [
            type_field("l"),
            payload_field(payload("l", "r:1")),
            id_field("r~3A1~0"),
            lane_fields("l_bulk", 25),
            header_fields("price+paid"),
        ]
        .concat();
        let mut want =
            b"\x0a\x01l\x12\x18{\"line\":\"l\",\"row\":\"r:1\"}\x1a\x07r~3A1~0\x22\x06l_bulk\x28\x19\x40\x88\x0e".to_vec();
        want.extend_from_slice(b"\x7a\x13\x0a\x05types\x12\x0aprice+paid");
        assert_eq!(pieces, want);
        let task = TaskMessage::decode(pieces.as_slice()).unwrap();
        assert_eq!(
            (task.kind.as_str(), task.retry, task.timeout, task.headers["types"].as_str()),
            ("l", 25, 1_800, "price+paid")
        );
        assert_eq!(task.encode_to_vec(), want, "in the order of the field numbers, as Go has it");
    }

    /// Goal: what scripts append replaces what was there. Method: the fields of a failed run and of another lane.
    #[test]
    fn appended_fields_count() {
        let mut bytes = [type_field("l"), lane_fields("l_bulk", 25)].concat();
        bytes.extend_from_slice(b"\x30\x01\x3a\x03one\x58\x05\x30\x82\x01\x3a\x03two\x58\x06\x22\x03l_u");
        let task = TaskMessage::decode(bytes.as_slice()).unwrap();
        assert_eq!((task.retried, task.error_msg.as_str(), task.last_failed_at, task.queue.as_str()), (130, "two", 6, "l_u"));
    }

    /// Goal: error text stays UTF-8. Method: a three-byte character across the limit.
    #[test]
    fn long_errors_are_cut_between_characters() {
        let text = format!("{}订单", "x".repeat(ERROR_BYTES_MAX - 1));
        assert_eq!(short(&text).len(), ERROR_BYTES_MAX - 1);
        assert_eq!(short("短"), "短");
    }

    /// Goal: payloads that name a row, and a clear word about the others. Method: a table.
    #[test]
    fn payloads_name_rows() {
        assert_eq!(row_of(&payload("l", "订\"1"), "l"), Ok("订\"1".to_owned()));
        assert_eq!(row_of(br#"{"row":"7","more":1}"#, "l"), Ok("7".to_owned()));
        for (payload, word) in
            [(&b"\xff"[..], "names no row"), (b"{}", "missing field"), (br#"{"line":"m","row":"1"}"#, "line `m`")]
        {
            assert!(row_of(payload, "l").unwrap_err().contains(word));
        }
    }
}
