//! A scan kept open over its pages.

use crate::bench::{TABLE, client, cluster, rows, table};
use crate::fake_hbase::{FakeHbase, Fault, Gate, When};
use crate::servers;
use std::time::{Duration, Instant};
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::scanner::Scanner;
use widerow::io::hbase::types::{Columns, Durability, FamilyDescriptor, Put, Scan, TableDescriptor, TableName};

/// Twelve rows of three cells over four regions.
fn filled() -> FakeHbase {
    let fake = cluster();
    for row in rows() {
        for (q, stamp) in [("x", 1), ("y", 2), ("z", 3)] {
            fake.write(TABLE, &row, "cf", q, stamp, &row);
        }
    }
    fake
}

fn names(page: &[Vec<Cell>]) -> Vec<String> {
    page.iter().map(|cells| String::from_utf8(cells[0].row.to_vec()).unwrap()).collect()
}

async fn rest(scanner: &mut Scanner) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(page) = scanner.next().await.unwrap() {
        found.extend(names(&page));
    }
    found
}

/// Goal: pages of an open scan meet, whatever their size, parts and heartbeats, and one scanner a region does it. Method: page
/// sizes over rows cut into parts; scanners counted, each place a page ends at read from anew, a stop row, columns.
#[tokio::test]
async fn one_scanner_a_region_gives_every_page() {
    let fake = filled();
    let client = client(&fake);
    fake.limit(|limits| (limits.scan_cells, limits.heartbeats) = (4, true));
    for size in 1..=13 {
        let before = fake.scanners().1;
        let mut scanner = client.scanner(table(), Scan::from("", size));
        assert_eq!(rest(&mut scanner).await, rows(), "page size {size}");
        assert_eq!(scanner.next().await.unwrap(), None, "the end stays the end");
        assert_eq!(fake.scanners().1 - before, 4, "page size {size}: scanners opened");
        let mut scanner = client.scanner(table(), Scan::from("", size));
        let mut found = Vec::new();
        while let Some(page) = scanner.next().await.unwrap() {
            assert!(page.len() <= size && page.iter().all(|cells| cells.len() == 3), "{page:?}");
            found.extend(names(&page));
            let again = client.scan(table(), &Scan::from(scanner.position().clone(), 100)).await.unwrap();
            assert_eq!([found.clone(), names(&again.rows)].concat(), rows(), "page size {size}, from {:?}", scanner.position());
        }
    }
    assert_eq!(fake.scanners().0, 0, "every scanner came to its end");
    let columns = vec![Columns { family: "cf".into(), qualifiers: vec!["y".into()] }];
    let mut some = client.scanner(table(), Scan { stop: "c1".into(), columns, ..Scan::from("a2", 2) });
    assert_eq!(rest(&mut some).await, ["a2", "b0", "b1", "b2", "c0"]);
}

/// Goal: a slow caller's lease is renewed, and the server's scanner closed when its owner goes. Method: a told lease of 30 ms,
/// pages only after renewals were heard; scanners counted; a scanner dropped between pages.
#[tokio::test]
async fn a_slow_caller_keeps_its_scanner() {
    let fake = filled();
    fake.limit(|limits| limits.lease_ms = 30);
    let client = client(&fake);
    let mut scanner = client.scanner(table(), Scan { stop: "b".into(), ..Scan::from("", 1) });
    for row in ["a0", "a1", "a2"] {
        assert_eq!(names(&scanner.next().await.unwrap().unwrap()), [row]);
        if row != "a2" {
            let heard = fake.scanners().2;
            fake.until("three renewals", |fake| fake.scanners().2 >= heard + 3).await;
        }
    }
    assert_eq!(scanner.next().await.unwrap(), None);
    assert_eq!(fake.scanners().1, 1, "one scanner gave it all");
    let mut left = client.scanner(table(), Scan::from("", 1));
    left.next().await.unwrap();
    assert_eq!(fake.scanners().0, 1);
    drop(left);
    fake.until("the scanner is closed", |fake| fake.scanners().0 == 0).await;
}

/// Goal: whatever ends a scanner between two pages or within one, no row is lost or given twice. Method: each blow after each
/// page, rows cut into parts.
#[tokio::test]
async fn a_lost_scanner_is_opened_again_behind_the_last_row() {
    const BLOWS: [&str; 8] = ["lease", "lease unseen", "move", "split", "server", "out of step", "cut off", "dropped call"];
    for blow in BLOWS {
        for after in [1, 2, 3, 5] {
            let fake = filled();
            fake.limit(|limits| (limits.scan_cells, limits.lease_ms) = (2, if blow == "lease" { 30 } else { 60_000 }));
            let client = client(&fake);
            let mut scanner = client.scanner(table(), Scan::from("", 2));
            let mut found = Vec::new();
            for _ in 0..after {
                found.extend(names(&scanner.next().await.unwrap().unwrap()));
            }
            match blow {
                "lease" => {
                    let (open, _, heard) = fake.scanners();
                    fake.expire_scanners();
                    // Its keeper hears of it first; between two regions there is none.
                    fake.until("a refused renewal", |fake| open == 0 || fake.scanners().2 > heard).await;
                }
                "lease unseen" => fake.expire_scanners(),
                "move" => {
                    let row = found.last().unwrap().clone();
                    assert!(fake.move_region(TABLE, &row, 0) || fake.move_region(TABLE, &row, 1));
                }
                "split" => drop(fake.split(TABLE, "b1")),
                "server" => {
                    fake.kill(1);
                    fake.reassign(1);
                }
                "out of step" => fake.script(When::next("Scan"), Fault::Fail("OutOfOrderScannerNextException")),
                "cut off" => fake.script(When::next("Scan"), Fault::CloseAfter),
                _ => {
                    // The caller goes away while the server works.
                    let gate = Gate::shut();
                    fake.script(When::next("Scan"), Fault::Hold(gate.clone()));
                    tokio::select! {
                        _ = scanner.next() => panic!("answered behind a shut gate"),
                        () = fake.until("the call is held", |fake| (0..2).any(|s| fake.in_flight(s).0 > 0)) => {}
                    }
                    gate.open();
                }
            }
            found.extend(rest(&mut scanner).await);
            assert_eq!(found, rows(), "{blow} after page {after}");
        }
    }
}

/// Goal: the same on a real server: a renewed scanner outlives its lease, one that was not renewed is opened again. Method: a
/// lease of a second; a row put behind the scan's place shows whether the scanner is the first one, which must not see it; time
/// passes with puts, on the runtime that renews or on another while that one stands still.
#[test]
fn leases_of_a_real_server() {
    let server = servers::hbase_with("SCANNER_LEASE_MS", "1000");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (scanning, other) = (runtime(), runtime());
    let of = || async { Client::new(ClientSettings::new(server.addresses()[..2].to_vec())).unwrap() };
    let (client, stranger) = (scanning.block_on(of()), other.block_on(of()));
    let name = TableName::parse("leases").unwrap();
    let all: Vec<String> = (0..20).map(|n| format!("r{n:02}")).collect();
    scanning.block_on(async {
        let families = vec![FamilyDescriptor::new("cf")];
        let wanted = TableDescriptor { name: name.clone(), families, attributes: Default::default() };
        client.ensure_table(&wanted, &[]).await.unwrap();
        put_rows(&client, &name, &all).await;
    });
    for renews in [true, false] {
        let behind = [format!("z-{renews}")];
        let mut scanner = client.scanner(&name, Scan::from("", 2));
        assert_eq!(names(&scanning.block_on(scanner.next()).unwrap().unwrap()), all[..2]);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            if renews {
                scanning.block_on(put_rows(&client, &name, &behind));
            } else {
                other.block_on(put_rows(&stranger, &name, &behind));
            }
        }
        let found = scanning.block_on(rest(&mut scanner));
        assert_eq!(found[..18], all[2..], "renews: {renews}");
        assert_eq!(found.contains(&behind[0]), !renews, "renews: {renews}: {found:?}");
    }
}

async fn put_rows(client: &Client, table: &TableName, rows: &[String]) {
    let puts = rows.iter().map(|row| {
        let mut put = Put::new(row.clone(), Durability::Sync).unwrap();
        put.cell(b"cf", b"q", 1, b"v").unwrap();
        put
    });
    client.put_many(table, puts.collect()).await.into_iter().for_each(|outcome| outcome.unwrap());
}
