//! One widerow of its own: the real binary, its folder, its admin endpoint.
//!
//! It dies with the thread that started it, however that ends.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Node {
    pub name: String,
    folder: PathBuf,
    configs: Vec<PathBuf>,
    variables: Vec<(String, String)>,
    process: Option<Child>,
    /// Records that its ended lives have taken, as they said last.
    taken_before: u64,
}

impl Node {
    pub fn new(name: &str, folder: PathBuf, configs: Vec<PathBuf>, mut variables: Vec<(String, String)>) -> Self {
        fs::create_dir_all(&folder).unwrap();
        variables.push(("WIDEROW_DATA".into(), folder.join("data").display().to_string()));
        variables.push(("HOSTNAME".into(), name.to_owned()));
        Self { name: name.to_owned(), folder, configs, variables, process: None, taken_before: 0 }
    }

    /// Runs it; its log goes to `run.log` of its folder, after what earlier lives have said.
    pub fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let _ = fs::remove_file(self.folder.join("data/admin.addr"));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_widerow"), "run"]);
        for config in &self.configs {
            command.arg("-c").arg(config);
        }
        let process = command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "{}: no {name} could be sent", self.name);
    }

    /// Records it has taken in all its lives, but for what one took after it was asked last.
    pub fn taken(&self) -> u64 {
        let now = self.ask("/api/v1/totals").and_then(|told| told["totals"]["records"].as_u64());
        self.taken_before + now.unwrap_or(0)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.taken_before = self.taken();
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            process.wait().unwrap();
        }
    }

    /// SIGTERM, and its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.taken_before = self.taken();
        self.signal("TERM");
        self.process.take().and_then(|mut process| process.wait().unwrap().code())
    }

    /// A path of its admin endpoint; nothing before it has said where that is.
    fn url(&self, path: &str) -> Option<String> {
        let address = fs::read_to_string(self.folder.join("data/admin.addr")).ok()?;
        Some(format!("http://{}{path}", address.trim().trim_start_matches("http://")))
    }

    /// What the admin endpoint says; nothing while it does not answer.
    pub fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.ask_text(path)?).ok()
    }

    pub fn ask_text(&self, path: &str) -> Option<String> {
        let asking = ureq::get(self.url(path)?).config().timeout_global(Some(Duration::from_secs(5))).build();
        asking.call().ok()?.body_mut().read_to_string().ok()
    }

    /// Asks the admin endpoint for a change; nothing while it does not answer.
    pub fn order(&self, path: &str, body: &Value) -> Option<Value> {
        let asking = ureq::post(self.url(path)?).header("content-type", "application/json");
        let asking = asking.config().timeout_global(Some(Duration::from_secs(5))).build();
        serde_json::from_str(&asking.send(body.to_string()).ok()?.body_mut().read_to_string().ok()?).ok()
    }

    pub fn log_file(&self) -> PathBuf {
        self.folder.join("run.log")
    }

    /// The end of what it has said, for a test that fails.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}
