//! What does a Debezium record of 0.9 KB cost from bytes to routed row changes?
//!
//! Beside it: the same bytes into `serde_json::Value`, and into a map of column → text.

mod common;

use common::measure::{Report, nanos_each, say};
use common::shop;
use serde_json::Value;
use std::collections::HashMap;
use std::hint::black_box;
use widerow::domain::decode::{DecodeSettings, Decoded, Format, Plans, decode_by};
use widerow::domain::ids::Epoch;
use widerow::domain::record::Record;
use widerow::domain::route::{Origin, RouteSettings, route};

const RECORDS: usize = 2_000;

fn main() {
    let log = shop::Log::of(20_000);
    let is_update = |record: &Record| record.value.as_ref().is_some_and(|body| body.starts_with(b"{\"before\":{"));
    let records: Vec<Record> = log.records().into_iter().flatten().filter(is_update).take(RECORDS).collect();
    let settings = shop::settings();
    let decoding = DecodeSettings { format: Format::Debezium, ..DecodeSettings::default() };
    let plans = Plans::default();
    let mut report = Report::new("decode");
    let bytes: usize = records.iter().map(Record::bytes).sum();
    say(format!("{} records of {} bytes on average", records.len(), bytes / records.len()));
    let naive = nanos_each(records.len(), || records.iter().for_each(naive));
    let decoded = nanos_each(records.len(), || {
        for record in &records {
            assert!(matches!(black_box(decode_by(record, &decoding, &settings.schema, &plans)), Ok(Decoded::Changes(_))));
        }
    });
    report.compare("decode", decoded, naive);
    let routing = RouteSettings::default();
    let routed = nanos_each(records.len(), || {
        for record in &records {
            let Ok(Decoded::Changes(changes)) = decode_by(record, &decoding, &settings.schema, &plans) else {
                panic!("not decoded")
            };
            let origin =
                Origin { partition: record.partition, partitions: 4, epoch: Epoch(0), offset: record.offset, logged: None };
            assert!(black_box(route(changes, &origin, &routing, &settings.schema)).is_ok());
        }
    });
    report.compare("decode and route", routed, naive);
    report.finish();
}

fn naive(record: &Record) {
    let mut event: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default()).expect("JSON");
    let mut image = |which: &str| -> HashMap<String, String> {
        let Value::Object(columns) = event[which].take() else { return HashMap::new() };
        columns.into_iter().map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
    };
    let (before, after) = (image("before"), image("after"));
    let changed: Vec<&String> = after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(n, _)| n).collect();
    black_box(&changed);
}
