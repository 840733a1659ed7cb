//! Reads of rows whose older versions still lie about: what the cheap way shows is what an ordinary read shows.

use crate::fake_hbase::{Dice, FakeHbase};
use crate::servers;
use std::hash::{BuildHasher, RandomState};
use widerow::io::hbase::cell::CellType;
use widerow::io::hbase::client::{Client, ClientSettings};
use widerow::io::hbase::types::{Columns, Durability, FamilyDescriptor, Get, RowMutations, TableDescriptor, TableName};

/// Steps of a history; strangers come in its second half.
const STEPS: u64 = 600;
const LOOK_EACH: u64 = 3;
/// Rows, and which markers strangers leave there: of one kind each, so that every kind is met alone.
const ROWS: [(&str, CellType); 4] =
    [("a", CellType::DeleteColumn), ("b", CellType::Delete), ("c", CellType::DeleteFamily), ("d", CellType::DeleteFamilyVersion)];
const FAMILIES: [&str; 2] = ["cf", "m"];

/// One mutation by chance: mostly puts, some of the markers that a purge leaves, and those of strangers.
async fn step(client: &Client, table: &TableName, dice: &mut Dice, at: u64) {
    let (row, strange) = ROWS[dice.below(ROWS.len() as u64) as usize];
    let family = FAMILIES[dice.below(2) as usize].as_bytes();
    let qualifier = [&b"p"[..], b"q", b"r"][dice.below(3) as usize];
    // Stamps rise with the history, or soon everything would be deleted.
    let stamp = (1 + at / 10 + dice.below(12)) as i64;
    let strangers = at > STEPS / 2;
    let mut change = RowMutations::new(row).unwrap();
    match dice.below(if strangers { 14 } else { 12 }) {
        0..10 => {
            let value = format!("{stamp}/{}", dice.below(1_000));
            change.put(Durability::Sync, family, qualifier, stamp, value.as_bytes()).unwrap();
        }
        throw => {
            let kind = if throw < 12 { CellType::DeleteColumn } else { strange };
            let family_wide = matches!(kind, CellType::DeleteFamily | CellType::DeleteFamilyVersion);
            change.delete(Durability::Sync, kind, family, if family_wide { b"" } else { qualifier }, stamp).unwrap();
        }
    }
    client.mutate_many(table, vec![change]).await.remove(0).unwrap();
}

/// Both ways of reading at every moment of a history.
async fn both_ways_show_the_same(client: &Client, name: &str) {
    let seed = RandomState::new().hash_one(0);
    let table = TableName::parse(name).unwrap();
    let families = FAMILIES.map(FamilyDescriptor::new).to_vec();
    client.ensure_table(&TableDescriptor { name: table.clone(), families, attributes: Default::default() }, &[]).await.unwrap();
    let get = |(row, _): &(&'static str, CellType)| Get { columns: FAMILIES.map(Columns::family).to_vec(), ..Get::new(*row) };
    let mut dice = Dice(seed);
    let mut seen = 0;
    for at in 0..STEPS {
        step(client, &table, &mut dice, at).await;
        if at == STEPS / 3 || at == STEPS / 4 * 3 {
            client.flush_table(&table).await.unwrap();
        }
        if at % LOOK_EACH == 0 {
            let ordinary = client.get_many(&table, ROWS.iter().map(get).collect()).await;
            let newest = client.newest_many(&table, ROWS.iter().map(get).collect()).await;
            for (((row, _), ordinary), newest) in ROWS.iter().zip(ordinary).zip(newest) {
                let (ordinary, newest) = (ordinary.unwrap(), newest.unwrap());
                assert_eq!(newest, ordinary, "seed {seed}, step {at}, row {row}");
                seen += ordinary.len();
            }
        }
    }
    assert!(seen > 400, "seed {seed}: only {seen} cells were looked at");
}

/// Goal: a read of the newest cells is an ordinary one, whatever lies behind them. Method: puts and deletes by chance, of
/// ours and of strangers, across flushes; both reads after each few.
#[tokio::test]
async fn newest_cells_are_what_an_ordinary_read_shows_on_the_fake() {
    let fake = FakeHbase::start(1, 1);
    let client = Client::new(ClientSettings::new(fake.addresses())).unwrap();
    both_ways_show_the_same(&client, "newest").await;
}

#[tokio::test]
async fn newest_cells_are_what_an_ordinary_read_shows_on_a_server() {
    let server = servers::shared(servers::Kind::Hbase);
    let client = Client::new(ClientSettings::new(server.addresses()[..2].to_vec())).unwrap();
    both_ways_show_the_same(&client, "newest").await;
}
