//! Where `hbase:meta` is, and who is master: asked of masters and region servers themselves, without ZooKeeper.
//!
//! Any of the configured servers, and any server met since, can answer (masters since HBase 2.3, region servers since 2.5).
//! Two are asked at once, the first good answer counts, and the next one is asked when one fails.

use super::error::{Class, Error};
use super::flight::Flight;
use super::frame::Service;
use super::node::Pool;
use super::pb;
use super::types::{Address, ServerLives};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prost::Message;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Servers asked at once.
const ASKED_AT_ONCE: usize = 2;

/// A region server at one time of its life.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Life {
    pub(super) address: Address,
    /// 0: not known.
    pub(super) start_code: u64,
}

impl Life {
    /// `None` where the message has no usable address.
    pub(super) fn from_pb(name: &pb::ServerName) -> Option<Self> {
        let port = u16::try_from(name.port?).ok().filter(|port| *port > 0)?;
        let address = Address { host: name.host_name.clone(), port };
        Some(Self { address, start_code: name.start_code.unwrap_or(0) })
    }
}

#[derive(Debug)]
pub(super) struct Registry {
    seeds: Vec<Address>,
    pool: Arc<Pool>,
    lives: watch::Sender<ServerLives>,
    call_timeout: Duration,
    turn: AtomicUsize,
    meta: Mutex<Option<Life>>,
    master: Mutex<Option<Address>>,
    /// Held while one caller asks for all.
    asking: Flight<()>,
}

impl Registry {
    pub(super) fn new(seeds: Vec<Address>, pool: Arc<Pool>, call_timeout: Duration) -> Self {
        let lives = watch::Sender::new(ServerLives::default());
        let (meta, master, asking) = Default::default();
        Self { seeds, pool, lives, call_timeout, turn: AtomicUsize::new(0), meta, master, asking }
    }

    pub(super) fn lives(&self) -> watch::Receiver<ServerLives> {
        self.lives.subscribe()
    }

    /// Notes a server's life; tells watchers when it is another one.
    pub(super) fn met(&self, life: &Life) {
        if life.start_code == 0 {
            return;
        }
        self.lives.send_if_modified(|known| {
            let before = known.lives.get(&life.address).copied().unwrap_or(0);
            // Start codes are times. Meta names a dead process until its regions are opened elsewhere.
            if life.start_code <= before {
                return false;
            }
            if before != 0 {
                tracing::info!(server = %life.address, start_code = life.start_code, "region server lives anew");
            }
            known.lives.insert(life.address.clone(), life.start_code);
            true
        });
    }

    /// Where meta is, as last heard, else as a server says now.
    pub(super) async fn meta(&self) -> Result<Life, Error> {
        if let Some(life) = lock(&self.meta).clone() {
            return Ok(life);
        }
        let _asking = self.asking.enter().await?;
        if let Some(life) = lock(&self.meta).clone() {
            return Ok(life);
        }
        let read = |reply: pb::GetMetaRegionLocationsResponse| {
            let primary = |l: &&pb::RegionLocation| l.region_info.replica_id.unwrap_or(0) == 0;
            reply.meta_locations.iter().find(primary).and_then(|l| Life::from_pb(l.server_name.as_ref()?))
        };
        let life = self.ask("GetMetaRegionLocations", read).await.inspect_err(|error| self.asking.fail(error))?;
        self.met(&life);
        *lock(&self.meta) = Some(life.clone());
        Ok(life)
    }

    /// Meta is not there any more.
    pub(super) fn forget_meta(&self, life: &Life) {
        let mut meta = lock(&self.meta);
        if meta.as_ref() == Some(life) {
            *meta = None;
        }
    }

    /// The active master.
    pub(super) async fn master(&self) -> Result<Address, Error> {
        if let Some(master) = lock(&self.master).clone() {
            return Ok(master);
        }
        let read = |reply: pb::GetActiveMasterResponse| Life::from_pb(reply.server_name.as_ref()?).map(|life| life.address);
        let master = self.ask("GetActiveMaster", read).await?;
        *lock(&self.master) = Some(master.clone());
        Ok(master)
    }

    pub(super) fn forget_master(&self) {
        *lock(&self.master) = None;
    }

    async fn ask<M: Message + Default, T>(&self, method: &'static str, read: impl Fn(M) -> Option<T>) -> Result<T, Error> {
        let mut servers = self.seeds.clone();
        let known: Vec<Address> = self.lives.borrow().lives.keys().cloned().collect();
        servers.extend(known.into_iter().filter(|address| !self.seeds.contains(address)));
        if servers.is_empty() {
            return Err(Error::new(Class::Invalid, method, "no server is configured; give at least one master or region server"));
        }
        // Each question begins with another server, so that none is asked by everybody.
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % servers.len();
        servers.rotate_left(first);
        let mut waiting = servers.iter();
        let one = |address: &Address| {
            let node = self.pool.node(address, Service::Registry);
            async move {
                let reply = node.call(method, &pb::Empty {}, [], self.call_timeout).await?;
                M::decode(reply.message).map_err(|e| Error::new(Class::Garbled, format_args!("{method} on {}", node.address), e))
            }
        };
        let mut asked: FuturesUnordered<_> = waiting.by_ref().take(ASKED_AT_ONCE).map(one).collect();
        let mut last = Error::new(Class::Starting, method, "the servers answer, but know none yet");
        while let Some(answer) = asked.next().await {
            match answer.map(&read) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => last = error,
            }
            asked.extend(waiting.next().map(one));
        }
        Err(last)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
