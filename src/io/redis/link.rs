//! The sockets behind a [`super::Redis`]: kept while they work, made anew by the next call when not.

use crate::settings::{RedisAddress, RedisMode};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError,
    RedisResult, ServerErrorKind, TlsMode, Value,
};
use tokio::sync::Mutex;

pub(super) enum Link {
    One { maker: Mutex<Maker>, held: Mutex<Option<MultiplexedConnection>>, config: Box<AsyncConnectionConfig> },
    Cluster { client: Box<ClusterClient>, held: Mutex<Option<ClusterConnection>> },
}

/// Who knows the server's address.
pub(super) enum Maker {
    Client(Box<Client>),
    Sentinel(Box<SentinelClient>),
}

/// Why no way can be prepared.
pub(super) enum Refused {
    Client(RedisError),
    Address(String),
}

impl From<RedisError> for Refused {
    fn from(error: RedisError) -> Self {
        Self::Client(error)
    }
}

impl Link {
    pub(super) fn new(address: &RedisAddress) -> Result<Self, Refused> {
        let nodes = nodes(address)?;
        let tls = address.tls.as_ref().map(|tls| if tls.verify { TlsMode::Secure } else { TlsMode::Insecure });
        let maker = match &address.mode {
            RedisMode::Single => {
                let Some(node) = nodes.into_iter().next() else { return Err(Refused::Address("no server is named".into())) };
                Maker::Client(Box::new(Client::open(node.into_connection_info()?.set_redis_settings(login(address)))?))
            }
            RedisMode::Sentinel { master } => {
                let builder = SentinelClientBuilder::new(nodes, master, SentinelServerType::Master)?;
                let mut builder = builder.set_client_to_redis_db(i64::from(address.database));
                if let Some(tls) = tls {
                    builder = builder.set_client_to_redis_tls_mode(tls).set_client_to_sentinel_tls_mode(tls);
                }
                if let Some(user) = &address.username {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = &address.password {
                    builder = builder.set_client_to_redis_password(password.reveal());
                }
                Maker::Sentinel(Box::new(builder.build()?))
            }
            RedisMode::Cluster => {
                let builder = ClusterClient::builder(nodes);
                let mut builder = builder.connection_timeout(address.timeout).response_timeout(address.timeout);
                if let Some(tls) = tls {
                    builder = builder.tls(tls);
                }
                if let Some(user) = &address.username {
                    builder = builder.username(user);
                }
                if let Some(password) = &address.password {
                    builder = builder.password(password.reveal());
                }
                return Ok(Self::Cluster { client: Box::new(builder.build()?), held: Mutex::default() });
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(address.timeout))
            .set_response_timeout(Some(address.timeout));
        Ok(Self::One { maker: Mutex::new(maker), held: Mutex::default(), config: Box::new(config) })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    pub(super) async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One { .. } => {
                let mut connection = self.one().await?;
                let answer = connection.req_packed_command(cmd).await;
                self.look_at(answer).await
            }
            Self::Cluster { .. } => {
                let mut connection = self.cluster().await?;
                let answer = connection.req_packed_command(cmd).await;
                self.look_at(answer).await
            }
        }
    }

    pub(super) async fn send_all(&self, pipe: &Pipeline) -> RedisResult<Value> {
        match self {
            Self::One { .. } => {
                let answer = pipe.query_async(&mut self.one().await?).await;
                self.look_at(answer).await
            }
            Self::Cluster { .. } => {
                let answer = pipe.query_async(&mut self.cluster().await?).await;
                self.look_at(answer).await
            }
        }
    }

    pub(super) async fn send_primaries(&self, cmd: &Cmd) -> RedisResult<Vec<Value>> {
        if !self.is_cluster() {
            return Ok(vec![self.send(cmd).await?.extract_error()?]);
        }
        // Without a policy every primary's answer comes beside its address.
        let route = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        match self.cluster().await?.route_command(cmd.clone(), route).await? {
            Value::Map(pairs) => Ok(pairs.into_iter().map(|(_, answer)| answer).collect()),
            Value::Array(answers) => Ok(answers),
            other => Ok(vec![other]),
        }
    }

    /// A command without a key, at the primary that holds a slot.
    pub(super) async fn send_to(&self, slot: u16, cmd: &Cmd) -> RedisResult<Value> {
        if !self.is_cluster() {
            return self.send(cmd).await;
        }
        let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master)));
        self.cluster().await?.route_command(cmd.clone(), route).await
    }

    async fn one(&self) -> RedisResult<MultiplexedConnection> {
        let Self::One { maker, held, config } = self else { return Err(wrong_link()) };
        let mut held = held.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connection = match &mut *maker.lock().await {
            Maker::Client(client) => client.get_multiplexed_async_connection_with_config(config).await?,
            Maker::Sentinel(client) => client.get_async_connection_with_config(config).await?,
        };
        *held = Some(connection.clone());
        Ok(connection)
    }

    async fn cluster(&self) -> RedisResult<ClusterConnection> {
        let Self::Cluster { client, held } = self else { return Err(wrong_link()) };
        let mut held = held.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connection = client.get_async_connection().await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Drops a connection that is of no more use: closed, silent, or to a server that is no longer the master.
    async fn look_at(&self, answer: RedisResult<Value>) -> RedisResult<Value> {
        let answer = answer.and_then(Value::extract_error);
        if let Err(error) = &answer {
            let demoted = matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown));
            match self {
                Self::One { held, .. } if demoted || error.is_io_error() || error.is_unrecoverable_error() => {
                    *held.lock().await = None;
                }
                // It says that it heals itself; after a primary was away it was seen to time out for ever, for all slots.
                Self::Cluster { held, .. }
                    if error.is_timeout() || error.is_io_error() || error.kind() == ErrorKind::ClusterConnectionNotFound =>
                {
                    *held.lock().await = None;
                }
                _ => {}
            }
        }
        answer
    }
}

fn wrong_link() -> RedisError {
    RedisError::from((ErrorKind::Client, "a call for another kind of connection"))
}

/// The servers to begin with.
fn nodes(address: &RedisAddress) -> Result<Vec<ConnectionAddr>, Refused> {
    if address.tls.as_ref().is_some_and(|tls| tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some()) {
        let what = "certificates of one's own are not read from `tls` here; name the authorities in SSL_CERT_FILE, and leave out \
                    `ca`, `certificate` and `key`";
        return Err(Refused::Address(what.to_owned()));
    }
    let node = |text: &String| {
        let (host, port) = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(match &address.tls {
            Some(tls) => ConnectionAddr::TcpTls { host, port, insecure: !tls.verify, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        })
    };
    address.hosts.iter().map(|text| node(text).ok_or_else(|| Refused::Address(format!("`{text}` is not host:port")))).collect()
}

fn login(address: &RedisAddress) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_db(i64::from(address.database));
    login = login.set_lib_name("widerow", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &address.username {
        login = login.set_username(user);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password.reveal());
    }
    login
}
