//! Questions of people about the lives of topics, with or without a running source (E3, E4).
//!
//! Its client knows the group's name, to ask for its positions, and never joins it.

use super::config::{Told, client_config, fault_of};
use super::lives::Lives;
use crate::domain::epoch::Bump;
use crate::domain::fault::Fault;
use crate::domain::ids::Name;
use crate::ports::Answer;
use crate::ports::rows::RowStore;
use crate::ports::source::{TopicLife, TopicLives};
use crate::settings::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use std::sync::{Arc, Mutex};

impl ConsumerContext for Told {}

/// The topics of one source.
pub struct TopicDesk {
    source: String,
    settings: KafkaSettings,
    rows: Arc<dyn RowStore>,
    /// Made by the first question.
    lives: Mutex<Option<Lives<Told>>>,
}

impl TopicDesk {
    pub fn new(source: String, settings: KafkaSettings, rows: Arc<dyn RowStore>) -> Self {
        Self { source, settings, rows, lives: Mutex::default() }
    }

    fn lives(&self) -> Result<Lives<Told>, Fault> {
        let mut lives = self.lives.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(lives) = &*lives {
            return Ok(lives.clone());
        }
        let made = Lives { consumer: Arc::new(asker(&self.settings, &self.source)?), rows: Arc::clone(&self.rows), group: true };
        *lives = Some(made.clone());
        Ok(made)
    }
}

/// A client that only asks.
///
/// # Errors
/// Settings that the client refuses.
pub(super) fn asker(settings: &KafkaSettings, source: &str) -> Result<BaseConsumer<Told>, Fault> {
    let place = format!("source {source}");
    let mut config = client_config(&settings.address, "widerow-asks");
    config.set("group.id", &settings.group).set("enable.auto.commit", "false");
    config.create_with_context(Told::new(place.clone())).map_err(|error| fault_of(&place, &error))
}

impl TopicLives for TopicDesk {
    fn source(&self) -> &str {
        &self.source
    }

    fn topics(&self) -> Vec<Name> {
        self.settings.topics.iter().filter(|topic| !topic.starts_with('^')).map(|topic| Name::of(topic)).collect()
    }

    fn may_read(&self, topic: Name) -> bool {
        self.settings.topics.iter().any(|known| known == topic.as_str() || known.starts_with('^'))
    }

    fn look(&self, topic: Name) -> Answer<'_, Result<TopicLife, Fault>> {
        Box::pin(async move {
            let life = self.lives()?.look(topic, None).await?;
            Ok(TopicLife { topic, memory: life.memory, seen: life.seen, breaks: life.breaks })
        })
    }

    fn bump(&self, topic: Name, dry: bool) -> Answer<'_, Result<Bump, Fault>> {
        Box::pin(async move { self.lives()?.bump(topic, dry).await })
    }
}
