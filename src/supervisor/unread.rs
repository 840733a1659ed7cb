//! A source that is configured and not read: a node without intake still replays its dead letters and works its jobs.
//!
//! It has no partitions, so nothing of it is committed or rewound.

use crate::domain::fault::Fault;
use crate::domain::ids::{Generation, NextOffset, Partition};
use crate::ports::Answer;
use crate::ports::source::{Intake, Source, SourceControl};
use std::sync::Arc;

/// Stands in for a configured source.
pub(super) struct Unread(pub String);

impl Source for Unread {
    fn name(&self) -> &str {
        &self.0
    }

    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        // Nothing waits for the answer: with no partitions there is nothing to deliver.
        drop(intake.assigned(&self.0, Vec::new()));
        Ok(Arc::new(Silent))
    }
}

struct Silent;

impl SourceControl for Silent {
    fn commit(&self, _: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn rewind(&self, _: Partition, _: NextOffset) -> Generation {
        Generation::default()
    }
    fn pause(&self, _: Partition) {}
    fn resume(&self, _: Partition) {}
    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
