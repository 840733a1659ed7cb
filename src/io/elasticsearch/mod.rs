//! Documents in Elasticsearch 7 to 9 or OpenSearch, through the official client's transport.
//!
//! Keeps K1, K2 and K7: every write carries its row's version (`external_gte`), every item of a reply gets its own
//! verdict, an index is made once and never changed. Knows nothing of rows, jobs or how documents are built.
//!
//! `bulk` makes request bodies, `verdict` reads replies, `window` decides how many are in flight, `mapping` says what an
//! index of a line looks like; these four are pure. `client` talks, `setup` finds out what is there and makes what is
//! missing, `sink` is the door, `held` reads back, `inspect` answers `check --connect`.

mod bulk;
mod client;
mod gate;
mod held;
mod inspect;
mod mapping;
mod setup;
mod sink;
mod verdict;
mod window;

pub use client::Client;
pub use inspect::{Seen, inspect};
pub use mapping::{Mapping, mapping_of};
pub use sink::{ElasticsearchSink, SinkOptions};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
