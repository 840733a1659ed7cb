//! What an index holds: by id, and in id order.
//!
//! The server sorts by id only where somebody allows it, so a list looks through all ids and keeps the first ones: fit for
//! people, tests and small indexes, and refused for large ones. Knows nothing of writing.

use super::client::{Ask, Method};
use super::setup::refusal;
use super::sink::Inner;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RowVersion;
use crate::ports::sink::Held;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Documents of an index that is still listed.
const LISTED_MAX: u64 = 200_000;
/// Ids of one page of a search, and documents of one `_mget`.
const PAGE: usize = 2_000;

#[derive(Deserialize)]
struct Documents {
    docs: Vec<Document>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version")]
    version: Option<i64>,
    #[serde(default)]
    found: bool,
    #[serde(rename = "_source")]
    source: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "_scroll_id")]
    scroll: Option<String>,
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    total: Option<Total>,
    #[serde(default)]
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
}

impl Inner {
    /// What is held under an id. The server keeps a delete's version to itself, so a deleted document is simply not there.
    pub(super) async fn get(&self, id: String) -> Result<Option<Held>, Fault> {
        if super::bulk::bad_id(&id).is_some() {
            return Ok(None);
        }
        Ok(self.documents(&[id]).await?.pop())
    }

    async fn documents(&self, ids: &[String]) -> Result<Vec<Held>, Fault> {
        let path = format!("{}/_mget", self.options.index);
        let reply = self.client.send(Ask::with(Method::Post, &path, json!({ "ids": ids }).to_string())).await?;
        match reply.status {
            200 => {}
            404 => return Ok(Vec::new()),
            _ => return Err(refusal(&self.client, &reply)),
        }
        let read: Documents = self.read(&reply.body)?;
        let held = |document: Document| {
            let source = document.source.filter(|_| document.found)?;
            let body = Bytes::copy_from_slice(source.get().as_bytes());
            Some(Held { id: document.id, version: RowVersion(document.version?), document: Some(body) })
        };
        Ok(read.docs.into_iter().filter_map(held).collect())
    }

    /// The first `max` documents behind `after`, in id order.
    pub(super) async fn list(&self, after: Option<String>, max: usize) -> Result<Vec<Held>, Fault> {
        let refresh = format!("{}/_refresh", self.options.index);
        // What was written a moment ago is listed too, where we may ask for it.
        self.client.send(Ask::with(Method::Post, &refresh, "")).await?;
        let ids: Vec<String> = self.first_ids(after.as_deref(), max).await?.into_iter().collect();
        let mut out = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            out.extend(self.documents(page).await?);
        }
        Ok(out)
    }

    async fn first_ids(&self, after: Option<&str>, max: usize) -> Result<BTreeSet<String>, Fault> {
        let mut first = BTreeSet::new();
        let path = format!("{}/_search", self.options.index);
        let search = json!({ "size": PAGE, "_source": false, "sort": ["_doc"], "track_total_hits": true });
        let ask = Ask::with(Method::Post, &path, search.to_string()).query(&[("scroll", "1m")]);
        let mut reply = self.client.send(ask).await?;
        let mut scroll = None;
        loop {
            match reply.status {
                200 => {}
                404 if scroll.is_none() => return Ok(first),
                _ => return Err(refusal(&self.client, &reply)),
            }
            let found: Found = self.read(&reply.body)?;
            scroll = found.scroll.or(scroll);
            let total = found.hits.total.map_or(0, |total| total.value);
            if found.hits.hits.is_empty() || total > LISTED_MAX {
                self.end_scroll(scroll.as_deref()).await;
                return if total > LISTED_MAX { Err(self.too_many(total)) } else { Ok(first) };
            }
            for hit in found.hits.hits.into_iter().filter(|hit| after.is_none_or(|after| hit.id.as_str() > after)) {
                first.insert(hit.id);
                if first.len() > max {
                    first.pop_last();
                }
            }
            let more = json!({ "scroll": "1m", "scroll_id": scroll }).to_string();
            reply = self.client.send(Ask::with(Method::Post, "_search/scroll", more)).await?;
        }
    }

    async fn end_scroll(&self, scroll: Option<&str>) {
        let Some(scroll) = scroll else { return };
        // It ends by itself after a minute otherwise.
        let _ = self.client.send(Ask::with(Method::Delete, "_search/scroll", json!({ "scroll_id": scroll }).to_string())).await;
    }

    fn too_many(&self, total: u64) -> Fault {
        let what = format!("the index holds {total} documents, and no more than {LISTED_MAX} are listed; ask for one by its id");
        Fault::new(FaultKind::Rejected, self.client.place(), what)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, reply: &[u8]) -> Result<T, Fault> {
        serde_json::from_slice(reply).map_err(|error| {
            let shown = serde_json::from_slice::<Value>(reply).is_ok();
            let kind = if shown { FaultKind::Incompatible } else { FaultKind::Unreachable };
            Fault::new(kind, self.client.place(), format!("the reply is not a search server's: {error}"))
        })
    }
}
