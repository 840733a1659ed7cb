//! What the tests of the client share: a cluster with a table of four regions, a client of short patience, rows.

use crate::fake_hbase::FakeHbase;
use std::time::Duration;
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::types::{Durability, Get, Put, RowMutations, TableName};

pub const TABLE: &str = "shop:order";

/// Two region servers; a table of four regions, dealt out over them.
pub fn cluster() -> FakeHbase {
    let fake = FakeHbase::start(2, 7);
    fake.create_table(TABLE, &["cf", "m"], &["b", "c", "d"]);
    fake
}

pub fn settings(fake: &FakeHbase) -> ClientSettings {
    ClientSettings {
        // A dropped call is noticed soon; a slow machine still answers within it.
        call_timeout: Duration::from_millis(700),
        ..ClientSettings::new(fake.addresses())
    }
}

pub fn client(fake: &FakeHbase) -> Client {
    Client::new(settings(fake)).unwrap()
}

pub fn table() -> &'static TableName {
    static NAME: std::sync::OnceLock<TableName> = std::sync::OnceLock::new();
    NAME.get_or_init(|| TableName::parse(TABLE).unwrap())
}

/// Three rows in each region.
pub fn rows() -> Vec<String> {
    ["a", "b", "c", "d"].iter().flat_map(|region| (0..3).map(move |n| format!("{region}{n}"))).collect()
}

pub fn put(row: &str, stamp: i64, value: &str) -> Put {
    let mut put = Put::new(row.to_owned(), Durability::Sync).unwrap();
    put.cell(b"cf", b"q", stamp, value.as_bytes()).unwrap();
    put
}

/// A put and a bump of the row's counter, atomic.
pub fn bump(row: &str, stamp: i64, value: &str) -> RowMutations {
    let mut mutations = RowMutations::new(row.to_owned()).unwrap();
    mutations.put(Durability::Sync, b"cf", b"q", stamp, value.as_bytes()).unwrap();
    mutations.increment(Durability::Sync, b"m", b"n", 1).unwrap();
    mutations
}

pub fn get(row: &str) -> Get {
    Get::new(row.to_owned())
}

/// The value of `cf:q` and the counter; 0 where there is none.
pub fn value(cells: &[Cell]) -> (String, i64) {
    let of = |family: &str| cells.iter().find(|c| c.family == family).map(|c| c.value.clone());
    let text = of("cf").map(|v| String::from_utf8(v.to_vec()).unwrap()).unwrap_or_default();
    (text, of("m").map_or(0, |v| i64::from_be_bytes(v[..].try_into().unwrap())))
}

/// What the cluster itself holds of a row.
pub fn held(fake: &FakeHbase, row: &str) -> (String, i64) {
    value(&fake.row(TABLE, row))
}
