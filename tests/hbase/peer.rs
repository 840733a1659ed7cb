//! Ours and HBase's own client read what the other wrote, on a real server.

use crate::peer_process::Peer;
use crate::servers;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::types::{Durability, FamilyDescriptor, Put, RowMutations, Scan, TableDescriptor, TableName};

type Written = (String, String, String, i64, Vec<u8>);

fn written(cell: &Cell) -> Written {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&cell.row), text(&cell.family), text(&cell.qualifier), cell.timestamp, cell.value.to_vec())
}

/// Goal: cells mean the same to both. Method: each writes its half, keys and values of all kinds among them; both read all.
#[tokio::test]
async fn both_clients_read_what_the_other_wrote() {
    let server = servers::shared(servers::Kind::Hbase);
    let client = Client::new(ClientSettings::new(server.addresses()[..2].to_vec())).unwrap();
    let name = TableName::parse("peer_check").unwrap();
    let families = vec![FamilyDescriptor::new("cf"), FamilyDescriptor::new("m")];
    let wanted = TableDescriptor { name: name.clone(), families, attributes: Default::default() };
    client.ensure_table(&wanted, &["m".into()]).await.unwrap();
    let cells: Vec<Written> = [
        ("0001:1", "cf", "trade.orders:amount:1", 17, &b"8.80"[..]),
        ("0001:1", "cf", "trade.orders:note:1", (3 << 44) + 9, b"\0"),
        ("0001:1", "m", "k:order_no", 1, "门店".as_bytes()),
        ("门店,1", "cf", "item:#del:2%2C3", 0, b"1740000000000"),
        ("zz", "cf", "", i64::MAX - 1, b""),
        ("zz", "cf", "long", 5, &[b'x'; 3000]),
    ]
    .map(|(row, family, qualifier, stamp, value)| (row.into(), family.into(), qualifier.into(), stamp, value.to_vec()))
    .into();
    let mut peer = Peer::start(&server.addresses()[..2], "peer_check");
    for (n, (row, family, qualifier, stamp, value)) in cells.iter().enumerate() {
        if n % 2 == 0 {
            let mut put = Put::new(row.clone(), Durability::Sync).unwrap();
            put.cell(family.as_bytes(), qualifier.as_bytes(), *stamp, value).unwrap();
            client.put_many(&name, vec![put]).await.remove(0).unwrap();
        } else {
            let answer = peer.ask(&["write", row, family, qualifier, &stamp.to_string(), &STANDARD.encode(value)]);
            assert_eq!(answer, ["ok"]);
        }
    }
    let mut bump = RowMutations::new("zzz").unwrap();
    bump.increment(Durability::Sync, b"m", b"counter", 41).unwrap();
    client.mutate_many(&name, vec![bump]).await.remove(0).unwrap();
    let ours: Vec<Written> = client.scan(&name, &Scan::from("", 100)).await.unwrap().rows.iter().flatten().map(written).collect();
    let mut theirs: Vec<Written> = Vec::new();
    let mut line = peer.ask(&["read"]);
    while let [_, row, family, qualifier, stamp, value] = &line[..] {
        let (stamp, value) = (stamp.parse().unwrap(), STANDARD.decode(value).unwrap());
        theirs.push((row.clone(), family.clone(), qualifier.clone(), stamp, value));
        line = peer.answer();
    }
    assert_eq!(line, ["end"]);
    assert_eq!(ours, theirs);
    let (counters, mut ours): (Vec<Written>, Vec<Written>) = ours.into_iter().partition(|cell| cell.0 == "zzz");
    assert_eq!(counters.iter().map(|c| c.4.as_slice()).collect::<Vec<_>>(), [41i64.to_be_bytes()]);
    let mut wanted = cells;
    ours.sort();
    wanted.sort();
    assert_eq!(ours, wanted);
}
