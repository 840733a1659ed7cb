//! From settings to a client of Kafka, and from its errors to faults.
//!
//! Decisions are made on librdkafka's codes, never on its texts. Properties of the configuration stand below what widerow
//! relies on. Knows nothing of groups, topics and records.

use super::repeats::said;
use crate::domain::fault::{Fault, FaultKind};
use crate::settings::{KafkaAddress, STARS, secret_property};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long the events that explain a failed question may take to come out of the client's queue.
const EVENTS_WAIT: Duration = Duration::from_millis(500);

/// A client's configuration: how to reach the brokers, who we are, the properties as written.
///
/// `client_id` names the client in the brokers' logs and quotas, and differs per member of a group: librdkafka loops in
/// rebalances where two members share one. What a caller relies on is set by the caller, on top.
pub fn client_config(address: &KafkaAddress, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // A broker that went away is looked for within seconds, not after the default's ten.
    config.set("reconnect.backoff.max.ms", "5000");
    // Idle connections are closed by brokers and load balancers: no reason for a log line.
    config.set("log.connection.close", "false");
    for (key, value) in &address.properties {
        config.set(key, value.reveal());
    }
    config.set("bootstrap.servers", address.brokers.join(","));
    config.set("client.id", client_id);
    if let Some(tls) = &address.tls {
        let files =
            [("ssl.ca.location", &tls.ca), ("ssl.certificate.location", &tls.certificate), ("ssl.key.location", &tls.key)];
        for (key, file) in files {
            if let Some(file) = file {
                config.set(key, file.display().to_string());
            }
        }
        config.set("enable.ssl.certificate.verification", if tls.verify { "true" } else { "false" });
        config.set("ssl.endpoint.identification.algorithm", if tls.verify { "https" } else { "none" });
    }
    if let Some(sasl) = &address.sasl {
        config.set("sasl.mechanism", &sasl.mechanism);
        config.set("sasl.username", &sasl.username);
        config.set("sasl.password", sasl.password.reveal());
    }
    // Plain text without either, unless a property says otherwise (Kerberos and OAuth have no keys of ours).
    let protocol = match (address.tls.is_some(), address.sasl.is_some()) {
        (false, false) => None,
        (true, false) => Some("SSL"),
        (false, true) => Some("SASL_PLAINTEXT"),
        (true, true) => Some("SASL_SSL"),
    };
    if let Some(protocol) = protocol {
        config.set("security.protocol", protocol);
    }
    config
}

/// What an answer of librdkafka or of a broker means.
pub fn fault_kind(code: Code) -> FaultKind {
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord | Code::InvalidMessage => {
            FaultKind::Rejected
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => FaultKind::Forbidden,
        Code::QueueFull | Code::ThrottlingQuotaExceeded => FaultKind::Throttled,
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => FaultKind::Timeout,
        Code::InvalidTopic
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::InvalidRequiredAcks
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::PolicyViolation
        | Code::InvalidConfig => FaultKind::Incompatible,
        Code::KafkaStorageError => FaultKind::Full,
        // Elections, moves, a topic that is not there yet, a connection lost: each ends by itself or by a person's hand.
        _ => FaultKind::Unreachable,
    }
}

/// An error of the client as a fault with its place.
pub fn fault_of(place: &str, error: &KafkaError) -> Fault {
    let kind = match (error, error.rdkafka_error_code()) {
        (KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Subscription(_), _) => {
            FaultKind::Incompatible
        }
        (_, Some(code)) => fault_kind(code),
        (_, None) => FaultKind::Unreachable,
    };
    let what = match error {
        KafkaError::ClientConfig(_, why, key, value) if !value.is_empty() => {
            if secret_property(key) {
                format!("property `{key}` cannot be `{STARS}`: {}", why.replace(value.as_str(), STARS))
            } else {
                format!("property `{key}` cannot be `{value}`: {why}")
            }
        }
        KafkaError::ClientConfig(_, why, key, _) => format!("property `{key}`: {why}"),
        other => other.to_string(),
    };
    Fault::new(kind, place, what)
}

/// Passes a line of librdkafka's own log on. Its lesser troubles pass by themselves and are told at debug.
pub fn tell_log(client: &str, level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(client, facility, message, "kafka client");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            if let Some(unheard) = said(client, facility) {
                tracing::warn!(client, facility, message, unheard, "kafka client");
            }
        }
        _ => tracing::debug!(client, facility, message, "kafka client"),
    }
}

/// Passes a client's global error on: a broker that is away, a refused right. What it means for a record, the record's
/// own answer says.
pub fn tell_error(client: &str, error: &KafkaError, reason: &str) {
    if let Some(unheard) = said(client, &error.to_string()) {
        tracing::warn!(client, %error, reason, unheard, "kafka client reports an error");
    }
}

/// The context of clients that need no more than a log, and to know why nobody answers. Its copies hear the same.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which client speaks: `sink orders`.
    client: String,
    why: Arc<Why>,
}

/// The last error that tells a cause.
#[derive(Debug, Default)]
struct Why {
    last: Mutex<Option<(Code, String)>>,
    heard: Condvar,
}

impl Told {
    pub fn new(client: String) -> Self {
        Self { client, why: Arc::default() }
    }

    /// A question's error with its cause. A question that finds no broker says only that; why none could be reached (a
    /// refused password, a certificate nobody knows) is an event, which waits in the client's queue until `poll` takes it
    /// out. Blocks, up to half a second.
    pub fn explains(&self, place: &str, error: &KafkaError, mut poll: impl FnMut(Duration)) -> Fault {
        let fault = fault_of(place, error);
        if !matches!(fault.kind, FaultKind::Unreachable | FaultKind::Timeout) {
            return fault;
        }
        let late = Instant::now() + EVENTS_WAIT;
        while self.why().is_none() && Instant::now() < late {
            poll(EVENTS_WAIT / 10);
        }
        let why = self.why().take();
        why.map_or(fault, |(code, reason)| Fault::new(fault_kind(code), place, reason))
    }

    /// Waits for an error: the poll of clients whose events another thread takes out.
    pub fn wait(&self, longest: Duration) {
        drop(self.why.heard.wait_timeout_while(self.why(), longest, |why| why.is_none()));
    }

    fn why(&self) -> MutexGuard<'_, Option<(Code, String)>> {
        self.why.last.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell_log(&self.client, level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tell_error(&self.client, &error, reason);
        // That all brokers are away is no reason of its own.
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != Code::AllBrokersDown) {
            *self.why() = Some((code, reason.to_owned()));
            self.why.heard.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::Advice;
    use crate::settings::{Sasl, Secret, Tls};
    use rdkafka::producer::FutureProducer;
    use rdkafka::types::RDKafkaConfRes;

    /// Goal: what ends by itself waits, what never passes is buried, what needs a person stops. Method: a table of codes.
    #[test]
    fn codes_have_their_advice() {
        for (code, advice) in [
            (Code::MessageSizeTooLarge, Advice::Bury),
            (Code::TopicAuthorizationFailed, Advice::Stop),
            (Code::QueueFull, Advice::SlowDown),
            (Code::MessageTimedOut, Advice::Wait),
            (Code::AllBrokersDown, Advice::Wait),
            (Code::NotEnoughReplicas, Advice::Wait),
            (Code::UnknownTopicOrPartition, Advice::Wait),
            (Code::InvalidTopic, Advice::Stop),
        ] {
            assert_eq!(fault_kind(code).advice(), advice, "{code:?}");
        }
    }

    fn address(properties: &[(&str, &str)]) -> KafkaAddress {
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned()))).collect();
        KafkaAddress { brokers: vec!["a:1".into(), "b:2".into()], tls: None, sasl: None, properties }
    }

    /// Goal: what is written is what librdkafka gets. Method: every kind of address, the keys that tell them apart.
    #[test]
    fn addresses_become_properties() {
        let sasl = Sasl { mechanism: "PLAIN".into(), username: "u".into(), password: Secret::new("p".into()) };
        let tls = Tls { ca: Some("ca.pem".into()), verify: true, ..Tls::default() };
        let plain = address(&[("linger.ms", "9"), ("bootstrap.servers", "elsewhere:1")]);
        let config = client_config(&plain, "me");
        for (key, want) in [
            ("bootstrap.servers", Some("a:1,b:2")),
            ("client.id", Some("me")),
            ("linger.ms", Some("9")),
            ("security.protocol", None),
        ] {
            assert_eq!(config.get(key), want, "{key}");
        }
        for (tls, sasl, want) in
            [(Some(tls.clone()), None, "SSL"), (None, Some(sasl.clone()), "SASL_PLAINTEXT"), (Some(tls), Some(sasl), "SASL_SSL")]
        {
            let config = client_config(&KafkaAddress { tls, sasl, ..address(&[]) }, "me");
            assert_eq!(config.get("security.protocol"), Some(want));
            assert_eq!(config.get("ssl.ca.location").is_some(), want.ends_with("SSL"), "{want}");
            assert_eq!(config.get("sasl.password"), want.starts_with("SASL").then_some("p"), "{want}");
        }
    }

    /// Goal: a misspelt property is told with its name, a secret without its value. Method: a client made with it; the
    /// error of a password.
    #[test]
    fn a_wrong_property_is_named() {
        let error = client_config(&address(&[("linger.mss", "5")]), "a").create::<FutureProducer>().map(|_| ()).unwrap_err();
        let fault = fault_of("sink orders", &error);
        assert_eq!(fault.kind, FaultKind::Incompatible);
        assert!(fault.what.contains("`linger.mss`"), "{fault}");
        let secret = KafkaError::ClientConfig(
            RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "no good: hunter2".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        assert_eq!(fault_of("s", &secret).what, "property `sasl.password` cannot be `***`: no good: ***");
    }
}
