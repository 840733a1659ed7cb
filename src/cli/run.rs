//! `run`: a node until it is told to stop, or until finite sources are done.

use super::args::Run;
use super::exit::Exit;
use super::findings;
use super::notify::Notify;
use crate::admin::mapping;
use crate::domain::fault::{Advice, Fault};
use crate::ports::Doors;
use crate::settings::{self, Loaded, Origin, Settings};
use crate::supervisor::wiring::{self, RunMode};
use crate::supervisor::{Drained, Engine, IdleState, block_on};
use crate::telemetry::Totals;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Between two looks at whether the run is idle.
const IDLE_LOOK: Duration = Duration::from_millis(20);
/// Between two lines of progress where nobody watches.
const PROGRESS_LINE: Duration = Duration::from_secs(10);

/// Loads a configuration; findings go to standard error.
///
/// # Errors
/// [`Exit::BadConfig`], after every finding was printed.
pub fn load(files: &[PathBuf]) -> Result<Loaded, Exit> {
    match settings::load(files, &|name| std::env::var(name).ok()) {
        Ok(loaded) => {
            print_findings(&loaded.warnings);
            Ok(loaded)
        }
        Err(found) => {
            print_findings(&found);
            Err(Exit::BadConfig)
        }
    }
}

pub(super) fn print_findings(found: &[settings::Finding]) {
    if !found.is_empty() {
        let colour = std::io::stderr().is_terminal();
        let _ = writeln!(std::io::stderr(), "{}", findings::text(found, colour));
    }
}

/// Why a run ended.
enum End {
    Idle,
    Stopped(String),
    /// SIGINT or SIGTERM.
    Asked,
    /// A second signal while draining.
    Forced,
    TimeUp,
}

/// When a node ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    pub idle: bool,
    pub after: Option<Duration>,
}

/// Starts a node on opened stores, hands it to `with` (the admin endpoint), waits for its end and drains it.
/// The second value says what was left.
///
/// # Errors
/// Stores that refuse this configuration (E5), signals that cannot be heard.
pub async fn node<G>(
    settings: Arc<Settings>,
    doors: Doors,
    mode: RunMode,
    until: Until,
    totals: Arc<Totals>,
    with: impl AsyncFnOnce(&Engine, &Arc<Settings>) -> Result<G, Fault>,
) -> Result<(Exit, Drained), Fault> {
    wiring::check_fingerprints(&*doors.rows, &settings.schema, &settings).await?;
    mapping::at_start(&settings.lines, &*doors.rows, &*doors.ledger).await?;
    let parts = wiring::parts(&settings, doors, mode)?;
    let mut signals = Signals::new()?;
    let engine = Engine::start(Arc::clone(&settings), parts, Arc::clone(&totals), wiring::clock);
    let guard = match with(&engine, &settings).await {
        Ok(guard) => guard,
        Err(fault) => {
            engine.drain().await;
            return Err(fault);
        }
    };
    let progress = Progress::new(Arc::clone(&totals));
    let mut manager = Notify::of_env();
    manager.say("READY=1");
    let mut end = wait(&engine, until, &mut signals, &progress, &mut manager).await;
    manager.say("STOPPING=1");
    progress.done();
    let drained = tokio::select! {
        drained = engine.drain() => drained,
        () = signals.heard() => {
            end = End::Forced;
            Drained::default()
        }
    };
    drop(guard);
    if drained != Drained::default() {
        tracing::warn!(late = ?drained.late, records = drained.records, uncommitted = drained.uncommitted, "left behind, to be read or run again");
    }
    let exit = match end {
        End::Idle | End::TimeUp => Exit::Fine,
        End::Stopped(why) => {
            tracing::error!(why, "stopped");
            Exit::Unhealthy
        }
        End::Asked if until.idle => Exit::Interrupted,
        End::Asked => Exit::Fine,
        End::Forced => Exit::Interrupted,
    };
    Ok((exit, drained))
}

async fn wait(engine: &Engine, until: Until, signals: &mut Signals, progress: &Progress, manager: &mut Notify) -> End {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(IDLE_LOOK);
    loop {
        tokio::select! {
            () = signals.heard() => return End::Asked,
            _ = ticks.tick() => {}
        }
        progress.show();
        manager.beat(engine).await;
        if until.after.is_some_and(|after| begun.elapsed() >= after) {
            return End::TimeUp;
        }
        if !engine.is_alive() {
            return End::Stopped("the supervisor is gone: a fault of widerow itself, its message stands above".to_owned());
        }
        if !until.idle {
            continue;
        }
        match engine.idle().await {
            Ok(IdleState::Busy) => {}
            Ok(IdleState::Idle) => return End::Idle,
            Ok(IdleState::Stopped(why)) => return End::Stopped(why),
            Err(fault) if matches!(fault.advice(), Advice::Wait | Advice::SlowDown) => {}
            Err(fault) => return End::Stopped(fault.to_string()),
        }
    }
}

/// Runs the verb. `with` starts the admin endpoint, which also shows where each setting came from.
pub fn run<G>(args: &Run, with: impl AsyncFnOnce(&Engine, &Arc<Settings>, Origin) -> Result<G, Fault>) -> Exit {
    let loaded = match load(&args.files.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let (settings, origin) = (Arc::new(loaded.settings), loaded.origin);
    let mode = RunMode { from_start: args.from_start || args.dry_run };
    let until = Until { idle: args.until_idle, after: None };
    let totals = Arc::new(Totals::default());
    let ended = block_on(async {
        let doors = if args.dry_run { wiring::open_dry(&settings) } else { wiring::open(&settings)? };
        // A dry run beside the node itself must neither take its address nor leave a trace.
        let admin = async |engine: &Engine, settings: &Arc<Settings>| match args.dry_run {
            true => Ok(None),
            false => with(engine, settings, origin).await.map(Some),
        };
        node(Arc::clone(&settings), doors, mode, until, Arc::clone(&totals), admin).await
    });
    match ended {
        Ok((exit, _)) => {
            // The summary is the last line; a closed pipe has no reader to tell.
            let _ = writeln!(std::io::stdout(), "{}", totals.summary_json());
            exit
        }
        Err(fault) => refused(&fault),
    }
}

/// Tells a fault that keeps a verb from its work, and its exit code.
pub fn refused(fault: &Fault) -> Exit {
    let _ = writeln!(std::io::stderr(), "error: {fault}");
    if fault.advice() == Advice::Stop { Exit::Unhealthy } else { Exit::Failure }
}

/// SIGINT and SIGTERM.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// # Errors
    /// The system gives no signal handler.
    pub fn new() -> Result<Self, Fault> {
        let listen = |kind| signal(kind).map_err(|e| Fault::new(crate::domain::fault::FaultKind::Full, "signals", e));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    pub async fn heard(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Records, rows, jobs, documents and the rate: a moving line on a terminal, a line now and then in a log.
struct Progress {
    totals: Arc<Totals>,
    bar: Option<ProgressBar>,
    begun: Instant,
    told: std::cell::Cell<Instant>,
}

impl Progress {
    fn new(totals: Arc<Totals>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { totals, bar, begun: Instant::now(), told: std::cell::Cell::new(Instant::now()) }
    }

    fn show(&self) {
        let totals = &self.totals;
        let rate = totals.records() as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let jobs = totals.jobs(crate::telemetry::JobOutcome::Done);
        let documents = totals.documents(crate::telemetry::DocumentOutcome::Written);
        if let Some(bar) = &self.bar {
            bar.tick();
            bar.set_message(format!(
                "records {} · rows written {} · jobs done {jobs} · documents {documents} · {rate:.0} records/s",
                totals.records(),
                totals.row_writes()
            ));
        } else if self.told.get().elapsed() >= PROGRESS_LINE {
            self.told.set(Instant::now());
            tracing::info!(
                records = totals.records(),
                row_writes = totals.row_writes(),
                jobs,
                documents,
                rate = rate as u64,
                "progress"
            );
        }
    }

    fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
