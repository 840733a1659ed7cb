//! The lives of topics: what the row store remembers of them, held against what the brokers say (E3, E4).
//!
//! The memory lies in the row store, beside the cells whose order hangs on it, and changes by compare-and-set, because
//! every process that writes these rows shares it. What a difference means is decided in `domain/epoch`.

use super::config::{fault_kind, fault_of};
use super::topic_id;
use crate::domain::epoch::{Break, Bump, Committed, PartSeen, TopicMemory, TopicSeen};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Name, NextOffset};
use crate::ports::rows::RowStore;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the brokers may take for one question.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A write that somebody else was quicker with is tried again so often.
const TRIES: usize = 20;
/// Between a log that seems to have lost its end and the second look.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Looks at topics and keeps what is remembered of them.
pub(super) struct Lives<C: ConsumerContext + 'static> {
    pub consumer: Arc<BaseConsumer<C>>,
    pub rows: Arc<dyn RowStore>,
    /// Has committed positions that count.
    pub group: bool,
}

impl<C: ConsumerContext + 'static> Clone for Lives<C> {
    fn clone(&self) -> Self {
        Self { consumer: Arc::clone(&self.consumer), rows: Arc::clone(&self.rows), group: self.group }
    }
}

/// One topic, remembered and seen.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub memory: TopicMemory,
    pub seen: TopicSeen,
    pub breaks: Vec<Break>,
}

impl Life {
    /// Why the topic stops, with what to do; `None` for the topic that is remembered.
    pub(super) fn fault(&self, topic: Name) -> Option<Fault> {
        if self.breaks.is_empty() {
            return None;
        }
        let found: Vec<_> = self.breaks.iter().map(ToString::to_string).collect();
        let what = format!(
            "the topic {}; its offsets no longer order changes, so nothing of it is applied (E3). `widerow epoch show` tells \
             more, `widerow epoch bump {topic}` raises its epoch and goes on",
            found.join("; ")
        );
        Some(Fault::new(FaultKind::Incompatible, format!("topic {topic}"), what))
    }
}

fn key(topic: Name) -> String {
    format!("epoch/{topic}")
}

impl<C: ConsumerContext + 'static> Lives<C> {
    /// The topic with these partitions looked at, all of them for `None`. What has grown is remembered; a topic met for the
    /// first time is as it is.
    ///
    /// # Errors
    /// Brokers or row store do not answer, or the topic is not there.
    pub(super) async fn look(&self, topic: Name, partitions: Option<Vec<i32>>) -> Result<Life, Fault> {
        let life = self.look_once(topic, partitions.clone()).await?;
        if !life.breaks.iter().any(Break::may_pass) {
            return Ok(life);
        }
        tokio::time::sleep(SECOND_LOOK).await;
        self.look_once(topic, partitions).await
    }

    async fn look_once(&self, topic: Name, partitions: Option<Vec<i32>>) -> Result<Life, Fault> {
        for _ in 0..TRIES {
            let held = self.rows.meta(&key(topic)).await?;
            let known = held.as_deref().map(|text| parse(topic, text)).transpose()?;
            // After the memory was read: a log seen before it may be shorter than what another process has remembered since.
            let seen = self.see(topic, partitions.clone()).await?;
            let mut memory = known.clone().unwrap_or_else(|| TopicMemory::first(&seen));
            let breaks = memory.judge(&seen);
            let news = known.is_none() || (breaks.is_empty() && memory.remember(&seen));
            if !news || self.store(topic, held.as_deref(), &memory).await? {
                return Ok(Life { memory, seen, breaks });
            }
        }
        Err(Fault::new(FaultKind::Timeout, format!("memory of topic {topic}"), "others were quicker with every change"))
    }

    async fn see(&self, topic: Name, partitions: Option<Vec<i32>>) -> Result<TopicSeen, Fault> {
        let (consumer, group) = (Arc::clone(&self.consumer), self.group);
        let seeing = move || see(&*consumer, topic, partitions, group);
        let seen = tokio::task::spawn_blocking(seeing).await;
        seen.map_err(|e| Fault::new(FaultKind::Panicked, format!("topic {topic}"), e))?
    }

    async fn store(&self, topic: Name, held: Option<&str>, memory: &TopicMemory) -> Result<bool, Fault> {
        let text = serde_json::to_string(memory).map_err(|e| Fault::new(FaultKind::Invalid, key(topic), e))?;
        self.rows.set_meta(&key(topic), held, &text).await
    }

    /// Raises the topic's epoch by compare-and-set, or with `dry` only says what that would come to.
    ///
    /// # Errors
    /// Brokers or row store do not answer; the memory was changed meanwhile.
    pub(super) async fn bump(&self, topic: Name, dry: bool) -> Result<Bump, Fault> {
        let life = self.look(topic, None).await?;
        let held = self.rows.meta(&key(topic)).await?;
        let bump = life.memory.bump(&life.seen);
        let unchanged = held.as_deref().map(|text| parse(topic, text)).transpose()? == Some(life.memory);
        if !dry && (!unchanged || !self.store(topic, held.as_deref(), &bump.memory).await?) {
            let what = "somebody else changed it at the same moment; look at `widerow epoch show` and ask again";
            return Err(Fault::new(FaultKind::Rejected, format!("memory of topic {topic}"), what));
        }
        Ok(bump)
    }
}

fn parse(topic: Name, text: &str) -> Result<TopicMemory, Fault> {
    serde_json::from_str(text)
        .map_err(|e| Fault::new(FaultKind::Corrupt, format!("row store, {}", key(topic)), format!("not a topic's memory: {e}")))
}

/// Asks the brokers; blocks.
fn see<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: Name,
    partitions: Option<Vec<i32>>,
    group: bool,
) -> Result<TopicSeen, Fault> {
    let place = format!("topic {topic}");
    let described = topic_id::describe(consumer.client(), topic.as_str(), PATIENCE)
        .map_err(|code| Fault::new(fault_kind(code), place.clone(), code))?;
    let all = || (0..i32::try_from(described.partitions).unwrap_or(i32::MAX)).collect();
    let mut numbers: Vec<i32> = partitions.unwrap_or_else(all);
    // A topic made again with fewer partitions no longer has some of ours.
    numbers.retain(|number| number.unsigned_abs() < described.partitions);
    let committed = if group { committed(consumer, topic, &numbers, &place)? } else { BTreeMap::new() };
    let mut parts = BTreeMap::new();
    for number in numbers {
        let (low, high) = consumer.fetch_watermarks(topic.as_str(), number, PATIENCE).map_err(|e| fault_of(&place, &e))?;
        parts.insert(number, PartSeen { low, high, committed: committed.get(&number).copied() });
    }
    Ok(TopicSeen { id: described.id, partitions: described.partitions, parts })
}

fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: Name,
    numbers: &[i32],
    place: &str,
) -> Result<BTreeMap<i32, Committed>, Fault> {
    if numbers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut asked = TopicPartitionList::new();
    for number in numbers {
        asked.add_partition(topic.as_str(), *number);
    }
    let told = consumer.committed_offsets(asked, PATIENCE).map_err(|e| fault_of(place, &e))?;
    let mut committed = BTreeMap::new();
    for element in told.elements() {
        element.error().map_err(|e| fault_of(place, &e))?;
        if let Offset::Offset(next) = element.offset() {
            let epoch = element.metadata().strip_prefix(EPOCH_MARK).and_then(|text| text.parse().ok());
            committed.insert(element.partition(), Committed { next: NextOffset(next), epoch });
        }
    }
    Ok(committed)
}

/// Stands before the epoch in a commit's metadata.
pub(super) const EPOCH_MARK: &str = "widerow epoch ";
