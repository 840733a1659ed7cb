//! The row store on HBase: what is its own. What every row store promises runs on it in `tests/contract`.

use crate::fake_hbase::FakeHbase;
use crate::servers;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use widerow::domain::change::Value;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Millis, Name, RowId, RowKey, Stamp};
use widerow::domain::row::{Cell, PartId, Purged, Tombstone, WideRow};
use widerow::domain::schema::{RowKind, Schema, VersionKind};
use widerow::domain::template::Template;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::store::{HbaseRowStore, checked};
use widerow::io::hbase::types::{CheckAndMutate, Durability, RowMutations, TableName};
use widerow::ports::rows::{Horizon, RowStore, RowWrite};
use widerow::settings::{HbaseSettings, Wal};

fn real() -> Vec<String> {
    servers::shared(servers::Kind::Hbase).addresses()[..2].to_vec()
}

/// A table name nobody had before.
fn fresh(name: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{name}_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub fn settings(servers: Vec<String>, table: &str) -> HbaseSettings {
    HbaseSettings {
        servers,
        table: table.to_owned(),
        family: "cf".to_owned(),
        wal: Wal::Sync,
        create: true,
        regions: 4,
        user: "widerow".to_owned(),
        connections: 1,
        in_flight: 8,
        timeout: Duration::from_secs(20),
        flush_every: Duration::from_secs(30),
        tls: None,
    }
}

/// `order` by weight, `sku` by counter.
pub fn schema() -> Arc<Schema> {
    let kind = |name: &str, version| RowKind {
        name: Name::of(name),
        key: Template::parse("{last4(id)}:{id}").unwrap(),
        key_columns: vec![Name::of("id")],
        root: None,
        version,
        tables: vec![],
    };
    Arc::new(Schema::new(vec![], vec![kind("order", VersionKind::Weight), kind("sku", VersionKind::Counter)], vec![]))
}

pub fn row(key: &str) -> RowId {
    RowId { kind: Name::of("order"), key: RowKey::new(key) }
}

pub fn part(table: &str, child: &str) -> PartId {
    PartId { table: Name::of(table), child: child.into() }
}

/// One table row's columns at one stamp, as an entity has them written.
pub fn change(table: &str, child: &str, stamp: i64, cells: &[(&str, &str)]) -> WideRow {
    let mut row = WideRow::default();
    row.keys.set(Name::of("id"), Value::Text("7"));
    let part = row.part_mut(&part(table, child));
    cells
        .iter()
        .for_each(|(name, value)| part.cells.push(Cell { name: Name::of(name), stamp: Stamp(stamp), value: Some(value) }));
    row
}

fn deleted(table: &str, child: &str, stamp: i64) -> WideRow {
    let mut row = change(table, child, stamp, &[]);
    row.part_mut(&part(table, child)).tombstone = Some(Tombstone { stamp: Stamp(stamp), written: Millis(1), revoked: false });
    row
}

async fn write(store: &HbaseRowStore, key: &str, change: WideRow) {
    store.write(vec![RowWrite { row: row(key), change: change.into() }]).await.remove(0).unwrap();
}

pub async fn read(store: &HbaseRowStore, key: &str) -> Option<WideRow> {
    store.read(vec![row(key)]).await.unwrap().remove(0)
}

pub fn open(settings: &HbaseSettings) -> HbaseRowStore {
    HbaseRowStore::open(settings, schema()).unwrap()
}

/// Goal: W2 and W3 without a log: what was flushed stays, what was not is told as lost, `m` stays in any case. Method: a write
/// on each side of a flush, the server killed and alive again.
#[tokio::test]
async fn unflushed_writes_are_told_as_lost() {
    for wal in [Wal::Skip, Wal::Async] {
        let fake = FakeHbase::start(1, 3);
        let store = open(&HbaseSettings { wal, ..settings(fake.addresses(), "w_{row}") });
        write(&store, "0007:7", change("orders", "", 5, &[("status", "1")])).await;
        store.make_durable().await.unwrap();
        // The first write brings the key columns, whose sync takes along what the log holds.
        for stamp in [6, 7] {
            write(&store, "0008:8", change("orders", "", stamp, &[("status", &stamp.to_string())])).await;
        }
        assert_eq!(store.losses(), 0, "{wal:?}");
        fake.kill(0);
        fake.revive(0);
        // While the server is away, nothing is durable and nothing is known to be lost.
        while store.losses() == 0 {
            assert!(store.make_durable().await.is_err(), "{wal:?}");
        }
        let kept = read(&store, "0007:7").await.unwrap();
        assert_eq!(kept.part(&part("orders", "")).unwrap().value(Name::of("status")), Value::Text("1"));
        let rest = read(&store, "0008:8").await.unwrap();
        let status = rest.part(&part("orders", "")).map_or(Value::Absent, |part| part.value(Name::of("status")));
        assert_eq!(status, if wal == Wal::Skip { Value::Absent } else { Value::Text("6") });
        assert!(!rest.keys.is_empty(), "{wal:?}: the key columns are logged");
        write(&store, "0008:8", change("orders", "", 7, &[("status", "7")])).await;
        store.make_durable().await.unwrap();
        assert_eq!(store.losses(), 1, "{wal:?}: told once");
    }
}

/// Goal: W1, a synced write survives its server. Method: the same with `wal: sync`.
#[tokio::test]
async fn synced_writes_survive() {
    let fake = FakeHbase::start(1, 3);
    let store = open(&settings(fake.addresses(), "w_{row}"));
    write(&store, "0008:8", change("orders", "", 6, &[("status", "2")])).await;
    fake.kill(0);
    fake.revive(0);
    store.make_durable().await.unwrap();
    assert_eq!(read(&store, "0008:8").await.unwrap().parts.len(), 1);
    assert_eq!(store.losses(), 0);
}

/// Goal: M8 and V4 where nobody reads before a write. Method: a fill over a fill of another value; a live change over both.
async fn a_fill_over_a_fill_raises_the_version(settings: HbaseSettings) {
    let store = open(&settings);
    let mut last = 0;
    for (stamp, value) in [(0, "a"), (0, "b"), (1 << 44, "c"), (1 << 44, "d"), ((1 << 44) + 1, "e")] {
        write(&store, "0007:7", change("orders", "", stamp, &[("status", value)])).await;
        let held = read(&store, "0007:7").await.unwrap();
        assert_eq!(held.part(&part("orders", "")).unwrap().value(Name::of("status")), Value::Text(value));
        let version = held.version(VersionKind::Weight).0;
        assert!(version > last, "{value}: {version} after {last}");
        last = version;
    }
}

#[tokio::test]
async fn a_fill_over_a_fill_raises_the_version_on_the_fake() {
    a_fill_over_a_fill_raises_the_version(settings(FakeHbase::start(1, 3).addresses(), "w_{row}")).await;
}

#[tokio::test]
async fn a_fill_over_a_fill_raises_the_version_on_a_server() {
    a_fill_over_a_fill_raises_the_version(settings(real(), &fresh("fills"))).await;
}

/// Goal: M5, what a purge removed does not come back when the server compacts, older versions included. Method: two versions
/// of a cell in two files, a delete, a purge; then a major compaction.
#[tokio::test]
async fn what_was_purged_stays_away() {
    let fake = FakeHbase::start(1, 3);
    let store = open(&settings(fake.addresses(), "w_{row}"));
    for stamp in [3, 5] {
        write(&store, "0007:7", change("item", "1", stamp, &[("qty", &stamp.to_string())])).await;
        fake.flush("w_order");
    }
    write(&store, "0007:7", change("item", "2", 4, &[("qty", "4")])).await;
    write(&store, "0007:7", deleted("item", "1", 8)).await;
    let before = read(&store, "0007:7").await.unwrap().version(VersionKind::Weight);
    let horizon = Horizon { written_before: Millis(2) };
    assert_eq!(store.purge(row("0007:7"), horizon).await, Ok(Purged { cells: 1, tombstones: 1, marks: 0 }));
    for compacted in [false, true] {
        let held = read(&store, "0007:7").await.unwrap();
        assert_eq!(held.parts.iter().map(|p| &*p.id.child).collect::<Vec<_>>(), ["2"], "compacted: {compacted}");
        assert!(held.version(VersionKind::Weight) > before);
        fake.compact("w_order");
    }
}

/// Goal: the server itself holds a checked write's condition (C5, R3). Method: the condition of one read, asked of rows that
/// changed since, in that table row, in others, and in names that look alike.
async fn a_condition_sees_every_cell_of_its_table_row(settings: HbaseSettings) {
    let store = open(&settings);
    let client = Client::new(ClientSettings::new(settings.servers.clone())).unwrap();
    let table = TableName::parse(&settings.table).unwrap();
    let item = part("item", "1");
    let later: [(&str, Option<WideRow>, bool); 8] = [
        ("nothing", None, true),
        ("the same cell", Some(change("item", "1", 9, &[("qty", "9")])), false),
        ("a new column", Some(change("item", "1", 7, &[("note", "x")])), false),
        ("a delete", Some(deleted("item", "1", 9)), false),
        ("the same again", Some(change("item", "1", 5, &[("qty", "5")])), true),
        ("another child", Some(change("item", "11", 9, &[("qty", "9")])), true),
        ("another table", Some(change("item2", "1", 9, &[("qty", "9")])), true),
        ("a plain column", Some(change("item", "", 9, &[("1", "9")])), true),
    ];
    for (n, (what, later, holds)) in later.into_iter().enumerate() {
        let key = format!("000{n}:{n}");
        let mut first = change("item", "1", 5, &[("qty", "5"), ("price", "1")]);
        first.marks = vec![("moved:item:1:0".into(), Stamp(3)), ("item:x:1".into(), Stamp(77))];
        write(&store, &key, first).await;
        let held = read(&store, &key).await.unwrap();
        if let Some(later) = later {
            write(&store, &key, later).await;
        }
        let condition = checked::unchanged(&"cf".into(), &item, held.part(&item));
        let mut mutations = RowMutations::new(format!("order/{key}")).unwrap();
        mutations.put(Durability::Sync, b"cf", b"item:checked:1", 5, b"yes").unwrap();
        let done = client.check_and_mutate(&table, CheckAndMutate { condition, mutations }).await.unwrap();
        assert_eq!(done, holds, "{what}");
    }
}

#[tokio::test]
async fn a_condition_sees_every_cell_of_its_table_row_on_the_fake() {
    let fake = FakeHbase::start(1, 3);
    a_condition_sees_every_cell_of_its_table_row(settings(fake.addresses(), "shared")).await;
}

#[tokio::test]
async fn a_condition_sees_every_cell_of_its_table_row_on_a_server() {
    a_condition_sees_every_cell_of_its_table_row(settings(real(), &fresh("conditions"))).await;
}

/// Goal: tables are made as configured, wrong ones refused with what mends them, and `check` says the same. Method: tables
/// made by a store, one with a family too few, one that may not be made.
#[tokio::test]
async fn tables_are_made_or_refused_with_a_remedy() {
    let fake = FakeHbase::start(2, 3);
    let good = settings(fake.addresses(), "w_{row}");
    let seen = open(&good).look().await.unwrap();
    assert!(seen.iter().all(|s| s.lacking.is_none()), "{seen:?}");
    assert!(fake.tables().iter().all(|t| !t.starts_with("w_")), "a look makes nothing");
    write(&open(&good), "0007:7", change("orders", "", 5, &[("status", "1")])).await;
    assert_eq!((fake.regions("w_order"), fake.regions("w_sku"), fake.regions("w__meta")), (4, 4, 1));
    let seen = open(&good).look().await.unwrap();
    assert!(seen.iter().any(|s| s.system.ends_with("w_order") && s.found.contains("4 regions")), "{seen:?}");
    fake.create_table("bare", &["cf"], &[]);
    let bare = settings(fake.addresses(), "bare");
    let refused = open(&bare).read(vec![row("1")]).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Incompatible);
    assert!(refused.what.contains("alter 'bare', {NAME => 'm'"), "{refused}");
    let seen = open(&bare).look().await.unwrap();
    assert!(seen.iter().any(|s| s.lacking.as_ref().is_some_and(|(_, remedy)| remedy.starts_with("alter 'bare'"))), "{seen:?}");
    let not_made = HbaseSettings { create: false, ..settings(fake.addresses(), "none") };
    let refused = open(&not_made).read(vec![row("1")]).await.unwrap_err();
    assert!(refused.what.contains("create 'none', {NAME => 'cf'"), "{refused}");
    let own = HbaseSettings { family: "m".into(), ..good };
    assert!(HbaseRowStore::open(&own, schema()).is_err());
}

/// Goal: a row that the server never takes keeps no other back, and rows lie about everywhere. Method: one poisoned row among
/// two hundred, and one key too long.
#[tokio::test]
async fn a_poisoned_row_stands_alone() {
    let fake = FakeHbase::start(2, 3);
    let store = open(&settings(fake.addresses(), "w_{row}"));
    write(&store, "0000:0", change("orders", "", 1, &[("status", "0")])).await;
    let poisoned = format!("{:04}:13", 13 * 37);
    fake.poison(&poisoned, "DoNotRetryIOException");
    let long = "x".repeat(40_000);
    let keys: Vec<String> = (0..200).map(|i| format!("{:04}:{i}", i * 37)).chain([long.clone()]).collect();
    let make = |key: &String| RowWrite { row: row(key), change: change("orders", "", 2, &[("status", key)]).into() };
    let outcomes = store.write(keys.iter().map(make).collect()).await;
    for (key, outcome) in keys.iter().zip(outcomes) {
        let bad = *key == poisoned || *key == long;
        assert_eq!(outcome.err().map(|f| f.kind), bad.then_some(FaultKind::Rejected), "{key}");
    }
    let held = store.read(keys[..200].iter().map(|key| row(key)).collect()).await.unwrap();
    assert_eq!(held.iter().filter(|row| row.is_some()).count(), 199);
}
