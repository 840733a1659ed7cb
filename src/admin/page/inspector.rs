//! The row inspector: a row's cells, version, and what became of it in every sink.

use super::shown::age;
use crate::admin::answers::{Agreement, Office, Problem, RowAnswer, WhyAnswer};
use crate::admin::client::with_query;
use serde_json::value::RawValue;

/// Row keys offered where none was asked for.
const EXAMPLES: usize = 6;

/// What the inspector shows.
pub struct Inspector {
    pub kinds: Vec<String>,
    pub kind: String,
    pub key: String,
    pub examples: Vec<Example>,
    pub problem: Option<String>,
    pub found: Option<Found>,
}

/// A row to begin with.
pub struct Example {
    pub kind: String,
    pub key: String,
    pub href: String,
}

/// One row.
pub struct Found {
    pub row: RowAnswer,
    pub entity: Option<String>,
    pub lines: Vec<LineShown>,
}

/// One line's side of the row.
pub struct LineShown {
    pub line: String,
    pub agreement: &'static str,
    /// `ok`, `warn` or `bad`.
    pub tone: &'static str,
    pub says: String,
    pub jobs: Vec<String>,
    pub id: Option<String>,
    pub would: Option<String>,
    pub sink: String,
    pub held_version: Option<String>,
    pub held: Option<String>,
}

/// Looks a row up by its key, or by the value of its one key column.
pub async fn inspect(office: &Office, kind: Option<&str>, key: Option<&str>) -> Inspector {
    let kinds: Vec<String> = office.settings.schema.kinds.iter().map(|k| k.name.to_string()).collect();
    let kind = kind.map(str::to_owned).or_else(|| kinds.first().cloned()).unwrap_or_default();
    let mut inspector =
        Inspector { kinds, kind, key: key.unwrap_or_default().to_owned(), examples: Vec::new(), problem: None, found: None };
    match key {
        Some(key) => match find(office, &inspector.kind, key).await {
            Ok(why) => {
                inspector.key.clone_from(&why.row.key);
                inspector.found = Some(shown(why));
            }
            Err(problem) => inspector.problem = Some(problem.to_string()),
        },
        None => inspector.examples = examples(office, &inspector.kinds).await,
    }
    inspector
}

async fn find(office: &Office, kind: &str, key: &str) -> Result<WhyAnswer, Problem> {
    let why = office.why(kind, key).await?;
    if why.row.exists {
        return Ok(why);
    }
    if let [column] = office.kind(kind)?.key_columns.as_slice() {
        let made = office.row_key(kind, &[(column.to_string(), key.to_owned())])?;
        let by_column = office.why(kind, made.as_str()).await?;
        if by_column.row.exists {
            return Ok(by_column);
        }
    }
    // The office's own words on a row that is not there; a buried job of it is shown all the same.
    if why.lines.iter().all(|line| line.jobs.is_empty()) { office.row(kind, key).await.map(|_| why) } else { Ok(why) }
}

async fn examples(office: &Office, kinds: &[String]) -> Vec<Example> {
    let mut examples = Vec::new();
    for kind in kinds {
        let each = EXAMPLES.div_ceil(kinds.len().max(1));
        // Where the store does not answer, the rest of the page says so.
        if let Ok(page) = office.row_keys(kind, None, each).await {
            examples.extend(page.keys.into_iter().map(|key| Example {
                href: format!("{}#inspector", with_query("/", &[("kind", kind), ("key", &key)])),
                kind: kind.clone(),
                key,
            }));
        }
    }
    examples
}

fn shown(why: WhyAnswer) -> Found {
    let lines = why.lines.into_iter().map(|line| LineShown {
        tone: match line.agreement {
            Agreement::UpToDate => "ok",
            Agreement::Behind | Agreement::Unknown => "warn",
            Agreement::Missing | Agreement::Ahead => "bad",
        },
        agreement: line.agreement.label(),
        says: line.says,
        jobs: line
            .jobs
            .iter()
            .map(|job| {
                let reason = job.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!(
                    "{} in lane {}, first offered {} ago, {} tries{reason}",
                    job.state,
                    job.lane,
                    age(job.age_ms),
                    job.attempts
                )
            })
            .collect(),
        id: line.wish.id,
        would: line.wish.document.as_deref().map(pretty).or(line.wish.problem),
        sink: line.sink.kind,
        held_version: line.sink.version,
        held: line.sink.document.as_deref().map(pretty),
        line: line.line,
    });
    Found {
        lines: lines.collect(),
        entity: why
            .entity
            .map(|e| format!("{}, {} messages, {} bytes", if e.idle { "idle" } else { "working" }, e.messages, e.bytes)),
        row: why.row,
    }
}

/// JSON text with one field a line, every number as it stands: it is laid out by its brackets, never parsed.
fn pretty(json: &RawValue) -> String {
    let mut out = String::new();
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut chars = json.get().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = chars.next() {
        if in_text {
            out.push(c);
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                in_text = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                if chars.peek().is_some_and(|next| !matches!(next, '}' | ']')) {
                    depth += 1;
                    line(&mut out, depth);
                } else if let Some(end) = chars.next() {
                    out.push(end);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: layout never changes a value. Method: strings with brackets and escapes, long digits, empty containers.
    #[test]
    fn layout_keeps_every_digit() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let got = pretty(&raw(r#"{"a":8.800,"b":"x,{\"y\":1}\\","c":[],"d":[1,{}]}"#));
        assert_eq!(
            got,
            "{\n  \"a\": 8.800,\n  \"b\": \"x,{\\\"y\\\":1}\\\\\",\n  \"c\": [],\n  \"d\": [\n    1,\n    {}\n  ]\n}"
        );
    }
}
