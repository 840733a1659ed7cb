//! Every rule fires where it must, and not beside it.

use crate::rules::check;
use crate::source::Source;

/// What `check` says of one file, its header given.
fn findings(path: &str, text: &str) -> Vec<String> {
    let header = if path.ends_with(".rs") { "//! Header.\n" } else { "" };
    let source = Source { path: path.to_owned(), text: format!("{header}{text}") };
    check(&source).iter().map(ToString::to_string).collect()
}

/// Goal: each rule finds its fault and says where. Method: a table of (file, text, words of the one finding).
#[test]
fn every_rule_fires() {
    let long_function = format!("fn long() {{\n{}}}\n", "    call();\n".repeat(70));
    let long_file = "const A: u8 = 1;\n".repeat(401);
    for (path, text, words) in [
        ("src/domain/a.rs", "use crate::ports::rows::RowStore;", ":2: `domain` names `ports`"),
        ("src/domain/a/b.rs", "use super::super::super::io::x;", "`domain` names `io`"),
        ("src/io/a.rs", "use crate::{domain::ids::Name, actors};", "`io` names `actors`"),
        ("src/io/a.rs", "fn f() { crate::messages::go() }", "`io` names `messages`"),
        ("src/supervisor/drain.rs", "use crate::io::memory;", "`supervisor` names `io`"),
        ("src/main.rs", "use widerow::io::memory;", "`main` names `io`"),
        ("src/io/a.rs", "mod inner { use super::super::super::admin::x; }", "`io` names `admin`"),
        ("src/actors/writer.rs", "use super::offerer::Offerer;", "actor `writer` names actor `offerer`"),
        ("src/domain/a.rs", "fn f() { std::time::Instant::now(); }", "`Instant::now` in a pure room"),
        ("src/domain/a.rs", "fn f() { tracing::warn!(\"row lost\") }", "`tracing` in a pure room"),
        ("src/domain/a.rs", "async fn f() {}", "`async fn` in a pure room"),
        ("src/cellar/a.rs", "", "room `cellar` is not known"),
        ("src/io/a.rs", "use fjall::Database;", "crate `fjall`"),
        ("src/io/a.rs", "fn f() { actix::spawn(x) }", "crate `actix`"),
        ("src/actors/writer.rs", "fn f() { ::metrics::counter!(\"a\"); }", "crate `metrics`"),
        ("src/supervisor/mod.rs", "use dashmap::DashMap;", "crate `dashmap`"),
        ("src/domain/a.rs", long_file.as_str(), "401 lines of code"),
        ("src/domain/a.rs", long_function.as_str(), "fn long has 72 lines"),
        ("src/domain/a.rs", "fn f() { todo!() }", "`todo!`"),
        ("tests/it/a.rs", "fn f() { unimplemented!() }", "`unimplemented!`"),
        ("tests/it/a.rs", "fn f() { dbg!(1); }", "`dbg!`"),
        ("tests/it/a.rs", "#[ignore]\nfn f() {}", "`#[ignore`"),
        ("tests/it/a.rs", "fn f() { std::thread::sleep(d) }", "`thread::sleep`"),
        ("src/domain/a.rs", "fn f() { x().unwrap(); }", "`.unwrap()`"),
        ("src/domain/a.rs", "fn f() { x().expect(\"never\"); }", "`.expect(`"),
        ("src/domain/a.rs", "// TODO: later\n", "`TODO` in a comment"),
        ("src/domain/a.rs", "/* fine\n FIXME */\n", ":3: `FIXME` in a comment"),
        ("tests/it/a.rs", "// Skipped for now.\n", "`for now` in a comment"),
        ("docs/a.md", "XXX", "`XXX`"),
        ("src/io/a.rs", "fn f() { tracing::warn!(a = 1, \"Row lost\") }", "begins in upper case"),
        ("src/io/a.rs", "fn f() { warn!(\"row lost.\") }", "ends with a full stop"),
        ("src/io/a.rs", "fn f() { warn!(\"row {key} lost\") }", "holds a value"),
        ("src/io/a.rs", "fn f() { warn!(key = \"a\") }", "without a fixed message"),
        ("config/a.yaml", "dir: /root/x", "`/root/`"),
        ("src/io/a.rs", "const A: &str = \"/tmp/x\";", "`/tmp/`"),
        ("docs/a.md", "see https://crates.io/x", "`crates.io`"),
        ("src/io/a.rs", "// as in ../shared/x", "`../shared`"),
    ] {
        let found = findings(path, text);
        assert_eq!(found.len(), 1, "{path}: {text:?} gave {found:?}");
        assert!(found[0].starts_with(path) && found[0].contains(words) && found[0].contains(" — "), "{words}: {}", found[0]);
    }
    let bare = Source { path: "src/io/a.rs".into(), text: "use x;".into() };
    assert!(check(&bare).iter().any(|f| f.to_string().contains("no `//!` header")));
}

/// Goal: what is allowed is left alone. Method: a table of the nearest innocent neighbours.
#[test]
fn neighbours_are_left_alone() {
    let just_short_enough = format!("fn long() {{\n{}}}\n", "    call();\n".repeat(68));
    let comments = "// words\n".repeat(500);
    for (path, text) in [
        ("src/io/a.rs", "use crate::{domain::ids::Name, ports::rows::{RowStore, RowWrite as W}, telemetry};"),
        ("src/supervisor/wiring.rs", "use crate::io::memory;"),
        ("src/supervisor/wiring/stores.rs", "use crate::io::memory;"),
        ("src/domain/a.rs", "#[cfg(test)]\nmod tests { use crate::ports::rows; fn f() { x().unwrap(); } }"),
        ("src/domain/decode/a.rs", "use super::super::ids::Name;"),
        ("src/domain/a.rs", "mod inner { use super::super::ids; }"),
        ("src/actors/writer/flush.rs", "use super::Batch;"),
        ("src/io/embedded/rows.rs", "use fjall::Database;"),
        ("src/admin/a.rs", "mod metrics;\nfn f() { metrics::render(); }"),
        ("src/admin/a.rs", "fn f() { self.metrics.get(); super::metrics::render(); }"),
        ("src/domain/a.rs", just_short_enough.as_str()),
        ("src/domain/a.rs", comments.as_str()),
        ("src/domain/a.rs", "fn f() { lock().unwrap_or_else(|e| e.into_inner()); parser.expect(Token::Comma); }"),
        ("src/domain/a.rs", "const A: &str = \"todo!() and x.unwrap()\"; const B: char = '\"'; fn f<'a>(x: &'a str) {}"),
        ("src/domain/a.rs", "const A: &str = r#\"a \" // TODO\"#;"),
        ("src/domain/a/tests.rs", "fn f() { x().unwrap(); }"),
        ("src/io/a.rs", "fn f() { warn!(key = %k(\"A.\"), detail = \"Big.\", \"row lost\") }"),
        ("src/io/a.rs", "fn f() { error!(target: \"A\", fault, \"row lost\",) }"),
        ("config/a.yaml", "dir: ./data/tmp/x"),
        ("config/a.yaml", "dir: ${DATA}/tmp/x"),
        ("tests/it/a.rs", "const A: &str = \"../shared/x\";"),
        ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\""),
        ("tests/golden/a/records.jsonl", "{\"value\":\"XXX\"}"),
    ] {
        assert_eq!(findings(path, text), Vec::<String>::new(), "{path}: {text:?}");
    }
}
