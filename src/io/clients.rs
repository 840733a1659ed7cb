//! The threads on which the clients of remote systems run.
//!
//! Actors live on threads of their own, which come and go with their lives; a connection must outlive them. So every
//! client's tasks run here, and an actor only waits for their answers.

use crate::domain::fault::{Fault, FaultKind, panic_text};
use std::future::Future;
use std::sync::{OnceLock, mpsc};
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that serve sockets: enough for one core's worth of frames beside the actors.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime that clients spawn their tasks on.
///
/// # Errors
/// The system gives no thread.
pub fn handle() -> Result<Handle, Fault> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let built = Builder::new_multi_thread().worker_threads(THREADS).thread_name("clients").enable_all().build();
    let built = built.map_err(|error| Fault::new(FaultKind::Full, "client threads", error))?;
    // Another thread may have been quicker; then ours is shut down without waiting, as it has nothing to do.
    if let Err(late) = RUNTIME.set(built) {
        late.shutdown_background();
    }
    RUNTIME.get().map(|runtime| runtime.handle().clone()).ok_or_else(|| Fault::new(FaultKind::Full, "client threads", "none"))
}

/// Runs a client's work there and waits for it, from any thread.
///
/// # Errors
/// The work's own, or its panic.
pub async fn run<T: Send + 'static>(work: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Result<T, Fault> {
    match handle()?.spawn(work).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => {
            let text = panic_text(&*ended.into_panic());
            Err(Fault::new(FaultKind::Panicked, "client", text))
        }
        Err(ended) => Err(Fault::new(FaultKind::Unreachable, "client", ended)),
    }
}

/// The same for one who has nothing else to do meanwhile: a check before a run.
///
/// # Errors
/// As [`run`].
pub fn wait<T: Send + 'static>(work: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Result<T, Fault> {
    let (answer, answered) = mpsc::sync_channel(1);
    // Spawned, not blocked on: whoever waits may stand on a runtime, where blocking on another one panics.
    handle()?.spawn(async move {
        // Nobody listens only where who asked is gone.
        let _ = answer.send(run(work).await);
    });
    answered.recv().unwrap_or_else(|_| Err(Fault::new(FaultKind::Panicked, "client", "its work ended without an answer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an answer, a fault and a panic come back, also to a thread that runs tasks itself. Method: each from both.
    #[test]
    fn who_waits_gets_an_answer() {
        let asked = || {
            assert_eq!(wait(async { Ok(7) }).unwrap(), 7);
            let refused = wait::<()>(async { Err(Fault::new(FaultKind::Timeout, "there", "late")) }).unwrap_err();
            assert_eq!(refused.kind, FaultKind::Timeout);
            let panicked = wait::<()>(async { panic!("a bug") }).unwrap_err();
            assert_eq!((panicked.kind, panicked.what.contains("a bug")), (FaultKind::Panicked, true));
        };
        asked();
        Builder::new_current_thread().build().unwrap().block_on(async { asked() });
    }
}
