//! The configuration as meant: typed, checked, with every default filled in.
//!
//! Made by `settings::load`, read by `supervisor/wiring.rs`. Knows nothing of files or YAML.

use super::systems::{
    AsynqSettings, ElasticsearchSettings, HbaseSettings, KafkaSettings, KafkaSinkSettings, RedisSinkSettings, Tls,
};
use crate::domain::change::Snapshot;
use crate::domain::decode::Format;
use crate::domain::ids::Name;
use crate::domain::job::Lane;
use crate::domain::line::Line;
use crate::domain::route::{PartitionedBy, StampKind};
use crate::domain::schema::Schema;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One node's whole configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node: Node,
    pub sources: Vec<Source>,
    pub store: Store,
    pub queue: Queue,
    pub schema: Arc<Schema>,
    pub lines: Vec<LineSettings>,
    pub ledger: LedgerKind,
    /// Tombstones older than this may be purged (M5).
    pub purge_horizon: Duration,
    pub admin: Admin,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub id: String,
    pub data_dir: PathBuf,
    pub ingest: bool,
    pub deliver: bool,
    /// Actor threads; already resolved, at least 1.
    pub threads: usize,
    /// Live entities kept at most, over all threads (N3).
    pub entities_max: usize,
    /// Bytes live entities may hold, over all threads (N3).
    pub entity_bytes_max: usize,
    /// An entity without work for this long is passivated.
    pub entity_idle_max: Duration,
    /// Bytes of open records over all partitions (O4).
    pub in_flight_bytes_max: usize,
    /// How long a drain may take, all steps together.
    pub drain_deadline: Duration,
    /// A thread, or an actor with work in hand, may be silent this long before it counts as stuck (4.4).
    pub silence_max: Duration,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub format: Format,
    pub stamp: StampKind,
    pub partitioned_by: PartitionedBy,
    /// `None` is `auto` (M8).
    pub snapshot: Option<Snapshot>,
    pub on_bad_record: OnBadRecord,
    /// Open records per partition (O4).
    pub in_flight: usize,
    /// C8: the largest body, inflated.
    pub record_bytes_max: usize,
}

#[derive(Clone, Debug)]
pub enum SourceKind {
    Jsonl { path: PathBuf },
    Generator(GeneratorSettings),
    Kafka(KafkaSettings),
}

/// The shop that trades (5.2).
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorSettings {
    pub seed: u64,
    pub entities: u64,
    /// `None`: without end.
    pub events: Option<u64>,
    /// Events per second; `None`: as fast as taken.
    pub rate: Option<f64>,
    /// Share of events that arrive late against other tables' events of their entity.
    pub disorder: f64,
    /// Share of events delivered again.
    pub duplicates: f64,
    pub partitions: u32,
    pub format: Format,
    /// Zipf exponent of the keys; 0 is uniform.
    pub skew: f64,
    /// Share of events that go to one order.
    pub hot: f64,
    /// Share of rows of 10 to 270 KB.
    pub big: f64,
    /// Probability per thousand events that a partition is read again from 1,000 records before.
    pub replay: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnBadRecord {
    #[default]
    DeadLetter,
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    Embedded,
    Hbase(Box<HbaseSettings>),
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub kind: QueueKind,
    /// Highest first, with weights (J6). `strict`: weights are ignored.
    pub lanes: Vec<(Name, u32)>,
    pub strict: bool,
    pub default_lane: Lane,
    pub max_pending: usize,
    pub expire_after: Duration,
    pub on_late: OnLate,
    pub lease: Duration,
    pub retry: Retry,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueKind {
    Embedded,
    Asynq(Box<AsynqSettings>),
}

/// J8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnLate {
    #[default]
    Run,
    Park,
    Drop,
}

/// J7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub max: u32,
    pub base: Duration,
    pub cap: Duration,
}

/// A line and where its documents go.
#[derive(Clone, Debug)]
pub struct LineSettings {
    pub line: Line,
    pub sink: SinkKind,
    /// Sink actors of this line in this process.
    pub workers: usize,
    /// Jobs one worker takes at once.
    pub batch: usize,
    /// What their rows weigh together, about.
    pub batch_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    Embedded,
    Jsonl { path: PathBuf },
    QueueOnly,
    Elasticsearch(ElasticsearchSettings),
    Redis(RedisSinkSettings),
    Kafka(KafkaSinkSettings),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerKind {
    Embedded,
    Mysql(MysqlSettings),
}

/// A database that holds what overflows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlSettings {
    /// `mysql://user:password@host:port/database`.
    pub url: Secret,
    /// `None`: plain text, whatever the server offers.
    pub tls: Option<Tls>,
    pub table: String,
}

#[derive(Clone, Debug)]
pub struct Admin {
    /// `host:port`; port 0 is any free one.
    pub listen: String,
    pub token: Option<Secret>,
    /// `tap` hides values of columns whose names hold one of these, in whatever case.
    pub mask: Vec<String>,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
