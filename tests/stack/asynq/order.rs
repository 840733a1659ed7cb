//! Runs that end in another order than they were taken, many of them in one call: what the queue's script does for all of a
//! group at once must be what it does for each.

use super::{LINE, TestClock, Wish, offer, offer_one, plain, queue, soundness, take};
use crate::servers;
use std::collections::BTreeSet;
use widerow::domain::ids::Name;
use widerow::domain::job::{Offered, Settled, Verdict};
use widerow::ports::queue::{Finish, JobQueue, Taken};

const ROWS: usize = 600;
const BATCH: usize = 70;

/// What this test has a run of this row end as, in this round.
fn verdict(row: usize, clock: &TestClock) -> Verdict {
    match row {
        row if row.is_multiple_of(11) => Verdict::Retry { at: clock.now(), counts: true },
        row if row.is_multiple_of(13) => Verdict::Bury { reason: "not today".into() },
        _ => Verdict::Done,
    }
}

/// A row that changes while its job runs.
fn changes(row: usize) -> bool {
    row.is_multiple_of(7)
}

fn row_of(job: &Taken) -> usize {
    job.key.row.as_str().parse().unwrap()
}

/// Goal: J7, J10, J11, K5 whatever the order. Method: jobs of three lanes and several ages, taken in batches that end last
/// first, every second one backwards; among them follow-ups, retries, burials, hashes, and each batch's first verdict twice.
/// Each answer is the one this verdict alone would get; then the rest is worked and nothing unfinished is left.
#[tokio::test]
async fn runs_end_in_any_order() {
    let (server, clock) = (servers::redis(), TestClock::new());
    let queue = queue(&server, Wish { clock: Some(clock.clone()), ..Wish::default() });
    for rows in (0..ROWS).collect::<Vec<_>>().chunks(150) {
        queue.offer(rows.iter().map(|row| offer(&row.to_string(), (row % 3) as u8)).collect()).await.unwrap();
        clock.pass(1_500);
    }
    let mut batches = Vec::new();
    while batches.len() * BATCH < ROWS {
        batches.push(take(&queue, BATCH).await);
    }
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), ROWS);
    let changed = (0..ROWS).filter(|row| changes(*row)).map(|row| offer(&row.to_string(), (row % 3) as u8));
    queue.offer(changed.collect()).await.unwrap();
    for (number, mut batch) in batches.into_iter().enumerate().rev() {
        if number % 2 == 1 {
            batch.reverse();
        }
        let document = (number % 3 == 1).then_some(number as u64);
        let end =
            |job: &Taken| Finish { key: job.key.clone(), lease: job.lease, verdict: verdict(row_of(job), &clock), document };
        let settled = queue.finish(batch.iter().chain(&batch[..1]).map(end).collect()).await.unwrap();
        for (job, settled) in batch.iter().zip(&settled) {
            let gives_way = changes(row_of(job)) && verdict(row_of(job), &clock) != Verdict::Done;
            let wanted = if gives_way { Settled::GaveWay } else { Settled::Applied };
            assert_eq!(*settled, wanted, "row {} of batch {number}", row_of(job));
        }
        assert_eq!(settled.last(), Some(&Settled::LeaseGone), "the same verdict once more, batch {number}");
        soundness::check(&mut plain(&server).await, "").await;
    }
    let (mut seen, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    queue.tend().await.unwrap();
    let jobs = take(&queue, ROWS).await;
    for job in &jobs {
        assert!(seen.insert(row_of(job)), "{} came twice", job.key.row);
        hashes.extend(job.last_document);
    }
    assert_eq!(seen, (0..ROWS).filter(|row| changes(*row) || row.is_multiple_of(11)).collect());
    assert!(hashes.iter().all(|hash| hash % 3 == 1) && hashes.len() > 1, "{hashes:?}");
    let done = |job: &Taken| Finish { key: job.key.clone(), lease: job.lease, verdict: Verdict::Done, document: None };
    let settled = queue.finish(jobs.iter().rev().map(done).collect()).await.unwrap();
    assert!(settled.iter().all(|settled| *settled == Settled::Applied));
    let counts = queue.counts(Name::of(LINE)).await.unwrap();
    assert!(counts.iter().all(|lane| lane.waiting + lane.retry + lane.active == 0 && lane.unfinished.is_none()), "{counts:?}");
    let buried = (0..ROWS).filter(|row| row.is_multiple_of(13) && !row.is_multiple_of(11) && !changes(*row)).count();
    assert_eq!(counts.iter().map(|lane| lane.buried).sum::<u64>(), buried as u64);
    assert_eq!(soundness::check(&mut plain(&server).await, "").await, buried);
    // J11: no second of a first offer is left behind.
    let mut plain = plain(&server).await;
    for lane in ["urgent", "normal", "bulk"] {
        let left: Vec<String> = super::ask(&mut plain, &["HGETALL", &format!("asynq:{{search_{lane}}}:widerow:firsts")]).await;
        assert!(left.is_empty(), "{lane}: {left:?}");
    }
    assert_eq!(offer_one(&queue, "13", 1).await, Offered::Created, "a change revives a buried job");
}
