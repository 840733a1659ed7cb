//! Worker processes that die or freeze with jobs in hand (J10): their leases end, others do the work, nobody's word counts
//! twice; a node that starts again takes back what its dead former life held.

use super::{LINE, Wish, offer, plain, queue, soundness, take};
use crate::servers::{self, Server};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use widerow::domain::fault::FaultKind;
use widerow::domain::ids::Name;
use widerow::domain::job::{Settled, Verdict};
use widerow::io::asynq::AsynqQueue;
use widerow::io::embedded::{EmbeddedLedger, EmbeddedStore};
use widerow::io::memory::MemoryLedger;
use widerow::ports::ledger::Ledger;
use widerow::ports::queue::{Finish, JobQueue};

/// Tells the child its Redis, and the folder of a node that has one.
const CHILD: &str = "WIDEROW_TEST_WORKER_OF";
const FOLDER: &str = "WIDEROW_TEST_WORKER_FOLDER";
const LEASE: Duration = Duration::from_secs(2);
const JOBS: usize = 30;
const HELD: usize = 10;

fn wish() -> Wish {
    Wish { lease: LEASE, ..Wish::default() }
}

/// A node that has this folder open; its leases outlast every test.
fn node_of(folder: &Path) -> Wish {
    let own: Arc<dyn Ledger> = Arc::new(EmbeddedLedger::open(EmbeddedStore::open(folder).unwrap()).unwrap());
    Wish { own: Some(own), ..Wish::default() }
}

/// The child: takes some jobs, says so, and ends them when it is told to go on.
async fn hold_jobs(address: &str) {
    let mut way = super::address_of(address);
    way.timeout = Duration::from_secs(5);
    let wish = std::env::var(FOLDER).map_or_else(|_| wish(), |folder| node_of(Path::new(&folder)));
    let queue = super::queue_at(way, wish);
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
    child_with(Command::new(std::env::current_exe().unwrap()).env(CHILD, server.address()), test)
}

fn child_with(command: &mut Command, test: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = command
        .args(["--exact", test, "--nocapture"])
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

/// Goal: kill -9 of a node, start again: its first take brings what it held, long before those leases end, and nothing of a
/// node that lives. Method: this test starts itself as a node with a folder that holds 10 of 30 jobs, kills it, and opens its
/// folder; another node holds 5.
#[tokio::test]
async fn a_restarted_node_takes_back_what_it_held() {
    if let Ok(address) = std::env::var(CHILD) {
        return hold_jobs(&address).await;
    }
    let (server, folder) = (servers::redis(), tempfile::tempdir().unwrap());
    let other = queue(&server, Wish { own: Some(Arc::new(MemoryLedger::new())), ..Wish::default() });
    other.offer((0..JOBS).map(|i| offer(&format!("r{i}"), (i % 3) as u8)).collect()).await.unwrap();
    let held_by_other = take(&other, 5).await;
    assert_eq!(held_by_other.len(), 5);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, server.address()).env(FOLDER, folder.path());
    let (mut child, _out) = child_with(&mut command, "asynq::workers::a_restarted_node_takes_back_what_it_held");
    child.kill().unwrap();
    child.wait().unwrap();
    let again = queue(&server, node_of(folder.path()));
    let jobs = take(&again, 100).await;
    assert_eq!(jobs.len(), JOBS - 5);
    assert_eq!(jobs.iter().filter(|job| job.attempts == 1).count(), HELD, "a run whose worker died was a try");
    for (queue, jobs) in [(&again, jobs), (&other, held_by_other)] {
        for job in jobs {
            assert_eq!(super::finish(queue, &job, Verdict::Done).await, Settled::Applied, "{}", job.key.row);
        }
    }
    assert_eq!(soundness::check(&mut plain(&server).await, "").await, 0, "nothing is left");
}

/// Goal: a frozen node is not taken for a dead one. Method: as above, but SIGSTOP: its folder stays locked, so that no second
/// one starts; a node of another folder takes nothing of it; then SIGCONT: all its verdicts count.
#[tokio::test]
async fn a_frozen_node_keeps_what_it_holds() {
    if let Ok(address) = std::env::var(CHILD) {
        return hold_jobs(&address).await;
    }
    let (server, folder, another) = (servers::redis(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = queue(&server, node_of(another.path()));
    other.offer((0..JOBS).map(|i| offer(&format!("r{i}"), 1)).collect()).await.unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, server.address()).env(FOLDER, folder.path());
    let (mut child, mut out) = child_with(&mut command, "asynq::workers::a_frozen_node_keeps_what_it_holds");
    let pid = child.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, pid.as_str()]).status().unwrap().success());
    signal("-STOP");
    let refused = EmbeddedStore::open(folder.path()).err().unwrap();
    assert_eq!(refused.kind, FaultKind::Incompatible, "{refused}");
    assert_eq!(take(&other, 100).await.len(), JOBS - HELD);
    signal("-CONT");
    drop(child.stdin.take());
    assert_eq!(heard(&mut out, "gone "), 0);
    child.wait().unwrap();
    assert_eq!(take(&queue(&server, node_of(folder.path())), 100).await, [], "its former life had ended its jobs");
}

/// Goal: where a lock deceives, as with a copied folder, no verdict counts twice. Method: two lives on one ledger at a time;
/// the second takes back what the first one still works on, and the first one's word comes first.
#[tokio::test]
async fn a_life_wrongly_taken_for_dead_is_not_believed() {
    let server = servers::redis();
    let own: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let life = || queue(&server, Wish { own: Some(Arc::clone(&own)), ..Wish::default() });
    let first = life();
    first.offer((0..3).map(|i| offer(&format!("r{i}"), 1)).collect()).await.unwrap();
    let held = take(&first, 10).await;
    let second = life();
    // A change while it runs: its follow-up and the run that is given back become one job.
    second.offer(vec![offer("r0", 1)]).await.unwrap();
    let again = take(&second, 10).await;
    assert_eq!((held.len(), again.len()), (3, 3));
    first.extend(held.iter().map(|job| (job.key.clone(), job.lease)).collect()).await.unwrap();
    for job in &held {
        assert_eq!(super::finish(&first, job, Verdict::Done).await, Settled::LeaseGone);
    }
    for job in &again {
        assert_eq!(super::finish(&second, job, Verdict::Done).await, Settled::Applied);
    }
    assert_eq!(soundness::check(&mut plain(&server).await, "").await, 0, "nothing is left");
}
