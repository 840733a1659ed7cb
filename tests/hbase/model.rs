//! Writers and readers of the same rows, under faults and misfortune by chance, against a model: the greatest timestamp of
//! each cell.
//!
//! Held all the time: a row's version (the weight of its cells, or its counter) never falls for a reader, and two reads of one
//! version saw one content. Held at the end: every cell is the model's, and counters counted every bump that was answered.

use crate::bench::{TABLE, get, settings, table};
use crate::fake_hbase::{Chance, Dice, FakeHbase, Fault};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::client::Client;
use widerow::io::hbase::types::{Durability, Put, RowMutations, TableName};

const WRITERS: usize = 4;
/// Batches of each writer on the fake.
const BATCHES: usize = 20;
const ROWS: u64 = 24;
/// Misfortunes of the cluster in a run.
const BLOWS: usize = 8;

/// Rows that are put plainly; the others are bumped.
fn is_plain(row: u64) -> bool {
    row.is_multiple_of(2)
}

fn name(row: u64) -> String {
    format!("{}{row:02}", ["a", "b", "c", "d"][row as usize % 4])
}

#[derive(Default)]
struct Model {
    /// The greatest timestamp of each cell that was asked for.
    stamps: BTreeMap<(u64, u8), i64>,
    bumps: BTreeMap<u64, i64>,
}

pub struct Run<P> {
    place: P,
    client: Client,
    table: &'static TableName,
    batches: usize,
    model: Mutex<Model>,
    stamp: AtomicI64,
    writing: AtomicUsize,
    striking: AtomicBool,
    /// Every content that was ever seen under a version.
    contents: Mutex<HashMap<(u64, i64), Vec<Cell>>>,
}

async fn write<P>(run: &Run<P>, seed: u64) {
    let mut dice = Dice(seed);
    // The misfortunes are to meet somebody: writing goes on until they are over.
    let mut left = run.batches;
    while left > 0 || run.striking.load(Ordering::SeqCst) {
        left = left.saturating_sub(1);
        let (mut puts, mut bumps, mut bumped) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..6 {
            let (row, column) = (dice.below(ROWS), dice.below(3) as u8);
            // Stamps are handed out here and arrive in any order.
            let stamp = run.stamp.fetch_add(1, Ordering::Relaxed);
            let (qualifier, value) = ([b'p' + column], stamp.to_string());
            {
                let mut model = run.model.lock().unwrap();
                let held = model.stamps.entry((row, column)).or_default();
                *held = stamp.max(*held);
            }
            if is_plain(row) {
                let mut put = Put::new(name(row), Durability::Sync).unwrap();
                put.cell(b"cf", &qualifier, stamp, value.as_bytes()).unwrap();
                puts.push(put);
            } else {
                let mut bump = RowMutations::new(name(row)).unwrap();
                bump.put(Durability::Sync, b"cf", &qualifier, stamp, value.as_bytes()).unwrap();
                bump.increment(Durability::Sync, b"m", b"n", 1).unwrap();
                bumps.push(bump);
                bumped.push(row);
            }
        }
        let (puts, bumps) = tokio::join!(run.client.put_many(run.table, puts), run.client.mutate_many(run.table, bumps));
        puts.into_iter().for_each(|outcome| outcome.unwrap());
        bumps.into_iter().for_each(|outcome| drop(outcome.unwrap()));
        let mut model = run.model.lock().unwrap();
        bumped.into_iter().for_each(|row| *model.bumps.entry(row).or_default() += 1);
    }
    run.writing.fetch_sub(1, Ordering::SeqCst);
}

/// Weight, or the counter; the cells without it.
fn version(row: u64, cells: Vec<Cell>) -> (i64, Vec<Cell>) {
    let (counter, cells): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|c| c.family == "m");
    if is_plain(row) {
        return (cells.iter().map(|c| c.timestamp + 1).sum(), cells);
    }
    (counter.first().map_or(0, |c| i64::from_be_bytes(c.value[..].try_into().unwrap())), cells)
}

async fn read<P>(run: &Run<P>) {
    let mut last: HashMap<u64, i64> = HashMap::new();
    while run.writing.load(Ordering::SeqCst) > 0 {
        let answers = run.client.get_many(run.table, (0..ROWS).map(|row| get(&name(row))).collect()).await;
        for (row, answer) in (0..ROWS).zip(answers) {
            let (version, cells) = version(row, answer.unwrap());
            let before = last.insert(row, version).unwrap_or(0);
            assert!(version >= before, "{}: version {version} after {before}", name(row));
            let mut contents = run.contents.lock().unwrap();
            let known = contents.entry((row, version)).or_insert_with(|| cells.clone());
            assert_eq!(*known, cells, "{}: two contents of version {version}", name(row));
        }
        tokio::task::yield_now().await;
    }
}

/// Where a history happens.
pub trait Place: Send + Sync + 'static {
    /// Misfortunes, one after another, while there are writers.
    fn strike(&self, dice: Dice) -> impl Future<Output = ()> + Send;
    /// A row's cells at the end.
    fn row(&self, name: &str) -> impl Future<Output = Vec<Cell>> + Send;
}

impl Place for FakeHbase {
    /// One after another, each after some calls more.
    async fn strike(&self, mut dice: Dice) {
        for blow in 1..=BLOWS {
            self.until("more calls", |fake| fake.seen().len() >= 12 * blow).await;
            let (row, server) = (name(dice.below(ROWS)), dice.below(3) as usize);
            match dice.below(8) {
                0 => drop(self.split(TABLE, &row)),
                1 => drop(self.merge(TABLE, &row)),
                2 | 3 => drop(self.move_region(TABLE, &row, server)),
                4 => self.compact(TABLE),
                5 => {
                    self.kill(server);
                    self.revive(server);
                }
                6 => {
                    self.kill(server);
                    self.reassign(server);
                    self.revive(server);
                }
                _ => {
                    self.kill_master();
                    self.revive_master();
                }
            }
        }
    }

    async fn row(&self, name: &str) -> Vec<Cell> {
        FakeHbase::row(self, TABLE, name)
    }
}

/// One history; what it promises is in the head of this file. `table` has the families `cf` and `m`.
pub async fn history<P: Place>(place: P, client: Client, table: &'static TableName, seed: u64, batches: usize) -> Arc<Run<P>> {
    let (writing, contents) = (AtomicUsize::new(WRITERS), Mutex::default());
    let (model, stamp, striking) = (Mutex::default(), AtomicI64::new(1), AtomicBool::new(true));
    let run = Run { place, client, table, batches, model, stamp, writing, striking, contents };
    let run = Arc::new(run);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..WRITERS as u64 {
        let run = run.clone();
        tasks.spawn(async move { write(&run, seed.wrapping_mul(31) + n).await });
    }
    for _ in 0..2 {
        let run = run.clone();
        tasks.spawn(async move { read(&run).await });
    }
    tasks.spawn({
        let run = run.clone();
        async move {
            run.place.strike(Dice(seed ^ 0xb10b)).await;
            run.striking.store(false, Ordering::SeqCst);
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    for row in 0..ROWS {
        let (counted, cells) = version(row, run.place.row(&name(row)).await);
        let model = run.model.lock().unwrap();
        let wanted = model.stamps.iter().filter(|((r, _), _)| *r == row).map(|(_, stamp)| *stamp);
        let found = cells.iter().map(|c| (c.timestamp, c.value.to_vec()));
        let wanted: Vec<(i64, Vec<u8>)> = wanted.map(|stamp| (stamp, stamp.to_string().into_bytes())).collect();
        assert_eq!(found.collect::<Vec<_>>(), wanted, "seed {seed}: row {}", name(row));
        if let Some(bumps) = model.bumps.get(&row) {
            assert!(counted >= *bumps, "seed {seed}: {} counted {counted} of {bumps}", name(row));
        }
    }
    run
}

async fn on_the_fake(seed: u64) {
    let fake = FakeHbase::start(3, seed);
    fake.create_table(TABLE, &["cf", "m"], &["b", "c", "d"]);
    let faults = vec![
        Fault::Late(Duration::from_millis(5)),
        Fault::DropCall,
        Fault::DropReply,
        Fault::CloseBefore,
        Fault::CloseAfter,
        Fault::CloseMidFrame,
        Fault::Garbage,
        Fault::Fail("CallQueueTooBigException"),
        Fault::FailRegion("RegionTooBusyException"),
        Fault::FailRegion("NotServingRegionException"),
        Fault::ReplyFull(2),
    ];
    fake.by_chance(Some(Chance { one_in: 6, faults, left: 40 }));
    let client = Client::new(settings(&fake)).unwrap();
    let run = history(fake, client, table(), seed, BATCHES).await;
    assert_eq!(run.place.complaints(), Vec::<String>::new(), "seed {seed}");
    assert!(run.place.faults_met().len() > 5, "seed {seed}: {:?}", run.place.faults_met());
}

/// Goal: the model's promises above. Method: histories by seed, a few at a time; they mostly wait.
#[tokio::test]
async fn histories_end_as_the_model_says() {
    let first = u64::from(std::process::id()) << 16;
    let seeds: Vec<u64> =
        std::env::var("WIDEROW_SEED").ok().and_then(|s| s.parse().ok()).map_or_else(|| (first..first + 8).collect(), |s| vec![s]);
    // Shown when the test fails; WIDEROW_SEED runs one again.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("seeds {seeds:?}\n").as_bytes());
    let mut runs = tokio::task::JoinSet::new();
    seeds.into_iter().for_each(|seed| drop(runs.spawn(on_the_fake(seed))));
    while let Some(ended) = runs.join_next().await {
        ended.unwrap();
    }
}
