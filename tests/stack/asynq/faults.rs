//! Servers that forget, freeze, refuse or may drop jobs.

use super::{TestClock, Wish, address, ask, finish, offer, offer_one, plain, queue, soundness, take};
use crate::servers;
use std::time::Duration;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::{Offered, Settled, Verdict};
use widerow::io::redis::Redis;
use widerow::ports::queue::JobQueue;

/// Goal: a server that forgot the scripts is sent them. Method: SCRIPT FLUSH between all calls.
#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let server = servers::redis();
    let (queue, mut plain) = (queue(&server, Wish::default()), plain(&server).await);
    for _ in 0..2 {
        assert_eq!(offer_one(&queue, "a", 1).await, Offered::Created);
        ask::<String>(&mut plain, &["SCRIPT", "FLUSH"]).await;
        let job = take(&queue, 1).await.remove(0);
        ask::<String>(&mut plain, &["SCRIPT", "FLUSH"]).await;
        assert_eq!(finish(&queue, &job, Verdict::Done).await, Settled::Applied);
        ask::<String>(&mut plain, &["SCRIPT", "FLUSH"]).await;
    }
}

/// Goal: J11, J9. Method: the server restarts empty: another life is told, what lies aside comes back once more.
#[tokio::test]
async fn a_server_that_restarts_empty_lives_another_life() {
    let server = servers::redis();
    let queue = queue(&server, Wish { max_pending: 2, ..Wish::default() });
    let first = queue.life().await.unwrap();
    assert_eq!(queue.life().await.unwrap(), first);
    for row in ["a", "b", "c", "d"] {
        offer_one(&queue, row, 1).await;
    }
    let taken = take(&queue, 2).await;
    assert_eq!(queue.tend().await, Ok(2), "c and d are back in the lane");
    server.kill();
    assert!(matches!(queue.life().await.unwrap_err().kind, FaultKind::Unreachable | FaultKind::Timeout));
    assert_eq!(queue.offer(vec![offer("x", 1)]).await.unwrap_err().advice(), widerow::domain::fault::Advice::Wait);
    std::fs::remove_dir_all(server.folder().join("appendonlydir")).unwrap();
    server.start_again();
    let second = queue.life().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(finish(&queue, &taken[0], Verdict::Done).await, Settled::LeaseGone);
    let rows: Vec<String> = take(&queue, 10).await.iter().map(|job| job.key.row.to_string()).collect();
    assert_eq!(rows, ["c", "d"], "what lay aside outlived the server");
    let mut plain = plain(&server).await;
    ask::<String>(&mut plain, &["FLUSHALL"]).await;
    assert_ne!(queue.life().await.unwrap(), second, "emptied without a restart");
}

/// Goal: a frozen server's outcome is unknown, and asking again is safe. Method: freeze, offer and finish, thaw, again.
#[tokio::test]
async fn what_a_frozen_server_was_asked_can_be_asked_again() {
    let server = servers::redis();
    let queue = queue(&server, Wish { timeout: Duration::from_millis(300), ..Wish::default() });
    offer_one(&queue, "a", 1).await;
    let job = take(&queue, 1).await.remove(0);
    server.freeze();
    let refused = queue.offer(vec![offer("b", 1)]).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Timeout, "{refused}");
    server.thaw();
    assert!(matches!(offer_one(&queue, "b", 1).await, Offered::Created | Offered::Coalesced));
    assert_eq!(finish(&queue, &job, Verdict::Done).await, Settled::Applied);
    assert_eq!(take(&queue, 5).await.len(), 1);
    soundness::check(&mut plain(&server).await, "").await;
}

/// Goal: a server that may drop jobs is refused, or taken as allowed. Method: another policy, both settings.
#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    let server = servers::redis();
    ask::<String>(&mut plain(&server).await, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let refused = queue(&server, Wish::default()).offer(vec![offer("a", 1)]).await.unwrap_err();
    assert!(refused.kind == FaultKind::Incompatible && refused.what.contains("allkeys-lru"), "{refused}");
    let allowed = queue(&server, Wish { allow_eviction: true, ..Wish::default() });
    assert_eq!(offer_one(&allowed, "a", 1).await, Offered::Created);
}

/// Goal: users and passwords. Method: a user with the rights `check` names works; a wrong password and a missing right
/// are told apart from a server that is down.
#[tokio::test]
async fn users_have_the_rights_they_need() {
    let server = servers::redis();
    let mut plain = plain(&server).await;
    let rights = ["ACL", "SETUSER", "wide", "on", ">pass", "~asynq:*", "~widerow:*", "+@all"];
    ask::<String>(&mut plain, &rights).await;
    ask::<String>(&mut plain, &["ACL", "SETUSER", "reader", "on", ">pass", "~*", "+@read", "+info"]).await;
    let fine = queue(&server, Wish { login: Some(("wide", "pass")), ..Wish::default() });
    assert_eq!(offer_one(&fine, "a", 1).await, Offered::Created);
    assert_eq!(take(&fine, 1).await.len(), 1);
    for login in [("wide", "wrong"), ("nobody", "pass"), ("reader", "pass")] {
        let refused =
            queue(&server, Wish { login: Some(login), ..Wish::default() }).offer(vec![offer("b", 1)]).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Forbidden, "{login:?}: {refused}");
    }
    let way = Redis::new(&address(&server, &Wish { login: Some(("wide", "pass")), ..Wish::default() })).unwrap();
    let mut get = redis::cmd("GET");
    get.arg("elsewhere");
    assert_eq!(way.call::<Option<String>>(get).await.unwrap_err().kind, FaultKind::Forbidden);
}

/// Goal: J10 where foreign hands were in it. Method: an active id without a lease (its entry was dropped), an id without
/// its hash, a task that asynq's recoverer took from us: each comes to an end.
#[tokio::test]
async fn what_foreign_hands_left_is_mended() {
    let server = servers::redis();
    let clock = TestClock::new();
    let (queue, mut plain) = (queue(&server, Wish { clock: Some(clock.clone()), ..Wish::default() }), plain(&server).await);
    let at = "asynq:{search_normal}:";
    for row in ["unleased", "recovered", "lost"] {
        offer_one(&queue, row, 1).await;
    }
    let jobs = take(&queue, 3).await;
    assert_eq!(jobs.len(), 3);
    ask::<i64>(&mut plain, &["ZREM", &format!("{at}lease"), "unleased~0"]).await;
    // As asynq's retry script does it.
    ask::<i64>(&mut plain, &["LREM", &format!("{at}active"), "0", "recovered~0"]).await;
    ask::<i64>(&mut plain, &["ZREM", &format!("{at}lease"), "recovered~0"]).await;
    ask::<i64>(&mut plain, &["ZADD", &format!("{at}retry"), "1", "recovered~0"]).await;
    ask::<i64>(&mut plain, &["HSET", &format!("{at}t:recovered~0"), "state", "retry"]).await;
    ask::<i64>(&mut plain, &["DEL", &format!("{at}t:lost~0")]).await;
    let recovered = jobs.iter().find(|job| job.key.row.as_str() == "recovered").unwrap();
    assert_eq!(finish(&queue, recovered, Verdict::Done).await, Settled::LeaseGone);
    clock.pass(31_000);
    queue.tend().await.unwrap();
    soundness::check(&mut plain, "").await;
    let mut rows: Vec<String> = take(&queue, 10).await.iter().map(|job| job.key.row.to_string()).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["recovered", "unleased"]);
    assert_eq!(offer_one(&queue, "lost", 1).await, Offered::Created);
    let oldest = queue.counts(Name::of(super::LINE)).await.unwrap()[1].unfinished;
    assert_eq!(oldest, Some(Millis(clock.now().0 - 31_000)));
}
