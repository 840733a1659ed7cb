//! A shop at work on the database, as SQL text: the same seed says the same.
//!
//! Keeps in mind only which rows there are, so that most statements meet some. Knows nothing of who reads the changes.

use std::fmt::Write;

/// Item ids begin beyond what a float holds exactly.
const ITEM_FIRST: i64 = 9_007_199_254_740_993;
/// The numbers of orders are few, so that their rows leave, come back and meet again.
const NUMBERS: u64 = 1_200;

/// A shop is full with so many rows: from then on as many go as come.
const ORDERS_MAX: usize = 2 * NUMBERS as usize;
const ITEMS_MAX: usize = 4 * NUMBERS as usize;
const OTHERS_MAX: usize = NUMBERS as usize;

/// A splitmix64 generator.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len().max(1) as u64) as usize)
    }

    fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let place = self.below(from.len() as u64) as usize;
        Some(from.swap_remove(place))
    }
}

/// Which rows there are, and what comes next.
pub struct Trader {
    dice: Dice,
    last: i64,
    orders: Vec<i64>,
    gone: Vec<i64>,
    items: Vec<i64>,
    payments: Vec<i64>,
    refunds: Vec<i64>,
    products: Vec<i64>,
    /// `orders.gift` is there.
    gifts: bool,
    /// Columns added to `product`.
    extras: u32,
}

impl Trader {
    pub fn new(seed: u64) -> Self {
        let empty = Vec::new;
        Self {
            dice: Dice::new(seed),
            last: 1_000,
            orders: empty(),
            gone: empty(),
            items: empty(),
            payments: empty(),
            refunds: empty(),
            products: vec![1],
            gifts: false,
            extras: 0,
        }
    }

    /// So many transactions.
    pub fn trade(&mut self, transactions: usize) -> String {
        let mut sql = String::from("use shop;\n");
        for _ in 0..transactions {
            sql.push_str("begin;\n");
            for _ in 0..=self.dice.below(3) {
                self.act(&mut sql);
            }
            self.stay_small(&mut sql);
            // What is rolled back must never be seen.
            sql.push_str(if self.dice.below(50) == 0 { "commit; begin; delete from orders; rollback;\n" } else { "commit;\n" });
        }
        sql
    }

    /// A column more, in both tables that are roots. The new one of `orders` is part of a document.
    pub fn alter(&mut self) -> String {
        let mut sql = String::from("use shop;\n");
        if !self.gifts {
            sql.push_str("alter table orders add column gift varchar(32) after status;\n");
            self.gifts = true;
        }
        self.extras += 1;
        let _ = writeln!(sql, "alter table product add column extra_{} int;", self.extras);
        sql
    }

    fn act(&mut self, sql: &mut String) {
        match self.dice.below(100) {
            0..22 => self.order(sql),
            22..34 => self.pay(sql),
            34..50 => self.go_on(sql),
            50..64 => self.change_items(sql),
            64..70 => self.give_back(sql),
            70..76 => self.delete_item(sql),
            76..80 => self.delete_order(sql),
            80..83 => self.order_again(sql),
            83..86 => self.new_keys(sql),
            86..91 => self.moves(sql),
            91..93 => self.in_bulk(sql),
            _ => self.products(sql),
        }
    }

    fn stay_small(&mut self, sql: &mut String) {
        while self.orders.len() > ORDERS_MAX {
            self.delete_order(sql);
        }
        while self.items.len() > ITEMS_MAX {
            self.delete_item(sql);
        }
        let others = [
            (&mut self.payments, "payment", "id"),
            (&mut self.refunds, "refund", "refund_id"),
            (&mut self.products, "product", "id"),
        ];
        for (rows, table, key) in others {
            while rows.len() > OTHERS_MAX {
                if let Some(id) = self.dice.take(rows) {
                    let _ = writeln!(sql, "delete from {table} where {key} = {id};");
                }
            }
        }
    }

    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    fn number(&mut self) -> String {
        format!("T{:06}", self.dice.below(NUMBERS))
    }

    fn money(&mut self) -> String {
        format!("{}.{:02}", self.dice.below(100_000), self.dice.below(100))
    }

    fn moment(&mut self) -> String {
        let mut below = |n| self.dice.below(n);
        format!("2025-{:02}-{:02} {:02}:{:02}:{:02}", 1 + below(12), 1 + below(28), below(24), below(60), below(60))
    }

    /// A text or null, with what a text can hold.
    fn text(&mut self) -> String {
        const WORDS: &[&str] =
            &["web", "O''Hara", "Zürich", "北京", "", "a \"quoted\" one", "back\\\\slash", "tab\\tend", "🫖", "null"];
        match self.dice.below(5) {
            0 => "null".into(),
            _ => format!("'{}'", self.dice.pick(WORDS).unwrap_or(&"")),
        }
    }

    fn insert_order(&mut self, sql: &mut String, id: i64) {
        let (no, status, amount) = (self.number(), self.dice.below(9), self.money());
        let (channel, receiver, city, at) = (self.text(), self.text(), self.text(), self.moment());
        let _ = writeln!(
            sql,
            "insert into orders (id, order_no, user_id, status, amount, channel, receiver, city, created_at) \
             values ({id}, '{no}', {id}, {status}, {amount}, {channel}, {receiver}, {city}, '{at}');"
        );
        self.orders.push(id);
        for _ in 0..self.dice.below(4) {
            self.insert_item(sql, &no);
        }
    }

    fn insert_item(&mut self, sql: &mut String, no: &str) {
        let id = ITEM_FIRST + self.next();
        let (name, qty, price, at) = (self.text(), self.dice.below(9), self.money(), self.moment());
        let _ = writeln!(
            sql,
            "insert into order_item (id, order_no, product_id, goods_name, sku, qty, price, status, updated_at) \
             values ({id}, '{no}', 1, {name}, 'sku-{qty}', {qty}, {price}, 1, '{at}');"
        );
        self.items.push(id);
    }

    fn order(&mut self, sql: &mut String) {
        let id = self.next();
        self.insert_order(sql, id);
        if let Some(product) = self.dice.pick(&self.products) {
            let _ = writeln!(sql, "update product set stock = stock - 1 where id = {product};");
        }
    }

    fn pay(&mut self, sql: &mut String) {
        let (id, no, paid, state, at) = (self.next(), self.number(), self.money(), self.dice.below(4), self.moment());
        let _ = writeln!(
            sql,
            "insert into payment (id, order_no, paid, method, state, paid_at) values ({id}, '{no}', {paid}, 'card', {state}, '{at}');\n\
             update orders set status = 2, pay_amount = {paid} where order_no = '{no}';"
        );
        self.payments.push(id);
    }

    /// An order's life: several changes of one row in one transaction among them.
    fn go_on(&mut self, sql: &mut String) {
        let (status, city) = (self.dice.below(9), self.text());
        let gift = if self.gifts && self.dice.below(3) == 0 { ", gift = concat('gift ', status)" } else { "" };
        if let Some(id) = self.dice.pick(&self.orders) {
            let _ = writeln!(sql, "update orders set status = {status}{gift} where id = {id};");
            let _ = writeln!(sql, "update orders set city = {city}, status = status + 1 where id = {id};");
        }
        let state = self.dice.below(4);
        if let Some(id) = self.dice.pick(&self.payments) {
            let _ = writeln!(sql, "update payment set state = {state} where id = {id};");
        }
        if let Some(id) = self.dice.pick(&self.refunds) {
            let _ = writeln!(sql, "update refund set rp_status = {state} where refund_id = {id};");
        }
    }

    fn change_items(&mut self, sql: &mut String) {
        let (qty, price) = (self.dice.below(99), self.money());
        if let Some(id) = self.dice.pick(&self.items) {
            let _ = writeln!(sql, "update order_item set qty = {qty}, price = {price} where id = {id};");
        }
        if self.dice.below(2) == 0 {
            let no = self.number();
            self.insert_item(sql, &no);
        }
    }

    fn give_back(&mut self, sql: &mut String) {
        let (id, no, amount, at) = (self.next(), self.number(), self.money(), self.moment());
        let _ = writeln!(
            sql,
            "insert into refund (refund_id, order_no, amount, rp_status, reason, created_at) values ({id}, '{no}', {amount}, 1, 'broken', '{at}');\n\
             update refund set rp_status = 3 where refund_id = {id};"
        );
        self.refunds.push(id);
        if self.dice.below(3) == 0 {
            if let Some(id) = self.dice.take(&mut self.refunds) {
                let _ = writeln!(sql, "delete from refund where refund_id = {id};");
            }
            if let Some(id) = self.dice.take(&mut self.payments) {
                let _ = writeln!(sql, "delete from payment where id = {id};");
            }
        }
    }

    fn delete_item(&mut self, sql: &mut String) {
        if let Some(id) = self.dice.take(&mut self.items) {
            let _ = writeln!(sql, "delete from order_item where id = {id};");
        }
    }

    /// Its other rows stay, and are seen again if the number comes back.
    fn delete_order(&mut self, sql: &mut String) {
        if let Some(id) = self.dice.take(&mut self.orders) {
            let _ = writeln!(sql, "delete from orders where id = {id};");
            self.gone.push(id);
        }
    }

    /// The key of a deleted row again; now and then of one that is there, replaced by fewer columns.
    fn order_again(&mut self, sql: &mut String) {
        if let Some(id) = self.dice.take(&mut self.gone) {
            self.insert_order(sql, id);
        }
        let no = self.number();
        if let Some(id) = self.dice.pick(&self.orders) {
            let _ = writeln!(sql, "replace into orders (id, order_no, status) values ({id}, '{no}', 1);");
        }
    }

    fn new_keys(&mut self, sql: &mut String) {
        let id = self.next();
        if let Some(old) = self.dice.take(&mut self.orders) {
            let _ = writeln!(sql, "update orders set id = {id}, status = 5 where id = {old};");
            self.orders.push(id);
            self.gone.push(old);
        }
        if let Some(old) = self.dice.take(&mut self.items) {
            let new = ITEM_FIRST + id;
            let _ = writeln!(sql, "update order_item set id = {new} where id = {old};");
            self.items.push(new);
        }
    }

    /// A row goes to another document; some come back at once.
    fn moves(&mut self, sql: &mut String) {
        let (first, second) = (self.number(), self.number());
        if let Some(id) = self.dice.pick(&self.items) {
            let _ = writeln!(sql, "update order_item set order_no = '{first}' where id = {id};");
            if second < first {
                let _ = writeln!(sql, "update order_item set order_no = '{second}', qty = 7 where id = {id};");
            }
        }
        match self.dice.below(3) {
            0 => {
                if let Some(id) = self.dice.pick(&self.orders) {
                    let _ = writeln!(sql, "update orders set order_no = '{first}' where id = {id};");
                }
            }
            1 => {
                if let Some(id) = self.dice.pick(&self.payments) {
                    let _ = writeln!(sql, "update payment set order_no = '{second}' where id = {id};");
                }
            }
            _ => {
                let _ = writeln!(sql, "update order_item set order_no = '{second}' where order_no = '{first}';");
            }
        }
    }

    fn in_bulk(&mut self, sql: &mut String) {
        let (rest, city, name) = (self.dice.below(20), self.text(), self.text());
        match self.dice.below(3) {
            0 => writeln!(sql, "update orders set city = {city}, status = status + 1 where id % 20 = {rest};"),
            1 => writeln!(sql, "update order_item set goods_name = {name} where id % 20 = {rest};"),
            _ => writeln!(sql, "update product set price = price + 0.01, name = {name};"),
        }
        .unwrap_or_default();
    }

    fn products(&mut self, sql: &mut String) {
        let (name, price, at) = (self.text(), self.money(), self.moment());
        match self.dice.below(4) {
            0 => {
                let id = self.next();
                let _ = writeln!(
                    sql,
                    "insert into product (id, name, brand, price, stock, status, tags, updated_at) \
                     values ({id}, {name}, 'Brown', {price}, 100, 1, 'new', '{at}');"
                );
                self.products.push(id);
            }
            1 if self.products.len() > 20 => {
                if let Some(id) = self.dice.take(&mut self.products) {
                    let _ = writeln!(sql, "delete from product where id = {id};");
                }
            }
            _ => {
                if let Some(id) = self.dice.pick(&self.products) {
                    let _ = writeln!(sql, "update product set price = {price}, updated_at = '{at}' where id = {id};");
                }
            }
        }
    }
}
