//! `config reference`: everything a user may write, ask or read, as one page made from the code's own lists.
//!
//! `docs/reference.md` is what it prints, and a test holds the two together. Knows no fact of its own.

use super::args::Cli;
use super::exit::Exit;
use crate::admin::server::{Access, Answers, ROUTES, Verb};
use crate::domain::fault::FaultKind;
use crate::settings::findings::{Code, Severity};
use crate::settings::reference;
use crate::telemetry::METRICS;
use clap::{Command, CommandFactory};
use std::fmt::Write;

/// Columns of a help text on the page.
const WIDTH: usize = 100;

/// The page, as Markdown.
pub fn page() -> String {
    let mut out = String::from(
        "# Reference\n\n\
         Made from the code by `widerow config reference`; do not edit it. In order: \
         [settings](#settings), [findings](#findings), [verbs](#verbs), [exit codes](#exit-codes), \
         [admin endpoint](#admin-endpoint), [metrics](#metrics), [faults](#faults).\n",
    );
    settings(&mut out);
    findings(&mut out);
    verbs(&mut out);
    routes(&mut out);
    metrics(&mut out);
    out
}

/// A heading, a sentence and the head of a table. Writing to a text cannot fail, here and below.
fn begin(out: &mut String, heading: &str, says: &str, columns: &[&str]) {
    let _ = write!(out, "\n## {heading}\n\n{says}\n");
    table(out, columns);
}

fn table(out: &mut String, columns: &[&str]) {
    let _ = write!(out, "\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
}

fn row<const N: usize>(out: &mut String, cells: [String; N]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn settings(out: &mut String) {
    let says = "`NAME` is a name of the user's choosing. A single value without a default must be written wherever its map is; \
                of the forms of a document's field one is. `widerow config explain KEY` tells the same of one key, \
                `widerow config schema` of all, for editors.";
    let _ = write!(out, "\n## Settings\n\n{says}\n");
    let mut section = "";
    for key in reference::keys() {
        let first = key.path.split('.').next().unwrap_or_default();
        if first != section {
            section = first;
            let _ = write!(out, "\n### `{section}`\n");
            table(out, &["key", "takes", "default", "what it is"]);
        }
        row(out, [code(&key.path.replace('*', "NAME")), plain(&key.takes), code(&key.default), plain(key.doc)]);
    }
}

fn findings(out: &mut String) {
    begin(out, "Findings", "What `widerow check` can find in a configuration.", &["code", "weight", "what"]);
    for finding in Code::ALL {
        let weight = if finding.severity() == Severity::Error { "error" } else { "warning" };
        row(out, [code(finding.as_str()), weight.to_owned(), plain(finding.doc())]);
    }
}

fn verbs(out: &mut String) {
    out.push_str("\n## Verbs\n\nThe options of every verb stand under the first.\n");
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    help(&mut command, "widerow", false, out);
    begin(out, "Exit codes", "How every verb ends.", &["code", "meaning"]);
    for exit in Exit::ALL {
        row(out, [exit.code().to_string(), exit.meaning().to_owned()]);
    }
}

/// The help of a command, and of everything below it without what was said above.
fn help(command: &mut Command, name: &str, below: bool, out: &mut String) {
    let mut shown = command.clone();
    if below {
        shown = shown.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
    }
    let _ = write!(out, "\n### `{name}`\n\n```text\n");
    for line in shown.render_long_help().to_string().trim_end().lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push_str("```\n");
    for next in command.get_subcommands_mut().filter(|next| next.get_name() != "help") {
        let name = format!("{name} {}", next.get_name());
        help(next, &name, true, out);
    }
}

fn routes(out: &mut String) {
    let says = "At `admin.listen`. Fields stand in the query, or as JSON in the body of a `POST`, which also takes `reason` for \
                the audit log. Answers are JSON unless the table says otherwise; errors are `application/problem+json` with a \
                code. `/openapi.json` is this list for programs.\n\n\
                Token: *none* is open to all; *read* asks for the token where other machines can reach the endpoint; *change* \
                asks for it where one is set.";
    begin(out, "Admin endpoint", says, &["route", "token", "answers", "fields"]);
    for route in ROUTES {
        let verb = if route.verb == Verb::Get { "GET" } else { "POST" };
        let access = match route.access {
            Access::Open | Access::SignIn => "none",
            Access::Read => "read",
            Access::Change => "change",
        };
        let form = match route.answers {
            Answers::Json => "",
            Answers::JsonLines => " (one object a line, as they come)",
            Answers::Prometheus => " (Prometheus text)",
            Answers::Html => " (HTML)",
            Answers::Css | Answers::Script => " (text)",
        };
        let fields: Vec<String> = route.params.iter().map(|p| format!("`{}`: {}", p.name, plain(p.says))).collect();
        let path = route.path.replace(":.+}", "}");
        row(out, [code(&format!("{verb} {path}")), access.to_owned(), format!("{}{form}", plain(route.says)), fields.join("; ")]);
    }
}

fn metrics(out: &mut String) {
    begin(out, "Metrics", "At `/metrics`. A row key is never a label.", &["metric", "kind", "labels", "what it tells"]);
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        row(out, [code(metric.name), kind, code(&metric.labels.join(", ")), plain(metric.help)]);
    }
    begin(
        out,
        "Faults",
        "What can go wrong with another system, as it stands in labels and logs, and what is done then.",
        &["fault", "what is done"],
    );
    for kind in FaultKind::ALL {
        row(out, [code(kind.label()), kind.advice().says().to_owned()]);
    }
}

#[cfg(all(test, feature = "elasticsearch", feature = "hbase", feature = "kafka", feature = "redis"))]
mod tests {
    use super::*;

    /// Goal: the page in `docs` is what the code says. Method: made anew and compared, line by line.
    #[test]
    fn the_page_is_as_printed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
        let recorded = std::fs::read_to_string(path).unwrap_or_default();
        let page = page();
        let renew = "renew it: cargo run -q -- config reference > docs/reference.md";
        let differs = page.lines().zip(recorded.lines()).find(|(now, then)| now != then);
        assert_eq!(differs, None, "(code, docs/reference.md); {renew}");
        assert_eq!(page.len(), recorded.len(), "docs/reference.md is longer or shorter; {renew}");
    }

    /// Goal: nothing is left out. Method: each list of the code searched on the page.
    #[test]
    fn the_page_is_whole() {
        let page = page();
        let keys = crate::settings::spec::KEYS.iter().map(|key| format!("`{}`", key.path.replace('*', "NAME")));
        let metrics = METRICS.iter().map(|metric| format!("`{}`", metric.name));
        let codes = Code::ALL.iter().map(|code| format!("`{}`", code.as_str()));
        for wanted in keys.chain(metrics).chain(codes).chain(["### `widerow epoch bump`".to_owned()]) {
            assert!(page.contains(&wanted), "{wanted}");
        }
    }
}
