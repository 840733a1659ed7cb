//! The fake's own rules, each as sources and trials of a real server have them.

use crate::fake_hbase::{FakeHbase, Fault, When};
use crate::wire::{Block, Wire, action, get, region_action, shown};
use bytes::Bytes;
use widerow::io::hbase::cell::{CellReader, CellType};
use widerow::io::hbase::frame::Service;
use widerow::io::hbase::pb;

fn fake() -> (FakeHbase, Wire, Bytes) {
    let fake = FakeHbase::start(1, 1);
    fake.create_table("t", &["cf", "m"], &[]);
    let mut wire = Wire::open(&fake.addresses()[1], Service::Client);
    let region = wire.regions("t").remove(0);
    (fake, wire, region)
}

fn multi(wire: &mut Wire, actions: Vec<pb::RegionAction>, block: &Block) -> (pb::MultiResponse, Bytes) {
    let request = pb::MultiRequest { region_action: actions, nonce_group: Some(1) };
    wire.call("Multi", &request, block.0.bytes()).unwrap()
}

/// Goal: the registry tells where meta and master are. Method: all four questions, to master and region server.
#[test]
fn any_server_tells_where_things_are() {
    let fake = FakeHbase::start(2, 1);
    for address in fake.addresses() {
        let mut wire = Wire::open(&address, Service::Registry);
        let (meta, _): (pb::GetMetaRegionLocationsResponse, _) = wire.call("GetMetaRegionLocations", &pb::Empty {}, &[]).unwrap();
        let server = meta.meta_locations[0].server_name.clone().unwrap();
        assert_eq!(format!("{}:{}", server.host_name, server.port.unwrap()), fake.addresses()[1]);
        let (master, _): (pb::GetActiveMasterResponse, _) = wire.call("GetActiveMaster", &pb::Empty {}, &[]).unwrap();
        assert_eq!(master.server_name.unwrap().port.unwrap().to_string(), fake.addresses()[0].rsplit(':').next().unwrap());
        let (nodes, _): (pb::GetBootstrapNodesResponse, _) = wire.call("GetBootstrapNodes", &pb::Empty {}, &[]).unwrap();
        assert_eq!(nodes.server_name.len(), 2);
    }
}

/// Goal: a plain action's puts are held back, sorted, and a get between them does not see them. Method: puts out of order
/// with a get, then a get in an action of its own.
#[test]
fn puts_are_held_back_and_answers_come_in_their_order() {
    let (fake, mut wire, region) = fake();
    let mut block = Block::default();
    let actions = vec![action(1, block.put("b", 5, "x")), get(2, "b"), action(3, block.put("a", 5, "y"))];
    let later = vec![get(1, "b")];
    let (reply, cells) =
        multi(&mut wire, vec![region_action(&region, false, actions), region_action(&region, false, later)], &block);
    let first: Vec<u32> = reply.region_action_result[0].result_or_exception.iter().map(|r| r.index.unwrap()).collect();
    assert_eq!(first, [2, 3, 1]);
    let counts = |n: usize| reply.region_action_result[n].result_or_exception[0].result.as_ref().unwrap().associated_cell_count;
    assert_eq!((counts(0), counts(1)), (Some(0), Some(1)));
    assert_eq!(shown(&CellReader::new(cells).take(1).unwrap()), ["q@5=x"]);
    assert_eq!(fake.complaints().len(), 1, "{:?}", fake.complaints());
}

/// Goal: an atomic action is all or nothing, tells increments inline in the first entry, and loses the second increment of
/// one cell. Method: two rows; a bad family in the middle; the same row twice; a get.
#[test]
fn atomic_actions_are_all_or_nothing() {
    let (fake, mut wire, region) = fake();
    let mut block = Block::default();
    let actions =
        vec![action(7, block.put("a", 5, "x")), action(8, block.increment("a", None)), action(9, block.increment("b", None))];
    let (reply, cells) = multi(&mut wire, vec![region_action(&region, true, actions)], &block);
    let entries = &reply.region_action_result[0].result_or_exception;
    assert_eq!(entries.iter().map(|e| e.index.unwrap()).collect::<Vec<_>>(), [0, 1, 2], "positions, not our indexes");
    assert_eq!(entries[0].result.as_ref().unwrap().cell.len(), 2);
    assert!(cells.is_empty() && reply.region_action_result[0].processed == Some(true));

    let mut block = Block::default();
    let bad = block.mutation(2, 3, None, &[("b", "none", "q", 6, CellType::Put, b"x")]);
    let good = block.put("a", 6, "y");
    let failed = multi(&mut wire, vec![region_action(&region, true, vec![action(0, bad), action(1, good)])], &block).0;
    let exception = failed.region_action_result[0].exception.clone().unwrap();
    assert!(exception.name.ends_with("regionserver.NoSuchColumnFamilyException"));
    assert_eq!(shown(&fake.row("t", "a")), ["q@5=x", "n=1"]);

    let mut block = Block::default();
    let twice = vec![action(0, block.increment("a", None)), action(1, block.increment("a", None))];
    multi(&mut wire, vec![region_action(&region, true, twice)], &block);
    assert_eq!(shown(&fake.row("t", "a")), ["q@5=x", "n=2"], "one of the two is lost");

    let refused = multi(&mut wire, vec![region_action(&region, true, vec![get(0, "a")])], &Block::default()).0;
    assert!(refused.region_action_result[0].exception.is_some());
}

/// Goal: nonces. Method: one atomic action sent twice with one nonce; then after a crash of the server, and after a move.
#[test]
fn a_nonce_counts_once_in_a_servers_life_and_over_its_crash() {
    let fake = FakeHbase::start(2, 1);
    fake.create_table("t", &["cf", "m"], &[]);
    let open = |n: usize| Wire::open(&fake.addresses()[n], Service::Client);
    let mut wire = open(1);
    let region = wire.regions("t").remove(0);
    let mut block = Block::default();
    let actions = vec![action(0, block.put("a", 5, "x")), action(1, block.increment("a", Some(7)))];
    let send = |wire: &mut Wire| multi(wire, vec![region_action(&region, true, actions.clone())], &block);
    send(&mut wire);
    send(&mut wire);
    assert_eq!(shown(&fake.row("t", "a")), ["q@5=x", "n=1"]);
    fake.kill(0);
    assert!(wire.reply().is_none(), "the connection is gone");
    fake.revive(0);
    send(&mut open(1));
    assert_eq!(shown(&fake.row("t", "a")), ["q@5=x", "n=1"]);
    assert!(fake.move_region("t", "a", 1));
    let moved = send(&mut open(1)).0.region_action_result[0].exception.clone().unwrap();
    assert!(moved.name.ends_with("exceptions.RegionMovedException"), "{}", moved.name);
    send(&mut open(2));
    assert_eq!(shown(&fake.row("t", "a")), ["q@5=x", "n=2"], "nonces do not move along");
}

/// Goal: what a crash takes. Method: one row per durability, and an asynchronous one before and after a synced one.
#[test]
fn a_crash_takes_what_is_neither_flushed_nor_logged() {
    let (fake, mut wire, region) = fake();
    let write = |wire: &mut Wire, row: &str, durability| {
        let mut block = Block::default();
        let put = block.mutation(2, durability, None, &[(row, "cf", "q", 1, CellType::Put, b"x")]);
        multi(wire, vec![region_action(&region, false, vec![action(0, put)])], &block);
    };
    write(&mut wire, "flushed", 1);
    fake.flush("t");
    for (row, durability) in [("skip", 1), ("early", 2), ("sync", 3), ("late", 2)] {
        write(&mut wire, row, durability);
    }
    fake.kill(0);
    fake.revive(0);
    let held = |row: &str| !fake.row("t", row).is_empty();
    assert_eq!(["flushed", "skip", "early", "sync", "late"].map(held), [true, false, true, true, false]);
}

/// Goal: timestamps and markers. Method: a table of writes with what a reader sees after each, and after a compaction.
#[test]
fn the_highest_timestamp_answers_and_markers_hide() {
    use CellType::{Delete, DeleteColumn, DeleteFamily, Put};
    let (fake, mut wire, region) = fake();
    for (stamp, kind, value, seen) in [
        (5, Put, "five", "q@5=five"),
        (3, Put, "three", "q@5=five"),
        (5, Put, "again", "q@5=again"),
        (5, Delete, "", "q@3=three"),
        (4, DeleteColumn, "", ""),
        (4, Put, "four", ""),
        (6, Put, "six", "q@6=six"),
        (7, DeleteFamily, "", ""),
        (7, Put, "seven", ""),
        (8, Put, "eight", "q@8=eight"),
        (8, DeleteFamily, "", ""),
    ] {
        let mut block = Block::default();
        let mutation = if kind == Put { 2 } else { 3 };
        let mutation = block.mutation(mutation, 3, None, &[("a", "cf", "q", stamp, kind, value.as_bytes())]);
        multi(&mut wire, vec![region_action(&region, false, vec![action(0, mutation)])], &block);
        assert_eq!(shown(&fake.row("t", "a")).join(" "), seen, "after {kind:?} at {stamp}");
    }
    fake.compact("t");
    assert!(fake.row("t", "a").is_empty());
    let mut block = Block::default();
    let late = block.put("a", 2, "two");
    multi(&mut wire, vec![region_action(&region, false, vec![action(0, late)])], &block);
    assert_eq!(shown(&fake.row("t", "a")), ["q@2=two"], "a compaction took the markers");
}

/// Goal: splits and merges show in meta and hold rows. Method: names, parents and a put to the parent before and after.
#[test]
fn regions_split_and_merge() {
    let (fake, mut wire, parent) = fake();
    assert!(fake.split("t", "m,x"));
    assert!(!fake.split("t", "m,x"), "no region splits at its own start");
    assert_eq!(wire.regions("t").len(), 3, "the parent stays in meta");
    let mut block = Block::default();
    let put = block.put("a", 1, "x");
    let failed = multi(&mut wire, vec![region_action(&parent, false, vec![action(0, put)])], &block).0;
    assert!(failed.region_action_result[0].exception.as_ref().unwrap().name.ends_with("NotServingRegionException"));
    let low = wire.regions("t")[1].clone();
    let mut block = Block::default();
    let put = block.put("a", 1, "x");
    multi(&mut wire, vec![region_action(&low, false, vec![action(0, put)])], &block);
    assert!(fake.merge("t", "a"));
    assert_eq!((fake.regions("t"), fake.row("t", "a").len()), (1, 1));
}

/// Goal: a scan's answers. Method: rows cut into parts, a limit, heartbeats, sequence numbers, the end of a region.
#[test]
fn scanners_keep_their_place() {
    let (fake, mut wire, region) = fake();
    let mut block = Block::default();
    let wide = |row: &'static str| [("x", 1), ("y", 2), ("z", 3)].map(|(q, s)| (row, "cf", q, s, CellType::Put, &b"v"[..]));
    let rows = ["a", "b", "c"].map(|row| action(0, block.mutation(2, 3, None, &wide(row))));
    multi(&mut wire, vec![region_action(&region, false, rows.into())], &block);
    fake.limit(|limits| (limits.scan_cells, limits.heartbeats) = (2, true));
    let mut request = pb::ScanRequest {
        region: Some(pb::RegionSpecifier::named(region.clone())),
        scan: Some(pb::Scan::default()),
        number_of_rows: Some(10),
        client_handles_partials: Some(true),
        client_handles_heartbeats: Some(true),
        ..Default::default()
    };
    let (mut found, mut beats, mut calls) = (Vec::new(), 0, 0u64);
    loop {
        let (reply, cells): (pb::ScanResponse, _) = wire.call("Scan", &request, &[]).unwrap();
        let mut reader = CellReader::new(cells);
        for (count, partial) in reply.cells_per_result.iter().zip(&reply.partial_flag_per_result) {
            found.push((reader.take(*count as usize).unwrap().len(), *partial));
        }
        beats += usize::from(reply.heartbeat_message == Some(true));
        if reply.more_results_in_region == Some(false) {
            assert_eq!(reply.more_results, Some(false), "the only region ends the scan");
            break;
        }
        request =
            pb::ScanRequest { region: None, scan: None, scanner_id: reply.scanner_id, next_call_seq: Some(calls), ..request };
        calls += 1;
    }
    assert_eq!(found.iter().map(|f| f.0).sum::<usize>(), 9);
    assert!(found.iter().any(|f| f.1) && beats > 0, "{found:?}");
    let open = pb::ScanRequest {
        region: Some(pb::RegionSpecifier::named(region)),
        scan: Some(pb::Scan::default()),
        number_of_rows: Some(1),
        ..Default::default()
    };
    let (reply, _): (pb::ScanResponse, _) = wire.call("Scan", &open, &[]).unwrap();
    let next =
        pb::ScanRequest { scanner_id: reply.scanner_id, number_of_rows: Some(1), next_call_seq: Some(5), ..Default::default() };
    let wrong = wire.call::<pb::ScanResponse>("Scan", &next, &[]).unwrap_err();
    assert!(wrong.ends_with("OutOfOrderScannerNextException"), "{wrong}");
}

/// Goal: scripted faults meet the calls they name. Method: a table of faults with what the socket shows; the call after works.
#[test]
fn faults_do_what_they_say() {
    let (fake, _, region) = fake();
    for (n, (fault, shows, done)) in [
        (Fault::DropReply, "nothing", true),
        (Fault::DropCall, "nothing", false),
        (Fault::CloseBefore, "closed", false),
        (Fault::CloseAfter, "closed", true),
        (Fault::CloseMidFrame, "closed", true),
        (Fault::Fail("CallQueueTooBigException"), "exception", false),
        (Fault::FailRegion("RegionTooBusyException"), "answer", false),
    ]
    .into_iter()
    .enumerate()
    {
        let row = format!("row{n}");
        let mut wire = Wire::open(&fake.addresses()[1], Service::Client);
        fake.script(When::next("Multi").on("t").after(1), fault.clone());
        for row in ["other", &row] {
            let mut block = Block::default();
            let put = block.put(row, 1, "x");
            let request =
                pb::MultiRequest { region_action: vec![region_action(&region, false, vec![action(0, put)])], nonce_group: None };
            wire.send("Multi", &request, block.0.bytes());
            if row == "other" {
                wire.reply().unwrap();
            }
        }
        // A call whose answer never comes is followed by one that is answered.
        let shown = if shows == "nothing" {
            wire.send("Get", &pb::GetRequest { region: pb::RegionSpecifier::named(region.clone()), ..Default::default() }, &[]);
            if wire.reply().unwrap().header.call_id == Some(3) { "nothing" } else { "answer" }
        } else {
            wire.reply().map_or("closed", |r| if r.header.exception.is_some() { "exception" } else { "answer" })
        };
        assert_eq!((shown, !fake.row("t", &row).is_empty()), (shows, done), "{fault:?}");
    }
    assert_eq!(fake.faults_met().len(), 7);
}
