//! Connections to Redis: one server, Sentinel, Cluster; with TLS, ACL users and explicit time-outs.
//!
//! The one place that makes them; the queue (`io/asynq`) and the sink share it. Nothing is connected before the first
//! call; a lost connection is made anew by the next one; a script the server has forgotten is sent again.
//! A call that was sent and not answered has an unknown outcome ([`FaultKind::Timeout`], [`FaultKind::Unreachable`]):
//! nothing is sent twice from here. Knows nothing of keys or of what is kept under them.

mod link;

use super::clients;
use crate::domain::fault::{Fault, FaultKind};
use crate::settings::{RedisAddress, RedisMode};
use link::Link;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use std::sync::Arc;

/// A way to one Redis. A clone shares the connection.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    place: Arc<str>,
}

/// A script and the hash the server knows it by.
pub struct Script {
    code: String,
    hash: String,
}

impl Script {
    pub fn new(code: &str) -> Self {
        Self { code: code.to_owned(), hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

impl Redis {
    /// Prepares a way; connects at the first call.
    ///
    /// # Errors
    /// `invalid` for an address that cannot be used.
    pub fn new(address: &RedisAddress) -> Result<Self, Fault> {
        let place = place(address);
        let link = Link::new(address).map_err(|error| match error {
            link::Refused::Client(error) => fault(&place, &error),
            link::Refused::Address(what) => Fault::new(FaultKind::Invalid, place.clone(), what),
        })?;
        Ok(Self { link: Arc::new(link), place: place.into() })
    }

    /// Whether keys of different hash tags may lie on different servers.
    pub fn is_cluster(&self) -> bool {
        self.link.is_cluster()
    }

    /// Where it goes, without secrets: for faults and logs.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// One command.
    ///
    /// # Errors
    /// By kind: see [`fault`].
    pub async fn call<T: FromRedisValue + Send + 'static>(&self, cmd: Cmd) -> Result<T, Fault> {
        let link = Arc::clone(&self.link);
        self.answer(async move { link.send(&cmd).await }).await
    }

    /// Commands sent together; the first refusal is the answer. On Cluster all keys share a slot.
    ///
    /// # Errors
    /// As [`Redis::call`].
    pub async fn pipe<T: FromRedisValue + Send + 'static>(&self, pipe: Pipeline) -> Result<T, Fault> {
        let link = Arc::clone(&self.link);
        self.answer(async move { link.send_all(&pipe).await }).await
    }

    /// Runs a script by its hash; a server that does not know it is sent the script. On Cluster all keys share a slot.
    ///
    /// # Errors
    /// As [`Redis::call`].
    pub async fn script<T>(&self, script: &Script, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Result<T, Fault>
    where
        T: FromRedisValue + Send + 'static,
    {
        let call = |how: &str, what: &str| {
            let mut call = redis::cmd(how);
            call.arg(what).arg(keys.len()).arg(keys).arg(args);
            call
        };
        let answer = self.try_call(call("EVALSHA", &script.hash)).await?;
        match answer {
            Some(value) => self.read(value),
            None => self.call(call("EVAL", &script.code)).await,
        }
    }

    /// The same command at every primary: one answer each.
    ///
    /// # Errors
    /// As [`Redis::call`].
    pub async fn call_primaries<T: FromRedisValue + Send + 'static>(&self, cmd: Cmd) -> Result<Vec<T>, Fault> {
        let link = Arc::clone(&self.link);
        self.answer(async move { link.send_primaries(&cmd).await.map(Value::Array) }).await
    }

    /// One command without a key, at the server that holds a slot of the Cluster; elsewhere there is one server.
    ///
    /// # Errors
    /// As [`Redis::call`].
    pub async fn call_at<T: FromRedisValue + Send + 'static>(&self, slot: u16, cmd: Cmd) -> Result<T, Fault> {
        let link = Arc::clone(&self.link);
        self.answer(async move { link.send_to(slot, &cmd).await }).await
    }

    /// `None`: the script is not known there, and did nothing.
    async fn try_call(&self, cmd: Cmd) -> Result<Option<Value>, Fault> {
        let (link, place) = (Arc::clone(&self.link), Arc::clone(&self.place));
        clients::run(async move {
            match link.send(&cmd).await {
                Ok(value) => Ok(Some(value)),
                Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => Ok(None),
                Err(error) => Err(fault(&place, &error)),
            }
        })
        .await
    }

    async fn answer<T: FromRedisValue + Send + 'static>(
        &self,
        call: impl Future<Output = Result<Value, RedisError>> + Send + 'static,
    ) -> Result<T, Fault> {
        let place = Arc::clone(&self.place);
        let value = clients::run(async move { call.await.map_err(|error| fault(&place, &error)) }).await?;
        self.read(value)
    }

    fn read<T: FromRedisValue>(&self, value: Value) -> Result<T, Fault> {
        redis::from_redis_value(value).map_err(|e| Fault::new(FaultKind::Incompatible, &*self.place, e))
    }
}

/// For faults and logs: no secrets.
fn place(address: &RedisAddress) -> String {
    let hosts = address.hosts.join(",");
    match &address.mode {
        RedisMode::Single => format!("redis {hosts}/{}", address.database),
        RedisMode::Cluster => format!("redis cluster {hosts}"),
        RedisMode::Sentinel { master } => format!("redis master {master} of sentinels {hosts}"),
    }
}

/// What a refusal or a broken connection means here.
pub fn fault(place: &str, error: &RedisError) -> Fault {
    use redis::ErrorKind as Kind;
    let kind = match error.kind() {
        _ if error.is_timeout() => FaultKind::Timeout,
        Kind::AuthenticationFailed => FaultKind::Forbidden,
        Kind::InvalidClientConfig | Kind::EmptySentinelList => FaultKind::Invalid,
        Kind::Io
        | Kind::MasterNameNotFoundBySentinel
        | Kind::NoValidReplicasFoundBySentinel
        | Kind::ClusterConnectionNotFound => FaultKind::Unreachable,
        _ if error.is_io_error() || error.is_connection_dropped() || error.is_cluster_error() => FaultKind::Unreachable,
        _ => kind_of_code(error.code().unwrap_or_default()),
    };
    Fault::new(kind, place, error)
}

/// The first word of Redis's own refusal.
pub fn kind_of_code(code: &str) -> FaultKind {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => FaultKind::Forbidden,
        "OOM" => FaultKind::Full,
        // It will answer again by itself: loading, failing over, or its disk is full.
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY" | "MISCONF" | "NOREPLICAS" | "MOVED"
        | "ASK" => FaultKind::Unreachable,
        "WRONGTYPE" => FaultKind::Corrupt,
        _ => FaultKind::Incompatible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Secret, Tls};
    use std::time::Duration;

    fn address(hosts: &[&str]) -> RedisAddress {
        RedisAddress {
            mode: RedisMode::Single,
            hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
            database: 0,
            username: None,
            password: Some(Secret::new("hidden".into())),
            tls: None,
            timeout: Duration::from_secs(2),
        }
    }

    /// Goal: what a refusal makes the caller do. Method: a table of Redis's words.
    #[test]
    fn refusals_have_kinds() {
        for (code, kind) in [
            ("NOPERM", FaultKind::Forbidden),
            ("WRONGPASS", FaultKind::Forbidden),
            ("OOM", FaultKind::Full),
            ("LOADING", FaultKind::Unreachable),
            ("READONLY", FaultKind::Unreachable),
            ("WRONGTYPE", FaultKind::Corrupt),
            ("ERR", FaultKind::Incompatible),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }

    /// Goal: a server that is not there is waited for, and the fault shows no secret. Method: a port given back before.
    #[test]
    fn nobody_there_is_unreachable() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let redis = Redis::new(&address(&[&format!("127.0.0.1:{port}")])).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer: Result<String, Fault> = runtime.block_on(redis.call(redis::cmd("PING")));
        let fault = answer.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
        assert!(!fault.to_string().contains("hidden"), "{fault}");
    }

    /// Goal: addresses and TLS files that cannot be used are refused with a reason. Method: a table.
    #[test]
    fn what_cannot_be_used_is_refused() {
        let own_list = Tls { ca: Some("ca.pem".into()), verify: true, ..Tls::default() };
        for (address, word) in [
            (address(&["nohost"]), "host:port"),
            (address(&["h:99999"]), "host:port"),
            (RedisAddress { tls: Some(own_list), ..address(&["h:1"]) }, "SSL_CERT_FILE"),
        ] {
            let fault = Redis::new(&address).err().unwrap();
            assert!(fault.kind == FaultKind::Invalid && fault.what.contains(word), "{fault}");
        }
    }
}
