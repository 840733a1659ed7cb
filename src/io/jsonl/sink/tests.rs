use super::*;
use crate::domain::ids::RowKey;
use proptest::prelude::*;
use std::collections::HashMap;

fn index(id: &str, version: i64, doc: &str) -> SinkWrite {
    let body = Body::Index(Bytes::copy_from_slice(doc.as_bytes()));
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(id), types: Vec::new() }
}

fn delete(id: &str, version: i64) -> SinkWrite {
    SinkWrite { body: Body::Delete, ..index(id, version, "{}") }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn held(sink: &JsonlSink, id: &str) -> Option<(i64, Option<String>)> {
    let held = run(sink.get(id.into())).unwrap()?;
    Some((held.version.0, held.document.map(|d| String::from_utf8(d.to_vec()).unwrap())))
}

/// Goal: K1 and the form of 3.3. Method: writes in a row, the file's text, what is held, before and after opening again.
#[test]
fn lower_versions_are_superseded_also_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/out.jsonl");
    let sink = JsonlSink::open(&path).unwrap();
    let outcomes = run(sink.write(vec![index("a", 9, "{\"n\":\n1.10}"), delete("b", 3), index("c\"", 1, "{}")]));
    assert_eq!(outcomes, vec![SinkOutcome::Written; 3]);
    let outcomes =
        run(sink.write(vec![index("a", 8, "{}"), index("b", 3, "{\"again\":1}"), index("d", 1, "{"), index("e", 1, "null")]));
    assert_eq!(outcomes[..2], [SinkOutcome::Superseded(Some(RowVersion(9))), SinkOutcome::Written]);
    assert!(outcomes[2..].iter().all(|o| matches!(o, SinkOutcome::Rejected(_))), "{outcomes:?}");
    run(sink.write(vec![delete("c\"", 2)]));
    let text = std::fs::read_to_string(&path).unwrap();
    let want = [
        r#"{"id":"a","version":"9","op":"index","doc":{"n": 1.10}}"#,
        r#"{"id":"b","version":"3","op":"delete","doc":null}"#,
        r#"{"id":"c\"","version":"1","op":"index","doc":{}}"#,
        r#"{"id":"b","version":"3","op":"index","doc":{"again":1}}"#,
        r#"{"id":"c\"","version":"2","op":"delete","doc":null}"#,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
    let refused = JsonlSink::open(&path).err().map(|f| f.kind);
    assert_eq!(refused, Some(FaultKind::Incompatible), "two writers of one file would tear each other's lines");
    drop(sink);
    let sink = JsonlSink::open(&path).unwrap();
    assert_eq!(held(&sink, "a"), Some((9, Some("{\"n\": 1.10}".into()))));
    assert_eq!(held(&sink, "c\""), Some((2, None)), "a delete keeps its version");
    assert_eq!(held(&sink, "z"), None);
    assert_eq!(run(sink.write(vec![index("c\"", 1, "{}")])), [SinkOutcome::Superseded(Some(RowVersion(2)))]);
    let ids = |after: Option<&str>, max| -> Vec<String> {
        run(sink.list(after.map(Into::into), max)).unwrap().into_iter().map(|h| h.id).collect()
    };
    assert_eq!(ids(None, 9), ["a", "b"], "deleted ones are left out");
    assert_eq!((ids(None, 1), ids(Some("a"), 9)), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

/// Goal: a crash in the middle of an append loses only what was not acknowledged. Method: cut the file at every byte of
/// its last line, open, look, append, open again.
#[test]
fn a_torn_last_line_is_cut_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let first = "{\"id\":\"a\",\"version\":\"1\",\"op\":\"index\",\"doc\":{}}\n";
    let second = "{\"id\":\"a\",\"version\":\"2\",\"op\":\"index\",\"doc\":{\"n\":2}}\n";
    for cut in 0..=second.len() {
        std::fs::write(&path, format!("{first}{}", &second[..cut])).unwrap();
        let whole = cut + 1 >= second.len();
        let sink = JsonlSink::open(&path).unwrap();
        assert_eq!(held(&sink, "a").unwrap().0, if whole { 2 } else { 1 }, "torn after {cut} bytes");
        run(sink.write(vec![index("b", 5, "{}")]));
        drop(sink);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), if whole { 3 } else { 2 }, "torn after {cut} bytes: {text}");
        assert_eq!(held(&JsonlSink::open(&path).unwrap(), "b").unwrap().0, 5);
    }
}

/// Goal: a broken line in the middle is not passed over. Method: files with one, and the words of the refusal.
#[test]
fn a_file_of_something_else_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    for (line, words) in [
        ("{\"id\":\"a\"}", "version"),
        ("{\"id\":\"a\",\"version\":\"x\",\"op\":\"index\",\"doc\":{}}", "64-bit"),
        ("{\"id\":\"a\",\"version\":1,\"op\":\"put\",\"doc\":{}}", "allowed: index, delete"),
        ("{\"id\":\"a\",\"version\":1,\"op\":\"index\"}", "without its `doc`"),
        ("{", "EOF"),
    ] {
        let good = "{\"id\":\"a\",\"version\":1,\"op\":\"delete\"}\n";
        std::fs::write(&path, format!("{good}{line}\n{good}")).unwrap();
        let fault = JsonlSink::open(&path).err().unwrap();
        assert_eq!(fault.kind, FaultKind::Corrupt);
        assert!(fault.place.ends_with("out.jsonl:2") && fault.what.contains(words), "{fault}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Goal: I4, and that opening again is no event. Method: random writes with random reopenings against a map.
    #[test]
    fn it_holds_what_a_map_of_highest_versions_holds(
        writes in prop::collection::vec((0..4_u8, 0..20_i64, any::<bool>(), prop::bool::weighted(0.1)), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut sink = Some(JsonlSink::open(&path).unwrap());
        let mut model: HashMap<String, (i64, Option<String>)> = HashMap::new();
        for (n, (id, version, gone, reopen)) in writes.into_iter().enumerate() {
            if reopen {
                drop(sink.take());
                sink = Some(JsonlSink::open(&path).unwrap());
            }
            let (id, doc) = (format!("id{id}"), format!("{{\"n\":{n}}}"));
            let write = if gone { delete(&id, version) } else { index(&id, version, &doc) };
            let outcome = run(sink.as_ref().unwrap().write(vec![write])).remove(0);
            let higher = model.get(&id).map(|(v, _)| *v).filter(|v| *v > version);
            match higher {
                Some(v) => prop_assert_eq!(outcome, SinkOutcome::Superseded(Some(RowVersion(v)))),
                None => {
                    prop_assert_eq!(outcome, SinkOutcome::Written);
                    model.insert(id.clone(), (version, (!gone).then_some(doc)));
                }
            }
            prop_assert_eq!(held(sink.as_ref().unwrap(), &id), model.get(&id).cloned());
        }
    }
}
