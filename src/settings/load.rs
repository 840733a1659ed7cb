//! From files to settings: read, lay over each other, fill variables, check shape, check meaning.
//!
//! Keeps 3-interfaces 3.2: every finding at once. Only what makes the rest unreadable (a file that is not YAML) stops
//! before the end. Relative paths, of configuration files and in them, start at the working directory.

use super::build;
use super::findings::{Code, Finding, Findings};
use super::merge;
use super::origin::Origin;
use super::read::At;
use super::settings::Settings;
use super::shape::Shaper;
use super::spec::{self, DEFAULT_YAML};
use super::tree::{self, Entry, File, Node, Place, Value};
use super::vars::{self, Env};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Files at most, folders opened.
const FILES_MAX: usize = 1000;

/// A configuration that can run.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub warnings: Vec<Finding>,
    /// The effective values, and where each came from.
    pub origin: Origin,
}

/// Loads `files` in order; a folder stands for its `*.yaml` in name order. `env` looks up environment variables.
///
/// # Errors
/// Everything found, warnings included, in the order of the files; at least one of them is an error.
pub fn load(files: &[PathBuf], env: Env<'_>) -> Result<Loaded, Vec<Finding>> {
    let mut findings = Findings::default();
    findings.files.push(File { path: "config/default.yaml".to_owned(), text: DEFAULT_YAML.into() });
    let mut trees = Vec::new();
    let mut whole = true;
    for path in expanded(files, &mut findings) {
        match read(&path, &mut findings) {
            Some(tree) => trees.push(tree),
            None => whole = false,
        }
    }
    if !whole || trees.is_empty() {
        return Err(findings.finish());
    }
    finish(trees, env, findings)
}

/// Loads one text under a name, as if it were the only file.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: &str, env: Env<'_>) -> Result<Loaded, Vec<Finding>> {
    let mut findings = Findings::default();
    findings.files.push(File { path: "config/default.yaml".to_owned(), text: DEFAULT_YAML.into() });
    let text = without_mark(text);
    let file = add_file(Path::new(name), text, &mut findings);
    match tree::parse(file, text, &mut findings) {
        Some(tree) => finish(vec![tree], env, findings),
        None => Err(findings.finish()),
    }
}

/// The tree of `config/default.yaml`, its variables not yet filled.
pub fn defaults() -> &'static Node {
    static DEFAULTS: LazyLock<Node> = LazyLock::new(|| {
        let empty = || Node { place: Place::default(), value: Value::Map(Vec::new()) };
        // The file is compiled in and a test reads it, so this cannot be empty.
        tree::parse(0, DEFAULT_YAML, &mut Findings::default()).unwrap_or_else(empty)
    });
    &DEFAULTS
}

fn finish(trees: Vec<Node>, env: Env<'_>, mut findings: Findings) -> Result<Loaded, Vec<Finding>> {
    let spec = spec::root();
    let mut trees = trees.into_iter();
    let Some(mut written) = trees.next() else { return Err(findings.finish()) };
    for over in trees {
        merge::overlay(Some(spec), &mut written, over);
    }
    vars::fill(&mut written, env, &mut findings);
    let mut default = defaults().clone();
    vars::fill(&mut default, env, &mut findings);
    let top = Place { line: 1, column: 1, len: 1, ..written.place };
    let named = |value: Node| Entry { key: "configuration".to_owned(), key_place: top, value };
    let mut shaper = Shaper { findings: &mut findings, env, secrets: HashMap::new(), quiet: false, path: Vec::new() };
    let filled = shaper.fill(spec, Some(&named(written)), Some(&named(default)), top);
    let secrets = shaper.secrets;
    let settings = build::build(At(filled.as_ref()), &secrets, &mut findings);
    let paths = findings.files.iter().map(|f| f.path.clone()).collect();
    let failed = findings.has_errors();
    let found = findings.finish();
    match filled {
        Some(filled) if !failed => Ok(Loaded { settings, warnings: found, origin: Origin::new(filled.value, paths) }),
        _ => Err(found),
    }
}

fn expanded(files: &[PathBuf], findings: &mut Findings) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for path in files {
        if !path.is_dir() {
            out.push(path.clone());
            continue;
        }
        match yaml_files(path) {
            Ok(inside) if inside.is_empty() => unreadable(path, "this folder holds no *.yaml", findings),
            Ok(inside) => out.extend(inside),
            Err(error) => unreadable(path, &error.to_string(), findings),
        }
    }
    if files.is_empty() {
        unreadable(Path::new("(no file)"), "no configuration was given", findings);
    }
    if out.len() > FILES_MAX {
        unreadable(&out[FILES_MAX], &format!("more than {FILES_MAX} files"), findings);
        out.clear();
    }
    out
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml") && path.is_file() {
            inside.push(path);
        }
    }
    inside.sort();
    Ok(inside)
}

fn read(path: &Path, findings: &mut Findings) -> Option<Node> {
    // The size is asked first, so that a wrong path to a huge file costs nothing.
    let size = std::fs::metadata(path).map(|meta| meta.len());
    if size.as_ref().is_ok_and(|size| *size > tree::FILE_BYTES_MAX as u64) {
        let file = add_file(path, "", findings);
        let message = format!("a configuration file may have {} bytes", tree::FILE_BYTES_MAX);
        findings.add(Code::TooBig, Place::of_file(file), message);
        return None;
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let text = without_mark(&text);
            let file = add_file(path, text, findings);
            tree::parse(file, text, findings)
        }
        Ok(Err(_)) => {
            unreadable(path, "this file is not UTF-8", findings);
            None
        }
        Err(error) => {
            unreadable(path, &error.to_string(), findings);
            None
        }
    }
}

/// Without the byte order mark that some editors write first.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn add_file(path: &Path, text: &str, findings: &mut Findings) -> u16 {
    findings.files.push(File { path: path.display().to_string(), text: text.into() });
    u16::try_from(findings.files.len() - 1).unwrap_or(u16::MAX)
}

fn unreadable(path: &Path, why: &str, findings: &mut Findings) {
    let file = add_file(path, "", findings);
    let finding = findings.add(Code::Unreadable, Place::of_file(file), format!("cannot be read: {why}"));
    finding.help("`-c` takes a file or a folder of *.yaml; paths start at the working directory");
}
