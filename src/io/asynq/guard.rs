//! What a Redis must be to hold jobs, and how its lives are told apart (J11).
//!
//! A server that may evict keys drops jobs silently, so its policy must be `noeviction`. A restarted server has another
//! run id, an emptied one another `widerow:life`: either is another life, in which accepted jobs may be missing.

use super::keys;
use crate::domain::fault::{Fault, FaultKind};
use crate::io::redis::Redis;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The oldest version with every command the scripts use.
const VERSION_MIN: (u32, u32) = (6, 2);

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub run_id: String,
    pub version: String,
    /// `maxmemory-policy`.
    pub policy: String,
}

impl Server {
    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        Self { run_id: field("run_id"), version: field("redis_version"), policy: field("maxmemory_policy") }
    }

    fn is_new_enough(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= VERSION_MIN
    }

    /// Why jobs cannot be kept there, and what to do.
    pub fn refusal(&self, allow_eviction: bool) -> Option<(String, &'static str)> {
        if !self.is_new_enough() {
            let what = format!("Redis {} is too old; 6.2 or newer is needed", self.version);
            return Some((what, "upgrade the server"));
        }
        if self.policy != "noeviction" && !allow_eviction {
            let what = format!("maxmemory-policy is `{}`: when memory is short it drops jobs; allowed: noeviction", self.policy);
            let remedy = "set `maxmemory-policy noeviction`, or `allow_eviction: true` under `queue.asynq` to go on";
            return Some((what, remedy));
        }
        None
    }
}

/// Asks every primary what it is.
///
/// # Errors
/// It cannot be reached, or refuses us.
pub async fn look(redis: &Redis) -> Result<Vec<Server>, Fault> {
    let answers: Vec<String> = redis.call_primaries(redis::cmd("INFO")).await?;
    Ok(answers.iter().map(|info| Server::read(info)).collect())
}

/// Refuses servers that cannot keep jobs; one that may evict and is allowed to is told of loudly.
///
/// # Errors
/// [`FaultKind::Incompatible`] with what to do.
pub(super) fn check(servers: &[Server], place: &str, allow_eviction: bool) -> Result<(), Fault> {
    for server in servers {
        if let Some((what, remedy)) = server.refusal(allow_eviction) {
            return Err(Fault::new(FaultKind::Incompatible, place, format!("{what}; {remedy}")));
        }
        if server.policy != "noeviction" {
            tracing::warn!(place, policy = %server.policy, "redis may drop jobs when memory is short, as allowed");
        }
    }
    Ok(())
}

/// J11: the life's name: every primary's run id, and a key of ours that goes with the content.
pub(super) async fn life(redis: &Redis, servers: &[Server]) -> Result<String, Fault> {
    let mut set = redis::cmd("SET");
    set.arg(keys::LIFE).arg(format!("{:016x}", RandomState::new().build_hasher().finish())).arg("NX");
    let mut get = redis::cmd("GET");
    get.arg(keys::LIFE);
    let mut pipe = redis::pipe();
    pipe.add_command(set).ignore().add_command(get);
    let (key,): (String,) = redis.pipe(pipe).await?;
    let mut runs: Vec<&str> = servers.iter().map(|server| server.run_id.as_str()).collect();
    runs.sort_unstable();
    Ok(format!("{}-{key}", runs.join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: servers that lose jobs are refused. Method: a table of versions and policies.
    #[test]
    fn servers_are_judged() {
        for (version, policy, allowed, word) in [
            ("6.2.0", "noeviction", false, None),
            ("7.0.15", "noeviction", false, None),
            ("10.1", "noeviction", true, None),
            ("6.0.9", "noeviction", true, Some("too old")),
            ("", "noeviction", true, Some("too old")),
            ("7.2.4", "allkeys-lru", false, Some("`allkeys-lru`")),
            ("7.2.4", "volatile-ttl", true, None),
        ] {
            let info = format!("# Server\r\nredis_version:{version}\r\nrun_id:abc\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n");
            let refusal = Server::read(&info).refusal(allowed);
            match word {
                None => assert_eq!(refusal, None, "{version} {policy}"),
                Some(word) => assert!(refusal.unwrap().0.contains(word), "{version} {policy}"),
            }
        }
    }
}
