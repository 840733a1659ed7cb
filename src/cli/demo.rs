//! `demo`: a made-up shop trades, its tables' changes become rows, the rows documents; at the end every document is held
//! against the shop's own books.
//!
//! Everything is embedded and lies in `./data/demo`, where the next demo begins anew; `WIDEROW_DATA` names another folder,
//! and there nothing is removed.

use super::args::{Demo, Global};
use super::exit::Exit;
use super::progress::Meter;
use super::run::{Signals, print_findings, refused};
use super::{out, table};
use crate::admin::client::ADDRESS_FILE;
use crate::admin::mapping;
use crate::domain::fault::Fault;
use crate::domain::ids::Name;
use crate::settings::{self, Loaded, Origin, Settings, SourceKind};
use crate::supervisor::wiring::{self, shop::Judged, shop::Truth};
use crate::supervisor::{Engine, IdleState, block_on};
use crate::telemetry::{DocumentOutcome, Summary, Totals};
use serde::Serialize;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shop's configuration.
pub const CONFIG: &str = include_str!("../../config/demo.yaml");
/// The variable of it that names the data folder.
const DATA: &str = "WIDEROW_DATA";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Documents among which the one to show is looked for, and how long the shop trades before.
const LOOKED_AT: usize = 50;
const WARM_UP: Duration = Duration::from_millis(500);

/// What a demo came to.
#[derive(Debug, Serialize)]
struct Outcome {
    events: u64,
    documents: Judged,
    summary: Summary,
}

/// This program as the user called it.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "widerow".to_owned())
}

/// Runs the verb; `with` starts the admin endpoint.
pub fn run<G>(args: &Demo, global: &Global, with: impl AsyncFnOnce(&Engine, &Arc<Settings>, Origin) -> Result<G, Fault>) -> Exit {
    let loaded = match configured(args) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match block_on(play(args, loaded, with)) {
        Ok((outcome, end)) => {
            let differ = outcome.documents.right != outcome.documents.checked;
            let shown = out::answer(global, &outcome, text);
            match end {
                End::Unsettled(why) => {
                    out::complain(format_args!("not everything settled: {why}"));
                    Exit::Unhealthy
                }
                End::Settled if differ => Exit::Differences,
                End::Settled => shown,
            }
        }
        Err(fault) => refused(&fault),
    }
}

fn configured(args: &Demo) -> Result<Loaded, Exit> {
    let mut loaded = settings::load_text("config/demo.yaml", CONFIG, &|name| std::env::var(name).ok()).map_err(|found| {
        print_findings(&found);
        Exit::BadConfig
    })?;
    let settings = &mut loaded.settings;
    let named = std::env::var_os(DATA).is_some();
    if named && wiring::has_run(settings) {
        let path = settings.node.data_dir.display();
        out::complain(format_args!("{path} holds a store already, and the demo begins with nothing"));
        out::note(format_args!("help: remove that folder, or let {DATA} name another one"));
        return Err(Exit::Unhealthy);
    }
    wiring::begin_anew(settings).map_err(|fault| {
        let exit = refused(&fault);
        out::note(format_args!("help: does another demo run? end it, or give this one a folder of its own by {DATA}"));
        exit
    })?;
    for source in &mut settings.sources {
        if let SourceKind::Generator(generator) = &mut source.kind {
            generator.seed = args.seed;
            generator.rate = Some(args.rate);
            generator.events = args.events;
        }
    }
    let port = free_port(args.port);
    if port != args.port {
        out::note(format_args!("port {} is taken, so a free one is used", args.port));
    }
    settings.admin.listen = format!("127.0.0.1:{port}");
    Ok(loaded)
}

/// The port, or 0 (any free one) where somebody listens there.
fn free_port(port: u16) -> u16 {
    TcpListener::bind(("127.0.0.1", port)).map_or(0, |_| port)
}

/// How a demo ended.
enum End {
    Settled,
    Unsettled(String),
}

async fn play<G>(
    args: &Demo,
    loaded: Loaded,
    with: impl AsyncFnOnce(&Engine, &Arc<Settings>, Origin) -> Result<G, Fault>,
) -> Result<(Outcome, End), Fault> {
    let (settings, totals) = (Arc::new(loaded.settings), Arc::new(Totals::default()));
    let mut signals = Signals::new()?;
    let doors = wiring::open(&settings)?;
    wiring::check_fingerprints(&*doors.rows, &settings.schema, &settings).await?;
    mapping::at_start(&settings.lines, &*doors.rows, &*doors.ledger).await?;
    let (parts, truth) = wiring::shop::parts(&settings, doors)?;
    let engine = Engine::start(Arc::clone(&settings), parts, Arc::clone(&totals), wiring::clock);
    let guard = match with(&engine, &settings, loaded.origin).await {
        Ok(guard) => guard,
        Err(fault) => {
            engine.drain().await;
            return Err(fault);
        }
    };
    let mut show =
        Show { settings: &settings, truth: &truth, engine: &engine, meter: Meter::new(), begun: Instant::now(), tried: false };
    show.welcome();
    show.trade(args, &mut signals).await?;
    let end = show.settle(&mut signals).await;
    let judged = truth.judge(&engine.doors).await;
    drop(show);
    engine.drain().await;
    drop(guard);
    Ok((Outcome { events: truth.events(), documents: judged?, summary: totals.summary() }, end))
}

/// The running demo.
struct Show<'a> {
    settings: &'a Settings,
    truth: &'a Truth,
    engine: &'a Engine,
    meter: Meter,
    begun: Instant,
    /// What to try was told.
    tried: bool,
}

impl Show<'_> {
    fn url(&self) -> Option<String> {
        let left = std::fs::read_to_string(self.settings.node.data_dir.join(ADDRESS_FILE)).ok()?;
        Some(left.trim().trim_end_matches('/').to_owned())
    }

    fn welcome(&self) {
        self.meter.say("A shop trades: orders, items, payments, refunds and products, each table through its own partitions.");
        self.meter.say(&format!("  data   {}", absolute(&self.settings.node.data_dir)));
        if let Some(url) = self.url() {
            self.meter.say(&format!("  open   {url}/"));
        }
        self.meter.say("  end    Ctrl-C: trading stops, everything settles, every document is checked");
    }

    /// Commands with keys that exist by now.
    async fn what_to_try(&mut self) -> Result<(), Fault> {
        let line = Name::of("order_search");
        let (Some(sink), Some(url)) = (self.engine.doors.sinks.get(&line), self.url()) else { return Ok(()) };
        let held = sink.list(None, LOOKED_AT).await?;
        let kind = self.settings.schema.kinds.iter().find(|kind| kind.name.as_str() == "order");
        // The longest one has the most to show.
        let longest = held.iter().max_by_key(|held| held.document.as_ref().map_or(0, |document| document.len()));
        let (Some(kind), Some(shown)) = (kind, longest) else { return Ok(()) };
        let Ok(key) = kind.key.render(|_| Some(shown.id.as_str())) else { return Ok(()) };
        self.tried = true;
        self.meter.say("  try, in another terminal:");
        for command in [
            format!("doc get {line} {}", shown.id),
            format!("row why order {key}"),
            "lanes".to_owned(),
            "partitions".to_owned(),
            "actors sink".to_owned(),
        ] {
            self.meter.say(&format!("    {} --admin {url} {command}", program()));
        }
        Ok(())
    }

    /// Until somebody interrupts, the time is up, or the events are made.
    async fn trade(&mut self, args: &Demo, signals: &mut Signals) -> Result<(), Fault> {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = signals.heard() => return Ok(()),
                _ = looks.tick() => {}
            }
            if args.run_for.is_some_and(|long| self.begun.elapsed() >= long) || self.truth.is_over() {
                return Ok(());
            }
            if !self.tried && self.begun.elapsed() >= WARM_UP {
                self.what_to_try().await?;
            }
            self.progress("trading");
        }
    }

    fn progress(&mut self, doing: &str) {
        let (totals, events) = (&self.engine.totals, self.truth.events());
        let rate = totals.records() as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        self.meter.show(|| {
            format!(
                "{doing} · row changes {events} · records {} · rows written {} · documents {} · {rate:.0} records/s",
                totals.records(),
                totals.row_writes(),
                totals.documents(DocumentOutcome::Written)
            )
        });
    }

    /// Trading stops; waits until all is written, or somebody will not wait.
    async fn settle(&mut self, signals: &mut Signals) -> End {
        self.truth.close();
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = signals.heard() => return End::Unsettled("interrupted again".to_owned()),
                _ = looks.tick() => {}
            }
            self.progress("settling");
            match self.engine.idle().await {
                Ok(IdleState::Busy) => {}
                Ok(IdleState::Idle) => return End::Settled,
                Ok(IdleState::Stopped(why)) => return End::Unsettled(why),
                Err(fault) => return End::Unsettled(fault.to_string()),
            }
        }
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn text(outcome: &Outcome) -> String {
    let Judged { checked, right, differences } = &outcome.documents;
    let summary = &outcome.summary;
    let mut text = format!(
        "{} row changes in {} records; {} row writes, {} documents written\n{checked} documents checked, {right} right\n",
        outcome.events, summary.records, summary.row_writes, summary.documents.written
    );
    for difference in differences {
        text.push_str(&format!("  {}\n", table::shown(difference)));
    }
    text
}
