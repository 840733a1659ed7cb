//! The shop's records on their way into Kafka: all at once, or each at its time.
//!
//! One shop trades through all runs of a program, so that its books are the truth of everything that was written. Probes
//! are orders of their own between the shop's records, each with a time at which it was meant to happen; whatever delays a
//! probe, the writer included, counts against the run.

use crate::bed::{Bed, PARTITIONS};
use crate::watch::pause;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use widerow::domain::decode::Format;
use widerow::domain::ids::Millis;
use widerow::domain::record::Record;
use widerow::io::generator::{Documents, Shop};
use widerow::settings::GeneratorSettings;

/// What every probe's order number begins with.
pub const PROBE: &str = "PROBE";
/// The order that takes a share of all events where a run asks for one.
pub const HOT: &str = "PROBE-HOT";
const HOT_ID: u64 = 9_999_999_999;
const BATCH: usize = 500;
/// The writer looks this often at what is due.
const TICK: Duration = Duration::from_millis(2);

pub struct Load {
    shop: Shop,
    producer: BaseProducer,
    /// Records written, probes left out.
    pub records: u64,
    /// Probes written so far; their numbers begin at 0.
    pub probes: u64,
    /// Times the hot order was written; its status is the last one's number.
    pub hot: u64,
}

/// The shop of a run.
pub fn shop_settings(entities: u64) -> GeneratorSettings {
    GeneratorSettings {
        seed: 7,
        entities,
        events: None,
        rate: None,
        disorder: 0.05,
        // Kafka's own repeated deliveries keep their offsets; records written twice would be new changes.
        duplicates: 0.0,
        partitions: PARTITIONS.unsigned_abs(),
        format: Format::Debezium,
        skew: 0.99,
        hot: 0.0,
        big: 0.0,
        replay: 0.0,
    }
}

impl Load {
    pub fn new(bed: &Bed, settings: &GeneratorSettings) -> Self {
        let mut config = bed.producer_config();
        config.set("queue.buffering.max.messages", "500000").set("linger.ms", "5");
        // A request that is sent again must not change the order of a row's changes.
        config.set("acks", "all").set("enable.idempotence", "true");
        let producer = config.create().expect("a producer");
        Self { shop: Shop::new(settings), producer, records: 0, probes: 0, hot: 0 }
    }

    /// Row changes so far.
    pub fn events(&self) -> u64 {
        self.shop.events()
    }

    /// The documents that everything written so far must end as.
    pub fn expected(&self) -> Documents {
        self.shop.expected()
    }

    /// So many events as fast as Kafka takes them. What the shop held back stays back.
    pub fn pour(&mut self, events: u64) {
        let until = self.shop.events() + events;
        while self.shop.events() < until {
            self.write_records(BATCH.min((until - self.shop.events()) as usize).max(1));
        }
        self.flush();
    }

    /// Lets go what the shop held back: nothing can be traded after this.
    pub fn close(&mut self) {
        self.shop.close();
        loop {
            let records = self.shop.next_records(BATCH);
            if records.is_empty() {
                break;
            }
            self.records += records.len() as u64;
            records.into_iter().for_each(|record| self.send(record));
        }
        self.flush();
    }

    /// `rate` records a second for `length`, a share of them to one order, and `probe_rate` probes between them. Tells when
    /// each probe was meant to be; the first one's number is the count of probes before.
    pub fn stream(&mut self, rate: f64, hot: f64, probe_rate: f64, length: Duration) -> Vec<Instant> {
        let hot_before = self.hot;
        let began = Instant::now();
        let probe_gap = Duration::from_secs_f64(1.0 / probe_rate);
        let (mut written, mut meant) = (0_u64, Vec::new());
        while began.elapsed() < length {
            let due = (began.elapsed().as_secs_f64() * rate * (1.0 - hot)) as u64;
            let hot_due = hot_before + (began.elapsed().as_secs_f64() * rate * hot) as u64;
            while self.hot < hot_due {
                self.hot += 1;
                self.order(HOT_ID, HOT, self.hot);
            }
            if due > written {
                written += self.write_records((due - written).min(2_000) as usize);
            }
            while let Some(at) = began.checked_add(probe_gap * meant.len() as u32)
                && at <= Instant::now()
            {
                self.probe();
                meant.push(at);
            }
            self.producer.poll(Duration::ZERO);
            pause(TICK);
        }
        self.flush();
        meant
    }

    fn write_records(&mut self, max: usize) -> u64 {
        self.shop.set_clock(now());
        let records = self.shop.next_records(max);
        let count = records.len() as u64;
        self.records += count;
        records.into_iter().for_each(|record| self.send(record));
        count
    }

    fn send(&self, record: Record) {
        let topic = record.partition.topic.to_string();
        let mut sent = BaseRecord::<[u8], [u8]>::to(&topic).partition(record.partition.number);
        if let Some(key) = &record.key {
            sent = sent.key(key);
        }
        if let Some(value) = &record.value {
            sent = sent.payload(value);
        }
        if let Some(at) = record.timestamp {
            sent = sent.timestamp(at.0);
        }
        if !record.headers.is_empty() {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_ref()) }));
            sent = sent.headers(headers);
        }
        self.send_once_there_is_room(sent);
    }

    fn send_once_there_is_room(&self, mut sent: BaseRecord<'_, [u8], [u8]>) {
        while let Err((error, again)) = self.producer.send(sent) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            self.producer.poll(Duration::from_millis(20));
            sent = again;
        }
    }

    fn probe(&mut self) {
        let number = self.probes;
        self.probes += 1;
        self.order(10_000_000_000_u64 + number, &format!("{PROBE}{number:08}"), 1);
    }

    /// An order of our own, as it is now.
    fn order(&self, id: u64, order_no: &str, status: u64) {
        // DATETIME(0) holds whole seconds.
        let (now, at) = (now().0, now().0 / 1_000 * 1_000);
        let body = format!(
            "{{\"before\":null,\"after\":{{\"id\":{id},\"order_no\":\"{order_no}\",\"user_id\":1,\"status\":{status},\
             \"amount\":\"1.00\",\"pay_amount\":\"1.00\",\"freight\":\"0.00\",\"coupon\":\"0.00\",\"channel\":\"app\",\
             \"receiver\":\"nobody\",\"city\":\"Lyon\",\"remark\":null,\"created_at\":{at},\"updated_at\":{at}}},\
             \"source\":{{\"version\":\"3.5.0.Final\",\"connector\":\"mysql\",\"name\":\"shop\",\"ts_ms\":{at},\
             \"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":null,\"table\":\"orders\",\"server_id\":11,\"gtid\":null,\
             \"file\":\"mysql-bin.000001\",\"pos\":4,\"row\":0,\"thread\":7,\"query\":null}},\"transaction\":null,\
             \"op\":\"c\",\"ts_ms\":{now}}}"
        );
        let key = format!("{{\"id\":{id}}}");
        let partition = (id % u64::from(PARTITIONS.unsigned_abs())) as i32;
        let sent = BaseRecord::<[u8], [u8]>::to("shop.shop.orders").partition(partition).key(key.as_bytes());
        self.send_once_there_is_room(sent.payload(body.as_bytes()).timestamp(now));
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(120)).expect("Kafka has taken the records");
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
