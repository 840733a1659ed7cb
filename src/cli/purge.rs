//! `purge KIND`: dead cells and tombstones older than the horizon go (M5).

use super::args::{Global, Purge};
use super::ask::{self, Place, refused};
use super::exit::Exit;
use super::follow::{Hand, REASON, follow, signals, text};
use super::out;
use super::progress::Meter;
use crate::admin::answers::Office;
use crate::admin::client::{Client, path};
use crate::admin::desk::{Desk, RunAnswer};
use crate::settings::Settings;
use crate::supervisor::{block_on, wiring};
use serde_json::json;
use std::sync::Arc;

/// Runs the verb.
pub fn run(args: &Purge, global: &Global) -> Exit {
    let done = ask::place(global, &args.files).and_then(|place| match place {
        Place::Node(node) => block_on(in_node(args, &node)),
        Place::Stores(loaded) => block_on(here(args, loaded.settings)),
    });
    done.map_or_else(|exit| exit, |run| out::answer(global, &run, text))
}

async fn in_node(args: &Purge, node: &Client) -> Result<RunAnswer, Exit> {
    let mut signals = signals()?;
    let body = json!({ "dry": args.dry_run, "reason": REASON });
    let begun = node.post(&path(&["rows", &format!("{}:purge", args.kind)], &[]), &body);
    follow(begun.map_err(|p| refused(&p))?, Hand::Node(node), &mut Meter::new(), &mut signals).await
}

async fn here(args: &Purge, settings: Settings) -> Result<RunAnswer, Exit> {
    let (mut signals, settings) = (signals()?, Arc::new(settings));
    let office = Office::new(Arc::clone(&settings), ask::open(&settings)?, wiring::clock);
    let desk = Desk::default();
    let begun = desk.purge(&office, &args.kind, args.dry_run, REASON).map_err(|problem| refused(&problem))?;
    follow(begun, Hand::Here(&desk), &mut Meter::new(), &mut signals).await
}
