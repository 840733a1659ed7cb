//! Worker processes that die or freeze with jobs in hand (J10): their leases end, others do the work, nobody's word counts
//! twice.

use super::{LINE, Wish, offer, plain, queue, soundness, take};
use crate::servers::{self, Server};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use widerow::domain::ids::Name;
use widerow::domain::job::{Settled, Verdict};
use widerow::io::asynq::AsynqQueue;
use widerow::ports::queue::{Finish, JobQueue};

/// Tells the child its Redis.
const CHILD: &str = "WIDEROW_TEST_WORKER_OF";
const LEASE: Duration = Duration::from_secs(2);
const JOBS: usize = 30;
const HELD: usize = 10;

fn wish() -> Wish {
    Wish { lease: LEASE, ..Wish::default() }
}

/// The child: takes some jobs, says so, and ends them when it is told to go on.
async fn hold_jobs(address: &str) {
    let mut way = super::address_of(address);
    way.timeout = Duration::from_secs(5);
    let queue = super::queue_at(way, wish());
    let jobs = queue.take(Name::of(LINE), HELD).await.unwrap().jobs;
    tell(&format!("took {}", jobs.len()));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let end = |job: &widerow::ports::queue::Taken| Finish {
        key: job.key.clone(),
        lease: job.lease,
        verdict: Verdict::Done,
        document: None,
    };
    let settled = queue.finish(jobs.iter().map(end).collect()).await.unwrap();
    tell(&format!("gone {}", settled.iter().filter(|settled| **settled == Settled::LeaseGone).count()));
}

fn tell(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).unwrap();
}

fn child(server: &Server, test: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, server.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(heard(&mut out, "took "), HELD);
    (child, out)
}

fn heard(out: &mut BufReader<ChildStdout>, word: &str) -> usize {
    let number = |line: String| line.strip_prefix(word).and_then(|n| n.trim().parse().ok());
    out.lines().map_while(Result::ok).find_map(number).unwrap_or_else(|| panic!("the child said no `{word}`"))
}

/// Works until all rows were done, its own process tending. Says how many had been tried before.
async fn work_the_rest(queue: &AsynqQueue) -> usize {
    let (mut done, mut again) = (BTreeSet::new(), 0);
    while done.len() < JOBS {
        queue.tend().await.unwrap();
        for job in take(queue, 100).await {
            again += usize::from(job.attempts == 1);
            assert_eq!(super::finish(queue, &job, Verdict::Done).await, Settled::Applied);
            assert!(done.insert(job.key.row.to_string()), "{} was worked twice", job.key.row);
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), queue.wait(Name::of(LINE))).await;
    }
    again
}

/// Goal: kill -9 of a worker loses no job. Method: this test starts itself as a worker that holds 10 of 30 jobs and kills it;
/// another process's worker does all 30, those ten as second tries.
#[tokio::test]
async fn a_killed_worker_loses_nothing() {
    if let Ok(address) = std::env::var(CHILD) {
        return hold_jobs(&address).await;
    }
    let server = servers::redis();
    let queue = queue(&server, wish());
    queue.offer((0..JOBS).map(|i| offer(&format!("r{i}"), 1)).collect()).await.unwrap();
    let (mut child, _out) = child(&server, "asynq::workers::a_killed_worker_loses_nothing");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(work_the_rest(&queue).await, HELD);
    assert_eq!(soundness::check(&mut plain(&server).await, "").await, 0, "nothing is left");
}

/// Goal: a worker frozen past its lease does no harm when it wakes. Method: as above, but SIGSTOP; another does all 30 jobs; a
/// change of one row follows; then SIGCONT: all ten verdicts find their leases gone and the new job still waits.
#[tokio::test]
async fn a_worker_frozen_past_its_lease_is_not_believed() {
    if let Ok(address) = std::env::var(CHILD) {
        return hold_jobs(&address).await;
    }
    let server = servers::redis();
    let queue = queue(&server, wish());
    queue.offer((0..JOBS).map(|i| offer(&format!("r{i}"), 1)).collect()).await.unwrap();
    let (mut child, mut out) = child(&server, "asynq::workers::a_worker_frozen_past_its_lease_is_not_believed");
    let pid = child.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, pid.as_str()]).status().unwrap().success());
    signal("-STOP");
    assert_eq!(work_the_rest(&queue).await, HELD);
    queue.offer(vec![offer("r0", 1)]).await.unwrap();
    signal("-CONT");
    drop(child.stdin.take());
    assert_eq!(heard(&mut out, "gone "), HELD);
    child.wait().unwrap();
    let jobs = take(&queue, 10).await;
    assert_eq!(jobs.iter().map(|job| job.key.row.as_str()).collect::<Vec<_>>(), ["r0"]);
}
