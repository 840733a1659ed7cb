//! Answers to the group, and to what a look at the topics found.
//!
//! Keeps O3: partitions are told to the engine before the client fetches them, and leave it before the client gives them
//! back. Keeps E3's stop: a topic that is not the one remembered is told, shown, and not read until its epoch was raised.

use super::lives::{Life, Lives};
use super::member::{Ear, MEMBER_MARK, Member, others, partitions_of};
use super::parts::{Part, Parts};
use super::poll::{Looks, Poller, list_of};
use crate::domain::epoch::Start;
use crate::domain::fault::{Advice, Fault, FaultKind};
use crate::domain::ids::{Name, NextOffset, Partition};
use crate::ports::source::{Assigned, Cut, Intake};
use crate::settings::KafkaSettings;
use crate::telemetry::{GapFound, WaitingFor};
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two tries to learn where partitions begin.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What answering takes; apart from the loop, which goes on meanwhile.
pub(super) struct Answers {
    source: String,
    name: String,
    settings: KafkaSettings,
    alone: bool,
    consumer: Arc<Member>,
    parts: Arc<Parts>,
    intake: Arc<dyn Intake>,
    lives: Lives<Ear>,
}

impl Poller {
    pub(super) fn answers(&self) -> Answers {
        Answers {
            source: self.source.clone(),
            name: self.name.clone(),
            settings: self.settings.clone(),
            alone: self.alone,
            consumer: Arc::clone(&self.consumer),
            parts: Arc::clone(&self.parts),
            intake: Arc::clone(&self.intake),
            lives: self.lives.clone(),
        }
    }

    /// What the looks say of the partitions that are here.
    pub(super) fn looked(&mut self, looks: Looks) {
        let mut again = Vec::new();
        for (topic, looked) in looks {
            let life = match looked {
                Ok(life) => life,
                Err(fault) => {
                    tracing::warn!(%topic, %fault, "topic cannot be looked at");
                    continue;
                }
            };
            let halted = halted(&self.parts, topic);
            match life.fault(topic) {
                Some(fault) if !halted => self.halt(topic, &fault),
                Some(_) => {}
                // Created anew and raised between two looks: what this member holds of it is of the life before.
                None if halted || is_outdated(&self.parts, topic, &life) => again.extend(here(&self.parts, topic)),
                None => self.follow(topic, &life),
            }
        }
        // A topic whose epoch was raised comes anew, as if it had just been assigned; the group's questions come first.
        if !again.is_empty() && self.answering.is_none() {
            self.answering = Some(Box::pin(self.answers().renew(again)));
        }
    }

    fn halt(&self, topic: Name, fault: &Fault) {
        for partition in here(&self.parts, topic) {
            self.parts.change(partition, |part| part.halt(fault.what.clone()));
            self.intake.failed(Some(partition), fault.clone());
        }
    }

    /// Takes over ends of logs, and begins of logs that have passed a reader.
    fn follow(&self, topic: Name, life: &Life) {
        for (number, seen) in &life.seen.parts {
            let partition = Partition { topic, number: *number };
            let cut = self.parts.change(partition, |part| {
                part.end = Some(seen.high);
                let from = NextOffset(part.expected);
                let cut = Cut { from, to: NextOffset(seen.low) };
                part.pass_to(seen.low).then(|| (part.gate.reading(), cut))
            });
            if let Some((reading, cut)) = cut.flatten() {
                self.intake.cut(partition, reading, cut);
            }
        }
    }
}

fn here(parts: &Parts, topic: Name) -> Vec<Partition> {
    let state = parts.lock();
    state.parts.iter().filter(|(p, part)| p.topic == topic && !part.leaving).map(|(p, _)| *p).collect()
}

/// Some partition is read under other epochs than are remembered by now (E4).
fn is_outdated(parts: &Parts, topic: Name, life: &Life) -> bool {
    let other = |p: &Partition, part: &Part| p.topic == topic && !part.leaving && part.epochs != life.memory.epochs(p.number);
    parts.lock().parts.iter().any(|(p, part)| other(p, part))
}

fn halted(parts: &Parts, topic: Name) -> bool {
    parts.lock().parts.iter().any(|(p, part)| p.topic == topic && part.halted.is_some())
}

impl Answers {
    /// New partitions: learns where each begins, tells the engine, then lets the client fetch.
    pub(super) async fn assign(self, list: TopicPartitionList) -> Result<(), Fault> {
        self.refuse_company().await?;
        let mut partitions = partitions_of(&list);
        partitions.sort_unstable();
        let Some(lives) = self.learn(&partitions).await else {
            // The group asks something else meanwhile. It has to be answered all the same, or it would ask no more; what
            // the client fetches of partitions that are nobody's is dropped.
            if let Err(error) = self.consumer.incremental_assign(&list) {
                tracing::debug!(source = self.source, %error, "assignment not taken");
            }
            return Ok(());
        };
        self.begin(&partitions, &lives).await;
        self.fetch(&list, &partitions);
        Ok(())
    }

    /// Partitions leave: the engine drains and commits, then the client gives them back.
    pub(super) async fn revoke(self, list: TopicPartitionList) -> Result<(), Fault> {
        let leaving = self.leave(partitions_of(&list));
        if self.consumer.assignment_lost() {
            tracing::warn!(source = self.source, partitions = leaving.len(), "partitions lost: the group had given us up");
        }
        self.intake.revoked(leaving.clone()).await;
        self.forget(&leaving);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::warn!(source = self.source, %error, "partitions not given back");
        }
        Ok(())
    }

    /// A topic's partitions leave the engine and come again under what is remembered of it now.
    async fn renew(self, partitions: Vec<Partition>) -> Result<(), Fault> {
        let leaving = self.leave(partitions);
        self.intake.revoked(leaving.clone()).await;
        let list = list_of(leaving.iter().map(|p| (*p, 0)));
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::warn!(source = self.source, %error, "partitions of a raised topic not given back");
        }
        self.forget(&leaving);
        if let Some(lives) = self.learn(&leaving).await {
            self.begin(&leaving, &lives).await;
            self.fetch(&list, &leaving);
        }
        Ok(())
    }

    fn leave(&self, partitions: Vec<Partition>) -> Vec<Partition> {
        let mut state = self.parts.lock();
        let here = |p: &Partition| state.parts.get_mut(p).map(Part::leave).is_some();
        partitions.into_iter().filter(here).collect()
    }

    fn forget(&self, partitions: &[Partition]) {
        let mut state = self.parts.lock();
        for partition in partitions {
            state.parts.remove(partition);
        }
    }

    /// Every topic of these, as often as it takes; `None` once the group asks something else.
    async fn learn(&self, partitions: &[Partition]) -> Option<BTreeMap<Name, Life>> {
        let mut topics: BTreeMap<Name, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(partition.topic).or_default().push(partition.number);
        }
        let (mut lives, mut attempts) = (BTreeMap::new(), 0);
        for (topic, numbers) in topics {
            loop {
                match self.lives.look(topic, Some(numbers.clone())).await {
                    Ok(life) => {
                        lives.insert(topic, life);
                        break;
                    }
                    Err(_) if self.consumer.context().is_asked() => return None,
                    Err(fault) => {
                        attempts += 1;
                        if fault.advice() == Advice::Stop && attempts == 1 {
                            self.intake.failed(None, fault.clone());
                        }
                        WaitingFor { fault: &fault, attempts, after: ASK_AGAIN }.emit();
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                }
            }
        }
        Some(lives)
    }

    /// Tells the engine; answers when its actors run.
    async fn begin(&self, partitions: &[Partition], lives: &BTreeMap<Name, Life>) {
        let (mut assigned, mut halted) = (Vec::new(), Vec::new());
        {
            let mut state = self.parts.lock();
            for partition in partitions {
                let Some(life) = lives.get(&partition.topic) else { continue };
                let seen = life.seen.parts.get(&partition.number).copied().unwrap_or_default();
                let Start { at, missing } = life.memory.start(partition.number, &seen);
                let epochs = life.memory.epochs(partition.number);
                let mut part = Part::new(at, epochs.clone(), life.seen.partitions, seen.high);
                match life.fault(partition.topic) {
                    Some(fault) => {
                        part.halt(fault.what.clone());
                        halted.push((*partition, fault));
                    }
                    None if missing > 0 => {
                        GapFound { partition: *partition, from: NextOffset(at.0 - missing), to: at }.emit();
                    }
                    None => {}
                }
                let start = if part.halted.is_some() { life.memory.held(partition.number, &seen) } else { at };
                let high_watermark = Some(seen.high);
                assigned.push(Assigned { partition: *partition, start, partitions: part.count, epochs, high_watermark });
                state.parts.insert(*partition, part);
            }
        }
        self.intake.assigned(&self.source, assigned).await;
        for (partition, fault) in halted {
            self.intake.failed(Some(partition), fault);
        }
    }

    /// Lets the client fetch, from where the engine wants it by now. Whether a pause outlives a rebalance is not for sure,
    /// so each is told again.
    fn fetch(&self, list: &TopicPartitionList, partitions: &[Partition]) {
        let mut wanted = list.clone();
        {
            let mut state = self.parts.lock();
            state.parts.values_mut().for_each(|part| part.held_back = false);
            for partition in partitions {
                let Some(part) = state.parts.get_mut(partition) else { continue };
                let from = part.seek.take().unwrap_or(part.expected);
                part.expected = from;
                part.fetched = true;
                // The client may hold it back from an earlier stay: it is let go, or told again.
                part.held_back = true;
                // The list holds just these partitions.
                let offset = rdkafka::topic_partition_list::Offset::Offset(from);
                let _ = wanted.set_partition_offset(partition.topic.as_str(), partition.number, offset);
            }
        }
        if let Err(error) = self.consumer.incremental_assign(&wanted) {
            tracing::warn!(source = self.source, %error, "assignment not taken");
        }
    }

    /// Embedded stores serve one process: with a second member each would keep half of every row.
    async fn refuse_company(&self) -> Result<(), Fault> {
        if !self.alone {
            return Ok(());
        }
        company(&self.consumer, &self.settings, &self.name, &self.source, true).await
    }
}

/// Refuses a group that somebody else is in.
///
/// # Errors
/// [`FaultKind::Incompatible`] with who it is and what to do. A group that cannot be asked is no company.
pub(super) async fn company(
    consumer: &Arc<Member>,
    settings: &KafkaSettings,
    name: &str,
    source: &str,
    joined: bool,
) -> Result<(), Fault> {
    let (asked, group, ours) = (Arc::clone(consumer), settings.clone(), name.to_owned());
    let asking = tokio::task::spawn_blocking(move || others(&asked, &group, &ours, super::lives::PATIENCE)).await;
    // Of two that came at once the first by name stays; whoever is not one of us cannot be asked to go.
    let goes = |other: &String| !joined || !other.starts_with(MEMBER_MARK) || other.as_str() < name;
    match asking {
        Ok(Ok(others)) if others.iter().any(goes) => {
            let what = format!(
                "group {} has another member ({}), and what this node keeps in itself (an embedded store or queue) serves one \
                 process: stop the other one, give this source another group, or configure store.hbase and queue.asynq on both",
                settings.group,
                others.join(", ")
            );
            Err(Fault::new(FaultKind::Incompatible, format!("source {source}"), what))
        }
        Ok(Err(fault)) => {
            tracing::debug!(source, %fault, "group cannot be asked for its members");
            Ok(())
        }
        _ => Ok(()),
    }
}
