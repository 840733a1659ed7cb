//! The poll loop of one source: takes records from the client, hands them over, answers the group, looks at topics.
//!
//! Keeps O3 (a revoke is acknowledged after the engine has drained and committed), O4, and E3 while running. One thread
//! polls; what blocks is asked beside it, so that no rebalance waits for a broker's answer. Knows nothing of commits.

use super::config::{fault_kind, fault_of};
use super::lives::{Life, Lives};
use super::member::{Asked, Ear, Member, Outside};
use super::parts::{Landed, Parts};
use crate::domain::fault::{Advice, Fault, FaultKind};
use crate::domain::ids::{Millis, Name, Partition, RecordOffset};
use crate::domain::record::Record;
use crate::io::feed::Handed;
use crate::ports::source::Intake;
use crate::settings::KafkaSettings;
use bytes::Bytes;
use futures_util::future::{BoxFuture, OptionFuture};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Messages taken from the client before anything else gets a turn.
const POLLED_MAX: usize = 2_000;
/// Between two looks at every topic, and at one that does not answer.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The loop looks around this often even when nobody wakes it.
const IDLE: Duration = Duration::from_millis(100);
/// A seek is answered by the client itself.
const SEEK: Duration = Duration::from_secs(1);

/// Twice the session is longer than the group takes to notice that a member died, and to share its partitions out anew.
const SESSIONS_OUTSIDE: u32 = 2;
/// A client that is outside is given up after no more than this, however many were before it.
const OUTSIDE_MAX: Duration = Duration::from_secs(300);

/// What one look came to, by topic.
pub(super) type Looks = Vec<(Name, Result<Life, Fault>)>;

/// Why a loop ends before it was stopped.
#[derive(Debug)]
pub(super) enum Ending {
    /// This client can do nothing more, another one can: the group has fenced it, or it failed in itself.
    Fatal(Fault),
    /// The group has kept this client out for so long. A client that was told of no broker (one that the controller had
    /// fenced names none, itself included) asks nobody any more; another one begins at the configured addresses.
    Outside(Duration),
    /// Nobody here can go on.
    Fault(Fault),
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The loop and what it works on.
pub(super) struct Poller {
    pub source: String,
    /// This member's name in the group.
    pub name: String,
    pub settings: KafkaSettings,
    /// Nobody else may be in the group: what this node keeps in itself serves one process.
    pub alone: bool,
    pub consumer: Arc<Member>,
    pub parts: Arc<Parts>,
    pub changed: Arc<Notify>,
    pub intake: Arc<dyn Intake>,
    pub lives: Lives<Ear>,
    pub handed: Handed,
    /// The group's question being answered.
    pub answering: Option<BoxFuture<'static, Result<(), Fault>>>,
    pub looking: Option<BoxFuture<'static, Looks>>,
    /// A topic that has to be looked at before the next turn comes.
    pub look_now: bool,
    /// Topics by the client's name for them, so that a record costs no search.
    pub names: HashMap<String, Name>,
    pub told: HashSet<i32>,
    /// How long the client before this one was outside the group, or this one when that was said.
    pub told_outside: Option<Duration>,
}

impl Poller {
    /// Reads until stopped.
    ///
    /// # Errors
    /// The member cannot go on: fenced, refused, or not alone.
    pub(super) async fn run(mut self) -> Result<(), Ending> {
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|e| fault_of(&format!("source {}", self.source), &e))?;
        let mut next_look = tokio::time::Instant::now() + LOOK_EVERY;
        loop {
            if self.parts.lock().stopped {
                return Ok(());
            }
            let polled = self.poll()?;
            self.answer_group();
            self.tell_place()?;
            self.seek();
            self.deliver();
            self.hold_back();
            let now = tokio::time::Instant::now();
            if self.looking.is_none() && (now >= next_look || std::mem::take(&mut self.look_now)) {
                next_look = now + LOOK_EVERY;
                self.look();
            }
            if polled < POLLED_MAX {
                self.wait().await?;
            } else {
                self.take_answers();
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes what the client has. How many messages it was.
    fn poll(&mut self) -> Result<usize, Ending> {
        let mut records = Vec::new();
        let consumer = Arc::clone(&self.consumer);
        while records.len() < POLLED_MAX {
            match consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => records.extend(self.record(&message)),
                Some(Err(error)) => self.error(&error)?,
            }
        }
        let polled = records.len();
        let ends = consumer.context().ends();
        let mut state = self.parts.lock();
        for (partition, end) in ends {
            if let Some(part) = state.parts.get_mut(&partition) {
                part.end = Some(end);
            }
        }
        for record in records {
            let (partition, offset) = (record.partition, record.offset);
            let Some(part) = state.parts.get_mut(&partition) else { continue };
            if part.land(record) == Landed::Fell {
                let expected = part.expected;
                part.fetch_again();
                self.look_now = true;
                tracing::warn!(%partition, offset, expected, "offset falls without a rewind, the topic is looked at");
            }
        }
        Ok(polled)
    }

    fn record(&mut self, message: &BorrowedMessage<'_>) -> Option<Record> {
        let topic = match self.names.get(message.topic()) {
            Some(topic) => *topic,
            None => {
                let topic = Name::intern(message.topic()).ok()?;
                self.names.insert(message.topic().to_owned(), topic);
                topic
            }
        };
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            let header = |h: rdkafka::message::Header<'_, &[u8]>| {
                (h.key.to_owned(), h.value.map_or_else(Bytes::new, Bytes::copy_from_slice))
            };
            headers.iter().map(header).collect()
        });
        Some(Record {
            partition: Partition { topic, number: message.partition() },
            position: RecordOffset(message.offset()),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().map(Millis),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers,
        })
    }

    /// What ends by itself is left to the client; what does not is told once.
    fn error(&mut self, error: &KafkaError) -> Result<(), Ending> {
        let place = format!("source {}", self.source);
        if let KafkaError::MessageConsumptionFatal(code) = error {
            let what = match code {
                Code::FencedInstanceId => format!(
                    "group {} has fenced this member, {}, as if another process had come under its name; each node needs \
                     its own node.id and data_dir",
                    self.settings.group, self.name
                ),
                code => format!("the client gave up: {code}"),
            };
            return Err(Ending::Fatal(Fault::new(FaultKind::Incompatible, place, what)));
        }
        match error.rdkafka_error_code() {
            Some(
                Code::AutoOffsetReset
                | Code::OffsetOutOfRange
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition,
            ) => {
                self.look_now = true;
                tracing::warn!(source = self.source, %error, "topic or position not there, it is looked at");
            }
            Some(code) if fault_kind(code).advice() == Advice::Stop => {
                if self.told.insert(code as i32) {
                    self.intake.failed(None, fault_of(&place, error));
                }
            }
            _ => tracing::debug!(source = self.source, %error, "kafka client reports an error"),
        }
        Ok(())
    }

    /// One question of the group at a time, in their order.
    fn answer_group(&mut self) {
        if self.answering.is_some() {
            return;
        }
        self.answering = match self.consumer.context().next_asked() {
            Some(Asked::Assign(list)) => Some(Box::pin(self.answers().assign(list))),
            Some(Asked::Revoke(list)) => Some(Box::pin(self.answers().revoke(list))),
            None => None,
        };
    }

    /// Says when the group has kept this member out for long, and when it is in again: a node without partitions is silent
    /// otherwise, and looks well.
    ///
    /// # Errors
    /// [`Ending::Outside`].
    fn tell_place(&mut self) -> Result<(), Ending> {
        let Some(Outside { since, at }) = self.consumer.context().outside() else {
            if let Some(out) = self.told_outside.take() {
                tracing::info!(source = self.source, seconds = out.as_secs(), "the group has let this member in again");
                self.intake.waits(None);
            }
            return Ok(());
        };
        let (out, patience) = (since.elapsed(), self.settings.session_timeout * SESSIONS_OUTSIDE);
        if out < self.told_outside.map_or(patience, |last| (last * 2).min(OUTSIDE_MAX.max(patience))) {
            return Ok(());
        }
        let what = format!(
            "group {} has not let this client in for {} s ({at}), another one tries: see whether its brokers answer and \
             its topics are there, and what the coordinator's log says of the group",
            self.settings.group,
            out.as_secs()
        );
        let fault = Fault::new(FaultKind::Unreachable, format!("source {}", self.source), what);
        tracing::warn!(source = self.source, %fault, "source waits for its group");
        self.intake.waits(Some(fault));
        Err(Ending::Outside(out))
    }

    /// Seeks that are owed. One that the client refuses is tried again; a partition it no longer fetches is given to it anew.
    fn seek(&mut self) {
        let owed: Vec<_> = {
            let state = self.parts.lock();
            let owing = state.parts.iter().filter(|(_, part)| part.fetched && !part.leaving && part.halted.is_none());
            owing.filter_map(|(partition, part)| Some((*partition, part.seek?))).collect()
        };
        for (partition, to) in owed {
            let list = list_of([(partition, to)]);
            let sought = self.consumer.seek_partitions(list.clone(), SEEK);
            let fine = sought.as_ref().is_ok_and(|told| told.elements().iter().all(|e| e.error().is_ok()));
            if !fine {
                let given = self.consumer.incremental_unassign(&list).and_then(|()| self.consumer.incremental_assign(&list));
                if let Err(error) = given {
                    tracing::debug!(%partition, %error, "seek not taken, trying again");
                    continue;
                }
            }
            self.parts.change(partition, |part| {
                // Nothing else clears a seek; a later one to another offset is still owed.
                if part.seek == Some(to) {
                    part.seek = None;
                }
                if !fine {
                    part.held_back = false;
                }
            });
        }
    }

    fn deliver(&mut self) {
        let deliveries = self.parts.lock().deliveries();
        for (delivery, registration) in deliveries {
            self.handed.hand(&*self.intake, delivery, registration);
        }
    }

    /// O4: tells the client which partitions to hold back and which to let go.
    fn hold_back(&mut self) {
        let (mut hold, mut release) = (Vec::new(), Vec::new());
        for (partition, part) in &mut self.parts.lock().parts {
            match part.hold_back() {
                Some(true) => hold.push((*partition, 0)),
                Some(false) => release.push((*partition, 0)),
                None => {}
            }
        }
        for (told, held) in [(hold, true), (release, false)] {
            if told.is_empty() {
                continue;
            }
            let list = list_of(told.iter().copied());
            let outcome = if held { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
            match outcome {
                Ok(()) => {
                    let mut state = self.parts.lock();
                    for (partition, _) in told {
                        if let Some(part) = state.parts.get_mut(&partition) {
                            part.held_back = held;
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "pause not taken, trying again"),
            }
        }
    }

    /// E3 while running: every topic that is here is looked at from time to time.
    fn look(&mut self) {
        let mut topics: HashMap<Name, Vec<i32>> = HashMap::new();
        for (partition, part) in &self.parts.lock().parts {
            if !part.leaving {
                topics.entry(partition.topic).or_default().push(partition.number);
            }
        }
        if topics.is_empty() {
            return;
        }
        let lives = self.lives.clone();
        self.looking = Some(Box::pin(async move {
            let mut looks = Vec::new();
            for (topic, numbers) in topics {
                looks.push((topic, lives.look(topic, Some(numbers)).await));
            }
            looks
        }));
    }

    /// Until something happens, or a little while.
    async fn wait(&mut self) -> Result<(), Ending> {
        let (consumer, changed) = (Arc::clone(&self.consumer), Arc::clone(&self.changed));
        tokio::select! {
            (partition, reading) = self.handed.next() => {
                self.parts.change(partition, |part| part.gate.answered(reading));
            }
            () = consumer.context().wake.notified() => {}
            () = changed.notified() => {}
            Some(answered) = OptionFuture::from(self.answering.as_mut()) => {
                self.answering = None;
                answered?;
            }
            Some(looks) = OptionFuture::from(self.looking.as_mut()) => {
                self.looking = None;
                self.looked(looks);
            }
            () = tokio::time::sleep(IDLE) => {}
        }
        self.take_answers();
        Ok(())
    }

    /// Answers that are there already.
    fn take_answers(&mut self) {
        use futures_util::FutureExt;
        while let Some((partition, reading)) = self.handed.next().now_or_never() {
            self.parts.change(partition, |part| part.gate.answered(reading));
        }
    }
}

/// A list of positions.
pub(super) fn list_of(positions: impl IntoIterator<Item = (Partition, i64)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, at) in positions {
        // An offset is a number, which any list takes.
        let _ = list.add_partition_offset(partition.topic.as_str(), partition.number, Offset::Offset(at));
    }
    list
}
