//! What the documents must be: a plain fold over the shop's own tables.
//!
//! The mappings of `order_search` and `product_search` are said here a second time on purpose (R6): a fault in the
//! engine's document code cannot hide behind itself.

use super::tables::{Cell, Row, Table, key_of};
use super::trade::{Order, Trade};

use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// JSON whose numbers are the text they were written as, so that `1.10` is not `1.1` and no digit is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Documents by line and id.
pub type Documents = BTreeMap<String, BTreeMap<String, Json>>;

impl Json {
    /// Reads JSON text.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_slice(text)?;
        Self::of(raw)
    }

    fn of(raw: &RawValue) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b'{') => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
                Self::Object(members.into_iter().map(|(name, raw)| Ok((name, Self::of(raw)?))).collect::<Result<_, _>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                Self::List(items.into_iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            Some(b't' | b'f') => Self::Bool(text == "true"),
            Some(b'n') => Self::Null,
            _ => Self::Number(text.to_owned()),
        })
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(b) => to.serialize_bool(*b),
            // Only a raw value prints a number's text as it is.
            Self::Number(text) => RawValue::from_string(text.clone()).map_err(Error::custom)?.serialize(to),
            Self::Text(text) => to.serialize_str(text),
            Self::List(items) => to.collect_seq(items),
            Self::Object(members) => to.collect_map(members),
        }
    }
}

/// `{"documents": {line: {id: document}}}`, one document a line.
pub fn expected_json(documents: &Documents) -> String {
    let mut out = String::from("{\"documents\":{");
    for (at, (line, ids)) in documents.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&text_of(line));
        out.push_str(":{");
        for (at, (id, document)) in ids.iter().enumerate() {
            out.push_str(if at == 0 { "\n" } else { ",\n" });
            out.push_str(&text_of(id));
            out.push(':');
            out.push_str(&text_of(document));
        }
        out.push_str("\n}");
    }
    out.push_str("\n}}\n");
    out
}

/// Members are texts and numbers that were JSON before, so this cannot fail.
fn text_of(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The documents of the shop as it is now: those of living orders and products.
pub(super) fn documents(trade: &Trade) -> Documents {
    let orders = trade.orders().iter().filter_map(order_document).collect();
    let products = trade.products().map(product_document).collect();
    BTreeMap::from([("order_search".to_owned(), orders), ("product_search".to_owned(), products)])
}

fn order_document(order: &Order) -> Option<(String, Json)> {
    let row = order.order.as_ref()?;
    let get = |name| value(Table::Orders, row, name);
    let mut document = BTreeMap::new();
    for name in ["order_no", "status", "amount", "pay_amount", "channel", "receiver", "city", "created_at"] {
        document.insert(name.to_owned(), get(name));
    }
    let paid = order.payment.as_ref().map_or(Json::Null, |payment| value(Table::Payment, payment, "paid"));
    // K6: the default stands in for a payment that is not there and for one that is null.
    document.insert("paid".into(), if paid == Json::Null { Json::Number("0".into()) } else { paid });
    if let Some(payment) = &order.payment {
        document.insert("pay_state".into(), value(Table::Payment, payment, "state"));
    }
    if let Some(refund) = &order.refund {
        document.insert("refund_status".into(), value(Table::Refund, refund, "rp_status"));
    }
    let mut items: Vec<&Row> = order.items.iter().collect();
    items.sort_unstable_by_key(|item| key_of(item));
    let quantity: i64 =
        items.iter().map(|item| if let Cell::Long(qty) = item[column(Table::OrderItem, "qty")] { qty } else { 0 }).sum();
    document.insert("qty_total".into(), Json::Number(quantity.to_string()));
    document.insert("item_count".into(), Json::Number(items.len().to_string()));
    document.insert("items".into(), Json::List(items.into_iter().map(item_document).collect()));
    Some((text(Table::Orders, row, "order_no"), Json::Object(document)))
}

fn item_document(item: &Row) -> Json {
    let columns =
        [("id", "id"), ("name", "goods_name"), ("sku", "sku"), ("qty", "qty"), ("price", "price"), ("status", "status")];
    Json::Object(columns.map(|(field, name)| (field.to_owned(), value(Table::OrderItem, item, name))).into())
}

fn product_document(row: &Row) -> (String, Json) {
    let columns = ["id", "name", "brand", "category", "price", "stock", "status", "tags", "updated_at"];
    let document = columns.map(|name| (name.to_owned(), value(Table::Product, row, name))).into();
    (text(Table::Product, row, "id"), Json::Object(document))
}

fn column(table: Table, name: &str) -> usize {
    table.columns().iter().position(|column| column.name == name).unwrap_or(0)
}

fn value(table: Table, row: &Row, name: &str) -> Json {
    let cell = row[column(table, name)];
    match (cell, cell.text()) {
        (_, None) => Json::Null,
        (Cell::Long(_) | Cell::Cents(_), Some(text)) => Json::Number(text),
        (_, Some(text)) => Json::Text(text),
    }
}

fn text(table: Table, row: &Row, name: &str) -> String {
    row[column(table, name)].text().unwrap_or_default()
}
