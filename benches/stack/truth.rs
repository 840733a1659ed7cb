//! What stands in the sinks, held against the shop's books. A run that ends otherwise has no figure.

use crate::bed::Bed;
use crate::load::{HOT, PROBE};
use crate::node::Node;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use widerow::io::generator::{Documents, Json};

const PAGE: usize = 5_000;

/// What a look found.
#[derive(Debug, Default)]
pub struct Judged {
    pub right: u64,
    pub probes: u64,
    pub wrong: u64,
    /// The first differences in words.
    pub told: Vec<String>,
    /// The orders of those.
    ids: Vec<String>,
}

impl Judged {
    fn differs(&mut self, id: &str, what: String) {
        self.wrong += 1;
        if self.told.len() < 5 {
            self.told.push(what);
            self.ids.push(id.to_owned());
        }
    }

    /// # Panics
    /// Any document is not as it should be.
    pub fn demand(&self, probes: u64, node: &Node) {
        let path = |id: &str| format!("/api/v1/rows/order/{}:{id}/why", &id[id.len().saturating_sub(4)..]);
        let row = |id: &String| node.ask_text(&path(id)).unwrap_or_default();
        assert!(
            self.wrong == 0,
            "{} documents ended otherwise than the shop's books: no figure\n{}\n{}",
            self.wrong,
            self.told.join("\n"),
            self.ids.iter().map(row).collect::<Vec<_>>().join("\n")
        );
        let dead = crate::watch::metric(node, "widerow_dead_letters_total", "");
        assert!(dead == 0.0, "{dead} records went to the dead letters: no figure\n{}", node.last_words());
        self.demand_probes(probes);
    }

    /// The same of a program that cannot be asked.
    ///
    /// # Panics
    /// Any document is not as it should be.
    pub fn demand_of_peer(&self, probes: u64) {
        assert!(
            self.wrong == 0,
            "{} documents ended otherwise than the shop's books: no figure\n{}",
            self.wrong,
            self.told.join("\n")
        );
        self.demand_probes(probes);
    }

    fn demand_probes(&self, probes: u64) {
        assert_eq!(self.probes, probes, "probes in the index: no figure");
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    _scroll_id: String,
    #[serde(borrow)]
    hits: Hits<'a>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    _id: String,
    #[serde(borrow)]
    _source: &'a RawValue,
}

/// Compares both sinks of a round, both ways, numbers digit by digit.
pub fn judge(bed: &Bed, round: &str, mut expected: Documents) -> Judged {
    let mut judged = Judged::default();
    let orders = expected.remove("order_search").unwrap_or_default();
    let found = in_index(bed, &format!("{round}-orders"));
    compare(&mut judged, "order", orders, found);
    let products = expected.remove("product_search").unwrap_or_default();
    let found = in_redis(bed, &format!("{round}:product:"));
    compare(&mut judged, "product", products, found);
    judged
}

fn compare(judged: &mut Judged, what: &str, wanted: BTreeMap<String, Json>, found: BTreeMap<String, String>) {
    let mut found = found;
    found.remove(HOT);
    let before = found.len();
    found.retain(|id, _| !id.starts_with(PROBE));
    judged.probes += (before - found.len()) as u64;
    for (id, want) in wanted {
        match found.remove(&id).map(|text| (Json::parse(text.as_bytes()), text)) {
            Some((Ok(have), _)) if have == want => judged.right += 1,
            Some((_, text)) => {
                let want = serde_json::to_string(&want).unwrap_or_default();
                judged.differs(&id, format!("{what} {id} is        {text}\n{what} {id} should be {want}"));
            }
            None => judged.differs(&id, format!("{what} {id} is missing")),
        }
    }
    for id in found.into_keys() {
        judged.differs(&id, format!("{what} {id} should not be there"));
    }
}

/// Every document of an index.
fn in_index(bed: &Bed, index: &str) -> BTreeMap<String, String> {
    bed.ask_search("POST", &format!("/{index}/_refresh"), None);
    let mut documents = BTreeMap::new();
    let first = format!("/{index}/_search?scroll=1m&size={PAGE}&sort=_doc");
    let mut answer = bed.ask_search("POST", &first, Some("{}"));
    loop {
        let page: Page<'_> = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{index}: {e}"));
        if page.hits.hits.is_empty() {
            return documents;
        }
        documents.extend(page.hits.hits.into_iter().map(|hit| (hit._id, hit._source.get().to_owned())));
        let next = format!(r#"{{"scroll":"1m","scroll_id":"{}"}}"#, page._scroll_id);
        answer = bed.ask_search("POST", "/_search/scroll", Some(&next));
    }
}

/// Every document under a prefix; marks of deletes hold none.
fn in_redis(bed: &Bed, prefix: &str) -> BTreeMap<String, String> {
    let mut connection = bed.redis_database(1);
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(&mut connection).expect("keys");
    let mut documents = BTreeMap::new();
    for chunk in keys.chunks(PAGE) {
        let mut pipe = redis::pipe();
        for key in chunk {
            pipe.hget(key, "d");
        }
        let found: Vec<Option<String>> = pipe.query(&mut connection).expect("documents");
        let named = chunk.iter().zip(found);
        documents.extend(named.filter_map(|(key, document)| Some((key[prefix.len()..].to_owned(), document?))));
    }
    documents
}
