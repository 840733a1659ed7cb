//! What `check --connect` sees of a source: brokers, topics, rights, retention. Leaves nothing behind.

use super::config::{Told, client_config, fault_of};
use super::desk::asker;
use super::lives::PATIENCE;
use crate::domain::fault::{Fault, FaultKind};
use crate::settings::KafkaSettings;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::TopicPartitionList;

/// One topic of the configuration.
pub struct TopicSurvey {
    pub topic: String,
    /// Partitions, and how many records lie in them; or why that cannot be told.
    pub log: Result<(u32, i64), Fault>,
    /// `cleanup.policy` and `retention.ms`, where we may ask for them.
    pub kept: Option<(String, String)>,
}

/// What was seen of one source.
pub struct KafkaSurvey {
    pub brokers: usize,
    pub topics: Vec<TopicSurvey>,
    /// Topics of the cluster, for patterns to be held against.
    pub known: usize,
    /// Whether the group's positions may be asked for.
    pub group: Result<(), Fault>,
}

impl KafkaSurvey {
    /// Asks the brokers; blocks.
    ///
    /// # Errors
    /// No broker answers, or the settings are refused.
    pub fn of(settings: &KafkaSettings, source: &str) -> Result<Self, Fault> {
        let place = format!("source {source}");
        let asker = asker(settings, source)?;
        let cluster = asker.fetch_metadata(None, PATIENCE).map_err(|error| {
            // It reads nothing: what a poll brings is heard by the context.
            asker.context().explains(&place, &error, |wait| drop(asker.poll(wait)))
        })?;
        let named: Vec<_> = settings.topics.iter().filter(|topic| !topic.starts_with('^')).cloned().collect();
        let mut kept = kept(settings, &named);
        let mut topics = Vec::new();
        let mut list = TopicPartitionList::new();
        for topic in named {
            let log = log(&asker, &topic);
            if let Ok((partitions, _)) = log {
                list.add_partition_range(&topic, 0, i32::try_from(partitions).unwrap_or(i32::MAX) - 1);
            }
            topics.push(TopicSurvey { kept: kept.remove(&topic), log, topic });
        }
        let group = if list.count() == 0 {
            Ok(())
        } else {
            asker.committed_offsets(list, PATIENCE).map(drop).map_err(|e| fault_of(&format!("group {}", settings.group), &e))
        };
        Ok(Self { brokers: cluster.brokers().len(), known: cluster.topics().len(), topics, group })
    }
}

fn log(asker: &rdkafka::consumer::BaseConsumer<Told>, topic: &str) -> Result<(u32, i64), Fault> {
    let place = format!("topic {topic}");
    let metadata = asker.fetch_metadata(Some(topic), PATIENCE).map_err(|e| fault_of(&place, &e))?;
    let missing = || Fault::new(FaultKind::Invalid, place.clone(), "there is no such topic");
    let seen = metadata.topics().iter().find(|t| t.name() == topic).ok_or_else(missing)?;
    match seen.error().map(Code::from) {
        Some(Code::UnknownTopicOrPartition) => return Err(missing()),
        Some(code) => return Err(Fault::new(super::config::fault_kind(code), place, code)),
        None => {}
    }
    let mut records = 0;
    for partition in seen.partitions() {
        let (low, high) = asker.fetch_watermarks(topic, partition.id(), PATIENCE).map_err(|e| fault_of(&place, &e))?;
        records += high - low;
    }
    Ok((u32::try_from(seen.partitions().len()).unwrap_or(u32::MAX), records))
}

/// What brokers tell of retention; a right that is missing leaves it out.
fn kept(settings: &KafkaSettings, topics: &[String]) -> std::collections::HashMap<String, (String, String)> {
    let client = Told::new("check".to_owned());
    let made: Result<AdminClient<Told>, _> = client_config(&settings.address, "widerow-asks").create_with_context(client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(admin), Ok(runtime)) = (made, runtime) else { return Default::default() };
    let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let told = runtime.block_on(admin.describe_configs(&asked, &options)).unwrap_or_default();
    let mut kept = std::collections::HashMap::new();
    for (topic, resource) in topics.iter().zip(told) {
        let Ok(resource) = resource else { continue };
        let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        kept.insert(topic.clone(), (value("cleanup.policy"), value("retention.ms")));
    }
    kept
}
