//! The sink against librdkafka's own broker in memory, which answers with the faults a test asks for.

use super::*;
use crate::domain::ids::{RowKey, RowVersion};
use crate::io::memory::{Call, MemoryDocuments};
use crate::settings::{KafkaAddress, Secret};
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

type Mock = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "orders.changed";

fn mock() -> Mock {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, 1, 1).unwrap();
    mock
}

fn settings(mock: &Mock, form: NoticeForm, properties: &[(&str, &str)]) -> KafkaSinkSettings {
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned()))).collect();
    KafkaSinkSettings {
        address: KafkaAddress { brokers: vec![mock.bootstrap_servers()], tls: None, sasl: None, properties },
        topic: TOPIC.into(),
        form,
        remember: false,
        system: "shop".into(),
        timeout: Duration::from_secs(20),
    }
}

fn sink(settings: &KafkaSinkSettings, last: Option<Arc<dyn LastDocuments>>) -> KafkaSink {
    KafkaSink::open(settings, Name::of("orders"), "test", last, || Millis(5)).unwrap()
}

fn index(id: &str, version: i64, document: &str) -> SinkWrite {
    let body = Body::Index(Bytes::copy_from_slice(document.as_bytes()));
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(&format!("row:{id}")), types: vec![] }
}

fn delete(id: &str, version: i64) -> SinkWrite {
    SinkWrite { body: Body::Delete, ..index(id, version, "") }
}

/// A record as another program reads it: key, headers, JSON.
type Read = (String, Vec<(String, String)>, Value);

/// The first `count` records of the topic; it waits for them as long as it takes.
fn read(mock: &Mock, count: usize) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", mock.bootstrap_servers())
        .set("group.id", "reader")
        .set("enable.partition.eof", "false")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let Some(Ok(record)) = consumer.poll(Duration::from_secs(1)) else { continue };
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        let headers = record.headers().unwrap().iter().map(|h| (h.key.to_owned(), text(h.value))).collect();
        records.push((text(record.key()), headers, serde_json::from_slice(record.payload().unwrap()).unwrap()));
    }
    records
}

/// Goal: what another program reads. Method: a document and a delete, in both forms, read back from the broker.
#[tokio::test]
async fn records_carry_key_version_and_body() {
    for form in [NoticeForm::Notice, NoticeForm::Envelope] {
        let mock = mock();
        let sink = sink(&settings(&mock, form, &[]), None);
        let outcomes = sink.write(vec![index("1", 1 << 60, r#"{"a":1}"#), delete("2", 8)]).await;
        assert_eq!(outcomes, [SinkOutcome::Written, SinkOutcome::Written]);
        let records = read(&mock, 2);
        let headers = |version: &str, op: &str| vec![("version".into(), version.into()), ("op".into(), op.into())];
        assert_eq!((records[0].0.as_str(), &records[0].1), ("row:1", &headers("1152921504606846976", "index")));
        assert_eq!((records[1].0.as_str(), &records[1].1), ("row:2", &headers("8", "delete")));
        let body = if form == NoticeForm::Notice { "document" } else { "dataJson" };
        let want = if form == NoticeForm::Notice { json!({"a": 1}) } else { json!("{\"a\":1}") };
        assert_eq!(records[0].2[body], want);
        assert!(records[1].2.get(body).is_none());
        assert_eq!(sink.get("1".into()).await.unwrap_err().kind, FaultKind::Rejected);
        assert_eq!(sink.list(None, 5).await.unwrap_err().kind, FaultKind::Rejected);
    }
}

/// Goal: answers of a broker in trouble are tried again within one write, and nothing comes twice. Method: errors before
/// the first success, then the topic read back.
#[tokio::test]
async fn passing_troubles_pass() {
    let mock = mock();
    let sink = sink(&settings(&mock, NoticeForm::Notice, &[("retry.backoff.ms", "10")]), None);
    let troubles = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ];
    mock.request_errors(RDKafkaApiKey::Produce, &troubles);
    let batch: Vec<_> = ["1", "2", "3"].map(|id| index(id, 1, "{}")).into();
    assert_eq!(sink.write(batch).await, vec![SinkOutcome::Written; 3]);
    assert_eq!(sink.write(vec![index("last", 1, "{}")]).await, [SinkOutcome::Written]);
    let keys: Vec<_> = read(&mock, 4).into_iter().map(|record| record.0).collect();
    assert_eq!(keys, ["row:1", "row:2", "row:3", "row:last"]);
}

/// Goal: one document too large is that document's, the others go. Method: the client's own bound, the broker's answer.
#[tokio::test]
async fn a_document_too_large_is_rejected() {
    let mock = mock();
    let sink = sink(&settings(&mock, NoticeForm::Notice, &[("message.max.bytes", "1000")]), None);
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(2_000));
    let outcomes = sink.write(vec![index("1", 1, "{}"), index("2", 1, &large), index("3", 1, "no object")]).await;
    assert_eq!(outcomes[0], SinkOutcome::Written);
    let (SinkOutcome::Rejected(large), SinkOutcome::Rejected(no_json)) = (&outcomes[1], &outcomes[2]) else {
        panic!("{outcomes:?}")
    };
    assert!(large.contains("message.max.bytes"), "{large}");
    assert!(no_json.contains("JSON"), "{no_json}");
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let [SinkOutcome::Rejected(_)] = &sink.write(vec![index("4", 1, "{}")]).await[..] else { panic!("the broker refused it") };
}

/// Goal: no broker costs no tries, nothing is kept of what was not acknowledged, and the next notice tells everything
/// since the last one in the log. Method: the broker goes and comes back between writes of one document.
#[tokio::test]
async fn an_outage_loses_no_change() {
    let mock = mock();
    let kept = Arc::new(MemoryDocuments::new());
    let mut settings = settings(&mock, NoticeForm::Notice, &[("reconnect.backoff.max.ms", "200")]);
    assert_eq!(sink(&settings, Some(kept.clone())).write(vec![index("1", 5, r#"{"a":1,"b":1}"#)]).await, [SinkOutcome::Written]);
    mock.broker_down(1).unwrap();
    settings.timeout = Duration::from_millis(300);
    let outcomes = sink(&settings, Some(kept.clone())).write(vec![index("1", 6, r#"{"a":2,"b":1}"#)]).await;
    let [SinkOutcome::Retry { counts: false, fault }] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
    mock.broker_up(1).unwrap();
    settings.timeout = Duration::from_secs(20);
    let sink = sink(&settings, Some(kept));
    let batch = vec![index("1", 7, r#"{"a":2,"b":2}"#)];
    assert_eq!(sink.write(batch).await, [SinkOutcome::Written]);
    assert_eq!(sink.write(vec![index("1", 6, "{}")]).await, [SinkOutcome::Superseded(Some(RowVersion(7)))]);
    let last = &read(&mock, 2)[1].2;
    assert_eq!(last["since"], "5");
    assert_eq!(last["changed"], json!({"a": {"old": 1, "new": 2}, "b": {"old": 1, "new": 2}}));
    let held = sink.get("1".into()).await.unwrap().unwrap();
    assert_eq!((held.version, held.document), (RowVersion(7), Some(Bytes::from(r#"{"a":2,"b":2}"#))));
    assert_eq!(sink.list(None, 5).await.unwrap().len(), 1);
}

/// Goal: what cannot be kept counts as not told. Method: the store of last documents fails once after the acknowledgement.
#[tokio::test]
async fn a_notice_that_cannot_be_kept_comes_again() {
    let mock = mock();
    let kept = Arc::new(MemoryDocuments::new());
    let sink = sink(&settings(&mock, NoticeForm::Notice, &[]), Some(kept.clone()));
    kept.script.fail_next(Call::Write, 1, &Fault::new(FaultKind::Full, "store", "no room"));
    let outcomes = sink.write(vec![index("1", 5, r#"{"a":1}"#)]).await;
    assert!(matches!(&outcomes[..], [SinkOutcome::Retry { counts: false, .. }]), "{outcomes:?}");
    assert_eq!(sink.write(vec![index("1", 5, r#"{"a":1}"#)]).await, [SinkOutcome::Written]);
    let versions: Vec<_> = read(&mock, 2).into_iter().map(|record| record.2["version"].clone()).collect();
    assert_eq!(versions, ["5", "5"]);
}

/// Goal: a producer that is of no use any more is replaced. Method: the broker refuses it its id, which is final; then not.
#[tokio::test]
async fn a_fatal_producer_is_replaced() {
    let mock = mock();
    mock.request_errors(RDKafkaApiKey::InitProducerId, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 1]);
    let sink = sink(&settings(&mock, NoticeForm::Notice, &[]), None);
    let outcomes = sink.write(vec![index("1", 1, "{}")]).await;
    assert!(matches!(&outcomes[..], [SinkOutcome::Retry { .. }]), "{outcomes:?}");
    assert_eq!(sink.write(vec![index("1", 1, "{}")]).await, [SinkOutcome::Written]);
    assert_eq!(read(&mock, 1)[0].0, "row:1");
}

/// Goal: what `check --connect` sees. Method: the topic, and a broker that is not there.
#[test]
fn the_topic_is_looked_at() {
    let mock = mock();
    assert_eq!(sink(&settings(&mock, NoticeForm::Notice, &[]), None).look(Duration::from_secs(20)), Ok(1));
    mock.broker_down(1).unwrap();
    let absent = sink(&settings(&mock, NoticeForm::Notice, &[]), None).look(Duration::from_millis(200)).unwrap_err();
    assert_eq!(absent.advice(), Advice::Wait, "{absent}");
}
