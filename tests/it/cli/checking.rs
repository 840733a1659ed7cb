//! `check`: findings of a configuration, and what the systems it names lack.

use super::{Config, World, say};

/// Goal: nothing wrong ends with 0 and says so. Method: both forms, with and without `--connect`.
#[test]
fn nothing_wrong() {
    let world = World::new();
    world.say(&["check"]).ends(0).out_has(&["nothing found"]);
    assert_eq!(world.json(&["check"])["errors"], 0);
    world
        .say(&["check", "--connect"])
        .ends(0)
        .out_has(&["maxwell; changes of trade.orders (5), trade.item (11)", "nothing is missing"]);
    assert!(!world.path("data").exists() && !world.path("search.jsonl").exists(), "a check leaves nothing behind");
    let json = world.json(&["check", "--connect"]);
    let systems = json["systems"].as_array().unwrap();
    assert!(systems.len() >= 5 && systems.iter().all(|s| s["missing"].is_null()), "{json}");
}

/// Goal: all findings at once, with places, on standard output, and 78. Method: a configuration with faults of three kinds.
#[test]
fn every_finding_at_once() {
    let world = World::new();
    let text = std::fs::read_to_string(world.path("config.yaml")).unwrap();
    let broken = text.replace("version: 1", "version: 1\nnodes: {}").replace("row: order\n", "row: ordre\n");
    let broken = broken.replace("data_dir:", "drain_deadline: \"${NOT_SET_ANYWHERE}\", data_dir:");
    std::fs::write(world.path("config.yaml"), broken).unwrap();
    let said = world.say(&["check"]).ends(78);
    let said =
        said.out_has(&["W0101", "`nodes`", "config.yaml:2:1", "W0501", "did you mean `order`?", "NOT_SET_ANYWHERE", "errors"]);
    assert_eq!(said.err, "");
    let json = world.say(&["check", "--connect", "-o", "json"]).ends(78).json();
    let findings = json["findings"].as_array().unwrap();
    let codes: Vec<&str> = findings.iter().filter_map(|f| f["code"].as_str()).collect();
    assert!(codes.contains(&"W0101") && codes.contains(&"W0501") && json["errors"].as_u64().unwrap() >= 3, "{json}");
    assert!(json["systems"].is_null(), "nothing is reached with a configuration that cannot be read");
    for verb in [&["run"][..], &["row", "get", "order", "k"], &["rebuild", "search"], &["actors"], &["config", "show"]] {
        world.say(verb).ends(78).err_has(&["W0101"]);
    }
}

/// Goal: a configuration file that is not there is a finding. Method: a path to nothing.
#[test]
fn no_such_file() {
    say(&["check", "-c", "not-there.yaml"]).ends(78).out_has(&["not-there.yaml", "cannot be read"]);
}

/// Goal: what is missing is named with what to do, and ends with 4. Method: a table of what is taken away or put in the way.
#[test]
fn what_is_missing() {
    let world = World::new();
    let missing = |words: &[&str]| {
        world.say(&["check", "--connect"]).ends(4).out_has(words).out_has(&["missing: ", "what to do: "]);
        let json = world.say(&["check", "--connect", "-o", "json"]).ends(4).json();
        let lacking = json["systems"].as_array().unwrap().iter().filter(|s| !s["missing"].is_null()).count();
        assert_eq!(lacking, 1, "{json}");
    };
    // A word where a number is declared: found by decoding the first records.
    world.configure(Config { tag: "long", ..Config::default() });
    missing(&["bad_value", "trade.item/0/3", "declare the column's type"]);
    world.configure(Config::default());
    std::fs::create_dir(world.path("search.jsonl")).unwrap();
    missing(&["search.jsonl is no file"]);
    std::fs::remove_dir(world.path("search.jsonl")).unwrap();
    // A line that is no event stops a run, so it is told with its place.
    let good = std::fs::read(world.path("in.jsonl")).unwrap();
    std::fs::write(world.path("in.jsonl"), [&good[..], b"{}\n"].concat()).unwrap();
    missing(&["in.jsonl:17:", "not a recorded event"]);
    std::fs::remove_file(world.path("in.jsonl")).unwrap();
    missing(&["in.jsonl", "No such file"]);
    std::fs::write(world.path("in.jsonl"), good).unwrap();
    let text = std::fs::read_to_string(world.path("config.yaml")).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(world.path("config.yaml"), text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    missing(&["cannot be listened on", "admin.listen"]);
}
