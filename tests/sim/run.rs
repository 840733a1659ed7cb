//! One run from one seed: nodes come and go over a log that grows, faults stop, everything must come right.

use super::cases::{self, How};
use super::checks;
use super::group::{Group, SimSource};
use super::hull::{Hull, HullLedger, HullQueue, HullRows, HullSink};
use super::plan::{Extras, Kind, Ordeal, Plan};
use super::sea::{PURGE_HORIZON_MS, Script, Sea, Seen, begin_time, clock, jump};
use crate::world::{Dice, SHOP, Shop, load};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use widerow::domain::ids::{Name, Partition, RecordOffset};
use widerow::domain::record::Record;
use widerow::ports::Doors;
use widerow::ports::queue::{JobQueue, Which};
use widerow::ports::sink::Sink;
use widerow::settings::OnLate;
use widerow::supervisor::{Engine, Parts, SourcePart, Threads};

/// Silence after which the group gives a member's partitions away.
const SESSION: Duration = Duration::from_secs(6);
/// I10: how long nodes may take to come to rest once faults have stopped.
const REST_PATIENCE: Duration = Duration::from_secs(2 * 3_600);
/// At rest for so long means at rest: a lost queue is noticed within seconds, and a call may stall for twenty.
const REST: Duration = Duration::from_secs(60);

/// Longer than jobs must wait until marks would pass them.
const SINK_AWAY_LONG: Duration = Duration::from_secs(600);
/// Jobs older than this are late, where that is played (J8).
const LATE: Duration = Duration::from_secs(30);
/// What is waited for amid a run comes within this, though faults go on.
const AMID_PATIENCE: Duration = Duration::from_secs(1_800);
/// Nodes that die every few seconds move no mark.
const MARK_PATIENCE: Duration = Duration::from_secs(300);
const AMID_LOOK: Duration = Duration::from_millis(250);

/// Jobs of a short lane.
const PENDING_FEW: usize = 2;
/// Records between two looks at every node's bounds.
const LOOK_EVERY: usize = 8;
/// Case 10: looks for somebody who heard of the loss, and the time between two.
const LOSS_HEARD_LOOKS: usize = 600;
const LOSS_HEARD: Duration = Duration::from_millis(50);

/// What a run came to.
pub struct Outcome {
    pub digest: u64,
    pub seen: BTreeMap<Seen, u64>,
    /// The end of what happened.
    pub story: String,
    /// The first thing that was wrong.
    pub wrong: Option<String>,
}

/// A running node.
struct Node {
    hull: Arc<Hull>,
    engine: Engine,
    frozen: bool,
}

struct Harness {
    sea: Arc<Sea>,
    group: Arc<Group>,
    nodes: BTreeMap<usize, Node>,
    next: usize,
    threads: usize,
    died: mpsc::Sender<usize>,
    /// Frozen for good; nobody asks it any more.
    left: Option<Node>,
}

impl Harness {
    fn start(&mut self) {
        let id = self.next;
        self.next += 1;
        let hull = Hull::new(Arc::clone(&self.sea), id, self.died.clone());
        self.sea.tell(format_args!("n{id} starts"));
        let sink: Arc<dyn Sink> = Arc::new(HullSink(Arc::clone(&hull)));
        let doors = Doors {
            rows: Arc::new(HullRows(Arc::clone(&hull))),
            queue: Arc::new(HullQueue(Arc::clone(&hull))),
            ledger: Arc::new(HullLedger(Arc::clone(&hull))),
            sinks: self.sea.settings.lines.iter().map(|line| (line.line.name, Arc::clone(&sink))).collect(),
        };
        let source = SimSource { group: Arc::clone(&self.group), hull: Arc::clone(&hull) };
        let source = SourcePart { settings: self.sea.settings.sources[0].clone(), source: Box::new(source) };
        let parts = Parts { doors, sources: vec![source] };
        let settings = Arc::new(self.sea.settings.clone());
        let engine = Engine::start_on(Threads::here(self.threads), settings, parts, Arc::default(), clock);
        self.nodes.insert(id, Node { hull, engine, frozen: false });
    }

    /// A dead node's partitions go to others once its session is over.
    fn bury(&mut self, node: usize) {
        if self.nodes.remove(&node).is_some() {
            self.group.expel_after(SESSION, node);
        }
    }

    /// I8, beside whatever happens.
    fn look(&self) {
        for node in self.nodes.values() {
            let (engine, sea) = (node.engine.clone(), Arc::clone(&self.sea));
            actix_rt::spawn(async move {
                // A node that ends shows nothing.
                if let Ok(picture) = engine.look().await {
                    checks::bounded(&sea, &picture);
                }
            });
        }
    }

    fn any(&self) -> Option<usize> {
        let living: Vec<usize> = self.nodes.keys().copied().collect();
        (!living.is_empty()).then(|| living[self.sea.below(living.len() as u64) as usize])
    }

    /// One thing goes wrong, or is done by a person.
    async fn mischief(&mut self, queue_losses: &mut u64, extras: &mut Extras) {
        let Some(node) = self.any() else { return };
        match self.sea.below(12) {
            0 => self.nodes[&node].hull.crash("by kill"),
            1 if !self.nodes[&node].frozen => {
                let hull = Arc::clone(&self.nodes[&node].hull);
                hull.freeze(true);
                self.nodes.get_mut(&node).unwrap().frozen = true;
                self.group.deal_after(SESSION, vec![node]);
                let group = Arc::clone(&self.group);
                let thaws = Duration::from_millis(1_000 + self.sea.below(30_000));
                actix_rt::spawn(async move {
                    tokio::time::sleep(thaws).await;
                    hull.freeze(false);
                    group.deal_after(Duration::ZERO, Vec::new());
                });
            }
            2 | 3 => self.group.deal_after(Duration::ZERO, Vec::new()),
            4 if *queue_losses > 0 => {
                *queue_losses -= 1;
                self.sea.lose_queue().await;
            }
            5 => {
                self.sea.saw(Seen::ClockJumped);
                let ms = 1 + self.sea.below(90_000) as i64;
                self.sea.tell(format_args!("clock jumps {ms}"));
                jump(ms);
            }
            6 if self.nodes.len() > 1 && !self.nodes[&node].frozen => {
                self.sea.saw(Seen::RolledOver);
                self.sea.tell(format_args!("n{node} is drained"));
                let gone = self.nodes.remove(&node).unwrap();
                let group = Arc::clone(&self.group);
                actix_rt::spawn(async move {
                    gone.engine.drain().await;
                    gone.hull.crash("after its drain");
                    group.leave(node);
                    group.deal(&[]).await;
                });
                self.start();
            }
            7 | 8 => {
                if let Some(losses @ 1..) = &mut extras.row_losses {
                    *losses -= 1;
                    self.sea.lose_rows().await;
                }
            }
            9 => {
                if let Some(span) = extras.sink_away.take() {
                    self.sea.close_sink(span);
                }
            }
            10 if extras.log_cuts > 0 => {
                extras.log_cuts -= 1;
                self.group.cut();
                if self.sea.below(3) > 0 {
                    self.sea.lose_queue().await;
                }
            }
            11 if extras.purges > 0 => {
                extras.purges -= 1;
                self.sea.purge().await;
            }
            11 if extras.parks => {
                // Nobody minds what is not there.
                let _ = self.sea.queue.release(Which::default()).await;
            }
            _ => {}
        }
    }

    /// Waits, while nodes come and go, for what must come though faults go on.
    async fn until(&mut self, deaths: &mut mpsc::Receiver<usize>, patience: Duration, is_so: impl Fn() -> bool) -> bool {
        let begun = tokio::time::Instant::now();
        while !is_so() && begun.elapsed() < patience {
            self.keep_alive(deaths);
            tokio::time::sleep(AMID_LOOK).await;
        }
        is_so()
    }

    fn keep_alive(&mut self, deaths: &mut mpsc::Receiver<usize>) {
        while let Ok(node) = deaths.try_recv() {
            self.bury(node);
        }
        if self.nodes.is_empty() {
            self.start();
        }
    }

    /// E3, E4: a topic whose records are all taken is created anew; some time later somebody raises its epoch, and the queue
    /// may be lost before marks of the new life are kept.
    async fn remake(&mut self, deaths: &mut mpsc::Receiver<usize>, topic: Name) {
        let group = Arc::clone(&self.group);
        if !self.until(deaths, AMID_PATIENCE, || group.is_topic_through(topic)).await {
            self.sea.wrong(format!("I10: {topic} is not taken to its end.\n{}", group.positions()));
        }
        group.remake(topic);
        let sea = Arc::clone(&self.sea);
        actix_rt::spawn(async move {
            tokio::time::sleep(Duration::from_millis(sea.below(15_000))).await;
            group.bump(topic).await;
            if sea.below(3) > 0 {
                tokio::time::sleep(Duration::from_millis(sea.below(20_000))).await;
                sea.lose_queue().await;
            }
        });
    }

    /// J11: jobs wait for the sink longer than a mark's margin, then the queue goes.
    async fn ordeal(&mut self, deaths: &mut mpsc::Receiver<usize>, ordeal: Ordeal) {
        let ends = tokio::time::Instant::now() + Duration::from_millis(65_000 + self.sea.below(90_000));
        while tokio::time::Instant::now() < ends {
            self.keep_alive(deaths);
            tokio::time::sleep(AMID_LOOK).await;
        }
        match ordeal {
            Ordeal::Whenever => self.sea.lose_queue().await,
            Ordeal::AmidCount => {
                self.sea.lost_amid_count.store(true, Ordering::Relaxed);
                let sea = Arc::clone(&self.sea);
                let counted = self.until(deaths, AMID_PATIENCE, || !sea.lost_amid_count.load(Ordering::Relaxed)).await;
                assert!(counted, "some node counts its jobs every few seconds");
            }
        }
    }

    /// Faults stop, as far as they ever do.
    fn calm(&mut self, left_frozen: bool) {
        self.sea.tell(format_args!("calm"));
        if self.sea.rates.for_ever > 0 {
            self.sea.saw(Seen::NeverCalm);
        }
        self.sea.calm.store(true, Ordering::Relaxed);
        let left = self.nodes.keys().copied().next().filter(|_| left_frozen && self.nodes.len() > 1);
        for (id, node) in &mut self.nodes {
            node.hull.freeze(Some(*id) == left);
        }
        let Some(left) = left else { return self.group.deal_after(Duration::ZERO, Vec::new()) };
        self.sea.saw(Seen::LeftFrozen);
        self.left = self.nodes.remove(&left);
        self.group.expel_after(SESSION, left);
    }
}

/// Names have numbers in the order they were first met, and rows find their thread by them: every process meets them in
/// one order, so that a seed plays the same alone and among others.
fn meet_names() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        load(SHOP, std::path::Path::new("/nowhere"));
        let topics = ["shop.trade.orders", "shop.trade.order_item"];
        for name in topics.into_iter().chain(["id", "order_no", "status", "note", "qty"]) {
            Name::of(name);
        }
    });
}

/// Runs a seed on a system of its own, on this thread.
pub fn run(seed: u64, kind: Kind) -> Outcome {
    meet_names();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    actix_rt::System::with_tokio_rt(runtime).block_on(async move {
        begin_time();
        let mut dice = Dice::silent(seed);
        let plan = match kind {
            Kind::Kill(_) => Plan::still(),
            _ => Plan::draw(&mut dice, seed, kind).suited(how(kind)),
        };
        simulate(plan, dice, kind).await
    })
}

fn how(kind: Kind) -> How {
    if let Kind::Case(case) = kind { cases::CASES[case].how } else { How::Free }
}

/// What is traded: at random, or as the case says, several times over, each time with orders of its own.
fn traded(plan: &Plan, dice: &mut Dice, kind: Kind) -> Shop {
    let mut shop = Shop::new(plan.partitions);
    let case = match kind {
        Kind::Case(case) => &cases::CASES[case],
        Kind::Kill(_) => &cases::KILLED,
        Kind::Whole | Kind::Plain => {
            for n in 0..plan.events {
                shop.trade(dice, plan.orders);
                if plan.extras.bad > 0 && dice.below(1000) < plan.extras.bad {
                    shop.spoil(["orders", "order_item"][dice.below(2) as usize], dice.below(plan.orders) as i64);
                }
                if plan.extras.remade && n == plan.events / 2 {
                    shop.remake(["orders", "order_item"][(plan.events + plan.orders) as usize % 2]);
                }
            }
            return shop;
        }
    };
    for copy in 0..1 + dice.below(4) as i64 {
        (case.play)(&mut shop, copy * cases::IDS);
    }
    cases::shuffle(&mut shop.lines, dice);
    shop
}

async fn simulate(plan: Plan, mut dice: Dice, kind: Kind) -> Outcome {
    let shop = traded(&plan, &mut dice, kind);
    let nowhere = std::path::Path::new("/nowhere");
    let counter = SHOP.replace("root: trade.orders", "root: trade.orders\n    version: counter");
    let mut settings = load(if plan.extras.counter { &counter } else { SHOP }, nowhere);
    settings.sources[0].in_flight = plan.in_flight;
    settings.node.entities_max = 1 + dice.below(6) as usize;
    settings.lines[0].line.skip_equal = plan.skip_equal;
    if plan.extras.parks {
        settings.queue.on_late = OnLate::Park;
        settings.queue.expire_after = LATE;
    }
    if plan.extras.crowded {
        settings.queue.max_pending = PENDING_FEW;
    }
    let script = Script { how: how(kind), kill_at: if let Kind::Kill(step) = kind { Some(step) } else { None } };
    let sea = Sea::new(settings, plan.rates.clone(), dice, plan.extras.row_losses.is_some(), script);
    let records: Vec<Record> = shop.lines.iter().map(|line| record(line)).collect();
    let group =
        Group::new(Arc::clone(&sea), records.iter().map(|r| r.partition).collect::<BTreeSet<_>>(), !shop.remade.is_empty());
    let (died, mut deaths) = mpsc::channel(1_000);
    let mut harness = Harness {
        sea: Arc::clone(&sea),
        group: Arc::clone(&group),
        nodes: BTreeMap::new(),
        next: 0,
        threads: plan.threads,
        died,
        left: None,
    };
    let still = matches!(kind, Kind::Kill(_));
    (0..plan.nodes).for_each(|_| harness.start());
    if plan.extras.counter {
        sea.saw(Seen::CounterVersions);
    }
    let (mut queue_losses, mut extras) = (plan.queue_losses, plan.extras);
    let purged_at_the_end = extras.purges > 0;
    if sea.how == How::SinkAway {
        sea.close_sink(Duration::from_secs(3_600));
    }
    sea.lost_at_first_commit.store(extras.lost_at_first_commit, Ordering::Relaxed);
    let (half, slow) = (records.len() / 2, extras.slow.max(1));
    for (at, record) in records.iter().enumerate() {
        if sea.how == How::QueueLostTwice && at == half {
            lose_queue_twice(&sea).await;
        }
        if extras.ordeal.is_some() && at == half {
            // Marks that have moved are what a loss goes back to.
            if harness.until(&mut deaths, MARK_PATIENCE, || sea.has_marks()).await {
                sea.close_sink(SINK_AWAY_LONG);
            } else {
                extras.ordeal = None;
            }
        }
        for (_, table) in shop.remade.iter().filter(|(before, _)| *before == at) {
            harness.remake(&mut deaths, Name::of(&format!("shop.trade.{table}"))).await;
        }
        group.append(record.clone());
        if at % LOOK_EVERY == 0 {
            harness.look();
        }
        tokio::time::sleep(Duration::from_millis(sea.below(120) * slow)).await;
        while let Ok(node) = deaths.try_recv() {
            harness.bury(node);
        }
        if !still && sea.chance(60) {
            harness.mischief(&mut queue_losses, &mut extras).await;
        }
        if harness.nodes.len() < plan.nodes && sea.chance(150) {
            harness.start();
        }
    }
    // What was due goes wrong late, while the rest is on its way.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(sea.below(8_000) * slow.min(4))).await;
        if !still {
            harness.mischief(&mut queue_losses, &mut extras).await;
        }
    }
    if let Some(ordeal) = extras.ordeal {
        harness.ordeal(&mut deaths, ordeal).await;
    }
    harness.calm(extras.left_frozen);
    let mut rested = rest(&mut harness, &mut deaths).await;
    if rested && purged_at_the_end {
        checks::at_the_end(&sea, &shop, &records).await;
        tokio::time::sleep(Duration::from_millis(PURGE_HORIZON_MS as u64)).await;
        sea.purge().await;
        sea.lose_queue().await;
        rested = rest(&mut harness, &mut deaths).await;
    }
    for node in harness.nodes.values().filter(|_| rested) {
        checks::quiet(&sea, &node.engine.totals);
        if let Ok(picture) = node.engine.look().await {
            checks::rests_bounded(&sea, &picture);
        }
    }
    if !rested {
        let mut pictures = String::new();
        for (id, node) in &harness.nodes {
            pictures += &format!("n{id}: {:#?}\n", node.engine.look().await);
        }
        let counts = sea.queue.counts(sea.line()).await;
        sea.wrong(format!("I10: no rest.\n{}\n{counts:?}\n{pictures}", group.positions()));
    }
    checks::at_the_end(&sea, &shop, &records).await;
    Outcome { digest: sea.digest(), seen: sea.counts(), story: sea.story(), wrong: sea.what_is_wrong() }
}

/// Case 10: the queue is lost, and once more as soon as somebody goes back.
async fn lose_queue_twice(sea: &Sea) {
    let rewound = || sea.counts().get(&Seen::Rewound).copied().unwrap_or(0);
    let before = rewound();
    sea.lose_queue().await;
    for _ in 0..LOSS_HEARD_LOOKS {
        tokio::time::sleep(LOSS_HEARD).await;
        if rewound() > before {
            sea.saw(Seen::LostWhileGoingBack);
            break;
        }
    }
    sea.lose_queue().await;
}

/// I10: waits until everything is read, committed and delivered, and stays so.
async fn rest(harness: &mut Harness, deaths: &mut mpsc::Receiver<usize>) -> bool {
    let begun = tokio::time::Instant::now();
    let mut at_rest: Option<tokio::time::Instant> = None;
    while begun.elapsed() < REST_PATIENCE {
        harness.keep_alive(deaths);
        let counts = harness.sea.queue.counts(harness.sea.line()).await.unwrap_or_default();
        let idle = counts.iter().all(|c| c.waiting + c.retry + c.active + c.parked + c.spilled + c.buried == 0);
        if harness.group.is_through() && idle {
            if at_rest.get_or_insert_with(tokio::time::Instant::now).elapsed() > REST {
                return true;
            }
        } else {
            at_rest = None;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    false
}

fn record(line: &str) -> Record {
    let line: Value = serde_json::from_str(line).unwrap();
    let offset = line["offset"].as_i64().unwrap();
    let topic = Name::of(line["topic"].as_str().unwrap());
    Record {
        partition: Partition { topic, number: line["partition"].as_i64().unwrap() as i32 },
        position: RecordOffset(offset),
        offset,
        timestamp: None,
        key: None,
        value: Some(line["value"].as_str().unwrap().to_owned().into()),
        headers: Vec::new(),
    }
}
