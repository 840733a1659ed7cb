//! The protobuf messages of HBase's RPC (package `hbase.pb`, proto2), by hand: only the fields we use.
//!
//! Field numbers are those of HBase's `.proto` files. Unknown fields are skipped when read. Proto2 repeated numbers are
//! not packed. Byte fields are `Bytes`: reading one from a `Bytes` shares its memory.

mod admin;
mod data;
mod rpc;

pub use admin::*;
pub use data::*;
pub use rpc::*;
