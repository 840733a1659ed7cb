//! The queues that need no server: what is promised of jobs is tried on each.

use std::path::Path;
use std::sync::Arc;
use widerow::io::embedded::{EmbeddedQueue, EmbeddedStore};
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::MemoryQueue;
use widerow::ports::queue::JobQueue;
use widerow::settings::Settings;

/// Makes a queue for a world's settings in its folder.
pub type Make = fn(&Settings, &Path) -> Arc<dyn JobQueue>;

pub fn memory(settings: &Settings, _: &Path) -> Arc<dyn JobQueue> {
    Arc::new(MemoryQueue::new(&settings.queue, wall_clock()))
}

pub fn embedded(settings: &Settings, folder: &Path) -> Arc<dyn JobQueue> {
    let store = EmbeddedStore::open(&folder.join("data")).unwrap_or_else(|fault| panic!("{fault}"));
    Arc::new(EmbeddedQueue::open(store, &settings.queue, wall_clock()).unwrap_or_else(|fault| panic!("{fault}")))
}

/// Runs every body on each of them.
macro_rules! on_queues {
    ($($body:ident),* $(,)?) => {
        mod on_memory {
            $(#[test] fn $body() { super::$body($crate::queues::memory); })*
        }
        mod on_embedded {
            $(#[test] fn $body() { super::$body($crate::queues::embedded); })*
        }
    };
}
pub(crate) use on_queues;
