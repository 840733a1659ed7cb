//! What the sources that read on a thread of their own share: the gate of one partition, the deliveries that wait for
//! their answer, and the thread.
//!
//! Keeps O4's half of the source: one unanswered delivery per partition and reading. A rewind forgets the delivery of the
//! older reading, because the engine ignores it and may never answer. Knows nothing of files or shops.

#[cfg(test)]
pub(super) mod testing;

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Generation, Partition};
use crate::ports::source::{Delivery, Intake};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, AbortRegistration, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::watch;

/// Records of one delivery at most.
pub(super) const DELIVERY_RECORDS_MAX: usize = 500;
/// A delivery is closed by the record that reaches this many bytes.
pub(super) const DELIVERY_BYTES_MAX: usize = 1 << 20;

/// Whether one partition takes a delivery now, and of which reading.
#[derive(Debug, Default)]
pub(super) struct Gate {
    reading: Generation,
    paused: bool,
    open: Option<AbortHandle>,
}

impl Gate {
    pub(super) fn reading(&self) -> Generation {
        self.reading
    }
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }
    /// A delivery of this reading waits for its answer.
    pub(super) fn is_busy(&self) -> bool {
        self.open.is_some()
    }

    /// Begins a delivery; the caller hands it over under this registration.
    pub(super) fn begin(&mut self) -> AbortRegistration {
        let (handle, registration) = AbortHandle::new_pair();
        self.open = Some(handle);
        registration
    }

    /// The answer to a delivery; one of an older reading changes nothing.
    pub(super) fn answered(&mut self, reading: Generation) {
        if reading == self.reading {
            self.open = None;
        }
    }

    /// Begins the next reading and forgets the open delivery of this one.
    pub(super) fn rewound(&mut self) -> Generation {
        if let Some(open) = self.open.take() {
            open.abort();
        }
        self.reading = self.reading.next();
        self.reading
    }
}

/// Deliveries that were handed over and wait for their answer.
#[derive(Default)]
pub(super) struct Handed(FuturesUnordered<BoxFuture<'static, (Partition, Generation)>>);

impl Handed {
    pub(super) fn hand(&mut self, intake: &dyn Intake, delivery: Delivery, registration: AbortRegistration) {
        let (partition, reading) = (delivery.partition, delivery.reading);
        let answer = Abortable::new(intake.deliver(delivery), registration);
        self.0.push(Box::pin(async move {
            let _ = answer.await;
            (partition, reading)
        }));
    }

    /// The next answer; never resolves while nothing is handed over.
    pub(super) async fn next(&mut self) -> (Partition, Generation) {
        match self.0.next().await {
            Some(answered) => answered,
            None => std::future::pending().await,
        }
    }
}

/// Resolves once the thread it belongs to has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended(watch::Receiver<()>);

impl Ended {
    pub(super) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Runs `body` on a thread of its own with its own small runtime; what it fails with, and a panic, go to the intake.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn<F, R>(name: &str, intake: Arc<dyn Intake>, body: F) -> Result<Ended, Fault>
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = Result<(), Fault>>,
{
    let (alive, ended) = watch::channel(());
    let place = format!("source {name}");
    let inner = place.clone();
    let run = move || {
        let _alive = alive;
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return intake.failed(None, Fault::new(FaultKind::Full, inner, error)),
        };
        match catch_unwind(AssertUnwindSafe(|| runtime.block_on(body()))) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => intake.failed(None, fault),
            Err(_) => intake.failed(None, Fault::new(FaultKind::Panicked, inner, "the reading thread panicked")),
        }
    };
    let spawned = std::thread::Builder::new().name(format!("source-{name}")).spawn(run);
    spawned.map_err(|error| Fault::new(FaultKind::Full, place, format!("no thread to read on: {error}")))?;
    Ok(Ended(ended))
}
