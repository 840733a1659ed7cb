//! The house rules as a test. The rules are the tables below; how they are held is in `tidy/rules.rs`.
//!
//! Every finding of the whole tree is printed at once, as `file:line: what — remedy`. A new arrow, crate or exception is a
//! line here, and a change of its own.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/self_test.rs"]
mod self_test;
#[path = "tidy/source.rs"]
mod source;

use source::Source;

/// Which rooms a room may name. `main` is `src/main.rs`; `lib` only lists the rooms.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli", "settings", "supervisor", "admin", "telemetry"]),
    ("cli", &["settings", "supervisor", "admin", "ports", "domain", "telemetry"]),
    ("admin", &["messages", "ports", "settings", "telemetry", "domain"]),
    ("supervisor", &["actors", "messages", "ports", "domain", "settings", "telemetry"]),
    ("actors", &["messages", "ports", "domain", "telemetry"]),
    ("io", &["ports", "domain", "telemetry", "settings"]),
    ("messages", &["domain"]),
    ("ports", &["domain"]),
    ("settings", &["domain"]),
    ("telemetry", &["domain"]),
    ("domain", &[]),
];

/// Single files that may name one room more.
const FILE_ARROWS: &[(&str, &str)] = &[("src/supervisor/wiring", "io")];

/// Actors never name each other: they hold a `Recipient` of the next message.
const ACTOR_ROLES: &[&str] = &["partition", "entity", "writer", "offerer", "sink"];

/// Crates that stay in their place. A place is a file without `.rs`, or a folder.
const CRATES: &[(&str, &[&str])] = &[
    ("actix", &["src/messages", "src/actors", "src/supervisor", "src/admin", "src/main"]),
    ("actix_rt", &["src/messages", "src/actors", "src/supervisor", "src/admin", "src/main"]),
    ("actix_web", &["src/messages", "src/actors", "src/supervisor", "src/admin", "src/main"]),
    ("askama", &["src/admin"]),
    ("clap", &["src/cli", "src/main"]),
    ("clap_complete", &["src/cli", "src/main"]),
    ("dashmap", &["src/supervisor/directory"]),
    ("elasticsearch", &["src/io/elasticsearch"]),
    ("fjall", &["src/io/embedded"]),
    ("indicatif", &["src/cli", "src/main"]),
    ("metrics", &["src/telemetry"]),
    ("metrics_exporter_prometheus", &["src/telemetry"]),
    ("mimalloc", &["src/main"]),
    ("mysql_async", &["src/io/mysql"]),
    ("openssl", &["src/io/mysql"]),
    ("prost", &["src/io/asynq", "src/io/hbase"]),
    ("rdkafka", &["src/io/kafka", "src/io/kafka_sink"]),
    ("redis", &["src/io/asynq", "src/io/redis", "src/io/redis_sink"]),
    ("saphyr_parser", &["src/settings"]),
    ("tokio_native_tls", &["src/io/hbase"]),
    ("tracing_subscriber", &["src/telemetry"]),
    ("ureq", &["src/admin/client"]),
];

/// Lines of code in a file of `src`, tests and comments left out.
const FILE_LINES_MAX: usize = 400;
/// Lines of a function of `src`, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Where a ban holds.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    /// Code of `src` outside tests.
    Product,
    /// All code: `src`, `tests`, `benches`.
    Everywhere,
}

/// Code nobody may write: tokens in a row, and what to do instead.
const BANS: &[(&str, Where, &str)] = &[
    ("todo !", Where::Everywhere, "write it, or leave it out"),
    ("unimplemented !", Where::Everywhere, "write it, or leave it out"),
    ("dbg !", Where::Everywhere, "use a tracing event or an assertion"),
    ("# [ ignore", Where::Everywhere, "a test runs or does not exist"),
    ("thread :: sleep", Where::Everywhere, "wait for the thing itself: a message, a condition, a paused clock"),
    (". unwrap ( )", Where::Product, "return a fault; for a lock: unwrap_or_else(|e| e.into_inner())"),
    (". expect ( \"", Where::Product, "return a fault, or add the line to EXPECTED with its proof"),
];

/// What the pure rooms do without: they get *now*, chance and bytes as arguments.
const IMPURE: &[(&str, &str)] = &[
    ("SystemTime", "take the time as an argument"),
    ("Instant :: now", "take the time as an argument"),
    ("std :: env", "take the value as an argument"),
    ("std :: fs", "files are read in settings and io"),
    ("std :: net", "the world is behind ports"),
    ("tokio ::", "no task, no timer: return what is to be done"),
    ("async fn", "no task, no timer: return what is to be done"),
    ("tracing ::", "return what happened; the caller tells it"),
];

/// `expect`s that cannot fail: file, text, proof.
const EXPECTED: &[(&str, &str, &str)] =
    &[("src/domain/ids.rs", "a full table is not empty", "only called when the table holds NAMES_MAX names")];

/// Words that no comment and no other text of ours holds.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("TODO", "do it, or open an issue"),
    ("FIXME", "mend it, or open an issue"),
    ("XXX", "say what is meant"),
    ("for now", "say what is, not what will be"),
    ("placeholder", "write the thing itself"),
];

/// Paths of one machine, and hosts that only package managers name.
const BANNED_TEXTS: &[(&str, &str)] = &[
    ("/root/", "use a relative path, or one from the environment"),
    ("/home/", "use a relative path, or one from the environment"),
    ("/work/", "use a relative path, or one from the environment"),
    ("/tmp/", "use a relative path; tests use tempfile"),
    ("crates.io", "let the package manager know its hosts"),
    ("static.rust-lang.org", "let the package manager know its hosts"),
    ("deb.debian.org", "let the package manager know its hosts"),
    ("pypi.org", "let the package manager know its hosts"),
    ("pythonhosted.org", "let the package manager know its hosts"),
    ("maven.org", "let the package manager know its hosts"),
    ("maven.apache.org", "let the package manager know its hosts"),
    ("registry.npmjs.org", "let the package manager know its hosts"),
    ("proxy.golang.org", "let the package manager know its hosts"),
    ("docker.io", "let the package manager know its hosts"),
    ("ghcr.io", "let the package manager know its hosts"),
    ("../shared", "copy what is needed into this repository"),
];

/// Files that may hold a banned text: file or folder, text (`*` is every one), why.
const TEXT_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("Cargo.lock", "crates.io", "cargo writes it"),
    ("deny.toml", "crates.io", "the one registry that is allowed"),
    ("tests/tidy.rs", "*", "the rules themselves"),
    ("tests/tidy/self_test.rs", "*", "breaks every rule on purpose"),
    ("src/admin/page", "placeholder", "an HTML attribute"),
    ("peers/flink", "maven.apache.org", "the name space of a Maven file"),
    ("stack", "maven.apache.org", "the name space of a Maven file"),
    ("tests", "../shared", "used where it stands, skipped where not"),
    ("dev", "../shared", "used where it stands, skipped where not"),
    (".ci/run", "../shared", "used where it stands, skipped where not"),
];

/// Files whose text is data, not ours to word.
const DATA: &[&str] = &["Cargo.lock", "LICENSE", "tests/golden", "stack/data"];

/// Goal: the tree keeps the house rules. Method: read every tracked file, hold every rule against it, print all findings.
#[test]
fn the_house_is_tidy() {
    let files = source::tracked(env!("CARGO_MANIFEST_DIR").as_ref());
    assert!(files.iter().any(|f| f.path == "src/lib.rs"), "the tree was not found: {} files", files.len());
    let mut findings: Vec<String> = files.iter().flat_map(rules::check).map(|f| f.to_string()).collect();
    findings.sort();
    assert!(findings.is_empty(), "\n\n{}\n\n{} findings\n", findings.join("\n"), findings.len());
}

/// Goal: no `expect` stays allowed after it is gone. Method: every file that EXPECTED names still holds its text.
#[test]
fn allowed_expects_exist() {
    let files = source::tracked(env!("CARGO_MANIFEST_DIR").as_ref());
    let text_of = |path: &str| files.iter().find(|f| f.path == path).map(|f| f.text.as_str()).unwrap_or_default();
    for (path, text, _) in EXPECTED {
        assert!(text_of(path).contains(text), "EXPECTED names `{text}` in {path}, which does not hold it");
    }
}
