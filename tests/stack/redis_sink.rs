//! Goal: K3, documents in Redis hold what their version says, whatever happens to the server. Method: the sink on real
//! servers, read back by plain commands that know nothing of it.

use crate::servers::{self, Kind, Server};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{RowKey, RowVersion};
use widerow::domain::template::Template;
use widerow::io::redis_sink::RedisSink;
use widerow::ports::sink::{Body, Sink, SinkOutcome, SinkWrite};
use widerow::settings::{HashForm, RedisAddress, RedisMode, RedisSinkSettings};

/// The promises of every sink that can be asked.
#[path = "../contract/sinks.rs"]
mod contract;

/// Where the contract runs: keys of its own on the shared server.
mod place {
    use super::*;

    pub struct Place(RedisSinkSettings);

    impl Place {
        pub fn fresh() -> Self {
            Self(super::fresh(HashForm::Document))
        }
        pub fn sink(&self, _line: &str) -> Arc<dyn Sink> {
            Arc::new(opened(&self.0))
        }
    }

    macro_rules! on_both {
        ($($body:ident),* $(,)?) => {
            mod on_redis {
                use crate::redis_sink::place::Place;
                $(#[tokio::test] async fn $body() { super::$body(&Place::fresh()).await; })*
            }
        };
    }
    pub(crate) use on_both;
}

const HORIZON: Duration = Duration::from_secs(7 * 86_400);

fn settings(server: &Server, prefix: &str, form: HashForm) -> RedisSinkSettings {
    let redis = RedisAddress {
        mode: RedisMode::Single,
        hosts: vec![server.address()],
        database: 0,
        username: None,
        password: None,
        tls: None,
        timeout: Duration::from_secs(30),
    };
    RedisSinkSettings { redis, key: Template::parse(&format!("{prefix}:{{id}}")).unwrap(), ttl: None, form }
}

/// Keys that no other test uses, on the shared server.
fn fresh(form: HashForm) -> RedisSinkSettings {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("t{}*", NUMBER.fetch_add(1, Ordering::Relaxed));
    settings(servers::shared(Kind::Redis), &prefix, form)
}

fn opened(settings: &RedisSinkSettings) -> RedisSink {
    RedisSink::open(settings, &Template::parse("{id}").unwrap(), HORIZON).unwrap()
}

fn index(id: &str, version: i64, document: &str) -> SinkWrite {
    let body = Body::Index(Bytes::copy_from_slice(document.as_bytes()));
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(id), types: vec![] }
}

fn delete(id: &str, version: i64) -> SinkWrite {
    SinkWrite { body: Body::Delete, ..index(id, version, "") }
}

async fn one(sink: &RedisSink, write: SinkWrite) -> SinkOutcome {
    sink.write(vec![write]).await.remove(0)
}

/// What another program uses.
async fn plain(settings: &RedisSinkSettings) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}/", settings.redis.hosts[0])).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(settings: &RedisSinkSettings, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut plain(settings).await).await.unwrap()
}

fn key(settings: &RedisSinkSettings, id: &str) -> String {
    settings.key.render(|_| Some(id)).unwrap()
}

async fn hash(settings: &RedisSinkSettings, id: &str) -> BTreeMap<String, String> {
    ask(settings, &["HGETALL", &key(settings, id)]).await
}

fn fields<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Goal: versions past what a double can tell apart. Method: each neighbour against the next, both ways round.
#[tokio::test]
async fn neighbours_past_doubles_are_told_apart() {
    let settings = fresh(HashForm::Document);
    let sink = opened(&settings);
    let (near_53, near_63) = (1_i64 << 53, i64::MAX);
    for low in [0, 9, near_53 - 1, near_53, near_53 + 1, near_63 - 2, near_63 - 1] {
        let id = low.to_string();
        let high = low + 1;
        assert_eq!(one(&sink, index(&id, low, "low")).await, SinkOutcome::Written);
        assert_eq!(one(&sink, index(&id, high, "high")).await, SinkOutcome::Written, "{high} after {low}");
        assert_eq!(one(&sink, index(&id, low, "late")).await, SinkOutcome::Superseded(Some(RowVersion(high))));
        assert_eq!(one(&sink, delete(&id, low)).await, SinkOutcome::Superseded(Some(RowVersion(high))));
        assert_eq!(hash(&settings, &id).await, fields([("v", &format!("{high:019}")), ("d", "high")]));
    }
}

/// Goal: marks of deletes end after the horizon, documents when they are meant to, revived ones live on. Method: the
/// server's own word on each key's life.
#[tokio::test]
async fn lives_are_set_with_the_version() {
    for form in [HashForm::Document, HashForm::Fields] {
        let forever = fresh(form);
        let day = Duration::from_secs(8 * 86_400);
        let limited = RedisSinkSettings { ttl: Some(day), ..forever.clone() };
        let life = async || ask::<i64>(&forever, &["PTTL", &key(&forever, "1")]).await;
        let within = |life: i64, bound: Duration| (0..=bound.as_millis() as i64).contains(&life) && life > 60_000;
        let sink = opened(&forever);
        one(&sink, index("1", 1, r#"{"a":"1"}"#)).await;
        assert_eq!(life().await, -1, "for ever");
        one(&sink, delete("1", 2)).await;
        assert!(within(life().await, HORIZON), "the mark of a delete");
        assert_eq!(hash(&forever, "1").await, fields([("v", "0000000000000000002")]));
        one(&sink, index("1", 3, r#"{"a":"1"}"#)).await;
        assert_eq!(life().await, -1, "revived");
        one(&opened(&limited), index("1", 4, r#"{"a":"1"}"#)).await;
        let set = life().await;
        assert!(within(set, day) && set > HORIZON.as_millis() as i64, "{set}");
        one(&sink, index("1", 5, r#"{"a":"1"}"#)).await;
        assert_eq!(life().await, -1, "the setting was taken back");
    }
}

/// Goal: a field each: readers need no JSON, what a document has no more is gone. Method: three versions, read plainly.
#[tokio::test]
async fn a_field_each() {
    let settings = fresh(HashForm::Fields);
    let sink = opened(&settings);
    one(&sink, index("1", 1, r#"{"name":"a\"b","n":1.10,"none":null,"items":[{"q":2}]}"#)).await;
    let version = |n: i64| format!("{n:019}");
    let want = fields([("v", &version(1)), ("name", "a\"b"), ("n", "1.10"), ("items", "[{\"q\":2}]")]);
    assert_eq!(hash(&settings, "1").await, want);
    one(&sink, index("1", 2, r#"{"n":2}"#)).await;
    assert_eq!(hash(&settings, "1").await, fields([("v", &version(2)), ("n", "2")]));
    assert_eq!(sink.get("1".into()).await.unwrap().unwrap().document, Some(Bytes::from(r#"{"n":"2"}"#)));
    // More arguments than one call of a script can pass on.
    let wide: BTreeMap<String, u32> = (0..5_000).map(|n| (format!("f{n}"), n)).collect();
    let json = serde_json::to_string(&wide).unwrap();
    assert_eq!(sink.write(vec![index("1", 3, &json), index("2", 1, r#"{"n":1}"#)]).await, vec![SinkOutcome::Written; 2]);
    assert_eq!(hash(&settings, "1").await.len(), 5_001);
    assert_eq!(hash(&settings, "2").await, fields([("v", &version(1)), ("n", "1")]));
    one(&sink, delete("1", 4)).await;
    assert_eq!(hash(&settings, "1").await, fields([("v", &version(4))]));
    assert_eq!(one(&sink, index("1", 3, &json)).await, SinkOutcome::Superseded(Some(RowVersion(4))));
}

/// Goal: a large batch is cut and answered in order; a server that forgets its scripts is told them again. Method: 1,700
/// documents, two in three of them above what is held; SCRIPT FLUSH in between.
#[tokio::test]
async fn large_batches_and_forgotten_scripts() {
    let settings = fresh(HashForm::Document);
    let sink = opened(&settings);
    let batch = |version: &dyn Fn(usize) -> i64| -> Vec<SinkWrite> {
        (0..1_700).map(|n| index(&n.to_string(), version(n), &"x".repeat(n % 7 * 1_000 + 1))).collect()
    };
    assert_eq!(sink.write(batch(&|n| (n % 3) as i64 * 10)).await, vec![SinkOutcome::Written; 1_700]);
    let _: String = ask(&settings, &["SCRIPT", "FLUSH"]).await;
    let outcomes = sink.write(batch(&|_| 15)).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let want = if n % 3 == 2 { SinkOutcome::Superseded(Some(RowVersion(20))) } else { SinkOutcome::Written };
        assert_eq!(outcome, want, "{n}");
    }
}

/// Goal: one key's trouble is that key's. Method: keys of another type and of another program among good ones.
#[tokio::test]
async fn keys_of_others_do_not_stop_the_batch() {
    for form in [HashForm::Document, HashForm::Fields] {
        let settings = fresh(form);
        let sink = opened(&settings);
        let _: String = ask(&settings, &["SET", &key(&settings, "text"), "x"]).await;
        let _: i64 = ask(&settings, &["HSET", &key(&settings, "theirs"), "v", "7", "x", "y"]).await;
        let batch = ["a", "text", "theirs", "z"].map(|id| index(id, 1, r#"{"a":"1"}"#)).to_vec();
        let outcomes = sink.write(batch).await;
        assert_eq!((&outcomes[0], &outcomes[3]), (&SinkOutcome::Written, &SinkOutcome::Written));
        for outcome in &outcomes[1..3] {
            let SinkOutcome::Retry { fault, counts: true } = outcome else { panic!("{outcome:?}") };
            assert_eq!(fault.kind, FaultKind::Corrupt, "{fault}");
        }
        assert_eq!(hash(&settings, "theirs").await, fields([("v", "7"), ("x", "y")]));
        let listed: Vec<_> = sink.list(None, 1).await.unwrap().into_iter().map(|held| held.id).collect();
        assert_eq!(listed, ["a"]);
    }
}

/// Goal: K1 under contention: the highest version wins and its own document stands with it. Method: eight writers send
/// every version of every document in orders of their own, in batches, with deletes among them.
#[tokio::test]
async fn the_highest_version_wins_in_any_order() {
    for form in [HashForm::Document, HashForm::Fields] {
        let settings = fresh(form);
        let writers = (0..8_u64).map(|writer| {
            let sink = opened(&settings);
            async move {
                let mut order: Vec<(u64, i64)> = (0..20).flat_map(|id| (1..=40).map(move |version| (id, version))).collect();
                order.sort_by_key(|(id, version)| (id * 40 + *version as u64).wrapping_mul(0x9E37_79B9 + 2 * writer) % 1_009);
                for slice in order.chunks(37) {
                    let mut seen = BTreeSet::new();
                    let slice = slice.iter().filter(|(id, _)| seen.insert(*id));
                    let write = |(id, version): &(u64, i64)| match (*id as i64 + version) % 5 {
                        0 => delete(&id.to_string(), *version),
                        _ => index(&id.to_string(), *version, &format!(r#"{{"n":"{version}"}}"#)),
                    };
                    for outcome in sink.write(slice.map(write).collect()).await {
                        assert!(matches!(outcome, SinkOutcome::Written | SinkOutcome::Superseded(Some(_))), "{outcome:?}");
                    }
                }
                // What a batch left out, its highest version among it, goes by itself.
                for id in 0..20 {
                    let body = if (id + 40) % 5 == 0 {
                        delete(&id.to_string(), 40)
                    } else {
                        index(&id.to_string(), 40, r#"{"n":"40"}"#)
                    };
                    one(&sink, body).await;
                }
            }
        });
        futures_util::future::join_all(writers).await;
        let sink = opened(&settings);
        for id in 0..20 {
            let held = sink.get(id.to_string()).await.unwrap().unwrap();
            let document = (id % 5 != 0).then(|| Bytes::from(r#"{"n":"40"}"#));
            assert_eq!((held.version, held.document), (RowVersion(40), document), "{id}");
        }
        assert_eq!(sink.list(None, 100).await.unwrap().len(), 16);
    }
}

/// Goal: a server that dies, and comes back with nothing, costs no tries and is written again. Method: kill, write,
/// remove its files, start, write; then a frozen one.
#[tokio::test]
async fn a_lost_server_is_written_again() {
    let server = servers::redis();
    let settings = settings(&server, "o", HashForm::Document);
    let sink = opened(&settings);
    assert_eq!(one(&sink, index("1", 9, "first")).await, SinkOutcome::Written);
    server.kill();
    let SinkOutcome::Retry { fault, counts: false } = one(&sink, index("1", 10, "while it is down")).await else {
        panic!("nobody was there")
    };
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
    std::fs::remove_dir_all(server.folder().join("appendonlydir")).unwrap();
    server.start_again();
    assert_eq!(sink.get("1".into()).await, Ok(None), "it came back empty");
    assert_eq!(one(&sink, index("1", 10, "again")).await, SinkOutcome::Written);
    assert_eq!(hash(&settings, "1").await, fields([("v", "0000000000000000010"), ("d", "again")]));

    let mut hasty = settings.clone();
    hasty.redis.timeout = Duration::from_millis(200);
    let hasty = opened(&hasty);
    assert_eq!(one(&hasty, index("2", 1, "x")).await, SinkOutcome::Written);
    server.freeze();
    let SinkOutcome::Retry { fault, counts: false } = one(&hasty, index("2", 2, "y")).await else { panic!("it is frozen") };
    assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
    server.thaw();
    // The lost call may have been done: the same again is right in either case.
    assert_eq!(one(&sink, index("2", 2, "y")).await, SinkOutcome::Written);
}

/// Goal: a full server is waited for, and nothing is half done in it. Method: no memory left, then enough.
#[tokio::test]
async fn a_full_server_is_waited_for() {
    let server = servers::redis();
    for form in [HashForm::Document, HashForm::Fields] {
        let settings = settings(&server, &format!("{form:?}"), form);
        let sink = opened(&settings);
        one(&sink, index("1", 1, r#"{"a":"1"}"#)).await;
        let _: String = ask(&settings, &["CONFIG", "SET", "maxmemory", "1"]).await;
        let outcomes = sink.write(vec![index("1", 2, r#"{"a":"2"}"#), delete("2", 1)]).await;
        for outcome in &outcomes {
            let SinkOutcome::Retry { fault, counts: false } = outcome else { panic!("{outcome:?}") };
            assert_eq!(fault.kind, FaultKind::Full, "{fault}");
        }
        let held = sink.get("1".into()).await.unwrap().unwrap();
        assert_eq!((held.version, held.document), (RowVersion(1), Some(Bytes::from(r#"{"a":"1"}"#))));
        let _: String = ask(&settings, &["CONFIG", "SET", "maxmemory", "0"]).await;
        assert_eq!(one(&sink, index("1", 2, r#"{"a":"2"}"#)).await, SinkOutcome::Written);
    }
}

/// Goal: what `check --connect` tells. Method: a server asked, one with another policy.
#[tokio::test]
async fn the_server_is_looked_at() {
    let server = servers::redis();
    let settings = settings(&server, "o", HashForm::Document);
    let seen = opened(&settings).look().await.unwrap();
    assert_eq!((seen.policy.as_str(), seen.servers), ("noeviction", 1));
    assert!(seen.version.chars().next().is_some_and(|c| c.is_ascii_digit()), "{seen:?}");
    let _: String = ask(&settings, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    assert_eq!(opened(&settings).look().await.unwrap().policy, "allkeys-lru");
}

/// Three primaries with a third of the slots each.
async fn cluster() -> ([Server; 3], RedisSinkSettings) {
    let nodes = [servers::redis_node(), servers::redis_node(), servers::redis_node()];
    let mut settings = settings(&nodes[0], "o", HashForm::Document);
    for (node, slots) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
        settings.redis.hosts = vec![node.address()];
        let _: String = ask(&settings, &["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]).await;
        let first: Vec<String> = nodes[0].addresses().iter().map(|to| to.rsplit(':').next().unwrap().to_owned()).collect();
        let _: String = ask(&settings, &["CLUSTER", "MEET", "127.0.0.1", &first[0], &first[1]]).await;
    }
    for node in &nodes {
        settings.redis.hosts = vec![node.address()];
        loop {
            let info: String = ask(&settings, &["CLUSTER", "INFO"]).await;
            if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    settings.redis.mode = RedisMode::Cluster;
    settings.redis.timeout = Duration::from_secs(2);
    (nodes, settings)
}

/// Goal: K3 on Cluster: keys over all slots in one batch, read back and listed from every node; with a hash tag, one node.
/// Method: 300 documents on three primaries, each node asked what it holds; then one of them away and back.
#[tokio::test]
async fn documents_lie_over_a_cluster() {
    let (nodes, settings) = cluster().await;
    let sink = opened(&settings);
    let batch = |version: i64| (0..300).map(|id| index(&format!("{id:03}"), version, "x")).collect::<Vec<_>>();
    assert_eq!(sink.write(batch(5)).await, vec![SinkOutcome::Written; 300]);
    assert_eq!(sink.write(batch(4)).await, vec![SinkOutcome::Superseded(Some(RowVersion(5))); 300]);
    assert_eq!(one(&sink, delete("007", 6)).await, SinkOutcome::Written);
    let mut listed: Vec<String> = Vec::new();
    loop {
        let page = sink.list(listed.last().cloned(), 70).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|held| held.id));
    }
    assert_eq!(listed, (0..300).map(|id| format!("{id:03}")).filter(|id| id != "007").collect::<Vec<_>>());
    assert_eq!(sink.get("007".into()).await.unwrap().unwrap().document, None);
    assert_eq!(sink.look().await.unwrap().servers, 3);

    let size = async |node: &Server| {
        let alone = RedisSinkSettings {
            redis: RedisAddress { hosts: vec![node.address()], ..settings.redis.clone() },
            ..settings.clone()
        };
        ask::<i64>(&alone, &["DBSIZE"]).await
    };
    let before = [size(&nodes[0]).await, size(&nodes[1]).await, size(&nodes[2]).await];
    assert!(before.iter().sum::<i64>() == 300 && before.iter().all(|n| *n > 0), "{before:?}");
    let tagged = RedisSinkSettings { key: Template::parse("{{shop}}:{id}").unwrap(), ..settings.clone() };
    assert_eq!(opened(&tagged).write(batch(1)).await, vec![SinkOutcome::Written; 300]);
    let after = [size(&nodes[0]).await, size(&nodes[1]).await, size(&nodes[2]).await];
    assert_eq!(before.iter().zip(after).filter(|(before, after)| *before != after).count(), 1, "one slot, one node: {after:?}");

    nodes[1].kill();
    for outcome in sink.write(batch(7)).await {
        assert!(matches!(outcome, SinkOutcome::Written | SinkOutcome::Retry { counts: false, .. }), "{outcome:?}");
    }
    nodes[1].start_again();
    loop {
        let outcomes = sink.write(batch(8)).await;
        if outcomes.iter().all(|outcome| *outcome == SinkOutcome::Written) {
            break;
        }
        assert!(outcomes.iter().all(|o| matches!(o, SinkOutcome::Written | SinkOutcome::Retry { counts: false, .. })));
    }
    assert_eq!(sink.get("123".into()).await.unwrap().unwrap().version, RowVersion(8));
}
