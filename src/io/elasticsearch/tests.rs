//! Goal: K2 against servers that answer oddly. Method: a server of a few lines, whose replies each test decides.

use super::client::Client;
use super::inspect::{Seen, inspect};
use super::mapping::{Mapping, mapping_of};
use super::sink::{ElasticsearchSink, SinkOptions};
use super::testing::{Asked, OddServer, Reply, delete, index, ordinary};
use crate::domain::document::{As, ColumnRef, Document, Field, Scalar};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Name, RowVersion};
use crate::domain::line::{DeleteMode, LaneRules, Line, When};
use crate::domain::template::Template;
use crate::ports::clock::Moment;
use crate::ports::sink::{Freshness, Sink, SinkOutcome, SinkWrite};
use crate::settings::{ElasticsearchSettings, SearchAuth, Secret, Tls};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn settings(url: &str) -> ElasticsearchSettings {
    ElasticsearchSettings {
        urls: vec![url.to_owned()],
        index: "shop".to_owned(),
        auth: None,
        tls: None,
        create: true,
        bulk_docs: 100,
        bulk_bytes: 1 << 20,
        bulk_in_flight: 4,
        timeout: Duration::from_secs(20),
    }
}

fn mapping() -> Mapping {
    let scalar = Scalar { shown_as: As::Long, default: None };
    let from = ColumnRef { table: Name::of("orders"), column: Name::of("n") };
    let document = Document { id: Template::parse("{no}").unwrap(), fields: vec![("n".into(), Field::Column { from, scalar })] };
    mapping_of(&Line {
        name: Name::of("search"),
        kind: Name::of("order"),
        when: When::Any,
        lanes: LaneRules::default(),
        types: vec![],
        document: Some(document),
        delete: DeleteMode::Delete,
        skip_equal: false,
    })
}

fn sink_of(settings: &ElasticsearchSettings, create: bool) -> ElasticsearchSink {
    let options = SinkOptions {
        index: settings.index.clone(),
        create: create.then(mapping),
        docs: settings.bulk_docs,
        bytes: settings.bulk_bytes,
        in_flight: settings.bulk_in_flight,
    };
    ElasticsearchSink::new(Client::new(settings).unwrap(), options)
}

fn run<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}

/// Asks the server's sink to hold these writes, once.
fn written(server: &OddServer, writes: Vec<SinkWrite>) -> Vec<SinkOutcome> {
    run(sink_of(&settings(&server.url), true).write(writes))
}

fn short(outcomes: &[SinkOutcome]) -> Vec<String> {
    let one = |outcome: &SinkOutcome| match outcome {
        SinkOutcome::Written => "written".to_owned(),
        SinkOutcome::Superseded(held) => format!("superseded by {:?}", held.map(|v| v.0)),
        SinkOutcome::Rejected(_) => "rejected".to_owned(),
        SinkOutcome::Retry { fault, counts } => format!("{} {counts}", fault.kind.label()),
    };
    outcomes.iter().map(one).collect()
}

/// A server that answers bulk requests so, and everything else as an ordinary one.
fn bulk(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> OddServer {
    OddServer::new(move |asked| if asked.path.contains("_bulk") { answer(asked) } else { ordinary(asked) })
}

/// Every document of a body was taken.
fn all_fine(asked: &Asked) -> Reply {
    let lines = asked.body.lines().filter(|line| line.contains("version_type"));
    let items: Vec<_> = lines
        .map(|line| if line.starts_with("{\"delete\"") { r#"{"delete":{"status":200}}"# } else { r#"{"index":{"status":201}}"# })
        .collect();
    Reply::Json(200, format!("{{\"items\":[{}]}}", items.join(",")))
}

/// Goal: what failed whole is unknown, uses up no try, and is not sent twice. Method: a table of replies, two documents each.
#[test]
fn whole_failures_are_unknown_and_not_resent() {
    type Answer = fn() -> Reply;
    let table: [(&str, Answer, &str); 8] = [
        (
            "429",
            || Reply::Json(429, r#"{"error":{"type":"es_rejected_execution_exception","reason":"full"}}"#.into()),
            "throttled false",
        ),
        ("503", || Reply::Json(503, "no master".into()), "unreachable false"),
        ("cut mid-reply", || Reply::Cut(1_000), "unreachable false"),
        ("closed without a word", || Reply::Nothing, "unreachable false"),
        ("garbage", || Reply::Json(200, "<html>proxy</html>".into()), "unreachable false"),
        ("too few items", || Reply::Json(200, r#"{"items":[{"index":{"status":201}}]}"#.into()), "unreachable false"),
        ("no right", || Reply::Json(403, "{}".into()), "forbidden false"),
        ("moved", || Reply::Json(405, "{}".into()), "incompatible false"),
    ];
    for (case, answer, want) in table {
        let server = bulk(move |_| answer());
        let outcomes = written(&server, vec![index("1", 1, "{}"), delete("2", 1)]);
        assert_eq!(short(&outcomes), [want, want], "{case}");
        assert_eq!(server.bulks().len(), 1, "{case}: sent again");
    }
}

/// Goal: items are judged one by one, in the order of the batch, and ids the server never takes are not sent.
/// Method: a reply of every kind.
#[test]
fn items_are_judged_one_by_one() {
    let server = bulk(|_| {
        let conflict = r#"{"type":"version_conflict_engine_exception","reason":"current version [9] is higher"}"#;
        let items = [
            r#"{"index":{"status":201}}"#.to_owned(),
            format!(r#"{{"index":{{"status":409,"error":{conflict}}}}}"#),
            r#"{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"x"}}}"#.to_owned(),
            r#"{"index":{"status":400,"error":{"type":"document_parsing_exception","reason":"n"}}}"#.to_owned(),
            r#"{"delete":{"status":404}}"#.to_owned(),
        ];
        Reply::Json(200, format!("{{\"items\":[{}]}}", items.join(",")))
    });
    let batch = vec![index("", 1, "{}"), index("1", 1, "{}"), index("2", 1, "{}"), index("3", 1, "{}"), index("4", 1, "{}")];
    let outcomes = written(&server, [batch, vec![delete("5", 1)]].concat());
    let want = ["rejected", "written", "superseded by Some(9)", "throttled false", "rejected", "written"];
    assert_eq!(short(&outcomes), want);
}

/// Goal: 413 halves the request until it fits, and only a single document too large is rejected; what was learnt stays.
/// Method: a server that takes 40,000 bytes; sixteen documents of 9,000 bytes and one of 50,000.
#[test]
fn too_large_is_halved() {
    let server = bulk(|asked| if asked.body.len() > 40_000 { Reply::Json(413, String::new()) } else { all_fine(asked) });
    let sink = sink_of(&settings(&server.url), true);
    let text = |n: usize| format!("\"{}\"", "x".repeat(n));
    let mut writes: Vec<_> = (0..16).map(|n| index(&n.to_string(), 1, &text(9_000))).collect();
    writes.insert(7, index("large", 1, &text(50_000)));
    let outcomes = run(sink.write(writes.clone()));
    for (write, outcome) in writes.iter().zip(&outcomes) {
        let rejected = matches!(outcome, SinkOutcome::Rejected(reason) if reason.contains("max_content_length"));
        assert_eq!(rejected, write.id == "large", "{}: {outcome:?}", write.id);
    }
    let taken: Vec<_> = server.bulks().into_iter().filter(|asked| asked.body.len() <= 40_000).collect();
    let ids = taken.iter().map(|asked| asked.body.matches("version_type").count()).sum::<usize>();
    assert_eq!(ids, 16, "each document was taken once");
    let before = server.bulks().len();
    run(sink.write((0..7).map(|n| index(&n.to_string(), 2, &text(9_000))).collect()));
    assert!(server.bulks()[before..].iter().all(|asked| asked.body.len() <= 65_536 + 1_000), "what 413 taught is kept to");
}

/// Goal: a document that spoils its request for the others is found alone. Method: a server that cannot read one id.
#[test]
fn an_unreadable_document_is_found_alone() {
    let server = bulk(|asked| if asked.body.contains("\"bad\"") { Reply::Json(400, "{}".into()) } else { all_fine(asked) });
    let ids = ["a", "b", "bad", "c", "d"];
    let outcomes = written(&server, ids.iter().map(|id| index(id, 1, "{}")).collect());
    assert_eq!(short(&outcomes), ["written", "written", "rejected", "written", "written"]);
}

/// Goal: the server's own bound is kept to without being met. Method: it tells 3,000 bytes; documents below and above.
#[test]
fn the_servers_bound_is_known_before() {
    let server = OddServer::new(|asked| match asked.path.split('?').next().unwrap_or_default() {
        "/_nodes/http" => Reply::Json(200, r#"{"nodes":{"a":{"http":{"max_content_length_in_bytes":3000}}}}"#.into()),
        path if path.contains("_bulk") => all_fine(asked),
        _ => ordinary(asked),
    });
    let text = |n: usize| format!("\"{}\"", "x".repeat(n));
    let sizes = [1_000, 1_000, 1_000, 4_000, 10];
    let writes = sizes.iter().enumerate().map(|(n, size)| index(&n.to_string(), 1, &text(*size))).collect();
    assert_eq!(short(&written(&server, writes)), ["written", "written", "written", "rejected", "written"]);
    assert!(server.bulks().iter().all(|asked| asked.body.len() <= 3_000));
}

/// Goal: K2's bound on age. Method: a batch read too long ago, one whose lease has ended, a fresh one; an index that
/// forgets deletes after a minute.
#[test]
fn old_bodies_are_not_sent() {
    let server = OddServer::new(|asked| match asked.path.as_str() {
        path if path.contains("_bulk") => all_fine(asked),
        path if path.ends_with("/_settings") => Reply::Json(200, r#"{"shop":{"settings":{"index":{}}}}"#.into()),
        _ => ordinary(asked),
    });
    let sink = sink_of(&settings(&server.url), true);
    let (now, long) = (Moment::now(), Duration::from_secs(3_600));
    let ago = |seconds| Moment(now.0.saturating_sub(Duration::from_secs(seconds)));
    let later = Moment(now.0 + long);
    let table = [(ago(40), later, "timeout false"), (now, now, "timeout false"), (ago(1), later, "written")];
    for (read, leased_until, want) in table {
        // A machine that has run for less than a minute knows no moment so long ago.
        if now.since(read) < Duration::from_secs(40) && want == "timeout false" && leased_until == later {
            continue;
        }
        let outcomes = run(sink.write_fresh(vec![index("1", 1, "{}")], Freshness::new(read, leased_until)));
        assert_eq!(short(&outcomes), [want]);
    }
    assert_eq!(server.bulks().len(), 1, "only the fresh one was sent");
}

/// Goal: a missing index is made once, with its template, never changed; or asked for where it is not ours to make.
/// Method: a server without the index, an Elasticsearch without templates, an OpenSearch; then the index goes away.
#[test]
fn a_missing_index_is_made_once() {
    for (banner, template) in [
        (r#"{"version":{"number":"8.19.0"}}"#, true),
        (r#"{"version":{"number":"7.6.2"}}"#, false),
        (r#"{"version":{"number":"2.19.0","distribution":"opensearch"}}"#, true),
    ] {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        MADE.store(0, Ordering::SeqCst);
        let server =
            OddServer::new(move |asked| match (asked.method.as_str(), asked.path.split('?').next().unwrap_or_default()) {
                ("GET", "/") => Reply::Json(200, banner.into()),
                ("GET", "/shop/_settings") if MADE.load(Ordering::SeqCst) == 0 => Reply::Json(404, "{}".into()),
                ("PUT", "/shop") => {
                    MADE.fetch_add(1, Ordering::SeqCst);
                    Reply::Json(200, "{}".into())
                }
                (_, path) if path.contains("_bulk") => all_fine(asked),
                _ => ordinary(asked),
            });
        let outcomes = run(sink_of(&settings(&server.url), false).write(vec![index("1", 1, "{}")]));
        assert_eq!(short(&outcomes), ["incompatible false"], "not ours to make");
        let sink = sink_of(&settings(&server.url), true);
        let both =
            run(async { futures_util::join!(sink.write(vec![index("1", 1, "{}")]), sink.write(vec![index("2", 1, "{}")])) });
        assert_eq!((short(&both.0), short(&both.1)), (vec!["written".into()], vec!["written".into()]));
        assert_eq!(MADE.load(Ordering::SeqCst), 1, "{banner}");
        let asked = server.asked.lock().unwrap();
        let templates =
            asked.iter().filter(|a| a.path.starts_with("/_index_template/widerow-shop") && a.path.contains("create=true"));
        assert_eq!(templates.count() > 0, template, "{banner}");
        let made = asked.iter().find(|a| a.method == "PUT" && a.path == "/shop").unwrap();
        assert!(made.body.contains(r#""dynamic":false"#) && made.body.contains(r#""gc_deletes":"1h""#), "{}", made.body);
    }
}

/// Goal: who we are is said, and a key that is none is refused before the client falls over it. Method: both ways, and a
/// key with a line break; client certificates, unreadable authorities.
#[test]
fn credentials_are_sent() {
    let basic = SearchAuth::Basic { username: "u".into(), password: Secret::new("p".into()) };
    let key = |text: &str| SearchAuth::ApiKey(Secret::new(text.into()));
    for (auth, header) in [(basic, "authorization: basic dtpw"), (key("abc=="), "authorization: apikey abc==")] {
        let server = bulk(all_fine);
        let settings = ElasticsearchSettings { auth: Some(auth), ..settings(&server.url) };
        assert_eq!(short(&run(sink_of(&settings, true).write(vec![index("1", 1, "{}")]))), ["written"]);
        assert!(server.asked.lock().unwrap().iter().all(|asked| asked.headers.iter().any(|h| h == header)), "{header}");
    }
    let base = settings("http://127.0.0.1:1");
    let tls = |tls: Tls| ElasticsearchSettings { tls: Some(tls), ..base.clone() };
    for (settings, words) in [
        (ElasticsearchSettings { auth: Some(key("a\nb")), ..base.clone() }, "auth.api_key"),
        (ElasticsearchSettings { urls: vec!["http://".into()], ..base.clone() }, "urls"),
        (tls(Tls { certificate: Some("c.pem".into()), ..Tls::default() }), "tls.certificate"),
        (tls(Tls { ca: Some("not-there.pem".into()), verify: true, ..Tls::default() }), "not-there.pem"),
    ] {
        let Err(fault) = Client::new(&settings) else { panic!("{words} was accepted") };
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

/// Goal: what is no known search server is not written to. Method: banners.
#[test]
fn other_servers_are_refused() {
    for (status, banner) in [(200, "<html>"), (200, r#"{"version":{"number":"6.8.1"}}"#), (401, "{}"), (500, "")] {
        let server = OddServer::new(move |_| Reply::Json(status, banner.into()));
        let outcomes = written(&server, vec![index("1", 1, "{}")]);
        assert!(matches!(&outcomes[..], [SinkOutcome::Retry { counts: false, .. }]), "{banner}: {outcomes:?}");
        assert!(server.bulks().is_empty());
    }
}

/// Goal: a node that is gone is passed over. Method: one dead address and one living; writes until both were asked.
#[test]
fn a_dead_node_rests() {
    let server = bulk(all_fine);
    let urls = vec!["http://127.0.0.1:1".to_owned(), server.url.clone()];
    let sink = sink_of(&ElasticsearchSettings { urls, ..settings("") }, true);
    let outcomes: Vec<_> = (0..4).map(|n| short(&run(sink.write(vec![index("1", n, "{}")])))).collect();
    assert_eq!(outcomes[0], ["unreachable false"], "the first finds out");
    assert!(outcomes[1..].iter().all(|outcome| outcome[..] == ["written"]), "{outcomes:?}");
}

/// Goal: versions of any size and digits of any length come back as they are. Method: what a server would say.
#[test]
fn what_is_held_is_read_exactly() {
    let server = OddServer::new(|asked| match asked.body.contains("gone") {
        true => Reply::Json(200, r#"{"docs":[{"_id":"gone","found":false}]}"#.into()),
        false => {
            let held = r#"{"_id":"1","_version":9223372036854775807,"found":true,"_source":{"n":0.10000000000000000000001}}"#;
            Reply::Json(200, format!(r#"{{"docs":[{held}]}}"#))
        }
    });
    let sink = sink_of(&settings(&server.url), true);
    let held = run(sink.get("1".into())).unwrap().unwrap();
    assert_eq!((held.version, &held.document.unwrap()[..]), (RowVersion(i64::MAX), &br#"{"n":0.10000000000000000000001}"#[..]));
    assert_eq!(run(sink.get("gone".into())), Ok(None));
    let server = OddServer::new(|_| Reply::Json(200, "[]".into()));
    let fault = run(sink_of(&settings(&server.url), true).get("1".into())).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Incompatible);
}

/// Goal: `check --connect` says what is missing and what mends it. Method: servers with one thing wrong each.
#[test]
fn a_check_names_what_is_missing() {
    let good = r#"{"shop":{"mappings":{"dynamic":"false","properties":{"n":{"type":"long"}}}}}"#;
    type Change = (&'static str, &'static str, u16, &'static str);
    let table: [(Option<Change>, &[&str]); 8] = [
        (None, &[]),
        (
            Some(("/shop/_mapping", "", 200, r#"{"shop":{"mappings":{"dynamic":"strict","properties":{}}}}"#)),
            &["no field `n`", "PUT /shop/_mapping"],
        ),
        (
            Some(("/shop/_mapping", "", 200, r#"{"shop":{"mappings":{"properties":{"n":{"type":"long"}}}}}"#)),
            &["makes fields", "\"dynamic\":false"],
        ),
        (
            Some(("/shop/_mapping", "", 200, r#"{"shop":{"mappings":{"dynamic":"false","properties":{"n":{"type":"byte"}}}}}"#)),
            &["is byte", "widerow rebuild"],
        ),
        (
            Some(("/shop/_settings", "", 200, r#"{"shop":{"settings":{"index":{"gc_deletes":"60s"}}}}"#)),
            &["60 s", "PUT /shop/_settings"],
        ),
        (
            Some((
                "/_security/user/_has_privileges",
                "",
                200,
                r#"{"index":{"shop":{"index":true,"delete":false}},"cluster":{"monitor":false}}"#,
            )),
            &["no right on index `shop`: delete", "cluster: monitor"],
        ),
        (Some(("/", "", 200, "<html>")), &["no search server"]),
        (Some(("/", "", 401, "{}")), &["check `auth`"]),
    ];
    for (change, words) in table {
        let server = OddServer::new(move |asked| match (asked.path.as_str(), change) {
            (path, Some((at, _, status, body))) if path == at => Reply::Json(status, body.into()),
            ("/shop/_mapping", _) => Reply::Json(200, good.into()),
            ("/_security/user/_has_privileges", _) => Reply::Json(400, "{}".into()),
            _ => ordinary(asked),
        });
        let client = Client::new(&settings(&server.url)).unwrap();
        let seen = run(inspect(&client, "shop", &mapping(), false));
        let lacking = |seen: &Seen| match seen {
            Seen::Lacking { missing, remedy } => Some(format!("{missing} → {remedy}")),
            Seen::Fine(_) => None,
        };
        let told: Vec<_> = seen.iter().filter_map(lacking).collect();
        assert_eq!(told.is_empty(), words.is_empty(), "{change:?}: {told:#?}");
        assert!(words.iter().all(|word| told.iter().any(|told| told.contains(word))), "{change:?}: {told:#?}");
        assert!(
            server.asked.lock().unwrap().iter().all(|a| a.method == "GET" || a.path.contains("_has_privileges")),
            "it only looks"
        );
    }
}
