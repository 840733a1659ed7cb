//! Goal: what the documents tell people to type works.
//!
//! Method: the fenced blocks of README.md and docs/, page by page in the order they stand, in a folder of their own. A
//! `yaml` block that begins with `# NAME.yaml` becomes that file; one that begins with `version:` must load. A `sh` block is
//! run, every line must end well; where the line after `sh` holds a word of [`NOT_RUN`], its lines are only read: verbs and
//! flags by the program's own parser, configurations by its loader, chores against what `./dev` lists.

use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use widerow::cli::args::Cli;
use widerow::settings;

/// Blocks that cannot run here, by the word behind `sh`, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("dev", "builds, installs, or starts real servers: `./dev test` and `./dev chaos` do these"),
    ("node", "asks a node that runs on real systems"),
];

/// What a person's own folder holds: the events that README.md speaks of.
const EVENTS: &str = r#"{"topic":"trade.orders","partition":0,"offset":0,"key":null,"value":"{\"database\":\"trade\",\"table\":\"orders\",\"type\":\"insert\",\"ts\":1740794400,\"data\":{\"id\":1,\"order_no\":\"2308\",\"status\":1,\"amount\":\"8.80\"}}"}
{"topic":"trade.order_item","partition":0,"offset":0,"key":null,"value":"{\"database\":\"trade\",\"table\":\"order_item\",\"type\":\"insert\",\"ts\":1740794400,\"data\":{\"id\":7,\"order_no\":\"2308\",\"qty\":2}}"}
"#;

/// One fenced block: the words behind the fence, its lines, the line it begins on.
struct Block {
    words: String,
    lines: Vec<String>,
    line: usize,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/how-to"] {
        let inside = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(inside.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    pages.sort();
    pages
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (n, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(words) if !open => {
                blocks.push(Block { words: words.trim().to_owned(), lines: Vec::new(), line: n + 1 });
                open = true;
            }
            Some(_) => open = false,
            None if open => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    assert!(!open, "a fence is not closed");
    blocks
}

/// A line of a shell, in a folder, with `widerow` being ours.
fn shell(line: &str, folder: &Path) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_widerow")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-euc", line]).current_dir(folder).env_clear().env("PATH", path).stdin(Stdio::null());
    command.output().unwrap()
}

/// The words a command of ours would get, by the shell's own reading.
fn words(line: &str, folder: &Path) -> Vec<String> {
    let spell = "widerow() { printf '%s\\n' widerow \"$@\"; }; ";
    let output = shell(&format!("{spell}{line}"), folder);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Reads a line that cannot run.
fn read(line: &str, chores: &str) -> Result<(), String> {
    for command in line.split(" && ") {
        let command = command.split(" #").next().unwrap_or(command).trim().replace("target/debug/widerow", "widerow");
        let first = command.split(' ').next().unwrap_or_default();
        match first {
            "" | "cargo" | "curl" => {}
            "./dev" => {
                let verb = command.split(' ').nth(1).unwrap_or_default();
                let known = |line: &str| line.strip_prefix("  ").is_some_and(|l| l.split([' ', '|']).any(|w| w == verb));
                if !chores.lines().any(known) {
                    return Err(format!("`./dev` lists no `{verb}`"));
                }
            }
            "widerow" => {
                let words = words(&command, root());
                Cli::try_parse_from(&words).map_err(|error| error.to_string())?;
                for pair in words.windows(2).filter(|pair| pair[0] == "-c") {
                    let env = |_: &str| None;
                    settings::load(&[root().join(&pair[1])], &env).map_err(|found| format!("{}: {found:?}", pair[1]))?;
                }
            }
            other => return Err(format!("`{other}` is neither ours nor known here")),
        }
    }
    Ok(())
}

fn try_page(page: &Path, chores: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.jsonl"), EVENTS).unwrap();
    // Lines set variables for the lines after them.
    let mut exports = String::from("export WIDEROW_LOG=error\n");
    let mut wrong = Vec::new();
    for block in blocks(&std::fs::read_to_string(page).unwrap()) {
        let mut complain = |line: usize, what: String| {
            let page = page.strip_prefix(root()).unwrap().display();
            wrong.push(format!("{page}:{}: {what}", block.line + line + 1));
        };
        let (kind, why) = block.words.split_once(' ').unwrap_or((&block.words, ""));
        let text = block.lines.join("\n");
        match kind {
            "yaml" => match block.lines.first().and_then(|line| line.strip_prefix("# ")?.strip_suffix(".yaml")) {
                Some(name) => {
                    // Pages run side by side, and beside whatever listens on this machine.
                    let whole = text.contains("version: 1") && !text.contains("admin:");
                    let any_port = if whole { "\nadmin: { listen: \"127.0.0.1:0\" }\n" } else { "" };
                    std::fs::write(folder.path().join(format!("{name}.yaml")), text + any_port).unwrap();
                }
                None => {
                    if let Err(found) = settings::load_text("block", &text, &|_| None) {
                        complain(0, format!("{found:?}"));
                    }
                }
            },
            "sh" if why.is_empty() => {
                for (n, line) in block.lines.iter().enumerate() {
                    let said = shell(&format!("{exports}{line}"), folder.path());
                    if line.starts_with("export ") {
                        exports.push_str(&format!("{line}\n"));
                    }
                    if !said.status.success() {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        complain(n, format!("{line}\n{:?}\n{}{}", said.status.code(), text(&said.stdout), text(&said.stderr)));
                    }
                }
            }
            "sh" => {
                if !NOT_RUN.iter().any(|(word, _)| *word == why) {
                    complain(0, format!("`{why}` is no reason of NOT_RUN"));
                }
                for (n, line) in block.lines.iter().enumerate() {
                    if let Err(what) = read(line, chores) {
                        complain(n, what);
                    }
                }
            }
            "text" | "json" => {}
            other => complain(0, format!("a block of `{other}`: write yaml, sh, json or text")),
        }
    }
    wrong
}

/// Goal: every command of every page does what it says. Method: as the header says; pages do not share a folder, so they go
/// side by side.
#[test]
fn every_command_works() {
    let listed = Command::new("./dev").current_dir(root()).output().unwrap();
    let chores = String::from_utf8_lossy(&[listed.stdout, listed.stderr].concat()).into_owned();
    let pages = pages();
    assert!(pages.len() >= 10, "{pages:?}");
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let tried: Vec<_> = pages.iter().map(|page| scope.spawn(|| try_page(page, &chores))).collect();
        tried.into_iter().flat_map(|page| page.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Goal: the reader of lines that are not run finds faults. Method: a table of good and bad lines.
#[test]
fn lines_are_read() {
    let chores = "usage: ./dev VERB\n\n  stack up|down\n  test quick\n";
    for good in [
        "./dev stack up redis  # a word",
        "widerow top --times 1 # look",
        "cargo build && target/debug/widerow run -c config/shop.yaml",
    ] {
        assert_eq!(read(good, chores), Ok(()), "{good}");
    }
    for (bad, word) in
        [("./dev stak", "stak"), ("widerow dance", "dance"), ("widerow run -c config/none.yaml", "none.yaml"), ("rm -r x", "rm")]
    {
        assert!(read(bad, chores).unwrap_err().contains(word), "{bad}");
    }
}
