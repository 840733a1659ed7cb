//! A node without intake, for verbs that change something while no node runs: it writes rows, works jobs and drains.

use super::progress::Meter;
use super::run::Signals;
use crate::domain::fault::Fault;
use crate::settings::Settings;
use crate::supervisor::{Engine, IdleState, wiring};
use crate::telemetry::{DocumentOutcome, JobOutcome, Totals};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at whether anything is left.
const LOOK: Duration = Duration::from_millis(20);
/// With nothing finished for so long, what is left is left to the next run: a sink may be down.
const STALL: Duration = Duration::from_secs(10);

/// Starts such a node, does `work` on it, lets its jobs run out, ends it.
///
/// # Errors
/// Stores that cannot be opened or refuse this configuration (E5), and what `work` ends in.
pub async fn with_node<T>(
    settings: Settings,
    meter: &mut Meter,
    signals: &mut Signals,
    work: impl AsyncFnOnce(&Engine, &mut Meter, &mut Signals) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut settings = settings;
    // Whatever roles the node has, here is nobody else to write its rows and work its jobs.
    (settings.node.ingest, settings.node.deliver) = (true, true);
    let settings = Arc::new(settings);
    let doors = wiring::open(&settings)?;
    wiring::check_fingerprints(&*doors.rows, &settings.schema, &settings).await?;
    let parts = wiring::parts_unread(&settings, doors);
    let engine = Engine::start(Arc::clone(&settings), parts, Arc::new(Totals::default()), wiring::clock);
    let done = work(&engine, meter, signals).await;
    if done.is_ok() {
        settle(&engine, meter, signals).await;
    }
    engine.drain().await;
    done
}

/// Waits until no job is left, or nothing is finished any more, or somebody interrupts.
async fn settle(engine: &Engine, meter: &mut Meter, signals: &mut Signals) {
    let finished = || engine.totals.jobs(JobOutcome::Done) + engine.totals.jobs(JobOutcome::Buried);
    let (mut last, mut since) = (finished(), Instant::now());
    loop {
        match engine.idle().await {
            Ok(IdleState::Busy) => {}
            Ok(IdleState::Idle | IdleState::Stopped(_)) => return,
            Err(fault) => tracing::warn!(%fault, "the queue does not say what is left"),
        }
        if finished() != last {
            (last, since) = (finished(), Instant::now());
        } else if since.elapsed() >= STALL {
            tracing::warn!("jobs are left, the next run takes them");
            return;
        }
        let documents = engine.totals.documents(DocumentOutcome::Written);
        meter.show(|| format!("{last} jobs done, {documents} documents written"));
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = signals.heard() => return,
        }
    }
}
