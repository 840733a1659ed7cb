//! A shop that trades, from one seed: its row changes as records, and the documents they must end as (5.2).
//!
//! `chance` is where its dice come from, `tables` its five tables, `trade` the shop's own books, `words` its vocabulary, `body` the three formats
//! of a change, `log` the order of delivery with all that a real log does, `truth` the documents, `source` the whole as a
//! source. It shares no decoding, merging or document code with the engine, so that it can judge it.

mod body;
mod chance;
mod log;
mod shop;
mod source;
mod tables;
mod trade;
mod truth;
mod words;

pub use shop::Shop;
pub use source::GeneratorSource;
pub use truth::{Documents, Json, expected_json};
