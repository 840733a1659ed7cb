//! A made-up `trade.orders`: Debezium records of 14 columns with their before image, keys by Zipf's law, one seed.
//!
//! It also keeps the table itself, so that a run can be held against what its records mean.

use bytes::Bytes;
use std::fmt::Write;
use widerow::domain::ids::{Millis, Name, Partition, RecordOffset};
use widerow::domain::record::Record;
use widerow::settings::{self, Settings};

/// Rows of the table.
pub const ROWS: usize = 200_000;
/// Zipf's exponent of the keys.
pub const SKEW: f64 = 0.99;
pub const PARTITIONS: usize = 4;
pub const COLUMNS: usize = 14;
const BEGAN_MS: i64 = 1_740_794_400_000;

/// The configuration of all benches: one row kind, one line.
pub const CONFIG: &str = r#"
version: 1
node: { id: bench, data_dir: ./data, entities_max: 20000, threads: 2 }
sources:
  shop: { jsonl: { path: unused.jsonl }, format: debezium, in_flight: 4096 }
store: { embedded: {} }
queue: { embedded: {} }
rows:
  order:
    key: "{last4(order_no)}:{order_no}"
    root: trade.orders
    tables:
      trade.orders:
        id: [id]
        columns:
          id: long
          user_id: long
          shop_id: long
          status: long
          amount: decimal(12,2)
          freight: decimal(12,2)
          created_at: datetime
          updated_at: datetime(3)
          paid_at: datetime
lines:
  order_search:
    row: order
    when: any
    document:
      id: "{order_no}"
      fields:
        order_no: trade.orders.order_no
        user: trade.orders.user_id
        shop: trade.orders.shop_id
        status: trade.orders.status
        amount: trade.orders.amount
        receiver: trade.orders.receiver
        city: trade.orders.address
        note: trade.orders.note
        paid_at: trade.orders.paid_at
        updated_at: trade.orders.updated_at
    sink: { embedded: {} }
"#;

/// The settings of [`CONFIG`].
pub fn settings() -> Settings {
    match settings::load_text("bench.yaml", CONFIG, &|_| None) {
        Ok(loaded) => loaded.settings,
        Err(findings) => panic!("{findings:?}"),
    }
}

/// One row of the table as it is now; the other columns follow from its number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Order {
    /// Times it was written; 0 is a row that does not exist yet.
    pub writes: u32,
    pub status: u32,
    pub cents: u64,
    pub updated_ms: i64,
}

/// The records in log order, and the table they leave behind.
pub struct Log {
    pub bodies: Vec<(usize, Bytes)>,
    pub table: Vec<Order>,
    pub bytes: usize,
}

/// A row's own number in the database.
pub fn order_no(row: usize) -> String {
    format!("23082215471345{:011}", row as u64 * 7919 % 100_000_000_000)
}

impl Log {
    pub fn of(events: usize) -> Self {
        let mut dice = Dice(0x5EED_0001);
        let zipf = Zipf::new(ROWS, SKEW);
        let mut table = vec![Order::default(); ROWS];
        let mut bodies = Vec::with_capacity(events);
        let mut bytes = 0;
        for event in 0..events {
            // Neighbours in rank are no neighbours in the table.
            let row = zipf.rank(dice.share()) * 104_729 % ROWS;
            let before = table[row];
            let updated_ms = BEGAN_MS + event as i64 * 3;
            let grown = if dice.share() < 0.3 { dice.next() % 9_000 } else { 0 };
            let after = Order {
                writes: before.writes + 1,
                status: (before.status + 1) % 7,
                cents: if before.writes == 0 { 1_000 + dice.next() % 900_000 } else { before.cents + grown },
                updated_ms,
            };
            table[row] = after;
            let body = body(row, before, after, event);
            bytes += body.len();
            bodies.push((row, Bytes::from(body)));
        }
        Self { bodies, table, bytes }
    }

    /// The records by partition, as a consumer would hand them over.
    pub fn records(&self) -> Vec<Vec<Record>> {
        let topic = Name::of("shop.trade.orders");
        let mut partitions: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS];
        for (row, body) in &self.bodies {
            let number = row % PARTITIONS;
            let offset = partitions[number].len() as i64;
            partitions[number].push(Record {
                partition: Partition { topic, number: number as i32 },
                position: RecordOffset(offset),
                offset,
                timestamp: Some(Millis(BEGAN_MS)),
                key: None,
                value: Some(body.clone()),
                headers: Vec::new(),
            });
        }
        partitions
    }
}

/// The record of a row's write number `writes`; its note says which one it was.
pub fn written(row: usize, writes: u32, event: usize) -> Bytes {
    let at = |writes| Order { writes, status: writes % 7, cents: 12_345, updated_ms: BEGAN_MS + event as i64 };
    Bytes::from(body(row, at(writes - 1), at(writes), event))
}

/// A record of the usual size, for loops over one body.
pub fn sample_body() -> Vec<u8> {
    let before = Order { writes: 3, status: 2, cents: 12_345, updated_ms: BEGAN_MS };
    let after = Order { writes: 4, status: 3, cents: 12_845, updated_ms: BEGAN_MS + 3 };
    body(4711, before, after, 3).into_bytes()
}

fn body(row: usize, before: Order, after: Order, event: usize) -> String {
    let mut out = String::with_capacity(1_000);
    out.push_str("{\"before\":");
    if before.writes == 0 {
        out.push_str("null");
    } else {
        image(&mut out, row, before);
    }
    out.push_str(",\"after\":");
    image(&mut out, row, after);
    let (op, ts) = (if before.writes == 0 { "c" } else { "u" }, after.updated_ms);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        ",\"source\":{{\"version\":\"2.7.0.Final\",\"connector\":\"mysql\",\"name\":\"shop\",\"ts_ms\":{ts},\"snapshot\":\"false\",\
         \"db\":\"trade\",\"sequence\":null,\"table\":\"orders\",\"server_id\":223344,\"gtid\":null,\"file\":\"mysql-bin.000012\",\"pos\":{},\"row\":0,\"thread\":12,\"query\":null}},\"transaction\":null,\"op\":\"{op}\",\"ts_ms\":{}}}",
        4 + event * 900,
        ts + 21
    );
    out
}

fn image(out: &mut String, row: usize, order: Order) {
    let money = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    let paid = if order.status >= 2 { (order.updated_ms / 1_000 * 1_000).to_string() } else { "null".to_owned() };
    let _ = write!(
        out,
        "{{\"id\":{row},\"order_no\":\"{}\",\"user_id\":{},\"shop_id\":{},\"status\":{},\"amount\":\"{}\",\"freight\":\"{}\",\
         \"receiver\":\"王小明{}\",\"phone\":\"138{:08}\",\"address\":\"{} 人民路 {}\",\"note\":\"w{}\",\"created_at\":{BEGAN_MS},\
         \"updated_at\":{},\"paid_at\":{paid}}}",
        order_no(row),
        row * 31 % 50_000,
        row % 400,
        order.status,
        money(order.cents),
        money(row as u64 % 2_000),
        row % 100,
        row % 100_000_000,
        ["Berlin", "上海", "Lyon", "Porto"][row % 4],
        row % 900,
        order.writes,
        order.updated_ms,
    );
}

/// A small good generator (splitmix64): the same numbers everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks by Zipf's law.
pub struct Zipf(Vec<f64>);

impl Zipf {
    pub fn new(ranks: usize, skew: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=ranks).map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        });
        Self(sums.collect())
    }
    pub fn rank(&self, share: f64) -> usize {
        let wanted = share * self.0.last().copied().unwrap_or(1.0);
        self.0.partition_point(|sum| *sum < wanted).min(self.0.len() - 1)
    }
}
