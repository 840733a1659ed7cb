//! Every reader of the other side's bytes, on golden bytes and on what chance makes of them.
//!
//! A fixed number of mutants in every run, from a fresh seed that a failure names; `WIDEROW_FUZZ_SECONDS=600` goes on for so
//! long, `WIDEROW_FUZZ_SEED` begins where a failure began. Mutants that a reader takes join the corpus of a run, so that
//! it wanders away from the golden bytes.

use crate::fake_hbase::Dice;
use crate::memory;
use bytes::Bytes;
use prost::Message;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use widerow::io::hbase::cell::{CellRun, CellType};
use widerow::io::hbase::frame::{Service, encode, encode_header, greeting, request_header};
use widerow::io::hbase::pb;
use widerow::io::hbase::probe::{READERS, Reader};

/// Mutants of each reader when no time is given.
const MUTANTS: u64 = 4_000;
/// The longest mutant, in bytes.
const BYTES_MAX: usize = 64 << 10;
/// Inputs a reader's corpus holds at most.
const CORPUS_MAX: usize = 256;
/// A reader may hold so many times the bytes it is given, and so many more: the buffer of a socket and its next step. The
/// dearest two bytes are an empty entry in a list of messages.
const TIMES_MAX: usize = 256;
const SLACK: usize = 256 << 10;

/// Bytes that readers take, by reader.
fn golden(name: &str) -> Vec<Vec<u8>> {
    let mut run = CellRun::default();
    for (row, kind) in [("a", CellType::Put), ("b", CellType::DeleteColumn), ("c", CellType::DeleteFamily)] {
        run.push(row.as_bytes(), b"cf", b"orders:status", 17, kind, b"paid").unwrap();
    }
    let header = pb::ResponseHeader { call_id: Some(7), ..Default::default() };
    let with = |cells: &[u8]| pb::ResponseHeader {
        cell_block_meta: (!cells.is_empty()).then_some(pb::CellBlockMeta { length: Some(cells.len() as u32) }),
        ..header.clone()
    };
    let framed = |message: &pb::MultiResponse, cells: &[u8]| encode(&with(cells), message, [cells]).to_vec();
    // A reader of one frame's inside has no length before it.
    let inside = |frame: Vec<u8>| frame[4..].to_vec();
    let failed = || pb::NameBytesPair {
        name: "org.apache.hadoop.hbase.exceptions.RegionMovedException".to_owned(),
        value: Some("Region moved to: hostname=rs2 port=16020 startCode=17. As of 5.\n\tat a.b".into()),
    };
    let said = |index, result, exception| pb::ResultOrException { index: Some(index), result, exception };
    let counted = |count| pb::Result { associated_cell_count: Some(count), ..Default::default() };
    let region = |entries, exception| pb::RegionActionResult { result_or_exception: entries, exception, ..Default::default() };
    let answers = |regions| pb::MultiResponse { region_action_result: regions, ..Default::default() };
    let three = |count| (0..3).map(|n| said(n, Some(counted(count)), None)).collect::<Vec<_>>();
    let scanned = pb::ScanResponse {
        cells_per_result: vec![1, 1, 1],
        partial_flag_per_result: vec![false, true, false],
        scanner_id: Some(9),
        more_results: Some(true),
        ttl: Some(60_000),
        ..Default::default()
    };
    let refusal = pb::ExceptionResponse {
        exception_class_name: Some("org.apache.hadoop.hbase.CallQueueTooBigException".to_owned()),
        stack_trace: Some("too many\n\tat x.y(Z.java:1)".to_owned()),
        hostname: Some("rs2".to_owned()),
        port: Some(16020),
        ..Default::default()
    };
    match name {
        "frames" => {
            let refused = pb::ResponseHeader { exception: Some(refusal), ..header };
            let good = framed(&answers(vec![region(three(1), None)]), run.bytes());
            vec![[&good[..], &encode_header(&refused), &good].concat(), good]
        }
        "greeting" => vec![greeting("somebody", Service::Client).to_vec()],
        "request" => {
            let scan = pb::ScanRequest { scanner_id: Some(3), renew: Some(true), ..Default::default() };
            vec![inside(encode(&request_header(1, "Multi", 100, run.bytes().len()), &scan, [run.bytes()]).to_vec())]
        }
        "cells" => vec![run.bytes().to_vec(), run.bytes().repeat(20)],
        "gets" => {
            let mixed = vec![said(0, Some(counted(3)), None), said(1, None, Some(failed())), said(2, None, None)];
            let messages = [answers(vec![region(three(1), None)]), answers(vec![region(mixed, None)])];
            messages.iter().map(|message| inside(framed(message, run.bytes()))).collect()
        }
        "writes" => {
            let one = || region(vec![said(0, None, None)], None);
            let good = answers(vec![region(three(0), None), one(), one(), one()]);
            let moved = answers(vec![region(vec![], Some(failed())), one(), region(vec![], Some(failed())), one()]);
            [good, moved].iter().map(|message| inside(framed(message, b""))).collect()
        }
        "scan" => vec![inside(encode(&with(run.bytes()), &scanned, [run.bytes()]).to_vec())],
        "meta" => {
            let mut row = CellRun::default();
            let info = pb::RegionInfo { region_id: 5, ..Default::default() };
            let value = [b"PBUF", &info.encode_to_vec()[..]].concat();
            let start_code = 17u64.to_be_bytes();
            for (qualifier, value) in [("regioninfo", &value[..]), ("server", b"rs:16020"), ("serverstartcode", &start_code)] {
                row.push(b"t,,5.x.", b"info", qualifier.as_bytes(), 1, CellType::Put, value).unwrap();
            }
            let scanned = pb::ScanResponse { cells_per_result: vec![3], ..Default::default() };
            let name = pb::ServerName { host_name: "rs".to_owned(), port: Some(16020), start_code: Some(17) };
            let master = pb::GetActiveMasterResponse { server_name: Some(name) };
            vec![inside(encode(&with(row.bytes()), &scanned, [row.bytes()]).to_vec()), master.encode_to_vec()]
        }
        _ => vec![refusal.encode_to_vec(), failed().encode_to_vec()],
    }
}

/// One mutant of some inputs.
fn mutant(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |dice: &mut Dice| corpus[dice.below(corpus.len() as u64) as usize].clone();
    let mut bytes = pick(dice);
    for _ in 0..=dice.below(4) {
        let length = bytes.len() as u64;
        let at = dice.below(length + 1) as usize;
        let to = (at + dice.below(24) as usize).min(bytes.len());
        match dice.below(9) {
            0 if at < bytes.len() => bytes[at] = dice.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => drop(bytes.drain(at..to)),
            3 => drop(bytes.splice(at..at, (0..dice.below(9)).map(|_| 0xff))),
            // A length of four bytes, or a varint of ten.
            4 if at + 4 <= bytes.len() => {
                let lengths = [0, 1, 0x7f, 0x7fff_ffff, 0x8000_0000, u32::MAX, length as u32];
                bytes[at..at + 4].copy_from_slice(&lengths[dice.below(7) as usize].to_be_bytes());
            }
            5 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([1]))),
            // The same little piece over and over: lists of many.
            6 => {
                let piece = bytes[at..to].repeat(1 << dice.below(12));
                drop(bytes.splice(at..at, piece));
            }
            7 => {
                let other = pick(dice);
                let from = dice.below(other.len() as u64 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}; wanted is a number")))
}

/// Reads once; says whether the bytes were taken, or which promise was broken.
fn read(reader: Reader, bytes: &[u8]) -> Result<bool, String> {
    let (taken, held) = memory::most_held(|| catch_unwind(AssertUnwindSafe(|| reader(bytes))));
    let shown = || Bytes::copy_from_slice(&bytes[..bytes.len().min(512)]);
    match taken {
        Err(_) => Err(format!("a panic over {:?}", shown())),
        Ok(_) if held > TIMES_MAX * bytes.len() + SLACK => Err(format!("{held} bytes held for {}: {:?}", bytes.len(), shown())),
        Ok(taken) => Ok(taken),
    }
}

/// Goal: whatever bytes come, no reader panics or takes memory beyond a multiple of them. Method: golden bytes, each of which
/// must be taken, then their mutants, for a number of rounds or a time.
#[test]
fn readers_stand_whatever_comes() {
    let seed = variable("WIDEROW_FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0u8));
    let time = variable("WIDEROW_FUZZ_SECONDS").map(Duration::from_secs);
    for (index, (name, reader)) in READERS.into_iter().enumerate() {
        let mut corpus = golden(name);
        let golden = corpus.len();
        for bytes in &corpus {
            assert_eq!(read(reader, bytes), Ok(true), "golden bytes of {name}");
        }
        let mut dice = Dice(seed.wrapping_add(index as u64));
        let began = Instant::now();
        let share = time.map(|time| time / READERS.len() as u32);
        let (mut round, mut taken) = (0u64, 0u64);
        while share.map_or(round < MUTANTS, |share| began.elapsed() < share) {
            let bytes = mutant(&mut dice, &corpus);
            let read = read(reader, &bytes);
            if read.unwrap_or_else(|e| panic!("WIDEROW_FUZZ_SEED={seed}, reader {name}, round {round}: {e}")) {
                taken += 1;
                if corpus.len() < CORPUS_MAX {
                    corpus.push(bytes);
                } else {
                    let at = golden + dice.below((CORPUS_MAX - golden) as u64) as usize;
                    corpus[at] = bytes;
                }
            }
            round += 1;
        }
        assert!(taken > 0 && taken < round, "seed {seed}: {name} took {taken} of {round}, which tries too little");
    }
}

/// Goal: the measure itself: memory taken on a length's word would be seen. Method: a reader that believes its first four
/// bytes.
#[test]
fn a_believed_length_is_seen() {
    fn believes(bytes: &[u8]) -> bool {
        let length = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
        Vec::<u8>::with_capacity(length as usize).is_empty()
    }
    assert_eq!(read(believes, &[0, 0, 0, 9]), Ok(true));
    assert!(read(believes, &[0, 15, 0, 0]).is_err());
}
