//! Jobs for rows that are there already: what a rebuild (R5) and the sweep behind a lost queue (J11) share.
//!
//! Keeps J9: a lane is filled to half of its bound, so that nothing spills, and live changes come first. Knows nothing of how
//! far its caller is, or of when it rests.

use super::queue::JobQueue;
use crate::domain::fault::Fault;
use crate::domain::ids::{Name, RowKey};
use crate::domain::job::{JobKey, Lane, Load, Offer};
use std::time::Duration;

/// Rows offered in one call at most.
pub const PAGE_ROWS: usize = 500;
/// Between two looks at a lane that is full.
const ROOM: Duration = Duration::from_millis(250);

/// Where one line's jobs go.
#[derive(Clone, Debug)]
pub struct Refill {
    pub line: Name,
    /// The least urgent one: live changes overtake.
    lane: Lane,
    /// A lane that would hold more makes it wait.
    pub pending_max: u64,
}

impl Refill {
    /// `lanes`: how many the queue has; `max_pending`: what one of them may hold.
    pub fn new(line: Name, lanes: usize, max_pending: usize) -> Self {
        let lane = Lane(u8::try_from(lanes.saturating_sub(1)).unwrap_or(u8::MAX));
        Self { line, lane, pending_max: (max_pending / 2).max(PAGE_ROWS) as u64 }
    }

    /// Offers a job for each row, whatever its document was last, once there is room; at once when `hurried` says so.
    ///
    /// # Errors
    /// The queue's, to be tried again from the same rows.
    pub async fn offer(&self, rows: Vec<RowKey>, queue: &dyn JobQueue, hurried: impl Fn() -> bool) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        while !hurried() && !self.has_room(queue).await? {
            tokio::time::sleep(ROOM).await;
        }
        let load = Load { must_write: true, ..Load::default() };
        let offer = |row| Offer { key: JobKey { line: self.line, row }, lane: self.lane, load: load.clone() };
        queue.offer(rows.into_iter().map(offer).collect()).await.map(drop)
    }

    async fn has_room(&self, queue: &dyn JobQueue) -> Result<bool, Fault> {
        let lanes = queue.counts(self.line).await?;
        let waiting = lanes.get(usize::from(self.lane.0)).map_or(0, |lane| lane.waiting);
        Ok(waiting + PAGE_ROWS as u64 <= self.pending_max)
    }
}
