//! Everything that reads bytes of the other side, each as a function of bytes alone: the targets of fuzzing. Not for use.
//!
//! A reader answers whether it took the bytes. None may panic, whatever they are, nor use memory beyond a fixed multiple of
//! their number.

use super::cell::CellReader;
use super::error::Error;
use super::frame::{self, FrameReader, Reply};
use super::locator::{self, Region};
use super::multi::{self, Entry, Item, Section};
use super::pb;
use super::registry::Life;
use super::scanner;
use super::types::{Address, Durability, Get, Put, RowMutations};
use bytes::Bytes;
use futures_util::FutureExt;
use prost::Message;
use std::sync::Arc;

/// Takes bytes; says whether they were what it reads.
pub type Reader = fn(&[u8]) -> bool;

/// Each reader under its name.
pub const READERS: [(&str, Reader); 9] = [
    ("frames", frames),
    ("greeting", greeting),
    ("request", request),
    ("cells", cells),
    ("gets", gets),
    ("writes", writes),
    ("scan", scan),
    ("meta", meta),
    ("exception", exception),
];

/// Rows of the calls whose replies are read.
const ROWS: [&str; 3] = ["a", "b", "c"];
/// The longest frame these readers take.
const FRAME_BYTES: usize = 1 << 20;

/// A stream of replies, as a socket gives them.
fn frames(bytes: &[u8]) -> bool {
    let mut reader = FrameReader::new(bytes, FRAME_BYTES);
    loop {
        // Bytes in memory are always ready.
        let Some(Ok(frame)) = reader.next().now_or_never() else { return false };
        match frame.map(frame::split_reply) {
            None => return true,
            Some(Ok(_)) => {}
            Some(Err(_)) => return false,
        }
    }
}

fn greeting(bytes: &[u8]) -> bool {
    FrameReader::new(bytes, FRAME_BYTES).greeting().now_or_never().is_some_and(|greeting| greeting.is_ok())
}

fn request(bytes: &[u8]) -> bool {
    frame::split_request(Bytes::copy_from_slice(bytes)).is_ok()
}

fn cells(bytes: &[u8]) -> bool {
    let mut reader = CellReader::new(Bytes::copy_from_slice(bytes));
    // A count is the other side's word, and may be any.
    let _ = reader.clone().take(usize::MAX);
    while let Ok(Some(_)) = reader.next_cell() {}
    reader.is_empty()
}

fn reply(bytes: &[u8]) -> Option<Reply> {
    frame::split_reply(Bytes::copy_from_slice(bytes)).ok()
}

fn gets(bytes: &[u8]) -> bool {
    multi(bytes, &ROWS.map(|row| Item::Get(Get::new(row))))
}

fn writes(bytes: &[u8]) -> bool {
    let mut items = Vec::new();
    for row in ROWS {
        let (Ok(mut put), Ok(mut bump)) = (Put::new(row, Durability::Sync), RowMutations::new(row)) else { return false };
        let made = put.cell(b"f", b"q", 1, b"v").and_then(|()| bump.increment(Durability::Sync, b"f", b"n", 1));
        if made.is_err() {
            return false;
        }
        items.extend([Item::Put(put), Item::Mutate(bump, None)]);
    }
    // Rows that share an action come first.
    items.sort_by_key(|item| item.counts());
    multi(bytes, &items)
}

/// A reply to a call for these rows: those that share an action in one section, the others in one of their own.
fn multi(bytes: &[u8], items: &[Item]) -> bool {
    let server = Life { address: Address { host: "server".to_owned(), port: 1 }, start_code: 1 };
    let name = Bytes::from_static(b"t,,1.");
    let region = Arc::new(Region { name, start: Bytes::new(), end: Bytes::new(), region_id: 1, server });
    let entries: Vec<Entry<'_>> = items.iter().map(|item| Entry { item, nonce: 0 }).collect();
    let shared = items.iter().filter(|item| !item.counts()).count();
    let ranges = [0..shared, shared..items.len()].into_iter().filter(|rows| !rows.is_empty());
    let sections: Vec<Section> = ranges.map(|rows| Section { region: Arc::clone(&region), rows }).collect();
    reply(bytes).is_some_and(|reply| multi::outcomes(&entries, &sections, reply, "here").is_ok())
}

fn scan(bytes: &[u8]) -> bool {
    reply(bytes).is_some_and(|reply| scanner::read(reply).is_ok())
}

/// A row of meta after another, and what the registry answers.
fn meta(bytes: &[u8]) -> bool {
    let servers = |name: Option<&pb::ServerName>| name.and_then(Life::from_pb).is_some();
    let master = pb::GetActiveMasterResponse::decode(bytes).is_ok_and(|reply| servers(reply.server_name.as_ref()));
    let places = pb::GetMetaRegionLocationsResponse::decode(bytes);
    let meta = places.is_ok_and(|reply| reply.meta_locations.iter().any(|place| servers(place.server_name.as_ref())));
    let rows = reply(bytes).and_then(|reply| locator::read_rows(reply).ok());
    master || meta || rows.is_some_and(|rows| rows.iter().any(|cells| locator::region_of(cells).is_some()))
}

/// An exception as a header carries it, and as a batch does.
fn exception(bytes: &[u8]) -> bool {
    let whole = pb::ExceptionResponse::decode(bytes).map(|exception| Error::from_exception("here", &exception));
    let part = pb::NameBytesPair::decode(bytes).map(|pair| Error::from_pair("here", &pair));
    let _ = Error::from_java("here", "java.io.IOException", &String::from_utf8_lossy(bytes));
    whole.is_ok() || part.is_ok()
}
