//! What does merging a change of 14 cells into its row cost, and what does the row's document?
//!
//! Beside it: a hash map of column → (stamp, text), and a document by `serde_json`.

mod common;

use common::measure::{Report, nanos_each};
use common::{naive::Naive, shop};
use std::hint::black_box;
use widerow::domain::change::Image;
use widerow::domain::decode::{DecodeSettings, Decoded, decode};
use widerow::domain::ids::{Name, Stamp};
use widerow::domain::row::{Cells, Part, PartId, WideRow};

const CHANGES: usize = 1_000;

fn main() {
    let log = shop::Log::of(CHANGES);
    let settings = shop::settings();
    let images: Vec<Image> = log
        .records()
        .into_iter()
        .flatten()
        .filter_map(|record| {
            let Ok(Decoded::Changes(mut changes)) = decode(&record, &DecodeSettings::default(), &settings.schema) else {
                return None;
            };
            changes.pop()?.after().cloned()
        })
        .collect();
    let mut report = Report::new("merge");
    let change = |(at, image): (usize, &Image)| WideRow {
        parts: [Part {
            id: PartId { table: Name::of("orders"), child: "".into() },
            tombstone: None,
            cells: Cells::of_image(image.clone(), Stamp(at as i64 + 1)),
        }]
        .into(),
        ..WideRow::default()
    };
    let changes: Vec<WideRow> = images.iter().enumerate().map(change).collect();
    let merged = nanos_each(changes.len(), || {
        let mut row = WideRow::default();
        changes.iter().for_each(|change| row.merge(change));
        black_box(row);
    });
    let hashed = nanos_each(images.len(), || {
        let mut row: std::collections::HashMap<String, (i64, String)> = Default::default();
        for (at, image) in images.iter().enumerate() {
            for (name, value) in image.iter() {
                row.insert(name.as_str().to_owned(), (at as i64, value.text().unwrap_or_default().to_owned()));
            }
        }
        black_box(row);
    });
    report.compare("merge", merged, hashed);
    let (kind, line) = (&settings.schema.kinds[0], &settings.lines[0].line);
    let Some(document) = &line.document else { return };
    let built = nanos_each(changes.len(), || {
        for row in &changes {
            assert!(black_box(document.build(row, kind, &settings.schema)).is_ok());
        }
    });
    // Decoding is in the naive figure: its loop has no step between.
    let naive = nanos_each(log.bodies.len(), || {
        black_box(Naive::run(&log));
    });
    report.compare("document (naive: decode, merge, document)", built, naive);
    report.finish();
}
