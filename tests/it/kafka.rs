use crate::world::{self, Dice, PATIENCE, SHOP, Shop, World, assert_same, look, until};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;
use widerow::supervisor::Engine;

const TOPICS: [&str; 2] = ["shop.trade.orders", "shop.trade.order_item"];
const PARTITIONS: i64 = 3;

/// A made-up broker with the shop's topics, and a hand that writes to them.
struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
    written: usize,
}

impl Broker {
    fn new() -> Self {
        if let Ok(levels) = std::env::var("WIDEROW_LOG") {
            // Only the first test of a process sets it up.
            let _ = widerow::telemetry::init_log(&levels, widerow::telemetry::LogFormat::Text);
        }
        let cluster = MockCluster::new(1).unwrap();
        for topic in TOPICS {
            cluster.create_topic(topic, PARTITIONS as i32, 1).unwrap();
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("linger.ms", "0");
        Self { producer: config.create().unwrap(), cluster, written: 0 }
    }

    /// Writes what the shop has traded since the last call.
    fn write(&mut self, shop: &Shop) {
        for line in &shop.lines[self.written..] {
            let line: Value = serde_json::from_str(line).unwrap();
            let (topic, value) = (line["topic"].as_str().unwrap(), line["value"].as_str().unwrap());
            let partition = i32::try_from(line["partition"].as_i64().unwrap()).unwrap();
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
            self.producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
        self.written = shop.lines.len();
    }

    fn world(&self, topics: &str) -> World {
        let source = format!(
            "kafka: {{ brokers: [\"{}\"], topics: [{}], session_timeout: 6s, commit_every: 100ms }}",
            self.cluster.bootstrap_servers(),
            topics
        );
        World::new(&SHOP.replace("jsonl: { path: \"${OUT}/records.jsonl\" }", &source), "", |_| {})
    }

    /// What the group has committed of every partition that has records.
    fn committed(&self) -> BTreeMap<(String, i32), i64> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", "widerow");
        let asker: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for topic in TOPICS {
            list.add_partition_range(topic, 0, PARTITIONS as i32 - 1);
        }
        let told = asker.committed_offsets(list, Duration::from_secs(10)).unwrap();
        let number = |offset| if let Offset::Offset(next) = offset { next } else { 0 };
        told.elements().iter().map(|e| ((e.topic().to_owned(), e.partition()), number(e.offset()))).collect()
    }
}

/// Records of each partition.
fn ends(shop: &Shop) -> BTreeMap<(String, i32), i64> {
    let mut ends = BTreeMap::new();
    for topic in TOPICS {
        ends.extend((0..PARTITIONS as i32).map(|p| ((topic.to_owned(), p), 0)));
    }
    for line in &shop.lines {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = (line["topic"].as_str().unwrap().to_owned(), line["partition"].as_i64().unwrap() as i32);
        *ends.get_mut(&key).unwrap() += 1;
    }
    ends
}

/// Waits until the sink holds what the shop's books say.
async fn caught_up(world: &World, shop: &Shop, engines: &[&Engine]) {
    let want = shop.documents();
    let begun = std::time::Instant::now();
    until("the documents are right", async || {
        let got = world.documents().await;
        if got == want {
            return Some(());
        }
        if begun.elapsed() > PATIENCE {
            for engine in engines {
                let _ = writeln!(std::io::stderr(), "{:#?}", look(engine).await);
            }
            assert_same(&got, &want, "in the end");
        }
        None
    })
    .await;
}

fn trade(shop: &mut Shop, dice: &mut Dice, times: usize) {
    (0..times).for_each(|_| shop.trade(dice, 40));
}

/// Goal: the first promise on Kafka, with topics of a pattern, and O1 at a clean stop. Method: trade, read, trade on, drain,
/// ask the broker.
#[test]
fn documents_follow_topics_and_a_drain_commits_everything() {
    let mut broker = Broker::new();
    let (mut shop, mut dice) = (Shop::new(PARTITIONS), Dice::new(11));
    trade(&mut shop, &mut dice, 400);
    broker.write(&shop);
    let world = broker.world("'^shop[.]trade[.].*'");
    world::run(async {
        let engine = world.start();
        caught_up(&world, &shop, &[&engine]).await;
        trade(&mut shop, &mut dice, 400);
        broker.write(&shop);
        caught_up(&world, &shop, &[&engine]).await;
        let drained = engine.drain().await;
        assert_eq!((drained.records, drained.uncommitted), (0, 0));
    });
    assert_eq!(broker.committed(), ends(&shop));
}

/// Goal: a node that its group does not let in says so and tries with another client, and one that is in again says nothing.
/// Method: the broker goes away for longer than two sessions and comes back.
#[test]
fn a_member_that_is_kept_out_is_seen() {
    let mut broker = Broker::new();
    let (mut shop, mut dice) = (Shop::new(PARTITIONS), Dice::new(13));
    trade(&mut shop, &mut dice, 50);
    broker.write(&shop);
    let world = broker.world(&TOPICS.join(", "));
    world::run(async {
        let engine = world.start();
        caught_up(&world, &shop, &[&engine]).await;
        assert!(look(&engine).await.waiting.is_empty());
        broker.cluster.broker_down(1).unwrap();
        let why = until("the node says that it waits", async || look(&engine).await.waiting.pop()).await;
        assert_eq!(why.0, "shop");
        assert!(why.1.contains("group widerow has not let this client in for"), "{}", why.1);
        broker.cluster.broker_up(1).unwrap();
        until("it waits no longer", async || look(&engine).await.waiting.is_empty().then_some(())).await;
        trade(&mut shop, &mut dice, 50);
        broker.write(&shop);
        caught_up(&world, &shop, &[&engine]).await;
        engine.drain().await;
    });
}

/// Goal: promise 1 with two nodes on one group and shared stores (worked case 12), O3 at every rebalance. Method: a second
/// node joins and leaves, drained and let fall, while the shop trades.
#[test]
fn two_nodes_share_a_group() {
    let mut broker = Broker::new();
    let (mut shop, mut dice) = (Shop::new(PARTITIONS), Dice::new(12));
    let first = broker.world(&TOPICS.join(", "));
    let second = first.beside(|settings| settings.node.id = "it2".to_owned());
    world::run(async {
        let engine = first.start();
        for round in 0..2 {
            trade(&mut shop, &mut dice, 150);
            broker.write(&shop);
            let beside = second.start();
            until("both have partitions", async || {
                let here = [look(&engine).await, look(&beside).await];
                let counts = here.map(|p| p.actors.iter().filter(|a| a.partition.is_some()).count());
                (counts.iter().all(|n| *n > 0) && counts.iter().sum::<usize>() == 2 * PARTITIONS as usize).then_some(())
            })
            .await;
            trade(&mut shop, &mut dice, 150);
            broker.write(&shop);
            if round % 2 == 0 {
                caught_up(&first, &shop, &[&engine, &beside]).await;
            }
            beside.drain().await;
            for (key, next) in broker.committed() {
                assert!(next <= ends(&shop)[&key], "{key:?} committed to {next}");
            }
        }
        caught_up(&first, &shop, &[&engine]).await;
        engine.drain().await;
    });
    assert_eq!(broker.committed(), ends(&shop));
    let mut versions = BTreeMap::new();
    for (id, version, document) in first.sink.came.lock().unwrap().iter() {
        let held = versions.entry((id.clone(), *version)).or_insert_with(|| document.clone());
        assert_eq!(held, document, "{id} has two contents under version {version}");
    }
}
