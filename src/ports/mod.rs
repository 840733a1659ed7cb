//! The doors to the world: what the engine needs of a source, a row store, a queue, a sink, a ledger.
//!
//! Traits and their plain data, and one use of a trait that two rooms share (`refill`). Knows nothing of actors, of messages,
//! or of who implements it.

pub mod clock;
pub mod ledger;
pub mod queue;
pub mod refill;
pub mod rows;
pub mod sink;
pub mod source;

use crate::domain::ids::Name;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;

/// What every door's calls return: a future that a trait object can hand out.
pub type Answer<'a, T> = BoxFuture<'a, T>;

/// The opened doors of one node, sources apart: what actors, the admin endpoint and offline verbs all work on.
#[derive(Clone)]
pub struct Doors {
    pub rows: Arc<dyn rows::RowStore>,
    pub queue: Arc<dyn queue::JobQueue>,
    pub ledger: Arc<dyn ledger::Ledger>,
    /// By line; lines without one are worked by others (`queue_only`).
    pub sinks: HashMap<Name, Arc<dyn sink::Sink>>,
}
