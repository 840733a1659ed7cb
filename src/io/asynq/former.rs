//! What this node's former lives had in hand goes on at once (J10): a restart need not wait until their leases end.
//!
//! A lease's number tells the life that took it: each life counts up from a number of its own, which it notes in the node's
//! own folder before it takes a job. The next life reads it there and gives those jobs back, as if their leases had ended.
//!
//! Only a life that is over may lose its leases before their end. The folder says so: it is locked for as long as the
//! process that opened it lives, so whoever reads the note knows that the processes before it are dead. A frozen one still
//! holds its lock, and no second one starts; a node of another folder reads another note. Where a lock deceives (a folder
//! that was copied, a network disk that forgot it), a job runs twice: the earlier run's verdict finds its lease gone (J10),
//! and its document an older version (K2). A node without its old folder waits for the leases' end.
//!
//! Knows nothing of how a folder is locked, nor of what the job's worker had done.

use super::queue::{AsynqQueue, arg};
use crate::domain::fault::Fault;
use crate::domain::ids::Name;
use crate::ports::ledger::Ledger;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The note: first leases of this node's last lives, newest last.
const NOTE: &str = "asynq/first_leases";
/// Lives that may have died before they gave back what those before them had in hand.
const LIVES_KEPT: usize = 4;
/// Leases one life counts up at most; what it took beyond waits for its lease's end.
const LEASES_OF_A_LIFE: u64 = 1 << 32;

/// This life, and what is known of those before.
pub(super) struct Former {
    own: Option<Arc<dyn Ledger>>,
    first_lease: u64,
    lives: OnceCell<Vec<u64>>,
}

impl Former {
    /// `own`: notes that no two living processes share. `first_lease`: where this life begins to count.
    pub(super) fn new(own: Option<Arc<dyn Ledger>>, first_lease: u64) -> Self {
        Self { own, first_lease, lives: OnceCell::new() }
    }

    /// First leases of the lives before this one, which is noted behind them. A disk that fails only costs the waiting.
    async fn lives(&self) -> &[u64] {
        let read = || async {
            let Some(own) = &self.own else { return Vec::new() };
            let exchanged = async {
                let mut lives = parse(&own.note(NOTE).await?.unwrap_or_default());
                let before = lives.clone();
                lives.push(self.first_lease);
                let kept = lives.split_off(lives.len().saturating_sub(LIVES_KEPT));
                let text = kept.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
                own.set_notes(vec![(NOTE.to_owned(), Some(text))]).await?;
                Ok::<_, Fault>(before)
            };
            exchanged.await.unwrap_or_else(|fault| {
                tracing::warn!(%fault, "this node's former life is not known, its jobs come back when their leases end");
                Vec::new()
            })
        };
        self.lives.get_or_init(read).await
    }
}

fn parse(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|first| first.parse().ok()).collect()
}

impl AsynqQueue {
    /// Gives a line's jobs back that former lives of this node had in hand. Before this life takes any of them.
    pub(super) async fn recall(&self, line: Name) -> Result<(), Fault> {
        let lives = self.inner.former.lives().await;
        if lives.is_empty() {
            return Ok(());
        }
        let mut recalled = 0;
        for scope in self.scopes(line) {
            let mut args = vec![arg(LEASES_OF_A_LIFE)];
            args.extend(lives.iter().map(arg));
            recalled += self.run::<u64>(&scope, &self.inner.scripts.recall, args).await?;
        }
        if recalled > 0 {
            tracing::info!(%line, jobs = recalled, "jobs that this node's former life had in hand go on");
            self.inner.bells.of(line).notify_waiters();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryLedger;

    /// Goal: each life learns of those before it, a few of them, and not of itself. Method: six lives on one ledger.
    #[tokio::test]
    async fn lives_follow_each_other() {
        let own: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
        let mut told = Vec::new();
        for first in 1..=6 {
            let life = Former::new(Some(Arc::clone(&own)), first);
            told.push(life.lives().await.to_vec());
            assert_eq!(life.lives().await, told[told.len() - 1], "asked once more");
        }
        assert_eq!(told, [vec![], vec![1], vec![1, 2], vec![1, 2, 3], vec![1, 2, 3, 4], vec![2, 3, 4, 5]]);
        assert!(Former::new(None, 7).lives().await.is_empty());
    }
}
