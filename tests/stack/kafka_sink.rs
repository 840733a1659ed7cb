//! Goal: notices arrive on a real broker as other programs read them, over a crash of it. Method: the sink writes, a plain
//! consumer reads.

use crate::servers::{self, Server};
use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Millis, Name, RowKey, RowVersion};
use widerow::io::embedded::{EmbeddedStore, RememberedDocuments};
use widerow::io::kafka_sink::KafkaSink;
use widerow::ports::sink::{Body, LastDocuments, Sink, SinkOutcome, SinkWrite};
use widerow::settings::{KafkaAddress, KafkaSinkSettings, NoticeForm};

const TOPIC: &str = "order.changed";
const PARTITIONS: i32 = 3;

fn settings(server: &Server, form: NoticeForm) -> KafkaSinkSettings {
    KafkaSinkSettings {
        address: KafkaAddress { brokers: vec![server.address()], tls: None, sasl: None, properties: vec![] },
        topic: TOPIC.into(),
        form,
        remember: false,
        system: "shop".into(),
        timeout: Duration::from_secs(60),
    }
}

fn sink(settings: &KafkaSinkSettings, last: Option<Arc<dyn LastDocuments>>) -> KafkaSink {
    KafkaSink::open(settings, Name::of("orders"), "test", last, || Millis(5)).unwrap()
}

fn index(id: &str, version: i64, document: &str) -> SinkWrite {
    let body = Body::Index(Bytes::copy_from_slice(document.as_bytes()));
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(&format!("row:{id}")), types: vec![] }
}

async fn make_topic(server: &Server) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", server.address()).create().unwrap();
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

/// The topic's first `count` records: partition, key and JSON.
fn read(server: &Server, count: usize) -> Vec<(i32, String, Value)> {
    let config = ClientConfig::new().set("bootstrap.servers", server.address()).set("group.id", "reader").clone();
    let consumer: BaseConsumer = config.create().unwrap();
    let mut from = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        from.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&from).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let record = consumer.poll(Duration::from_secs(60)).expect("no record within a minute");
        let Ok(record) = record else { continue };
        let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
        records.push((record.partition(), key, serde_json::from_slice(record.payload().unwrap()).unwrap()));
    }
    records
}

/// Goal: every write is there once, a row's in one partition and in order; a crash of the broker between and a store that is
/// opened anew lose nothing. Method: three versions of twenty rows; the broker killed before the last.
#[tokio::test]
async fn notices_outlive_the_broker() {
    let server = servers::kafka();
    let settings = settings(&server, NoticeForm::Notice);
    let absent = sink(&settings, None).look(Duration::from_secs(10));
    assert!(matches!(&absent, Ok(0)) || absent.as_ref().is_err_and(|f| f.kind == FaultKind::Unreachable), "{absent:?}");
    make_topic(&server).await;
    assert_eq!(sink(&settings, None).look(Duration::from_secs(60)), Ok(PARTITIONS as usize));

    let folder = tempfile::tempdir().unwrap();
    let kept = || -> Arc<dyn LastDocuments> {
        Arc::new(RememberedDocuments::open(EmbeddedStore::open(folder.path()).unwrap(), Name::of("orders"), 1_000))
    };
    let batch =
        |version: i64| (0..20).map(|id| index(&id.to_string(), version, &format!(r#"{{"a":{version},"b":1}}"#))).collect();
    let first = sink(&settings, Some(kept()));
    assert_eq!(first.write(batch(1)).await, vec![SinkOutcome::Written; 20]);
    assert_eq!(first.write(batch(2)).await, vec![SinkOutcome::Written; 20]);
    drop(first);
    server.kill();
    server.start_again();
    let again = sink(&settings, Some(kept()));
    assert_eq!(again.write(batch(3)).await, vec![SinkOutcome::Written; 20]);
    assert_eq!(again.write(batch(2)).await, vec![SinkOutcome::Superseded(Some(RowVersion(3))); 20]);

    let mut rows: BTreeMap<String, Vec<(i32, Value)>> = BTreeMap::new();
    for (partition, key, notice) in read(&server, 60) {
        rows.entry(key).or_default().push((partition, notice));
    }
    assert_eq!(rows.len(), 20);
    for (key, notices) in &rows {
        let versions: Vec<_> = notices.iter().map(|(_, notice)| notice["version"].as_str().unwrap()).collect();
        assert_eq!(versions, ["1", "2", "3"], "{key}");
        assert!(notices.iter().all(|(partition, _)| *partition == notices[0].0), "{key} lies in one partition");
        assert_eq!(notices[0].1.get("changed"), None);
        assert_eq!(notices[2].1["changed"], json!({"a": {"old": 2, "new": 3}}));
        assert_eq!(notices[2].1["document"], json!({"a": 3, "b": 1}));
    }
    assert_eq!(again.list(None, 100).await.unwrap().len(), 20);
}

/// Goal: a large document in an envelope is what went in. Method: one of a megabyte's order, packed, through a real broker.
#[tokio::test]
async fn envelopes_carry_large_documents() {
    use base64::Engine;
    use std::io::Read;
    let server = servers::kafka();
    make_topic(&server).await;
    let sink = sink(&settings(&server, NoticeForm::Envelope), None);
    let document = json!({"items": (0..40_000).map(|n| format!("item {n}")).collect::<Vec<_>>()}).to_string();
    assert_eq!(sink.write(vec![index("1", i64::MAX, &document)]).await, [SinkOutcome::Written]);
    let (_, key, envelope) = read(&server, 1).remove(0);
    assert_eq!(
        (key.as_str(), &envelope["compress"], &envelope["paramExt"]["version"]),
        ("row:1", &json!(true), &json!("9223372036854775807"))
    );
    let packed = base64::engine::general_purpose::STANDARD.decode(envelope["dataByte"].as_str().unwrap()).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, document);
}
