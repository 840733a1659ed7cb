//! Goal: no text makes the loader panic, and each answer is whole. Method: arbitrary texts, and good files broken at random.

use super::*;
use crate::cli::{config, findings};
use crate::settings::spec::DEFAULT_YAML;
use proptest::prelude::*;

fn answers(text: &str) {
    match load_text("fuzz.yaml", text, &env) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|f| !f.is_error()));
            config::show(&loaded, config::Form::Yaml, true);
            config::show(&loaded, config::Form::Json, true);
        }
        Err(found) => {
            assert!(found.iter().any(Finding::is_error), "refused without an error");
            assert!(found.iter().all(|f| !f.file.is_empty()), "a finding without its file: {found:#?}");
            findings::text(&found, true);
        }
    }
}

/// One change of a text: cut, double, replace or insert at a place.
fn broken(text: &str, changes: &[(prop::sample::Index, u8, &'static str)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, how, insert) in changes {
        if chars.is_empty() {
            break;
        }
        let at = at.index(chars.len());
        let end = (at + 1 + usize::from(how % 40)).min(chars.len());
        match how % 4 {
            0 => drop(chars.drain(at..end)),
            1 => {
                let part = chars[at..end].to_vec();
                chars.splice(at..at, part);
            }
            2 => drop(chars.splice(at..end, insert.chars())),
            _ => drop(chars.splice(at..at, insert.chars())),
        }
    }
    chars.into_iter().collect()
}

const PIECES: &[&str] = &[
    "\n",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "<<",
    "!t ",
    "|",
    ">",
    "? ",
    "%",
    "${",
    "$",
    "~",
    "none",
    "\t",
    "\u{0}",
    "\u{feff}",
    "门",
    "---\n",
    "...",
    "0",
    "-1",
    "1e9",
    "99999999999999999999",
    "secret://env/TOKEN",
    "*",
    ".",
    "strict: [a]",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_texts(text in "\\PC{0,200}") {
        answers(&text);
    }

    #[test]
    fn yaml_like_texts(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        answers(&pieces.concat());
    }

    #[test]
    fn broken_files(
        which in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), prop::sample::select(PIECES)), 1..6),
    ) {
        let text = [DEFAULT_YAML, DEMO, ORDER, BASE][which];
        answers(&broken(text, &changes));
    }
}

/// Goal: depth cannot exhaust the stack. Method: the deepest texts each bracket can make.
#[test]
fn deep_texts_are_refused() {
    for piece in ["[", "{a: ", "- ", "? ", "${A:-"] {
        let text = format!("node:\n  {}", piece.repeat(100_000));
        assert!(load_text("deep.yaml", &text, &env).is_err(), "{piece} without end was accepted");
    }
}
