//! A native, asynchronous HBase client (2.5, 2.6, 3.x), and what stands on it.
//!
//! The client is useful on its own: it knows tables, rows, cells and regions, and nothing of widerow's rows and stamps.
//!
//! Wire facts come from HBase's own sources (branches 2.5, 2.6, 3.0) and from runs against real servers. From the bytes
//! upwards:
//!
//! - `pb` protobuf messages · `cell` cell blocks · `frame` what travels on a socket
//! - `error` classes and what to do about each · `types` what callers say
//! - `connection` one socket · `node` one server: sockets, window · `flight` one asks for all
//! - `registry` who holds meta, who is master · `locator` which server holds a row
//! - `multi` one call for many rows · `batch` many rows, with retries · `scanner` stretches of rows
//! - `raw` the cheap read of rows that were just written
//! - `client` the door · `admin` tables
//!
//! Three promises hold everywhere: nothing that comes over a socket makes us panic, or reserve memory on a length's word
//! alone; every call has a deadline and its own timer, because a server drops late calls without a word; an error says
//! whether the outcome is known.
//!
//! ```no_run
//! use widerow::io::hbase::types::{Durability, FamilyDescriptor, Get, Put, Scan, TableDescriptor, TableName};
//! use widerow::io::hbase::{Client, ClientSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Any master or region server will do: the rest is learned from it. No ZooKeeper is asked.
//! let client = Client::new(ClientSettings::new(vec!["127.0.0.1:16020".to_owned()]))?;
//! let table = TableName::parse("shop:orders")?;
//! let wanted = TableDescriptor {
//!     name: table.clone(),
//!     families: vec![FamilyDescriptor::new("cf")],
//!     attributes: Default::default(),
//! };
//! // One region from the start to `5`, one from there on.
//! client.ensure_table(&wanted, &["5".into()]).await?;
//!
//! // Many rows, one call for each server and some regions of it; each row is atomic and has an outcome of its own.
//! let mut puts = Vec::new();
//! for (key, status) in [("0042:10042", "paid"), ("7011:17011", "sent")] {
//!     let mut put = Put::new(key, Durability::Sync)?;
//!     put.cell(b"cf", b"status", 17, status.as_bytes())?;
//!     puts.push(put);
//! }
//! for outcome in client.put_many(&table, puts).await {
//!     if let Err(error) = outcome {
//!         // It was tried until the operation's end. Where `outcome_unknown` is set, it may have been done.
//!         eprintln!("{error}; it is of class {}", error.class.label());
//!     }
//! }
//!
//! let cells = client.get(&table, Get::new("0042:10042")).await?;
//! assert_eq!(cells[0].value, "paid");
//! let mut scanner = client.scanner(&table, Scan::from("", 1000));
//! while let Some(rows) = scanner.next().await? {
//!     println!("{} rows", rows.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Not here: Kerberos and tokens (HBase is told a user name, over TLS if wished), coprocessors, replicas of regions, append,
//! tags of cells, scans backwards.

mod admin;
mod backoff;
mod batch;
pub mod cell;
pub mod client;
pub mod connection;
pub mod error;
mod flight;
pub mod frame;
mod locator;
mod multi;
mod node;
pub mod pb;
#[doc(hidden)]
pub mod probe;
mod raw;
mod registry;
pub mod scanner;
pub mod store;
pub mod types;

pub use client::{Client, ClientSettings};
pub use error::Error;
pub use scanner::Scanner;
