//! The systems a node talks to, as meant: Kafka, HBase, Redis, Elasticsearch; and how their parts of the tree are read.
//!
//! Checks what no single key can tell: addresses, patterns of topics, index names, which half of a pair is missing. Knows
//! nothing of the clients that will use it.

use super::findings::{Code, Findings};
use super::read::At;
use super::settings::Secret;
use super::tree::{Entry, Node};
use crate::domain::template::Template;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// TLS towards a system; absent means plain text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities in PEM; the system's own list without it.
    pub ca: Option<PathBuf>,
    /// Our certificate in PEM, where the other side asks for one.
    pub certificate: Option<PathBuf>,
    /// Its key in PEM.
    pub key: Option<PathBuf>,
    /// Whether certificate and host name are checked.
    pub verify: bool,
}

/// A user of Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    pub username: String,
    pub password: Secret,
}

/// How to reach Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaAddress {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    /// Further properties of librdkafka, in the order written; they do not override what widerow relies on. Some are
    /// secrets, so none is printed.
    pub properties: Vec<(String, Secret)>,
}

/// Topics to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    pub address: KafkaAddress,
    pub group: String,
    /// Names, or regular expressions that begin with `^`.
    pub topics: Vec<String>,
    /// KIP-345: a restart within the session time-out keeps its partitions.
    pub static_member: bool,
    pub session_timeout: Duration,
    /// How often settled positions are committed.
    pub commit_every: Duration,
}

/// A topic to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSinkSettings {
    pub address: KafkaAddress,
    pub topic: String,
    pub form: NoticeForm,
    /// Keep the last document to tell old values.
    pub remember: bool,
    /// `systemName` of envelopes.
    pub system: String,
    /// How long a notice may wait for its acknowledgement.
    pub timeout: Duration,
}

/// What a notice on Kafka looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeForm {
    /// What changed.
    Notice,
    /// The whole document in an envelope.
    Envelope,
}

/// When a write to HBase is acknowledged (W1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wal {
    Sync,
    Async,
    Skip,
}

/// Wide rows in HBase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HbaseSettings {
    /// `host:port` of masters and region servers to begin with.
    pub servers: Vec<String>,
    /// The table's name; `{row}` is the row kind.
    pub table: String,
    /// The data family (M2).
    pub family: String,
    pub wal: Wal,
    /// Make tables that are missing.
    pub create: bool,
    /// Regions of a table we make.
    pub regions: u32,
    /// The user we say we are.
    pub user: String,
    /// Connections per region server.
    pub connections: usize,
    /// Calls in flight per region server, at most.
    pub in_flight: usize,
    /// One call's time.
    pub timeout: Duration,
    /// How often unlogged writes are flushed so that positions can be committed (W2).
    pub flush_every: Duration,
    pub tls: Option<Tls>,
}

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAddress {
    pub mode: RedisMode,
    /// `host:port`: the server, some nodes of the cluster, or the sentinels.
    pub hosts: Vec<String>,
    /// Numbered database; 0 on clusters.
    pub database: u32,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub tls: Option<Tls>,
    /// One call's time.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    Single,
    Cluster,
    /// The name the sentinels watch the master under.
    Sentinel {
        master: String,
    },
}

/// Jobs on Redis in asynq's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsynqSettings {
    pub redis: RedisAddress,
    /// Queue names; `{line}` and `{lane}` stand for themselves.
    pub queue: String,
    /// Go on although the server may evict keys.
    pub allow_eviction: bool,
}

/// Documents as hashes in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSinkSettings {
    pub redis: RedisAddress,
    /// The hash's key: a template of key columns.
    pub key: Template,
    pub ttl: Option<Duration>,
    pub form: HashForm,
}

/// What a hash in Redis holds beside `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashForm {
    /// `d`: the whole document.
    Document,
    /// One field per field of the document.
    Fields,
}

/// Who we are to Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchAuth {
    ApiKey(Secret),
    Basic { username: String, password: Secret },
}

/// Documents in Elasticsearch or OpenSearch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticsearchSettings {
    pub urls: Vec<String>,
    pub index: String,
    pub auth: Option<SearchAuth>,
    pub tls: Option<Tls>,
    /// Make the index and its template where they are missing.
    pub create: bool,
    /// Documents of one bulk request, at most.
    pub bulk_docs: usize,
    /// Bytes of one bulk request, at most.
    pub bulk_bytes: usize,
    /// Bulk requests in flight, at most.
    pub bulk_in_flight: usize,
    /// One request's time.
    pub timeout: Duration,
}

/// Secrets by the full path of their key.
pub(super) type Secrets = HashMap<String, Secret>;

/// Reads one system's part; `path` is where it stands, for its secrets.
pub(super) struct Systems<'a, 'b> {
    pub secrets: &'a Secrets,
    pub findings: &'b mut Findings,
}

impl Systems<'_, '_> {
    pub fn kafka(&mut self, at: At<'_>, path: &str) -> KafkaSettings {
        let topics = at.get("topics");
        if topics.0.is_some() && topics.items().is_empty() {
            self.findings.add(Code::BadValue, topics.place(), "there is no topic to read").help("name at least one");
        }
        KafkaSettings {
            address: self.kafka_address(at, path),
            group: at.get("group").text().to_owned(),
            topics: texts(topics),
            static_member: at.get("static_member").boolean(),
            session_timeout: at.get("session_timeout").duration(),
            commit_every: at.get("commit_every").duration(),
        }
    }

    pub fn kafka_sink(&mut self, at: At<'_>, path: &str) -> KafkaSinkSettings {
        KafkaSinkSettings {
            address: self.kafka_address(at, path),
            topic: at.get("topic").text().to_owned(),
            form: if at.get("form").text() == "envelope" { NoticeForm::Envelope } else { NoticeForm::Notice },
            remember: at.get("remember").boolean(),
            system: at.get("system").text().to_owned(),
            timeout: at.get("timeout").duration(),
        }
    }

    fn kafka_address(&mut self, at: At<'_>, path: &str) -> KafkaAddress {
        let sasl = at.get("sasl");
        let properties = at.get("properties").entries().iter();
        KafkaAddress {
            brokers: self.hosts(at.get("brokers"), 9092),
            tls: tls(at.get("tls")),
            sasl: sasl.0.map(|_| Sasl {
                mechanism: sasl.get("mechanism").text().to_owned(),
                username: sasl.get("username").text().to_owned(),
                password: self.secret(path, "sasl.password").unwrap_or_else(|| Secret::new(String::new())),
            }),
            properties: properties.map(|e| (e.key.clone(), self.property(path, e))).collect(),
        }
    }

    pub fn hbase(&mut self, at: At<'_>) -> HbaseSettings {
        HbaseSettings {
            servers: self.hosts(at.get("servers"), 16000),
            table: at.get("table").text().to_owned(),
            family: at.get("family").text().to_owned(),
            wal: match at.get("wal").text() {
                "async" => Wal::Async,
                "skip" => Wal::Skip,
                _ => Wal::Sync,
            },
            create: at.get("create").boolean(),
            regions: at.get("regions").count32(),
            user: at.get("user").text().to_owned(),
            connections: at.get("connections").count(),
            in_flight: at.get("in_flight").count(),
            timeout: at.get("timeout").duration(),
            flush_every: at.get("flush_every").duration(),
            tls: tls(at.get("tls")),
        }
    }

    pub fn asynq(&mut self, at: At<'_>, path: &str) -> Option<AsynqSettings> {
        let queue = at.get("queue");
        for part in ["{line}", "{lane}"].into_iter().filter(|part| queue.0.is_some() && !queue.text().contains(part)) {
            let message = format!("queue names do not tell {part} apart");
            self.findings.add(Code::BadValue, queue.place(), message).help("like \"{line}_{lane}\"");
        }
        Some(AsynqSettings {
            redis: self.redis(at, "redis", path)?,
            queue: queue.text().to_owned(),
            allow_eviction: at.get("allow_eviction").boolean(),
        })
    }

    pub fn redis_sink(&mut self, at: At<'_>, path: &str) -> Option<RedisSinkSettings> {
        let redis = self.redis(at, "url", path);
        let key = super::rows::template(at.get("key"), self.findings);
        Some(RedisSinkSettings {
            redis: redis?,
            key: key?,
            ttl: at.get("ttl").optional().map(|_| at.get("ttl").duration()),
            form: if at.get("form").text() == "fields" { HashForm::Fields } else { HashForm::Document },
        })
    }

    /// `redis://host:port[,host:port]/db`, with `rediss` for TLS and `-cluster` or `-sentinel` behind it; a sentinel's
    /// address ends in `#master`.
    fn redis(&mut self, at: At<'_>, key: &str, path: &str) -> Option<RedisAddress> {
        let url = at.get(key);
        url.0?;
        let Some(parsed) = RedisUrl::parse(url.text()) else {
            let message = format!("`{}` is not the address of a Redis", url.scalar().map_or("", |s| s.shown()));
            let finding = self.findings.add(Code::BadValue, url.place(), message);
            finding.help(
                "like redis://host:6379/0, rediss://… for TLS, redis-cluster://host:6379,host:6379, or \
                 redis-sentinel://host:26379/0#master; user and password have keys of their own",
            );
            return None;
        };
        let written = tls(at.get("tls"));
        Some(RedisAddress {
            mode: parsed.mode,
            hosts: parsed.hosts,
            database: parsed.database,
            username: at.get("username").optional().map(str::to_owned),
            password: self.secret(path, "password"),
            tls: parsed.tls.then(|| written.unwrap_or(Tls { verify: true, ..Tls::default() })),
            timeout: at.get("timeout").duration(),
        })
    }

    pub fn elasticsearch(&mut self, at: At<'_>, path: &str) -> ElasticsearchSettings {
        let urls = at.get("urls");
        for item in urls.items() {
            let text = item.text().unwrap_or_default();
            let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains('@')) {
                let finding = self.findings.add(Code::BadValue, item.place, "this is not the address of a search server");
                finding.help("like http://127.0.0.1:9200; user and password stand under `auth`");
            }
        }
        let index = at.get("index");
        if let Some(why) = bad_index(index.text()).filter(|_| index.0.is_some()) {
            let message = format!("`{}` cannot name an index: {why}", index.text());
            self.findings.add(Code::BadName, index.place(), message).help("lower case letters, digits, `_`, `-` and `.`");
        }
        let bulk = at.get("bulk");
        ElasticsearchSettings {
            urls: texts(urls),
            index: index.text().to_owned(),
            auth: self.search_auth(at.get("auth"), path),
            tls: tls(at.get("tls")),
            create: at.get("create").boolean(),
            bulk_docs: bulk.get("docs").count(),
            bulk_bytes: bulk.get("bytes").size(),
            bulk_in_flight: bulk.get("in_flight").count(),
            timeout: at.get("timeout").duration(),
        }
    }

    fn search_auth(&mut self, at: At<'_>, path: &str) -> Option<SearchAuth> {
        at.0?;
        let key = self.secret(path, "auth.api_key");
        let username = at.get("username").optional();
        match (key, username, self.secret(path, "auth.password")) {
            (Some(key), None, None) => Some(SearchAuth::ApiKey(key)),
            (None, Some(username), Some(password)) => Some(SearchAuth::Basic { username: username.to_owned(), password }),
            _ => {
                let finding = self.findings.add(Code::BadValue, at.key_place(), "this says neither one user nor one key");
                finding.help("write `api_key`, or `username` and `password`");
                None
            }
        }
    }

    fn property(&self, path: &str, entry: &Entry) -> Secret {
        let plain = || Secret::new(entry.value.text().unwrap_or_default().to_owned());
        self.secret(path, &format!("properties.{}", entry.key)).unwrap_or_else(plain)
    }

    fn secret(&self, path: &str, key: &str) -> Option<Secret> {
        self.secrets.get(&format!("{path}.{key}")).cloned()
    }

    /// A list of `host:port`; the port may be left out.
    fn hosts(&mut self, at: At<'_>, port: u16) -> Vec<String> {
        if at.0.is_some() && at.items().is_empty() {
            self.findings.add(Code::BadValue, at.place(), "there is no server to begin with").help("name at least one");
        }
        let mut out = Vec::new();
        for item in at.items() {
            match host(item.text().unwrap_or_default(), port) {
                Some(host) => out.push(host),
                None => {
                    let message = format!("`{}` is not `host:port`", item.text().unwrap_or_default());
                    self.findings.add(Code::BadValue, item.place, message);
                }
            }
        }
        out
    }
}

fn texts(at: At<'_>) -> Vec<String> {
    at.items().iter().filter_map(Node::text).map(str::to_owned).collect()
}

pub(super) fn tls(at: At<'_>) -> Option<Tls> {
    at.0?;
    let path = |key: &str| at.get(key).optional().map(PathBuf::from);
    let verify = at.get("verify").boolean();
    Some(Tls { ca: path("ca"), certificate: path("certificate"), key: path("key"), verify })
}

fn host(text: &str, port: u16) -> Option<String> {
    let bad = |host: &str| host.is_empty() || host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | ','));
    // An address of IPv6 stands in brackets, so its colons are not the port's.
    let (name, said) = match text.rsplit_once(':') {
        Some((name, said)) if !said.ends_with(']') => (name, Some(said)),
        _ => (text, None),
    };
    let bracketed = name.starts_with('[') && name.ends_with(']');
    if bad(name) || (name.contains(':') && !bracketed) {
        return None;
    }
    match said {
        Some(said) => said.parse::<u16>().ok().filter(|port| *port > 0).map(|port| format!("{name}:{port}")),
        None => Some(format!("{name}:{port}")),
    }
}

/// Rules of the create index API.
fn bad_index(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    match name {
        "" | "." | ".." => Some("it is no name"),
        _ if name.len() > 255 => Some("it is longer than 255 bytes"),
        _ if name.starts_with(['-', '_', '+', '.']) => Some("it begins with a mark"),
        _ if !name.chars().all(allowed) => Some("it holds other characters"),
        _ => None,
    }
}

struct RedisUrl {
    mode: RedisMode,
    tls: bool,
    hosts: Vec<String>,
    database: u32,
}

impl RedisUrl {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (rest, master) = rest.split_once('#').map_or((rest, None), |(rest, master)| (rest, Some(master)));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (kind, tls) = match scheme.split_once('-').map_or((scheme, ""), |(tls, kind)| (tls, kind)) {
            ("redis", kind) => (kind, false),
            ("rediss", kind) => (kind, true),
            _ => return None,
        };
        let (mode, port) = match (kind, master) {
            ("", None) => (RedisMode::Single, 6379),
            ("cluster", None) => (RedisMode::Cluster, 6379),
            ("sentinel", Some(master)) if !master.is_empty() => (RedisMode::Sentinel { master: master.to_owned() }, 26379),
            _ => return None,
        };
        let hosts = hosts.split(',').map(|text| host(text, port)).collect::<Option<Vec<_>>>()?;
        let database = if database.is_empty() { 0 } else { database.parse().ok()? };
        let one = hosts.len() == 1 || mode != RedisMode::Single;
        let plain = database == 0 || mode != RedisMode::Cluster;
        (one && plain).then_some(Self { mode, tls, hosts, database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the addresses that mean something, and no others. Method: a table.
    #[test]
    fn addresses_of_redis() {
        let good = [
            ("redis://h:1", RedisMode::Single, false, 1, 0),
            ("rediss://h/3", RedisMode::Single, true, 1, 3),
            ("redis-cluster://a:1,b:2", RedisMode::Cluster, false, 2, 0),
            ("rediss-sentinel://a,b/2#m", RedisMode::Sentinel { master: "m".into() }, true, 2, 2),
            ("redis://[::1]:6379", RedisMode::Single, false, 1, 0),
        ];
        for (text, mode, tls, hosts, database) in good {
            let url = RedisUrl::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((url.mode, url.tls, url.hosts.len(), url.database), (mode, tls, hosts, database), "{text}");
        }
        let bad = ["", "redis", "redis://", "redis://a,b", "redis://u:p@h:1", "http://h", "redis-sentinel://h", "redis://h:0"];
        for text in bad.into_iter().chain(["redis-cluster://h/1", "redis://h#m", "redis://h/x", "redis://::1"]) {
            assert!(RedisUrl::parse(text).is_none(), "{text}");
        }
    }

    /// Goal: S-6, an index name the server would refuse is found before it runs. Method: a table.
    #[test]
    fn names_of_indexes() {
        for good in ["orders", "shop-2025.01_a"] {
            assert_eq!(bad_index(good), None, "{good}");
        }
        for bad in ["", "Orders", "-a", "_a", ".hidden", "a b", "a/b", "a*", "订单", &"a".repeat(256)] {
            assert!(bad_index(bad).is_some(), "{bad}");
        }
    }
}
