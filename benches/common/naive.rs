//! The obvious way: `serde_json::Value`, a hash map of hash maps, a document per event; one thread, no store, no queue.

use super::shop::{Log, order_no};
use serde_json::{Map, Value};
use std::collections::HashMap;

type Row = HashMap<String, (i64, Value)>;

/// Row key → table row → column → stamp and value.
#[derive(Default)]
pub struct Naive(pub HashMap<String, HashMap<String, Row>>);

const FIELDS: [(&str, &str); 10] = [
    ("order_no", "order_no"),
    ("user", "user_id"),
    ("shop", "shop_id"),
    ("status", "status"),
    ("amount", "amount"),
    ("receiver", "receiver"),
    ("city", "address"),
    ("note", "note"),
    ("paid_at", "paid_at"),
    ("updated_at", "updated_at"),
];

impl Naive {
    /// Decodes, merges, builds the document; its bytes.
    pub fn take(&mut self, offset: i64, body: &[u8]) -> Vec<u8> {
        let mut event: Value = serde_json::from_slice(body).expect("the generator writes JSON");
        let table = format!("{}.{}", text(&event["source"]["db"]), text(&event["source"]["table"]));
        let Value::Object(after) = event["after"].take() else { return Vec::new() };
        let key = text(&after["order_no"]).to_owned();
        let row = self.0.entry(key).or_default();
        let part = row.entry(format!("{table}:{}", after["id"])).or_default();
        for (column, value) in after {
            match part.get_mut(&column) {
                Some(cell) if cell.0 > offset => {}
                Some(cell) => *cell = (offset, value),
                None => {
                    part.insert(column, (offset, value));
                }
            }
        }
        let mut document = Map::new();
        for (field, column) in FIELDS {
            if let Some((_, value)) = part.get(column) {
                document.insert(field.to_owned(), value.clone());
            }
        }
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// Runs the whole log.
    pub fn run(log: &Log) -> Self {
        let mut naive = Self::default();
        for (offset, (_, body)) in log.bodies.iter().enumerate() {
            std::hint::black_box(naive.take(offset as i64, body));
        }
        naive
    }

    /// Whether every row ended as the table did.
    pub fn is_right(&self, log: &Log) -> bool {
        log.table.iter().enumerate().filter(|(_, order)| order.writes > 0).all(|(row, order)| {
            let part = self.0.get(&order_no(row)).and_then(|r| r.values().next());
            part.and_then(|part| part.get("status")).is_some_and(|(_, status)| status.as_u64() == Some(order.status.into()))
        })
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
