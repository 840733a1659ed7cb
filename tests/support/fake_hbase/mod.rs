//! An HBase in this process: a master and region servers on real sockets, whose every misfortune a test can order.
//!
//! Built on the client's own messages, cells and frames, read from the server's side; what a real server does with them
//! (`multi`, `storage`, `scan`) is written from its sources and from runs against it, and the contract tests run the same
//! bodies on this and on a real one. It runs on a thread of its own, so that a test's runtime may be of any kind. Files:
//! `storage` cells · `world` regions and servers · `meta` · `calls`, `multi`, `scan`, `master` what calls do ·
//! `filters` · `faults` · `server` sockets.

mod calls;
mod faults;
mod filters;
mod master;
mod meta;
mod multi;
mod scan;
mod server;
mod storage;
mod world;

#[allow(unused_imports, reason = "shared with other test binaries, each of which uses a part")]
pub use faults::{Chance, Dice, Fault, Gate, When};
#[allow(unused_imports, reason = "as above")]
pub use world::{HOST, Limits, Seen};

use bytes::Bytes;
use server::{Shared, serve};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::watch;
use widerow::io::hbase::cell::{Cell, CellType};
use widerow::io::hbase::pb;
use world::World;

/// Which process: a region server by its number, or the master.
type Process = Option<usize>;
/// How a process's life is ended, and who tells when its sockets are closed.
type Life = (Process, watch::Sender<bool>, mpsc::Receiver<()>);

/// The cluster; dropped, it is gone.
pub struct FakeHbase {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    lives: std::sync::Mutex<Vec<Life>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeHbase {
    /// A master and `servers` region servers, with chance from `seed`.
    pub fn start(servers: usize, seed: u64) -> Self {
        let bind = |_| TcpListener::bind((HOST, 0)).expect("a free port of the loopback");
        let listeners: Vec<TcpListener> = (0..=servers).map(bind).collect();
        let port = |l: &TcpListener| l.local_addr().expect("a bound socket has an address").port();
        let ports: Vec<u16> = listeners.iter().map(port).collect();
        let world = World::new(&ports[1..], ports[0], seed);
        let shared = Arc::new(Shared { world: std::sync::Mutex::new(world), news: tokio::sync::Notify::new() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || drop(runtime.block_on(stopped)));
        let fake = Self { shared, runtime: handle, lives: std::sync::Mutex::default(), stop: Some(stop), thread: Some(thread) };
        for (n, listener) in listeners.into_iter().enumerate() {
            fake.begin(n.checked_sub(1), listener);
        }
        fake
    }

    fn begin(&self, process: Process, listener: TcpListener) {
        let (end, ended) = watch::channel(false);
        let (gone, is_gone) = mpsc::sync_channel(1);
        let shared = self.shared.clone();
        listener.set_nonblocking(true).expect("a socket that does not block");
        self.runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of this runtime");
            serve(shared, listener, process, ended).await;
            let _ = gone.send(());
        });
        self.lives.lock().unwrap().push((process, end, is_gone));
    }

    fn end(&self, process: Process) {
        let mut lives = self.lives.lock().unwrap();
        if let Some(at) = lives.iter().position(|(p, ..)| *p == process) {
            let (_, end, gone) = lives.remove(at);
            let _ = end.send(true);
            let _ = gone.recv();
        }
    }

    /// `host:port` of the master, then of the region servers.
    pub fn addresses(&self) -> Vec<String> {
        let world = self.world();
        let ports = std::iter::once(world.master_port).chain(world.servers.iter().map(|s| s.port));
        ports.map(|port| format!("{HOST}:{port}")).collect()
    }

    /// A table made without the client, with one version a cell and regions between these keys.
    pub fn create_table(&self, name: &str, families: &[&str], splits: &[&str]) {
        let family = |name: &&str| pb::ColumnFamilySchema { name: Bytes::copy_from_slice(name.as_bytes()), ..Default::default() };
        let schema = pb::TableSchema {
            table_name: Some(meta::table_name(name)),
            column_families: families.iter().map(family).collect(),
            ..Default::default()
        };
        let splits: Vec<Bytes> = splits.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        self.world().create(name, schema, &splits);
    }

    /// One fault more, for the calls that `when` names; rules meet in the order they were added.
    pub fn script(&self, when: When, fault: Fault) {
        self.world().script.add(when, fault);
    }

    /// Faults by chance from here on; `None` ends them.
    pub fn by_chance(&self, chance: Option<Chance>) {
        self.world().script.by_chance(chance);
    }

    /// Names of the faults that calls have met.
    pub fn faults_met(&self) -> Vec<String> {
        self.world().script.met.clone()
    }

    pub fn limit(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.world().limits);
    }

    /// A row that every write fails on with this class.
    pub fn poison(&self, row: &str, class: &'static str) {
        self.world().poison.insert(Bytes::copy_from_slice(row.as_bytes()), class);
    }

    /// The death of a region server: what was neither flushed nor logged is gone.
    pub fn kill(&self, server: usize) {
        self.end(Some(server));
        self.world().crash(server);
    }

    /// Its regions go to the other servers.
    pub fn reassign(&self, dead: usize) {
        self.world().reassign(dead);
    }

    /// A new life at the same address, with what regions it still has.
    pub fn revive(&self, server: usize) {
        let port = self.world().servers[server].port;
        let listener = TcpListener::bind((HOST, port)).expect("the address its last life had");
        self.world().revive(server);
        self.begin(Some(server), listener);
    }

    /// The master is gone.
    pub fn kill_master(&self) {
        self.end(None);
        self.world().master_alive = false;
    }

    /// The master is back at the same address.
    pub fn revive_master(&self) {
        let port = self.world().master_port;
        let listener = TcpListener::bind((HOST, port)).expect("the address its last life had");
        {
            let mut world = self.world();
            world.master_alive = true;
            world.master_life += 1;
        }
        self.begin(None, listener);
    }

    /// Moves the region that holds a row; false when there is none.
    pub fn move_region(&self, table: &str, row: &str, to: usize) -> bool {
        let mut world = self.world();
        world.region_of(table, row.as_bytes()).map(|at| world.move_region(at, to)).is_some()
    }

    /// Splits the region that holds a key, at that key; false when it cannot.
    pub fn split(&self, table: &str, key: &str) -> bool {
        let mut world = self.world();
        let at = world.region_of(table, key.as_bytes());
        at.is_some_and(|at| world.split_region(at, &Bytes::copy_from_slice(key.as_bytes())))
    }

    /// Merges the region that holds a key with its right neighbour; false when there is none.
    pub fn merge(&self, table: &str, key: &str) -> bool {
        let mut world = self.world();
        let at = world.region_of(table, key.as_bytes());
        at.is_some_and(|at| world.merge_region(at))
    }

    /// A region that is being opened, or is open again.
    pub fn opening(&self, table: &str, row: &str, opening: bool) {
        let mut world = self.world();
        if let Some(at) = world.region_of(table, row.as_bytes()) {
            world.regions[at].opening = opening;
        }
    }

    pub fn enable(&self, table: &str, enabled: bool) {
        if let Some(table) = self.world().tables.get_mut(table) {
            table.enabled = enabled;
        }
    }

    pub fn flush(&self, table: &str) {
        self.world().flush_table(table);
    }

    /// Flush and major compaction.
    pub fn compact(&self, table: &str) {
        self.world().compact_table(table);
    }

    /// Names of tables that are there.
    pub fn tables(&self) -> Vec<String> {
        self.world().tables.keys().cloned().collect()
    }

    /// Regions of a table that are served.
    pub fn regions(&self, table: &str) -> usize {
        self.world().regions.iter().filter(|r| r.table == table && !r.split).count()
    }

    /// A row as a reader on the server would see it.
    pub fn row(&self, table: &str, row: &str) -> Vec<Cell> {
        let world = self.world();
        let read = |t: &world::Table| t.storage.read(&Bytes::copy_from_slice(row.as_bytes()), &storage::Wanted::all());
        world.tables.get(table).map(read).unwrap_or_default()
    }

    /// A synced cell from nowhere.
    pub fn write(&self, table: &str, row: &str, family: &str, qualifier: &str, timestamp: i64, value: &str) {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let (row, family, qualifier, value) = (bytes(row), bytes(family), bytes(qualifier), bytes(value));
        let cell = Cell { row, family, qualifier, timestamp, kind: CellType::Put, value };
        let mut world = self.world();
        let seq = world.tick();
        if let Some(table) = world.tables.get_mut(table) {
            table.storage.write(&cell, seq, storage::Log::Synced, 0);
        }
    }

    /// Calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// Calls of a method on a table so far.
    pub fn count(&self, method: &str, table: &str) -> usize {
        self.world().seen.iter().filter(|s| s.method == method && s.table == table).count()
    }

    /// Data calls in flight on a server, and the most there ever were.
    pub fn in_flight(&self, server: usize) -> (usize, usize) {
        let world = self.world();
        (world.servers[server].in_flight, world.servers[server].in_flight_max)
    }

    /// Forgets the most there ever were.
    pub fn forget_in_flight(&self) {
        self.world().servers.iter_mut().for_each(|s| s.in_flight_max = s.in_flight);
    }

    /// Scanners of tables that are open, that were ever opened, and renewals of a lease.
    pub fn scanners(&self) -> (usize, usize, usize) {
        let world = self.world();
        (world.servers.iter().map(|s| s.scanners.len()).sum(), world.scanners_opened, world.renewals)
    }

    /// Every scanner's lease has run out.
    pub fn expire_scanners(&self) {
        self.world().servers.iter_mut().for_each(|s| s.scanners.clear());
    }

    /// What a real server would have punished, if only later.
    pub fn complaints(&self) -> Vec<String> {
        self.world().complaints.clone()
    }

    /// Waits until this holds, looking whenever a call comes or is answered. A minute without it is a failed test.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let wait = async {
            loop {
                let news = self.shared.news.notified();
                tokio::pin!(news);
                // Enabled before the look, so that nothing between the two is missed.
                news.as_mut().enable();
                if holds(self) {
                    return;
                }
                news.await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "never came: {what}");
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.shared.lock()
    }
}

impl Drop for FakeHbase {
    fn drop(&mut self) {
        // The runtime goes with its thread, and every socket with the runtime.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
