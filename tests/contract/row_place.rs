//! Where the contract of row stores runs: memory, an embedded store, HBase as the fake plays it, and a real HBase.

use crate::fake_hbase::FakeHbase;
use crate::peer::Peer;
use crate::place::{Place, run, schema};
use crate::servers::{self, Server};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use widerow::domain::ids::RowId;
use widerow::io::hbase::store::HbaseRowStore;
use widerow::ports::rows::RowStore;
use widerow::settings::{HbaseSettings, Wal};

pub enum RowPlace {
    Plain(Place),
    /// Two region servers, a table for each kind.
    Fake(FakeHbase, Wal),
    /// A table of its own for all kinds, on a server of many tests or of this one.
    Real(Box<Real>, Wal),
}

pub struct Real {
    server: Held,
    table: String,
    /// Started when it is first needed.
    peer: OnceLock<Mutex<Peer>>,
}

enum Held {
    Shared(&'static Server),
    Own(Server),
}

impl std::ops::Deref for Held {
    type Target = Server;
    fn deref(&self) -> &Server {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

impl Real {
    /// HBase's own client on this table.
    pub fn peer(&self) -> MutexGuard<'_, Peer> {
        let start = || Mutex::new(Peer::start(&self.server.addresses()[..2], &self.table));
        self.peer.get_or_init(start).lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The key of an entity's row in a table of all kinds.
    pub fn row_of(&self, id: &RowId) -> String {
        format!("{}/{}", id.kind, id.key.as_str())
    }
}

impl RowPlace {
    pub fn memory() -> Self {
        Self::Plain(Place::Memory)
    }
    pub fn embedded() -> Self {
        Self::Plain(Place::embedded())
    }
    pub fn fake(wal: Wal) -> Self {
        Self::Fake(FakeHbase::start(2, 5), wal)
    }
    pub fn real() -> Self {
        Self::on(Held::Shared(servers::shared(servers::Kind::Hbase)), Wal::Sync)
    }
    /// One that may be broken.
    pub fn real_alone(wal: Wal) -> Self {
        Self::on(Held::Own(servers::hbase()), wal)
    }

    fn on(server: Held, wal: Wal) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let table = format!("contract{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self::Real(Box::new(Real { server, table, peer: OnceLock::new() }), wal)
    }

    /// A store of its own, as another process would open it.
    pub fn rows(&self) -> Arc<dyn RowStore> {
        let (servers, table, regions, wal) = match self {
            Self::Plain(place) => return place.rows(),
            Self::Fake(fake, wal) => (fake.addresses(), "shop:rows_{row}".to_owned(), 4, *wal),
            Self::Real(real, wal) => (real.server.addresses()[..2].to_vec(), real.table.clone(), 2, *wal),
        };
        let settings = HbaseSettings {
            servers,
            table,
            family: "cf".into(),
            wal,
            create: true,
            regions,
            user: "contract".into(),
            connections: 2,
            in_flight: 8,
            timeout: Duration::from_secs(30),
            flush_every: Duration::from_secs(3600),
            tls: None,
        };
        Arc::new(HbaseRowStore::open(&settings, schema()).unwrap())
    }

    /// What a store may do of itself between two calls: memory to files, files made one.
    pub fn compact(&self) {
        match self {
            Self::Plain(_) => {}
            Self::Fake(fake, _) => fake.tables().iter().for_each(|table| fake.compact(table)),
            Self::Real(real, _) => {
                assert_eq!(real.peer().ask(&["compact"]), ["ok"]);
            }
        }
    }

    /// Every server dies and comes back.
    pub fn crash(&self) {
        match self {
            Self::Plain(_) => {}
            Self::Fake(fake, _) => {
                (0..2).for_each(|server| fake.kill(server));
                (0..2).for_each(|server| fake.revive(server));
            }
            Self::Real(real, _) => {
                real.server.kill();
                real.server.start_again();
            }
        }
    }

    /// What a real server would have punished, if only later.
    pub fn complaints(&self) -> Vec<String> {
        if let Self::Fake(fake, _) = self { fake.complaints() } else { Vec::new() }
    }
}

/// Runs a body, and looks what the servers had to complain of.
pub fn holds<'a, F: Future<Output = ()> + 'a>(place: &'a RowPlace, body: impl FnOnce(&'a RowPlace) -> F) {
    run(body(place));
    assert_eq!(place.complaints(), Vec::<String>::new());
}

/// Runs every body on every row store.
macro_rules! on_every_row_store {
    ($($body:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $body() { $crate::row_place::holds(&$crate::row_place::RowPlace::memory(), super::$body); })*
        }
        mod embedded {
            $(#[test] fn $body() { $crate::row_place::holds(&$crate::row_place::RowPlace::embedded(), super::$body); })*
        }
        mod fake_hbase {
            use widerow::settings::Wal;
            $(#[test] fn $body() { $crate::row_place::holds(&$crate::row_place::RowPlace::fake(Wal::Sync), super::$body); })*
        }
        mod hbase {
            $(#[test] fn $body() { $crate::row_place::holds(&$crate::row_place::RowPlace::real(), super::$body); })*
        }
    };
}
pub(crate) use on_every_row_store;
