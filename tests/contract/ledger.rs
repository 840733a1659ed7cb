//! What a ledger promises (C7, 3.4).

use crate::place::{Place, on_both};
use bytes::Bytes;
use widerow::domain::decode::BadReason;
use widerow::domain::ids::{Millis, Name, Partition, RecordOffset};
use widerow::domain::record::Record;
use widerow::ports::ledger::{DeadLetter, Kept};

on_both!(a_position_is_kept_once, letters_page_in_id_order, notes_change_in_one_step);

fn letter(offset: i64) -> DeadLetter {
    let partition = Partition { topic: Name::of("shop.trade.orders"), number: 3 };
    let record = Record {
        partition,
        position: RecordOffset(offset + 1),
        offset,
        timestamp: Some(Millis(77)),
        key: None,
        value: Some(Bytes::from_static(b"{\xff not text")),
        headers: vec![("h".into(), Bytes::from_static(b"\0v"))],
    };
    DeadLetter {
        id: format!("{partition}/{offset:05}"),
        source: "shop".into(),
        record,
        reason: BadReason::NotJson,
        detail: "at byte 1: found `n`, allowed: `}`".into(),
        first: Millis(100),
        last: Millis(100),
        deliveries: 1,
        replayed: false,
    }
}

/// Goal: once per position. Method: deliveries again with other times and reasons; a mark without a delivery; the drop.
async fn a_position_is_kept_once(place: &Place) {
    let ledger = place.ledger();
    let first = letter(12);
    assert_eq!(ledger.dead_letter(&first.id).await, Ok(None));
    assert_eq!(ledger.keep_dead_letter(first.clone()).await, Ok(Kept::New));
    assert_eq!(ledger.dead_letter(&first.id).await, Ok(Some(first.clone())));
    let later = DeadLetter { first: Millis(300), last: Millis(300), reason: BadReason::TooDeep, ..first.clone() };
    assert_eq!(ledger.keep_dead_letter(later).await, Ok(Kept::Again));
    let want = DeadLetter { last: Millis(300), deliveries: 2, reason: BadReason::TooDeep, ..first.clone() };
    assert_eq!(ledger.dead_letter(&first.id).await, Ok(Some(want.clone())));
    let marked = DeadLetter { replayed: true, deliveries: 0, ..want.clone() };
    assert_eq!(ledger.keep_dead_letter(marked).await, Ok(Kept::Again));
    assert_eq!(ledger.dead_letter(&first.id).await, Ok(Some(DeadLetter { replayed: true, ..want })));
    assert_eq!(ledger.dead_letter_count().await, Ok(1));
    ledger.drop_dead_letter(&first.id).await.unwrap();
    ledger.drop_dead_letter(&first.id).await.unwrap();
    assert_eq!(ledger.dead_letter_count().await, Ok(0));
    assert_eq!(ledger.keep_dead_letter(first).await, Ok(Kept::New));
}

/// Goal: pages. Method: five letters out of order, pages of two.
async fn letters_page_in_id_order(place: &Place) {
    let ledger = place.ledger();
    for offset in [3, 1, 5, 2, 4] {
        ledger.keep_dead_letter(letter(offset)).await.unwrap();
    }
    let (mut offsets, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.dead_letters(after.clone(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        offsets.extend(page.iter().map(|l| l.record.offset));
    }
    assert_eq!(offsets, [1, 2, 3, 4, 5]);
}

/// Goal: notes. Method: set, replace, remove in one step; prefixes do not leak.
async fn notes_change_in_one_step(place: &Place) {
    let ledger = place.ledger();
    let note = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    ledger
        .set_notes(vec![note("commit:a/1", Some("5")), note("commit:a/0", Some("4")), note("mark:x", Some("1"))])
        .await
        .unwrap();
    ledger.set_notes(vec![note("commit:a/0", Some("6")), note("mark:x", None), note("none", None)]).await.unwrap();
    assert_eq!(ledger.note("commit:a/0").await, Ok(Some("6".into())));
    assert_eq!(ledger.note("mark:x").await, Ok(None));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(ledger.notes("commit:").await, Ok(vec![pair("commit:a/0", "6"), pair("commit:a/1", "5")]));
    assert_eq!(ledger.notes("mark").await, Ok(vec![]));
    assert_eq!(ledger.notes("").await.unwrap().len(), 2);
}
