//! A small shop, every record it gave, and the oracle: its tables as they must end, and the documents of them.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use widerow::settings::{self, Settings};

/// One shop: orders with items. `${OUT}` is the folder of the run; a module appends lines and settings of its own.
pub const SHOP: &str = r#"
version: 1
node: { id: it, data_dir: "${OUT}/data", threads: 2, drain_deadline: 5s }
sources: { shop: { jsonl: { path: "${OUT}/records.jsonl" } } }
queue: { lease: 2s, retry: { base: 20ms, cap: 200ms } }
admin: { listen: "127.0.0.1:0" }
rows:
  order:
    key: "{order_no}"
    root: trade.orders
    tables:
      trade.orders: { id: [id], columns: { id: long, status: long } }
      trade.order_item: { id: [id], many: true, columns: { id: long, qty: long } }
lines:
  orders:
    row: order
    document:
      id: "{order_no}"
      fields:
        order_no: trade.orders.order_no
        status: trade.orders.status
        note: trade.orders.note
        items: { each: trade.order_item, order_by: id, fields: { id: id, qty: qty } }
        qty_total: { sum: trade.order_item.qty }
    sink: { jsonl: { path: "${OUT}/orders.jsonl" } }
"#;

/// A configuration text as meant, its `${OUT}` filled.
pub fn load(text: &str, out: &Path) -> Settings {
    let out = out.display().to_string();
    let env = |name: &str| (name == "OUT").then(|| out.clone());
    match settings::load_text("test.yaml", text, &env) {
        Ok(loaded) => loaded.settings,
        Err(found) => panic!("{found:#?}"),
    }
}

/// Numbers from a seed (xorshift64*), the same on every machine.
pub struct Dice(u64);

impl Dice {
    /// The seed is printed, so that a failure can be played again.
    pub fn new(seed: u64) -> Self {
        let _ = writeln!(std::io::stderr(), "seed {seed}");
        Self::silent(seed)
    }
    /// The same where somebody else prints it.
    pub fn silent(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n.max(1)
    }
}

/// One recorded event, as the file format of recorded events has it.
pub fn event(topic: &str, partition: i64, offset: i64, value: &str) -> String {
    json!({ "topic": topic, "partition": partition, "offset": offset, "key": null, "value": value }).to_string()
}

/// The shop's tables, and every record they gave.
pub struct Shop {
    tables: BTreeMap<(&'static str, i64), Map<String, Value>>,
    offsets: HashMap<(&'static str, i64), i64>,
    pub partitions: i64,
    grown: HashMap<&'static str, i64>,
    pub lines: Vec<String>,
    /// Before which of the lines a table's topic was deleted and created again.
    pub remade: Vec<(usize, &'static str)>,
}

impl Shop {
    pub fn new(partitions: i64) -> Self {
        let (offsets, grown) = (HashMap::new(), HashMap::new());
        Self { tables: BTreeMap::new(), offsets, partitions, grown, lines: Vec::new(), remade: Vec::new() }
    }

    pub fn put(&mut self, table: &'static str, id: i64, row: Value) {
        let Value::Object(mut row) = row else { panic!("a row is an object") };
        row.insert("id".to_owned(), id.into());
        let old = self.tables.insert((table, id), row.clone());
        let mut body =
            json!({ "database": "trade", "table": table, "ts": 1_740_794_400, "xid": 1, "commit": true, "data": row.clone() });
        body["type"] = if old.is_some() { "update" } else { "insert" }.into();
        if let Some(old) = old {
            let changed = old.into_iter().filter(|(name, value)| row.get(name) != Some(value));
            body["old"] = Value::Object(changed.collect());
        }
        self.record(table, id, &body);
    }

    pub fn delete(&mut self, table: &'static str, id: i64) {
        let Some(old) = self.tables.remove(&(table, id)) else { return };
        let body = json!({ "database": "trade", "table": table, "type": "delete", "ts": 1_740_794_400, "xid": 1, "commit": true, "data": old });
        self.record(table, id, &body);
    }

    #[allow(dead_code, reason = "the tests on real servers use it")]
    /// From here on the rows of a table lie in so many partitions.
    pub fn repartition(&mut self, table: &'static str, partitions: i64) {
        self.grown.insert(table, partitions);
    }

    #[allow(dead_code, reason = "the simulation uses it")]
    /// From here on a table's records lie in a new topic of the old name, whose offsets begin anew (E3).
    pub fn remake(&mut self, table: &'static str) {
        self.offsets.retain(|(of, _), _| *of != table);
        self.remade.push((self.lines.len(), table));
    }

    #[allow(dead_code, reason = "the simulation uses it")]
    /// Something comes through the table's topic that no decoder takes (C7).
    pub fn spoil(&mut self, table: &'static str, id: i64) {
        self.append(table, id, "no json");
    }

    fn record(&mut self, table: &'static str, id: i64, body: &Value) {
        self.append(table, id, &body.to_string());
    }

    fn append(&mut self, table: &'static str, id: i64, value: &str) {
        let partition = id % self.grown.get(table).copied().unwrap_or(self.partitions);
        let offset = self.offsets.entry((table, partition)).or_default();
        self.lines.push(event(&format!("shop.trade.{table}"), partition, *offset, value));
        *offset += 1;
    }

    /// One random thing happens to one of `orders` orders.
    pub fn trade(&mut self, dice: &mut Dice, orders: u64) {
        let order = dice.below(orders) as i64;
        let order_no = format!("n{order}");
        let known = |shop: &Self, table, id| shop.tables.contains_key(&(table, id));
        match dice.below(20) {
            0 if known(self, "orders", order) => self.delete("orders", order),
            0..9 => {
                self.put(
                    "orders",
                    order,
                    json!({ "order_no": order_no, "status": dice.below(9), "note": format!("次{}", dice.below(99)) }),
                );
            }
            9 => self.delete("order_item", order * 4 + dice.below(4) as i64),
            10 => {
                // The item moves to another order.
                let other = format!("n{}", dice.below(orders));
                self.put("order_item", order * 4, json!({ "order_no": other, "qty": dice.below(50) }));
            }
            _ => {
                let id = order * 4 + dice.below(4) as i64;
                let order_no = self.tables.get(&("order_item", id)).map_or(order_no.into(), |held| held["order_no"].clone());
                self.put("order_item", id, json!({ "order_no": order_no, "qty": dice.below(50) }));
            }
        }
    }

    /// The documents that line `orders` must end with.
    pub fn documents(&self) -> BTreeMap<String, Value> {
        let rows = |table| self.tables.iter().filter(move |((t, _), _)| *t == table).map(|(_, row)| row);
        let mut documents = BTreeMap::new();
        for order in rows("orders") {
            let order_no = order["order_no"].as_str().unwrap().to_owned();
            let items: Vec<_> = rows("order_item").filter(|item| item["order_no"] == order["order_no"]).collect();
            let total: i64 = items.iter().filter_map(|item| item["qty"].as_i64()).sum();
            let items: Vec<_> = items.iter().map(|item| json!({ "id": item["id"], "qty": item["qty"] })).collect();
            let mut document = json!({ "order_no": order_no, "status": order["status"], "items": items, "qty_total": total });
            if let Some(note) = order.get("note") {
                document["note"] = note.clone();
            }
            documents.insert(order_no, document);
        }
        documents
    }

    #[allow(dead_code, reason = "the simulation uses it")]
    /// Every row of every table, as they end.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, i64, &Map<String, Value>)> {
        self.tables.iter().map(|((table, id), row)| (*table, *id, row))
    }

    pub fn text(&self) -> String {
        text_of(&self.lines)
    }
}

/// A file of these lines.
pub fn text_of(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}
