//! A member of a consumer group: its configuration, what the group tells it, and who else is in the group.
//!
//! Keeps the client's half of O1 and O3: nothing is committed by itself, and a rebalance is only reported here, because its
//! callback runs inside the poll; the poll loop answers it when the partitions are ready or empty. Knows nothing of
//! records and positions.

use super::config::{client_config, fault_of, tell_error, tell_log};
use crate::domain::fault::Fault;
use crate::domain::ids::{Name, Partition};
use crate::settings::{KafkaSettings, Secret};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{ConsumerGroup, Statistics};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The client of a source.
pub(super) type Member = BaseConsumer<Ear>;

/// How the name of every member of ours begins.
pub(super) const MEMBER_MARK: &str = "widerow-";

/// What a source's properties may change, set before them.
const DEFAULTS: &[(&str, &str)] = &[
    // One queue for all partitions: what is fetched ahead is bounded for the process, whatever the number of partitions.
    ("queued.max.messages.kbytes", "32768"),
    ("queued.min.messages", "20000"),
    // New partitions and topics of a pattern are seen within this, not after the default's five minutes.
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("fetch.error.backoff.ms", "200"),
    // A trickle is fetched fifty times a second and not at every record: each fetch costs broker and node alike.
    ("fetch.min.bytes", "32768"),
    ("fetch.wait.max.ms", "20"),
];

/// The configuration of a group's member; `name` differs for each of them.
pub(super) fn member_config(settings: &KafkaSettings, name: &str) -> ClientConfig {
    let mut address = settings.address.clone();
    let defaults = DEFAULTS.iter().map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned())));
    address.properties = defaults.chain(address.properties).collect();
    let mut config = client_config(&address, name);
    config.set("group.id", &settings.group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // Every start is told explicitly; a position that the log does not hold is a matter of E3, never of a default.
    config.set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "false");
    config.set("statistics.interval.ms", "1000");
    // The group protocol of KIP-848 keeps these two at the broker.
    if !is_led_by_broker(&config) {
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", settings.session_timeout.as_millis().to_string());
    }
    let poll = settings.session_timeout.max(Duration::from_secs(300));
    config.set("max.poll.interval.ms", poll.as_millis().to_string());
    if settings.static_member {
        config.set("group.instance.id", name);
    }
    config
}

/// Whether the group's protocol is that of KIP-848.
pub(super) fn is_led_by_broker(config: &ClientConfig) -> bool {
    config.get("group.protocol") == Some("consumer")
}

/// What the group asks of this member. It waits for the answer.
#[derive(Debug)]
pub(super) enum Asked {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// What the client tells, kept until the poll loop has time for it.
#[derive(Default)]
struct Heard {
    asked: VecDeque<Asked>,
    ends: HashMap<Partition, i64>,
    outside: Option<Outside>,
}

/// Since when the client has no place in the group, and what it is at: its own words for its coordinator and for joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    pub since: Instant,
    pub at: String,
}

impl Outside {
    /// What a client of this state is, if it was `before`. A member under KIP-848 that is given nothing stays at `init`, so there
    /// the coordinator alone tells.
    fn after(before: Option<Self>, group: &ConsumerGroup, led_by_broker: bool, now: Instant) -> Option<Self> {
        let joins = !led_by_broker && matches!(group.join_state.as_str(), "init" | "wait-join" | "wait-metadata" | "wait-sync");
        // Elsewhere it is in, or waits for us to take partitions or to give them back.
        let out = group.state != "up" || joins;
        let since = before.map_or(now, |before| before.since);
        out.then(|| Self { since, at: format!("coordinator {}, joining {}", group.state, group.join_state) })
    }
}

/// The client's callbacks: they only take note.
pub(super) struct Ear {
    client: String,
    led_by_broker: bool,
    heard: Mutex<Heard>,
    pub(super) wake: Arc<Notify>,
    /// The member leaves for good: whatever it still has goes back at once, or closing would wait for ever.
    closing: AtomicBool,
}

impl Ear {
    pub(super) fn new(client: String, led_by_broker: bool) -> Self {
        // Nobody has let a new client in.
        let outside = Outside { since: Instant::now(), at: "not asked yet".to_owned() };
        let heard = Heard { outside: Some(outside), ..Heard::default() };
        Self { client, led_by_broker, heard: Mutex::new(heard), wake: Arc::default(), closing: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn next_asked(&self) -> Option<Asked> {
        self.lock().asked.pop_front()
    }
    pub(super) fn is_asked(&self) -> bool {
        !self.lock().asked.is_empty()
    }
    /// The logs' ends by the client's own statistics.
    pub(super) fn ends(&self) -> HashMap<Partition, i64> {
        std::mem::take(&mut self.lock().ends)
    }
    /// Whether the client has no place in the group, by its own statistics.
    pub(super) fn outside(&self) -> Option<Outside> {
        self.lock().outside.clone()
    }
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell_log(&self.client, level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tell_error(&self.client, &error, reason);
    }
    fn stats(&self, statistics: Statistics) {
        let mut heard = self.lock();
        if let Some(group) = &statistics.cgrp {
            heard.outside = Outside::after(heard.outside.take(), group, self.led_by_broker, Instant::now());
        }
        for (topic, told) in statistics.topics {
            let Ok(topic) = Name::intern(&topic) else { continue };
            for (number, told) in told.partitions {
                if told.hi_offset >= 0 {
                    heard.ends.insert(Partition { topic, number }, told.hi_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Ear {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigns = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            let answered = if assigns { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
            if let Err(error) = answered {
                tracing::debug!(client = self.client, %error, "last rebalance not answered");
            }
            return;
        }
        let asked = if assigns { Asked::Assign(list.clone()) } else { Asked::Revoke(list.clone()) };
        self.lock().asked.push_back(asked);
        self.wake.notify_one();
    }
}

/// Partitions of a list, and whether names are short enough to be ours.
pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<Partition> {
    let partition = |topic: &str, number| Name::intern(topic).ok().map(|topic| Partition { topic, number });
    list.elements().iter().filter_map(|e| partition(e.topic(), e.partition())).collect()
}

/// The other members of the group, as `client at host`. Brokers that do not tell are taken for silent.
///
/// # Errors
/// The group's coordinator cannot be asked.
pub(super) fn others(member: &Member, settings: &KafkaSettings, name: &str, timeout: Duration) -> Result<Vec<String>, Fault> {
    let groups = member.fetch_group_list(Some(&settings.group), timeout);
    let groups = groups.map_err(|error| fault_of(&format!("group {}", settings.group), &error))?;
    let members = groups.groups().iter().flat_map(|group| group.members());
    let mut others: Vec<_> =
        members.filter(|m| m.client_id() != name).map(|m| format!("{} at {}", m.client_id(), m.client_host())).collect();
    others.sort_unstable();
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a member counts as outside from the moment it lost its place until it has one again, whatever it tries
    /// meanwhile, and one that is led by the broker and given nothing does not. Method: the states of a client that loses its
    /// coordinator, joins again, and is given partitions.
    #[test]
    fn a_member_is_outside_until_it_has_its_place_again() {
        let begun = Instant::now();
        let at = |s| begun + Duration::from_secs(s);
        let group = |state: &str, join: &str| ConsumerGroup {
            state: state.to_owned(),
            join_state: join.to_owned(),
            ..ConsumerGroup::default()
        };
        let mut outside = None;
        let mut look = |s, state, join, led_by_broker| {
            outside = Outside::after(outside.take(), &group(state, join), led_by_broker, at(s));
            outside.as_ref().map(|out| out.since)
        };
        assert_eq!(look(0, "up", "steady", false), None);
        assert_eq!(look(1, "wait-broker-transport", "steady", false), Some(at(1)));
        assert_eq!(look(2, "up", "wait-join", false), Some(at(1)));
        assert_eq!(look(3, "up", "wait-sync", false), Some(at(1)));
        assert_eq!(look(4, "up", "wait-assign-call", false), None, "it waits for us");
        assert_eq!(look(5, "up", "init", false), Some(at(5)));
        assert_eq!(look(6, "up", "steady", false), None);
        assert_eq!(look(7, "up", "init", true), None, "it has its place, and nothing to read");
        assert_eq!(look(8, "wait-coord", "init", true), Some(at(8)));
        assert_eq!(look(9, "up", "init", true), None);
    }
}
