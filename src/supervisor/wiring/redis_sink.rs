//! From settings to documents in hashes in Redis, and what `check --connect` says of them.

use super::probe::{Probe, from_fault};
use crate::domain::fault::{Fault, FaultKind};
use crate::io::clients;
use crate::io::redis_sink::RedisSink;
use crate::ports::sink::Sink;
use crate::settings::{LineSettings, RedisSinkSettings, Settings};
use std::sync::Arc;

/// The sink of one line.
///
/// # Errors
/// Settings that the client refuses.
pub fn sink(redis: &RedisSinkSettings, line: &LineSettings, settings: &Settings) -> Result<Arc<dyn Sink>, Fault> {
    Ok(Arc::new(open(redis, line, settings)?))
}

fn open(redis: &RedisSinkSettings, line: &LineSettings, settings: &Settings) -> Result<RedisSink, Fault> {
    let Some(document) = &line.line.document else {
        let place = format!("sink of {}", line.line.name);
        return Err(Fault::new(FaultKind::Incompatible, place, "the line declares no document"));
    };
    RedisSink::open(redis, &document.id, settings.purge_horizon)
}

/// What is there, and what is missing.
pub fn probe(redis: &RedisSinkSettings, line: &LineSettings, settings: &Settings) -> Vec<Probe> {
    let system = format!("sink of {}", line.line.name);
    let looked = open(redis, line, settings).and_then(|sink| clients::wait(async move { sink.look().await }));
    vec![match looked {
        Ok(seen) if seen.policy.starts_with("allkeys") => {
            let missing = format!("its maxmemory-policy `{}` drops versions with their documents", seen.policy);
            Probe::lacking(system, missing, "set `maxmemory-policy noeviction`, or a `volatile-` one and no `ttl` here")
        }
        Ok(seen) => {
            Probe::fine(system, format!("Redis {}, maxmemory-policy {}, primaries: {}", seen.version, seen.policy, seen.servers))
        }
        Err(fault) => {
            from_fault(system, fault, "see that the server runs; `url`, `username`, `password` and `tls` say how it is reached")
        }
    }]
}
