use super::*;

/// Other tests of this process tell events of their own: each test's are known by its row.
const ROW: &str = "tap-test-row-8812";
const ROW_OF_THE_SLOW: &str = "tap-test-row-8813";

fn wish(stages: &[TapStage], row: &str) -> TapWish {
    TapWish { stages: stages.to_vec(), key: Some(row.to_owned()), mask: mask(), lanes: Vec::new() }
}

fn mask() -> Mask {
    Mask::new(&["phone".to_owned(), "Secret".to_owned()])
}

fn say(stage: TapStage, row: &str, n: u64) {
    let event = |_: &TapWish| Map::from_iter([("n".to_owned(), json!(n))]);
    tap(stage, |wish| wish.wants(row), event);
}

/// Goal: hidden columns' values are in no output, whatever holds them, and the rest is untouched. Method: a table of bodies.
#[test]
fn hidden_values_are_starred() {
    for (body, shown) in [
        (r#"{"phone":"13900001111","city":"x"}"#, r#"{"city":"x","phone":"***(11)"}"#),
        (
            r#"{"data":[{"user_phone":1390,"n":null}],"sql":"insert 13900001111"}"#,
            r#"{"data":[{"n":null,"user_phone":"***(4)"}],"sql":"***(18)"}"#,
        ),
        (r#"{"SECRET_key":{"a":[true,null]}}"#, r#"{"SECRET_key":{"a":["***(4)",null]}}"#),
        (r#"{"note":"{\"phone\":\"1390\"}"}"#, r#"{"note":"{\"phone\":\"***(4)\"}"}"#),
        (r#"{"contact":"call 4711!","n":4711}"#, r#"{"contact":"***(10)","n":"***(4)"}"#),
        ("13900001111", "\"(11 bytes, no JSON)\""),
        ("no json 1390", "\"(12 bytes, no JSON)\""),
    ] {
        assert_eq!(mask().body(body.as_bytes(), &["4711".to_owned()]).to_string(), shown, "{body}");
    }
    assert_eq!(mask().value("Phone_2", Some("1390")), json!("***(4)"));
    assert_eq!(mask().value("phone", None), Value::Null);
    let long = "ü".repeat(VALUE_CHARS_MAX + 1);
    let shown = mask().value("note", Some(&long));
    assert!(shown.as_str().is_some_and(|s| s.ends_with("… (4098 bytes)") && s.chars().count() < long.chars().count() + 16));
}

/// Goal: a listener sees its stages and its row, in order, and nothing once it is gone. Method: two listeners.
#[tokio::test]
async fn listeners_see_what_they_asked_for() {
    let (jobs, all) = (TapListener::open(wish(&[TapStage::Job], ROW)).unwrap(), TapListener::open(wish(&[], ROW)).unwrap());
    assert!(tapped(TapStage::Row), "somebody listens to everything");
    say(TapStage::Row, ROW, 1);
    say(TapStage::Job, "another", 2);
    say(TapStage::Job, ROW, 3);
    assert_eq!(jobs.next().await, r#"{"n":3,"stage":"job"}"#);
    assert_eq!(
        (all.next().await, all.next().await),
        (r#"{"n":1,"stage":"row"}"#.to_owned(), r#"{"n":3,"stage":"job"}"#.to_owned())
    );
    assert!(jobs.take().is_none() && all.take().is_none());
}

/// Goal: a slow listener costs bounded memory, and hears how much it missed. Method: one more event than there is room.
#[test]
fn what_does_not_fit_is_counted() {
    let slow = TapListener::open(wish(&[TapStage::Document], ROW_OF_THE_SLOW)).unwrap();
    for n in 0..WAITING_MAX as u64 + 5 {
        say(TapStage::Document, ROW_OF_THE_SLOW, n);
    }
    assert_eq!(slow.dropped(), 5);
    assert_eq!(slow.take().as_deref(), Some(r#"{"n":0,"stage":"document"}"#));
    say(TapStage::Document, ROW_OF_THE_SLOW, 7);
    assert_eq!((slow.dropped(), slow.0.waiting().lines.len()), (5, WAITING_MAX));
}
