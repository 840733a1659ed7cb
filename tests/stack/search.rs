//! Goal: K2, documents in a real search server hold what their version says, whatever happens to the server. Method: the
//! sink on servers of the harness, read back by plain requests that know nothing of it.

use crate::servers::{self, Kind, Server};
use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::CertificateValidation;
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use elasticsearch::http::{Method, Url};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use widerow::domain::document::{As, ColumnRef, Document, Field, Scalar};
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Name, RowKey, RowVersion};
use widerow::domain::line::{DeleteMode, LaneRules, Line, When};
use widerow::domain::template::Template;
use widerow::io::elasticsearch::{Client, ElasticsearchSink, Seen, SinkOptions, inspect, mapping_of};
use widerow::ports::sink::{Body, Sink, SinkOutcome, SinkWrite};
use widerow::settings::{ElasticsearchSettings, SearchAuth, Secret, Tls};

/// The promises of every sink that can be asked.
#[path = "../contract/sinks.rs"]
mod contract;

/// Where the contract runs: an index of its own on the shared server.
mod place {
    use super::*;
    use widerow::domain::fault::Fault;
    use widerow::ports::Answer;
    use widerow::ports::sink::Held;

    pub struct Place(ElasticsearchSink);

    impl Place {
        pub fn fresh() -> Self {
            Self(opened(&fresh()))
        }
        pub fn sink(&self, _line: &str) -> Arc<dyn Sink> {
            Arc::new(Wrapped(self.0.clone()))
        }
    }

    /// The contract's bodies are bare words and one of its ids is empty; a search server wants objects and ids. And it
    /// keeps a delete's version to itself: a hopeless delete makes it tell.
    struct Wrapped(ElasticsearchSink);

    fn inner(held: Held) -> Held {
        let word = |body: Bytes| serde_json::from_slice::<Value>(&body).unwrap()["word"].as_str().unwrap().to_owned().into();
        Held { id: held.id[1..].to_owned(), document: held.document.map(word), ..held }
    }

    impl Sink for Wrapped {
        fn kind(&self) -> &'static str {
            self.0.kind()
        }
        fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
            let wrap = |write: SinkWrite| {
                let body = match write.body {
                    Body::Index(word) => Body::Index(json!({ "word": str::from_utf8(&word).unwrap() }).to_string().into()),
                    Body::Delete => Body::Delete,
                };
                SinkWrite { id: format!("i{}", write.id), body, ..write }
            };
            self.0.write(batch.into_iter().map(wrap).collect())
        }
        fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
            Box::pin(async move {
                if let Some(held) = self.0.get(format!("i{id}")).await? {
                    return Ok(Some(inner(held)));
                }
                match self.0.write(vec![delete(&format!("i{id}"), 0)]).await.remove(0) {
                    SinkOutcome::Superseded(Some(version)) => Ok(Some(Held { id, version, document: None })),
                    _ => Ok(None),
                }
            })
        }
        fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
            Box::pin(async move {
                let held = self.0.list(after.map(|id| format!("i{id}")), max).await?;
                Ok(held.into_iter().map(inner).collect())
            })
        }
    }

    macro_rules! on_both {
        ($($body:ident),* $(,)?) => {
            mod on_search {
                use crate::search::place::Place;
                $(#[tokio::test] async fn $body() { super::$body(&Place::fresh()).await; })*
            }
        };
    }
    pub(crate) use on_both;
}

fn settings(server: &Server, index: &str) -> ElasticsearchSettings {
    ElasticsearchSettings {
        urls: vec![format!("http://{}", server.address())],
        index: index.to_owned(),
        auth: None,
        tls: None,
        create: true,
        bulk_docs: 200,
        bulk_bytes: 1 << 20,
        bulk_in_flight: 4,
        timeout: Duration::from_secs(60),
    }
}

/// What `check` calls the server that `WIDEROW_SEARCH` asks for, to its major version: `OpenSearch 2` of `opensearch-2`.
fn product_asked_for() -> String {
    let asked = std::env::var("WIDEROW_SEARCH").ok().filter(|name| !name.is_empty());
    let asked = asked.unwrap_or_else(|| "elasticsearch-8".to_owned());
    asked.replace("elasticsearch-", "Elasticsearch ").replace("opensearch-", "OpenSearch ")
}

/// An index that no other test uses, on the shared server.
fn fresh() -> ElasticsearchSettings {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    settings(servers::shared(Kind::Search), &format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
}

/// Documents of `{"n": long, "at": datetime, "items": […]}`.
fn line() -> Line {
    let column = |column: &str, shown_as| Field::Column {
        from: ColumnRef { table: Name::of("orders"), column: Name::of(column) },
        scalar: Scalar { shown_as, default: None },
    };
    let quantity = ("qty".to_owned(), Name::of("qty"), Scalar { shown_as: As::Long, default: None });
    let fields = vec![
        ("n".to_owned(), column("n", As::Long)),
        ("at".to_owned(), column("at", As::DateTime)),
        ("extra".to_owned(), column("extra", As::Json)),
        ("word".to_owned(), column("word", As::String)),
        ("items".to_owned(), Field::Each { table: Name::of("item"), order_by: None, fields: vec![quantity] }),
    ];
    Line {
        name: Name::of("search"),
        kind: Name::of("order"),
        when: When::Any,
        lanes: LaneRules::default(),
        types: vec![],
        document: Some(Document { id: Template::parse("{no}").unwrap(), fields }),
        delete: DeleteMode::Delete,
        skip_equal: false,
    }
}

fn opened(settings: &ElasticsearchSettings) -> ElasticsearchSink {
    let options = SinkOptions {
        index: settings.index.clone(),
        create: settings.create.then(|| mapping_of(&line())),
        docs: settings.bulk_docs,
        bytes: settings.bulk_bytes,
        in_flight: settings.bulk_in_flight,
    };
    ElasticsearchSink::new(Client::new(settings).unwrap(), options)
}

fn index(id: &str, version: i64, body: &Value) -> SinkWrite {
    let body = Body::Index(body.to_string().into());
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(id), types: vec![] }
}

fn delete(id: &str, version: i64) -> SinkWrite {
    SinkWrite { body: Body::Delete, ..index(id, version, &Value::Null) }
}

async fn one(sink: &dyn Sink, write: SinkWrite) -> SinkOutcome {
    sink.write(vec![write]).await.remove(0)
}

/// A plain request: status and body.
fn plain(settings: &ElasticsearchSettings, method: &str, path: &str, body: &str) -> (u16, Value) {
    let http: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}/{path}", settings.urls[0]))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .unwrap();
    let mut answer = http.run(request).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
}

/// Goal: an index of ours has its template and mapping, and a check finds nothing to say; what a document holds besides
/// makes no field. Method: write, look by plain requests, check.
#[tokio::test]
async fn an_index_of_ours_is_as_documents_want_it() {
    let settings = fresh();
    let sink = opened(&settings);
    let document =
        json!({ "n": 1, "at": "2025-03-01 02:00:00.000", "extra": { "a": [1, "x"] }, "items": [{ "qty": 2 }], "z": 1 });
    assert_eq!(one(&sink, index("1", 1, &document)).await, SinkOutcome::Written);
    let zero = json!({ "at": "0000-00-00 00:00:00", "extra": [1, { "a": "text" }] });
    assert_eq!(one(&sink, index("2", 1, &zero)).await, SinkOutcome::Written, "a zero date of MySQL, and another shape of JSON");
    let name = settings.index.as_str();
    let mapping = plain(&settings, "GET", &format!("{name}/_mapping"), "").1;
    let properties = &mapping[name]["mappings"]["properties"];
    assert_eq!(properties.as_object().unwrap().keys().collect::<Vec<_>>(), ["at", "extra", "items", "n", "word"]);
    let held = plain(&settings, "GET", &format!("{name}/_settings"), "").1;
    assert_eq!(held[name]["settings"]["index"]["gc_deletes"], "1h");
    assert_eq!(plain(&settings, "GET", &format!("_index_template/widerow-{name}"), "").0, 200);
    let seen = inspect(&Client::new(&settings).unwrap(), name, &mapping_of(&line()), false).await;
    assert!(seen.iter().all(|seen| matches!(seen, Seen::Fine(_))), "{seen:#?}");
    assert!(matches!(&seen[0], Seen::Fine(product) if product.starts_with(&product_asked_for())), "{seen:#?}");
}

/// Goal: an index that somebody else made is not changed, what does not fit is found, and the remedy mends it.
/// Method: an index with little in it; write; check; do as told; check again.
#[tokio::test]
async fn an_index_of_others_is_left_as_it_is() {
    let settings = fresh();
    let name = settings.index.as_str();
    let body = json!({ "mappings": { "properties": { "n": { "type": "long" } } } });
    assert_eq!(plain(&settings, "PUT", name, &body.to_string()).0, 200);
    let before = plain(&settings, "GET", name, "").1;
    assert_eq!(one(&opened(&settings), index("1", 1, &json!({ "n": 1 }))).await, SinkOutcome::Written);
    assert_eq!(plain(&settings, "GET", name, "").1, before);
    let client = Client::new(&settings).unwrap();
    let mut told = 0;
    for seen in inspect(&client, name, &mapping_of(&line()), true).await {
        let Seen::Lacking { remedy, .. } = seen else { continue };
        let (request, body) = remedy.split_once(" {").unwrap_or_else(|| panic!("{remedy}"));
        let (method, path) = request.split_once(" /").unwrap();
        assert_eq!(plain(&settings, method, path, &format!("{{{body}")).0, 200, "{remedy}");
        told += 1;
    }
    assert_eq!(told, 6, "four fields, `dynamic`, `gc_deletes`");
    let seen = inspect(&client, name, &mapping_of(&line()), true).await;
    assert!(seen.iter().all(|seen| matches!(seen, Seen::Fine(_))), "{seen:#?}");
}

/// Goal: versions that a double cannot tell apart stay apart, up to the last one. Method: a table at 2^53 and 2^63.
#[tokio::test]
async fn versions_are_whole_numbers() {
    let sink = opened(&fresh());
    for base in [(1i64 << 53) + 1, i64::MAX - 1] {
        let id = base.to_string();
        for (version, want) in [
            (base, SinkOutcome::Written),
            (base - 1, SinkOutcome::Superseded(Some(RowVersion(base)))),
            (base, SinkOutcome::Written),
            (base + 1, SinkOutcome::Written),
            (base, SinkOutcome::Superseded(Some(RowVersion(base + 1)))),
        ] {
            assert_eq!(one(&sink, index(&id, version, &json!({ "n": version }))).await, want, "version {version}");
        }
        assert_eq!(sink.get(id).await.unwrap().unwrap().version, RowVersion(base + 1));
    }
}

/// Goal: a document the mapping refuses is rejected with the reason, alone; ids of every kind are taken.
/// Method: one batch with a bad one in it.
#[tokio::test]
async fn a_refused_document_hurts_nobody() {
    let sink = opened(&fresh());
    let long = "x".repeat(512);
    let ids = ["a/b c?d#e", "\"quoted\"\\", "门", "..", &long];
    let mut batch: Vec<_> = ids.iter().map(|id| index(id, 1, &json!({ "n": 1 }))).collect();
    batch.insert(2, index("bad", 1, &json!({ "n": "not a number" })));
    batch.push(index(&"x".repeat(513), 1, &json!({})));
    let outcomes = sink.write(batch).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        match (at, outcome) {
            (2, SinkOutcome::Rejected(reason)) => assert!(reason.contains("[n]"), "{reason}"),
            (6, SinkOutcome::Rejected(reason)) => assert!(reason.contains("513"), "{reason}"),
            (at, outcome) => assert_eq!(*outcome, SinkOutcome::Written, "document {at}"),
        }
    }
    for id in ids {
        assert!(sink.get(id.to_owned()).await.unwrap().is_some(), "{id}");
    }
}

/// Goal: a delete is not undone by what was decided before it. Method: delete, then an old write; delete what never was.
#[tokio::test]
async fn an_old_retry_does_not_undo_a_delete() {
    let sink = opened(&fresh());
    assert_eq!(one(&sink, index("1", 5, &json!({ "n": 5 }))).await, SinkOutcome::Written);
    assert_eq!(one(&sink, delete("1", 7)).await, SinkOutcome::Written);
    assert_eq!(one(&sink, index("1", 6, &json!({ "n": 6 }))).await, SinkOutcome::Superseded(Some(RowVersion(7))));
    assert_eq!(one(&sink, delete("2", 3)).await, SinkOutcome::Written);
    assert_eq!(one(&sink, index("2", 2, &json!({ "n": 2 }))).await, SinkOutcome::Superseded(Some(RowVersion(3))));
    assert_eq!((sink.get("1".into()).await, sink.get("2".into()).await), (Ok(None), Ok(None)));
    assert_eq!(one(&sink, index("1", 8, &json!({ "n": 8 }))).await, SinkOutcome::Written);
}

/// Goal: a server killed among bulk requests ends with the newest of every document, as long as whoever gets `Retry` writes
/// its present state again (J7). Method: rounds of rising versions, a kill in the midst, a start, the oracle.
#[tokio::test]
async fn a_killed_server_ends_as_it_should() {
    let server = servers::search();
    let settings = ElasticsearchSettings { timeout: Duration::from_secs(20), ..settings(&server, "orders") };
    let sink = opened(&settings);
    let mut oracle: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let rounds = 12;
    let mut unknown = 0;
    for round in 1..=rounds {
        let ids: Vec<String> = (0..400).map(|n| format!("d{}", (n * 7 + round) % 500)).collect();
        for (n, id) in ids.iter().enumerate() {
            oracle.insert(id.clone(), (n % 9 != 0).then_some(round));
        }
        let state = |id: &String| match oracle[id] {
            Some(n) => index(id, round, &json!({ "n": n })),
            None => delete(id, round),
        };
        let mut todo: Vec<String> = ids.iter().filter(|id| oracle.contains_key(*id)).cloned().collect();
        todo.sort();
        todo.dedup();
        let mut writing = Box::pin(sink.write(todo.iter().map(state).collect()));
        let mut outcomes = None;
        if round == 6 {
            // Polled once, the requests are on their way; then the server dies.
            tokio::select! { biased; done = &mut writing => outcomes = Some(done), () = std::future::ready(()) => {} }
            server.kill();
        }
        let mut outcomes = match outcomes {
            Some(outcomes) => outcomes,
            None => writing.await,
        };
        if round == 6 {
            server.start_again();
        }
        loop {
            let again = |outcome: &SinkOutcome| matches!(outcome, SinkOutcome::Retry { counts: false, .. });
            assert!(outcomes.iter().all(|o| again(o) || *o == SinkOutcome::Written), "round {round}: {outcomes:?}");
            todo = todo.into_iter().zip(&outcomes).filter(|(_, outcome)| again(outcome)).map(|(id, _)| id).collect();
            if todo.is_empty() {
                break;
            }
            unknown += todo.len();
            outcomes = sink.write(todo.iter().map(state).collect()).await;
        }
    }
    assert!(unknown > 0, "the kill met no request");
    let held = sink.list(None, 10_000).await.unwrap();
    let held: BTreeMap<String, i64> = held
        .into_iter()
        .map(|held| {
            let body: Value = serde_json::from_slice(&held.document.unwrap()).unwrap();
            (held.id, body["n"].as_i64().unwrap())
        })
        .collect();
    let wanted: BTreeMap<String, i64> = oracle.into_iter().filter_map(|(id, n)| n.map(|n| (id, n))).collect();
    assert_eq!(held, wanted);
}

/// Goal: a server that refuses what it has no room for (429) has the newest of every document in the end, and who was refused
/// is told to come again. Method: one writing thread with a queue for one request, eight writers at once, the documents.
#[tokio::test]
async fn a_storm_of_refusals_loses_nothing() {
    const WRITERS: usize = 8;
    const DOCUMENTS: usize = 300;
    const VERSIONS: i64 = 4;
    let server = servers::narrow_search();
    let settings = ElasticsearchSettings { bulk_docs: 20, bulk_in_flight: 32, ..settings(&server, "orders") };
    let sink = opened(&settings);
    let write = async |writer: usize| {
        let mut refused = 0;
        for version in 1..=VERSIONS {
            let mut todo: Vec<usize> = (0..DOCUMENTS).collect();
            while !todo.is_empty() {
                let writes = todo.iter().map(|n| index(&format!("{writer}-{n}"), version, &json!({ "n": version }))).collect();
                let outcomes = sink.write(writes).await;
                let left = todo.iter().zip(outcomes).filter_map(|(n, outcome)| match outcome {
                    SinkOutcome::Written => None,
                    SinkOutcome::Retry { counts: false, fault } if fault.kind == FaultKind::Throttled => Some(*n),
                    other => panic!("{writer}-{n} version {version}: {other:?}"),
                });
                todo = left.collect();
                refused += todo.len();
            }
        }
        refused
    };
    let refused: usize = join_all((0..WRITERS).map(write)).await.into_iter().sum();
    assert!(refused > 0, "the server had room for everything");
    let held = sink.list(None, 10_000).await.unwrap();
    assert_eq!(held.len(), WRITERS * DOCUMENTS);
    for held in held {
        let body: Value = serde_json::from_slice(&held.document.unwrap()).unwrap();
        assert_eq!((held.version, &body["n"]), (RowVersion(VERSIONS), &json!(VERSIONS)), "{}", held.id);
    }
}

/// What goes wrong for this sink, and whether it is the document's fault.
async fn fault(sink: &dyn Sink, id: &str) -> (FaultKind, String) {
    match one(sink, index(id, 1, &json!({ "n": 1 }))).await {
        SinkOutcome::Retry { counts: false, fault } => (fault.kind, fault.to_string()),
        other => panic!("{id}: {other:?}"),
    }
}

/// Goal: users, API keys and certificates: who may, writes; who may not is told why, and `check` lists the rights that lack.
/// Method: an Elasticsearch with users under TLS, one who may do everything, one who may write to one index.
#[tokio::test]
async fn under_security_who_may_writes() {
    let server = servers::secure_search();
    let basic = |username: &str, password: &str| {
        let password = Secret::new(password.to_owned());
        Some(SearchAuth::Basic { username: username.to_owned(), password })
    };
    let trusting = Tls { ca: Some(server.folder().join("server.crt")), verify: true, ..Tls::default() };
    let as_who = |auth: Option<SearchAuth>, tls: &Tls, index: &str| {
        let urls = vec![format!("https://{}", server.address())];
        ElasticsearchSettings { urls, auth, tls: Some(tls.clone()), ..settings(&server, index) }
    };
    let seen = async |settings: &ElasticsearchSettings| {
        inspect(&Client::new(settings).unwrap(), &settings.index, &mapping_of(&line()), true).await
    };

    let owner = as_who(basic("widerow", "widerow"), &trusting, "ledger");
    assert_eq!(one(&opened(&owner), index("1", 1, &json!({ "n": 1 }))).await, SinkOutcome::Written);
    let all = seen(&owner).await;
    assert!(all.iter().all(|seen| matches!(seen, Seen::Fine(_))), "{all:#?}");

    let wrong = fault(&opened(&as_who(basic("widerow", "guessed"), &trusting, "ledger")), "1").await;
    assert!(wrong.0 == FaultKind::Forbidden && wrong.1.contains("check `auth`"), "{wrong:?}");
    let nobody = fault(&opened(&as_who(None, &trusting, "ledger")), "1").await;
    assert_eq!(nobody.0, FaultKind::Forbidden, "{nobody:?}");
    let known_to_all = Tls { verify: true, ..Tls::default() };
    let unknown = fault(&opened(&as_who(basic("widerow", "widerow"), &known_to_all, "ledger")), "1").await;
    assert!(unknown.0 == FaultKind::Unreachable && unknown.1.contains("certificate"), "{unknown:?}");
    let unchecked = as_who(basic("widerow", "widerow"), &Tls::default(), "ledger");
    assert_eq!(one(&opened(&unchecked), index("1", 2, &json!({ "n": 2 }))).await, SinkOutcome::Written);

    let clerk = as_who(basic("clerk", "widerow"), &trusting, "ledger");
    assert_eq!(one(&opened(&clerk), index("1", 3, &json!({ "n": 3 }))).await, SinkOutcome::Written);
    assert_eq!(opened(&clerk).get("1".into()).await.unwrap().unwrap().version, RowVersion(3));
    let lacking = format!("{:?}", seen(&clerk).await);
    for words in ["no right on index `ledger`: create_index", "no right on the cluster:", "monitor", "manage_index_templates"] {
        assert!(lacking.contains(words), "{words}: {lacking}");
    }
    let elsewhere = fault(&opened(&as_who(basic("clerk", "widerow"), &trusting, "orders")), "1").await;
    assert!(elsewhere.0 == FaultKind::Forbidden && elsewhere.1.contains("check --connect"), "{elsewhere:?}");

    let key = api_key(&server).await;
    let by_key = as_who(Some(SearchAuth::ApiKey(Secret::new(key))), &trusting, "ledger");
    assert_eq!(one(&opened(&by_key), index("1", 4, &json!({ "n": 4 }))).await, SinkOutcome::Written);
    let by_other = as_who(Some(SearchAuth::ApiKey(Secret::new("bm90OmFrZXk=".to_owned()))), &trusting, "ledger");
    assert_eq!(fault(&opened(&by_other), "1").await.0, FaultKind::Forbidden);
}

/// A key of the user who may do everything, as the server prints it.
async fn api_key(server: &Server) -> String {
    let url = Url::parse(&format!("https://{}", server.address())).unwrap();
    let login = Credentials::Basic("widerow".into(), "widerow".into());
    let transport = TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy();
    let transport = transport.cert_validation(CertificateValidation::None).auth(login).build().unwrap();
    let (headers, body) = (HeaderMap::new(), Some(r#"{"name":"sink"}"#));
    let reply = transport.send(Method::Post, "_security/api_key", headers, None::<&()>, body, None).await.unwrap();
    let read: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    read["encoded"].as_str().unwrap_or_else(|| panic!("no key: {read}")).to_owned()
}
