//! Verbs while a node runs: they ask its admin endpoint, and get the same answers as from its stores.

use super::{Config, Running, World, say, until};
use serde_json::Value;

/// A node on the world's events, once it has read and settled them all.
fn node(world: &World) -> Running {
    let node = Running::start(&mut world.command(&["run"]));
    let settled = |p: &Value| p["ended"] == true && p["open_tickets"] == 0 && p["committed"] == p["position"];
    until("the node has settled every record", || {
        let said = world.say(&["partitions", "-o", "json"]);
        let seen = (said.code == Some(0)).then(|| said.json())?;
        let partitions = seen["partitions"].as_array()?;
        (partitions.len() == 2 && partitions.iter().all(settled)).then_some(())
    });
    until("no job is left", || {
        let lanes = world.json(&["lanes"]);
        let left = |lane: &Value| ["waiting", "retry", "active"].iter().any(|state| lane[*state] != 0);
        (!lanes["lanes"].as_array()?.iter().any(left)).then_some(())
    });
    node
}

/// Goal: a running node and its stores give one answer. Method: the same questions while it runs and after it has ended.
#[test]
fn one_answer_from_both() {
    const QUESTIONS: [&[&str]; 8] = [
        &["row", "get", "order", "3082:23082"],
        &["row", "get", "order", "--key", "order_no=23082"],
        &["doc", "get", "search", "23082"],
        &["doc", "list", "stored", "--max", "3"],
        &["lanes", "strict"],
        &["job", "list"],
        &["dead-letter", "list"],
        &["row", "get", "order", "--key", "order_no=23082", "-o", "json"],
    ];
    let world = World::new();
    let running = node(&world);
    let online: Vec<String> = QUESTIONS.iter().map(|question| world.say(question).ends(0).out).collect();
    let why = world.json(&["row", "why", "order", "3082:23082"]);
    assert!(why["lines"].as_array().unwrap().iter().all(|line| line["agreement"] == "up_to_date"), "{why}");
    for (verb, code) in [
        (&["row", "get", "order", "no:such"][..], 1),
        (&["doc", "list", "serch"], 1),
        (&["job", "release", "--state", "active"], 2),
    ] {
        world.say(verb).ends(code).err_has(&["error: ", "help: "]);
    }
    let said = running.end().ends(0);
    assert_eq!(said.json()["records"], 16);
    for (question, online) in QUESTIONS.iter().zip(online) {
        assert_eq!(world.say(question).ends(0).out, online, "{question:?}");
    }
    world.say(&["actors"]).ends(4).err_has(&["admin.addr is not there"]);
}

/// Goal: one look holds partitions, lanes and the rate between two looks. Method: looks at a node that has read its file.
#[test]
fn top_shows_it_all() {
    let world = World::new();
    let running = node(&world);
    let said = world.say(&["top", "--times", "2", "--every", "10ms", "-o", "json"]).ends(0).out;
    let looks: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2);
    assert!(looks[0]["records_per_second"].is_null() && looks[1]["records_per_second"] == 0.0, "{looks:?}");
    assert!(looks.iter().all(|look| !look["lanes"]["lanes"].as_array().unwrap().is_empty()));
    world.say(&["top", "--times", "1"]).ends(0).out_has(&[
        "0 records behind, 0 jobs wait",
        "PARTITION",
        "LANE",
        "every actor runs",
    ]);
    running.end().ends(0);
}

/// Goal: what only a node has is shown, by address as well as by configuration. Method: actors and partitions in both forms,
/// a pause and its end.
#[test]
fn actors_and_partitions() {
    let world = World::new();
    let running = node(&world);
    world.say(&["actors"]).ends(0).out_has(&[
        "ACTOR",
        "partition:trade.item:0",
        "writer:0",
        "sink:search:0",
        "running",
        "entities: ",
    ]);
    let sinks = world.json(&["actors", "sink"]);
    let sinks = sinks["actors"].as_array().unwrap();
    assert!(!sinks.is_empty() && sinks.iter().all(|actor| actor["kind"] == "sink"), "{sinks:?}");

    world.say(&["partitions", "pause", "trade.item", "0", "--reason", "a look"]).ends(0).out_has(&["trade.item/0 is paused"]);
    until("the pause is shown", || world.say(&["partitions"]).ends(0).out.contains("paused: a look").then_some(()));
    world.say(&["partitions", "resume", "trade.item", "0"]).ends(0).out_has(&["trade.item/0 is resumed"]);
    until("the pause is over", || (!world.say(&["partitions"]).ends(0).out.contains("paused")).then_some(()));
    world.say(&["partitions", "pause", "trade.no", "0"]).ends(1).err_has(&["trade.no/0", "widerow partitions"]);

    let url = std::fs::read_to_string(world.path("data/admin.addr")).unwrap();
    say(&["--admin", url.trim(), "partitions"]).ends(0).out_has(&["trade.orders", "read to its end"]);
    world.say(&["check", "--connect"]).ends(0).out_has(&["open in the node at", "the running node answers"]);
    world.say(&["run"]).ends(4).err_has(&["another process has it open"]);
    running.end().ends(0);
}

/// Goal: a node does the long work itself, and replays letters. Method: a rebuild and a purge followed to their end; a
/// letter that still cannot be used.
#[test]
fn long_work_in_a_node() {
    let world = World::new();
    world.configure(Config { tag: "long", horizon: "1ms", ..Config::default() });
    let running = node(&world);
    let run = world.json(&["rebuild", "stored"]);
    assert_eq!((run["state"].as_str(), run["done"].as_u64(), run["on"].as_str()), (Some("done"), Some(5), Some("stored")));
    world
        .say(&["rebuild", "stored", "--from", "3082:", "--dry-run"])
        .ends(0)
        .out_has(&["4 jobs to offer", "nothing was changed"]);
    world.say(&["rebuild", "serch"]).ends(1).err_has(&["there are: search, stored, strict"]);
    assert_eq!(world.json(&["purge", "order"])["cells"], 4);
    world.say(&["dead-letter", "replay", "trade.item/0/3"]).ends(1).err_has(&["still not usable"]);
    world.say(&["dead-letter", "show", "trade.item/0/3"]).ends(0).out_has(&["bad_value", "red"]);
    running.end().ends(0);
}
