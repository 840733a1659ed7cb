//! What a sink that can be asked promises (K1).

use super::place::{Place, on_both};
use bytes::Bytes;
use widerow::domain::ids::{RowKey, RowVersion};
use widerow::ports::sink::{Body, Held, Sink, SinkOutcome, SinkWrite};

on_both!(versions_decide, deletes_leave_their_version, lists_page_in_id_order, outcomes_follow_the_batch);

fn index(id: &str, version: i64, body: &str) -> SinkWrite {
    let body = Body::Index(Bytes::copy_from_slice(body.as_bytes()));
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(id), types: vec![] }
}

fn delete(id: &str, version: i64) -> SinkWrite {
    SinkWrite { body: Body::Delete, ..index(id, version, "") }
}

async fn one(sink: &dyn Sink, write: SinkWrite) -> SinkOutcome {
    sink.write(vec![write]).await.remove(0)
}

fn held(id: &str, version: i64, document: Option<&str>) -> Option<Held> {
    let document = document.map(|d| Bytes::copy_from_slice(d.as_bytes()));
    Some(Held { id: id.into(), version: RowVersion(version), document })
}

/// Goal: lower is superseded, equal and higher are written. Method: one id through a table of versions.
async fn versions_decide(place: &Place) {
    let sink = place.sink("shop");
    assert_eq!(sink.get("1".into()).await, Ok(None));
    for (version, body, want) in [
        (5, "five", SinkOutcome::Written),
        (4, "four", SinkOutcome::Superseded(Some(RowVersion(5)))),
        (5, "five again", SinkOutcome::Written),
        (i64::MAX, "last", SinkOutcome::Written),
        (6, "six", SinkOutcome::Superseded(Some(RowVersion(i64::MAX)))),
    ] {
        assert_eq!(one(&*sink, index("1", version, body)).await, want, "version {version}");
    }
    assert_eq!(sink.get("1".into()).await, Ok(held("1", i64::MAX, Some("last"))));
}

/// Goal: a delete outlives its document. Method: an older write after it is superseded, a newer one revives.
async fn deletes_leave_their_version(place: &Place) {
    let sink = place.sink("shop");
    assert_eq!(one(&*sink, delete("1", 7)).await, SinkOutcome::Written, "also of a document never seen");
    assert_eq!(one(&*sink, index("1", 6, "old")).await, SinkOutcome::Superseded(Some(RowVersion(7))));
    assert_eq!(sink.get("1".into()).await, Ok(held("1", 7, None)));
    assert_eq!(one(&*sink, index("1", 8, "new")).await, SinkOutcome::Written);
    assert_eq!(one(&*sink, delete("1", 7)).await, SinkOutcome::Superseded(Some(RowVersion(8))));
    assert_eq!(sink.get("1".into()).await, Ok(held("1", 8, Some("new"))));
}

/// Goal: lists. Method: ids out of order, one deleted, pages of two.
async fn lists_page_in_id_order(place: &Place) {
    let sink = place.sink("shop");
    let batch = ["c", "a", "门", "", "b"].map(|id| index(id, 1, id)).to_vec();
    sink.write(batch).await;
    one(&*sink, delete("b", 2)).await;
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = sink.list(after.clone(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        ids.extend(page.into_iter().map(|held| held.id));
    }
    assert_eq!(ids, ["", "a", "c", "门"]);
}

/// Goal: answers match their writes. Method: a batch in which the middle one is superseded.
async fn outcomes_follow_the_batch(place: &Place) {
    let sink = place.sink("shop");
    one(&*sink, index("b", 9, "b")).await;
    let outcomes = sink.write(vec![index("a", 1, "a"), index("b", 8, "b"), delete("c", 1)]).await;
    assert_eq!(outcomes, [SinkOutcome::Written, SinkOutcome::Superseded(Some(RowVersion(9))), SinkOutcome::Written]);
    assert!(sink.write(vec![]).await.is_empty());
}
