//! Goal: every verb does what its help says, for people and for programs, and ends with its exit code (3-interfaces 3.4).
//!
//! Method: the real binary on a folder of its own per test: five orders as recorded events, three lines. What it prints is
//! read back; nothing is waited for but the binary's own end, or with a deadline what a running node must come to say.

mod checking;
mod made_up;
mod running;
mod secrets;
mod stores;
mod words;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest anything may take before the test gives up on it.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder with recorded events and a configuration.
struct World {
    dir: TempDir,
}

/// How one test's configuration differs.
#[derive(Clone, Copy)]
struct Config<'a> {
    /// Declared type of `trade.item.tag`; one item's tag is a word.
    tag: &'a str,
    /// What the line `strict` reads the order's note as; one order's note is a word.
    note: &'a str,
    /// How long tombstones stay.
    horizon: &'a str,
}

impl Default for Config<'_> {
    fn default() -> Self {
        Self { tag: "string", note: "string", horizon: "7d" }
    }
}

/// What the binary said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Ended with this code.
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// The one JSON document of a program's answer.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}\n--- out\n{}\n--- err\n{}", self.out, self.err))
    }

    #[track_caller]
    fn out_has(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out.contains(word), "`{word}` is not in\n{}", self.out);
        }
        self
    }

    #[track_caller]
    fn err_has(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in\n{}", self.err);
        }
        self
    }
}

/// The binary, with nothing of this process's environment that could change what it does.
fn widerow() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_widerow"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

fn say(args: &[&str]) -> Said {
    Said::of(&widerow().args(args).output().unwrap())
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(world.path("in.jsonl"), events()).unwrap();
        world.configure(Config::default());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, config: Config<'_>) {
        let Config { tag, note, horizon } = config;
        let dir = self.dir.path().display();
        let text = format!(
            r#"version: 1
node: {{ id: test, data_dir: "{dir}/data", threads: 1 }}
admin: {{ listen: "127.0.0.1:0" }}
purge: {{ horizon: {horizon} }}
sources:
  shop: {{ jsonl: {{ path: "{dir}/in.jsonl" }} }}
rows:
  order:
    key: "{{last4(order_no)}}:{{order_no}}"
    root: trade.orders
    tables:
      trade.orders: {{ id: [id], columns: {{ amount: "decimal(18,2)", status: long }} }}
      trade.item: {{ id: [id], many: true, columns: {{ qty: long, tag: {tag} }} }}
lines:
  search:
    row: order
    document:
      id: "{{order_no}}"
      fields:
        amount: trade.orders.amount
        qty: {{ sum: trade.item.qty }}
        tags: {{ join: trade.item.tag, with: "," }}
    sink: {{ jsonl: {{ path: "{dir}/search.jsonl" }} }}
  stored:
    row: order
    document: {{ id: "{{order_no}}", fields: {{ amount: trade.orders.amount, status: trade.orders.status }} }}
    sink: {{ embedded: {{}} }}
  strict:
    row: order
    document: {{ id: "{{order_no}}", fields: {{ note: {{ from: trade.orders.note, as: {note} }} }} }}
    sink: {{ embedded: {{}} }}
"#
        );
        std::fs::write(self.path("config.yaml"), text).unwrap();
    }

    /// The binary on this configuration: `verb` first, then `-c FILE`.
    fn say(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = widerow();
        command.args(args).arg("-c").arg(self.path("config.yaml")).current_dir(self.dir.path());
        command
    }

    /// The answer as JSON.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        self.say(&[args, &["-o", "json"]].concat()).ends(0).json()
    }

    /// Reads the events to their end.
    #[track_caller]
    fn run(&self) -> Value {
        self.say(&["run", "--until-idle"]).ends(0).json()
    }

    /// The last write of each document in the sink's file.
    fn written(&self) -> std::collections::BTreeMap<String, Value> {
        lines(&self.path("search.jsonl")).into_iter().map(|w| (w["id"].as_str().unwrap().to_owned(), w["doc"].clone())).collect()
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Orders 1 to 5 with two items each, in Maxwell's form; order 5 loses an item again, item 21's tag is a word, order 4's
/// note is one.
fn events() -> String {
    let mut out = String::new();
    let mut offsets = std::collections::HashMap::new();
    let mut event = |table: &str, kind: &str, data: Value| {
        let offset: &mut i64 = offsets.entry(table.to_owned()).or_insert(0);
        let body = serde_json::json!({ "database": "trade", "table": table, "type": kind, "ts": 1_740_794_400, "data": data });
        let line = serde_json::json!({
            "topic": format!("trade.{table}"), "partition": 0, "offset": *offset, "key": null, "value": body.to_string()
        });
        *offset += 1;
        out.push_str(&format!("{line}\n"));
    };
    for order in 1..=5_i64 {
        let note = if order == 4 { "call first".to_owned() } else { order.to_string() };
        let amount = format!("{order}0.50");
        let row =
            serde_json::json!({ "id": order, "order_no": format!("2308{order}"), "amount": amount, "status": 1, "note": note });
        event("orders", "insert", row);
        for item in [order * 10, order * 10 + 1] {
            let tag = if item == 21 { "red".to_owned() } else { item.to_string() };
            let row = serde_json::json!({ "id": item, "order_no": format!("2308{order}"), "qty": item, "tag": tag });
            event("item", "insert", row);
        }
    }
    event("item", "delete", serde_json::json!({ "id": 51, "order_no": "23085", "qty": 51, "tag": "51" }));
    out
}

/// Asks until the answer is as wanted, or the deadline has passed.
#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Asks it to end, as an init system does, and takes what it said.
    fn end(mut self) -> Said {
        let asked = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.wait()
    }

    fn wait(&mut self) -> Said {
        let out = self.0.stdout.take();
        let err = self.0.stderr.take();
        let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                if let Some(mut pipe) = pipe {
                    let _ = pipe.read_to_string(&mut text);
                }
                text
            })
        };
        let out = read(out.map(|pipe| Box::new(pipe) as _));
        let err = read(err.map(|pipe| Box::new(pipe) as _));
        let status = until("the process ends", || self.0.try_wait().unwrap());
        Said { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
