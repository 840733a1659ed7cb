//! Kafka: a source of records, and what every client of a broker shares.
//!
//! `config` turns settings into a client's configuration, says what a broker's answer means, and passes the client's own
//! log on. `source` is one member of a group and its poll loop (`poll`,
//! `rebalance`, `parts`); `lives` tells a topic from another one of its name (E3). Knows nothing of documents.

pub mod config;
mod desk;
mod lives;
mod member;
mod parts;
mod poll;
mod rebalance;
mod repeats;
mod source;
mod survey;
mod topic_id;

pub use desk::TopicDesk;
pub use source::{KafkaSource, MemberOf};
pub use survey::{KafkaSurvey, TopicSurvey};
