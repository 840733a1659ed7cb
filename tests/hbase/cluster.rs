//! What happens to regions, servers and the master under a client, and what the client keeps of order and measure.

use crate::bench::{TABLE, bump, client, cluster, get, held, put, rows, settings, table, value};
use crate::fake_hbase::{FakeHbase, Fault, Gate, When};
use bytes::Bytes;
use std::time::Duration;
use widerow::io::hbase::cell::CellType;
use widerow::io::hbase::client::Client;
use widerow::io::hbase::error::Class;
use widerow::io::hbase::types::{
    CheckAndMutate, Columns, Compare, Condition, Durability, Ensured, FamilyDescriptor, Get, Scan, TableDescriptor, TableName,
    TableState, TimeRange,
};

/// Something that becomes of a cluster.
type Happening = fn(&FakeHbase);

async fn put_all(client: &Client, stamp: i64) {
    for outcome in client.put_many(table(), rows().iter().map(|row| put(row, stamp, &format!("{row}@{stamp}"))).collect()).await {
        outcome.unwrap();
    }
}

async fn read_all(client: &Client) -> Vec<String> {
    let answers = client.get_many(table(), rows().iter().map(|row| get(row)).collect()).await;
    answers.into_iter().map(|cells| value(&cells.unwrap()).0).collect()
}

fn at(stamp: i64) -> Vec<String> {
    rows().iter().map(|row| format!("{row}@{stamp}")).collect()
}

/// Goal: whatever becomes of regions, what a client knows of them heals. Method: a table of happenings between a write and
/// the next; puts, gets, bumps and a scan after each.
#[tokio::test]
async fn regions_may_do_what_they_like() {
    let happenings: [(&str, Happening); 7] = [
        ("a move", |fake| assert!(fake.move_region(TABLE, "a1", 1))),
        ("a move and back", |fake| assert!(fake.move_region(TABLE, "b1", 0) && fake.move_region(TABLE, "b1", 1))),
        ("a split", |fake| assert!(fake.split(TABLE, "a1"))),
        ("two splits, one at a key with a comma", |fake| assert!(fake.split(TABLE, "c1") && fake.split(TABLE, "c1,5"))),
        ("a merge", |fake| assert!(fake.merge(TABLE, "a0"))),
        ("a split and a merge", |fake| assert!(fake.split(TABLE, "d1") && fake.merge(TABLE, "c1"))),
        ("a split, then a move", |fake| assert!(fake.split(TABLE, "b2") && fake.move_region(TABLE, "b2", 0))),
    ];
    let fake = cluster();
    let client = client(&fake);
    put_all(&client, 1).await;
    for (n, (what, happen)) in happenings.into_iter().enumerate() {
        happen(&fake);
        let stamp = 2 + n as i64;
        put_all(&client, stamp).await;
        assert_eq!(read_all(&client).await, at(stamp), "{what}");
        let bumped =
            client.mutate_many(table(), rows().iter().map(|row| bump(row, stamp, &format!("{row}@{stamp}"))).collect()).await;
        assert!(bumped.iter().all(Result::is_ok), "{what}: {bumped:?}");
        let page = client.scan(table(), &Scan::from("", 100)).await.unwrap();
        assert_eq!(
            page.rows.iter().map(|cells| value(cells)).collect::<Vec<_>>(),
            at(stamp).into_iter().map(|text| (text, n as i64 + 1)).collect::<Vec<_>>(),
            "{what}"
        );
    }
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

/// Goal: a region that is opening is waited for. Method: opened when the client has asked in vain.
#[tokio::test]
async fn an_opening_region_is_waited_for() {
    let fake = cluster();
    let client = client(&fake);
    fake.opening(TABLE, "c0", true);
    let writing = client.put_many(table(), vec![put("a1", 1, "x"), put("c1", 1, "y")]);
    let opening = async {
        fake.until("the region was asked in vain", |fake| {
            fake.seen().iter().filter(|s| s.rows.contains(&Bytes::from("c1"))).count() > 2
        })
        .await;
        assert_eq!(held(&fake, "c1").0, "");
        fake.opening(TABLE, "c0", false);
    };
    let (outcomes, ()) = tokio::join!(writing, opening);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(held(&fake, "c1").0, "y");
}

/// Goal: a server's death delays, its new life is seen. Method: killed under writes, back at the same address; its start code.
#[tokio::test]
async fn a_server_that_comes_back_is_known_for_another() {
    let fake = cluster();
    let client = client(&fake);
    put_all(&client, 1).await;
    let lives = client.servers();
    let before = lives.borrow().lives.clone();
    assert_eq!(before.len(), 2);
    fake.kill(1);
    let writing = put_all(&client, 2);
    let reviving = async {
        fake.until("the living server has its rows", |fake| held(fake, "a0").0 == "a0@2").await;
        fake.revive(1);
    };
    tokio::join!(writing, reviving);
    assert_eq!(read_all(&client).await, at(2));
    let after = lives.borrow().lives.clone();
    let changed: Vec<_> = before.iter().filter(|(address, code)| after[*address] != **code).collect();
    assert_eq!(changed.len(), 1, "{before:?} {after:?}");
}

/// Goal: a dead server's regions are found elsewhere, meta among them. Method: the server that holds meta dies and its regions
/// go to the other one.
#[tokio::test]
async fn meta_and_regions_move_to_the_living() {
    let fake = cluster();
    let client = client(&fake);
    put_all(&client, 1).await;
    fake.kill(0);
    fake.reassign(0);
    put_all(&client, 2).await;
    assert_eq!(read_all(&client).await, at(2));
    fake.revive(0);
    assert!(fake.move_region(TABLE, "a0", 0));
    put_all(&client, 3).await;
    assert_eq!(read_all(&client).await, at(3));
}

/// Goal: of two puts of one cell with one timestamp the later one stands. Method: twins in one batch, over many rows and
/// faults that send batches again; then bumps of one row in one batch.
#[tokio::test]
async fn the_order_of_a_rows_writes_is_kept() {
    for fault in [None, Some(Fault::CloseAfter), Some(Fault::DropReply), Some(Fault::FailRegion("RegionTooBusyException"))] {
        let fake = cluster();
        let client = client(&fake);
        if let Some(fault) = fault.clone() {
            fake.script(When::next("Multi").on(TABLE).times(2), fault);
        }
        let twins: Vec<_> = ["1", "2", "3"].iter().flat_map(|n| rows().into_iter().map(move |row| put(&row, 5, n))).collect();
        assert!(client.put_many(table(), twins).await.iter().all(Result::is_ok));
        assert!(rows().iter().all(|row| held(&fake, row).0 == "3"), "{fault:?}");
        let bumps: Vec<_> = (0..4).map(|n| bump("a1", 6 + n, &n.to_string())).collect();
        assert!(client.mutate_many(table(), bumps).await.iter().all(Result::is_ok));
        assert_eq!(held(&fake, "a1"), ("3".into(), 4), "{fault:?}");
        assert_eq!(fake.complaints(), Vec::<String>::new());
    }
}

/// Goal: rows go out ascending, whatever order they came in, and a call holds no more than it may. Method: rows backwards;
/// what the servers saw.
#[tokio::test]
async fn batches_ascend_and_are_bounded() {
    let fake = cluster();
    let mut settings = settings(&fake);
    settings.rows_per_call = 7;
    let client = Client::new(settings).unwrap();
    let many: Vec<String> = rows().iter().flat_map(|row| (0..9).map(move |n| format!("{row}-{n}"))).rev().collect();
    assert!(client.put_many(table(), many.iter().map(|row| put(row, 1, "x")).collect()).await.iter().all(Result::is_ok));
    assert!(client.mutate_many(table(), many.iter().map(|row| bump(row, 2, "y")).collect()).await.iter().all(Result::is_ok));
    let calls: Vec<_> = fake.seen().into_iter().filter(|s| s.method == "Multi").collect();
    assert!(calls.iter().all(|call| call.rows.is_sorted() && call.rows.len() <= 14), "{calls:?}");
    assert!(calls.len() >= 2 * many.len() / 14);
    assert!(many.iter().all(|row| held(&fake, row) == ("y".into(), 1)));
}

/// Goal: a server that asks for less gets less. Method: how many calls are in flight when all are held, before and after a
/// refusal.
#[tokio::test]
async fn a_window_halves_when_a_server_asks_for_less() {
    for (refusal, wide) in
        [(None, 8), (Some(Fault::Fail("CallQueueTooBigException")), 4), (Some(Fault::FailRegion("RegionTooBusyException")), 4)]
    {
        let fake = FakeHbase::start(1, 3);
        fake.create_table(TABLE, &["cf", "m"], &[]);
        let mut settings = settings(&fake);
        (settings.rows_per_call, settings.call_timeout) = (1, Duration::from_secs(30));
        let client = Client::new(settings).unwrap();
        if let Some(refusal) = refusal.clone() {
            fake.script(When::next("Multi"), refusal);
        }
        assert!(client.put_many(table(), vec![put("a", 1, "x")]).await[0].is_ok());
        let gate = Gate::shut();
        fake.script(When::next("Multi").times(64), Fault::Hold(gate.clone()));
        let many: Vec<String> = (0..64).map(|n| format!("{n:02}")).collect();
        let writing = client.put_many(table(), many.iter().map(|row| put(row, 2, "y")).collect());
        let watching = async {
            fake.until("the window is full", |fake| fake.in_flight(0).0 >= wide).await;
            let most = fake.in_flight(0).1;
            gate.open();
            most
        };
        let (outcomes, most) = tokio::join!(writing, watching);
        assert_eq!(most, wide, "{refusal:?}");
        assert!(outcomes.iter().all(Result::is_ok));
        assert!(many.iter().all(|row| held(&fake, row).0 == "y"));
    }
}

/// Goal: tables are made once, described as they are, flushed, dropped. Method: the admin calls in their order.
#[tokio::test]
async fn tables_are_made_and_looked_at() {
    let fake = FakeHbase::start(2, 1);
    let client = client(&fake);
    let name = TableName::parse("mine:wide").unwrap();
    assert_eq!(client.describe_table(&name).await.unwrap(), None);
    assert_eq!(client.table_state(&name).await.unwrap(), None);
    let families = vec![FamilyDescriptor::new("cf").with("BLOOMFILTER", "ROW"), FamilyDescriptor::new("m")];
    let wanted = TableDescriptor { name: name.clone(), families, attributes: Default::default() };
    let splits = [Bytes::from("4"), Bytes::from("8")];
    assert!(matches!(client.ensure_table(&wanted, &splits).await.unwrap(), Ensured::Created));
    assert_eq!((fake.tables(), client.region_count(&name).await.unwrap()), (vec!["mine:wide".to_owned()], 3));
    let again = client.ensure_table(&wanted, &splits).await.unwrap();
    assert!(matches!(again, Ensured::Existed { differences } if differences.is_empty()));
    let more = TableDescriptor { families: vec![FamilyDescriptor::new("cf").with("VERSIONS", "3")], ..wanted.clone() };
    let differs = client.ensure_table(&more, &splits).await.unwrap();
    assert!(matches!(differs, Ensured::Existed { differences } if differences.len() == 1));
    assert_eq!(client.describe_table(&name).await.unwrap(), Some(wanted));
    assert_eq!(client.table_state(&name).await.unwrap(), Some(TableState::Enabled));
    client.flush_table(&name).await.unwrap();
    let status = client.cluster().await.unwrap();
    assert_eq!((status.version.as_str(), status.servers.len(), status.dead), ("2.6.4-fake", 2, 0));
    client.drop_table(&name).await.unwrap();
    assert!(fake.tables().is_empty());
    assert_eq!(client.put_many(&name, vec![put("a", 1, "x")]).await[0].as_ref().unwrap_err().class, Class::NoTable);
}

/// Goal: a master that goes and comes back only delays. Method: gone under a description, back at once; data never stops.
#[tokio::test]
async fn a_master_that_restarts_is_waited_for() {
    let fake = cluster();
    let client = client(&fake);
    assert!(client.describe_table(table()).await.unwrap().is_some());
    fake.kill_master();
    put_all(&client, 1).await;
    let asking = client.describe_table(table());
    let returning = async {
        // The registry is asked for the master once more when the old one is found gone.
        fake.until("the master is looked for", |fake| fake.seen().iter().filter(|s| s.method == "GetActiveMaster").count() > 2)
            .await;
        fake.revive_master();
    };
    let (described, ()) = tokio::join!(asking, returning);
    assert!(described.unwrap().is_some());
}

/// Goal: a flush makes what was written safe, logged or not. Method: unlogged puts, flush, death.
#[tokio::test]
async fn what_was_flushed_survives() {
    let fake = cluster();
    let client = client(&fake);
    let mut unlogged = widerow::io::hbase::types::Put::new("a1", Durability::Skip).unwrap();
    unlogged.cell(b"cf", b"q", 1, b"kept").unwrap();
    assert!(client.put_many(table(), vec![unlogged]).await[0].is_ok());
    client.flush_table(table()).await.unwrap();
    let mut lost = widerow::io::hbase::types::Put::new("a2", Durability::Skip).unwrap();
    lost.cell(b"cf", b"q", 1, b"lost").unwrap();
    assert!(client.put_many(table(), vec![lost]).await[0].is_ok());
    fake.kill(0);
    fake.revive(0);
    assert_eq!((held(&fake, "a1").0.as_str(), held(&fake, "a2").0.as_str()), ("kept", ""));
}

/// Goal: conditions and time ranges mean what they say. Method: a table of conditions on one row with one cell.
#[tokio::test]
async fn conditions_hold_or_not() {
    let fake = cluster();
    let client = client(&fake);
    fake.write(TABLE, "a1", "cf", "q", 10, "m");
    let cf = || (Bytes::from("cf"), Bytes::from("q"));
    let absent = |time_range| {
        let (family, qualifier) = cf();
        Condition::Absent { family, qualifier, time_range }
    };
    let value = |compare, value: &'static str| {
        let (family, qualifier) = cf();
        Condition::Value { family, qualifier, compare, value: value.into(), time_range: None }
    };
    for (condition, holds) in [
        (absent(None), false),
        (absent(Some(TimeRange { from: 11, to: i64::MAX })), true),
        (absent(Some(TimeRange { from: 10, to: 11 })), false),
        (value(Compare::Equal, "m"), true),
        (value(Compare::NotEqual, "m"), false),
        (value(Compare::Less, "a"), true),
        (value(Compare::Greater, "a"), false),
        (value(Compare::GreaterOrEqual, "z"), true),
    ] {
        let mut mutations = widerow::io::hbase::types::RowMutations::new("a1").unwrap();
        mutations.delete(Durability::Sync, CellType::DeleteColumn, b"m", b"none", 1).unwrap();
        mutations.increment(Durability::Sync, b"m", b"n", 1).unwrap();
        let before = held(&fake, "a1").1;
        let check = CheckAndMutate { condition: condition.clone(), mutations };
        assert_eq!(client.check_and_mutate(table(), check).await.unwrap(), holds, "{condition:?}");
        assert_eq!(held(&fake, "a1").1 - before, i64::from(holds), "{condition:?}");
    }
}

/// Goal: pages of a scan meet, whatever their size, parts and heartbeats. Method: page sizes over rows cut into parts, with a
/// split and a lost scanner between pages; columns and bounds.
#[tokio::test]
async fn pages_meet() {
    let fake = cluster();
    let client = client(&fake);
    for row in rows() {
        for (q, stamp) in [("x", 1), ("y", 2), ("z", 3)] {
            fake.write(TABLE, &row, "cf", q, stamp, &row);
        }
    }
    fake.limit(|limits| (limits.scan_cells, limits.heartbeats) = (4, true));
    for size in 1..=13 {
        let mut scan = Scan::from("", size);
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = client.scan(table(), &scan).await.unwrap();
            assert!(page.rows.len() <= size && page.rows.iter().all(|cells| cells.len() == 3), "{page:?}");
            found.extend(page.rows.iter().map(|cells| String::from_utf8(cells[0].row.to_vec()).unwrap()));
            pages += 1;
            match (pages, size) {
                (2, 3) => assert!(fake.split(TABLE, "b2")),
                (2, 4) => fake.script(When::next("Scan").on(TABLE), Fault::Fail("UnknownScannerException")),
                _ => {}
            }
            let Some(next) = page.next else { break };
            scan.start = next;
        }
        assert_eq!(found, rows(), "page size {size}");
        assert!(pages >= rows().len() / size);
    }
    let columns = vec![Columns { family: "cf".into(), qualifiers: vec!["y".into()] }];
    let some = Scan { stop: "c1".into(), columns: columns.clone(), ..Scan::from("a2", 100) };
    let page = client.scan(table(), &some).await.unwrap();
    assert_eq!(
        page.rows.iter().map(|cells| (cells.len(), &cells[0].row[..])).collect::<Vec<_>>(),
        [(1, &b"a2"[..]), (1, b"b0"), (1, b"b1"), (1, b"b2"), (1, b"c0")]
    );
    let narrow = Get { columns, time_range: Some(TimeRange { from: 0, to: 2 }), ..get("a1") };
    assert!(client.get(table(), narrow).await.unwrap().is_empty());
}
