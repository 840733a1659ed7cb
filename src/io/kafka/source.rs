//! Topics of Kafka as a source: one member of a consumer group, one thread that polls, one that commits.
//!
//! Keeps O1's last step: only what the engine has settled is committed, for partitions that are here, with the epoch of
//! the position beside it, so that a position of an earlier life of a topic is known as such (E4). A member's name is its
//! node's, with a mark of its data_dir, so that two nodes never pass for one. Reading is in `poll`.

use super::config::fault_of;
use super::lives::{EPOCH_MARK, Lives};
use super::member::{Ear, MEMBER_MARK, Member, is_led_by_broker, member_config};
use super::parts::Parts;
use super::poll::{Ending, Poller};
use super::rebalance::company;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Generation, NextOffset, Partition};
use crate::io::feed::{self, Ended, Handed};
use crate::ports::Answer;
use crate::ports::ledger::Ledger;
use crate::ports::rows::RowStore;
use crate::ports::source::{Intake, Source, SourceControl};
use crate::settings::KafkaSettings;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Note in the ledger: what tells this data_dir from others.
const MARK: &str = "kafka/member";
/// So many fences within this are somebody else under our name.
const FENCES_MAX: usize = 3;
const FENCES_WITHIN: Duration = Duration::from_secs(60);
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(5);
const LEAVE_POLL: Duration = Duration::from_millis(50);

/// Topics to read, not yet read.
pub struct KafkaSource {
    pub name: String,
    pub settings: KafkaSettings,
    /// `node.id`.
    pub node: String,
    /// What this node keeps in itself serves one process: a second member of the group is refused.
    pub alone: bool,
    pub rows: Arc<dyn RowStore>,
    pub ledger: Arc<dyn Ledger>,
}

/// The name under which a source of this node is a member of its group.
pub struct MemberOf;

impl MemberOf {
    /// Made once per data_dir.
    ///
    /// # Errors
    /// The ledger's own.
    pub async fn name(node: &str, source: &str, ledger: &dyn Ledger) -> Result<String, Fault> {
        let mark = match ledger.note(MARK).await? {
            Some(mark) => mark,
            None => {
                let mark = format!("{:08x}", RandomState::new().build_hasher().finish() >> 32);
                ledger.set_notes(vec![(MARK.to_owned(), Some(mark.clone()))]).await?;
                mark
            }
        };
        // The broker takes letters, digits, `.`, `_` and `-` of a name.
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        Ok(format!("{MEMBER_MARK}{node}-{source}-{mark}").chars().map(plain).collect())
    }
}

impl Source for KafkaSource {
    fn name(&self) -> &str {
        &self.name
    }

    /// Blocks until the client is made, not until a broker answers.
    fn start(self: Box<Self>, intake: Arc<dyn Intake>) -> Result<Arc<dyn SourceControl>, Fault> {
        let (opened, outcome) = mpsc::sync_channel(1);
        let (source, told, parts) = (self.name.clone(), Arc::clone(&intake), Arc::new(Parts::default()));
        let (shared, changed) = (Arc::clone(&parts), Arc::new(Notify::new()));
        let wake = Arc::clone(&changed);
        let client = Arc::new(Client::default());
        let its_client = Arc::clone(&client);
        let body = async move || {
            let name = match MemberOf::name(&self.node, &self.name, &*self.ledger).await {
                Ok(name) => name,
                Err(fault) => {
                    let _ = opened.send(Err(fault));
                    return Ok(());
                }
            };
            let first = self.member(&name);
            let _ = opened.send(first.as_ref().map(|_| ()).map_err(Fault::clone));
            let Ok(first) = first else { return Ok(()) };
            self.serve(first, &name, &its_client, &shared, &wake, &intake).await
        };
        let ended = feed::spawn(&source, told, body)?;
        let gone = || Fault::new(FaultKind::Panicked, format!("source {source}"), "the reading thread ended at once");
        outcome.recv().map_err(|_| gone())??;
        let commits = spawn_commits(&source, client, Arc::clone(&parts))?;
        Ok(Arc::new(Control { parts, changed, ended, commits }))
    }
}

/// The client of the moment; a fenced one is replaced.
#[derive(Default)]
struct Client(Mutex<Option<Arc<Member>>>);

impl Client {
    fn set(&self, member: Option<Arc<Member>>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = member;
    }
    fn get(&self) -> Option<Arc<Member>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl KafkaSource {
    fn member(&self, name: &str) -> Result<Arc<Member>, Fault> {
        let config = member_config(&self.settings, name);
        let ear = Ear::new(format!("source {}", self.name), is_led_by_broker(&config));
        let wake = Arc::clone(&ear.wake);
        let made: Result<Member, _> = config.create_with_context(ear);
        let mut consumer = made.map_err(|error| fault_of(&format!("source {}", self.name), &error))?;
        consumer.set_nonempty_callback(move || wake.notify_one());
        Ok(Arc::new(consumer))
    }

    /// Reads until stopped. A fenced client is followed by a fresh one: a commit that waited while the coordinator was away
    /// is fenced by the broker as if it were a stranger's, and that is fatal to the client, not to us. So is one that the
    /// group keeps out.
    async fn serve(
        &self,
        first: Arc<Member>,
        name: &str,
        client: &Client,
        parts: &Arc<Parts>,
        changed: &Arc<Notify>,
        intake: &Arc<dyn Intake>,
    ) -> Result<(), Fault> {
        let (mut consumer, mut fenced, mut outside) = (first, Vec::new(), None);
        loop {
            client.set(Some(Arc::clone(&consumer)));
            let read = self.read(Arc::clone(&consumer), name, parts, changed, intake, outside.take()).await;
            let fatal = match read {
                Ok(()) => return Ok(()),
                Err(Ending::Outside(out)) => {
                    outside = Some(out);
                    None
                }
                Err(Ending::Fault(fault)) => Some((fault, false)),
                Err(Ending::Fatal(fault)) => {
                    fenced.push(Instant::now());
                    fenced.retain(|at| at.elapsed() < FENCES_WITHIN);
                    Some((fault, fenced.len() <= FENCES_MAX))
                }
            };
            client.set(None);
            // Nobody answers the group any more: it had better not wait for this member.
            let_go(consumer);
            if let Some((fault, again)) = fatal {
                intake.waits(None);
                if !again {
                    return Err(fault);
                }
                tracing::warn!(source = self.name, %fault, "client given up, another one joins the group");
            }
            let here: Vec<_> = parts.lock().parts.keys().copied().collect();
            intake.revoked(here).await;
            parts.lock().parts.clear();
            consumer = self.member(name)?;
        }
    }

    async fn read(
        &self,
        consumer: Arc<Member>,
        name: &str,
        parts: &Arc<Parts>,
        changed: &Arc<Notify>,
        intake: &Arc<dyn Intake>,
        told_outside: Option<Duration>,
    ) -> Result<(), Ending> {
        if self.alone {
            company(&consumer, &self.settings, name, &self.name, false).await?;
        }
        let lives = Lives { consumer: Arc::clone(&consumer), rows: Arc::clone(&self.rows), group: true };
        let poller = Poller {
            source: self.name.clone(),
            name: name.to_owned(),
            settings: self.settings.clone(),
            alone: self.alone,
            consumer,
            parts: Arc::clone(parts),
            changed: Arc::clone(changed),
            intake: Arc::clone(intake),
            lives,
            handed: Handed::default(),
            answering: None,
            looking: None,
            look_now: false,
            names: HashMap::new(),
            told: HashSet::new(),
            told_outside,
        };
        poller.run().await
    }
}

/// Closes a client beside everything else: one that was fenced may take its time.
fn let_go(consumer: Arc<Member>) {
    let spawned = std::thread::Builder::new().name("leave".to_owned()).spawn(move || leave(&consumer));
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to leave a group on");
    }
}

/// Leaves the group; blocks for a bounded while. A static member only goes silent, so that its restart keeps its
/// partitions.
fn leave(consumer: &Member) {
    consumer.context().close();
    if let Err(error) = consumer.close_queue() {
        tracing::debug!(%error, "group cannot be left");
        return;
    }
    let begun = Instant::now();
    while !consumer.closed() && begun.elapsed() < LEAVE {
        drop(consumer.poll(LEAVE_POLL));
    }
}

/// Commits that wait for the one before them; the engine asks for one at a time, and for one more per revoke.
const ASKS_MAX: usize = 64;

/// What the committing thread is asked.
enum Ask {
    Commit(Vec<(Partition, NextOffset)>, oneshot::Sender<Result<(), Fault>>),
    Leave(oneshot::Sender<()>),
}

/// Commits block until the coordinator has answered, so they have a thread of their own, which keeps their order.
fn spawn_commits(source: &str, client: Arc<Client>, parts: Arc<Parts>) -> Result<mpsc::SyncSender<Ask>, Fault> {
    let (asks, asked) = mpsc::sync_channel(ASKS_MAX);
    let place = format!("source {source}");
    let run = move || {
        for ask in asked {
            // Who asked may have passed its deadline.
            match ask {
                Ask::Commit(positions, done) => {
                    let _ = done.send(commit(&client, &parts, &positions, &place));
                }
                Ask::Leave(done) => {
                    if let Some(consumer) = client.get() {
                        leave(&consumer);
                    }
                    let _ = done.send(());
                }
            }
        }
    };
    let spawned = std::thread::Builder::new().name(format!("commit-{source}")).spawn(run);
    spawned
        .map_err(|error| Fault::new(FaultKind::Full, format!("source {source}"), format!("no thread to commit on: {error}")))?;
    Ok(asks)
}

fn commit(client: &Client, parts: &Parts, positions: &[(Partition, NextOffset)], place: &str) -> Result<(), Fault> {
    let Some(consumer) = client.get().filter(|consumer| !consumer.assignment_lost()) else {
        return Err(Fault::new(FaultKind::Unreachable, place, "the group has given this member up, it joins anew"));
    };
    let mut list = TopicPartitionList::new();
    {
        let state = parts.lock();
        for (partition, next) in positions {
            // O3: a partition that left is no longer ours to commit.
            let Some(part) = state.parts.get(partition) else { continue };
            let mut element = list.add_partition(partition.topic.as_str(), partition.number);
            element.set_offset(Offset::Offset(next.0)).map_err(|error| fault_of(place, &error))?;
            element.set_metadata(format!("{EPOCH_MARK}{}", part.epochs.at(next.0).0));
        }
    }
    if list.count() == 0 {
        return Ok(());
    }
    consumer.commit(&list, CommitMode::Sync).map_err(|error| fault_of(place, &error))
}

/// The engine's hand on a member.
struct Control {
    parts: Arc<Parts>,
    changed: Arc<Notify>,
    ended: Ended,
    commits: mpsc::SyncSender<Ask>,
}

impl Control {
    fn change(&self, partition: Partition, change: impl FnOnce(&mut super::parts::Part)) {
        self.parts.change(partition, change);
        self.changed.notify_one();
    }
    fn end(&self) {
        self.parts.lock().stopped = true;
        self.changed.notify_one();
    }
}

impl SourceControl for Control {
    fn commit(&self, positions: Vec<(Partition, NextOffset)>) -> Answer<'_, Result<(), Fault>> {
        let (done, answer) = oneshot::channel();
        let asked = self.commits.try_send(Ask::Commit(positions, done));
        let gone = || Fault::new(FaultKind::Unreachable, "kafka commit", "the committing thread is busy or gone");
        Box::pin(async move {
            asked.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }

    fn rewind(&self, partition: Partition, to: NextOffset) -> Generation {
        let reading = self.parts.rewind(partition, to);
        self.changed.notify_one();
        reading
    }

    fn pause(&self, partition: Partition) {
        self.change(partition, |part| part.gate.pause(true));
    }

    fn resume(&self, partition: Partition) {
        self.change(partition, |part| part.gate.pause(false));
    }

    fn stop(&self) -> Answer<'_, ()> {
        self.end();
        Box::pin(self.ended.clone().wait())
    }

    fn close(&self) -> Answer<'_, ()> {
        let (done, answer) = oneshot::channel();
        let asked = self.commits.try_send(Ask::Leave(done));
        Box::pin(async move {
            if asked.is_ok() {
                drop(answer.await);
            }
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
    }
}
