//! A log of partitions and its consumer group: who reads what, what is committed, and a source for each node.
//!
//! The coordinator moves partitions by asking the old reader first, or without asking when a session is lost; it refuses
//! commits of a reader that was replaced, as a broker does.

mod lives;

use super::cases::How;
use super::hull::{Hull, HullRows};
use super::sea::{Sea, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use widerow::domain::epoch::Epochs;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Epoch, Generation, Name, NextOffset, Partition};
use widerow::domain::record::Record;
use widerow::ports::Answer;
use widerow::ports::source::{Assigned, Cut, Delivery, Intake, Source, SourceControl};

/// How long a member that is asked to give partitions up may take before they are taken from it.
const REVOKE_PATIENCE: Duration = Duration::from_secs(8);

/// Orders a member may have waiting; a run gives far fewer.
const ORDERS_MAX: usize = 10_000;

/// What the coordinator tells a member.
pub enum Order {
    Assign(Partition, u64),
    Revoke(Vec<Partition>, oneshot::Sender<()>),
    /// Its session was lost: others read these already.
    Lost(Vec<Partition>),
    /// The topic is worth a look (E3).
    Look(Name),
}

/// One partition of the log and of the group.
#[derive(Default)]
struct Place {
    records: Vec<Record>,
    committed: i64,
    /// The epoch written beside the commit.
    committed_in: u32,
    /// So often the topic was created anew; each time somebody raises its epoch by one.
    life: u32,
    /// Where the log begins: what lies below is gone.
    begin: i64,
    /// The present reader and the number of its assignment.
    owner: Option<(usize, u64)>,
    assignments: u64,
}

/// The log and the group.
pub struct Group {
    pub sea: Arc<Sea>,
    places: Mutex<BTreeMap<Partition, Place>>,
    members: Mutex<BTreeMap<usize, mpsc::Sender<Order>>>,
    grown: Notify,
    /// One deal at a time.
    dealing: tokio::sync::Mutex<()>,
    /// Topics may be created anew: their lives are remembered.
    pub keeps_lives: bool,
    /// Topics that are remembered.
    known: Mutex<BTreeSet<Name>>,
    stays: AtomicU64,
}

impl Place {
    fn is_through(&self) -> bool {
        let end = self.records.len() as i64;
        end == 0 || (self.committed == end && self.committed_in == self.life)
    }
}

impl Group {
    pub fn new(sea: Arc<Sea>, partitions: impl IntoIterator<Item = Partition>, keeps_lives: bool) -> Arc<Self> {
        let places = partitions.into_iter().map(|p| (p, Place::default())).collect();
        Arc::new(Self {
            sea,
            places: Mutex::new(places),
            members: Mutex::default(),
            grown: Notify::new(),
            dealing: tokio::sync::Mutex::default(),
            keeps_lives,
            known: Mutex::default(),
            stays: AtomicU64::new(1),
        })
    }

    pub fn append(&self, record: Record) {
        if let Some(place) = self.places.lock().unwrap().get_mut(&record.partition) {
            place.records.push(record);
        }
        self.grown.notify_waiters();
    }

    /// Retention takes records from every partition, nothing that is not committed.
    pub fn cut(&self) {
        for (partition, place) in &mut *self.places.lock().unwrap() {
            let begin = place.committed - self.sea.below(4) as i64;
            if begin > place.begin && place.committed_in == place.life {
                place.begin = begin;
                self.sea.saw(Seen::LogCut);
                self.sea.tell(format_args!("{partition} begins at {begin} from now on"));
            }
        }
    }

    /// Everything is committed to its end.
    pub fn is_through(&self) -> bool {
        self.places.lock().unwrap().values().all(Place::is_through)
    }

    pub fn positions(&self) -> String {
        let places = self.places.lock().unwrap();
        let shown = |(p, place): (&Partition, &Place)| {
            format!("{p}: {} of {} committed, read by {:?}", place.committed, place.records.len(), place.owner)
        };
        places.iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    /// Records below a commit that was just made.
    pub fn below(&self, partition: Partition, next: NextOffset, epoch: Epoch) -> Vec<Record> {
        let places = self.places.lock().unwrap();
        places
            .get(&partition)
            .filter(|place| place.life == epoch.0)
            .map_or(Vec::new(), |place| place.records[..(next.0 as usize).min(place.records.len())].to_vec())
    }

    fn join(self: &Arc<Self>, node: usize) -> mpsc::Receiver<Order> {
        self.sea.tell(format_args!("n{node} joins"));
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        self.members.lock().unwrap().insert(node, orders);
        self.deal_after(Duration::from_millis(self.sea.below(500)), Vec::new());
        inbox
    }

    pub fn leave(&self, node: usize) {
        self.members.lock().unwrap().remove(&node);
        for place in self.places.lock().unwrap().values_mut().filter(|place| place.owner.is_some_and(|(by, _)| by == node)) {
            place.owner = None;
        }
    }

    /// Deals after a pause; members whose session is over by then are out.
    pub fn deal_after(self: &Arc<Self>, pause: Duration, lost: Vec<usize>) {
        let group = Arc::clone(self);
        actix_rt::spawn(async move {
            tokio::time::sleep(pause).await;
            group.deal(&lost).await;
        });
    }

    /// A dead member's partitions go to others once its session is over.
    pub fn expel_after(self: &Arc<Self>, pause: Duration, node: usize) {
        let group = Arc::clone(self);
        actix_rt::spawn(async move {
            tokio::time::sleep(pause).await;
            group.sea.saw(Seen::SessionLost);
            group.leave(node);
            group.deal(&[]).await;
        });
    }

    /// Deals the partitions anew, as chance or need says. `lost`: members whose session is over.
    pub async fn deal(&self, lost: &[usize]) {
        let _turn = self.dealing.lock().await;
        self.sea.tell(format_args!("deal without {lost:?}"));
        let members: Vec<usize> = self.members.lock().unwrap().keys().copied().filter(|m| !lost.contains(m)).collect();
        if members.is_empty() {
            return;
        }
        let mut wanted = BTreeMap::new();
        let mut leaving: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        for (at, (partition, place)) in self.places.lock().unwrap().iter().enumerate() {
            if self.sea.how == How::Halves {
                wanted.insert(*partition, members[at % members.len()]);
            }
            let stays = place.owner.map(|(by, _)| by).filter(|by| members.contains(by) && self.sea.below(3) > 0);
            let to = stays.unwrap_or_else(|| members[self.sea.below(members.len() as u64) as usize]);
            let to = *wanted.entry(*partition).or_insert(to);
            if let Some((by, _)) = place.owner.filter(|(by, _)| *by != to) {
                leaving.entry(by).or_default().push(*partition);
            }
        }
        for (member, partitions) in leaving {
            self.take_from(member, partitions, lost.contains(&member)).await;
        }
        for (partition, to) in wanted {
            let mut places = self.places.lock().unwrap();
            let Some(place) = places.get_mut(&partition).filter(|place| place.owner.is_none()) else { continue };
            place.assignments += 1;
            place.owner = Some((to, place.assignments));
            self.sea.tell(format_args!("{partition} goes to n{to}"));
            if let Some(member) = self.members.lock().unwrap().get(&to) {
                let _ = member.try_send(Order::Assign(partition, place.assignments));
            }
        }
    }

    async fn take_from(&self, member: usize, partitions: Vec<Partition>, lost: bool) {
        let orders = self.members.lock().unwrap().get(&member).cloned();
        if lost {
            self.sea.saw(Seen::SessionLost);
            orders.inspect(|orders| drop(orders.try_send(Order::Lost(partitions.clone()))));
        } else if let Some(orders) = orders {
            self.sea.saw(Seen::Rebalanced);
            let (done, answer) = oneshot::channel();
            let _ = orders.try_send(Order::Revoke(partitions.clone(), done));
            // A member that does not answer in time loses them all the same.
            let _ = tokio::time::timeout(REVOKE_PATIENCE, answer).await;
        }
        let mut places = self.places.lock().unwrap();
        for partition in &partitions {
            if let Some(place) = places.get_mut(partition).filter(|p| p.owner.is_some_and(|(by, _)| by == member)) {
                place.owner = None;
            }
        }
    }

    fn is_owner(&self, partition: Partition, owner: (usize, u64)) -> bool {
        self.places.lock().unwrap()[&partition].owner == Some(owner)
    }

    /// `asked`: the assignment whose word it is, and the epoch beside it. Whether it was the partition's first.
    fn commit(&self, node: usize, asked: (u64, Epoch), partition: Partition, next: NextOffset) -> Result<bool, Fault> {
        let (assignment, epoch) = asked;
        let mut places = self.places.lock().unwrap();
        let Some(place) = places.get_mut(&partition) else { return Ok(false) };
        if place.owner != Some((node, assignment)) {
            self.sea.saw(Seen::CommitFenced);
            return Err(Fault::new(FaultKind::Rejected, "group", "this member was replaced"));
        }
        if next.0 > place.records.len() as i64 && epoch.0 == place.life {
            self.sea.wrong(format!("I6: {partition} commits {} of {}", next.0, place.records.len()));
        }
        // Going back is what a lost queue asks for (J11); the broker allows it.
        let first = place.committed == 0;
        (place.committed, place.committed_in) = (next.0, epoch.0);
        self.sea.tell(format_args!("n{node} commits {partition} {}", next.0));
        Ok(first)
    }
}

/// One reading of one partition by one member.
#[derive(Default)]
struct Reading {
    assignment: u64,
    /// No other reading has this number.
    stay: u64,
    /// The life of the topic that is read; a fetch names the topic's id.
    life: u32,
    epochs: Epochs,
    /// E3: the topic is not the one that is remembered.
    halted: bool,
    position: i64,
    reading: Generation,
    paused: bool,
    gone: bool,
    /// The node has said that it let go.
    let_go: bool,
}

type Readings = Arc<Mutex<BTreeMap<Partition, Reading>>>;

/// A node's source.
pub struct SimSource {
    pub group: Arc<Group>,
    pub hull: Arc<Hull>,
}

struct Control {
    group: Arc<Group>,
    hull: Arc<Hull>,
    readings: Readings,
    woken: Arc<Notify>,
}

impl Source for SimSource {
    fn name(&self) -> &str {
        "shop"
    }
    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let Self { group, hull } = *self;
        let (readings, woken) = (Readings::default(), Arc::new(Notify::new()));
        let orders = group.join(hull.node);
        let member = Member {
            group: Arc::clone(&group),
            hull: Arc::clone(&hull),
            readings: Arc::clone(&readings),
            woken: Arc::clone(&woken),
            intake,
        };
        actix_rt::spawn(Arc::new(member).obey(orders));
        Ok(Arc::new(Control { group, hull, readings, woken }))
    }
}

struct Member {
    group: Arc<Group>,
    hull: Arc<Hull>,
    readings: Readings,
    woken: Arc<Notify>,
    intake: Arc<dyn Intake>,
}

impl Member {
    async fn obey(self: Arc<Self>, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            self.hull.alive().await;
            match order {
                Order::Assign(partition, assignment) => self.begin(partition, assignment).await,
                Order::Revoke(partitions, done) => {
                    self.intake.revoked(partitions.clone()).await;
                    self.hull.alive().await;
                    self.forget(&partitions);
                    self.let_go(&partitions);
                    let _ = done.send(());
                }
                Order::Lost(partitions) => {
                    self.forget(&partitions);
                    self.intake.revoked(partitions.clone()).await;
                    self.let_go(&partitions);
                }
                Order::Look(topic) => self.look(topic).await,
            }
        }
    }

    fn forget(&self, partitions: &[Partition]) {
        let mut readings = self.readings.lock().unwrap();
        for partition in partitions {
            if let Some(reading) = readings.get_mut(partition) {
                reading.gone = true;
            }
        }
        self.woken.notify_waiters();
    }

    fn let_go(&self, partitions: &[Partition]) {
        let mut readings = self.readings.lock().unwrap();
        for partition in partitions {
            if let Some(reading) = readings.get_mut(partition) {
                reading.let_go = true;
            }
        }
    }

    async fn begin(self: &Arc<Self>, partition: Partition, assignment: u64) {
        if !self.group.is_owner(partition, (self.hull.node, assignment)) {
            return;
        }
        let (mut start, mut epochs, mut halted) = (None, Epochs::default(), false);
        if self.group.keeps_lives {
            let (memory, breaks, seen) = self.learn(partition.topic).await;
            if !self.group.is_owner(partition, (self.hull.node, assignment)) {
                return;
            }
            let seen = seen.parts[&partition.number];
            epochs = memory.epochs(partition.number);
            halted = !breaks.is_empty();
            let number = partition.number;
            start = Some(if halted { memory.held(number, &seen) } else { memory.start(number, &seen).at });
        }
        let (start, life) = {
            let places = self.group.places.lock().unwrap();
            let place = &places[&partition];
            (start.map_or(place.committed.max(place.begin), |start| start.0), place.life)
        };
        let partitions = self.group.places.lock().unwrap().keys().filter(|p| p.topic == partition.topic).count() as u32;
        let stay = self.group.stays.fetch_add(1, Ordering::Relaxed);
        // One that knows an earlier life's epoch reads nothing of this one.
        let life = if epochs.at(start) == Epoch(life) || !self.group.keeps_lives { life } else { u32::MAX };
        let reading = Reading { assignment, stay, life, epochs: epochs.clone(), halted, position: start, ..Reading::default() };
        self.readings.lock().unwrap().insert(partition, reading);
        self.group.sea.tell(format_args!("n{} begins {partition} at {start} in life {life}", self.hull.node));
        let assigned = Assigned { partition, start: NextOffset(start), partitions, epochs, high_watermark: None };
        self.intake.assigned("shop", vec![assigned]).await;
        if halted {
            self.stop(partition);
        }
        actix_rt::spawn(Arc::clone(self).read(partition, stay));
    }

    /// A reading that was to go on before the log begins goes on where it begins.
    fn cut(&self, partition: Partition, stay: u64) -> Option<(Generation, Cut)> {
        let mut readings = self.readings.lock().unwrap();
        let reading = readings.get_mut(&partition).filter(|r| r.stay == stay && !r.gone && !r.halted)?;
        let Place { begin, life, .. } = self.group.places.lock().unwrap()[&partition];
        if reading.position >= begin || reading.life != life {
            return None;
        }
        let cut = Cut { from: NextOffset(reading.position), to: NextOffset(begin) };
        reading.position = begin;
        Some((reading.reading, cut))
    }

    /// Reads one assignment of a partition to its end.
    async fn read(self: Arc<Self>, partition: Partition, stay: u64) {
        let sea = &self.group.sea;
        loop {
            self.hull.alive().await;
            let mut grown = std::pin::pin!(self.group.grown.notified());
            let mut woken = std::pin::pin!(self.woken.notified());
            grown.as_mut().enable();
            woken.as_mut().enable();
            if let Some((reading, cut)) = self.cut(partition, stay) {
                sea.saw(Seen::CutBelowReader);
                self.intake.cut(partition, reading, cut);
            }
            let next = {
                let mut readings = self.readings.lock().unwrap();
                let Some(reading) = readings.get_mut(&partition).filter(|r| r.stay == stay && !r.gone) else {
                    return;
                };
                let places = self.group.places.lock().unwrap();
                let Place { records, begin, life, .. } = &places[&partition];
                if !sea.is_calm() && reading.position > 0 && sea.chance(20) {
                    reading.position -= 1 + sea.below(reading.position.min(4) as u64) as i64;
                    reading.position = reading.position.max(*begin);
                    sea.saw(Seen::DeliveredAgain);
                }
                let from = reading.position as usize;
                let count = (1 + sea.below(6) as usize).min(records.len().saturating_sub(from));
                let readable = !reading.paused && !reading.halted && reading.life == *life;
                (count > 0 && readable).then(|| {
                    reading.position += count as i64;
                    (records[from..from + count].to_vec(), reading.reading, records.len() as i64)
                })
            };
            let Some((records, reading, end)) = next else {
                tokio::select! {
                    biased;
                    () = grown => {}
                    () = woken => {}
                }
                continue;
            };
            tokio::time::sleep(Duration::from_millis(sea.below(8))).await;
            self.hull.step("deliver");
            self.hull.alive().await;
            let delivery = Delivery { partition, reading, records, high_watermark: Some(end) };
            self.intake.deliver(delivery).await;
        }
    }
}

impl Control {
    /// J11: the moment between a partition's first commit and the next look at the queue.
    async fn lose_all_at(&self, first: bool) {
        let sea = &self.group.sea;
        if first && !sea.is_calm() && sea.lost_at_first_commit.swap(false, Ordering::Relaxed) {
            sea.saw(Seen::LostAtFirstCommit);
            sea.lose_queue().await;
            self.hull.crash("with the queue");
        }
    }
}

impl SourceControl for Control {
    fn commit(&self, positions: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            // Whose word it is, is settled when it is given, however long it travels.
            let asked = |p: &Partition, next: NextOffset| {
                let readings = self.readings.lock().unwrap();
                readings.get(p).map_or((0, Epoch(0), false), |r| (r.assignment, r.epochs.at(next.0), r.let_go))
            };
            let positions: Vec<_> = positions.into_iter().map(|(p, next)| (p, next, asked(&p, next))).collect();
            for (partition, next, _) in positions.iter().filter(|(.., (.., let_go))| *let_go) {
                let (node, next) = (self.hull.node, next.0);
                self.group.sea.wrong(format!("I11: n{node} commits {partition} {next} after it has let go of it"));
            }
            tokio::time::sleep(Duration::from_millis(self.group.sea.below(10))).await;
            self.hull.step("commit");
            self.hull.alive().await;
            let mut refused = Ok(());
            for (partition, next, (assignment, epoch, _)) in positions {
                let kept = self.group.commit(self.hull.node, (assignment, epoch), partition, next);
                if let Ok(first) = kept {
                    super::checks::life_noted(&self.group, partition, next).await;
                    super::checks::committed(&self.group, partition, next, epoch).await;
                    self.lose_all_at(first).await;
                }
                refused = refused.and(kept.map(drop));
            }
            self.hull.step("commit");
            self.hull.alive().await;
            refused
        })
    }
    fn rewind(&self, partition: Partition, to: NextOffset) -> Generation {
        self.group.sea.went_back();
        if self.group.sea.is_mark(partition, to) {
            self.group.sea.saw(Seen::BackToAMark);
        }
        let mut readings = self.readings.lock().unwrap();
        let Some(reading) = readings.get_mut(&partition) else { return Generation(0) };
        reading.position = to.0;
        reading.reading = reading.reading.next();
        self.woken.notify_waiters();
        reading.reading
    }
    fn pause(&self, partition: Partition) {
        if let Some(reading) = self.readings.lock().unwrap().get_mut(&partition) {
            reading.paused = true;
        }
    }
    fn resume(&self, partition: Partition) {
        if let Some(reading) = self.readings.lock().unwrap().get_mut(&partition) {
            reading.paused = false;
        }
        self.woken.notify_waiters();
    }
    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            for reading in self.readings.lock().unwrap().values_mut() {
                reading.gone = true;
            }
            self.woken.notify_waiters();
            self.group.leave(self.hull.node);
        })
    }
}
