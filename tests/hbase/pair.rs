//! Two region servers, each a process of its own: the first with master and ZooKeeper, the second alone.

use crate::peer_process::Peer;
use crate::servers::{self, Server};
use crate::store::{change, open, part, read, row, settings};
use futures_util::future::join_all;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use widerow::domain::ids::Stamp;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::store::HbaseRowStore;
use widerow::io::hbase::types::{Durability, FamilyDescriptor, Get, Put, TableDescriptor, TableName};
use widerow::ports::rows::{RowStore, RowWrite};
use widerow::settings::{HbaseSettings, Wal};

/// Rows of each follower, over every region.
const ROWS: u64 = 12;
/// Rows of one batch.
const BATCH: u64 = 5;
/// Batches between two looks at what is durable.
const FLUSHED_EVERY: u64 = 20;

/// What the followers and the one who strikes know of each other.
struct Weather {
    /// Nobody flushes: what is written now is in memory only, unless it is logged.
    quiet: AtomicBool,
    calm: AtomicBool,
    steps: [AtomicU64; 3],
    news: tokio::sync::Notify,
}

impl Weather {
    /// Every follower goes on by so many batches.
    async fn work(&self, batches: u64) {
        let from = self.steps.each_ref().map(|steps| steps.load(Ordering::SeqCst));
        let done = || self.steps.iter().zip(from).all(|(steps, from)| steps.load(Ordering::SeqCst) >= from + batches);
        while !done() {
            self.news.notified().await;
        }
    }
}

fn id(wal: Wal, n: u64) -> widerow::domain::ids::RowId {
    row(&format!("{:04}:{n}-{wal:?}", n * 800))
}

/// Follows a log whose record `step` sets the rows `step`, `step + 1`, … to `step`, as intake does: what is not durable is
/// replayed from the mark when the store tells of a loss. Ends once all is durable; the last step, and how often it went back.
async fn follow(store: &HbaseRowStore, wal: Wal, weather: &Weather) -> (u64, u64) {
    let (mut step, mut mark, mut rewinds, mut losses) = (0, 0, 0, 0);
    let mut end = None;
    loop {
        if store.losses() != losses {
            losses = store.losses();
            rewinds += 1;
            step = mark;
        }
        if weather.calm.load(Ordering::SeqCst) {
            end = end.or(Some(step + ROWS));
        }
        let over = end == Some(step);
        if over || (step % FLUSHED_EVERY == 0 && !weather.quiet.load(Ordering::SeqCst)) {
            // What fails is asked for again, at the latest at the end.
            let durable = store.make_durable().await.is_ok() && store.losses() == losses;
            if durable {
                mark = step;
            }
            if over {
                if durable {
                    return (step, rewinds);
                }
                continue;
            }
        }
        step += 1;
        let stamp = step as i64;
        let write = |n: u64| RowWrite {
            row: id(wal, n % ROWS),
            change: change("orders", "", stamp, &[("status", &step.to_string())]).into(),
        };
        let mut batch: Vec<RowWrite> = (step..step + BATCH).map(write).collect();
        while !batch.is_empty() {
            let outcomes = store.write(batch.clone()).await;
            batch = batch.into_iter().zip(outcomes).filter(|(_, outcome)| outcome.is_err()).map(|(write, _)| write).collect();
        }
        weather.steps[wal as usize].fetch_add(1, Ordering::SeqCst);
        weather.news.notify_waiters();
        weather.news.notify_one();
    }
}

/// A command for the table's administrator, who answers when it is done.
async fn ask(peer: &Arc<Mutex<Peer>>, words: &[&str]) {
    let (peer, words): (_, Vec<String>) = (Arc::clone(peer), words.iter().map(|word| (*word).to_owned()).collect());
    let asked =
        tokio::task::spawn_blocking(move || peer.lock().unwrap().ask(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    asked.await.unwrap();
}

async fn order(server: &Arc<Server>, what: fn(&Server)) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || what(&server)).await.unwrap();
}

/// Goal: W1 to W3 with two real servers: regions that move are invisible; a server killed under load costs nothing with
/// `wal: sync`, and is told as a loss otherwise, after which the replay from the mark ends where the log does. Method: a
/// follower for each WAL mode; regions moved there and back; SIGKILL while unflushed batches of each lie on both servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_followed_over_moves_and_a_crash() {
    let first = Arc::new(servers::hbase());
    let second = Arc::new(servers::hbase_region(&first, 5000));
    let addresses = first.addresses()[..2].to_vec();
    let stores: Vec<(Wal, HbaseRowStore)> = [Wal::Sync, Wal::Async, Wal::Skip]
        .map(|wal| (wal, open(&HbaseSettings { wal, ..settings(addresses.clone(), "pair_{row}") })))
        .into();
    // The first call makes the tables.
    for (_, store) in &stores {
        store.make_durable().await.unwrap();
    }
    let peer = Arc::new(Mutex::new(Peer::start(&addresses, "pair_order")));
    let weather = Weather {
        quiet: AtomicBool::new(false),
        calm: AtomicBool::new(false),
        steps: Default::default(),
        news: tokio::sync::Notify::new(),
    };
    let ports = [first.addresses()[1].clone(), second.address()].map(|address| address.rsplit(':').next().unwrap().to_owned());
    let strike = async {
        weather.work(3).await;
        for (key, to) in [("0", 1), ("5", 1), ("3", 1), ("3", 0), ("0", 0), ("0", 1), ("8", 0)] {
            ask(&peer, &["move", key, &ports[to]]).await;
            weather.work(2).await;
        }
        weather.quiet.store(true, Ordering::SeqCst);
        weather.work(10).await;
        order(&second, Server::kill).await;
        weather.quiet.store(false, Ordering::SeqCst);
        // Its regions are served again.
        weather.work(5).await;
        order(&second, Server::start_again).await;
        ask(&peer, &["move", "5", &ports[1]]).await;
        weather.work(5).await;
        weather.calm.store(true, Ordering::SeqCst);
    };
    let following = join_all(stores.iter().map(|(wal, store)| follow(store, *wal, &weather)));
    let (ends, ()) = tokio::join!(following, strike);
    for ((wal, store), (end, rewinds)) in stores.iter().zip(ends) {
        assert_eq!(rewinds > 0, *wal != Wal::Sync, "{wal:?} went back {rewinds} times");
        for n in 0..ROWS {
            let held = read(store, id(*wal, n).key.as_str()).await.unwrap();
            let last = (0..=end).rev().find(|step| (*step..step + BATCH).any(|row| row % ROWS == n)).unwrap();
            let cells = &held.part(&part("orders", "")).unwrap().cells;
            let found: Vec<_> = cells.iter().map(|cell| (cell.stamp, cell.value.map(str::to_owned))).collect();
            assert_eq!(found, [(Stamp(last as i64), Some(last.to_string()))], "{wal:?}, row {n}");
        }
    }
}

/// Goal: the master and meta may be away: a server that lives serves on, and all is well when they return. Method: a region
/// moved to the second server, the first killed; puts and gets; the first alive again; a row of its own region, a move back, a
/// table made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_server_works_on_without_master_and_meta() {
    let first = Arc::new(servers::hbase());
    let second = Arc::new(servers::hbase_region(&first, 40_000));
    let addresses = first.addresses()[..2].to_vec();
    let client = Client::new(ClientSettings::new(addresses.clone())).unwrap();
    let name = TableName::parse("masterless").unwrap();
    let wanted = |name: &TableName| TableDescriptor {
        name: name.clone(),
        families: vec![FamilyDescriptor::new("cf")],
        attributes: Default::default(),
    };
    client.ensure_table(&wanted(&name), &["m".into()]).await.unwrap();
    let peer = Arc::new(Mutex::new(Peer::start(&addresses, "masterless")));
    let [home, abroad] = [&first.addresses()[1], &second.address()].map(|a| a.rsplit(':').next().unwrap().to_owned());
    ask(&peer, &["move", "a", &home]).await;
    ask(&peer, &["move", "x", &abroad]).await;
    let put = async |row: &'static str, stamp: i64| {
        let mut put = Put::new(row, Durability::Sync).unwrap();
        put.cell(b"cf", b"q", stamp, b"v").unwrap();
        client.put_many(&name, vec![put]).await.remove(0).unwrap();
    };
    let newest = async |row: &'static str| client.get(&name, Get::new(row)).await.unwrap()[0].timestamp;
    put("a", 1).await;
    put("x", 1).await;
    order(&first, Server::kill).await;
    for stamp in 2..40 {
        put("x", stamp).await;
        assert_eq!(newest("x").await, stamp);
    }
    order(&first, Server::start_again).await;
    put("a", 2).await;
    ask(&peer, &["move", "x", &home]).await;
    put("x", 40).await;
    assert_eq!((newest("a").await, newest("x").await), (2, 40));
    client.ensure_table(&wanted(&TableName::parse("later").unwrap()), &[]).await.unwrap();
}
