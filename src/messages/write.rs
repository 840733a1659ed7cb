//! Between an entity and the writer.

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Millis;
use crate::domain::write::RowWrite;
use actix::dev::Message;
use std::sync::Arc;

/// One row's merged changes. Sender: an entity with nothing else in flight (N1).
pub struct WriteRow {
    pub write: RowWrite,
    pub reply: WriteReply,
}

/// The answer to [`WriteRow`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct RowWritten {
    pub outcome: Result<(), Fault>,
    /// When the writer heard of it: one look at the clock for all rows of a call. `None` where nobody answered.
    pub at: Option<Millis>,
}

/// Who asked for a write.
pub trait Asker: Send + Sync {
    fn hear(&self, answer: RowWritten);
}

/// Where the answer goes; dropped unanswered it says that the outcome is unknown.
pub struct WriteReply(Option<Arc<dyn Asker>>);

impl WriteReply {
    pub fn to(entity: Arc<dyn Asker>) -> Self {
        Self(Some(entity))
    }
    pub fn answer(mut self, outcome: Result<(), Fault>, at: Millis) {
        if let Some(entity) = self.0.take() {
            entity.hear(RowWritten { outcome, at: Some(at) });
        }
    }
}

impl Drop for WriteReply {
    fn drop(&mut self) {
        if let Some(entity) = self.0.take() {
            let fault = Fault::new(FaultKind::Unreachable, "writer", "went away before it answered");
            entity.hear(RowWritten { outcome: Err(fault), at: None });
        }
    }
}
