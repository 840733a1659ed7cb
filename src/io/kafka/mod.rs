//! Kafka: what every client of a broker shares.
//!
//! `config` turns settings into a client's configuration, says what a broker's answer means, and passes the client's own
//! log on. Knows nothing of records and documents.

pub mod config;
