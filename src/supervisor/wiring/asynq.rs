//! From settings to jobs on Redis, and what `check --connect` says of them.

use super::probe::Probe;
use crate::domain::fault::{Fault, FaultKind};
use crate::io::asynq::{AsynqQueue, Server, Setup, look};
use crate::io::clients;
use crate::io::embedded::{EmbeddedStore, overflow_shelf};
use crate::io::jobbook::Shelf;
use crate::io::redis::Redis;
use crate::ports::ledger::Ledger;
use crate::ports::queue::JobQueue;
use crate::settings::{AsynqSettings, LedgerKind, Settings};
use std::sync::Arc;

/// The queue; what overflows is kept in the embedded store or a database, which outlive Redis (J9).
///
/// # Errors
/// Settings that the client refuses.
pub fn queue(
    asynq: &AsynqSettings,
    settings: &Settings,
    store: &Arc<EmbeddedStore>,
    own: &Arc<dyn Ledger>,
) -> Result<Arc<dyn JobQueue>, Fault> {
    Ok(Arc::new(AsynqQueue::new(Setup {
        redis: Redis::new(&asynq.redis)?,
        asynq: asynq.clone(),
        queue: settings.queue.clone(),
        lines: settings.lines.iter().map(|line| line.line.name).collect(),
        overflow: overflow(settings, store)?,
        own: Some(Arc::clone(own)),
        clock: None,
    })?))
}

fn overflow(settings: &Settings, store: &Arc<EmbeddedStore>) -> Result<Box<dyn Shelf>, Fault> {
    match &settings.ledger {
        LedgerKind::Embedded => Ok(overflow_shelf(Arc::clone(store), &settings.queue)),
        #[cfg(feature = "mysql")]
        LedgerKind::Mysql(mysql) => crate::io::mysql::overflow_shelf(mysql, &settings.node.id, &settings.queue),
        #[cfg(not(feature = "mysql"))]
        LedgerKind::Mysql(_) => Err(super::left_out("ledger mysql")),
    }
}

/// Whether the database of the overflow answers and lets us.
#[cfg(feature = "mysql")]
pub fn probe_ledger(mysql: &crate::settings::MysqlSettings) -> Probe {
    let reached = crate::io::mysql::Mysql::new(mysql).and_then(|way| Ok((way.version()?, way.place().to_owned())));
    match reached {
        Ok((version, place)) => {
            Probe::fine(format!("ledger at {place}"), format!("{version}; its table is made when it is missing"))
        }
        Err(fault) => {
            let remedy = match fault.kind {
                FaultKind::Forbidden => {
                    "give the user SELECT, INSERT, UPDATE, DELETE and CREATE there, or correct `ledger.mysql.url`"
                }
                FaultKind::Unreachable | FaultKind::Timeout => "start the server, or correct `ledger.mysql.url` and `tls`",
                _ => "correct `ledger.mysql`",
            };
            Probe::lacking(format!("ledger at {}", fault.place), fault.what, remedy)
        }
    }
}

/// Whether the server answers, is new enough, keeps what it is given, and lets us.
pub fn probe(asynq: &AsynqSettings) -> Vec<Probe> {
    let place = || format!("queue at redis {}", asynq.redis.hosts.join(","));
    let servers = match reach(asynq) {
        Ok(servers) => servers,
        Err(fault) => {
            let remedy = match fault.kind {
                FaultKind::Forbidden => "give the user `+@all ~asynq:* ~widerow:*` and `+info`, or set `username` and `password`",
                FaultKind::Unreachable | FaultKind::Timeout => "start the server, or correct `queue.asynq.redis`",
                _ => "correct `queue.asynq`",
            };
            return vec![Probe::lacking(place(), fault.what, remedy)];
        }
    };
    let judged = |server: &Server| match server.refusal(asynq.allow_eviction) {
        Some((what, remedy)) => Probe::lacking(place(), what, remedy),
        None => Probe::fine(place(), format!("Redis {}, maxmemory-policy {}", server.version, server.policy)),
    };
    servers.iter().map(judged).collect()
}

fn reach(asynq: &AsynqSettings) -> Result<Vec<Server>, Fault> {
    let redis = Redis::new(&asynq.redis)?;
    clients::wait(async move { look(&redis).await })
}
