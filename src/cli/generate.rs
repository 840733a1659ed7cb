//! `generate`: the made-up shop's records as a file, the documents they must end as, and a configuration that runs them.

use super::args::{Generate, Global};
use super::exit::Exit;
use super::progress::Meter;
use super::{demo, out, run};
use crate::domain::fault::{Fault, FaultKind};
use crate::settings::GeneratorSettings;
use crate::supervisor::wiring::shop::{self, Recorded};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What was written.
#[derive(Debug, Serialize)]
struct Generated {
    records: PathBuf,
    expected: PathBuf,
    config: PathBuf,
    #[serde(flatten)]
    recorded: Recorded,
}

/// Runs the verb.
pub fn run(args: &Generate, global: &Global) -> Exit {
    match generate(args) {
        Ok(done) => out::answer(global, &done, text),
        Err(fault) => run::refused(&fault),
    }
}

fn generate(args: &Generate) -> Result<Generated, Fault> {
    let folder = &args.out;
    let wrong = |path: &Path, e: std::io::Error| {
        Fault::new(FaultKind::Full, path.display().to_string(), format!("cannot be written: {e}"))
    };
    std::fs::create_dir_all(folder).map_err(|e| wrong(folder, e))?;
    let (records, expected, config) = (folder.join("records.jsonl"), folder.join("expected.json"), folder.join("config.yaml"));
    let settings = GeneratorSettings {
        seed: args.seed,
        entities: args.entities,
        events: Some(args.events),
        rate: None,
        disorder: args.disorder,
        duplicates: args.duplicates,
        partitions: args.partitions,
        format: args.format.into(),
        skew: args.skew,
        hot: args.hot,
        big: args.big,
        replay: 0.0,
    };
    std::fs::write(&config, configuration(folder)).map_err(|e| wrong(&config, e))?;
    let mut meter = Meter::new();
    let recorded = shop::record(&settings, &records, &expected, |n| meter.show(|| format!("{n} records written")))?;
    Ok(Generated { records, expected, config, recorded })
}

/// The demo's configuration with the recording as its source, and a file per line as its sinks.
fn configuration(folder: &Path) -> String {
    let quoted = |name: &str| serde_json::Value::from(folder.join(name).display().to_string()).to_string();
    let mut out = String::from("# The generated shop: its records into one file of documents per line.\n");
    let mut section = "";
    let mut line = "";
    for text in demo::CONFIG.lines().skip_while(|text| text.starts_with('#')) {
        let depth = text.len() - text.trim_start().len();
        let key = text.trim_start().split(':').next().unwrap_or_default();
        if depth == 0 && !text.is_empty() {
            section = key;
        }
        if depth == 2 {
            line = key;
        }
        match (section, key) {
            ("sources", "sources") => {
                out.push_str(&format!("sources:\n  shop: {{ jsonl: {{ path: {} }} }}\n\n", quoted("records.jsonl")));
            }
            ("sources", _) => {}
            ("node", "data_dir") => out.push_str(&format!("  data_dir: {}\n", quoted("data"))),
            ("lines", "sink") => {
                out.push_str(&format!("    sink: {{ jsonl: {{ path: {} }} }}\n", quoted(&format!("{line}.jsonl"))));
            }
            _ => out.push_str(&format!("{text}\n")),
        }
    }
    // It is tried out beside whatever else runs on this machine.
    out.push_str("\nadmin: { listen: \"127.0.0.1:0\" }\n");
    out
}

fn text(done: &Generated) -> String {
    let Recorded { records, events, documents } = done.recorded;
    format!(
        "{records} records of {events} row changes in {}\n{documents} documents they must end as in {}\nrun them: {} run -c {} --until-idle\n",
        done.records.display(),
        done.expected.display(),
        demo::program(),
        done.config.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{SinkKind, SourceKind, load_text};

    /// Goal: the configuration beside the records runs them. Method: it loads without a finding, and names the folder's own
    /// files and no others, also where the folder's name must be quoted.
    #[test]
    fn the_configuration_loads() {
        let folder = Path::new("some: folder \"x\"");
        let text = configuration(folder);
        let loaded = load_text("config.yaml", &text, &|_| None).unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
        assert_eq!(loaded.warnings, []);
        let settings = loaded.settings;
        let [source] = &settings.sources[..] else { panic!("{:?}", settings.sources) };
        assert!(matches!(&source.kind, SourceKind::Jsonl { path } if *path == folder.join("records.jsonl")));
        assert_eq!(settings.node.data_dir, folder.join("data"));
        assert_eq!(settings.lines.len(), 2);
        assert_eq!(settings.admin.listen, "127.0.0.1:0", "it finds a port whatever else runs");
        for line in &settings.lines {
            let path = folder.join(format!("{}.jsonl", line.line.name));
            assert_eq!(line.sink, SinkKind::Jsonl { path });
        }
    }
}
