//! The made-up shop: `generate` and `demo`.

use super::{Running, say, until, widerow};
use crate::world::finished;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Goal: what is generated runs, and ends in the documents beside it. Method: every format, a run of the configuration that
/// was written, and each sink's file against `expected.json`.
#[test]
fn what_is_generated_runs() {
    for format in ["debezium", "canal", "maxwell"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("shop");
        let out = out.to_str().unwrap();
        let args = ["generate", "--out", out, "--events", "400", "--entities", "40", "--disorder", "10%", "--duplicates", "5%"];
        let done = say(&[&args[..], &["--format", format, "-o", "json"]].concat()).ends(0).json();
        let config = done["config"].as_str().unwrap();
        let summary = say(&["run", "-c", config, "--until-idle"]).ends(0).json();
        assert_eq!(summary["records"], done["records"], "{format}");
        let expected: Value =
            serde_json::from_str(&std::fs::read_to_string(done["expected"].as_str().unwrap()).unwrap()).unwrap();
        let mut checked = 0;
        for (line, want) in expected["documents"].as_object().unwrap() {
            let mut held: BTreeMap<String, Value> = BTreeMap::new();
            for write in super::lines(&dir.path().join(format!("shop/{line}.jsonl"))) {
                let id = write["id"].as_str().unwrap().to_owned();
                if write["op"] == "delete" {
                    held.remove(&id)
                } else {
                    held.insert(id, write["doc"].clone())
                };
            }
            assert_eq!(serde_json::to_value(&held).unwrap(), *want, "{format} {line}");
            checked += held.len() as u64;
        }
        assert_eq!(Some(checked), done["documents"].as_u64());
        assert!(checked > 10, "{checked}");
    }
}

/// Goal: a dry run whose reader has read enough ends by itself, and complains of nothing. Method: its pipe closed before its
/// first document, on a run that would stay.
#[test]
fn a_dry_run_ends_with_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let done = say(&["generate", "--out", out, "--events", "200", "-o", "json"]).ends(0).json();
    let mut command = widerow();
    command.args(["run", "-c", done["config"].as_str().unwrap(), "--dry-run"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = finished(child, "a dry run nobody reads");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(!log.contains("rejected") && !log.contains("buried"), "{log}");
}

/// Goal: the demo ends by itself, and every document is right. Method: some hundred events, the JSON form.
#[test]
fn a_demo_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let demo = |args: &[&str]| {
        let mut command = widerow();
        let port: &[&str] = if args.contains(&"--port") { &[] } else { &["--port", "0"] };
        command.args(["demo", "--rate", "5000/s"]).args(port).args(args).current_dir(dir.path());
        super::Said::of(&command.output().unwrap())
    };
    let outcome = demo(&["--events", "600", "-o", "json"]).ends(0).json();
    let checked = outcome["documents"]["checked"].as_u64().unwrap();
    assert_eq!((outcome["events"].as_u64(), outcome["documents"]["right"].as_u64()), (Some(600), Some(checked)));
    assert!(checked > 10 && outcome["documents"]["differences"] == Value::Array(Vec::new()), "{outcome}");
    assert!(dir.path().join("data/demo").is_dir(), "it says where its data lies, and that is there");
    // A port that is taken is told, and another one used.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = demo(&["--events", "50", "--port", &port]).ends(0);
    said.err_has(&[&format!("port {port} is taken"), "open   http://127.0.0.1:"]);
    // The same folder again: the demo begins with nothing, or its documents would be the first one's.
    let said = demo(&["--seed", "8", "--for", "300ms"]).ends(0).out_has(&["documents checked", "right"]);
    said.err_has(&["data/demo", "Ctrl-C"]);
}

/// Goal: a demo that is interrupted settles and checks, too. Method: SIGTERM once it has said where it is.
#[test]
fn an_interrupted_demo_checks_its_documents() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("kept");
    let mut command = widerow();
    command.args(["demo", "--port", "0", "--rate", "2000/s", "-o", "json"]).env("WIDEROW_DATA", &data).current_dir(dir.path());
    let demo = Running::start(&mut command);
    until("the demo has made its store", || data.join("store/format").exists().then_some(()));
    let outcome = demo.end().ends(0).json();
    assert_eq!(outcome["documents"]["right"], outcome["documents"]["checked"], "{outcome}");
    // A folder that the user named is not emptied.
    let again = super::Said::of(&command.output().unwrap()).ends(4);
    again.err_has(&["holds a store already", "WIDEROW_DATA"]);
}

/// Goal: what a demo tells to try works as it is printed. Method: its own lines, read while it runs, each run as a command.
#[test]
fn what_a_demo_tells_to_try_works() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = widerow();
    command.args(["demo", "--port", "0", "--rate", "2000/s"]).current_dir(dir.path());
    let mut demo = Running::start(&mut command);
    let told = BufReader::new(demo.0.stderr.take().unwrap());
    let mut commands = Vec::new();
    // The demo runs without end, so its lines end only with the last one that is waited for.
    for line in told.lines() {
        let line = line.unwrap();
        if let Some((_, command)) = line.split_once(" --admin ") {
            commands.push(format!("--admin {command}"));
        }
        if line.ends_with("actors sink") {
            break;
        }
    }
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in &commands {
        let args: Vec<&str> = command.split_whitespace().collect();
        say(&args).ends(0);
    }
    demo.end().ends(0).out_has(&["documents checked"]);
}
