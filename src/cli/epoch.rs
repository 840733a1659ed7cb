//! `epoch show` and `epoch bump`: topics whose offsets stopped meaning time, and going on (E3, E4).

use super::args::{Epoch, EpochBump, EpochShow, Global};
use super::ask::ask;
use super::exit::Exit;
use super::out;
use super::table::Table;
use crate::admin::answers::{BumpAnswer, EpochsAnswer};
use crate::admin::client::path;
use serde_json::json;

/// Why, for the audit log.
const REASON: &str = "from the command line";

/// Runs the verb.
pub fn run(args: &Epoch, global: &Global) -> Exit {
    match args {
        Epoch::Show(args) => show(args, global),
        Epoch::Bump(args) => bump(args, global),
    }
}

fn show(args: &EpochShow, global: &Global) -> Exit {
    let query: Vec<_> = args.topic.iter().map(|topic| ("topic", topic.as_str())).collect();
    let seen = ask(
        global,
        &args.files,
        |node| node.get::<EpochsAnswer>(&path(&["epochs"], &query)),
        async |office| office.epochs(args.topic.as_deref()).await,
    );
    match seen {
        Ok(seen) => {
            let stopped = seen.topics.iter().any(|topic| !topic.stopped.is_empty());
            let exit = out::answer(global, &seen, text);
            if stopped { Exit::Differences } else { exit }
        }
        Err(exit) => exit,
    }
}

fn text(seen: &EpochsAnswer) -> String {
    let heads = ["topic", ">partition", ">low", ">end", ">end known", ">committed", "epochs"];
    let mut table = Table::new(&heads);
    for topic in &seen.topics {
        for partition in &topic.partitions {
            let epochs: Vec<_> = partition.epochs.iter().map(|e| format!("{} from {}", e.epoch, e.from)).collect();
            table.row([
                topic.topic.clone(),
                partition.partition.to_string(),
                partition.low.clone(),
                partition.high.clone(),
                partition.high_remembered.clone(),
                partition.committed.clone().unwrap_or_default(),
                epochs.join(", "),
            ]);
        }
    }
    let mut text = table.or("no source reads topics that have epochs");
    for topic in seen.topics.iter().filter(|topic| !topic.stopped.is_empty()) {
        text.push_str(&format!("\n{} is stopped: it {}", topic.topic, topic.stopped.join("; ")));
        text.push_str(&format!("\n`widerow epoch bump {}` goes on", topic.topic));
    }
    text
}

fn bump(args: &EpochBump, global: &Global) -> Exit {
    let body = json!({ "dry": args.dry_run, "reason": REASON });
    let bumped = ask(
        global,
        &args.files,
        |node| node.post::<BumpAnswer>(&path(&["epochs", &format!("{}:bump", args.topic)], &[]), &body),
        async |office| office.bump_epoch(&args.topic, args.dry_run).await,
    );
    bumped.map_or_else(|exit| exit, |bumped| out::answer(global, &bumped, told))
}

fn told(bumped: &BumpAnswer) -> String {
    let done = if bumped.dry { "would be" } else { "is" };
    let mut text = format!("{} {done} in epoch {}", bumped.topic, bumped.epoch);
    for answer in &bumped.answers {
        text.push_str(&format!("\nit {answer}"));
    }
    for (partition, from) in &bumped.boundaries {
        text.push_str(&format!("\npartition {partition}: from offset {from} on"));
    }
    for warning in &bumped.warnings {
        text.push_str(&format!("\nnote: {warning}"));
    }
    if !bumped.dry {
        text.push_str("\na running node goes on within seconds");
    }
    text
}
