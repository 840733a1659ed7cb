//! `rebuild LINE`: a job for every row that exists (R5), resumed where it was left.
//!
//! A running node does it beside its live flow. Without one, this process offers the jobs and works them as well.

use super::args::{Global, Rebuild};
use super::ask::{self, Place, refused};
use super::exit::Exit;
use super::follow::{Hand, REASON, follow, signals, text};
use super::progress::Meter;
use super::{offline, out, run};
use crate::admin::answers::{Office, Problem};
use crate::admin::client::{Client, path};
use crate::admin::desk::{Desk, RunAnswer};
use crate::admin::runs::RebuildWish;
use crate::settings::{Settings, SinkKind};
use crate::supervisor::{block_on, wiring};
use serde_json::json;
use std::sync::Arc;

/// Runs the verb.
pub fn run(args: &Rebuild, global: &Global) -> Exit {
    let done = ask::place(global, &args.files).and_then(|place| match place {
        Place::Node(node) => block_on(in_node(args, &node)),
        Place::Stores(loaded) if args.dry_run => block_on(counted(args, loaded.settings)),
        Place::Stores(loaded) => block_on(here(args, loaded.settings)),
    });
    done.map_or_else(|exit| exit, |run| out::answer(global, &run, text))
}

fn wish(args: &Rebuild) -> RebuildWish {
    RebuildWish { from: args.from.clone(), to: args.to.clone(), rate: args.rate, dry: args.dry_run }
}

async fn in_node(args: &Rebuild, node: &Client) -> Result<RunAnswer, Exit> {
    let mut signals = signals()?;
    let body = json!({ "from": args.from, "to": args.to, "rate": args.rate, "dry": args.dry_run, "reason": REASON });
    let begun = node.post(&path(&["lines", &format!("{}:rebuild", args.line)], &[]), &body);
    follow(begun.map_err(|p| refused(&p))?, Hand::Node(node), &mut Meter::new(), &mut signals).await
}

/// A dry run starts no node: nothing may be delivered by it.
async fn counted(args: &Rebuild, settings: Settings) -> Result<RunAnswer, Exit> {
    let (mut signals, settings) = (signals()?, Arc::new(settings));
    let office = Office::new(Arc::clone(&settings), ask::open(&settings)?, wiring::clock);
    let desk = Desk::default();
    let begun = begin(args, &office, &desk).map_err(|problem| refused(&problem))?;
    follow(begun, Hand::Here(&desk), &mut Meter::new(), &mut signals).await
}

async fn here(args: &Rebuild, settings: Settings) -> Result<RunAnswer, Exit> {
    let mut signals = signals()?;
    let mut meter = Meter::new();
    let of = Arc::new(settings.clone());
    let rebuilt = offline::with_node(settings, &mut meter, &mut signals, async |engine, meter, signals| {
        let office = Office::new(Arc::clone(&of), engine.doors.clone(), wiring::clock);
        let desk = Desk::default();
        Ok(match begin(args, &office, &desk) {
            Ok(begun) => follow(begun, Hand::Here(&desk), meter, signals).await,
            Err(problem) => Err(refused(&problem)),
        })
    });
    rebuilt.await.map_err(|fault| run::refused(&fault))?
}

fn begin(args: &Rebuild, office: &Office, desk: &Desk) -> Result<RunAnswer, Problem> {
    let mut plan = office.rebuild_plan(&args.line, wish(args))?;
    let sink = office.settings.lines.iter().find(|l| l.line.name == plan.jobs.line).map(|l| &l.sink);
    if sink == Some(&SinkKind::QueueOnly) {
        // Its workers are not here: waiting for room in the lane might never end, and the ledger takes the rest (J9).
        plan.jobs.pending_max = u64::MAX;
    }
    desk.rebuild(office, plan, REASON)
}
