//! Lives of topics (E3, E4): one is deleted and created anew, its readers stop, a person raises its epoch.
//!
//! What a difference means and where reading begins is the product's own `domain/epoch`; this is the broker, and what the
//! source of the real log does between the two.

use super::{Group, HullRows, Member, Order, Place};
use crate::sim::sea::Seen;
use std::sync::Arc;
use std::time::Duration;
use widerow::domain::epoch::{Break, Committed, PartSeen, TopicMemory, TopicSeen};
use widerow::domain::fault::{Fault, FaultKind};
use widerow::domain::ids::{Name, NextOffset, Partition};
use widerow::ports::rows::RowStore;

/// Between two tries to learn what is remembered of a topic.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// As the source of the real log names it.
fn memory_key(topic: Name) -> String {
    format!("epoch/{topic}")
}

impl Place {
    fn seen(&self) -> PartSeen {
        let committed = Committed { next: NextOffset(self.committed), epoch: Some(self.committed_in) };
        let committed = Some(committed).filter(|_| self.committed > 0);
        PartSeen { low: self.begin, high: self.records.len() as i64, committed }
    }
}

impl Group {
    /// Everything of one topic is, and somebody remembers the topic.
    pub fn is_topic_through(&self, topic: Name) -> bool {
        self.known.lock().unwrap().contains(&topic)
            && self.places.lock().unwrap().iter().filter(|(p, _)| p.topic == topic).all(|(_, place)| place.is_through())
    }

    /// E3: the topic is deleted and created again. What the group has committed of the old one may stay.
    pub fn remake(&self, topic: Name) {
        let stays = self.sea.below(2) == 0;
        self.sea.saw(Seen::TopicRecreated);
        self.sea.tell(format_args!("{topic} is created anew, the group's positions {}", if stays { "stay" } else { "go" }));
        for place in self.places.lock().unwrap().iter_mut().filter(|(p, _)| p.topic == topic).map(|(_, place)| place) {
            let committed = if stays { place.committed } else { 0 };
            let (life, owner, assignments) = (place.life + 1, place.owner, place.assignments);
            *place = Place { committed, committed_in: place.committed_in, life, owner, assignments, ..Place::default() };
        }
        self.have_looked_at(topic);
    }

    /// E4: a person raises the topic's epoch.
    pub async fn bump(&self, topic: Name) {
        let held = self.sea.rows.meta(&memory_key(topic)).await.ok().flatten();
        let memory: TopicMemory = serde_json::from_str(held.as_deref().unwrap_or_default()).unwrap();
        let bump = memory.bump(&self.seen(topic));
        let text = serde_json::to_string(&bump.memory).unwrap();
        let set = self.sea.rows.set_meta(&memory_key(topic), held.as_deref(), &text).await;
        assert_eq!(set, Ok(true), "nobody else writes at this moment");
        self.sea.raised(topic, bump.memory.epoch);
        self.have_looked_at(topic);
    }

    fn have_looked_at(&self, topic: Name) {
        for member in self.members.lock().unwrap().values() {
            let _ = member.try_send(Order::Look(topic));
        }
    }

    /// The topic as a broker shows it.
    fn seen(&self, topic: Name) -> TopicSeen {
        let places = self.places.lock().unwrap();
        let of_it = || places.iter().filter(|(p, _)| p.topic == topic);
        let life = of_it().next().map_or(0, |(_, place)| place.life);
        TopicSeen {
            id: Some(format!("{topic}-{life}")),
            partitions: of_it().map(|(p, _)| p.number as u32 + 1).max().unwrap_or(0),
            parts: of_it().map(|(p, place)| (p.number, place.seen())).collect(),
        }
    }
}

impl Member {
    /// E3: stops a topic that is no longer the one remembered; one whose epoch was raised comes anew.
    pub(super) async fn look(self: &Arc<Self>, topic: Name) {
        let here: Vec<_> = {
            let readings = self.readings.lock().unwrap();
            let living = readings.iter().filter(|(p, r)| p.topic == topic && !r.gone);
            living.map(|(p, r)| (*p, r.assignment, r.halted)).collect()
        };
        if here.is_empty() {
            return;
        }
        let (memory, breaks, _) = self.learn(topic).await;
        let is_broken = !breaks.is_empty();
        let was_halted = here.iter().any(|(.., halted)| *halted);
        // Created anew and raised between two looks.
        let is_outdated = {
            let readings = self.readings.lock().unwrap();
            here.iter().any(|(p, ..)| readings.get(p).is_some_and(|r| r.epochs != memory.epochs(p.number)))
        };
        if is_broken && !was_halted {
            for (partition, ..) in here {
                if let Some(reading) = self.readings.lock().unwrap().get_mut(&partition) {
                    reading.halted = true;
                }
                self.stop(partition);
            }
        } else if !is_broken && (was_halted || is_outdated) {
            let partitions: Vec<_> = here.iter().map(|(p, ..)| *p).collect();
            self.intake.revoked(partitions.clone()).await;
            self.hull.alive().await;
            self.forget(&partitions);
            self.let_go(&partitions);
            for (partition, assignment, _) in here {
                self.begin(partition, assignment).await;
            }
        }
    }

    pub(super) fn stop(&self, partition: Partition) {
        let sea = &self.group.sea;
        sea.saw(Seen::TopicHalted);
        sea.tell(format_args!("n{} stops {partition}", self.hull.node));
        let fault = Fault::new(FaultKind::Incompatible, "topic", "scripted: it was created again");
        self.intake.failed(Some(partition), fault);
    }

    /// What is remembered of a topic, held against what is seen of it.
    pub(super) async fn learn(&self, topic: Name) -> (TopicMemory, Vec<Break>, TopicSeen) {
        let (rows, key) = (HullRows(Arc::clone(&self.hull)), memory_key(topic));
        loop {
            if let Ok(held) = rows.meta(&key).await {
                // After the memory, as the real source: a log is at least as long as what is remembered of it.
                let seen = self.group.seen(topic);
                let known: Option<TopicMemory> = held.as_deref().map(|text| serde_json::from_str(text).unwrap());
                let mut memory = known.clone().unwrap_or_else(|| TopicMemory::first(&seen));
                let breaks = memory.judge(&seen);
                let news = known.is_none() || (breaks.is_empty() && memory.remember(&seen));
                let text = serde_json::to_string(&memory).unwrap();
                // What was seen before a topic was made anew is not worth keeping.
                let current = self.group.seen(topic).id == seen.id;
                if current && (!news || rows.set_meta(&key, held.as_deref(), &text).await == Ok(true)) {
                    self.group.known.lock().unwrap().insert(topic);
                    return (memory, breaks, seen);
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}
