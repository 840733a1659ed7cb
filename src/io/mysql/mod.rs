//! A way to a MySQL or MariaDB database: connections, plain statements, what a refusal means.
//!
//! The one place that knows the client; jobs that lie aside (`shelf`, J8, J9) use it, and so may whatever else reads or
//! writes a database. Nothing is connected before the first statement; a lost connection is made anew by the next one.
//! Knows nothing of what the statements are for.

mod shelf;
mod tls;

use super::clients;
use crate::domain::fault::{Fault, FaultKind};
use crate::settings::MysqlSettings;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{DriverError, Error, IoError, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, TxOpts};
use std::sync::Arc;
use std::time::Duration;

pub use shelf::overflow_shelf;

/// Connections kept: what lies aside is asked by one call at a time, and a look by a person comes beside it.
const CONNECTIONS_MAX: usize = 4;
/// A statement without an answer for so long has an unknown outcome.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A way to one database. A clone shares the connections.
#[derive(Clone)]
pub struct Mysql {
    pool: Pool,
    place: Arc<str>,
    encrypted: bool,
}

impl Mysql {
    /// Prepares a way; connects at the first statement.
    ///
    /// # Errors
    /// `invalid` for an address or files of `tls` that cannot be used.
    pub fn new(settings: &MysqlSettings) -> Result<Self, Fault> {
        let _runtime = clients::handle()?.enter();
        let opts = Opts::from_url(settings.url.reveal()).map_err(|error| {
            let what = format!("{error}; allowed: mysql://user:password@host:port/database");
            Fault::new(FaultKind::Invalid, "ledger.mysql.url", what)
        })?;
        if opts.db_name().is_none_or(str::is_empty) {
            let what = "it names no database; allowed: mysql://user:password@host:port/database";
            return Err(Fault::new(FaultKind::Invalid, "ledger.mysql.url", what));
        }
        let place = format!("mysql {}:{}/{}", opts.ip_or_hostname(), opts.tcp_port(), opts.db_name().unwrap_or_default());
        let bounds = PoolConstraints::new(1, CONNECTIONS_MAX).unwrap_or_default();
        let encrypted = settings.tls.is_some() || opts.ssl_opts().is_some();
        let mut opts = OptsBuilder::from_opts(opts).pool_opts(PoolOpts::default().with_constraints(bounds));
        if let Some(tls) = &settings.tls {
            opts = opts.ssl_opts(tls::options(tls)?);
        }
        Ok(Self { pool: Pool::new(opts), place: place.into(), encrypted })
    }

    /// Where it goes, without secrets: for faults and logs.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What the server says it is. Blocks: not for an actor's thread.
    ///
    /// # Errors
    /// As [`Mysql::rows`].
    pub fn version(&self) -> Result<String, Fault> {
        let told: Vec<String> = self.rows("SELECT VERSION()", "", Params::Empty)?;
        Ok(told.into_iter().next().unwrap_or_default())
    }

    /// The rows of one statement. Blocks: not for an actor's thread.
    ///
    /// # Errors
    /// By kind: see [`kind_of`].
    pub fn rows<T: FromRow + Send + 'static>(&self, statement: &str, table: &str, params: Params) -> Result<Vec<T>, Fault> {
        let (pool, text) = (self.pool.clone(), statement.replace("{table}", table));
        self.wait(async move { pool.get_conn().await?.exec(text, params).await })
    }

    /// All statements in one transaction, or none. Sent once more when the connection breaks, so each must give the same end
    /// when it is done twice. Blocks: not for an actor's thread.
    ///
    /// # Errors
    /// As [`Mysql::rows`].
    pub fn change(&self, statements: Vec<(String, Params)>) -> Result<(), Fault> {
        let statements = Arc::new(statements);
        let once = || {
            let (pool, statements) = (self.pool.clone(), Arc::clone(&statements));
            self.wait(async move {
                let mut transaction = pool.start_transaction(TxOpts::default()).await?;
                for (text, params) in statements.iter() {
                    transaction.exec_drop(text.as_str(), params.clone()).await?;
                }
                transaction.commit().await
            })
        };
        match once() {
            Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Timeout) => once(),
            done => done,
        }
    }

    fn wait<T: Send + 'static>(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Fault> {
        let (place, encrypted) = (Arc::clone(&self.place), self.encrypted);
        let work = async move {
            match tokio::time::timeout(ANSWER_WITHIN, work).await {
                Ok(answer) => answer.map_err(|error| Fault::new(kind_of(&error), &*place, told(&error, encrypted))),
                Err(late) => Err(Fault::new(FaultKind::Timeout, &*place, late)),
            }
        };
        clients::wait(work)
    }
}

/// What a refusal or a broken connection makes the caller do.
pub fn kind_of(error: &Error) -> FaultKind {
    match error {
        Error::Io(_) => FaultKind::Unreachable,
        Error::Url(_) => FaultKind::Invalid,
        Error::Server(refused) => kind_of_code(refused.code),
        // The connection ended in the middle of an answer.
        Error::Driver(DriverError::ConnectionClosed | DriverError::PoolDisconnected) => FaultKind::Unreachable,
        _ => FaultKind::Incompatible,
    }
}

/// The client's words, and what to do where they do not say it.
fn told(error: &Error, encrypted: bool) -> String {
    match error {
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            "the server does not speak TLS: give it a certificate (`ssl_cert`, `ssl_key`), or leave `ledger.mysql.tls` out".into()
        }
        Error::Io(IoError::Tls(refused)) => {
            format!(
                "TLS: {refused}; see that `ledger.mysql.tls` names its authority (`ca`), and the address the certificate's name"
            )
        }
        // MySQL has a number of its own for it; MariaDB says no more than that access is denied.
        Error::Server(refused) if !encrypted && matches!(refused.code, INSECURE_TRANSPORT | ACCESS_DENIED) => {
            format!("{error}; where the server or the user wants TLS, write `tls: {{}}` or its `ca` below `ledger.mysql`")
        }
        _ => error.to_string(),
    }
}

/// `require_secure_transport` refuses a connection in plain text.
const INSECURE_TRANSPORT: u16 = 3159;
const ACCESS_DENIED: u16 = 1045;

/// MySQL's own numbers.
fn kind_of_code(code: u16) -> FaultKind {
    match code {
        // Access denied: to the server, the database, a table, a statement, without TLS.
        1044 | ACCESS_DENIED | 1142 | 1143 | 1227 | 1698 | INSECURE_TRANSPORT => FaultKind::Forbidden,
        // Too many connections, shutting down, a deadlock, a lock waited for too long, read-only: it may pass.
        1040 | 1053 | 1205 | 1213 | 1290 | 1836 | 1927 => FaultKind::Unreachable,
        // A full disk, a full table.
        1021 | 1114 => FaultKind::Full,
        // Data that cannot be read back.
        1034 | 1194 => FaultKind::Corrupt,
        _ => FaultKind::Incompatible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn way(url: &str) -> Result<Mysql, Fault> {
        Mysql::new(&MysqlSettings { url: Secret::new(url.to_owned()), tls: None, table: "t".to_owned() })
    }

    /// Goal: an address that cannot work is refused before anything runs. Method: a table of addresses.
    #[test]
    fn addresses_are_judged() {
        for (url, word) in [
            ("mysql://u:p@h:3306/shop", None),
            ("mysql://u:p@h", Some("names no database")),
            ("redis://h/0", Some("allowed: mysql://")),
            ("h:3306", Some("allowed: mysql://")),
        ] {
            match (way(url), word) {
                (Ok(way), None) => assert_eq!(way.place(), "mysql h:3306/shop", "no user, no password"),
                (Err(fault), Some(word)) => assert!(fault.kind == FaultKind::Invalid && fault.what.contains(word), "{fault:?}"),
                (other, _) => panic!("{url}: {:?}", other.map(|way| way.place().to_owned())),
            }
        }
    }

    /// Goal: nobody there is a fault that passes by itself. Method: a port nobody listens on.
    #[test]
    fn a_server_that_is_away_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let way = way(&format!("mysql://u:p@{free}/shop")).unwrap();
        let asked: Result<Vec<u64>, Fault> = way.rows("SELECT 1 FROM {table}", "t", Params::Empty);
        assert_eq!(asked.map_err(|fault| fault.kind), Err(FaultKind::Unreachable));
    }

    /// Goal: what a refusal makes the caller do. Method: a table of MySQL's numbers.
    #[test]
    fn refusals_have_kinds() {
        for (code, kind) in [
            (1045, FaultKind::Forbidden),
            (1213, FaultKind::Unreachable),
            (1114, FaultKind::Full),
            (1064, FaultKind::Incompatible),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }
}
