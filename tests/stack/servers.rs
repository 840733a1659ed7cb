//! Real servers for tests, each private to the test process that asked for it.
//!
//! A server is started by `stack/NAME/start` under `stack/guard`, which holds a pipe from this process: when the process
//! ends, however it ends, the guard kills the server and removes its folder. Ports lie below those the system hands out
//! by itself; one that is taken all the same is exchanged for another.
//!
//! Knows nothing of the tests: other test binaries include this file by its path.
#![allow(dead_code, reason = "each test binary uses the servers it needs")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// Which server; its folder under `stack/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    RedisCluster,
    /// One node of a Redis Cluster, without slots.
    RedisNode,
    /// What stands beside a master: its replica, or a sentinel that watches it.
    RedisAide,
    /// A Redis that listens without and with TLS.
    RedisTls,
    Kafka,
    Hbase,
    /// One more region server of an HBase.
    HbaseRegion,
    Search,
    Mariadb,
    Debezium,
    Canal,
    Maxwell,
}

impl Kind {
    const COUNT: usize = 13;

    const fn name(self) -> &'static str {
        match self {
            Self::Redis | Self::RedisNode | Self::RedisAide | Self::RedisTls => "redis",
            Self::RedisCluster => "redis-cluster",
            Self::Kafka => "kafka",
            Self::Hbase | Self::HbaseRegion => "hbase",
            Self::Search => "search",
            Self::Mariadb => "mariadb",
            Self::Debezium => "debezium",
            Self::Canal => "canal",
            Self::Maxwell => "maxwell",
        }
    }

    /// The variables its start script reads ports from; the first one is where clients begin.
    const fn ports(self) -> &'static [&'static str] {
        match self {
            Self::Kafka => &["PORT", "CONTROLLER_PORT"],
            Self::Hbase => &["PORT", "REGION_PORT", "ZOOKEEPER_PORT"],
            Self::RedisNode | Self::RedisCluster => &["PORT", "BUS_PORT"],
            Self::RedisTls => &["PORT", "TLS_PORT"],
            Self::HbaseRegion
            | Self::Redis
            | Self::RedisAide
            | Self::Search
            | Self::Mariadb
            | Self::Debezium
            // These listen nowhere; theirs stays free.
            | Self::Canal
            | Self::Maxwell => &["PORT"],
        }
    }

    const fn heap(self) -> &'static str {
        match self {
            Self::Hbase | Self::Search => "512m",
            Self::HbaseRegion | Self::Kafka | Self::Debezium | Self::Canal | Self::Maxwell => "256m",
            Self::Redis | Self::RedisAide | Self::RedisCluster | Self::RedisNode | Self::RedisTls | Self::Mariadb => "",
        }
    }

    /// How many private ones of this kind may run at a time; the shared one comes on top.
    const fn private_max(self) -> usize {
        match self {
            Self::Hbase | Self::HbaseRegion | Self::Search | Self::Debezium | Self::Canal | Self::Maxwell => 1,
            Self::Kafka => 2,
            // Two clusters of three at a time: with fewer, two tests could wait for each other's nodes.
            Self::RedisNode => 6,
            Self::Redis | Self::RedisAide | Self::RedisCluster | Self::RedisTls | Self::Mariadb => 4,
        }
    }
}

/// A Redis of the caller's own; `address` takes connections.
pub fn redis() -> Server {
    Server::private(Kind::Redis)
}
/// A node of a Redis Cluster of the caller's own; `addresses` are its own and its bus's.
pub fn redis_node() -> Server {
    Server::private(Kind::RedisNode)
}
/// A replica of this master.
pub fn redis_replica(master: &Server) -> Server {
    Server::with(Kind::RedisAide, vec![("REPLICA_OF", master.port().to_string())])
}
/// A sentinel that watches this master as `main`, and alone decides that it is gone.
pub fn redis_sentinel(master: &Server) -> Server {
    Server::with(Kind::RedisAide, vec![("SENTINEL_OF", master.port().to_string())])
}
/// A Redis whose `addresses` are the plain one and the one under TLS, with a certificate nobody knows.
pub fn redis_tls() -> Server {
    Server::private(Kind::RedisTls)
}
/// A Kafka node of the caller's own; `address` is its bootstrap server. Topics must be created.
pub fn kafka() -> Server {
    Server::private(Kind::Kafka)
}
/// The same with a second door on the port besides: TLS with client certificates, and SASL (`stack/kafka/start`).
pub fn secure_kafka() -> (Server, u16) {
    let port = free_port();
    (Server::with(Kind::Kafka, vec![("SECURE_PORT", port.to_string())]), port)
}
/// An HBase of the caller's own; `address` is its master's, `addresses` the master's and the region server's.
pub fn hbase() -> Server {
    Server::private(Kind::Hbase)
}
/// The same with one more variable for its start script.
pub fn hbase_with(name: &'static str, value: &str) -> Server {
    Server::with(Kind::Hbase, vec![(name, value.to_owned())])
}
/// One more region server of this HBase, in a process of its own; dead to the others when silent for so many milliseconds.
pub fn hbase_region(of: &Server, session_ms: u32) -> Server {
    let more = [("JOIN", of.folder.display().to_string()), ("ZOOKEEPER_PORT", of.ports[2].to_string())];
    Server::with(Kind::HbaseRegion, more.into_iter().chain([("SESSION_MS", session_ms.to_string())]).collect())
}
/// A search server of the caller's own, the one `WIDEROW_SEARCH` says; `http://{address}` answers.
pub fn search() -> Server {
    Server::private(Kind::Search)
}
/// The same with one thread that writes, and room for one request that waits for it.
pub fn narrow_search() -> Server {
    Server::with(Kind::Search, vec![("WRITE_QUEUE", "1".to_owned())])
}
/// An Elasticsearch with users, under TLS; `server.crt` in its folder is its own authority (`stack/search/start`).
pub fn secure_search() -> Server {
    Server::with(Kind::Search, vec![("SECURE", "yes".to_owned())])
}
/// A MariaDB of the caller's own, with row events; user and password are `widerow`.
pub fn mariadb() -> Server {
    Server::private(Kind::Mariadb)
}
/// The same that also speaks TLS; `server.crt` in its folder is its own authority, `client.crt` and `.key` are for clients.
pub fn mariadb_tls() -> Server {
    Server::with(Kind::Mariadb, vec![("TLS", "yes".to_owned())])
}
/// The same with the shop of `stack/mariadb/shop.sql` in it.
pub fn shop() -> Server {
    Server::with(Kind::Mariadb, vec![("SETUP", root().join("stack/mariadb/shop.sql").display().to_string())])
}
/// Debezium from this database to this Kafka: the topics `shop.shop.TABLE`.
pub fn debezium(database: &Server, broker: &Server) -> Server {
    capture(Kind::Debezium, database, broker)
}
/// What reads this database's changes into this broker. Canal and Maxwell need their topics, and begin with what comes.
pub fn capture(kind: Kind, database: &Server, broker: &Server) -> Server {
    let ports = [("DATABASE_PORT", database.port()), ("BROKER_PORT", broker.port())];
    Server::with(kind, ports.map(|(name, port)| (name, port.to_string())).to_vec())
}

/// One of the caller's own with this heap: for figures, where the tests' small ones would be measured instead of the work.
pub fn with_heap(kind: Kind, heap: &str) -> Server {
    Server::with(kind, vec![("HEAP", heap.to_owned())])
}

/// The one of this kind that all tests of this process share: for tests that neither break it nor mind what others
/// keep there. Runs until the process ends.
pub fn shared(kind: Kind) -> &'static Server {
    static SHARED: [OnceLock<Server>; Kind::COUNT] = [const { OnceLock::new() }; Kind::COUNT];
    SHARED[kind as usize].get_or_init(|| Server::started(kind, Vec::new(), None))
}

/// A running server. Dropped, it is killed and its folder removed.
pub struct Server {
    kind: Kind,
    folder: PathBuf,
    ports: Vec<u16>,
    /// What its start script reads besides.
    more: Vec<(&'static str, String)>,
    guard: Mutex<Guard>,
    pid: AtomicU32,
    _permit: Option<Permit>,
}

struct Guard {
    process: Child,
    verbs: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Waits until fewer than `private_max` of the kind run. A test that takes more of a kind than that waits for itself.
    fn private(kind: Kind) -> Self {
        Self::with(kind, Vec::new())
    }

    fn with(kind: Kind, more: Vec<(&'static str, String)>) -> Self {
        Self::started(kind, more, Some(Permit::take(kind)))
    }

    fn started(kind: Kind, more: Vec<(&'static str, String)>, permit: Option<Permit>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut permit = permit;
        for _ in 0..PORT_TRIES_MAX {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let folder = root().join(format!(".stack/test/{}-{number}", std::process::id()));
            let ports: Vec<u16> = kind.ports().iter().map(|_| free_port()).collect();
            let guard = Mutex::new(Guard::of(kind, &folder, &ports, &more));
            let server = Self { kind, folder, ports, more: more.clone(), guard, pid: AtomicU32::new(0), _permit: permit.take() };
            match server.ask("start") {
                Ok(()) => return server,
                // Between our look and the server's, somebody took the port.
                Err(PORT_TAKEN) => permit = server.give_up(),
                Err(code) => server.fail("start", code),
            }
        }
        panic!("{}: no free port in {PORT_TRIES_MAX} tries", kind.name());
    }

    /// Where clients begin: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Every address of it, in the order of its start script: Kafka broker, controller; HBase master, region server,
    /// ZooKeeper.
    pub fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The process of its present life.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Its data folder; `NAME.log` in it is its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The end of its log, for a test that fails.
    pub fn last_words(&self) -> String {
        let path = self.folder.join(format!("{}.log", self.kind.name()));
        let log = std::fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(6_000)..]).into_owned();
        format!("--- the end of {}\n{log}", path.display())
    }

    /// Runs `stack/NAME/SCRIPT` on this server and returns what it prints: `health`, or `sql` of MariaDB.
    pub fn script(&self, script: &str, arguments: &[&str]) -> String {
        let path = root().join("stack").join(self.kind.name()).join(script);
        let mut command = Command::new(&path);
        environment(&mut command, self.kind, &self.folder, &self.ports, &self.more);
        let output = command.args(arguments).output().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {}\n{said}", path.display(), output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// SIGKILL, and waits until it is gone: a crash.
    pub fn kill(&self) {
        self.order("kill");
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.order("freeze");
    }

    /// Ends `freeze`.
    pub fn thaw(&self) {
        self.order("thaw");
    }

    /// SIGTERM, and waits until it is gone: an orderly end.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// Starts it once more on the same data and ports, after `kill` or `stop`, and waits until it answers.
    pub fn start_again(&self) {
        self.order("start");
    }

    fn order(&self, verb: &str) {
        if let Err(code) = self.ask(verb) {
            self.fail(verb, code);
        }
    }

    /// The start script's exit code when the answer is no.
    fn ask(&self, verb: &str) -> Result<(), i32> {
        let mut guard = self.lock();
        let sent = guard.verbs.as_mut().map(|verbs| writeln!(verbs, "{verb}").and_then(|()| verbs.flush()));
        let mut answer = String::new();
        if !matches!(sent, Some(Ok(()))) || guard.answers.read_line(&mut answer).is_err() {
            return Err(GUARD_GONE);
        }
        let mut words = answer.split_whitespace();
        match words.next() {
            Some("ok") => {
                if let Some(pid) = words.next().and_then(|pid| pid.parse().ok()) {
                    self.pid.store(pid, Ordering::Relaxed);
                }
                Ok(())
            }
            Some("no") => Err(words.next().and_then(|code| code.parse().ok()).unwrap_or(GUARD_GONE)),
            _ => Err(GUARD_GONE),
        }
    }

    fn fail(&self, verb: &str, code: i32) -> ! {
        let name = self.kind.name();
        let told = fs::read_to_string(told(&self.folder)).unwrap_or_default();
        match code {
            PROGRAM_MISSING => panic!("{name}: run ./dev test, or ./dev stack up {name} once\n{told}"),
            GUARD_GONE => panic!("{name}: its guard is gone (asked to {verb})\n{told}"),
            _ => panic!("{name}: could not {verb} (exit {code})\n{told}"),
        }
    }

    fn give_up(mut self) -> Option<Permit> {
        self._permit.take()
    }

    fn lock(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut guard = self.lock();
        guard.verbs = None;
        let _ = guard.process.wait();
    }
}

impl Guard {
    fn of(kind: Kind, folder: &Path, ports: &[u16], more: &[(&str, String)]) -> Self {
        let root = root();
        fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let told = fs::File::create(told(folder)).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut command = Command::new(root.join("stack/guard"));
        environment(&mut command, kind, folder, ports, more);
        command
            .arg(kind.name())
            .env("KEEP", if keeps() { "yes" } else { "" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(told);
        let mut process = command.spawn().unwrap_or_else(|e| panic!("stack/guard: {e}"));
        let verbs = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap_or_else(|| panic!("stack/guard has no output")));
        Self { process, verbs, answers }
    }
}

/// What every script of a server reads (`stack/common.sh`).
fn environment(command: &mut Command, kind: Kind, folder: &Path, ports: &[u16], more: &[(&str, String)]) {
    command
        .env("DATA", folder)
        .env("LIB", root().join(".stack/lib").join(kind.name()))
        .env("HEAP", kind.heap())
        .envs(kind.ports().iter().zip(ports).map(|(name, port)| (*name, port.to_string())))
        .envs(more.iter().map(|(name, value)| (*name, value)));
}

/// The right to run one private server of a kind.
struct Permit(Kind);

/// How many private servers of each kind run.
static RUNNING: Mutex<[usize; Kind::COUNT]> = Mutex::new([0; Kind::COUNT]);
static ENDED: Condvar = Condvar::new();

impl Permit {
    fn take(kind: Kind) -> Self {
        let running = RUNNING.lock().unwrap_or_else(|e| e.into_inner());
        let mut running =
            ENDED.wait_while(running, |running| running[kind as usize] >= kind.private_max()).unwrap_or_else(|e| e.into_inner());
        running[kind as usize] += 1;
        Self(kind)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(|e| e.into_inner())[self.0 as usize] -= 1;
        ENDED.notify_all();
    }
}

/// Exit codes of a start script (`stack/common.sh`), and one of ours.
const PORT_TAKEN: i32 = 3;
const PROGRAM_MISSING: i32 = 4;
const GUARD_GONE: i32 = -1;
const PORT_TRIES_MAX: usize = 5;

/// The first port tests may take, and how many: below those the system hands out by itself, so that no outgoing
/// connection sits on one while its server is down.
const PORT_FIRST: u32 = 20_000;
const PORT_COUNT: u32 = 10_000;

/// A port nobody listens on, and that this process has not had before. Processes begin at different places.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(turn < PORT_COUNT, "every port from {PORT_FIRST} on was taken or used");
        let place = std::process::id().wrapping_mul(37).wrapping_add(turn) % PORT_COUNT;
        let port = u16::try_from(PORT_FIRST + place).unwrap_or(u16::MAX);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
            return port;
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the guard and the start script say, beside the data folder. The guard removes it too.
fn told(folder: &Path) -> PathBuf {
    folder.with_extension("told")
}

/// `WIDEROW_STACK_KEEP=yes` leaves the folders, for a look at the logs of a test that failed.
fn keeps() -> bool {
    std::env::var_os("WIDEROW_STACK_KEEP").is_some_and(|value| !value.is_empty())
}
