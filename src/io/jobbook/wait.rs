//! Waiting for work: one bell per line, rung when its first job becomes ready.

use super::upkeep::Outlook;
use crate::domain::ids::{Millis, Name};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// The queue's own clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The wall clock.
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// The bells of all lines.
#[derive(Clone, Default)]
pub struct Bells {
    by_line: Arc<Mutex<HashMap<Name, Arc<Notify>>>>,
}

impl Bells {
    pub fn of(&self, line: Name) -> Arc<Notify> {
        self.by_line.lock().unwrap_or_else(|e| e.into_inner()).entry(line).or_default().clone()
    }

    /// Resolves when the line may have work. `outlook` is asked after the bell is being listened to, so no ring is missed.
    pub async fn wait<F: Future<Output = Outlook>>(&self, line: Name, clock: &Clock, outlook: impl FnOnce() -> F) {
        let bell = self.of(line);
        let mut rung = std::pin::pin!(bell.notified());
        rung.as_mut().enable();
        match outlook().await {
            Outlook::Ready => {}
            Outlook::Idle => rung.await,
            Outlook::Due(at) => {
                let pause = Duration::from_millis(at.since(clock()) as u64);
                let _ = tokio::time::timeout(pause, rung).await;
            }
        }
    }
}
