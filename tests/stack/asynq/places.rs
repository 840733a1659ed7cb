//! Redis as people run it: behind Sentinel, under TLS with a user of few rights, as a Cluster of several primaries.

use super::{LINE, Wish, address, ask, finish, offer, offer_one, plain, queue, queue_at, take};
use crate::servers::{self, Server};
use std::collections::BTreeSet;
use std::time::Duration;
use widerow::domain::fault::{Advice, FaultKind};
use widerow::domain::ids::Name;
use widerow::domain::job::{JobKey, Lane, Load, Offer, Offered, Settled, Verdict};
use widerow::io::asynq::AsynqQueue;
use widerow::ports::queue::{Finish, JobQueue};
use widerow::settings::{RedisMode, Tls};

/// Offers until the servers accept: each refusal must be one that passes by itself.
async fn offer_until_accepted(queue: &AsynqQueue, offers: Vec<Offer>) {
    while let Err(fault) = queue.offer(offers.clone()).await {
        assert_eq!(fault.advice(), Advice::Wait, "{fault}");
        tokio::task::yield_now().await;
    }
}

/// Every job of a line, each ended; a server that is away for a moment is asked again.
async fn work_all(queue: &AsynqQueue, line: Name) -> BTreeSet<String> {
    let mut done = BTreeSet::new();
    loop {
        let Ok(batch) = queue.take(line, 100).await else { continue };
        let ends = |job: &widerow::ports::queue::Taken| Finish {
            key: job.key.clone(),
            lease: job.lease,
            verdict: Verdict::Done,
            document: None,
        };
        if batch.jobs.is_empty() {
            return done;
        }
        while queue.finish(batch.jobs.iter().map(ends).collect()).await.is_err() {
            tokio::task::yield_now().await;
        }
        done.extend(batch.jobs.into_iter().map(|job| job.key.row.to_string()));
    }
}

/// Goal: J11 behind Sentinel: a failover to a replica that lags is another life, and after what intake does then nothing is
/// missing. Method: the replica is frozen while 200 jobs are accepted, the master killed, the replica thawed; what was
/// accepted is offered again, as the rewind to the mark does.
#[tokio::test]
async fn a_failover_to_a_lagging_replica_is_noticed() {
    let master = servers::redis();
    let replica = servers::redis_replica(&master);
    let mut at_master = plain(&master).await;
    while !ask::<String>(&mut at_master, &["INFO", "replication"]).await.contains("state=online") {
        tokio::task::yield_now().await;
    }
    let sentinel = servers::redis_sentinel(&master);
    let mut at_sentinel = plain(&sentinel).await;
    while !ask::<Vec<redis::Value>>(&mut at_sentinel, &["SENTINEL", "REPLICAS", "main"]).await.iter().any(|_| true) {
        tokio::task::yield_now().await;
    }
    let wish = Wish { timeout: Duration::from_secs(1), ..Wish::default() };
    let mut way = address(&sentinel, &wish);
    way.mode = RedisMode::Sentinel { master: "main".to_owned() };
    let queue = queue_at(way, wish);
    assert_eq!(offer_one(&queue, "before", 1).await, Offered::Created);
    let _: i64 = ask(&mut at_master, &["WAIT", "1", "5000"]).await;
    let first = queue.life().await.unwrap();

    replica.freeze();
    // What is sent to a frozen one would lie in its socket; without one it knows nothing of what follows.
    let _: i64 = ask(&mut at_master, &["CLIENT", "KILL", "TYPE", "replica"]).await;
    let rows: Vec<Offer> = (0..200).map(|i| offer(&format!("r{i}"), 1)).collect();
    for batch in rows.chunks(20) {
        let answers = queue.offer(batch.to_vec()).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Offered::Created));
    }
    master.kill();
    replica.thaw();
    // Load goes on all the while: whatever answers, answers as the new master.
    offer_until_accepted(&queue, vec![offer("during", 1)]).await;
    let second = loop {
        match queue.life().await {
            Ok(life) => break life,
            Err(fault) => assert_eq!(fault.advice(), Advice::Wait, "{fault}"),
        }
    };
    assert_ne!(second, first, "J11: jobs may be missing");
    let counts = queue.counts(Name::of(LINE)).await.unwrap();
    assert!(counts[1].waiting < 202, "the replica had all of it: nothing was put to the test");

    offer_until_accepted(&queue, rows.clone()).await;
    let done = work_all(&queue, Name::of(LINE)).await;
    let want: BTreeSet<String> =
        rows.iter().map(|offer| offer.key.row.to_string()).chain(["before", "during"].map(str::to_owned)).collect();
    assert_eq!(done, want);
}

/// Goal: TLS and a user of few rights. Method: a user who may touch only asynq's keys and ours works a job under TLS; with the
/// certificate checked, with a wrong password and without TLS on that port the queue is refused, each by its kind.
#[tokio::test]
async fn a_user_of_few_rights_works_under_tls() {
    let server = servers::redis_tls();
    let mut plain = plain(&server).await;
    let rights = ["ACL", "SETUSER", "worker", "on", ">secret", "~asynq:*", "~widerow:*", "+@all", "-@dangerous", "+info"];
    let _: String = ask(&mut plain, &rights).await;
    let secure = server.addresses()[1].clone();
    let at = |password: &'static str, tls: Option<bool>| {
        let tls = tls.map(|verify| Tls { ca: None, certificate: None, key: None, verify });
        let timeout = Duration::from_secs(5);
        let wish = Wish { login: Some(("worker", password)), tls, timeout, ..Wish::default() };
        let mut way = address(&server, &wish);
        way.hosts = vec![secure.clone()];
        queue_at(way, wish)
    };
    let queue = at("secret", Some(false));
    assert_eq!(offer_one(&queue, "a", 1).await, Offered::Created);
    let job = take(&queue, 1).await.remove(0);
    assert_eq!(finish(&queue, &job, Verdict::Done).await, Settled::Applied);
    queue.tend().await.unwrap();
    let kind = async |queue: AsynqQueue| queue.offer(vec![offer("b", 1)]).await.map_err(|fault| fault.kind);
    assert_eq!(kind(at("wrong", Some(false))).await, Err(FaultKind::Forbidden));
    for (what, queue) in [("the certificate is nobody's", at("secret", Some(true))), ("no TLS", at("secret", None))] {
        let refused = kind(queue).await;
        assert!(refused.is_err(), "{what}: {refused:?}");
    }
}

/// Three primaries with a third of the slots each.
async fn cluster() -> [Server; 3] {
    let nodes = [servers::redis_node(), servers::redis_node(), servers::redis_node()];
    let first: Vec<String> = nodes[0].addresses().iter().map(|to| to.rsplit(':').next().unwrap_or_default().to_owned()).collect();
    for (node, (from, to)) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
        let mut at_node = plain(node).await;
        let _: String = ask(&mut at_node, &["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
        let _: String = ask(&mut at_node, &["CLUSTER", "MEET", "127.0.0.1", &first[0], &first[1]]).await;
    }
    for node in &nodes {
        let mut at_node = plain(node).await;
        loop {
            let info: String = ask(&mut at_node, &["CLUSTER", "INFO"]).await;
            if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    nodes
}

/// Goal: J4 on a real Cluster: lanes of several lines lie on all nodes, offers raise and coalesce, a node that is away is
/// waited for. Method: 4 lines of 60 rows offered low, then high; a primary killed and started again in between; all worked.
#[tokio::test]
async fn lanes_lie_over_a_cluster() {
    let nodes = cluster().await;
    let wish = Wish { timeout: Duration::from_secs(1), ..Wish::default() };
    let mut way = address(&nodes[0], &wish);
    way.mode = RedisMode::Cluster;
    let queue = queue_at(way, wish);
    let lines = ["search", "cache", "notice", "stock"].map(Name::of);
    let offers = |line: Name, lane: u8| {
        let offer = |i: usize| Offer {
            key: JobKey { line, row: widerow::domain::ids::RowKey::new(&format!("r{i}")) },
            lane: Lane(lane),
            load: Load::default(),
        };
        (0..60).map(offer).collect::<Vec<_>>()
    };
    for line in lines {
        assert_eq!(queue.offer(offers(line, 2)).await.unwrap(), vec![Offered::Created; 60]);
    }
    nodes[1].kill();
    nodes[1].start_again();
    for line in lines {
        offer_until_accepted(&queue, offers(line, 0)).await;
    }
    for node in &nodes {
        let keys: i64 = ask(&mut plain(node).await, &["DBSIZE"]).await;
        assert!(keys > 0, "node {} holds nothing", node.address());
    }
    for line in lines {
        let counts = queue.counts(line).await.unwrap();
        // Where an answer was lost a double may have stayed below, which is harmless.
        assert_eq!(counts[0].waiting, 60, "{line}: all were raised");
        assert_eq!(work_all(&queue, line).await.len(), 60, "{line}");
    }
}

/// Goal: a refusal on Cluster names what is missing. Method: a node without slots.
#[tokio::test]
async fn a_cluster_without_slots_is_waited_for() {
    let node = servers::redis_node();
    let wish = Wish { timeout: Duration::from_secs(1), ..Wish::default() };
    let mut way = address(&node, &wish);
    way.mode = RedisMode::Cluster;
    let fault = queue_at(way, wish).offer(vec![offer("a", 1)]).await.unwrap_err();
    assert_eq!(fault.advice(), Advice::Wait, "{fault}");
    // The same server alone says that it is a cluster's.
    let alone = queue(&node, Wish::default()).offer(vec![offer("a", 1)]).await.unwrap_err();
    assert_eq!(alone.advice(), Advice::Wait, "{alone}");
}
