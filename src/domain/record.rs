//! A record as the log delivered it, before any decoding.
//!
//! Knows nothing of formats; the JSON form of recorded events (3-interfaces 3.3) is in `io/jsonl.rs`.

use super::ids::{Generation, Millis, Partition, RecordOffset};
use bytes::Bytes;

/// One record of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: Partition,
    /// What the source commits by: the offset in Kafka, the line in a file.
    pub position: RecordOffset,
    /// The offset in the log, which the stamp is made of (E1). In a file it may fall or repeat: a delivery again.
    pub offset: i64,
    /// The log's own time of the record.
    pub timestamp: Option<Millis>,
    pub key: Option<Bytes>,
    /// `None` is Kafka's null body.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
}

impl Record {
    /// Bytes the record holds in memory, for the budgets of O4.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers
    }
}

/// One batch of one partition.
#[derive(Debug)]
pub struct Delivery {
    pub partition: Partition,
    /// The reading this belongs to: raised by a rewind, so that records read before a rewind are known as such.
    pub reading: Generation,
    pub records: Vec<Record>,
    /// The end of the log as last seen, where there is one: lag counts from it.
    pub high_watermark: Option<i64>,
}
