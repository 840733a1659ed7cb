//! Lives of topics, as people see them, and raising an epoch (E3, E4).

use super::{Code, Office, Problem};
use crate::domain::epoch::Bump;
use crate::domain::ids::Name;
use crate::ports::source::TopicLife;
use serde::{Deserialize, Serialize};

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochAnswer {
    pub source: String,
    pub topic: String,
    pub epoch: u32,
    /// The brokers' id of the topic that is remembered, and of the one that is there.
    pub id: Option<String>,
    pub id_seen: Option<String>,
    pub partitions: Vec<EpochPartition>,
    /// Why nothing of it is applied; empty while it is.
    pub stopped: Vec<String>,
}

/// One partition of it. Offsets are text (3-interfaces 3.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPartition {
    pub partition: i32,
    pub low: String,
    pub high: String,
    pub high_remembered: String,
    pub committed: Option<String>,
    pub epochs: Vec<EpochBegin>,
}

/// From which offset on an epoch counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochBegin {
    pub from: String,
    pub epoch: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochsAnswer {
    pub topics: Vec<EpochAnswer>,
}

/// What raising an epoch came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BumpAnswer {
    pub topic: String,
    /// Nothing was changed.
    pub dry: bool,
    pub epoch: u32,
    /// What it answers.
    pub answers: Vec<String>,
    /// By partition, from which offset on the new epoch counts.
    pub boundaries: Vec<(i32, String)>,
    /// What is owed besides, in words.
    pub warnings: Vec<String>,
}

impl Office {
    /// # Errors
    /// No such topic; brokers or row store do not answer.
    pub async fn epochs(&self, topic: Option<&str>) -> Result<EpochsAnswer, Problem> {
        let mut topics = Vec::new();
        for lives in &self.lives {
            let named = match topic {
                Some(topic) => Name::intern(topic).ok().filter(|t| lives.may_read(*t)).into_iter().collect(),
                None => lives.topics(),
            };
            for topic in named {
                topics.push(answer(lives.source(), lives.look(topic).await?));
            }
        }
        match topic {
            Some(topic) if topics.is_empty() => Err(self.no_such_topic(topic)),
            _ => Ok(EpochsAnswer { topics }),
        }
    }

    /// # Errors
    /// No such topic; brokers or row store do not answer; somebody else was quicker.
    pub async fn bump_epoch(&self, topic: &str, dry: bool) -> Result<BumpAnswer, Problem> {
        let named = Name::intern(topic).map_err(|_| self.no_such_topic(topic))?;
        let lives = self.lives.iter().find(|lives| lives.may_read(named)).ok_or_else(|| self.no_such_topic(topic))?;
        let bump = lives.bump(named, dry).await?;
        Ok(told(topic, dry, &bump))
    }

    fn no_such_topic(&self, topic: &str) -> Problem {
        let known: Vec<_> = self.lives.iter().flat_map(|lives| lives.topics()).map(Name::as_str).collect();
        let what = format!("no source reads a topic `{topic}` that has epochs");
        Problem::new(Code::NoSuchSource, what).help(super::choices(known.into_iter()))
    }
}

fn answer(source: &str, life: TopicLife) -> EpochAnswer {
    let TopicLife { topic, memory, seen, breaks } = life;
    let numbers = seen.parts.keys().chain(memory.parts.keys()).copied().collect::<std::collections::BTreeSet<_>>();
    let partition = |number: i32| {
        let there = seen.parts.get(&number).copied().unwrap_or_default();
        let epochs = memory.epochs(number);
        let begin = |(from, epoch): &(i64, u32)| EpochBegin { from: from.to_string(), epoch: *epoch };
        EpochPartition {
            partition: number,
            low: there.low.to_string(),
            high: there.high.to_string(),
            high_remembered: memory.parts.get(&number).map_or(0, |p| p.high).to_string(),
            committed: there.committed.map(|c| c.next.0.to_string()),
            epochs: epochs.begins().iter().map(begin).collect(),
        }
    };
    EpochAnswer {
        source: source.to_owned(),
        topic: topic.to_string(),
        epoch: memory.epoch,
        partitions: numbers.into_iter().map(partition).collect(),
        stopped: breaks.iter().map(ToString::to_string).collect(),
        id: memory.id,
        id_seen: seen.id,
    }
}

fn told(topic: &str, dry: bool, bump: &Bump) -> BumpAnswer {
    let mut warnings = Vec::new();
    if bump.keys_moved {
        warnings.push(
            "the new number of partitions is no multiple of the old: keys moved between partitions that were there before, so \
             rows changed around the growth owe a check against the database"
                .to_owned(),
        );
    }
    if bump.records_lost {
        let what = "the log lost records: changes may stand in the database and nowhere in the log, so this topic owes a check";
        warnings.push(what.to_owned());
    }
    if bump.breaks.is_empty() {
        warnings.push("nothing asked for this: the topic is the one that is remembered".to_owned());
    }
    BumpAnswer {
        topic: topic.to_owned(),
        dry,
        epoch: bump.memory.epoch,
        answers: bump.breaks.iter().map(ToString::to_string).collect(),
        boundaries: bump.boundaries.iter().map(|(number, from)| (*number, from.to_string())).collect(),
        warnings,
    }
}
