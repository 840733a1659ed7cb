//! The shop's five tables and what stands in their rows.

use crate::domain::ids::Name;

/// The database of all tables, and the first part of their topics.
pub(super) const DATABASE: &str = "shop";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Orders,
    OrderItem,
    Payment,
    Refund,
    Product,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub name: &'static str,
    /// As MySQL declares it.
    pub mysql: &'static str,
}

const fn column(name: &'static str, mysql: &'static str) -> Column {
    Column { name, mysql }
}
const fn long(name: &'static str) -> Column {
    column(name, "bigint")
}
const fn int(name: &'static str) -> Column {
    column(name, "int")
}
const fn money(name: &'static str) -> Column {
    column(name, "decimal(18,2)")
}
const fn price(name: &'static str) -> Column {
    column(name, "decimal(10,2)")
}
const fn text(name: &'static str) -> Column {
    column(name, "varchar(64)")
}
const fn time(name: &'static str) -> Column {
    column(name, "datetime")
}

const ORDERS: [Column; 14] = [
    long("id"),
    column("order_no", "varchar(32)"),
    long("user_id"),
    int("status"),
    money("amount"),
    money("pay_amount"),
    price("freight"),
    price("coupon"),
    text("channel"),
    text("receiver"),
    text("city"),
    column("remark", "longtext"),
    time("created_at"),
    time("updated_at"),
];
const ORDER_ITEM: [Column; 10] = [
    long("id"),
    column("order_no", "varchar(32)"),
    long("product_id"),
    text("goods_name"),
    text("sku"),
    int("qty"),
    price("price"),
    price("discount"),
    int("status"),
    time("updated_at"),
];
const PAYMENT: [Column; 6] =
    [long("id"), column("order_no", "varchar(32)"), money("paid"), text("method"), int("state"), time("paid_at")];
const REFUND: [Column; 9] = [
    long("refund_id"),
    column("order_no", "varchar(32)"),
    money("amount"),
    int("rp_status"),
    text("reason"),
    time("created_at"),
    time("updated_at"),
    text("operator"),
    text("note"),
];
const PRODUCT: [Column; 18] = [
    long("id"),
    text("name"),
    text("brand"),
    text("category"),
    price("price"),
    price("cost"),
    int("stock"),
    int("weight"),
    int("length"),
    int("width"),
    int("height"),
    text("color"),
    text("size"),
    int("status"),
    text("tags"),
    text("supplier"),
    time("created_at"),
    time("updated_at"),
];

impl Table {
    pub(super) const ALL: [Self; 5] = [Self::Orders, Self::OrderItem, Self::Payment, Self::Refund, Self::Product];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::OrderItem => "order_item",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Product => "product",
        }
    }

    /// The first one is the primary key.
    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Orders => &ORDERS,
            Self::OrderItem => &ORDER_ITEM,
            Self::Payment => &PAYMENT,
            Self::Refund => &REFUND,
            Self::Product => &PRODUCT,
        }
    }

    pub(super) const fn key(self) -> &'static str {
        self.columns()[0].name
    }

    /// As Debezium names it: prefix, database, table.
    pub(super) fn topic(self) -> Name {
        Name::of(&format!("{DATABASE}.{DATABASE}.{}", self.name()))
    }
}

/// One value, small and without an allocation: a shop of a million rows is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Long(i64),
    /// Hundredths.
    Cents(i64),
    /// Seconds since 1970 of a wall clock in UTC.
    Time(i64),
    /// The number of the order of this id.
    OrderNo(i64),
    Word(&'static &'static str),
    /// A word and a number.
    Numbered(&'static &'static str, u32),
    /// So many bytes of text.
    Filler(u32),
}

/// One table row in column order.
pub(super) type Row = Box<[Cell]>;

/// A row's primary key.
pub(super) fn key_of(row: &[Cell]) -> i64 {
    match row.first() {
        Some(Cell::Long(key)) => *key,
        _ => 0,
    }
}

const FILLER: &str = "leave it with the neighbour, ring twice, mind the dog; ";

impl Cell {
    /// Appends the canonical text (C2); nothing for null.
    pub(super) fn write_text(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Long(n) => write_long(out, n),
            Self::Cents(n) => write_cents(out, n),
            Self::Time(seconds) => write_time(out, seconds),
            Self::OrderNo(id) => {
                out.extend_from_slice(b"2503010200");
                write_padded(out, id.unsigned_abs(), 10);
            }
            Self::Word(word) => out.extend_from_slice(word.as_bytes()),
            Self::Numbered(word, n) => {
                out.extend_from_slice(word.as_bytes());
                write_long(out, i64::from(n));
            }
            Self::Filler(bytes) => out.extend(FILLER.bytes().cycle().take(bytes as usize)),
        }
    }

    pub(super) fn text(self) -> Option<String> {
        let mut out = Vec::new();
        self.write_text(&mut out);
        (self != Self::Null).then(|| String::from_utf8_lossy(&out).into_owned())
    }
}

pub(super) fn write_long(out: &mut Vec<u8>, n: i64) {
    let mut digits = [0_u8; 20];
    let (mut rest, mut at) = (n.unsigned_abs(), digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn write_padded(out: &mut Vec<u8>, n: u64, width: u32) {
    out.extend((0..width).rev().map(|place| b'0' + (n / 10_u64.pow(place) % 10) as u8));
}

fn write_cents(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    write_long(out, n.abs() / 100);
    out.push(b'.');
    write_padded(out, n.unsigned_abs() % 100, 2);
}

fn write_time(out: &mut Vec<u8>, seconds: i64) {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let at = jiff::tz::Offset::UTC.to_datetime(at);
    let parts = [(at.year(), 4, b'-'), (at.month().into(), 2, b'-'), (at.day().into(), 2, b' ')];
    let clock = [(at.hour().into(), 2, b':'), (at.minute().into(), 2, b':'), (at.second().into(), 2, 0)];
    for (n, width, after) in parts.into_iter().chain(clock) {
        write_padded(out, u64::from(n.unsigned_abs()), width);
        if after != 0 {
            out.push(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: canonical texts (C2). Method: a table.
    #[test]
    fn cells_print_as_mysql_prints_them() {
        for (cell, want) in [
            (Cell::Null, None),
            (Cell::Long(i64::MIN), Some("-9223372036854775808")),
            (Cell::Long(0), Some("0")),
            (Cell::Cents(880), Some("8.80")),
            (Cell::Cents(-5), Some("-0.05")),
            (Cell::Cents(0), Some("0.00")),
            (Cell::Time(1_740_794_401), Some("2025-03-01 02:00:01")),
            (Cell::OrderNo(42), Some("25030102000000000042")),
            (Cell::Numbered(&"goods ", 7), Some("goods 7")),
            (Cell::Filler(5), Some("leave")),
        ] {
            assert_eq!(cell.text().as_deref(), want, "{cell:?}");
        }
        assert_eq!(size_of::<Cell>(), 16);
    }
}
