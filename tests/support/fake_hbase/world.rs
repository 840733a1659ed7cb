//! The cluster's state: tables, regions, servers, and what happens to them: moves, splits, merges, crashes, returns.
//!
//! One lock guards all of it, and every action runs under it: what a row's locks and read points do on a real server.

use super::faults::{Dice, Script};
use super::scan::Scanner;
use super::storage::Storage;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use widerow::io::hbase::pb;

pub const HOST: &str = "127.0.0.1";
/// The one region of meta.
pub const META_REGION: &[u8] = b"hbase:meta,,1";
pub const META_TABLE: &str = "hbase:meta";

/// Why a call failed: a Java class and its words.
#[derive(Clone, Debug)]
pub struct Fail {
    pub class: String,
    pub text: String,
    pub moved: Option<(String, u16)>,
    pub do_not_retry: bool,
}

impl Fail {
    /// By the last part of a class's name; its package is found here.
    pub fn new(last: &str, text: impl std::fmt::Display) -> Self {
        let package = match last {
            "IOException" => "java.io.",
            "MultiActionResultTooLarge"
            | "NotServingRegionException"
            | "RegionTooBusyException"
            | "DoNotRetryIOException"
            | "CallQueueTooBigException"
            | "TableNotFoundException"
            | "TableExistsException"
            | "PleaseHoldException"
            | "UnknownScannerException"
            | "CallDroppedException"
            | "RetryImmediatelyException" => "org.apache.hadoop.hbase.",
            "NoSuchColumnFamilyException"
            | "WrongRegionException"
            | "RegionServerStoppedException"
            | "RegionServerAbortedException" => "org.apache.hadoop.hbase.regionserver.",
            "ServerNotRunningYetException" | "UnknownServiceException" => "org.apache.hadoop.hbase.ipc.",
            "RpcThrottlingException" => "org.apache.hadoop.hbase.quotas.",
            "AccessDeniedException" => "org.apache.hadoop.hbase.security.",
            _ => "org.apache.hadoop.hbase.exceptions.",
        };
        let class = format!("{package}{last}");
        // Such a class, or one below it, is what Java calls a `DoNotRetryIOException`.
        let do_not_retry = [
            "DoNotRetry",
            "NoSuchColumnFamily",
            "FailedSanityCheck",
            "AccessDenied",
            "WrongRow",
            "TableNotFound",
            "TableExists",
            "UnknownScanner",
            "OutOfOrderScanner",
            "RequestTooBig",
            "UnknownService",
        ]
        .iter()
        .any(|part| last.contains(part));
        Self {
            text: format!("{class}: {text}\n\tat org.apache.hadoop.hbase.Fake.call(Fake.java:1)"),
            class,
            moved: None,
            do_not_retry,
        }
    }

    pub fn to_pair(&self) -> pb::NameBytesPair {
        pb::NameBytesPair { name: self.class.clone(), value: Some(Bytes::from(self.text.clone())) }
    }

    pub fn to_exception(&self) -> pb::ExceptionResponse {
        pb::ExceptionResponse {
            exception_class_name: Some(self.class.clone()),
            stack_trace: Some(self.text.clone()),
            hostname: self.moved.as_ref().map(|(host, _)| host.clone()),
            port: self.moved.as_ref().map(|(_, port)| i32::from(*port)),
            do_not_retry: Some(self.do_not_retry),
            server_overloaded: self.class.ends_with("CallQueueTooBigException").then_some(true),
        }
    }
}

pub struct Table {
    pub schema: pb::TableSchema,
    pub enabled: bool,
    pub storage: Storage,
}

#[derive(Clone, Debug)]
pub struct Region {
    pub name: Bytes,
    pub table: String,
    pub id: u64,
    pub start: Bytes,
    /// Not included; empty is open.
    pub end: Bytes,
    pub server: usize,
    pub opening: bool,
    /// Rises whenever the region is opened.
    pub seq_num: i64,
    /// A parent that was split: still in meta, no longer served.
    pub split: bool,
}

impl Region {
    pub fn holds(&self, row: &[u8]) -> bool {
        *row >= self.start[..] && (self.end.is_empty() || *row < self.end[..])
    }
}

/// One region server, dead or alive.
pub struct Server {
    pub port: u16,
    pub start_code: u64,
    pub alive: bool,
    /// The log is safe through this sequence number.
    pub synced: u64,
    /// Increments that were done, by group and nonce. The log keeps them over a crash.
    pub nonces: HashMap<(u64, u64), u64>,
    /// Regions that went elsewhere in this life.
    pub moved: HashMap<Bytes, usize>,
    pub scanners: HashMap<u64, Scanner>,
    pub in_flight: usize,
    pub in_flight_max: usize,
}

/// Bounds a test may tighten.
pub struct Limits {
    /// Cells of a batch's reply, in bytes; what comes later answers `MultiActionResultTooLarge`.
    pub reply_bytes: usize,
    pub request_bytes: usize,
    /// Rows of one answer of a scan, whatever was asked for.
    pub scan_rows: usize,
    /// Cells of one answer of a scan; a row is cut there.
    pub scan_cells: usize,
    /// Every second answer of a scan is a heartbeat.
    pub heartbeats: bool,
    /// How long an idle scanner lives, as clients are told; it ends when a test says so.
    pub lease_ms: u32,
}

/// A call as a server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `None`: the master.
    pub server: Option<usize>,
    pub method: String,
    pub table: String,
    /// Rows of a batch, in the order they came.
    pub rows: Vec<Bytes>,
}

pub struct World {
    pub tables: BTreeMap<String, Table>,
    pub namespaces: Vec<String>,
    pub regions: Vec<Region>,
    pub servers: Vec<Server>,
    pub master_port: u16,
    pub master_alive: bool,
    pub master_life: u64,
    pub meta_server: usize,
    pub script: Script,
    pub dice: Dice,
    pub limits: Limits,
    /// Rows no server will ever take, with the class it says.
    pub poison: BTreeMap<Bytes, &'static str>,
    /// What a real server would punish without a word at once: out-of-order locks, gets among puts, reused nonces.
    pub complaints: Vec<String>,
    pub seen: Vec<Seen>,
    pub procedures: HashMap<u64, u8>,
    /// Scanners opened on tables of users, and renewals of any.
    pub scanners_opened: usize,
    pub renewals: usize,
    seq: u64,
    clock: i64,
    last_id: u64,
}

impl World {
    pub fn new(ports: &[u16], master_port: u16, seed: u64) -> Self {
        let server = |(at, port): (usize, &u16)| Server {
            port: *port,
            start_code: 1_700_000_000_000 + at as u64,
            alive: true,
            synced: 0,
            nonces: HashMap::new(),
            moved: HashMap::new(),
            scanners: HashMap::new(),
            in_flight: 0,
            in_flight_max: 0,
        };
        Self {
            tables: BTreeMap::new(),
            namespaces: vec!["default".into(), "hbase".into()],
            regions: Vec::new(),
            servers: ports.iter().enumerate().map(server).collect(),
            master_port,
            master_alive: true,
            master_life: 1,
            meta_server: 0,
            script: Script::new(seed),
            dice: Dice(seed ^ 0x5eed),
            limits: Limits {
                reply_bytes: 100 << 20,
                request_bytes: 256 << 20,
                scan_rows: usize::MAX,
                scan_cells: usize::MAX,
                heartbeats: false,
                lease_ms: 60_000,
            },
            poison: BTreeMap::new(),
            complaints: Vec::new(),
            seen: Vec::new(),
            procedures: HashMap::new(),
            seq: 0,
            clock: 1_750_000_000_000,
            scanners_opened: 0,
            renewals: 0,
            last_id: 1_700_000_000_000,
        }
    }

    pub fn tick(&mut self) -> u64 {
        self.seq += 1;
        self.clock += 1;
        self.seq
    }

    /// The servers' clock, in milliseconds.
    pub fn now(&self) -> i64 {
        self.clock
    }

    /// A synced write syncs what the server logged before it, too.
    pub fn sync(&mut self, server: usize) {
        let seq = self.seq;
        self.servers[server].synced = seq;
    }

    pub fn complain(&mut self, text: impl Into<String>) {
        self.complaints.push(text.into());
    }

    /// One life of a process; `None`: it is dead.
    pub fn life(&self, server: Option<usize>) -> Option<u64> {
        match server {
            Some(server) => self.servers[server].alive.then(|| self.servers[server].start_code),
            None => self.master_alive.then_some(self.master_life),
        }
    }

    pub fn server_name(&self, server: usize) -> pb::ServerName {
        let it = &self.servers[server];
        pb::ServerName { host_name: HOST.into(), port: Some(u32::from(it.port)), start_code: Some(it.start_code) }
    }

    /// The region of this name, if this server serves it.
    pub fn served(&self, server: usize, name: &[u8]) -> Result<usize, Fail> {
        let at = self.regions.iter().position(|r| r.name == name);
        let text = String::from_utf8_lossy(name).into_owned();
        let Some(at) = at.filter(|at| self.regions[*at].server == server && !self.regions[*at].split) else {
            return Err(self.elsewhere(server, name, &text));
        };
        if !self.tables.get(&self.regions[at].table).is_some_and(|t| t.enabled) {
            return Err(Fail::new("NotServingRegionException", format!("{text} is not online")));
        }
        if self.regions[at].opening {
            return Err(Fail::new("RegionOpeningException", format!("Region {text} is opening on {HOST}")));
        }
        Ok(at)
    }

    fn elsewhere(&self, server: usize, name: &[u8], text: &str) -> Fail {
        let Some(to) = self.servers[server].moved.get(name).map(|to| &self.servers[*to]) else {
            return Fail::new("NotServingRegionException", format!("{text} is not online on {HOST}"));
        };
        let words =
            format!("Region moved to: hostname={HOST} port={} startCode={}. As of locationSeqNum=5.", to.port, to.start_code);
        Fail { moved: Some((HOST.into(), to.port)), ..Fail::new("RegionMovedException", words) }
    }

    /// A region's name: table, start key and id, with their digest.
    fn new_region(&mut self, table: &str, start: Bytes, end: Bytes, server: usize) -> Region {
        use md5::Digest;
        self.last_id += 1;
        let mut name = [table.as_bytes(), b",", &start, b",", self.last_id.to_string().as_bytes()].concat();
        let digest: String = md5::Md5::digest(&name).iter().map(|byte| format!("{byte:02x}")).collect();
        name.extend_from_slice(format!(".{digest}.").as_bytes());
        let (table, id) = (table.to_owned(), self.last_id);
        Region { name: name.into(), table, id, start, end, server, opening: false, seq_num: 2, split: false }
    }

    /// A table with regions between these keys, dealt out over the living servers.
    pub fn create(&mut self, name: &str, schema: pb::TableSchema, splits: &[Bytes]) {
        let versions = |family: &pb::ColumnFamilySchema| {
            let text = family.attributes.iter().find(|a| a.first == "VERSIONS"[..]).map(|a| a.second.clone());
            text.and_then(|t| String::from_utf8_lossy(&t).parse().ok()).unwrap_or(1)
        };
        let families = schema.column_families.iter().map(|f| (f.name.clone(), versions(f))).collect();
        let storage = Storage::new(families);
        self.tables.insert(name.to_owned(), Table { schema, enabled: true, storage });
        let living: Vec<usize> = (0..self.servers.len()).filter(|s| self.servers[*s].alive).collect();
        let mut starts = vec![Bytes::new()];
        starts.extend(splits.iter().filter(|s| !s.is_empty()).cloned());
        starts.sort();
        starts.dedup();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).cloned().unwrap_or_default();
            let region = self.new_region(name, start.clone(), end, living[at % living.len()]);
            self.regions.push(region);
        }
    }

    /// The region of a table that holds a row.
    pub fn region_of(&self, table: &str, row: &[u8]) -> Option<usize> {
        self.regions.iter().position(|r| r.table == table && !r.split && r.holds(row))
    }

    pub fn flush_region(&mut self, at: usize) {
        let region = &self.regions[at];
        if let Some(table) = self.tables.get_mut(&region.table) {
            table.storage.flush((&region.start, &region.end));
        }
    }

    pub fn flush_table(&mut self, table: &str) {
        (0..self.regions.len())
            .filter(|at| self.regions[*at].table == table)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|at| self.flush_region(at));
    }

    /// Flush and major compaction of a whole table.
    pub fn compact_table(&mut self, table: &str) {
        self.flush_table(table);
        if let Some(table) = self.tables.get_mut(table) {
            table.storage.compact((&Bytes::new(), &Bytes::new()));
        }
    }

    /// A planned move: flushed, then opened elsewhere.
    pub fn move_region(&mut self, at: usize, to: usize) {
        self.flush_region(at);
        let region = &mut self.regions[at];
        let from = std::mem::replace(&mut region.server, to);
        region.seq_num += 2;
        let name = region.name.clone();
        self.servers[to].moved.remove(&name);
        if from != to {
            self.servers[from].moved.insert(name, to);
        }
    }

    /// Splits a region in two on its server; false when the key does not lie inside it.
    pub fn split_region(&mut self, at: usize, key: &Bytes) -> bool {
        let parent = self.regions[at].clone();
        if !parent.holds(key) || *key == parent.start || parent.split {
            return false;
        }
        self.flush_region(at);
        self.regions[at].split = true;
        let low = self.new_region(&parent.table, parent.start, key.clone(), parent.server);
        let high = self.new_region(&parent.table, key.clone(), parent.end, parent.server);
        self.regions.extend([low, high]);
        true
    }

    /// Makes one region of the one that holds `row` and its right neighbour; false when there is none.
    pub fn merge_region(&mut self, at: usize) -> bool {
        let left = self.regions[at].clone();
        let Some(other) = self.region_of(&left.table, &left.end).filter(|_| !left.end.is_empty() && !left.split) else {
            return false;
        };
        let right = self.regions[other].clone();
        self.flush_region(at);
        self.flush_region(other);
        self.regions.retain(|r| r.name != left.name && r.name != right.name);
        let merged = self.new_region(&left.table, left.start, right.end, left.server);
        self.regions.push(merged);
        true
    }

    /// The end of a server's life: what was neither flushed nor logged is gone.
    pub fn crash(&mut self, server: usize) {
        let synced = self.servers[server].synced;
        for region in self.regions.iter().filter(|r| r.server == server && !r.split) {
            if let Some(table) = self.tables.get_mut(&region.table) {
                table.storage.crash((&region.start, &region.end), synced);
            }
        }
        let it = &mut self.servers[server];
        it.alive = false;
        it.scanners.clear();
        it.moved.clear();
    }

    /// The master gives a dead server's regions to the living ones, its nonces with them.
    pub fn reassign(&mut self, dead: usize) {
        let living: Vec<usize> = (0..self.servers.len()).filter(|s| self.servers[*s].alive).collect();
        let Some(first) = living.first().copied() else { return };
        let nonces = self.servers[dead].nonces.clone();
        for server in &living {
            self.servers[*server].nonces.extend(nonces.clone());
        }
        for (turn, region) in self.regions.iter_mut().filter(|r| r.server == dead).enumerate() {
            region.server = living[turn % living.len()];
            region.seq_num += 2;
        }
        if self.meta_server == dead {
            self.meta_server = first;
        }
    }

    /// A new life at the same address; regions that were not reassigned open there again.
    pub fn revive(&mut self, server: usize) {
        let it = &mut self.servers[server];
        it.alive = true;
        it.start_code += 60_000;
        for region in self.regions.iter_mut().filter(|r| r.server == server) {
            region.seq_num += 2;
        }
    }
}
