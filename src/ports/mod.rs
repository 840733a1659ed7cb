//! The doors to the world: what the engine needs of a source, a row store, a queue, a sink, a ledger.
//!
//! Traits and their plain data only. Knows nothing of actors, of messages, or of who implements it.

pub mod ledger;
pub mod queue;
pub mod rows;
pub mod sink;
pub mod source;

use futures_util::future::BoxFuture;

/// What every door's calls return: a future that a trait object can hand out.
pub type Answer<'a, T> = BoxFuture<'a, T>;
