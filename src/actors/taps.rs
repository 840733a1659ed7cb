//! What the actors show at the tap: one event per stage of a change's way, with its row.
//!
//! Each function costs one relaxed load while nobody listens. Values pass the listener's mask. Knows nothing of who listens.

use crate::domain::decode::BadRecord;
use crate::domain::ids::{Name, RowKey};
use crate::domain::job::{Offer, Offered};
use crate::domain::record::Record;
use crate::domain::route::{Effect, RowChange};
use crate::domain::row::WideRow;
use crate::domain::write::RowWrite;
use crate::ports::sink::{Body, SinkWrite};
use crate::telemetry::{JobOutcome, Mask, TapStage, TapWish, tap, tapped};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// A document on its way to a sink.
pub(super) struct ShownDocument {
    id: String,
    version: String,
    body: Body,
    /// The row's values by column: what the mask hides of them is hidden in the document, whatever its field is called.
    values: Vec<(Name, String)>,
}

fn object(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A record, and what became of it: its rows' changes, or why it could not be used.
pub(super) fn record(record: &Record, decoded: &Result<Vec<RowChange>, BadRecord>) {
    if tapped(TapStage::Source) {
        source(record, decoded);
    }
    if tapped(TapStage::Change) {
        for change in decoded.iter().flatten() {
            tap(TapStage::Change, |wish| wish.wants(change.row.key.as_str()), |wish| object(changed(record, change, &wish.mask)));
        }
    }
}

fn source(record: &Record, decoded: &Result<Vec<RowChange>, BadRecord>) {
    let text = |bytes: &Option<Bytes>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
    let key = text(&record.key);
    let wanted = |wish: &TapWish| {
        let by_key = key.as_deref().is_some_and(|key| wish.wants(key));
        wish.key.is_none() || by_key || decoded.iter().flatten().any(|change| wish.wants(change.row.key.as_str()))
    };
    tap(TapStage::Source, wanted, |wish| {
        let mut rows: Vec<_> = decoded.iter().flatten().map(|c| format!("{}/{}", c.row.kind, c.row.key)).collect();
        rows.dedup();
        object(json!({
            "topic": record.partition.topic.as_str(),
            "partition": record.partition.number,
            "offset": record.offset.to_string(),
            "timestamp": record.timestamp.map(|at| at.0),
            "key": key,
            "value": record.value.as_ref().map(|body| wish.mask.body(body, &[])),
            "rows": rows,
            "error": decoded.as_ref().err().map(|bad| bad.reason.label()),
        }))
    });
}

fn changed(record: &Record, change: &RowChange, mask: &Mask) -> Value {
    let columns = |image: &crate::domain::change::Image| {
        image.iter().map(|(name, value)| (name.to_string(), mask.value(name.as_str(), value.text()))).collect::<Map<_, _>>()
    };
    let (effect, image) = match &change.effect {
        Effect::Put { image, .. } => ("put", Some(columns(image))),
        Effect::Delete => ("delete", None),
        Effect::MoveOut(moved) => ("move_out", Some(columns(&moved.before))),
    };
    json!({
        "row": format!("{}/{}", change.row.kind, change.row.key),
        "table": change.part.table.as_str(),
        "child": change.part.child.as_str(),
        "effect": effect,
        "columns": image,
        "stamp": change.stamp.0.to_string(),
        "at": change.at.map(|at| at.0),
        "from": format!("{}/{}", record.partition, record.offset),
    })
}

/// A write that the row store acknowledged.
pub(super) fn row(write: &RowWrite) {
    tap(
        TapStage::Row,
        |wish| wish.wants(write.row.key.as_str()),
        |wish| {
            let parts = write.change.parts.iter().map(|part| {
                let cells =
                    part.cells.iter().map(|cell| (cell.name.to_string(), wish.mask.value(cell.name.as_str(), cell.value)));
                json!({
                    "table": part.id.table.as_str(),
                    "child": part.id.child.as_str(),
                    "stamp": part.cells.highest().map(|stamp| stamp.0.to_string()),
                    "tombstone": part.tombstone.map(|tombstone| tombstone.stamp.0.to_string()),
                    "cells": cells.collect::<Map<_, _>>(),
                })
            });
            object(json!({ "row": format!("{}/{}", write.row.kind, write.row.key), "parts": parts.collect::<Vec<_>>() }))
        },
    );
}

/// Jobs that the queue took.
pub(super) fn jobs<'a>(offers: impl Iterator<Item = &'a Offer>, offered: &[Offered]) {
    if !tapped(TapStage::Job) {
        return;
    }
    for (offer, offered) in offers.zip(offered) {
        let outcome = match offered {
            Offered::Created => JobOutcome::Created,
            Offered::Coalesced => JobOutcome::Coalesced,
            Offered::Spilled => JobOutcome::Spilled,
        };
        tap(
            TapStage::Job,
            |wish| wish.wants(offer.key.row.as_str()),
            |wish| {
                let lane = wish.lanes.get(usize::from(offer.lane.0)).cloned().unwrap_or_else(|| offer.lane.0.to_string());
                let types: Vec<_> = offer.load.types.iter().map(|name| name.as_str()).collect();
                object(json!({
                    "line": offer.key.line.as_str(),
                    "row": offer.key.row.as_str(),
                    "lane": lane,
                    "outcome": outcome.label(),
                    "types": types,
                    "must_write": offer.load.must_write,
                }))
            },
        );
    }
}

pub(super) fn documents_wanted() -> bool {
    tapped(TapStage::Document)
}

/// Keeps a document for [`delivered`], while somebody listens.
pub(super) fn document(write: &SinkWrite, row: Option<&WideRow>) -> Option<Box<ShownDocument>> {
    if !documents_wanted() {
        return None;
    }
    let cells = row.into_iter().flat_map(|row| &row.parts).flat_map(|part| part.cells.iter());
    let values = cells.filter_map(|cell| Some((cell.name, cell.value?.to_owned()))).filter(|(_, value)| !value.is_empty());
    let (id, version) = (write.id.clone(), write.version.to_string());
    Some(Box::new(ShownDocument { id, version, body: write.body.clone(), values: values.collect() }))
}

/// A job's end.
pub(super) fn delivered(line: &Name, row: &RowKey, outcome: &'static str, detail: Option<&str>, shown: Option<&ShownDocument>) {
    tap(
        TapStage::Document,
        |wish| wish.wants(row.as_str()),
        |wish| {
            let mut event = object(json!({ "line": line.as_str(), "row": row.as_str(), "outcome": outcome }));
            if let Some(detail) = detail {
                event.insert("detail".to_owned(), json!(detail));
            }
            let Some(shown) = shown else { return event };
            event.insert("id".to_owned(), json!(shown.id));
            event.insert("version".to_owned(), json!(shown.version));
            let hidden = shown.values.iter().filter(|(name, _)| wish.mask.hides(name.as_str()));
            let hidden: Vec<String> = hidden.map(|(_, value)| value.clone()).collect();
            match &shown.body {
                Body::Delete => event.insert("op".to_owned(), json!("delete")),
                Body::Index(json) => {
                    event.insert("op".to_owned(), json!("index"));
                    event.insert("document".to_owned(), wish.mask.body(json, &hidden))
                }
            };
            event
        },
    );
}
