//! What do reads of a row cost that changes often and was not flushed since, and what the writes, where the server's memory
//! keeps what was overwritten and where it drops it early, as in tables that we make (`IN_MEMORY_COMPACTION`)? And there, what
//! do raw reads cost, as the row store's are, beside ordinary ones?
//!
//! One order of twenty living items beside many that never change: items come, are written again whole (M7), and are deleted
//! (M5). Both tables get the same writes by turns, and both rows must read the same.

use crate::common::measure::{Report, Watch, Whose, median, say};
use widerow::io::hbase::client::Client;
use widerow::io::hbase::types::{Durability, FamilyDescriptor, Get, Put, TableDescriptor, TableName};

const KEPT: &str = "hot_kept";
const DROPPED: &str = "hot_dropped";
const HOT: &str = "hot";
/// Living items of the hot order, about.
const LIVING: usize = 20;
const COLUMNS: usize = 10;
/// Writes of the hot row in a stretch, each beside some of other rows.
const WRITES: usize = 2_500;
const BESIDE: usize = 9;
const GETS: usize = 200;
/// Reads come in so many parts, each behind its part of the writes.
const SLICES: usize = 20;
/// The first warms up.
const STRETCHES: usize = 6;

pub async fn run(client: &Client, server: u32, report: &mut Report) {
    let tables = [KEPT, DROPPED].map(|name| TableName::parse(name).expect("a table's name"));
    for table in &tables {
        let family = FamilyDescriptor::new("cf");
        let family = if *table == tables[0] {
            family.with("IN_MEMORY_COMPACTION", "NONE")
        } else {
            family.with("IN_MEMORY_COMPACTION", "EAGER").with("hbase.memstore.inmemoryflush.threshold.factor", "0.1")
        };
        let wanted = TableDescriptor { name: table.clone(), families: vec![family], attributes: Default::default() };
        client.ensure_table(&wanted, &[]).await.unwrap_or_else(|e| panic!("{e}"));
    }
    let mut order = Order { stamp: 1, items: 0, living: Vec::new(), dice: 88_172_645_463_325_252 };
    let (mut shares, mut raw_shares) = ([Vec::new(), Vec::new()], Vec::new());
    for stretch in 0..STRETCHES {
        // Memory is gone through now and then; reads all along the writes meet it at every moment.
        let (mut us, mut raw) = ([[0.0; 2]; 2], 0.0);
        for _ in 0..SLICES {
            let changes: Vec<Vec<Put>> = (0..WRITES / SLICES).map(|_| order.trade()).collect();
            for (at, table) in tables.iter().enumerate() {
                let watch = Watch::start(Whose::Other(server));
                for puts in &changes {
                    client.put_many(table, puts.clone()).await.into_iter().for_each(|put| put.unwrap_or_else(|e| panic!("{e}")));
                }
                us[0][at] += watch.stop().cpu.as_secs_f64() * 1e6 / (WRITES * (1 + BESIDE)) as f64;
                let watch = Watch::start(Whose::Other(server));
                for _ in 0..GETS / SLICES {
                    let held = client.get(table, Get::new(HOT)).await.unwrap_or_else(|e| panic!("{e}"));
                    assert_eq!(held.len(), order.cells(), "cells of the hot row in {table}: no figure");
                }
                us[1][at] += watch.stop().cpu.as_secs_f64() * 1e6 / GETS as f64;
            }
            let watch = Watch::start(Whose::Other(server));
            for _ in 0..GETS / SLICES {
                let read = client.newest_many(&tables[1], vec![Get::new(HOT)]).await;
                let held = read.into_iter().next().and_then(Result::ok).expect("the hot row");
                assert_eq!(held.len(), order.cells(), "cells of the hot row, read raw: no figure");
            }
            raw += watch.stop().cpu.as_secs_f64() * 1e6 / GETS as f64;
        }
        let [[put, put_dropping], [get, get_dropping]] = us;
        say(format!(
            "hot row of {} cells, µs of server CPU: {get:.0} a read, {get_dropping:.0} where memory drops early, {raw:.0} raw; \
             {put:.1} a write, {put_dropping:.1}",
            order.cells()
        ));
        if stretch > 0 {
            shares.iter_mut().zip(us).for_each(|(shares, us)| shares.push(us[1] / us[0]));
            raw_shares.push(raw / get_dropping);
        }
    }
    let ([put, get], raw) = (shares.map(median), median(raw_shares));
    say(format!(
        "hot row, where memory drops early: {get:.2} of the server's CPU a read, {put:.2} a write; a raw read {raw:.2} of an ordinary one"
    ));
    report.put("hot_row_read_raw_to_ordinary", raw);
    report.put("hot_row_read_dropped_to_kept", get);
    report.put("hot_row_write_dropped_to_kept", put);
}

/// One order's life.
struct Order {
    stamp: i64,
    items: usize,
    living: Vec<usize>,
    dice: u64,
}

impl Order {
    /// Xorshift.
    fn below(&mut self, end: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice % end as u64) as usize
    }

    /// One change of the order, and some of other rows.
    fn trade(&mut self) -> Vec<Put> {
        self.stamp += 1;
        let full = self.living.len() >= LIVING;
        let comes = self.living.is_empty() || self.below(100) < 30;
        let change = if comes && !full {
            self.items += 1;
            self.living.push(self.items);
            item(HOT, self.items, self.stamp)
        } else {
            let at = self.below(self.living.len());
            if comes { deleted(self.living.swap_remove(at), self.stamp) } else { item(HOT, self.living[at], self.stamp) }
        };
        let mut changes = vec![change];
        changes.extend((0..BESIDE).map(|_| item(&format!("row{:06}", self.below(20_000)), self.below(3), self.stamp)));
        changes
    }

    /// Items that were deleted keep their cells until a purge.
    fn cells(&self) -> usize {
        self.items * COLUMNS + (self.items - self.living.len())
    }
}

fn item(row: &str, item: usize, stamp: i64) -> Put {
    let mut put = Put::with_capacity(row.to_owned(), Durability::Sync, COLUMNS * 100).expect("a row key");
    for column in 0..COLUMNS {
        let qualifier = format!("order_item:column_{column}:{item:06}");
        put.cell(b"cf", qualifier.as_bytes(), stamp, b"some value of it").expect("a cell that fits");
    }
    put
}

fn deleted(item: usize, stamp: i64) -> Put {
    let mut put = Put::with_capacity(HOT.to_owned(), Durability::Sync, 100).expect("a row key");
    put.cell(b"cf", format!("order_item:#del:{item:06}").as_bytes(), stamp, b"1795310640000").expect("a cell that fits");
    put
}
