//! What the documents must be, as the database itself says: plain SQL, and none of the product's code.
//!
//! Keeps K6 and M1 in its own words: a column of a row that is not there is left out, null is null, the defaults stand in
//! for both; of two rows where one is asked, the greatest key answers.

use crate::servers::Server;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub type Documents = BTreeMap<String, Value>;

/// One reading of the whole database.
pub struct Truth {
    pub orders: Documents,
    pub states: Documents,
    pub products: Documents,
    pub cached: Documents,
}

/// One statement reads one moment of all five tables: the first word of a line names the table.
const QUERY: &str = "\
set session transaction isolation level repeatable read; start transaction with consistent snapshot;
select json_array('orders', order_no, json_compact(json_object('order_no', order_no, 'status', status, 'amount', amount, 'pay_amount', pay_amount,
 'channel', channel, 'receiver', receiver, 'city', city, 'created_at', created_at GIFT))) from shop.orders order by id;
select json_array('items', order_no, json_compact(json_object('id', id, 'name', goods_name, 'sku', sku, 'qty', qty, 'price', price, 'status', status)))
 from shop.order_item order by id;
select json_array('payment', order_no, json_compact(json_object('paid', paid, 'pay_state', state, 'digits', concat(paid)))) from shop.payment order by id;
select json_array('refund', order_no, json_compact(json_object('refund_status', rp_status))) from shop.refund order by refund_id;
select json_array('product', concat(id), json_compact(json_object('id', id, 'name', name, 'brand', brand, 'category', category, 'price', price,
 'stock', stock, 'status', status, 'tags', tags, 'updated_at', updated_at))) from shop.product order by id;
commit;";

/// The column that `Trader::alter` adds to `orders` is part of a document once it is there.
fn query(database: &Server) -> String {
    let has = "select count(*) from information_schema.columns where table_schema = 'shop' and table_name = 'orders' and column_name = 'gift'";
    let gifts = database.script("sql", &["-e", has]).trim() == "1";
    QUERY.replace("GIFT", if gifts { ", 'gift', gift" } else { "" })
}

#[derive(Default)]
struct Parts {
    order: Map<String, Value>,
    items: Vec<Value>,
    payment: Map<String, Value>,
    refund: Map<String, Value>,
}

pub fn read(database: &Server) -> Truth {
    let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
    let (mut products, mut cached) = (Documents::new(), Documents::new());
    for line in database.script("sql", &["--raw", "-e", &query(database)]).lines() {
        let (table, key, row): (String, String, Map<String, Value>) =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        match table.as_str() {
            "orders" => parts.entry(key).or_default().order = row,
            "items" => parts.entry(key).or_default().items.push(Value::Object(row)),
            "payment" => parts.entry(key).or_default().payment = row,
            "refund" => parts.entry(key).or_default().refund = row,
            _ => {
                cached.insert(key.clone(), some_of(&row, &["id", "name", "price", "stock", "status"]));
                products.insert(key, Value::Object(row));
            }
        }
    }
    let alive = || parts.iter().filter(|(_, parts)| !parts.order.is_empty());
    let orders = alive().map(|(no, parts)| (no.clone(), order(parts))).collect();
    let states = alive().map(|(no, parts)| (no.clone(), state(parts))).collect();
    Truth { orders, states, products, cached }
}

fn some_of(row: &Map<String, Value>, names: &[&str]) -> Value {
    names.iter().filter_map(|name| Some(((*name).to_owned(), row.get(*name)?.clone()))).collect::<Map<_, _>>().into()
}

fn paid(parts: &Parts) -> Value {
    parts.payment.get("paid").filter(|paid| !paid.is_null()).cloned().unwrap_or(json!(0))
}

fn order(parts: &Parts) -> Value {
    let mut document = parts.order.clone();
    document.extend(parts.payment.clone());
    document.extend(parts.refund.clone());
    document.remove("digits");
    document.insert("paid".into(), paid(parts));
    let total: i64 = parts.items.iter().filter_map(|item| item["qty"].as_i64()).sum();
    document.insert("qty_total".into(), total.into());
    document.insert("item_count".into(), parts.items.len().into());
    document.insert("items".into(), parts.items.clone().into());
    document.into()
}

/// A hash of texts: null is a field that is not there, and a decimal keeps its digits.
fn state(parts: &Parts) -> Value {
    let mut hash = parts.payment.clone();
    hash.extend(parts.refund.clone());
    hash.insert("status".into(), parts.order["status"].clone());
    let digits = hash.remove("digits").filter(|digits| !digits.is_null()).unwrap_or(json!("0"));
    hash.insert("paid".into(), digits);
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    hash.retain(|_, value| !value.is_null());
    hash.into_iter().map(|(name, value)| (name, text(value).into())).collect::<Map<_, _>>().into()
}
