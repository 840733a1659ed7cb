//! The real binary in a folder of its own.

use super::PATIENCE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A folder in which the real binary runs: `config.yaml`, `records.jsonl`, and what it makes of them.
pub struct Site {
    pub dir: TempDir,
}

/// How one run of the binary ended.
pub struct Ran {
    pub code: Option<i32>,
    pub summary: Value,
    pub log: String,
}

impl Site {
    pub fn new(config: &str, records: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), config).unwrap();
        std::fs::write(dir.path().join("records.jsonl"), records).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary with `OUT` set, in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_widerow"));
        command.args(args).env("OUT", self.dir.path()).current_dir(self.dir.path());
        command.env_remove("WIDEROW_STEP").env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `run --until-idle` with more flags, and a scripted step.
    pub fn run(&self, args: &[&str], step: Option<&str>) -> Ran {
        let mut command = self.command(&[&["run", "-c", "config.yaml", "--until-idle"], args].concat());
        if let Some(step) = step {
            command.env("WIDEROW_STEP", step);
        }
        Ran::of(finished(command.spawn().unwrap(), &format!("{args:?} {step:?}")))
    }

    /// `run` in the background; the log goes to `log.txt`.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let log = std::fs::File::options().append(true).create(true).open(self.path("log.txt")).unwrap();
        self.command(&[&["run", "-c", "config.yaml"], args].concat()).stderr(log).spawn().unwrap()
    }

    /// The jsonl sink's writes in their order.
    pub fn writes(&self, line: &str) -> Vec<(String, i64, Option<Value>)> {
        let text = std::fs::read_to_string(self.path(&format!("{line}.jsonl"))).unwrap_or_default();
        // A torn last line is of a process that was killed; the next one cuts it.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let write = |line: &str| {
            let write: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let id = write["id"].as_str().unwrap().to_owned();
            let document = (write["op"] == "index").then(|| write["doc"].clone());
            (id, write["version"].as_str().unwrap().parse().unwrap(), document)
        };
        whole.lines().map(write).collect()
    }

    /// The writes folded by id. Versions of one id never fall (I4), and one version has one content.
    pub fn fold(&self, line: &str) -> BTreeMap<String, Value> {
        let mut held: BTreeMap<String, (i64, Option<Value>)> = BTreeMap::new();
        for (id, version, document) in self.writes(line) {
            if let Some((before, old)) = held.get(&id) {
                assert!(version >= *before, "{line}: version of {id} falls from {before} to {version}");
                assert!(version > *before || *old == document, "{line}: {id} has two contents under version {version}");
            }
            held.insert(id, (version, document));
        }
        held.into_iter().filter_map(|(id, (_, document))| Some((id, document?))).collect()
    }
}

/// Waits for a process, at most [`PATIENCE`]; then it is killed and its log shown.
pub fn finished(child: Child, what: &str) -> Output {
    let id = child.id();
    let (done, outcome) = std::sync::mpsc::sync_channel(1);
    let waiting = std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    let (output, late) = match outcome.recv_timeout(PATIENCE) {
        Ok(output) => (output, false),
        Err(_) => {
            signal(id, "KILL");
            (outcome.recv().unwrap(), true)
        }
    };
    waiting.join().unwrap().unwrap();
    assert!(!late, "{what} does not end\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Sends a process a signal by its name.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let summary = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        Self { code: output.status.code(), summary, log: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    /// One number of the summary.
    pub fn count(&self, path: &str) -> u64 {
        self.summary
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no {path} in {}\n{}", self.summary, self.log))
    }
}
