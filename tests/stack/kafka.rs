//! Goal: promises 1, 2 and 5 on a real Kafka with embedded parts: whatever is killed, frozen, restarted, made again or
//! grown, documents end equal to the shop's books and versions never fall. Method: the real binary, a trading shop, faults
//! at moments told by what has been written, never by a clock.

use crate::servers::{self, Server};
use crate::world::{Dice, PATIENCE, SHOP, Shop, Site, assert_same, finished, signal, watch};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Child;
use std::time::Duration;

const ORDERS: &str = "shop.trade.orders";
const ITEMS: &str = "shop.trade.order_item";
const ASK: Duration = Duration::from_secs(20);
const ORDERS_MAX: i64 = 60;
/// What nodes find in their environment.
const PASSWORDS: [(&str, &str); 2] = [("SESAME", "open-sesame"), ("BARLEY", "open-barley")];

fn config(brokers: &str, access: &str) -> String {
    let source = format!(
        "kafka: {{ brokers: [\"{brokers}\"], group: town, topics: [{ORDERS}, {ITEMS}], session_timeout: 6s, commit_every: 200ms{access} }}"
    );
    SHOP.replace("jsonl: { path: \"${OUT}/records.jsonl\" }", &source)
}

/// A broker with the shop's topics, the shop, and a node's folder.
struct Town {
    server: Server,
    producer: BaseProducer,
    shop: Shop,
    dice: Dice,
    written: usize,
    site: Site,
}

impl Town {
    fn new(seed: u64, partitions: i64) -> Self {
        let server = servers::kafka();
        let brokers = server.address();
        Self::on(server, seed, partitions, &brokers, "")
    }

    /// `brokers` are the node's; `access` is what else it needs to come in.
    fn on(server: Server, seed: u64, partitions: i64, brokers: &str, access: &str) -> Self {
        let site = Site::new(&config(brokers, access), "");
        let town =
            Self { producer: producer(&server), server, shop: Shop::new(partitions), dice: Dice::new(seed), written: 0, site };
        town.create(&[ORDERS, ITEMS]);
        town
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.server.address()).create().unwrap()
    }

    fn create(&self, topics: &[&str]) {
        let admin = self.admin();
        let new: Vec<_> =
            topics.iter().map(|t| NewTopic::new(t, self.shop.partitions as i32, TopicReplication::Fixed(1))).collect();
        // A topic that was just deleted may still be going.
        watch("the topics are made", || {
            let made = wait(admin.create_topics(&new, &AdminOptions::new())).unwrap();
            made.into_iter()
                .all(|one| match one {
                    Ok(_) => true,
                    Err((_, code)) => code == rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists && topics.len() > 1,
                })
                .then_some(())
        });
    }

    /// The shop trades so many times; everything is in the log when this answers.
    fn trade(&mut self, times: usize) {
        (0..times).for_each(|_| self.shop.trade(&mut self.dice, ORDERS_MAX as u64));
        for line in &self.shop.lines[self.written..] {
            let line: Value = serde_json::from_str(line).unwrap();
            let (topic, value) = (line["topic"].as_str().unwrap(), line["value"].as_str().unwrap());
            let partition = i32::try_from(line["partition"].as_i64().unwrap()).unwrap();
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
            self.producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
        self.written = self.shop.lines.len();
    }

    /// Every order is written again.
    fn rewrite(&mut self, status: i64) {
        for order in 0..ORDERS_MAX {
            let row = json!({ "order_no": format!("n{order}"), "status": status, "note": "again" });
            self.shop.put("orders", order, row);
        }
        self.trade(0);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.site.path("log.txt")).unwrap_or_default()
    }

    fn node(&self) -> Node {
        let base = self.unread() - self.written as i64;
        let log = std::fs::File::options().append(true).create(true).open(self.site.path("log.txt")).unwrap();
        let mut command = self.site.command(&["run", "-c", "config.yaml"]);
        Node { child: command.envs(PASSWORDS).stderr(log).spawn().unwrap(), base }
    }

    /// Waits until the sink has so many writes more than before.
    fn after_writes(&self, more: usize) {
        let before = self.site.writes("orders").len();
        watch("the sink is written to", || (self.site.writes("orders").len() >= before + more).then_some(()));
    }

    /// Waits until the sink holds what the books say; folding it checks that no version fell.
    fn caught_up(&self, when: &str) {
        let want = self.shop.documents();
        let begun = std::time::Instant::now();
        watch(when, || {
            let got = self.site.fold("orders");
            if got == want {
                return Some(());
            }
            if begun.elapsed() + Duration::from_secs(5) > PATIENCE {
                let log = std::fs::read_to_string(self.site.path("log.txt")).unwrap_or_default();
                let _ = writeln!(
                    std::io::stderr(),
                    "{}",
                    log.lines().filter(|line| !line.contains("progress")).take(200).collect::<Vec<_>>().join("\n")
                );
                assert_same(&got, &want, when);
            }
            None
        });
    }

    fn asker(&self) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", self.server.address()).set("group.id", "town").create().unwrap()
    }

    /// Records of the log that the group has not committed.
    fn unread(&self) -> i64 {
        let asker = self.asker();
        let mut list = TopicPartitionList::new();
        for topic in [ORDERS, ITEMS] {
            list.add_partition_range(topic, 0, self.shop.partitions as i32 - 1);
        }
        // A coordinator that has just begun is not one yet.
        let told = watch("the coordinator answers", || asker.committed_offsets(list.clone(), ASK).ok());
        let unread = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let (low, high) = asker.fetch_watermarks(e.topic(), e.partition(), ASK).unwrap();
            let committed = if let Offset::Offset(next) = e.offset() { next } else { low };
            assert!(committed <= high, "{}/{} committed to {committed}, ends at {high}", e.topic(), e.partition());
            high - committed
        };
        told.elements().iter().map(unread).sum()
    }

    /// Ends a node in order, and everything is committed.
    fn end(&self, node: Node, what: &str) {
        self.end_amid(node, what);
        assert_eq!(self.unread(), 0, "{what}: a clean end commits everything");
    }

    /// Ends a node in order, perhaps while there is more to read; what it delivered beyond what it had to.
    fn end_amid(&self, node: Node, what: &str) {
        signal(node.child.id(), "TERM");
        let unread = node.base + self.written as i64;
        let output = finished(node.child, what);
        assert_eq!(output.status.code(), Some(0), "{what}: {}", self.log());
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let again = summary["records"].as_i64().unwrap() - (unread - self.unread());
        let _ = writeln!(std::io::stderr(), "{what}: {unread} records were unread, {again} delivered again");
    }

    /// One verb of the binary against the running node.
    fn verb(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.site.command(args);
        let output = finished(command.envs(PASSWORDS).spawn().unwrap(), &format!("{args:?}"));
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// Waits until the topic is stopped, for this reason; the other one is not.
    fn stopped(&self, topic: &str, reason: &str) {
        watch("the topic is stopped", || {
            let (code, text) = self.verb(&["partitions", "-c", "config.yaml", "-o", "json"]);
            let seen: Value = serde_json::from_str(&text).ok().filter(|_| code == Some(0))?;
            let of = |partition: &&Value| partition["topic"] == topic;
            let partitions = seen["partitions"].as_array()?;
            let paused = |p: &Value| p["paused"].as_str().is_some_and(|why| why.contains(reason));
            let mine: Vec<_> = partitions.iter().filter(of).collect();
            (!mine.is_empty() && mine.into_iter().all(paused)).then_some(())?;
            assert!(partitions.iter().filter(|p| !of(p)).all(|p| p["paused"].is_null()), "the other topic goes on: {text}");
            Some(())
        });
        let (code, text) = self.verb(&["epoch", "show", "-c", "config.yaml"]);
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains(reason) && text.contains(&format!("epoch bump {topic}")), "{text}");
    }

    fn bump(&self, topic: &str) {
        let (code, text) = self.verb(&["epoch", "bump", topic, "--dry-run", "-c", "config.yaml"]);
        assert!(code == Some(0) && text.contains("would be in epoch 1"), "{text}");
        let (code, text) = self.verb(&["epoch", "bump", topic, "-c", "config.yaml"]);
        assert!(code == Some(0) && text.contains("is in epoch 1"), "{text}");
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// A running node, and what was unread when it began, less what had been written.
struct Node {
    child: Child,
    base: i64,
}

fn producer(server: &Server) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", server.address()).set("linger.ms", "1").set("enable.idempotence", "true");
    config.create().unwrap()
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// kill -9 four times while records come, then an orderly end.
#[test]
fn killed_again_and_again() {
    let mut town = Town::new(21, 3);
    town.trade(300);
    for round in 0..4 {
        let mut node = town.node();
        town.trade(300);
        town.after_writes(20 + round * 15);
        node.child.kill().unwrap();
        node.child.wait().unwrap();
    }
    let node = town.node();
    town.trade(100);
    town.caught_up("after four kills");
    town.end(node, "four kills");
}

/// SIGSTOP until the group has given the node up, then on.
#[test]
fn frozen_past_its_session() {
    let mut town = Town::new(22, 3);
    town.trade(300);
    let node = town.node();
    town.caught_up("before the frost");
    signal(node.child.id(), "STOP");
    let asker = town.asker();
    watch("the group gives it up", || {
        let groups = asker.fetch_group_list(Some("town"), ASK).ok()?;
        groups.groups().iter().all(|group| group.members().is_empty()).then_some(())
    });
    town.trade(300);
    signal(node.child.id(), "CONT");
    town.trade(100);
    town.caught_up("after the frost");
    town.end(node, "frozen");
}

/// The broker is frozen until its controller has fenced it: thawed, it names no broker for a moment, not even itself. A client
/// that heard that, and does not begin anew by itself, asks nobody any more; the node takes another one.
#[test]
fn a_broker_that_named_none() {
    let server = servers::kafka();
    let brokers = server.address();
    let mut town = Town::on(server, 30, 3, &brokers, ", properties: { metadata.recovery.strategy: none }");
    town.trade(300);
    let node = town.node();
    town.caught_up("before the frost");
    town.server.freeze();
    watch("the node says that it waits", || town.log().contains("source waits for its group").then_some(()));
    town.server.thaw();
    // The test's own client may have heard it too.
    town.producer = producer(&town.server);
    town.trade(300);
    town.caught_up("after the frost");
    watch("the node says that it is in", || town.log().contains("the group has let this member in again").then_some(()));
    town.end(node, "broker frozen");
}

/// The broker is killed and comes back, with records before and after.
#[test]
fn a_broker_that_comes_back() {
    let mut town = Town::new(23, 3);
    town.trade(300);
    let node = town.node();
    town.after_writes(20);
    town.server.kill();
    town.server.start_again();
    town.trade(300);
    town.caught_up("after the broker's crash");
    town.server.kill();
    town.server.start_again();
    town.trade(100);
    town.caught_up("after another one");
    town.end(node, "broker restarted");
}

/// E3, worked case 11: a topic is deleted and made again while the node runs; nothing of it is applied under falling
/// stamps, and after the bump the newest change of every row has won.
#[test]
fn a_topic_made_again() {
    let mut town = Town::new(24, 3);
    town.trade(600);
    let node = town.node();
    town.caught_up("before");
    let deleted = wait(town.admin().delete_topics(&[ORDERS], &AdminOptions::new())).unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    town.create(&[ORDERS]);
    town.trade(60);
    town.stopped(ORDERS, "created again");
    town.bump(ORDERS);
    town.caught_up("after the bump");
    town.trade(100);
    town.caught_up("in the new life");
    let (code, text) = town.verb(&["epoch", "show", "-c", "config.yaml"]);
    assert_eq!(code, Some(0), "{text}");
    town.end(node, "topic made again");
}

/// E4: partitions doubled while the node is down, with a backlog: keys move to new partitions, where their offsets are
/// small, and still win.
#[test]
fn partitions_doubled_with_a_backlog() {
    let mut town = Town::new(25, 2);
    town.trade(400);
    let node = town.node();
    town.after_writes(20);
    signal(node.child.id(), "STOP");
    town.trade(400);
    let grown = NewPartitions::new(ORDERS, 4);
    let done = wait(town.admin().create_partitions(&[grown], &AdminOptions::new())).unwrap();
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    town.shop.repartition("orders", 4);
    // A producer of its own time: the old one learns of new partitions in its own.
    town.producer = producer(&town.server);
    town.trade(400);
    signal(node.child.id(), "CONT");
    town.stopped(ORDERS, "has 4 partitions and had 2");
    town.bump(ORDERS);
    town.caught_up("after the bump");
    let mut node = node;
    node.child.kill().unwrap();
    node.child.wait().unwrap();
}

/// Embedded parts serve one process: a second member is refused, says who is there, and the first goes on.
#[test]
fn a_second_member_is_refused() {
    let mut town = Town::new(26, 3);
    town.trade(100);
    let node = town.node();
    town.caught_up("alone");
    let other = Site::new(&std::fs::read_to_string(town.site.path("config.yaml")).unwrap(), "");
    let ran = other.run(&[], None);
    assert_eq!(ran.code, Some(4), "{}", ran.log);
    assert!(ran.log.contains("has another member (widerow-it-shop-"), "{}", ran.log);
    town.trade(100);
    town.caught_up("still alone");
    town.end(node, "second member");
}

/// Restarted every five seconds under load, killed and told to end in turns, until it may stay.
#[test]
fn restarted_every_five_seconds() {
    let mut town = Town::new(27, 3);
    town.trade(300);
    for life in 0..4 {
        let mut node = town.node();
        let begun = std::time::Instant::now();
        watch("five seconds of load", || {
            town.trade(15);
            (begun.elapsed() >= Duration::from_secs(5)).then_some(())
        });
        if life % 2 == 0 {
            node.child.kill().unwrap();
            node.child.wait().unwrap();
        } else {
            town.end_amid(node, "told to end under load");
        }
    }
    let node = town.node();
    // Something left to read: a node that is told to end before it has begun dies of it.
    town.trade(300);
    town.caught_up("after four short lives");
    town.end(node, "restarted every five seconds");
}

/// E3: records leave the log before they were read (retention, `kafka-delete-records`): said, and reading goes on where the
/// log begins.
#[test]
fn a_log_cut_off_before_its_reader() {
    let mut town = Town::new(28, 3);
    town.trade(300);
    let node = town.node();
    town.caught_up("before");
    signal(node.child.id(), "STOP");
    town.rewrite(7);
    let mut all = TopicPartitionList::new();
    for number in 0..3 {
        all.add_partition_offset(ORDERS, number, Offset::End).unwrap();
    }
    let deleted = wait(town.admin().delete_records(&all, &AdminOptions::new())).unwrap();
    assert!(deleted.elements().iter().all(|part| part.error().is_ok()), "{deleted:?}");
    signal(node.child.id(), "CONT");
    watch("the gap is told", || town.log().contains("records left the log unread").then_some(()));
    town.rewrite(8);
    town.caught_up("after the gap");
    town.end(node, "a log cut off");
}

/// E3: a broker that lost its log: positions fall. The topic stops and says why, the other goes on; after the bump what is
/// written wins over what was there.
#[test]
fn a_broker_that_lost_its_log() {
    let mut town = Town::new(29, 3);
    town.trade(300);
    let node = town.node();
    town.caught_up("before");
    town.server.kill();
    for number in 0..3 {
        let folder = town.server.folder().join(format!("log/{ORDERS}-{number}"));
        for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
            if !file.ends_with("partition.metadata") {
                std::fs::remove_file(file).unwrap();
            }
        }
    }
    town.server.start_again();
    // The one from before counts on what the broker no longer knows of it.
    town.producer = producer(&town.server);
    town.rewrite(7);
    town.stopped(ORDERS, "lost records");
    town.bump(ORDERS);
    town.caught_up("after the bump");
    town.rewrite(8);
    town.caught_up("in the new life");
    let mut node = node;
    node.child.kill().unwrap();
    node.child.wait().unwrap();
}

/// TLS with client certificates and SASL: by typed keys, by properties; a wrong password is refused and not shown.
#[test]
fn a_door_with_locks() {
    let (server, port) = servers::secure_kafka();
    let of = |name: &str| server.folder().join(name).display().to_string();
    let (ca, certificate, key) = (of("ca.pem"), of("client.crt"), of("client.key"));
    let typed = |password: &str| {
        format!(
            ", tls: {{ ca: \"{ca}\", certificate: \"{certificate}\", key: \"{key}\" }}, \
             sasl: {{ mechanism: SCRAM-SHA-256, username: shop, password: \"secret://env/{password}\" }}, \
             properties: {{ broker.address.family: v4 }}"
        )
    };
    let by_properties = format!(
        ", properties: {{ security.protocol: SASL_SSL, ssl.ca.location: \"{ca}\", ssl.certificate.location: \"{certificate}\", \
         ssl.key.location: \"{key}\", sasl.mechanism: PLAIN, sasl.username: shop, sasl.password: open-sesame, \
         broker.address.family: v4 }}"
    );
    let brokers = format!("localhost:{port}");
    let (right, wrong) = (typed("SESAME"), typed("BARLEY"));
    let mut town = Town::on(server, 30, 3, &brokers, &right);
    for (access, what) in [(&right, "by typed keys"), (&by_properties, "by properties")] {
        std::fs::write(town.site.path("config.yaml"), config(&brokers, access)).unwrap();
        town.trade(150);
        let node = town.node();
        town.caught_up(what);
        town.end(node, what);
    }
    std::fs::write(town.site.path("config.yaml"), config(&brokers, &wrong)).unwrap();
    let (code, text) = town.verb(&["check", "-c", "config.yaml", "--connect"]);
    assert!(code != Some(0) && text.to_lowercase().contains("authenticat"), "{code:?} {text}");
    assert!(!text.contains("open-barley"), "{text}");
}
