//! A blocking client of a few lines, for what the real one never sends.

use bytes::Bytes;
use prost::Message;
use std::io::{Read, Write};
use std::net::TcpStream;
use widerow::io::hbase::cell::{Cell, CellReader, CellRun, CellType, LATEST};
use widerow::io::hbase::frame::{Reply, Service, encode, greeting, request_header, split_reply};
use widerow::io::hbase::pb;

pub struct Wire {
    socket: TcpStream,
    calls: u32,
}

impl Wire {
    pub fn open(address: &str, service: Service) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(&greeting("test", service)).unwrap();
        Self { socket, calls: 0 }
    }

    pub fn send(&mut self, method: &str, message: &impl Message, cells: &[u8]) {
        self.calls += 1;
        let header = request_header(self.calls, method, 60_000, cells.len());
        self.socket.write_all(&encode(&header, message, [cells])).unwrap();
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next reply; `None` when the server closed.
    pub fn reply(&mut self) -> Option<Reply> {
        let mut head = [0; 4];
        self.socket.read_exact(&mut head).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(head) as usize];
        self.socket.read_exact(&mut frame).ok()?;
        Some(split_reply(frame.into()).unwrap())
    }

    pub fn call<R: Message + Default>(
        &mut self,
        method: &str,
        message: &impl Message,
        cells: &[u8],
    ) -> Result<(R, Bytes), String> {
        self.send(method, message, cells);
        let reply = self.reply().ok_or("closed")?;
        match reply.header.exception {
            Some(exception) => Err(exception.exception_class_name.unwrap_or_default()),
            None => Ok((R::decode(reply.message).unwrap(), reply.cells)),
        }
    }

    /// Names of a table's regions, by start key, from meta.
    pub fn regions(&mut self, table: &str) -> Vec<Bytes> {
        let scan = pb::Scan {
            start_row: Some(Bytes::from(format!("{table},,"))),
            stop_row: Some(Bytes::from(format!("{table} ,,"))),
            ..Default::default()
        };
        let request = pb::ScanRequest {
            region: Some(pb::RegionSpecifier::named(Bytes::from_static(b"hbase:meta,,1"))),
            scan: Some(scan),
            number_of_rows: Some(1000),
            close_scanner: Some(true),
            ..Default::default()
        };
        let (reply, cells): (pb::ScanResponse, _) = self.call("Scan", &request, &[]).unwrap();
        let mut reader = CellReader::new(cells);
        reply.cells_per_result.iter().map(|n| reader.take(*n as usize).unwrap()[0].row.clone()).collect()
    }
}

/// Row, family, qualifier, timestamp, type, value.
type Written<'a> = (&'a str, &'a str, &'a str, i64, CellType, &'a [u8]);

/// Mutations with their cells, in the order they travel.
#[derive(Default)]
pub struct Block(pub CellRun);

impl Block {
    pub fn mutation(&mut self, kind: i32, durability: i32, nonce: Option<u64>, cells: &[Written<'_>]) -> pb::MutationProto {
        for (row, family, qualifier, stamp, kind, value) in cells {
            self.0.push(row.as_bytes(), family.as_bytes(), qualifier.as_bytes(), *stamp, *kind, value).unwrap();
        }
        pb::MutationProto {
            row: Some(Bytes::copy_from_slice(cells[0].0.as_bytes())),
            mutate_type: Some(kind),
            durability: Some(durability),
            associated_cell_count: Some(cells.len() as i32),
            nonce,
            ..Default::default()
        }
    }

    pub fn put(&mut self, row: &str, stamp: i64, value: &str) -> pb::MutationProto {
        self.mutation(2, 3, None, &[(row, "cf", "q", stamp, CellType::Put, value.as_bytes())])
    }

    pub fn increment(&mut self, row: &str, nonce: Option<u64>) -> pb::MutationProto {
        self.mutation(1, 3, nonce, &[(row, "m", "n", LATEST, CellType::Put, &1i64.to_be_bytes())])
    }
}

pub fn action(index: u32, mutation: pb::MutationProto) -> pb::Action {
    pb::Action { index: Some(index), mutation: Some(mutation), get: None }
}

pub fn get(index: u32, row: &str) -> pb::Action {
    let get = pb::Get { row: Bytes::copy_from_slice(row.as_bytes()), ..Default::default() };
    pb::Action { index: Some(index), mutation: None, get: Some(get) }
}

pub fn region_action(region: &Bytes, atomic: bool, action: Vec<pb::Action>) -> pb::RegionAction {
    pb::RegionAction {
        region: pb::RegionSpecifier::named(region.clone()),
        atomic: atomic.then_some(true),
        action,
        condition: None,
    }
}

/// `qualifier@stamp=value` of each cell; counters as numbers.
pub fn shown(cells: &[Cell]) -> Vec<String> {
    let show = |c: &Cell| {
        let value = match <[u8; 8]>::try_from(&c.value[..]) {
            Ok(number) if c.family == "m"[..] => i64::from_be_bytes(number).to_string(),
            _ => String::from_utf8_lossy(&c.value).into_owned(),
        };
        let stamp = if c.family == "m"[..] { String::new() } else { format!("@{}", c.timestamp) };
        format!("{}{stamp}={value}", String::from_utf8_lossy(&c.qualifier))
    };
    cells.iter().map(show).collect()
}
