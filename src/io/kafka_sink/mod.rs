//! Notices on a topic of Kafka: one record for each new version of a document, under the row key.
//!
//! Keeps K1 as far as a log can: it has no compare-and-set, so a record carries its version and readers drop lower ones.
//! A write is done when every in-sync replica has its record (`acks=all`); what is not acknowledged in time is tried
//! again, so a record may come twice. With `remember`, the last document is kept after its acknowledgement: the next
//! notice tells every change since one that is in the log. Knows nothing of rows or jobs.

mod notice;

use crate::domain::fault::{Advice, Fault, FaultKind};
use crate::domain::ids::{Millis, Name};
use crate::io::kafka::config::{Told, client_config, fault_of};
use crate::ports::Answer;
use crate::ports::sink::{Body, Held, LastDocuments, Sink, SinkOutcome, SinkWrite};
use crate::settings::{KafkaSinkSettings, NoticeForm};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A full buffer is looked at again after this long.
const ROOM_AGAIN: Duration = Duration::from_millis(20);

type Client = FutureProducer<Told>;

/// One line's notices.
pub struct KafkaSink {
    line: Name,
    settings: KafkaSinkSettings,
    /// For messages: `topic orders.changed`.
    place: String,
    config: ClientConfig,
    told: Told,
    /// An idempotent producer that lost its order with the broker takes nothing more: another takes its place.
    client: Mutex<Client>,
    last: Option<Arc<dyn LastDocuments>>,
    clock: fn() -> Millis,
}

/// A write on its way: how it stands, and where its record is.
enum Sent {
    Settled(SinkOutcome),
    OnItsWay(DeliveryFuture),
}

impl KafkaSink {
    /// A producer of one line's notices; brokers are reached on the first write. `last` keeps what was told, where
    /// settings ask for it.
    ///
    /// # Errors
    /// Properties that the client refuses.
    pub fn open(
        settings: &KafkaSinkSettings,
        line: Name,
        client_id: &str,
        last: Option<Arc<dyn LastDocuments>>,
        clock: fn() -> Millis,
    ) -> Result<Self, Fault> {
        let place = format!("topic {}", settings.topic);
        let config = config(settings, client_id);
        let told = Told::new(format!("sink of {line}"));
        let client = Mutex::new(client(&config, &told, &place)?);
        Ok(Self { line, settings: settings.clone(), place, config, told, client, last, clock })
    }

    /// Brokers, topic and how many partitions it has. Blocks.
    ///
    /// # Errors
    /// No broker answers in time, the topic is not there or not ours to see.
    pub fn look(&self, timeout: Duration) -> Result<usize, Fault> {
        let client = self.client.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let seen = client.client().fetch_metadata(Some(&self.settings.topic), timeout);
        // The producer's own thread takes its events out.
        let seen = seen.map_err(|error| self.told.explains(&self.place, &error, |wait| self.told.wait(wait)))?;
        let topic = seen.topics().iter().find(|topic| topic.name() == self.settings.topic);
        if let Some(error) = topic.and_then(|topic| topic.error()) {
            return Err(fault_of(&self.place, &KafkaError::MetadataFetch(error.into())));
        }
        Ok(topic.map_or(0, |topic| topic.partitions().len()))
    }

    async fn told(&self, batch: Vec<SinkWrite>) -> Vec<SinkOutcome> {
        let last = match &self.last {
            None => vec![None; batch.len()],
            Some(kept) => match kept.last(batch.iter().map(|write| write.id.clone()).collect()).await {
                Ok(last) => last,
                Err(fault) => return vec![again(fault); batch.len()],
            },
        };
        let client = self.client.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let mut sent = Vec::with_capacity(batch.len());
        for (write, last) in batch.iter().zip(&last) {
            sent.push(self.send(&client, write, last.as_ref()).await);
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for sent in sent {
            outcomes.push(match sent {
                Sent::Settled(outcome) => outcome,
                Sent::OnItsWay(delivery) => match delivery.await {
                    Ok(Ok(_)) => SinkOutcome::Written,
                    Ok(Err((error, _))) => self.failed(&error),
                    Err(_) => again(Fault::new(FaultKind::Unreachable, &self.place, "the client ended before an answer came")),
                },
            });
        }
        if let Some((code, why)) = client.client().fatal_error() {
            self.replace(&format!("{code:?}: {why}"));
        }
        self.keep(batch, &mut outcomes).await;
        outcomes
    }

    async fn send(&self, client: &Client, write: &SinkWrite, last: Option<&Held>) -> Sent {
        if let Some(held) = last.filter(|held| held.version > write.version) {
            return Sent::Settled(SinkOutcome::Superseded(Some(held.version)));
        }
        let told = notice::Told { line: self.line, write, last, at: (self.clock)() };
        let value = match self.settings.form {
            NoticeForm::Notice => told.notice(),
            NoticeForm::Envelope => told.envelope(&self.settings.system),
        };
        let value = match value {
            Ok(value) => value,
            Err(error) => return Sent::Settled(SinkOutcome::Rejected(format!("the document is not JSON: {error}"))),
        };
        let version = write.version.to_string();
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: "version", value: Some(version.as_str()) })
            .insert(Header { key: "op", value: Some(notice::op(&write.body)) });
        let mut record = FutureRecord::to(&self.settings.topic).key(write.row.as_str()).payload(&value).headers(headers);
        let give_up = tokio::time::Instant::now() + self.settings.timeout;
        loop {
            match client.send_result(record) {
                Ok(delivery) => return Sent::OnItsWay(delivery),
                Err((error, unsent)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full || tokio::time::Instant::now() >= give_up {
                        return Sent::Settled(self.failed(&error));
                    }
                    record = unsent;
                    tokio::time::sleep(ROOM_AGAIN).await;
                }
            }
        }
    }

    /// After the acknowledgement, so that what is kept is in the log: a crash in between only tells a change twice.
    async fn keep(&self, batch: Vec<SinkWrite>, outcomes: &mut [SinkOutcome]) {
        let Some(kept) = &self.last else { return };
        let written = |outcome: &SinkOutcome| *outcome == SinkOutcome::Written;
        let told = batch.into_iter().zip(&*outcomes).filter(|(_, outcome)| written(outcome));
        let told = told.map(|(write, _)| {
            let document = match write.body {
                Body::Index(json) => Some(json),
                Body::Delete => None,
            };
            Held { id: write.id, version: write.version, document }
        });
        let told: Vec<Held> = told.collect();
        if told.is_empty() {
            return;
        }
        if let Err(fault) = kept.keep(told).await {
            outcomes.iter_mut().filter(|outcome| written(outcome)).for_each(|outcome| *outcome = again(fault.clone()));
        }
    }

    fn failed(&self, error: &KafkaError) -> SinkOutcome {
        let fault = fault_of(&self.place, error);
        match fault.advice() {
            Advice::Bury => SinkOutcome::Rejected(format!("{fault}; the largest record is set by `message.max.bytes`")),
            _ => again(fault),
        }
    }

    fn replace(&self, why: &str) {
        match client(&self.config, &self.told, &self.place) {
            Ok(new) => {
                tracing::warn!(line = %self.line, why, "kafka producer lost its order with the broker, a new one takes its place");
                *self.client.lock().unwrap_or_else(|e| e.into_inner()) = new;
            }
            Err(fault) => tracing::error!(line = %self.line, why, %fault, "kafka producer cannot be replaced"),
        }
    }

    fn not_asked<T>(&self) -> Result<T, Fault> {
        let what = "a topic cannot be asked for a document; with `remember: true` the last ones told are kept";
        Err(Fault::new(FaultKind::Rejected, &self.place, what))
    }
}

/// A fault of the topic or of our own store is not the document's, unless a person is needed.
fn again(fault: Fault) -> SinkOutcome {
    SinkOutcome::Retry { counts: fault.advice() == Advice::Stop, fault }
}

fn config(settings: &KafkaSinkSettings, client_id: &str) -> ClientConfig {
    let mut config = client_config(&settings.address, client_id);
    config.set("enable.idempotence", "true").set("acks", "all");
    config.set("message.timeout.ms", settings.timeout.as_millis().to_string());
    if config.get("partitioner").is_none() {
        // As clients in Java place keys: a row's notices meet those of other writers of the topic.
        config.set("partitioner", "murmur2_random");
    }
    config
}

fn client(config: &ClientConfig, told: &Told, place: &str) -> Result<Client, Fault> {
    config.create_with_context(told.clone()).map_err(|error| fault_of(place, &error))
}

impl Sink for KafkaSink {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(self.told(batch))
    }

    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        Box::pin(async move {
            let Some(kept) = &self.last else { return self.not_asked() };
            Ok(kept.last(vec![id]).await?.pop().flatten())
        })
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        match &self.last {
            Some(kept) => kept.list(after, max),
            None => Box::pin(async { self.not_asked() }),
        }
    }
}

#[cfg(test)]
mod tests;
