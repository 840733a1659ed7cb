//! The memory of regions, and rows of meta as regions.

use super::*;
use crate::io::hbase::cell::CellType;
use proptest::prelude::*;

fn region(start: &[u8], end: &[u8], region_id: u64) -> Region {
    let name = Bytes::from(format!("t,{},{region_id}.", String::from_utf8_lossy(start)));
    let server = Life { address: Address { host: "rs".into(), port: 1 }, start_code: 1 };
    Region { name, start: Bytes::copy_from_slice(start), end: Bytes::copy_from_slice(end), region_id, server }
}

/// Goal: splits and merges heal by themselves, and an old entry never displaces a newer one. Method: a table's life.
#[test]
fn newer_regions_displace_older_ones() {
    let mut regions = Regions::default();
    let mut put = |start: &[u8], end: &[u8], id| {
        regions.insert(Arc::new(region(start, end, id)));
        let ids: Vec<Option<u64>> =
            ["", "c", "m", "x"].iter().map(|row| regions.find(row.as_bytes()).map(|r| r.region_id)).collect();
        ids
    };
    assert_eq!(put(b"", b"m", 1), [Some(1), Some(1), None, None]);
    assert_eq!(put(b"m", b"", 1), [Some(1), Some(1), Some(1), Some(1)]);
    assert_eq!(put(b"", b"c", 2), [Some(2), None, Some(1), Some(1)]);
    assert_eq!(put(b"", b"m", 1), [Some(2), None, Some(1), Some(1)], "the parent comes late");
    assert_eq!(put(b"c", b"m", 2), [Some(2), Some(2), Some(1), Some(1)]);
    assert_eq!(put(b"c", b"", 3), [Some(2), Some(3), Some(3), Some(3)]);
    assert_eq!(put(b"", b"", 4), [Some(4); 4]);
}

proptest! {
    /// Goal: no two remembered regions overlap, and a found one holds the row. Method: any regions in any order.
    #[test]
    fn memory_is_without_overlaps(inserts in prop::collection::vec((0u8..20, 1u8..20, 0u64..5), 0..30), row in 0u8..25) {
        let mut regions = Regions::default();
        for (start, length, id) in inserts {
            let start_key: &[u8] = if start == 0 { &[] } else { &[start] };
            let end = start + length;
            let end_key: &[u8] = if end >= 20 { &[] } else { &[end] };
            regions.insert(Arc::new(region(start_key, end_key, id)));
        }
        let all: Vec<_> = regions.by_start.values().collect();
        for pair in all.windows(2) {
            prop_assert!(!pair[0].overlaps(pair[1]));
        }
        let found = regions.find(&[row]);
        prop_assert_eq!(found.is_some(), all.iter().any(|r| r.holds(&[row])));
        prop_assert!(found.is_none_or(|r| r.holds(&[row])));
    }
}

fn meta_row(info: &pb::RegionInfo, server: &str) -> Vec<Cell> {
    let cell = |qualifier: &'static str, value: Vec<u8>| Cell {
        row: Bytes::from_static(b"t,a,5.x."),
        family: Bytes::from_static(b"info"),
        qualifier: Bytes::from_static(qualifier.as_bytes()),
        timestamp: 1,
        kind: CellType::Put,
        value: value.into(),
    };
    vec![
        cell("regioninfo", [b"PBUF".to_vec(), info.encode_to_vec()].concat()),
        cell("server", server.into()),
        cell("serverstartcode", 77u64.to_be_bytes().into()),
    ]
}

/// Goal: a row of meta is read as the region it is, and only if it can be asked. Method: a good row, then each reason against it.
#[test]
fn rows_of_meta_become_regions() {
    let info = pb::RegionInfo { region_id: 5, start_key: Some(Bytes::from_static(b"a")), ..Default::default() };
    let found = region_of(&meta_row(&info, "rs.example:16020")).unwrap();
    assert_eq!((found.name, found.start, found.end, found.region_id), ("t,a,5.x.".into(), "a".into(), "".into(), 5));
    assert_eq!(found.server, Life { address: Address { host: "rs.example".into(), port: 16020 }, start_code: 77 });
    for (split, offline, replica_id, server) in [
        (Some(true), None, None, "rs:1"),
        (None, Some(true), None, "rs:1"),
        (None, None, Some(1), "rs:1"),
        (None, None, None, ""),
        (None, None, None, "rs"),
        (None, None, None, "rs:99999"),
    ] {
        let row = meta_row(&pb::RegionInfo { split, offline, replica_id, ..info.clone() }, server);
        assert_eq!(region_of(&row), None, "{server} {split:?} {offline:?} {replica_id:?}");
    }
    let mut torn = meta_row(&info, "rs:1");
    torn[0].value = torn[0].value.slice(..5);
    assert_eq!(region_of(&torn), None);
    assert_eq!(region_of(&[]), None);
}
