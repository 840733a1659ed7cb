//! Many jobs in one call of a script, and what it meets among them.

use super::{LINE, Wish, ask, offer, plain, queue, soundness, take};
use crate::servers;
use std::collections::BTreeSet;
use widerow::domain::ids::Name;
use widerow::domain::job::{Offered, Settled, Verdict};
use widerow::ports::queue::{Finish, JobQueue};

const BOOK: &str = "widerow:{search_~}:jobs";
const URGENT: u8 = 0;
const BULK: u8 = 2;

/// Goal: what lost its task costs a taking no job and brings none twice. Method: two lanes, the oldest tasks of one removed by
/// hand, so that the taking comes back to the lane whose jobs it has already begun.
#[tokio::test]
async fn a_taking_comes_back_to_a_lane() {
    let server = servers::redis();
    let (queue, mut plain) = (queue(&server, Wish::default()), plain(&server).await);
    let offers = (0..60).map(|row| offer(&row.to_string(), if row < 30 { URGENT } else { BULK }));
    queue.offer(offers.collect()).await.unwrap();
    for row in 30..32 {
        assert_eq!(ask::<i64>(&mut plain, &["DEL", &format!("asynq:{{search_bulk}}:t:{row}~0")]).await, 1);
    }
    let (mut seen, mut active) = (BTreeSet::new(), Vec::new());
    for (most, wanted) in [(20, 20), (20, 20), (60, 18)] {
        let jobs = take(&queue, most).await;
        assert_eq!(jobs.len(), wanted);
        assert!(jobs.iter().all(|job| seen.insert(job.key.row.to_string())), "a job came twice: {jobs:?}");
        active.extend(jobs);
        let mut held = 0;
        for lane in ["urgent", "bulk"] {
            let listed: i64 = ask(&mut plain, &["LLEN", &format!("asynq:{{search_{lane}}}:active")]).await;
            let leased: i64 = ask(&mut plain, &["ZCARD", &format!("asynq:{{search_{lane}}}:lease")]).await;
            assert_eq!(listed, leased, "{lane}");
            held += listed as usize;
        }
        assert_eq!(held, active.len());
        soundness::check(&mut plain, "").await;
    }
    let end = |job: &widerow::ports::queue::Taken| Finish {
        key: job.key.clone(),
        lease: job.lease,
        verdict: Verdict::Done,
        document: None,
    };
    let settled = queue.finish(active.iter().map(end).collect()).await.unwrap();
    assert!(settled.iter().all(|settled| *settled == Settled::Applied), "{settled:?}");
    let counts = queue.counts(Name::of(LINE)).await.unwrap();
    assert!(counts.iter().all(|lane| lane.waiting + lane.retry + lane.active == 0), "{counts:?}");
}

/// Goal: a key that one call offers several times, in several lanes, gets one job. Method: among others that come once.
#[tokio::test]
async fn one_call_offers_a_key_twice() {
    let server = servers::redis();
    let queue = queue(&server, Wish::default());
    let rows = ["a", "b", "a", "c", "a"];
    let offers = rows.iter().zip([1, 1, 1, 2, 2]).map(|(row, lane)| offer(row, lane));
    let answers = queue.offer(offers.collect()).await.unwrap();
    use Offered::{Coalesced, Created};
    assert_eq!(answers, [Created, Created, Coalesced, Created, Coalesced]);
    assert_eq!(take(&queue, 10).await.len(), 3);
    soundness::check(&mut plain(&server).await, "").await;
}

/// Goal: the book of a short queue is no list to be searched from its front. Method: how Redis keeps it.
#[tokio::test]
async fn a_short_book_is_a_table() {
    let server = servers::redis();
    let (queue, mut plain) = (queue(&server, Wish::default()), plain(&server).await);
    queue.offer((0..20).map(|row| offer(&row.to_string(), 1)).collect()).await.unwrap();
    assert_eq!(ask::<String>(&mut plain, &["OBJECT", "ENCODING", BOOK]).await, "hashtable");
    assert_eq!(ask::<i64>(&mut plain, &["HLEN", BOOK]).await, 20);
    soundness::check(&mut plain, "").await;
}
