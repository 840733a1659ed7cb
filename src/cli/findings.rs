//! Findings for a terminal, a pipe or a program: message, `--> file:line:column`, the line with carets, what to do.
//!
//! Knows nothing of how findings are made.

use crate::settings::{Finding, Severity};
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[1;34m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// All findings as text, one block each, with a line of totals at the end. `colour` is for terminals.
pub fn text(findings: &[Finding], colour: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        block(finding, colour, &mut out);
        out.push('\n');
    }
    out.push_str(&totals(findings));
    out
}

/// All findings as one JSON object: `findings`, `errors`, `warnings`.
pub fn value(findings: &[Finding]) -> serde_json::Value {
    let errors = findings.iter().filter(|f| f.is_error()).count();
    serde_json::json!({ "findings": findings, "errors": errors, "warnings": findings.len() - errors })
}

/// The same as text, one document.
pub fn json(findings: &[Finding]) -> String {
    format!("{}\n", value(findings))
}

fn block(finding: &Finding, colour: bool, out: &mut String) {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (word, tone) = match finding.severity {
        Severity::Error => ("error", paint(RED)),
        Severity::Warning => ("warning", paint(YELLOW)),
    };
    let (blue, bold, reset) = (paint(BLUE), paint(BOLD), paint(RESET));
    let code = finding.code.as_str();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{tone}{word}[{code}]{reset}{bold}: {}{reset}", finding.message);
    if finding.line == 0 {
        let _ = writeln!(out, "  {blue}-->{reset} {}", finding.file);
    } else {
        let _ = writeln!(out, "  {blue}-->{reset} {}:{}:{}", finding.file, finding.line, finding.column);
    }
    let number = finding.line.to_string();
    let gutter = " ".repeat(number.len() + 1);
    if let Some(snippet) = &finding.snippet {
        let before: String = snippet.text.chars().take(snippet.start).collect();
        let under: usize = snippet.text.chars().skip(snippet.start).take(snippet.len).map(|c| c.width().unwrap_or(0)).sum();
        let (indent, carets) = (" ".repeat(before.width()), "^".repeat(under.max(1)));
        let label = finding.label.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{gutter}{blue}|{reset}");
        let _ = writeln!(out, "{blue}{number} |{reset} {}", snippet.text);
        let line = format!("{indent}{tone}{carets} {label}");
        let _ = writeln!(out, "{gutter}{blue}|{reset} {}{reset}", line.trim_end());
    }
    if let Some(help) = &finding.help {
        let _ = writeln!(out, "{gutter}{blue}={reset} help: {help}");
    }
}

fn totals(findings: &[Finding]) -> String {
    let count = |wanted: Severity, word: &str| match findings.iter().filter(|f| f.severity == wanted).count() {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let parts: Vec<String> =
        [count(Severity::Error, "error"), count(Severity::Warning, "warning")].into_iter().flatten().collect();
    if parts.is_empty() { "nothing found\n".to_owned() } else { format!("{}\n", parts.join(", ")) }
}

#[cfg(test)]
mod tests;
