//! From the source's thread to a partition.

use crate::domain::ids::{Generation, NextOffset};
use crate::domain::record::Delivery;
use actix::dev::Message;
use tokio::sync::oneshot;

/// Records of one partition in log order. Sender: the intake; receiver: the partition actor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeRecords {
    pub delivery: Delivery,
    /// Dropped when the partition has room for more (O4).
    pub taken: oneshot::Sender<()>,
}

/// A finite partition has been read to its end in this reading.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SourceEnded {
    pub reading: Generation,
}

/// The log begins here now: nothing below will come in this reading. Sender: the supervisor; receiver: the partition actor.
/// Lost between two generations, the next one's source says it again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SkipTo {
    pub reading: Generation,
    pub to: NextOffset,
}
