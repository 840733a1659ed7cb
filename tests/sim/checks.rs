//! What must hold while a run goes on, and at its end. The invariants by their names, and where each is held to:
//!
//! - I1, I5, I7 and I9 here, once a run has come to rest; I9 also in `hull.rs`: no job is dropped where late ones may not be.
//! - I2, I3, I4 in `hull.rs`, at every write of a row and of a document; in `sea.rs` at every purge.
//! - I6 and J11's note of the queue's life here, at every commit.
//! - I8 here, every few records and at rest: open records, entities. The span behind the frontier and the bytes are held to
//!   their bounds by `tests/it/bounds.rs`, where a store stands still.
//! - I10 in `run.rs`: rest must come, and last, once faults have stopped.
//! - I11 in `group.rs`, at every commit.
//! - V5's alarm here: it is never raised for nothing.
//! - I12 here and in `run.rs`: at rest no ticket is open, no record uncommitted, and no job waits, runs, or lies aside.

use super::group::Group;
use super::sea::Sea;
use crate::world::{Shop, open_and_span};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use widerow::domain::change;
use widerow::domain::ids::{Epoch, Name, NextOffset, Partition, RowId, RowKey};
use widerow::domain::record::Record;
use widerow::messages::control::Picture;
use widerow::ports::ledger::Ledger;
use widerow::ports::rows::RowStore;
use widerow::ports::sink::Sink;
use widerow::telemetry::Totals;

/// Records of one commit that are looked at: the newest are the ones a fault would leave out.
const LOOKED_AT: usize = 12;

/// J11: the queue's life is noted before the first commit: a life that nobody noted could be lost without anybody's notice.
pub async fn life_noted(group: &Group, partition: Partition, next: NextOffset) {
    let noted = group.sea.ledger.note(&format!("queue/life/{partition}")).await;
    if !matches!(noted, Ok(Some(_))) {
        group.sea.wrong(format!("J11: {partition} commits {}, and no life of the queue is noted for it", next.0));
    }
}

/// I6: what a commit passes is in the row store.
pub async fn committed(group: &Group, partition: Partition, next: NextOffset, epoch: Epoch) {
    for record in group.below(partition, next, epoch).iter().rev().take(LOOKED_AT) {
        let body: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default()).unwrap_or_default();
        let (Some(table), Some(key)) = (body["table"].as_str(), body["data"]["order_no"].as_str()) else { continue };
        let child = body["data"]["id"].to_string();
        let row = RowId { kind: Name::of("order"), key: RowKey::new(key) };
        let held = group.sea.rows.read(vec![row.clone()]).await.ok().and_then(|mut rows| rows.pop().flatten());
        let stamp = (i64::from(epoch.0) << 44) + record.offset + 1;
        let newest = held
            .iter()
            .flat_map(|row| &row.parts)
            .filter(|part| part.id.table.as_str().ends_with(table) && (*part.id.child == *child || part.id.child.is_empty()));
        let newest = newest.map(|part| {
            let cells = part.cells.iter().map(|cell| cell.stamp.0).max().unwrap_or(-1);
            cells.max(part.tombstone.map_or(-1, |tombstone| tombstone.stamp.0))
        });
        let newest = newest.max().unwrap_or(-1);
        // A purge takes all of a row that died long ago (M5).
        if newest < stamp && !(newest < 0 && group.sea.is_purged()) {
            group.sea.wrong(format!(
                "I6: {partition} commits {}, and {row} lacks offset {} ({newest} < {stamp})",
                next.0, record.offset
            ));
        }
    }
}

/// I8: a picture of a node within its bounds.
pub fn bounded(sea: &Sea, picture: &Picture) {
    let in_flight = sea.settings.sources[0].in_flight as u64;
    let (open, _) = open_and_span(picture);
    if open > in_flight {
        sea.wrong(format!("I8: {open} records open in one partition, at most {in_flight} may be"));
    }
}

/// V5: where no row was ever lost or purged, no sink is above its row, and nobody says so.
pub fn quiet(sea: &Sea, totals: &Totals) {
    let (ahead, went) = (totals.sinks_ahead(), sea.rows.losses() > 0 || sea.is_purged());
    if ahead > 0 && !went {
        sea.wrong(format!("V5: {ahead} documents are said to be above rows that were never lost"));
    }
}

/// I8, I12: entities at rest fit their bound, and no ticket is open.
pub fn rests_bounded(sea: &Sea, picture: &Picture) {
    let (live, max) = (picture.entities.live, sea.settings.node.entities_max as u64);
    if live > max {
        sea.wrong(format!("I8: {live} entities live at rest, at most {max} may"));
    }
    let (open, _) = open_and_span(picture);
    if open > 0 {
        sea.wrong(format!("I12: {open} tickets have no verdict at rest"));
    }
}

/// I1, I5, I7, I9 once a run has come to rest.
pub async fn at_the_end(sea: &Sea, shop: &Shop, records: &[Record]) {
    rows(sea, shop).await;
    documents(sea, shop).await;
    for (row, changed) in sea.unstarted() {
        sea.wrong(format!("I7: no run of {row} began after its change {changed}"));
    }
    letters(sea, records).await;
}

/// I1: the wide rows are what the shop's own tables say, table row by table row.
async fn rows(sea: &Sea, shop: &Shop) {
    let told = |name: &str| !matches!(name, "id" | "order_no");
    let mut wanted = BTreeMap::new();
    for (table, id, row) in shop.rows() {
        let columns: BTreeMap<_, _> = row.iter().filter(|(name, _)| told(name)).map(|(n, v)| (n.clone(), text(v))).collect();
        let key = row["order_no"].as_str().unwrap_or_default().to_owned();
        wanted.insert((key, table.to_owned(), id.to_string()), columns);
    }
    let page = sea.rows.scan(Name::of("order"), None, None, usize::MAX - 1).await.unwrap_or_default();
    let mut held = BTreeMap::new();
    for stored in &page.rows {
        for part in stored.content.parts.iter().filter(|part| part.is_alive()) {
            let columns = ["note", "qty", "status"].into_iter().filter_map(|name| match part.value(Name::of(name)) {
                change::Value::Absent => None,
                change::Value::Null => Some((name.to_owned(), "null".to_owned())),
                change::Value::Text(text) => Some((name.to_owned(), text.to_owned())),
            });
            let at = (stored.row.key.as_str().to_owned(), part.id.table.to_string(), part.id.child.to_string());
            held.insert(at, columns.collect());
        }
    }
    let places: BTreeSet<_> = held.keys().chain(wanted.keys()).collect();
    for at in places.into_iter().filter(|at| held.get(*at) != wanted.get(*at)) {
        sea.wrong(format!("I1: {at:?} holds {:?}, should hold {:?}", held.get(at), wanted.get(at)));
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// I5: the documents are what the shop's own tables say.
async fn documents(sea: &Sea, shop: &Shop) {
    let held = sea.documents.list(None, usize::MAX).await.unwrap_or_default();
    let held: BTreeMap<String, Value> = held
        .into_iter()
        .map(|held| (held.id, serde_json::from_slice(held.document.as_deref().unwrap_or_default()).unwrap_or_default()))
        .collect();
    let wanted = shop.documents();
    let ids: BTreeSet<_> = held.keys().chain(wanted.keys()).collect();
    let differ: Vec<_> = ids.into_iter().filter(|id| held.get(*id) != wanted.get(*id)).collect();
    for id in &differ {
        sea.wrong(format!("I5: {id} is {:?}, should be {:?} ({} differ)", held.get(*id), wanted.get(*id), differ.len()));
    }
}

/// I9: what could not be decoded is among the dead letters, and nothing else is.
async fn letters(sea: &Sea, records: &[Record]) {
    let bad = |record: &&Record| serde_json::from_slice::<Value>(record.value.as_deref().unwrap_or_default()).is_err();
    let place = |record: &Record| format!("{}/{}/{}", record.partition.topic, record.partition.number, record.offset);
    let wanted: BTreeSet<_> = records.iter().filter(bad).map(place).collect();
    let held = sea.ledger.dead_letters(None, usize::MAX).await.unwrap_or_default();
    let held: BTreeSet<_> = held.into_iter().map(|letter| letter.id).collect();
    if held != wanted {
        sea.wrong(format!("I9: dead letters are {held:?}, should be {wanted:?}"));
    }
}
