//! Goal: what the documents show works. Method: every YAML block that begins with `version:` loads without a finding; every
//! `widerow` command line of a shell block is one the command line accepts.

use clap::Parser;
use widerow::cli::args::Cli;
use widerow::settings;

const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", include_str!("../../README.md")),
    ("docs/concepts.md", include_str!("../../docs/concepts.md")),
    ("docs/formats.md", include_str!("../../docs/formats.md")),
    ("docs/sinks.md", include_str!("../../docs/sinks.md")),
];

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    text.split("```").skip(1).step_by(2).filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

#[test]
fn configurations_load() {
    let mut seen = 0;
    for (name, text) in DOCUMENTS {
        for block in blocks(text, "yaml").filter(|block| block.starts_with("version:")) {
            seen += 1;
            match settings::load_text(name, block, &|_| None) {
                Ok(loaded) => assert!(loaded.warnings.is_empty(), "{name}: {:#?}", loaded.warnings),
                Err(found) => panic!("{name}: {found:#?}"),
            }
        }
    }
    assert!(seen > 0, "the README shows a configuration");
}

#[test]
fn commands_are_accepted() {
    let mut seen = 0;
    for (name, text) in DOCUMENTS {
        for line in blocks(text, "sh").flat_map(str::lines) {
            let line = line.split(" # ").next().unwrap_or_default().split("  #").next().unwrap_or_default();
            if line.starts_with("widerow ") {
                seen += 1;
                Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
            }
        }
    }
    assert!(seen > 3, "the README shows commands");
}
