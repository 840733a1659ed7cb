//! The same promises on a real server that is killed, frozen, split and compacted.

use crate::fake_hbase::Dice;
use crate::model::{Place, history};
use crate::peer_process::Peer;
use crate::servers::{self, Server};
use std::sync::{Arc, Mutex, OnceLock};
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::types::{Durability, FamilyDescriptor, Get, Put, TableDescriptor, TableName};

fn client(server: &Server) -> Client {
    Client::new(ClientSettings::new(server.addresses()[..2].to_vec())).unwrap()
}

async fn make(client: &Client, name: &TableName) {
    let families = vec![FamilyDescriptor::new("cf"), FamilyDescriptor::new("m")];
    let wanted = TableDescriptor { name: name.clone(), families, attributes: Default::default() };
    client.ensure_table(&wanted, &["b".into(), "c".into()]).await.unwrap();
}

async fn put(client: &Client, table: &TableName, row: &'static str, stamp: i64, durability: Durability) {
    let mut put = Put::new(row, durability).unwrap();
    put.cell(b"cf", b"q", stamp, b"x").unwrap();
    client.put_many(table, vec![put]).await.remove(0).unwrap();
}

async fn newest(client: &Client, table: &TableName, row: &'static str) -> Option<i64> {
    client.get(table, Get::new(row)).await.unwrap().first().map(|cell| cell.timestamp)
}

/// Goal: W1 as the server keeps it, and W3's sign. Method: unlogged rows before and after a flush, a synced one and an
/// unlogged one over it, SIGKILL; the start code.
#[tokio::test]
async fn a_killed_server_keeps_what_was_synced_or_flushed() {
    let server = servers::hbase();
    let client = client(&server);
    let table = TableName::parse("killed").unwrap();
    make(&client, &table).await;
    put(&client, &table, "flushed", 1, Durability::Skip).await;
    client.flush_table(&table).await.unwrap();
    put(&client, &table, "skip", 1, Durability::Skip).await;
    put(&client, &table, "sync", 1, Durability::Sync).await;
    // An unlogged overwrite of a synced cell: the synced one comes back.
    put(&client, &table, "both", 1, Durability::Sync).await;
    put(&client, &table, "both", 2, Durability::Skip).await;
    let lives = client.servers();
    let before = lives.borrow().clone();
    server.kill();
    server.start_again();
    let rows = ["flushed", "skip", "sync", "both"];
    let mut found = Vec::new();
    for row in rows {
        found.push(newest(&client, &table, row).await);
    }
    assert_eq!(found, [Some(1), None, Some(1), Some(1)]);
    assert_ne!(*lives.borrow(), before, "another life shows in the start codes");
}

struct Real {
    server: Arc<Server>,
    peer: Arc<Mutex<Peer>>,
    client: Client,
    table: &'static TableName,
}

impl Place for Real {
    /// A server's verbs and the peer's answers block and take as long as they take; writing goes on meanwhile.
    async fn strike(&self, mut dice: Dice) {
        for blow in 0..7 {
            let key = format!("{}{:02}", ["a", "b", "c", "d"][dice.below(4) as usize], dice.below(24));
            let (server, peer) = (self.server.clone(), self.peer.clone());
            let struck = tokio::task::spawn_blocking(move || {
                let ask = |words: &[&str]| drop(peer.lock().unwrap().ask(words));
                match blow {
                    0 | 3 => ask(&["split", &key]),
                    1 => ask(&["flush"]),
                    2 => {
                        server.kill();
                        server.start_again();
                    }
                    4 => ask(&["compact"]),
                    5 => ask(&["merge"]),
                    _ => {
                        server.freeze();
                        server.thaw();
                    }
                }
            });
            struck.await.unwrap();
        }
    }

    async fn row(&self, name: &str) -> Vec<Cell> {
        self.client.get(self.table, Get::new(name.to_owned())).await.unwrap()
    }
}

/// Goal: the model's promises on the real thing. Method: one history while the server is split, flushed, killed, compacted,
/// merged and frozen.
#[test]
fn a_history_on_a_real_server_ends_as_the_model_says() {
    static TABLE: OnceLock<TableName> = OnceLock::new();
    let table = TABLE.get_or_init(|| TableName::parse("history").unwrap());
    let server = servers::hbase();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = client(&server);
        make(&client, table).await;
        let peer = Arc::new(Mutex::new(Peer::start(&server.addresses()[..2], "history")));
        let place = Real { server: Arc::new(server), peer, client: client.clone(), table };
        history(place, client, table, 11, 60).await;
    });
}
