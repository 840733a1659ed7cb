//! Every fault is invisible but for the time it takes, and what was asked for is done once.

use crate::bench::{TABLE, bump, client, cluster, get, held, put, rows, settings, table, value};
use crate::fake_hbase::{FakeHbase, Fault, When};
use std::time::Duration;
use widerow::io::hbase::client::Client;
use widerow::io::hbase::error::Class;
use widerow::io::hbase::types::{CheckAndMutate, Condition, Scan};

/// Faults of a call that a client gets over, whichever call it is.
fn transient() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Late(Duration::from_millis(20)),
        Fault::DropCall,
        Fault::DropReply,
        Fault::CloseBefore,
        Fault::CloseAfter,
        Fault::CloseMidFrame,
        Fault::Garbage,
    ];
    let classes = [
        "NotServingRegionException",
        "RegionOpeningException",
        "RegionTooBusyException",
        "CallQueueTooBigException",
        "CallDroppedException",
        "TimeoutIOException",
        "RegionServerStoppedException",
        "ServerNotRunningYetException",
        "IOException",
    ];
    faults.extend(classes.map(Fault::Fail));
    faults.extend(classes.map(Fault::FailRegion));
    faults
}

/// Each fault meets the first two calls of a method of which one needs several.
async fn under_each_fault(method: &'static str, body: impl AsyncFn(&FakeHbase, &Client, &Fault)) {
    for fault in transient() {
        let fake = cluster();
        let client = client(&fake);
        fake.script(When::next(method).on(TABLE).times(2), fault.clone());
        body(&fake, &client, &fault).await;
        assert_eq!(fake.faults_met().len(), 2, "{fault:?} was never met");
        assert_eq!(fake.complaints(), Vec::<String>::new(), "{fault:?}");
    }
}

/// Goal: puts arrive. Method: every transient fault over rows of four regions on two servers.
#[tokio::test]
async fn puts_survive_every_fault() {
    under_each_fault("Multi", async |fake, client, fault| {
        let puts = rows().iter().map(|row| put(row, 5, row)).collect();
        for outcome in client.put_many(table(), puts).await {
            outcome.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        }
        for row in rows() {
            assert_eq!(held(fake, &row), (row.clone(), 0), "{fault:?}");
        }
    })
    .await;
}

/// Goal: gets answer, each its own row. Method: as above, and a row that is not there.
#[tokio::test]
async fn gets_survive_every_fault() {
    under_each_fault("Multi", async |fake, client, fault| {
        for row in rows().iter().filter(|row| *row != "b1") {
            fake.write(TABLE, row, "cf", "q", 5, row);
        }
        let gets = rows().iter().rev().map(|row| get(row)).collect();
        let answers = client.get_many(table(), gets).await;
        for (row, answer) in rows().iter().rev().zip(answers) {
            let cells = answer.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
            let wanted = if row == "b1" { "" } else { row };
            assert_eq!(value(&cells).0, wanted, "{fault:?}");
        }
    })
    .await;
}

/// Goal: a bump counts once, whatever becomes of its reply. Method: every transient fault; regions stay where they are.
#[tokio::test]
async fn increments_count_once() {
    under_each_fault("Multi", async |fake, client, fault| {
        let bumps = rows().iter().map(|row| bump(row, 5, row)).collect();
        for outcome in client.mutate_many(table(), bumps).await {
            outcome.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        }
        for row in rows() {
            assert_eq!(held(fake, &row), (row.clone(), 1), "{fault:?}");
        }
    })
    .await;
}

/// Goal: a page of a scan is whole and in order. Method: every transient fault, one row an answer.
#[tokio::test]
async fn scans_survive_every_fault() {
    for fault in transient() {
        let fake = cluster();
        let client = client(&fake);
        rows().iter().for_each(|row| fake.write(TABLE, row, "cf", "q", 5, row));
        fake.limit(|limits| limits.scan_rows = 1);
        fake.script(When::next("Scan").on(TABLE).after(1), fault.clone());
        let page = client.scan(table(), &Scan::from("", 100)).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        let found: Vec<String> = page.rows.iter().map(|cells| value(cells).0).collect();
        assert_eq!((found, page.next), (rows(), None), "{fault:?}");
        assert_eq!(fake.faults_met().len(), 1);
    }
}

/// Goal: a checked write whose outcome is unknown says so; else it is done or refused. Method: every transient fault on the
/// first try, then what the row holds against what was answered.
#[tokio::test]
async fn a_checked_write_never_lies() {
    for fault in transient() {
        let fake = cluster();
        let client = client(&fake);
        fake.script(When::next("Multi").on(TABLE), fault.clone());
        let condition = Condition::Absent { family: "cf".into(), qualifier: "q".into(), time_range: None };
        let check = CheckAndMutate { condition: condition.clone(), mutations: bump("a1", 5, "x") };
        match client.check_and_mutate(table(), check).await {
            Ok(applied) => assert_eq!((applied, held(&fake, "a1")), (true, ("x".into(), 1)), "{fault:?}"),
            Err(error) => {
                assert!(error.outcome_unknown, "{fault:?}: {error}");
                let held = held(&fake, "a1").1;
                assert!(held <= 1, "{fault:?}: done {held} times");
            }
        }
    }
}

/// Goal: cells a batch was too large for are asked for again, alone. Method: a cut after two actions; then a server whose
/// replies hold a few cells at a time.
#[tokio::test]
async fn rows_a_reply_had_no_room_for_are_sent_again() {
    let fake = cluster();
    let client = client(&fake);
    rows().iter().for_each(|row| fake.write(TABLE, row, "cf", "q", 5, row));
    fake.script(When::next("Multi").on(TABLE), Fault::ReplyFull(2));
    fake.limit(|limits| limits.reply_bytes = 60);
    let answers = client.get_many(table(), rows().iter().map(|row| get(row)).collect()).await;
    for (row, answer) in rows().iter().zip(answers) {
        assert_eq!(value(&answer.unwrap()).0, *row);
    }
    assert!(fake.count("Multi", TABLE) > 4, "{} calls", fake.count("Multi", TABLE));
    let puts = rows().iter().map(|row| put(row, 6, "new")).collect();
    fake.script(When::next("Multi").on(TABLE), Fault::ReplyFull(0));
    assert!(client.put_many(table(), puts).await.iter().all(Result::is_ok));
    assert!(rows().iter().all(|row| held(&fake, row).0 == "new"));
}

/// Goal: a frame the server finds too big is cut until it fits, and what never fits fails alone. Method: a bound of a few
/// rows, and one row beyond it.
#[tokio::test]
async fn frames_that_are_too_big_are_cut() {
    let fake = cluster();
    let client = client(&fake);
    fake.limit(|limits| limits.request_bytes = 1000);
    let mut puts: Vec<_> = rows().iter().map(|row| put(row, 5, &"x".repeat(200))).collect();
    puts.push(put("a9", 5, &"y".repeat(2000)));
    let outcomes = client.put_many(table(), puts).await;
    let (last, others) = outcomes.split_last().unwrap();
    assert!(others.iter().all(Result::is_ok), "{others:?}");
    assert_eq!(last.as_ref().unwrap_err().class, Class::RequestTooBig);
    assert!(rows().iter().all(|row| held(&fake, row).0.len() == 200));
}

/// Goal: one row that no server takes fails alone, with its reason. Method: poisoned rows among others, in plain puts, in
/// atomic ones, and among rows a whole region refuses.
#[tokio::test]
async fn a_poisoned_row_fails_alone() {
    let fake = cluster();
    let client = client(&fake);
    fake.poison("b1", "FailedSanityCheckException");
    fake.poison("d2", "DoNotRetryIOException");
    let poisoned = |row: &String| row == "b1" || row == "d2";
    let puts = client.put_many(table(), rows().iter().map(|row| put(row, 5, row)).collect()).await;
    let bumps = client.mutate_many(table(), rows().iter().map(|row| bump(row, 5, row)).collect()).await;
    let outcomes = puts.into_iter().zip(bumps.into_iter().map(|b| b.map(|_| ())));
    for (row, (put, bump)) in rows().iter().zip(outcomes) {
        for outcome in [put, bump] {
            match outcome {
                Ok(()) => assert!(!poisoned(row), "{row}"),
                Err(error) => {
                    assert!(poisoned(row), "{row}: {error}");
                    assert!(error.class == Class::Refused && !error.outcome_unknown, "{error}");
                }
            }
        }
        let wanted = if poisoned(row) { (String::new(), 0) } else { (row.clone(), 1) };
        assert_eq!(held(&fake, row), wanted);
    }
    // A region that refuses a whole batch for good: each row is tried alone, and each says why it failed.
    fake.script(When::next("Multi").on(TABLE).times(1000), Fault::FailRegion("FailedSanityCheckException"));
    let outcomes = client.put_many(table(), rows().iter().map(|row| put(row, 6, row)).collect()).await;
    assert!(outcomes.iter().all(|o| o.as_ref().is_err_and(|e| e.class == Class::Refused)));
}

/// Goal: faults of the caller are told at once and as what they are. Method: a family and a table that are not there, a
/// disabled table.
#[tokio::test]
async fn what_cannot_be_helped_is_told() {
    let fake = cluster();
    let client = client(&fake);
    let mut wrong = put("a1", 5, "x");
    wrong.cell(b"none", b"q", 5, b"x").unwrap();
    let outcomes = client.put_many(table(), vec![wrong, put("a2", 5, "x")]).await;
    assert_eq!(outcomes[0].as_ref().unwrap_err().class, Class::NoFamily);
    assert!(outcomes[1].is_ok());
    let none = widerow::io::hbase::types::TableName::parse("none").unwrap();
    let outcome = client.put_many(&none, vec![put("a", 5, "x")]).await.remove(0);
    assert_eq!(outcome.unwrap_err().class, Class::NoTable);
    fake.enable(TABLE, false);
    let outcome = client.put_many(table(), vec![put("a1", 6, "x")]).await.remove(0);
    assert_eq!(outcome.unwrap_err().class, Class::TableDisabled);
}

/// Goal: a server that stays silent ends a call, and says whether it may have been done. Method: calls held for good, in a
/// short operation.
#[tokio::test]
async fn a_deadline_ends_what_hangs() {
    let fake = cluster();
    let patience = Duration::from_millis(400);
    let mut settings = settings(&fake);
    (settings.call_timeout, settings.operation_timeout) = (patience, patience * 2);
    let client = Client::new(settings).unwrap();
    let gate = crate::fake_hbase::Gate::shut();
    fake.script(When::next("Multi").on(TABLE).times(1000), Fault::Hold(gate.clone()));
    fake.script(When::next("Scan").on(TABLE).times(1000), Fault::Hold(gate.clone()));
    let outcomes = client.put_many(table(), rows().iter().map(|row| put(row, 5, row)).collect()).await;
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.outcome_unknown, "{error}");
        assert!(matches!(error.class, Class::Timeout | Class::Lost), "{error}");
    }
    let error = client.scan(table(), &Scan::from("", 10)).await.unwrap_err();
    assert!(matches!(error.class, Class::Timeout | Class::Lost), "{error}");
    // What was held is done in the end, late: the same put again changes nothing.
    gate.open();
    fake.until("held puts are done", |fake| held(fake, "a0").0 == "a0").await;
}
