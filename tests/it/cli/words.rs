//! Verbs that need neither node nor stores, wrong usage, and a reader that goes away.

use super::{World, say, widerow};
use std::io::Write;
use std::process::{Command, Stdio};

/// Goal: the version is told to people and programs. Method: both forms.
#[test]
fn version() {
    say(&["version"]).ends(0).out_has(&["widerow ", env!("CARGO_PKG_VERSION")]);
    let json = say(&["version", "-o", "json"]).ends(0).json();
    assert_eq!((json["name"].as_str(), json["version"].as_str()), (Some("widerow"), Some(env!("CARGO_PKG_VERSION"))));
}

/// Goal: every shell gets a script that knows the verbs. Method: print each, and let bash parse its own.
#[test]
fn completion() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        say(&["completion", shell]).ends(0).out_has(&["dead-letter", "until-idle"]);
    }
    let script = say(&["completion", "bash"]).out;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let parsed = bash.wait_with_output().unwrap();
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    say(&["completion", "tcsh"]).ends(2).err_has(&["tcsh", "bash"]);
}

/// Goal: wrong usage ends with 2 and says what was meant. Method: a table of lines and words of the answer.
#[test]
fn wrong_usage() {
    for (line, words) in [
        (&["rwo"][..], &["rwo", "row"][..]),
        (&[], &["Usage"]),
        (&["run"], &["--config"]),
        (&["actors", "cook"], &["cook", "partition"]),
        (&["config", "explain", "queue.max_pendin"], &["queue.max_pending"]),
        (&["version", "--log", "loud=very"], &["log"]),
    ] {
        say(line).ends(2).err_has(words);
    }
}

/// Goal: the configuration can be read back, explained and described. Method: the three verbs in both forms.
#[test]
fn config() {
    let world = World::new();
    world.say(&["config", "show"]).ends(0).out_has(&["max_pending: 5000", "search.jsonl"]);
    world.say(&["config", "show", "--origin"]).ends(0).out_has(&["# default", "config.yaml:"]);
    let json = world.json(&["config", "show"]);
    assert_eq!(json["queue"]["max_pending"], 5000);
    let json = world.json(&["config", "show", "--origin"]);
    let origins = json["origins"].as_array().unwrap();
    assert!(origins.iter().any(|o| o["path"] == "queue.max_pending" && o["origin"]["from"] == "default"), "{origins:?}");
    say(&["config", "explain", "queue.max_pending"]).ends(0).out_has(&["5000", "J9"]);
    let schema = say(&["config", "schema"]).ends(0).json();
    assert!(schema["properties"]["sources"].is_object(), "{schema}");
}

/// Goal: a reader that goes away is no fault. Method: an answer larger than a pipe holds, whose reader is dropped unread.
#[test]
fn a_closed_pipe_does_not_panic() {
    let mut child = widerow().args(["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{:?}: {err}", output.status);
}
