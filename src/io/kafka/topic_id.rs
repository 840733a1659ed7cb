//! A topic's id and partition count, which the client's Rust face does not give.
//!
//! The only place that calls librdkafka's C functions by hand: one question, one answer, everything it makes is given back
//! by guards. The id tells a topic from another one of the same name (E3).

#![allow(unsafe_code)]

use rdkafka::bindings::*;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::time::Duration;

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// `None` from brokers before 2.8.
    pub id: Option<String>,
    pub partitions: u32,
}

/// Gives a thing of librdkafka's back when it goes.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from the function that belongs to this destructor, and nobody else has it.
            unsafe { self.1(self.0) }
        }
    }
}

/// Asks the brokers; blocks for at most `timeout`.
///
/// # Errors
/// The broker's or the client's own code; [`RDKafkaErrorCode::OperationTimedOut`] when nobody answers.
pub fn describe<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<Described, RDKafkaErrorCode> {
    // Any broker can tell; the controller, whom the client would ask by itself, may be nobody's to reach.
    let metadata =
        client.fetch_metadata(Some(topic), timeout).map_err(|e| e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))?;
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut names = [name.as_ptr()];
    let kafka = client.native_ptr();
    // SAFETY: `kafka` lives as long as `client`; every other pointer is made here, is checked or guarded, and what is read
    // through the event is read before the event goes.
    unsafe {
        let queue = Owned(rd_kafka_queue_new(kafka), rd_kafka_queue_destroy);
        let topics =
            Owned(rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()), rd_kafka_TopicCollection_destroy);
        let options = Owned(
            rd_kafka_AdminOptions_new(kafka, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            rd_kafka_AdminOptions_destroy,
        );
        rd_kafka_AdminOptions_set_request_timeout(options.0, millis, null_mut(), 0);
        rd_kafka_AdminOptions_set_broker(options.0, metadata.orig_broker_id(), null_mut(), 0);
        rd_kafka_DescribeTopics(kafka, topics.0, options.0, queue.0);
        let event = Owned(rd_kafka_queue_poll(queue.0, millis), rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        fine(rd_kafka_event_error(event.0))?;
        read(event.0)
    }
}

/// SAFETY: `event` is a living event.
unsafe fn read(event: *mut rd_kafka_event_t) -> Result<Described, RDKafkaErrorCode> {
    // SAFETY: as above; librdkafka answers null for an event of another kind, and with the number of topics otherwise.
    unsafe {
        let result = rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let found = if result.is_null() { null_mut() } else { rd_kafka_DescribeTopics_result_topics(result, &mut count) };
        if found.is_null() || count == 0 {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let topic: *const rd_kafka_TopicDescription_t = *found;
        let error = rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            fine(rd_kafka_error_code(error))?;
        }
        let mut partitions = 0;
        rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let id = rd_kafka_TopicDescription_topic_id(topic);
        let given =
            !id.is_null() && (rd_kafka_Uuid_most_significant_bits(id) != 0 || rd_kafka_Uuid_least_significant_bits(id) != 0);
        let text = if given { rd_kafka_Uuid_base64str(id) } else { null() };
        let id = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
        Ok(Described { id, partitions: u32::try_from(partitions).unwrap_or(u32::MAX) })
    }
}

fn fine(code: rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    if code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code.into()) }
}
