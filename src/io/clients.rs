//! The threads on which the clients of remote systems run.
//!
//! Actors live on threads of their own, which come and go with their lives; a connection must outlive them. So every
//! client's tasks run here, and an actor only waits for their answers.

use crate::domain::fault::{Fault, FaultKind, panic_text};
use std::future::Future;
use std::sync::OnceLock;
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
