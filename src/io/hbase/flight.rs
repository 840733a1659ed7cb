//! One asks for all: callers that need the same thing wait for the one that is asking, and share its failure.
//!
//! Without the second half, a dozen callers of a frozen server would each wait out its silence, one after the other.

use super::error::Error;
use std::sync::Mutex;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

/// A question one caller at a time asks; `T` is what the askers remember between them.
#[derive(Debug, Default)]
pub(super) struct Flight<T> {
    turn: tokio::sync::Mutex<T>,
    failed: Mutex<Option<(Instant, Error)>>,
}

impl<T> Flight<T> {
    /// Waits for its turn.
    ///
    /// # Errors
    /// The failure of somebody who asked meanwhile.
    pub(super) async fn enter(&self) -> Result<MutexGuard<'_, T>, Error> {
        let began = Instant::now();
        let turn = self.turn.lock().await;
        match &*self.failed.lock().unwrap_or_else(|e| e.into_inner()) {
            Some((at, error)) if *at > began => Err(error.clone()),
            _ => Ok(turn),
        }
    }

    /// Tells those who wait that asking failed; to be called before the turn ends.
    pub(super) fn fail(&self, error: &Error) {
        *self.failed.lock().unwrap_or_else(|e| e.into_inner()) = Some((Instant::now(), error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::hbase::error::Class;
    use std::time::Duration;

    /// Goal: who waited shares the failure, who comes later asks anew. Method: one asker that fails, two that wait.
    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_who_waited() {
        let flight = Flight::<()>::default();
        let asker = async {
            let turn = flight.enter().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            flight.fail(&Error::new(Class::Timeout, "here", "silent"));
            drop(turn);
        };
        let waiter = || async { flight.enter().await.map(|_| ()) };
        let ((), a, b) = tokio::join!(asker, waiter(), waiter());
        assert_eq!([a.unwrap_err().class, b.unwrap_err().class], [Class::Timeout; 2]);
        assert!(flight.enter().await.is_ok());
    }
}
