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
//! - `client` the door · `admin` tables
//!
//! Three promises hold everywhere: nothing that comes over a socket makes us panic, or reserve memory on a length's word
//! alone; every call has a deadline and its own timer, because a server drops late calls without a word; an error says
//! whether the outcome is known.

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
mod registry;
pub mod scanner;
pub mod store;
pub mod types;
