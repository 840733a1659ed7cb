//! The table hbase:meta, made from the regions whenever it is read; and the registry's answers.

use super::world::{HOST, World};
use bytes::Bytes;
use prost::Message;
use std::cmp::Ordering;
use widerow::io::hbase::cell::{Cell, CellType};
use widerow::io::hbase::pb;

/// A table's name as messages have it.
pub fn table_name(full: &str) -> pb::TableName {
    let (namespace, qualifier) = full.split_once(':').unwrap_or(("default", full));
    pb::TableName {
        namespace: Bytes::copy_from_slice(namespace.as_bytes()),
        qualifier: Bytes::copy_from_slice(qualifier.as_bytes()),
    }
}

/// Its full name: without the namespace `default`.
pub fn full_name(name: &pb::TableName) -> String {
    let qualifier = String::from_utf8_lossy(&name.qualifier);
    if name.namespace == "default"[..] {
        return qualifier.into_owned();
    }
    format!("{}:{qualifier}", String::from_utf8_lossy(&name.namespace))
}

/// Meta's own order: table, start key as bytes, then the rest. Plain byte order differs where a key holds a comma.
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    fn parts(key: &[u8]) -> (&[u8], bool, &[u8], &[u8]) {
        let Some(first) = key.iter().position(|b| *b == b',') else { return (key, false, b"", b"") };
        let last = key.iter().rposition(|b| *b == b',').unwrap_or(first);
        let (start, rest) = if last > first { (&key[first + 1..last], &key[last + 1..]) } else { (&key[first + 1..], &b""[..]) };
        (&key[..first], true, start, rest)
    }
    parts(a).cmp(&parts(b))
}

/// Every row of meta in its order.
pub fn rows(world: &World) -> Vec<(Bytes, Vec<Cell>)> {
    let mut out: Vec<(Bytes, Vec<Cell>)> = Vec::new();
    for (name, table) in &world.tables {
        let state = pb::TableState { state: i32::from(!table.enabled) };
        let row = Bytes::copy_from_slice(name.as_bytes());
        out.push((row.clone(), vec![cell(&row, "table", "state", state.encode_to_vec())]));
    }
    for region in &world.regions {
        let info = pb::RegionInfo {
            region_id: region.id,
            table_name: table_name(&region.table),
            start_key: Some(region.start.clone()),
            end_key: Some(region.end.clone()),
            offline: Some(region.split),
            split: Some(region.split),
            replica_id: Some(0),
        };
        let info = [&b"PBUF"[..], &info.encode_to_vec()].concat();
        let row = &region.name;
        let server = &world.servers[region.server];
        let state = match (region.split, region.opening) {
            (true, _) => "SPLIT",
            (false, true) => "OPENING",
            (false, false) => "OPEN",
        };
        let mut cells = vec![cell(row, "info", "regioninfo", info)];
        cells.push(cell(row, "info", "seqnumDuringOpen", region.seq_num.to_be_bytes().to_vec()));
        cells.push(cell(row, "info", "server", format!("{HOST}:{}", server.port).into_bytes()));
        cells.push(cell(row, "info", "serverstartcode", server.start_code.to_be_bytes().to_vec()));
        cells.push(cell(row, "info", "state", state.as_bytes().to_vec()));
        out.push((row.clone(), cells));
    }
    out.sort_by(|a, b| order(&a.0, &b.0));
    out
}

fn cell(row: &Bytes, family: &'static str, qualifier: &'static str, value: Vec<u8>) -> Cell {
    Cell {
        row: row.clone(),
        family: Bytes::from_static(family.as_bytes()),
        qualifier: Bytes::from_static(qualifier.as_bytes()),
        timestamp: 1_750_000_000_000,
        kind: CellType::Put,
        value: value.into(),
    }
}

/// What any server knows of the cluster. `None`: no such method.
pub fn registry(world: &World, method: &str) -> Option<Vec<u8>> {
    let living = || (0..world.servers.len()).filter(|s| world.servers[*s].alive).map(|s| world.server_name(s));
    Some(match method {
        "GetClusterId" => pb::GetClusterIdResponse { cluster_id: Some("5eed".into()) }.encode_to_vec(),
        "GetActiveMaster" => {
            let name = pb::ServerName {
                host_name: HOST.into(),
                port: Some(u32::from(world.master_port)),
                start_code: Some(world.master_life),
            };
            pb::GetActiveMasterResponse { server_name: world.master_alive.then_some(name) }.encode_to_vec()
        }
        "GetBootstrapNodes" => pb::GetBootstrapNodesResponse { server_name: living().collect() }.encode_to_vec(),
        "GetMetaRegionLocations" => {
            let region_info = pb::RegionInfo {
                region_id: 1,
                table_name: table_name("hbase:meta"),
                start_key: Some(Bytes::new()),
                end_key: Some(Bytes::new()),
                offline: Some(false),
                split: Some(false),
                replica_id: Some(0),
            };
            let server_name = Some(world.server_name(world.meta_server));
            let location = pb::RegionLocation { region_info, server_name, seq_num: 1 };
            pb::GetMetaRegionLocationsResponse { meta_locations: vec![location] }.encode_to_vec()
        }
        _ => return None,
    })
}
