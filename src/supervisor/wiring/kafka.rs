//! From settings to topics of Kafka, and what `check --connect` says of them.

use super::probe::{Probe, from_fault};
use crate::io::kafka::{KafkaSource, KafkaSurvey, TopicDesk, TopicSurvey};
use crate::ports::Doors;
use crate::ports::source::{Source, TopicLives};
use crate::settings::{self, KafkaSettings, QueueKind, Settings, Store};
use std::sync::Arc;

/// One source; its client is made when it starts.
pub fn source(kafka: &KafkaSettings, source: &settings::Source, settings: &Settings, doors: &Doors) -> Box<dyn Source> {
    Box::new(KafkaSource {
        name: source.name.clone(),
        settings: kafka.clone(),
        node: settings.node.id.clone(),
        alone: settings.store == Store::Embedded || settings.queue.kind == QueueKind::Embedded,
        rows: Arc::clone(&doors.rows),
        ledger: Arc::clone(&doors.ledger),
    })
}

/// The lives of a source's topics.
pub fn lives(kafka: &KafkaSettings, source: &settings::Source, doors: &Doors) -> Arc<dyn TopicLives> {
    Arc::new(TopicDesk::new(source.name.clone(), kafka.clone(), Arc::clone(&doors.rows)))
}

/// Whether the brokers answer, the topics are there, and may be read.
pub fn probe(kafka: &KafkaSettings, source: &settings::Source) -> Vec<Probe> {
    let system = format!("source {}", source.name);
    let survey = match KafkaSurvey::of(kafka, &source.name) {
        Ok(survey) => survey,
        Err(fault) => {
            let remedy = format!("start the brokers, or set sources.{}.kafka.brokers, tls and sasl", source.name);
            return vec![from_fault(system, fault, &remedy)];
        }
    };
    let mut probes = vec![Probe::fine(&system, format!("{} brokers, {} topics", survey.brokers, survey.known))];
    if let Err(fault) = survey.group {
        let remedy = format!("give the user the right to read group {} (READ on the group)", kafka.group);
        probes.push(from_fault(format!("{system}, group {}", kafka.group), fault, &remedy));
    }
    probes.extend(survey.topics.into_iter().map(|seen| topic(&system, seen)));
    let patterns = kafka.topics.iter().filter(|topic| topic.starts_with('^'));
    probes.extend(patterns.map(|p| Probe::fine(format!("{system}, topics {p}"), "a pattern; a run takes what fits")));
    probes
}

fn topic(system: &str, seen: TopicSurvey) -> Probe {
    let place = format!("{system}, topic {}", seen.topic);
    let (partitions, records) = match seen.log {
        Ok(log) => log,
        Err(fault) => {
            let remedy = "make the topic, correct its name, or give the user the rights DESCRIBE and READ on it";
            return from_fault(place, fault, remedy);
        }
    };
    let kept = seen.kept.map_or_else(String::new, |(policy, retention)| {
        let days = retention.parse::<i64>().ok().filter(|ms| *ms >= 0).map(|ms| ms / 86_400_000);
        let kept = days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
        if policy.contains("delete") { format!(", kept {kept} ({policy})") } else { format!(", {policy}") }
    });
    Probe::fine(place, format!("{partitions} partitions, {records} records{kept}"))
}
