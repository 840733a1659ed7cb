//! The actors: thin shells around the pure rooms. They hold links and traits, never each other.

mod batching;
pub mod delivery;
pub mod entity;
pub mod offerer;
pub mod partition;
pub mod sink;
mod taps;
pub mod writer;

use tokio::sync::oneshot;

/// Tells everyone who asked for a drain that nothing is left in hand; an asker may have passed its deadline.
fn answer_all(askers: &mut Vec<oneshot::Sender<u64>>) {
    for asker in askers.drain(..) {
        let _ = asker.send(0);
    }
}
