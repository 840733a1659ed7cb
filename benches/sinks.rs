//! How many documents a second reach each sink, beside a plain loader that knows nothing of versions?
//!
//! Search: 1 KB documents in bulk requests of a thousand, four at a time, into one real server; then the same documents
//! changed, then all of them outdated. What the server holds in the end is compared document by document. A Java server's rate
//! swings by half from one second to the next, so both sides take turns many times and the medians of their shares count.

mod common;
#[path = "../tests/stack/servers.rs"]
mod servers;

use common::measure::{Report, argument, say};
use std::time::Duration;

/// Bulk requests at a time, and documents of one: the same for both sides.
const IN_FLIGHT: usize = 4;
const BATCH: usize = 1_000;

fn main() {
    let (documents, rounds) = (argument("--documents", 20_000), argument("--rounds", 15));
    let mut report = Report::new("sinks");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(search::run(documents, rounds, &mut report));
    report.finish();
}

/// Documents of about one kilobyte.
fn text(id: usize, change: usize) -> String {
    let filling = "lorem ipsum dolor sit amet, consectetur adipiscing elit ";
    let name: String = filling.chars().cycle().skip(id % filling.len()).take(300).collect();
    let items: Vec<String> =
        (0..8).map(|n| format!(r#"{{"qty":{},"name":"item {n} of {id}","price":{}.50}}"#, n + change, id % 1_000)).collect();
    format!(r#"{{"no":"{id}","change":{change},"name":"{name}","items":[{}]}}"#, items.join(","))
}

mod search {
    use super::*;
    use bytes::Bytes;
    use common::measure::median;
    use elasticsearch::Elasticsearch;
    use elasticsearch::http::transport::Transport;
    use elasticsearch::indices::{IndicesDeleteParts, IndicesFlushParts};
    use futures_util::StreamExt;
    use futures_util::stream::{self, FuturesUnordered};
    use std::time::Instant;
    use widerow::domain::document::{As, ColumnRef, Document, Field, Scalar};
    use widerow::domain::ids::{Name, RowKey, RowVersion};
    use widerow::domain::line::{DeleteMode, LaneRules, Line, When};
    use widerow::domain::template::Template;
    use widerow::io::elasticsearch::{Client, ElasticsearchSink, SinkOptions, mapping_of};
    use widerow::ports::sink::{Body, Sink, SinkOutcome, SinkWrite};
    use widerow::settings::ElasticsearchSettings;

    /// Rounds that do not count: until the server's compiler is done with what they use.
    const WARM_UPS: usize = 5;

    pub async fn run(documents: usize, rounds: usize, report: &mut Report) {
        let server = servers::search();
        let url = format!("http://{}", server.address());
        let mut figures: Vec<[f64; 5]> = Vec::new();
        for round in 0..WARM_UPS + rounds {
            // Who goes first changes, so that neither side always meets the warmer server.
            let plain_first = round % 2 == 0;
            let mut rates = [0.0; 5];
            let order = if plain_first { [true, false] } else { [false, true] };
            for plain in order {
                let index = format!("{}{round}", if plain { "plain" } else { "ours" });
                let sink = sink(&url, &index);
                // Both write into an index that the sink has made.
                assert_eq!(sink.write(vec![write(documents, 0, 1)]).await, [SinkOutcome::Written]);
                if plain {
                    rates[0] = load(&url, &index, documents, 1).await;
                    settle(&url, &index).await;
                    rates[2] = load(&url, &index, documents, 2).await;
                } else {
                    rates[1] = deliver(&sink, documents, 1, &SinkOutcome::Written).await;
                    settle(&url, &index).await;
                    rates[3] = deliver(&sink, documents, 2, &SinkOutcome::Written).await;
                    rates[4] = deliver(&sink, documents, 1, &SinkOutcome::Superseded(Some(RowVersion(2)))).await;
                    check(&sink, documents).await;
                }
                forget(&url, &index).await;
            }
            let name =
                if round < WARM_UPS { format!("warm-up {}", round + 1) } else { format!("round {}", round + 1 - WARM_UPS) };
            let [plain, ours, plain_again, ours_again, outdated] = rates.map(|rate| rate / 1e3);
            say(format!(
                "search, {name}: new {ours:.1} k documents/s, plain {plain:.1}; changed {ours_again:.1}, plain {plain_again:.1}; \
                 all outdated {outdated:.1}"
            ));
            if round >= WARM_UPS {
                figures.push(rates);
            }
        }
        let ratio = |ours: usize, plain: usize| median(figures.iter().map(|f| f[ours] / f[plain]).collect());
        let rate = |at: usize| median(figures.iter().map(|f| f[at]).collect());
        let (new, changed) = (ratio(1, 0), ratio(3, 2));
        say(format!("search: {new:.2} of a plain loader's rate for new documents, {changed:.2} for changed ones"));
        report.put("search_documents", documents);
        report.put("search_new_per_second", rate(1));
        report.put("search_new_of_plain", new);
        report.put("search_changed_per_second", rate(3));
        report.put("search_changed_of_plain", changed);
        report.put("search_outdated_per_second", rate(4));
    }

    fn line() -> Line {
        let column = |table: &str, column: &str, shown_as| {
            let from = ColumnRef { table: Name::of(table), column: Name::of(column) };
            Field::Column { from, scalar: Scalar { shown_as, default: None } }
        };
        let inner = |name: &str, shown_as| (name.to_owned(), Name::of(name), Scalar { shown_as, default: None });
        let rows = vec![inner("qty", As::Long), inner("name", As::String), inner("price", As::Decimal)];
        let fields = vec![
            ("no".to_owned(), column("orders", "no", As::String)),
            ("change".to_owned(), column("orders", "change", As::Long)),
            ("name".to_owned(), column("orders", "name", As::String)),
            ("items".to_owned(), Field::Each { table: Name::of("item"), order_by: None, fields: rows }),
        ];
        Line {
            name: Name::of("search"),
            kind: Name::of("order"),
            when: When::Any,
            lanes: LaneRules::default(),
            types: vec![],
            document: Some(Document { id: Template::parse("{no}").expect("a template"), fields }),
            delete: DeleteMode::Delete,
            skip_equal: false,
        }
    }

    fn sink(url: &str, index: &str) -> ElasticsearchSink {
        let settings = ElasticsearchSettings {
            urls: vec![url.to_owned()],
            index: index.to_owned(),
            auth: None,
            tls: None,
            create: true,
            bulk_docs: BATCH,
            bulk_bytes: 8 << 20,
            bulk_in_flight: IN_FLIGHT,
            timeout: Duration::from_secs(60),
        };
        let (docs, bytes, in_flight) = (settings.bulk_docs, settings.bulk_bytes, settings.bulk_in_flight);
        let options = SinkOptions { index: index.to_owned(), create: Some(mapping_of(&line())), docs, bytes, in_flight };
        ElasticsearchSink::new(Client::new(&settings).unwrap_or_else(|fault| panic!("{fault}")), options)
    }

    fn write(id: usize, change: usize, version: i64) -> SinkWrite {
        let body = Body::Index(Bytes::from(text(id, change)));
        SinkWrite { id: id.to_string(), version: RowVersion(version), body, row: RowKey::new(&id.to_string()), types: vec![] }
    }

    fn batches(documents: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..documents).step_by(BATCH).map(move |from| from..(from + BATCH).min(documents))
    }

    /// Documents a second through the sink; each must come out so.
    async fn deliver(sink: &ElasticsearchSink, documents: usize, version: i64, want: &SinkOutcome) -> f64 {
        let change = usize::try_from(version).unwrap_or(0);
        let writes: Vec<Vec<_>> = batches(documents).map(|b| b.map(|id| write(id, change, version)).collect()).collect();
        let began = Instant::now();
        let outcomes = stream::iter(writes).map(|batch| sink.write(batch)).buffer_unordered(IN_FLIGHT).concat().await;
        let rate = documents as f64 / began.elapsed().as_secs_f64();
        assert_eq!((outcomes.len(), outcomes.iter().find(|outcome| *outcome != want)), (documents, None));
        rate
    }

    fn plain(url: &str) -> Elasticsearch {
        Elasticsearch::new(Transport::single_node(url).expect("a client"))
    }

    /// Documents a second by plain bulk requests of the client crate.
    async fn load(url: &str, index: &str, documents: usize, change: usize) -> f64 {
        let client = plain(url);
        let path = format!("{index}/_bulk");
        let body = |ids: std::ops::Range<usize>| -> Bytes {
            let lines = ids.map(|id| format!("{{\"index\":{{\"_id\":\"{id}\"}}}}\n{}\n", text(id, change)));
            lines.collect::<String>().into()
        };
        let bodies: Vec<Bytes> = batches(documents).map(body).collect();
        let send = |body: Bytes| {
            let (client, path) = (&client, &path);
            async move {
                let (method, headers) = (elasticsearch::http::Method::Post, Default::default());
                let reply = client.send(method, path, headers, None::<&()>, Some(body), None).await.expect("a reply");
                let text = reply.text().await.expect("a body");
                assert!(text.contains("\"errors\":false"), "{}", &text[..text.len().min(500)]);
            }
        };
        let began = Instant::now();
        let mut under_way = FuturesUnordered::new();
        for body in bodies {
            if under_way.len() == IN_FLIGHT {
                under_way.next().await;
            }
            under_way.push(send(body));
        }
        while under_way.next().await.is_some() {}
        documents as f64 / began.elapsed().as_secs_f64()
    }

    /// What one side left to be done later is not the other side's time.
    async fn settle(url: &str, index: &str) {
        let client = plain(url);
        let reply = client.indices().flush(IndicesFlushParts::Index(&[index])).force(true).wait_if_ongoing(true).send().await;
        reply.expect("a reply").error_for_status_code().expect("flushed");
    }

    async fn forget(url: &str, index: &str) {
        settle(url, index).await;
        let client = plain(url);
        let reply = client.indices().delete(IndicesDeleteParts::Index(&[index])).send().await;
        reply.expect("a reply").error_for_status_code().expect("deleted");
    }

    /// The server holds the second change of every document, word for word.
    async fn check(sink: &ElasticsearchSink, documents: usize) {
        let held = sink.list(None, documents + 1).await.unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(held.len(), documents + 1, "documents in the index");
        for held in held {
            let id: usize = held.id.parse().expect("a number");
            let change = if id == documents { 0 } else { 2 };
            assert_eq!(held.document.as_deref(), Some(text(id, change).as_bytes()), "document {id}");
        }
    }
}
