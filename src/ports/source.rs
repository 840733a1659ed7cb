//! The door to the log: records in, positions out.
//!
//! A source runs on its own thread or task and *delivers*; the engine answers each delivery when it wants more, so a
//! file simply waits and a broker's poll thread pauses the partition (O4). Commits name the first unsettled position (O1).

use super::Answer;
use crate::domain::epoch::{Break, Bump, Epochs, TopicMemory, TopicSeen};
use crate::domain::fault::Fault;
use crate::domain::ids::{Generation, Name, NextOffset, Partition};
pub use crate::domain::record::Delivery;
use std::sync::Arc;

/// A partition this process now reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub partition: Partition,
    /// Where reading starts: what was committed, or the beginning.
    pub start: NextOffset,
    /// Partitions of the topic (C5).
    pub partitions: u32,
    /// Which epoch a record has, by its offset (E4).
    pub epochs: Epochs,
    /// The end of the log as seen at the assignment, where the source knows it: lag counts from it until records come.
    pub high_watermark: Option<i64>,
}

/// Records that left the log before they were delivered in this reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where reading was to go on.
    pub from: NextOffset,
    /// Where the log begins.
    pub to: NextOffset,
}

/// The engine's side of a source: what the source calls.
pub trait Intake: Send + Sync {
    /// New partitions. Answers when their actors run.
    fn assigned(&self, source: &str, partitions: Vec<Assigned>) -> Answer<'static, ()>;

    /// Records of one partition in log order, of one generation. The answer comes when the partition takes more (O4);
    /// a source delivers no further batch of that partition before it.
    fn deliver(&self, records: Delivery) -> Answer<'static, ()>;

    /// A finite partition is read to its end, in this reading.
    fn ended(&self, partition: Partition, reading: Generation);

    /// The log begins at `cut.to` now, beyond where this reading was to go on. Called before anything at or beyond it is
    /// delivered, and after everything below it that was taken from the log.
    fn cut(&self, partition: Partition, reading: Generation, cut: Cut);

    /// Partitions that leave. Answers once they are drained and committed, or their deadline has passed (O3).
    fn revoked(&self, partitions: Vec<Partition>) -> Answer<'static, ()>;

    /// The source has nothing to read from and waits for others, or (`None`) waits no longer. It goes on by itself
    /// once they let it.
    fn waits(&self, why: Option<Fault>);

    /// The source cannot go on with a partition, or (`None`) at all.
    fn failed(&self, partition: Option<Partition>, fault: Fault);
}

/// A source that can be started once.
pub trait Source: Send {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// Begins to read, and to call the intake.
    ///
    /// # Errors
    /// The log cannot be opened, or is not the one that was committed to (E3, E5).
    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault>;
}

/// One topic's life, as remembered in the row store and as the brokers show it (E3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLife {
    pub topic: Name,
    pub memory: TopicMemory,
    pub seen: TopicSeen,
    /// Why it is no longer the topic that is remembered; empty for one that is.
    pub breaks: Vec<Break>,
}

/// What a person asks about epochs. Needs no running source.
pub trait TopicLives: Send + Sync {
    /// The source's name in the configuration.
    fn source(&self) -> &str;
    /// Topics the configuration names one by one; patterns are left out.
    fn topics(&self) -> Vec<Name>;
    /// Whether the source reads this topic, by name or by a pattern.
    fn may_read(&self, topic: Name) -> bool;
    fn look(&self, topic: Name) -> Answer<'_, Result<TopicLife, Fault>>;
    /// Raises the topic's epoch by compare-and-set, or with `dry` only says what that would come to.
    fn bump(&self, topic: Name, dry: bool) -> Answer<'_, Result<Bump, Fault>>;
}

/// What the engine asks of a running source.
pub trait SourceControl: Send + Sync {
    /// Keeps the first unsettled position durably. Answers when it is kept.
    fn commit(&self, positions: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>>;

    /// Reads the partition again from here under a new reading. Deliveries of older readings are to be ignored by the engine.
    fn rewind(&self, partition: Partition, to: NextOffset) -> Generation;

    fn pause(&self, partition: Partition);
    fn resume(&self, partition: Partition);

    /// Stops reading; no delivery begins after the answer. Commits are still taken.
    fn stop(&self) -> Answer<'_, ()>;

    /// Leaves for good, after the last commit: others may take over at once.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
