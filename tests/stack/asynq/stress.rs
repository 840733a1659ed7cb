//! The lost update (J2, J3): many changes of few rows while workers run, fail and are slow.

use super::{LINE, Wish, offer, plain, queue, soundness};
use crate::servers;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::Verdict;
use widerow::io::asynq::AsynqQueue;
use widerow::ports::queue::{Finish, JobQueue};

const KEYS: usize = 40;
const WORKERS: usize = 16;

struct Shop {
    /// A row's newest version, what was delivered last, and how many runs it has at the moment.
    stored: Vec<AtomicU64>,
    delivered: Vec<AtomicU64>,
    running: Vec<AtomicU64>,
    overlaps: AtomicU64,
    backwards: AtomicU64,
    changing: AtomicBool,
}

/// A repeatable dice.
fn dice(seed: &mut u64, sides: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % sides
}

async fn work(queue: AsynqQueue, shop: Arc<Shop>, failures: u64, mut seed: u64) {
    loop {
        // Order matters: what was offered before changing ended is seen by this taking.
        let changing = shop.changing.load(Ordering::SeqCst);
        let jobs = queue.take(Name::of(LINE), 1).await.unwrap().jobs;
        let Some(job) = jobs.into_iter().next() else {
            let counts = queue.counts(Name::of(LINE)).await.unwrap();
            if !changing && counts.iter().all(|lane| lane.waiting + lane.retry + lane.active == 0) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(20), queue.wait(Name::of(LINE))).await;
            continue;
        };
        let row: usize = job.key.row.as_str().parse().unwrap();
        shop.overlaps.fetch_add(u64::from(shop.running[row].fetch_add(1, Ordering::SeqCst) > 0), Ordering::SeqCst);
        let version = shop.stored[row].load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(dice(&mut seed, 60))).await;
        let verdict = if dice(&mut seed, 100) < failures {
            Verdict::Retry { at: Millis(0), counts: true }
        } else {
            let before = shop.delivered[row].swap(version, Ordering::SeqCst);
            shop.backwards.fetch_add(u64::from(before > version), Ordering::SeqCst);
            Verdict::Done
        };
        shop.running[row].fetch_sub(1, Ordering::SeqCst);
        queue.finish(vec![Finish { key: job.key, lease: job.lease, verdict, document: None }]).await.unwrap();
    }
}

async fn stress(failures: u64, seconds: f64) {
    let server = servers::redis();
    let zeros = || (0..KEYS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let shop = Arc::new(Shop {
        stored: zeros(),
        delivered: zeros(),
        running: zeros(),
        overlaps: AtomicU64::new(0),
        backwards: AtomicU64::new(0),
        changing: AtomicBool::new(true),
    });
    // Two processes' worth of workers, and a third that only offers.
    let queues = [(); 3].map(|()| queue(&server, Wish::default()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|i| tokio::spawn(work(queues[i % 2].clone(), Arc::clone(&shop), failures, 0x9E37_79B9 + i as u64)))
        .collect();
    let (mut seed, began, mut changes) = (88_172_645_463_325_252, Instant::now(), 0);
    while began.elapsed().as_secs_f64() < seconds {
        let rows: Vec<usize> = (0..dice(&mut seed, 4) + 1).map(|_| dice(&mut seed, KEYS as u64) as usize).collect();
        for row in &rows {
            shop.stored[*row].fetch_add(1, Ordering::SeqCst);
        }
        changes += rows.len();
        queues[2].offer(rows.iter().map(|row| offer(&row.to_string(), (dice(&mut seed, 3)) as u8)).collect()).await.unwrap();
    }
    shop.changing.store(false, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let wrong: Vec<usize> =
        (0..KEYS).filter(|i| shop.stored[*i].load(Ordering::SeqCst) != shop.delivered[*i].load(Ordering::SeqCst)).collect();
    assert!(wrong.is_empty(), "{} of {KEYS} rows are wrong after {changes} changes: {wrong:?}", wrong.len());
    assert_eq!((shop.overlaps.load(Ordering::SeqCst), shop.backwards.load(Ordering::SeqCst)), (0, 0), "J2");
    assert_eq!(soundness::check(&mut plain(&server).await, "").await, 0, "nothing is left");
}

/// Goal: 0 rows wrong, no overlapping runs, whatever fails. Method: random changes of 40 rows, 16 workers of 0 to 60 ms,
/// shares of failing runs from 0 to 70 %.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost() {
    for failures in [0, 20, 50, 70] {
        stress(failures, 1.5).await;
    }
}
