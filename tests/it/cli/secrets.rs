//! No secret of a configuration leaves the process: a canary under every key that takes one, everything said is searched.

use super::{Running, World, until, widerow};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

const CANARY: &str = "canary-7f3a91";
/// Every key that takes a secret; the settings' own tests hold it to the list of keys.
const SECRETS: &str = include_str!("../../../src/settings/tests/secrets.yaml");

/// What a node answers to a GET, head and body.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Goal: no verb, no page and no log line tells a secret. Method: verbs that print the configuration or reach its systems;
/// a node with its log at trace, every route that says something of the configuration, and the faults of systems that are away.
#[test]
fn nothing_tells_a_secret() {
    let world = World::new();
    std::fs::write(world.path("token"), CANARY).unwrap();
    std::fs::write(world.path("config.yaml"), SECRETS.replace("CANARY", CANARY)).unwrap();
    std::fs::write(world.path("alone.yaml"), "queue: { embedded: {} }\n").unwrap();
    let mut told = Vec::new();
    for (verb, code) in [
        (&["config", "show"][..], 0),
        (&["config", "show", "--origin"], 0),
        (&["config", "show", "--origin", "-o", "json"], 0),
        (&["check"], 0),
        (&["check", "--connect"], 4),
        (&["check", "--connect", "-o", "json"], 4),
    ] {
        let said = world.say(verb).ends(code);
        told.extend([said.out, said.err]);
    }
    assert!(told[0].contains("password: \"***\"") && told[6].contains("W0305"), "{told:?}");

    let log = world.path("log");
    let mut node = widerow();
    node.args(["run", "--log", "trace", "-c", "config.yaml", "-c", "alone.yaml"]).current_dir(world.dir.path());
    let child = node.stdout(Stdio::null()).stderr(Stdio::from(File::create(&log).unwrap())).spawn().unwrap();
    let node = Running(child);
    let address = until("the node says where it listens", || {
        let left = std::fs::read_to_string(world.path("data/admin.addr")).ok()?;
        Some(left.trim().trim_start_matches("http://").trim_end_matches('/').to_owned())
    });
    let shown = get(&address, "/api/v1/config");
    assert!(shown.contains("***") && shown.contains("ssl.key.pem"), "{shown}");
    told.push(shown);
    told.extend(["/", "/health", "/metrics", "/api/v1/actors", "/api/v1/lines", "/openapi.json"].map(|path| get(&address, path)));
    until("the brokers' absence is in the log", || std::fs::read_to_string(&log).unwrap().contains("kafka client").then_some(()));
    node.end().ends(0);
    told.push(std::fs::read_to_string(&log).unwrap());
    for text in told {
        assert!(!text.contains(CANARY), "told: {text}");
    }
}
