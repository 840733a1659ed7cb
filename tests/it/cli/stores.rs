//! Verbs on the stores of a node that does not run.

use super::{Config, World, say};
use widerow::io::embedded::EmbeddedStore;

/// Goal: rows and documents are shown with stamps, versions and exact digits. Method: a run, then each verb in both forms.
#[test]
fn rows_and_documents() {
    let world = World::new();
    let summary = world.run();
    assert_eq!((summary["records"].as_u64(), summary["dead_letters"].as_u64()), (Some(16), Some(0)));

    let row = world.json(&["row", "get", "order", "3082:23082"]);
    assert_eq!((row["alive"].as_bool(), row["tables"].as_array().unwrap().len()), (Some(true), 3));
    let by_column = world.json(&["row", "get", "order", "--key", "order_no=23082"]);
    assert_eq!(by_column, row, "the kind's template makes the same key");
    let version = row["version"].as_str().unwrap();
    world.say(&["row", "get", "order", "3082:23082"]).ends(0).out_has(&["order 3082:23082", version, "20.50", "STAMP", "red"]);

    let why = world.json(&["row", "why", "order", "3082:23082"]);
    let lines = why["lines"].as_array().unwrap();
    assert!(lines.len() == 3 && lines.iter().all(|l| l["agreement"] == "up_to_date"), "{why}");
    world.say(&["row", "why", "order", "--key", "order_no=23082"]).ends(0).out_has(&["line search: up to date", version]);

    let raw = world.say(&["doc", "get", "search", "23082", "-o", "json"]).ends(0);
    let raw = raw.out_has(&[r#""document":{"amount":20.50,"qty":41,"tags":"20,red"}"#]);
    assert_eq!(raw.json()["version"], version);
    world.say(&["doc", "get", "stored", "23081"]).ends(0).out_has(&["amount  10.50", "status  1"]);

    let first = world.json(&["doc", "list", "stored", "--max", "2"]);
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["documents"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&first), ["23081", "23082"]);
    let rest = world.json(&["doc", "list", "stored", "--after", first["next"].as_str().unwrap()]);
    assert_eq!((ids(&rest), rest["next"].is_null()), (vec!["23083".into(), "23084".into(), "23085".into()], true));
    world.say(&["doc", "list", "stored", "--max", "2"]).ends(0).out_has(&["ID", "there are more: --after 23082"]);

    let lanes = world.json(&["lanes", "search"]);
    assert_eq!(lanes["lanes"].as_array().unwrap().len(), 3);
    world.say(&["lanes"]).ends(0).out_has(&["LINE", "urgent", "strict"]);
}

/// Goal: what is not there is told as such, each with its exit code and what there is. Method: a table.
#[test]
fn what_is_not_there() {
    let world = World::new();
    world.say(&["lanes"]).ends(4).err_has(&["no node has run in", "help"]);
    assert!(!world.path("data").exists(), "a question makes no store");
    world.run();
    for (verb, code, words) in [
        (&["row", "get", "order", "no:such"][..], 1, &["no:such", "--key column=value"][..]),
        (&["row", "get", "ordre", "x"], 1, &["ordre", "there are: order"]),
        (&["row", "get", "order", "--key", "id=1"], 2, &["`id`", "there are: order_no"]),
        (&["doc", "get", "search", "no"], 1, &["no document `no`", "row why"]),
        (&["doc", "list", "serch"], 1, &["serch", "there are: search, stored, strict"]),
        (&["job", "show", "search", "3081:23081"], 1, &["has no job", "row why"]),
        (&["job", "release", "--state", "active"], 2, &["parked or buried"]),
        (&["dead-letter", "show", "a/0/1"], 1, &["a/0/1", "dead-letter list"]),
        (&["dead-letter", "replay", "a/0/1"], 1, &["a/0/1", "dead-letter list"]),
        (&["rebuild", "serch"], 1, &["serch", "there are: search, stored, strict"]),
        (&["purge", "ordre"], 1, &["ordre", "there are: order"]),
        (&["actors"], 4, &["no node runs", "admin.addr", "widerow run"]),
        (&["partitions"], 4, &["no node runs"]),
        (&["partitions", "pause", "trade.item", "0"], 4, &["no node runs"]),
    ] {
        world.say(verb).ends(code).err_has(words);
    }
    say(&["--admin", "http://127.0.0.1:1", "lanes"]).ends(4).err_has(&["no node answers at http://127.0.0.1:1"]);
    say(&["--admin", "https://h:1", "lanes"]).ends(2).err_has(&["http://host:port"]);
}

/// Goal: a store that another process has open is told plainly. Method: this process has it open, and no node answers.
#[test]
fn a_store_that_is_open_elsewhere() {
    let world = World::new();
    world.run();
    let _held = EmbeddedStore::open(&world.path("data")).unwrap();
    world.say(&["lanes"]).ends(4).err_has(&["another process has it open", "admin address"]);
    world.say(&["rebuild", "search"]).ends(4).err_has(&["another process has it open"]);
    world.say(&["check", "--connect"]).ends(4).out_has(&["another process has it open"]);
}

/// Goal: the address of a node that is gone does not keep anybody from its stores. Method: an address where nobody listens.
#[test]
fn a_left_address_is_no_node() {
    let world = World::new();
    world.run();
    std::fs::write(world.path("data/admin.addr"), "http://127.0.0.1:1\n").unwrap();
    world.say(&["lanes"]).ends(0).out_has(&["search"]);
    world.say(&["actors"]).ends(4).err_has(&["names none that answers"]);
}

/// Goal: a letter is kept until its record passes, and then its change is in the document. Method: a word in a column that
/// is declared a number; the declaration is mended between two replays.
#[test]
fn letters_are_replayed() {
    let world = World::new();
    world.configure(Config { tag: "long", ..Config::default() });
    assert_eq!(world.run()["dead_letters"], 1);
    assert_eq!(world.written()["23082"]["tags"], "20");
    let letters = world.json(&["dead-letter", "list"]);
    let letter = &letters["dead_letters"][0];
    let (id, reason) = (letter["id"].as_str().unwrap(), letter["reason"].as_str().unwrap());
    assert_eq!((letters["total"].as_u64(), id, reason), (Some(1), "trade.item/0/3", "bad_value"));
    world.say(&["dead-letter", "list"]).ends(0).out_has(&[id, "bad_value", "tag"]);
    assert!(world.json(&["dead-letter", "show", id])["value"]["text"].as_str().unwrap().contains("red"));
    world.say(&["dead-letter", "show", id]).ends(0).out_has(&["source shop", r#""tag":"red""#]);

    world.say(&["dead-letter", "replay", id]).ends(1).err_has(&["still not usable", "mend"]);
    assert_eq!(world.json(&["dead-letter", "list"])["total"], 1, "it is kept until it passes");

    world.configure(Config::default());
    let replayed = world.json(&["dead-letter", "replay", id]);
    assert_eq!((replayed["id"].as_str(), replayed["passed"].as_bool()), (Some(id), Some(true)));
    assert_eq!(world.json(&["dead-letter", "list"])["total"], 0);
    world.say(&["dead-letter", "list"]).ends(0).out_has(&["no dead letters"]);
    assert_eq!(world.written()["23082"]["tags"], "20,red", "its job ran as well");
}

/// Goal: a buried job is shown with its reason, and released once its cause is mended. Method: a note that is no number.
#[test]
fn jobs_are_released() {
    let world = World::new();
    world.configure(Config { note: "long", ..Config::default() });
    // A later change of the row revives the job (J7), so it may have been buried more than once.
    assert!(world.run()["jobs"]["buried"].as_u64() >= Some(1));
    let jobs = world.json(&["job", "list", "--state", "buried"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    let job = &jobs["jobs"][0];
    assert_eq!(
        (job["line"].as_str(), job["row"].as_str(), job["state"].as_str()),
        (Some("strict"), Some("3084:23084"), Some("buried"))
    );
    world.say(&["job", "list", "--line", "strict"]).ends(0).out_has(&["3084:23084", "buried", "call first"]);
    world.say(&["job", "list", "--line", "search"]).ends(0).out_has(&["no jobs"]);
    world.say(&["job", "show", "strict", "3084:23084"]).ends(0).out_has(&["buried", "reason", "call first"]);
    assert_eq!(world.json(&["job", "show", "strict", "3084:23084"])["jobs"][0]["state"], "buried");
    world.say(&["job", "release"]).ends(0).out_has(&["0 jobs released"]);

    world.configure(Config::default());
    assert_eq!(world.json(&["job", "release", "--line", "strict", "--state", "buried"])["released"], 1);
    assert_eq!(world.run()["jobs"]["done"], 1);
    world.say(&["doc", "get", "strict", "23084"]).ends(0).out_has(&["call first"]);
}

/// Goal: a rebuild brings documents back, whole or in a range, and a dry run changes nothing. Method: the sink's file is
/// deleted between.
#[test]
fn documents_are_rebuilt() {
    let world = World::new();
    world.run();
    let before = world.written();
    assert_eq!(before.len(), 5);
    std::fs::remove_file(world.path("search.jsonl")).unwrap();

    let dry = world.json(&["rebuild", "search", "--dry-run"]);
    assert_eq!((dry["rows"].as_u64(), dry["dry"].as_bool(), world.written().len()), (Some(5), Some(true), 0));
    world.say(&["rebuild", "search", "--dry-run"]).ends(0).out_has(&["5 jobs to offer", "nothing was changed"]);

    let range = world.json(&["rebuild", "search", "--from", "3082:", "--to", "3084:"]);
    assert_eq!(range["done"], 2);
    assert_eq!(world.written().into_keys().collect::<Vec<_>>(), ["23082", "23083"]);

    world.say(&["rebuild", "search", "--rate", "1000/s"]).ends(0).out_has(&["rebuild of search", "5 jobs offered"]);
    assert_eq!(world.written(), before);
}

/// Goal: a line whose mapping changed says in every run that it wants a rebuild, until one of the whole range has ended.
/// Method: another type of a field, then a rebuild of a part, then of all.
#[test]
fn a_changed_line_wants_a_rebuild() {
    const WORDS: &str = "widerow rebuild strict";
    let world = World::new();
    let run = || world.say(&["run", "--until-idle"]).ends(0).err;
    assert!(!run().contains("rebuild"), "a new line on an empty store wants none");
    assert!(!run().contains("rebuild"));
    world.configure(Config { note: "json", ..Config::default() });
    assert!(run().contains(WORDS) && run().contains(WORDS));
    world.say(&["rebuild", "strict", "--to", "3082:"]).ends(0);
    world.say(&["rebuild", "strict", "--dry-run"]).ends(0);
    assert!(run().contains(WORDS), "a part of the rows is not all of them");
    world.say(&["rebuild", "strict"]).ends(0);
    assert!(!run().contains(WORDS));
}

/// Goal: purge removes what tombstones cover once they are old enough, and lowers no version (M5, V3). Method: one deleted
/// item, with a long horizon, then with none.
#[test]
fn dead_cells_are_purged() {
    let world = World::new();
    world.run();
    let version = || world.json(&["row", "get", "order", "3085:23085"])["version"].as_str().unwrap().parse::<i64>().unwrap();
    let before = version();
    assert_eq!(world.json(&["purge", "order"])["cells"], 0, "the tombstone is younger than the horizon");
    world.configure(Config { horizon: "1ms", ..Config::default() });
    let dry = world.json(&["purge", "order", "--dry-run"]);
    assert_eq!((dry["rows"].as_u64(), dry["done"].as_u64(), dry["cells"].as_u64()), (Some(5), Some(1), Some(4)));
    world.say(&["row", "get", "order", "3085:23085"]).ends(0).out_has(&["#del"]);
    world.say(&["purge", "order"]).ends(0).out_has(&["1 rows purged, 4 cells"]);
    let said = world.say(&["row", "get", "order", "3085:23085"]).ends(0);
    assert!(!said.out.contains("#del") && !said.out.contains("dead"), "{}", said.out);
    assert!(version() >= before, "V3");
    assert_eq!(world.json(&["purge", "order"])["done"], 0, "there is nothing left to purge");
}
