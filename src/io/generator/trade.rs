//! The shop's own books: every table's rows as they are now, and the next thing that happens to them.
//!
//! An order's rows are kept with the order they point to. Knows nothing of records, formats or partitions.
//!
//! Shares of the traffic: 30 % orders, 15 % payments, 35 % items, 10 % refunds, 10 % products; 30 % inserts, 65 % updates,
//! 5 % deletes. An insert where the row lives (or the order is full) becomes an update, an update or delete of a row that
//! does not live an insert: long runs over few entities have fewer inserts. An order has room for one to five items, for
//! 2.2 on average. Of the items' updates 1 % change the primary key and 2 % the order: both are rare in a real shop, and each
//! leaves dead cells in the old row until a purge.

use super::chance::{Chance, Zipf, mix};
use super::tables::{Cell, Row, Table, key_of};
use super::words::{
    BRANDS, CATEGORIES, CHANNELS, CITIES, COLORS, GOODS, METHODS, OPERATOR, REASONS, RECEIVER, REMARKS, SIZES, SKU, SUPPLIER,
    TAGS,
};
use crate::settings::GeneratorSettings;

/// Of a hundred orders, so many have room for one item, two, and so on: 2.2 on average.
const ROOM: [u64; 5] = [40, 25, 18, 11, 6];
/// Deleted item ids an order remembers, to insert them again.
const GONE_MAX: usize = 4;
/// Midnight, New Year 2025 and a bit: the shop's clock starts here whatever the wall says, so that one seed is one run.
const OPENING_MS: i64 = 1_740_794_400_000;
/// Above 2^53: a value that went through a float would show.
const FIRST_USER: i64 = 9_007_199_254_740_993;

/// What happened to one row: before, after. An update may change the primary key.
#[derive(Clone, Debug)]
pub(super) struct RowEvent {
    pub table: Table,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// An order and what belongs to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    pub order: Option<Row>,
    pub items: Vec<Row>,
    pub payment: Option<Row>,
    pub refund: Option<Row>,
    gone_items: Vec<i64>,
    gone_payment: Option<i64>,
    gone_refund: Option<i64>,
}

/// The books.
#[derive(Debug)]
pub(super) struct Trade {
    chance: Chance,
    orders: Vec<Order>,
    products: Vec<Option<Row>>,
    which_order: Zipf,
    which_product: Zipf,
    hot: f64,
    big: f64,
    next_id: i64,
    now_ms: i64,
}

/// Items this order may hold.
fn room(order: usize) -> usize {
    let throw = mix(order as u64 + 1) % 100;
    let mut so_far = 0;
    1 + ROOM
        .iter()
        .take_while(|share| {
            so_far += *share;
            so_far <= throw
        })
        .count()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Insert,
    Update,
    Delete,
}

impl Trade {
    pub(super) fn new(settings: &GeneratorSettings, chance: Chance) -> Self {
        let orders = settings.entities.max(1);
        let products = (orders / 10).max(1);
        Self {
            chance,
            orders: vec![Order::default(); orders as usize],
            products: vec![None; products as usize],
            which_order: Zipf::new(orders, settings.skew),
            which_product: Zipf::new(products, settings.skew),
            hot: settings.hot,
            big: settings.big,
            next_id: 1,
            now_ms: OPENING_MS,
        }
    }

    /// The shop's clock in milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }
    pub(super) fn orders(&self) -> &[Order] {
        &self.orders
    }
    pub(super) fn products(&self) -> impl Iterator<Item = &Row> {
        self.products.iter().flatten()
    }

    /// One transaction: appends what happened, from one to `max` rows of one table, each row at most once.
    pub(super) fn happen(&mut self, max: u64, events: &mut Vec<RowEvent>) {
        self.now_ms += 1 + self.chance.below(20) as i64;
        // The hot order's events are never a product's.
        let hot = self.chance.once_in(self.hot);
        let table = self.chance.below(if hot { 90 } else { 100 });
        let wish = match self.chance.below(100) {
            0..30 => Wish::Insert,
            30..95 => Wish::Update,
            _ => Wish::Delete,
        };
        if table >= 90 {
            let at = self.which_product.rank(&mut self.chance) as usize;
            events.push(self.product(at, wish));
            return;
        }
        let at = if hot { 0 } else { self.which_order.rank(&mut self.chance) as usize };
        match table {
            0..30 => events.push(self.order(at, wish)),
            30..45 => events.push(self.payment(at, wish)),
            45..80 => self.item(at, wish, max, events),
            _ => events.push(self.refund(at, wish)),
        }
    }

    fn fresh_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn cents(&mut self, below: u64) -> Cell {
        Cell::Cents(self.chance.below(below) as i64)
    }

    fn long(&mut self, below: u64) -> Cell {
        Cell::Long(self.chance.below(below) as i64)
    }

    fn word(&mut self, of: &'static [&'static str]) -> Cell {
        Cell::Word(self.chance.one_of(of))
    }

    fn numbered(&mut self, word: &'static &'static str, below: u64) -> Cell {
        Cell::Numbered(word, self.chance.below(below) as u32)
    }

    /// Null one time in ten.
    fn maybe(&mut self, cell: Cell) -> Cell {
        if self.chance.below(10) == 0 { Cell::Null } else { cell }
    }

    fn seconds(&self) -> Cell {
        Cell::Time(self.now_ms / 1000)
    }

    fn order(&mut self, at: usize, wish: Wish) -> RowEvent {
        let before = self.orders[at].order.take();
        let after = match (&before, wish) {
            (Some(_), Wish::Delete) => None,
            (Some(row), _) => Some(self.changed_order(row.clone())),
            (None, _) => Some(self.new_order(at)),
        };
        self.orders[at].order.clone_from(&after);
        RowEvent { table: Table::Orders, before, after }
    }

    fn new_order(&mut self, at: usize) -> Row {
        let id = at as i64 + 1;
        let (coupon, remark) = (self.cents(2_000), self.word(&REMARKS));
        let big = self.chance.once_in(self.big);
        let remark = if big { Cell::Filler(10_000 + self.chance.below(260_001) as u32) } else { self.maybe(remark) };
        Box::new([
            Cell::Long(id),
            Cell::OrderNo(id),
            Cell::Long(FIRST_USER + self.chance.below(1_000_000) as i64),
            Cell::Long(1),
            self.cents(1_000_000_000),
            self.cents(1_000_000_000),
            self.cents(3_000),
            self.maybe(coupon),
            self.word(&CHANNELS),
            self.numbered(&RECEIVER, 100_000),
            self.word(&CITIES),
            remark,
            self.seconds(),
            self.seconds(),
        ])
    }

    fn changed_order(&mut self, mut row: Row) -> Row {
        match self.chance.below(10) {
            0..5 => row[3] = self.long(9),
            5 | 6 => row[5] = self.cents(1_000_000_000),
            7 => {
                let coupon = self.cents(2_000);
                row[7] = self.maybe(coupon);
            }
            8 => row[10] = self.word(&CITIES),
            _ => row[9] = self.numbered(&RECEIVER, 100_000),
        }
        row[13] = self.seconds();
        row
    }

    /// The id of a new row: now and then the one of a deleted row again.
    fn id_again(&mut self, gone: Option<i64>) -> i64 {
        match gone {
            Some(id) if self.chance.below(2) == 0 => id,
            _ => self.fresh_id(),
        }
    }

    fn payment(&mut self, at: usize, wish: Wish) -> RowEvent {
        let before = self.orders[at].payment.take();
        let after = match (&before, wish) {
            (Some(row), Wish::Delete) => {
                self.orders[at].gone_payment = Some(key_of(row));
                None
            }
            (Some(row), _) => {
                let mut row = row.clone();
                (row[2], row[4], row[5]) = (self.cents(1_000_000_000), self.long(4), self.seconds());
                Some(row)
            }
            (None, _) => {
                let id = self.id_again(self.orders[at].gone_payment);
                let paid = self.cents(1_000_000_000);
                let paid = self.maybe(paid);
                let (method, time) = (self.word(&METHODS), self.seconds());
                Some(Box::from([Cell::Long(id), Cell::OrderNo(at as i64 + 1), paid, method, Cell::Long(0), self.maybe(time)]))
            }
        };
        self.orders[at].payment.clone_from(&after);
        RowEvent { table: Table::Payment, before, after }
    }

    fn refund(&mut self, at: usize, wish: Wish) -> RowEvent {
        let before = self.orders[at].refund.take();
        let after = match (&before, wish) {
            (Some(row), Wish::Delete) => {
                self.orders[at].gone_refund = Some(key_of(row));
                None
            }
            (Some(row), _) => {
                let mut row = row.clone();
                let note = self.word(&REMARKS);
                (row[3], row[6], row[8]) = (self.long(5), self.seconds(), self.maybe(note));
                Some(row)
            }
            (None, _) => Some(self.new_refund(at)),
        };
        self.orders[at].refund.clone_from(&after);
        RowEvent { table: Table::Refund, before, after }
    }

    fn new_refund(&mut self, at: usize) -> Row {
        Box::new([
            Cell::Long(self.id_again(self.orders[at].gone_refund)),
            Cell::OrderNo(at as i64 + 1),
            self.cents(1_000_000_000),
            Cell::Long(1),
            self.word(&REASONS),
            self.seconds(),
            self.seconds(),
            self.numbered(&OPERATOR, 50),
            Cell::Null,
        ])
    }

    fn item(&mut self, at: usize, wish: Wish, max: u64, events: &mut Vec<RowEvent>) {
        let count = self.orders[at].items.len();
        if count == 0 || (wish == Wish::Insert && count < room(at)) {
            let row = self.new_item(at);
            self.orders[at].items.push(row.clone());
            events.push(RowEvent { table: Table::OrderItem, before: None, after: Some(row) });
            return;
        }
        let which = self.chance.below(count as u64) as usize;
        if wish == Wish::Delete {
            let row = self.orders[at].items.swap_remove(which);
            let gone = &mut self.orders[at].gone_items;
            if gone.len() < GONE_MAX {
                gone.push(key_of(&row));
            }
            events.push(RowEvent { table: Table::OrderItem, before: Some(row), after: None });
            return;
        }
        match self.chance.below(100) {
            0 => events.push(self.rekey_item(at, which)),
            1 | 2 => events.push(self.move_item(at, which)),
            3..11 => {
                // The whole parcel moves on.
                let status = self.long(5);
                for which in 0..count.min(max as usize) {
                    events.push(self.change_item(at, which, status));
                }
            }
            _ => {
                let status = self.long(5);
                events.push(self.change_item(at, which, status));
            }
        }
    }

    fn new_item(&mut self, at: usize) -> Row {
        // A key comes back in the order it was deleted from or, once it is taken out, never: so no two rows share it.
        let again = if self.chance.below(2) == 0 { self.orders[at].gone_items.pop() } else { None };
        let product = self.which_product.rank(&mut self.chance) as i64 + 1;
        Box::new([
            Cell::Long(again.unwrap_or_else(|| self.fresh_id())),
            Cell::OrderNo(at as i64 + 1),
            Cell::Long(product),
            Cell::Numbered(&GOODS, product as u32),
            self.numbered(&SKU, 10_000),
            Cell::Long(1 + self.chance.below(5) as i64),
            self.cents(100_000),
            Cell::Cents(-(self.chance.below(500) as i64)),
            Cell::Long(0),
            self.seconds(),
        ])
    }

    fn change_item(&mut self, at: usize, which: usize, status: Cell) -> RowEvent {
        let before = self.orders[at].items[which].clone();
        let mut after = before.clone();
        after[8] = status;
        match self.chance.below(4) {
            0 => after[5] = Cell::Long(1 + self.chance.below(5) as i64),
            1 => after[6] = self.cents(100_000),
            _ => {}
        }
        after[9] = self.seconds();
        self.orders[at].items[which].clone_from(&after);
        RowEvent { table: Table::OrderItem, before: Some(before), after: Some(after) }
    }

    /// C5: the primary key changes. The new one was never used and the old one never comes back, as in any table whose
    /// keys are counted up.
    fn rekey_item(&mut self, at: usize, which: usize) -> RowEvent {
        let before = self.orders[at].items[which].clone();
        let mut after = before.clone();
        (after[0], after[9]) = (Cell::Long(self.fresh_id()), self.seconds());
        self.orders[at].items[which].clone_from(&after);
        RowEvent { table: Table::OrderItem, before: Some(before), after: Some(after) }
    }

    /// C5: the item goes to another order, if there is room.
    fn move_item(&mut self, at: usize, which: usize) -> RowEvent {
        let to = self.which_order.rank(&mut self.chance) as usize;
        if to == at || self.orders[to].items.len() >= room(to) {
            let status = self.long(5);
            return self.change_item(at, which, status);
        }
        let before = self.orders[at].items.swap_remove(which);
        let mut after = before.clone();
        (after[1], after[9]) = (Cell::OrderNo(to as i64 + 1), self.seconds());
        self.orders[to].items.push(after.clone());
        RowEvent { table: Table::OrderItem, before: Some(before), after: Some(after) }
    }

    fn product(&mut self, at: usize, wish: Wish) -> RowEvent {
        let before = self.products[at].take();
        let after = match (&before, wish) {
            (Some(_), Wish::Delete) => None,
            (Some(row), _) => {
                let mut row = row.clone();
                match self.chance.below(4) {
                    0 => row[4] = self.cents(100_000),
                    1 => row[14] = self.word(&TAGS),
                    _ => row[6] = self.long(1_000),
                }
                row[17] = self.seconds();
                Some(row)
            }
            (None, _) => Some(self.new_product(at)),
        };
        self.products[at].clone_from(&after);
        RowEvent { table: Table::Product, before, after }
    }

    fn new_product(&mut self, at: usize) -> Row {
        let tags = self.word(&TAGS);
        Box::new([
            Cell::Long(at as i64 + 1),
            Cell::Numbered(&GOODS, at as u32 + 1),
            self.word(&BRANDS),
            self.word(&CATEGORIES),
            self.cents(100_000),
            self.cents(50_000),
            self.long(1_000),
            self.long(5_000),
            self.long(200),
            self.long(200),
            self.long(200),
            self.word(&COLORS),
            self.word(&SIZES),
            Cell::Long(1),
            self.maybe(tags),
            self.numbered(&SUPPLIER, 90),
            self.seconds(),
            self.seconds(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: orders are of the sizes that [`ROOM`] says. Method: the room of many, each share within two points of a hundred.
    #[test]
    fn orders_have_room_for_one_to_five_items() {
        let mut counts = [0; ROOM.len()];
        (0..10_000).for_each(|order| counts[room(order) - 1] += 1);
        for (items, (count, share)) in (1..).zip(counts.into_iter().zip(ROOM)) {
            assert!((count as i64 - 100 * share as i64).abs() < 200, "{count} of 10,000 orders have room for {items} items");
        }
    }
}
