//! Stock Go asynq works our jobs, gives us tasks, and shows what we do (`peers/asynq`). `./dev test` fetches Go, and says so
//! where it cannot.

use super::{LINE, TestClock, Wish, ask, finish, key, offer, offer_one, plain, queue, soundness, take};
use crate::servers::{self, Server};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use widerow::domain::ids::{Millis, Name};
use widerow::domain::job::{Load, Offer, Offered, Settled, Verdict};
use widerow::ports::queue::{JobQueue, JobState, LaneCount, Which};

/// The program, built once; `None` where this run goes without Go.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = PROGRAM.get_or_init(|| {
        // `./dev test` says so where it leaves them out.
        if std::env::var_os("WIDEROW_WITHOUT_GO").is_some() {
            return None;
        }
        assert!(Command::new("go").arg("version").output().is_ok(), "go is missing: run ./dev test, which fetches it");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = root.join(".stack/bin/asynqpeer");
        std::fs::create_dir_all(root.join(".stack/bin")).unwrap();
        let mut build = Command::new("go");
        build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(root.join("peers/asynq"));
        let output = build.output().unwrap();
        assert!(output.status.success(), "peers/asynq: {}", String::from_utf8_lossy(&output.stderr));
        Some(program)
    });
    built.as_deref()
}

struct Peer<'a>(&'a Path, &'a Server);

impl Peer<'_> {
    fn start(&self, words: &[&str]) -> std::process::Child {
        let mut command = Command::new(self.0);
        command.arg(self.1.address()).args(words).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    async fn ask(&self, words: &[&str]) -> Vec<Value> {
        let child = self.start(words);
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn inspect(&self, queue: &str) -> Value {
        self.ask(&["inspect", queue]).await.remove(0)
    }
}

fn peer(server: &Server) -> Option<Peer<'_>> {
    program().map(|program| Peer(program, server))
}

/// Goal: Go workers work our jobs and leave nothing behind that stops us. Method: 30 offers, some runs fail; then the
/// same rows are offered again.
#[tokio::test]
async fn go_workers_work_our_jobs() {
    let server = servers::redis();
    let Some(go) = peer(&server) else { return };
    let queue = queue(&server, Wish::default());
    let types = || Load { types: [Name::of("price"), Name::of("paid")].into_iter().collect(), ..Load::default() };
    let offers = |n: usize| (0..n).map(|i| Offer { load: types(), ..offer(&format!("r:{i}"), 1) }).collect::<Vec<_>>();
    queue.offer(offers(30)).await.unwrap();
    let runs = go.ask(&["work", "search_normal", "30", "4"]).await;
    assert_eq!(runs.len(), 34, "30 that succeed, 4 that fail");
    // Four work side by side: the first to end need not be the first taken.
    let first = runs.iter().find(|run| run["id"] == "r~3A0~0").expect("the first job was worked");
    assert_eq!(first["type"].as_str(), Some(LINE));
    assert_eq!(
        (first["payload"].as_str(), first["types"].as_str()),
        (Some(r#"{"line":"search","row":"r:0"}"#), Some("price+paid"))
    );
    let mut plain = plain(&server).await;
    assert_eq!(soundness::check(&mut plain, "").await, 0);
    assert_eq!(queue.counts(Name::of(LINE)).await.unwrap()[1], LaneCount::default(), "J11: nothing is unfinished");
    assert!(queue.offer(offers(30)).await.unwrap().iter().all(|answer| *answer == Offered::Created));
    assert_eq!(take(&queue, 100).await.len(), 30);
    while queue.tend().await.unwrap() > 0 {}
    let picture = go.inspect("search_normal").await;
    assert_eq!((picture["processed"].as_i64(), picture["failed"].as_i64()), (Some(34), Some(4)));
}

/// Goal: J2 on a queue that Go works: a change that comes while Go runs the row gets a run of its own. Method: Go's own
/// hand-out script by hand, two offers, Go's end by hand.
#[tokio::test]
async fn a_change_during_a_foreign_run_is_not_lost() {
    let server = servers::redis();
    let (queue, mut plain) = (queue(&server, Wish::default()), plain(&server).await);
    offer_one(&queue, "a", 1).await;
    let at = "asynq:{search_normal}:";
    let id: String = ask(&mut plain, &["RPOPLPUSH", &format!("{at}pending"), &format!("{at}active")]).await;
    assert_eq!(id, "a~0");
    ask::<i64>(&mut plain, &["HSET", &format!("{at}t:a~0"), "state", "active"]).await;
    ask::<i64>(&mut plain, &["ZADD", &format!("{at}lease"), "9999999999", "a~0"]).await;
    assert_eq!(offer_one(&queue, "a", 1).await, Offered::Created, "a follow-up");
    assert_eq!(offer_one(&queue, "a", 1).await, Offered::Coalesced);
    assert!(take(&queue, 5).await.is_empty(), "our workers wait for the foreign run");
    soundness::check(&mut plain, "").await;
    for words in [&["LREM", "active", "0", "a~0"][..], &["ZREM", "lease", "a~0"], &["DEL", "t:a~0"]] {
        let mut words = words.to_vec();
        let key = format!("{at}{}", words[1]);
        words[1] = &key;
        ask::<i64>(&mut plain, &words).await;
    }
    assert_eq!(offer_one(&queue, "a", 1).await, Offered::Coalesced, "onto the follow-up");
    let due: String = ask(&mut plain, &["ZSCORE", &format!("{at}scheduled"), "a~1"]).await;
    assert!(due.parse::<f64>().unwrap() > 1.0, "set back, to come by itself");
    ask::<i64>(&mut plain, &["ZADD", &format!("{at}scheduled"), "1", "a~1"]).await;
    let job = take(&queue, 5).await.remove(0);
    assert_eq!(finish(&queue, &job, Verdict::Done).await, Settled::Applied);
    assert_eq!(soundness::check(&mut plain, "").await, 0);
}

/// Goal: our workers work tasks that Go put into our queues. Method: rows by Go beside one of ours; one that names none.
#[tokio::test]
async fn our_workers_work_gos_tasks() {
    let server = servers::redis();
    let Some(go) = peer(&server) else { return };
    let queue = queue(&server, Wish::default());
    offer_one(&queue, "g1", 1).await;
    go.ask(&["enqueue", "search_normal", "refresh", "5"]).await;
    let mut jobs = take(&queue, 100).await;
    jobs.extend(take(&queue, 100).await);
    let mut rows: Vec<String> = jobs.iter().map(|job| job.key.row.to_string()).collect();
    rows.sort_unstable();
    // Ours of g1 was already taken when Go's came: a follow-up, which waits for it.
    assert_eq!(rows, ["g0", "g1", "g2", "g3", "g4"]);
    for job in &jobs {
        assert_eq!(finish(&queue, job, Verdict::Done).await, Settled::Applied);
    }
    for job in take(&queue, 100).await {
        assert_eq!((job.key.clone(), finish(&queue, &job, Verdict::Done).await), (key("g1"), Settled::Applied));
    }
    let mut plain = plain(&server).await;
    assert_eq!(soundness::check(&mut plain, "").await, 0);
    let at = "asynq:{search_bulk}:";
    ask::<i64>(&mut plain, &["HSET", &format!("{at}t:odd"), "msg", "\u{1}", "state", "pending"]).await;
    ask::<i64>(&mut plain, &["LPUSH", &format!("{at}pending"), "odd"]).await;
    assert!(take(&queue, 5).await.is_empty());
    assert_eq!(soundness::check(&mut plain, "").await, 1);
    assert_eq!(ask::<String>(&mut plain, &["HGET", &format!("{at}t:odd"), "state"]).await, "archived");
}

/// Goal: asynq's inspector shows every state of ours and our process. Method: one job in each state; read its picture.
#[tokio::test]
async fn the_inspector_shows_our_jobs_and_workers() {
    let server = servers::redis();
    let Some(go) = peer(&server) else { return };
    let clock = TestClock::new();
    let queue = queue(&server, Wish { clock: Some(clock.clone()), ..Wish::default() });
    for row in ["retry", "buried", "active"] {
        offer_one(&queue, row, 1).await;
        let job = take(&queue, 1).await.remove(0);
        let verdict = match row {
            "retry" => Verdict::Retry { at: Millis(clock.now().0 + 60_000), counts: true },
            "buried" => Verdict::Bury { reason: "no mapping: 订单".into() },
            _ => continue,
        };
        assert_eq!(finish(&queue, &job, verdict).await, Settled::Applied);
    }
    offer_one(&queue, "waiting", 1).await;
    queue.tend().await.unwrap();
    let picture = go.inspect("search_normal").await;
    for (state, count) in [("size", 4), ("pending", 1), ("active", 1), ("retry", 1), ("archived", 1), ("scheduled", 0)] {
        assert_eq!(picture[state], count, "{state} of {picture}");
    }
    let queues: Vec<&str> = picture["queues"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(["search_urgent", "search_normal", "search_bulk"].iter().all(|queue| queues.contains(queue)), "{queues:?}");
    let tasks = &picture["tasks"];
    assert_eq!(tasks["archived"][0]["last_err"], "no mapping: 订单");
    assert_eq!((&tasks["archived"][0]["retried"], &tasks["retry"][0]["retried"]), (&1.into(), &1.into()));
    assert_eq!((&tasks["pending"][0]["timeout"], &tasks["pending"][0]["max_retry"]), (&1800.into(), &25.into()));
    assert_eq!(picture["servers"][0]["status"], "active", "{}", picture["servers"]);
    assert_eq!(picture["servers"][0]["queues"]["search_urgent"], 6);
    assert_eq!(picture["servers"][0]["workers"][0]["id"], "active~0");
}

/// Goal: what people do with asynq's tools counts with us. Method: pause, archive a waiting job, run it again.
#[tokio::test]
async fn what_people_do_with_asynqs_tools_counts() {
    let server = servers::redis();
    let Some(go) = peer(&server) else { return };
    let queue = queue(&server, Wish::default());
    offer_one(&queue, "a", 1).await;
    go.ask(&["pause", "search_normal"]).await;
    assert!(take(&queue, 5).await.is_empty());
    go.ask(&["unpause", "search_normal"]).await;
    go.ask(&["archive", "search_normal", "a~0"]).await;
    assert!(take(&queue, 5).await.is_empty());
    let buried = queue.list(Which { state: Some(JobState::Buried), ..Which::default() }, 10).await.unwrap();
    assert_eq!(buried.len(), 1);
    go.ask(&["run", "search_normal", "a~0"]).await;
    assert_eq!(offer_one(&queue, "a", 1).await, Offered::Coalesced);
    go.ask(&["archive", "search_normal", "a~0"]).await;
    assert_eq!(offer_one(&queue, "a", 1).await, Offered::Created, "J7: a change revives it");
    let job = take(&queue, 5).await.remove(0);
    assert_eq!(finish(&queue, &job, Verdict::Done).await, Settled::Applied);
    assert_eq!(soundness::check(&mut plain(&server).await, "").await, 0);
}
