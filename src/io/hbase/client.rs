//! The client: rows of tables, from whichever servers hold them.
//!
//! Cheap to clone, and safe to share between threads: sockets, the memory of regions and the windows are one per client.
//! Nothing is connected before the first call. Every operation ends by the operation timeout; until then it is tried again
//! as the error's class says. Writes that carry their timestamps may be sent more than once: they do the same.

use super::backoff;
use super::batch::{self, Core, Limits};
use super::cell::Cell;
use super::connection::{Dial, Tls};
use super::error::{Class, Error};
use super::frame::FRAME_BYTES_MAX;
use super::locator::Locator;
use super::multi::{Answer, Item};
use super::node::Pool;
use super::raw;
use super::registry::Registry;
use super::scanner::{self, Scanner};
use super::types::{Address, CheckAndMutate, Get, Put, RowMutations, Scan, ScanPage, ServerLives, TableName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How a client behaves. [`ClientSettings::new`] has defaults for all but the servers.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `host:port` of masters or region servers, at least one; the rest is learned from them.
    pub servers: Vec<String>,
    /// The user name that HBase takes us for; `widerow`.
    pub user: String,
    /// Sockets per region server; 2.
    pub connections: usize,
    /// Calls at once on a region server, at most; 16. The window below it follows what the server can take.
    pub in_flight: usize,
    /// From the first packet to the end of the greeting, TLS included; 5 s.
    pub connect_timeout: Duration,
    /// One try of one call; 10 s. The server is told, and drops what it could not begin by then.
    pub call_timeout: Duration,
    /// A whole operation with all its tries; 60 s.
    pub operation_timeout: Duration,
    /// A call carries at most so many rows, bytes and regions (500, 1 MiB, 4). One call is one thread of a server, so regions in one call
    /// wait for each other.
    pub rows_per_call: usize,
    pub bytes_per_call: usize,
    pub regions_per_call: usize,
    /// Send increments with a nonce, so that a lost reply does not make them count twice. The server remembers each for half
    /// an hour, at about 120 bytes.
    pub nonces: bool,
    /// `None`: plain sockets. Needs the feature `hbase-tls`.
    pub tls: Option<Tls>,
}

impl ClientSettings {
    /// The defaults named beside each field.
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            user: "widerow".to_owned(),
            connections: 2,
            in_flight: 16,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(60),
            rows_per_call: 500,
            bytes_per_call: 1 << 20,
            regions_per_call: 4,
            nonces: true,
            tls: None,
        }
    }
}

/// A client of one cluster.
///
/// ```no_run
/// use widerow::io::hbase::client::{Client, ClientSettings};
/// use widerow::io::hbase::types::{Durability, Get, Put, TableName};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(ClientSettings::new(vec!["127.0.0.1:16020".to_owned()]))?;
/// let table = TableName::parse("orders")?;
/// let mut put = Put::new("0042:10042", Durability::Sync)?;
/// put.cell(b"cf", b"status", 17, b"paid")?;
/// for outcome in client.put_many(&table, vec![put]).await {
///     outcome?;
/// }
/// let cells = client.get(&table, Get::new("0042:10042")).await?;
/// assert_eq!(cells[0].timestamp, 17);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) core: Arc<Core>,
}

impl Client {
    /// A client; it connects when it is first used. Its sockets live on the tokio runtime this is called in, if any, else on
    /// the one of whoever needs them first.
    ///
    /// # Errors
    /// `invalid` when no server is named, or one not as `host:port`.
    pub fn new(settings: ClientSettings) -> Result<Self, Error> {
        let mut seeds = Vec::with_capacity(settings.servers.len());
        for server in &settings.servers {
            let invalid = || Error::new(Class::Invalid, "servers", format_args!("`{server}` is not host:port"));
            seeds.push(Address::parse(server).ok_or_else(invalid)?);
        }
        if seeds.is_empty() {
            return Err(Error::new(
                Class::Invalid,
                "servers",
                "none is named; give at least one master or region server as host:port",
            ));
        }
        let dial = Dial {
            user: settings.user,
            connect_timeout: settings.connect_timeout,
            // A call may have spent some of its time on connecting.
            silence_max: settings.call_timeout / 2,
            frame_bytes_max: FRAME_BYTES_MAX,
            tls: settings.tls,
        };
        let pool = Arc::new(Pool::new(dial, settings.connections, settings.in_flight));
        let registry = Arc::new(Registry::new(seeds, Arc::clone(&pool), settings.call_timeout));
        let locator = Locator::new(Arc::clone(&pool), Arc::clone(&registry), settings.call_timeout);
        let limits = Limits {
            call_timeout: settings.call_timeout,
            operation_timeout: settings.operation_timeout,
            rows_per_call: settings.rows_per_call.max(1),
            bytes_per_call: settings.bytes_per_call,
            regions_per_call: settings.regions_per_call.max(1),
            nonces: settings.nonces,
        };
        Ok(Self { core: Arc::new(Core { pool, registry, locator, limits, nonce_group: backoff::random() }) })
    }

    /// Puts rows; each is atomic, and one that fails keeps none of the others back. Outcomes in the order of the rows. An
    /// error with `outcome_unknown` may have been done: putting the same again does no harm.
    pub async fn put_many(&self, table: &TableName, puts: Vec<Put>) -> Vec<Result<(), Error>> {
        // HBase refuses a put without cells; here it is nothing to do.
        let empty: Vec<bool> = puts.iter().map(|put| put.count() == 0).collect();
        let items = puts.into_iter().filter(|put| put.count() > 0).map(Item::Put).collect();
        let mut answers = batch::run(&self.core, table, items).await.into_iter();
        let mut done = |empty: bool| match (!empty).then(|| answers.next()).flatten() {
            Some(answer) => answer.map(|_| ()),
            None => Ok(()),
        };
        empty.into_iter().map(&mut done).collect()
    }

    /// Reads rows, each as of one moment; no cells where there is no row. In the order asked for.
    pub async fn get_many(&self, table: &TableName, gets: Vec<Get>) -> Vec<Result<Vec<Cell>, Error>> {
        let answers = batch::run(&self.core, table, gets.into_iter().map(Item::Get).collect()).await;
        answers.into_iter().map(|answer| answer.map(|answer| answer.cells)).collect()
    }

    /// Reads rows as [`Client::get_many`] does for ordinary gets of whole families, at less cost to a server that still has
    /// older versions in its memory (`raw`). Rows with delete markers of strangers are asked for twice.
    pub async fn newest_many(&self, table: &TableName, gets: Vec<Get>) -> Vec<Result<Vec<Cell>, Error>> {
        let read = self.get_many(table, gets.iter().cloned().map(raw::of).collect()).await;
        let mut read: Vec<_> = read.into_iter().map(|cells| cells.map(raw::shown)).collect();
        let untold: Vec<usize> = (0..read.len()).filter(|at| matches!(read[*at], Ok(None))).collect();
        if !untold.is_empty() {
            let again = self.get_many(table, untold.iter().map(|at| gets[*at].clone()).collect()).await;
            untold.into_iter().zip(again).for_each(|(at, cells)| read[at] = cells.map(Some));
        }
        read.into_iter().map(|cells| cells.map(Option::unwrap_or_default)).collect()
    }

    /// Reads one row.
    ///
    /// # Errors
    /// What kept it from being read until the operation's end.
    pub async fn get(&self, table: &TableName, get: Get) -> Result<Vec<Cell>, Error> {
        self.one(table, Item::Get(get)).await.map(|answer| answer.cells)
    }

    /// Changes rows; what is asked of one is done together or not at all. The cells are the increments' results where they
    /// were asked for; there may be none where a repeated call was recognised by its nonce. Outcomes in the order of the rows.
    pub async fn mutate_many(&self, table: &TableName, rows: Vec<RowMutations>) -> Vec<Result<Vec<Cell>, Error>> {
        let empty: Vec<bool> = rows.iter().map(RowMutations::is_empty).collect();
        let items = rows.into_iter().filter(|row| !row.is_empty()).map(|row| Item::Mutate(row, None)).collect();
        let mut answers = batch::run(&self.core, table, items).await.into_iter();
        let mut done = |empty: bool| match (!empty).then(|| answers.next()).flatten() {
            Some(answer) => answer.map(|answer| answer.cells),
            None => Ok(Vec::new()),
        };
        empty.into_iter().map(&mut done).collect()
    }

    /// Changes a row if a condition holds, in one step; says whether it held. It is sent again only while it is certain that
    /// the last try did nothing.
    ///
    /// # Errors
    /// What kept it from being done; with `outcome_unknown`, read the row to learn what is so.
    pub async fn check_and_mutate(&self, table: &TableName, check: CheckAndMutate) -> Result<bool, Error> {
        if check.mutations.is_empty() {
            return Err(Error::new(Class::Invalid, format_args!("table {table}"), "a checked write needs at least one mutation"));
        }
        self.one(table, Item::Mutate(check.mutations, Some(check.condition))).await.map(|answer| answer.processed)
    }

    /// Reads a page of rows in key order. No scanner stays open between pages, so that each page sees what was written before
    /// it; [`Client::scanner`] keeps one.
    ///
    /// # Errors
    /// What kept it from going on until the operation's end.
    pub async fn scan(&self, table: &TableName, scan: &Scan) -> Result<ScanPage, Error> {
        scanner::page(&self.core, table, scan).await
    }

    /// Reads page after page of rows in key order, and keeps the server's scanner between them.
    pub fn scanner(&self, table: &TableName, scan: Scan) -> Scanner {
        Scanner::new(Arc::clone(&self.core), table.clone(), scan)
    }

    /// The region servers' start codes as they become known; see [`ServerLives`]. [`Client::cluster`] asks for them afresh.
    pub fn servers(&self) -> watch::Receiver<ServerLives> {
        self.core.registry.lives()
    }

    async fn one(&self, table: &TableName, item: Item) -> Result<Answer, Error> {
        let lost = || Error::new(Class::Invalid, format_args!("table {table}"), "the row was not handled");
        batch::run(&self.core, table, vec![item]).await.pop().unwrap_or_else(|| Err(lost()))
    }
}
