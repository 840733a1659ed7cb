//! W2 and W3 where data cells are not synced: what was acknowledged is durable once its tables have been flushed, and gone
//! when a region server ends before.
//!
//! A region server's life is its start code. Whenever one that was there at the last flush, or was met since, is there no more,
//! and anything was acknowledged or under way since, that counts as a loss: it may be none, a replay does no harm. A flush
//! counts only when no such life has ended by its end, because a server that restarts in between flushes what is left.
//! With `wal: sync` there is nothing to flush and nothing to lose. Knows nothing of rows.

use super::fault;
use crate::domain::fault::{Fault, FaultKind};
use crate::io::hbase::client::Client;
use crate::io::hbase::types::{Address, ServerLives, TableName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

type Lives = BTreeMap<Address, u64>;

/// What is not yet durable.
pub struct Durable {
    unlogged: bool,
    lives: watch::Receiver<ServerLives>,
    state: Mutex<State>,
    losses: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Batches under way.
    open: usize,
    flushing: bool,
    /// Tables with writes since they were last flushed.
    written: BTreeSet<TableName>,
    /// Lives that may hold unflushed writes.
    seen: Lives,
}

impl State {
    /// Takes in which servers live; `true`: one that may have held writes of ours lives no more. `complete` lists every server
    /// there is, other lists only those that were met.
    fn hear(&mut self, lives: &Lives, complete: bool) -> bool {
        let ended = |(address, code): (&Address, &u64)| lives.get(address).map_or(complete, |now| now != code);
        let lost = self.seen.iter().any(ended) && (self.flushing || self.open > 0 || !self.written.is_empty());
        if complete {
            self.seen.clone_from(lives);
        } else {
            self.seen.extend(lives.iter().map(|(address, code)| (address.clone(), *code)));
        }
        lost
    }
}

/// A flush under way; its tables stay noted unless it succeeds.
struct Flushing<'a> {
    durable: &'a Durable,
    tables: BTreeSet<TableName>,
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        let mut state = self.durable.lock();
        state.flushing = false;
        state.written.append(&mut self.tables);
    }
}

/// A batch under way; its writes count as not durable from before the first is sent until a flush that began after its end.
pub struct Open<'a> {
    durable: &'a Durable,
    tables: Vec<TableName>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.durable.lock();
        state.open -= usize::from(self.durable.unlogged);
        state.written.extend(std::mem::take(&mut self.tables));
        drop(state);
        // A server met for the first time by this batch is remembered before it can be gone again.
        self.durable.look();
    }
}

impl Durable {
    pub fn new(unlogged: bool, lives: watch::Receiver<ServerLives>) -> Self {
        Self { unlogged, lives, state: Mutex::default(), losses: AtomicU64::new(0) }
    }

    /// Learns which servers there are, before the first write.
    ///
    /// # Errors
    /// The master does not say it.
    pub async fn begin(&self, client: &Client) -> Result<(), Fault> {
        if self.unlogged {
            let cluster = client.cluster().await.map_err(|e| fault(&e))?;
            self.lock().seen = cluster.servers;
        }
        Ok(())
    }

    /// A batch begins that writes to these tables.
    pub fn open<'a>(&self, tables: impl Iterator<Item = &'a TableName>) -> Open<'_> {
        self.lock().open += usize::from(self.unlogged);
        let tables = if self.unlogged { tables.cloned().collect() } else { Vec::new() };
        Open { durable: self, tables }
    }

    /// Flushes what was written.
    ///
    /// # Errors
    /// A flush or the look at the servers failed: ask again. Or a server ended with writes of ours: [`Durable::losses`] has
    /// risen then.
    pub async fn flush(&self, client: &Client) -> Result<(), Fault> {
        if !self.unlogged {
            return Ok(());
        }
        let (mut flushing, before) = {
            let mut state = self.lock();
            if state.written.is_empty() {
                return Ok(());
            }
            state.flushing = true;
            let tables = std::mem::take(&mut state.written);
            (Flushing { durable: self, tables }, self.losses.load(Ordering::Acquire))
        };
        let lives = self.flush_tables(client, &flushing.tables).await?;
        let lost = self.lock().hear(&lives, true);
        // Whoever went on meanwhile wrote to tables that are noted again.
        flushing.tables.clear();
        drop(flushing);
        if lost {
            return Err(self.lost());
        }
        if self.losses.load(Ordering::Acquire) != before { Err(ended()) } else { Ok(()) }
    }

    async fn flush_tables(&self, client: &Client, tables: &BTreeSet<TableName>) -> Result<Lives, Fault> {
        for table in tables {
            client.flush_table(table).await.map_err(|e| fault(&e))?;
        }
        Ok(client.cluster().await.map_err(|e| fault(&e))?.servers)
    }

    /// How often writes were lost, or may have been.
    pub fn losses(&self) -> u64 {
        self.look();
        self.losses.load(Ordering::Acquire)
    }

    fn look(&self) {
        if !self.unlogged {
            return;
        }
        let lives = self.lives.borrow().lives.clone();
        if self.lock().hear(&lives, false) {
            self.lost();
        }
    }

    fn lost(&self) -> Fault {
        let losses = self.losses.fetch_add(1, Ordering::AcqRel) + 1;
        tracing::error!(losses, "a region server ended with writes that were not flushed");
        ended()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn ended() -> Fault {
    let what = "a region server ended before its writes were flushed; what came since the last flush is written again";
    Fault::new(FaultKind::Timeout, "HBase", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(codes: &[(u16, u64)]) -> Lives {
        codes.iter().map(|(port, code)| (Address { host: "rs".into(), port: *port }, *code)).collect()
    }

    fn durable(unlogged: bool) -> (Durable, watch::Sender<ServerLives>) {
        let (tell, heard) = watch::channel(ServerLives::default());
        let durable = Durable::new(unlogged, heard);
        durable.lock().seen = lives(&[(1, 10), (2, 20)]);
        (durable, tell)
    }

    fn tell(tell: &watch::Sender<ServerLives>, codes: &[(u16, u64)]) {
        tell.send_replace(ServerLives { lives: lives(codes) });
    }

    /// Goal: W3, a life that ended is a loss exactly when it may have held writes. Method: restarts before, while and after
    /// a batch, and after its tables were flushed.
    #[test]
    fn a_life_that_ends_is_a_loss_while_writes_are_unflushed() {
        let (durable, server) = durable(true);
        let table = TableName::parse("t").unwrap();
        tell(&server, &[(1, 11)]);
        assert_eq!(durable.losses(), 0, "nothing was written");
        let open = durable.open([&table].into_iter());
        tell(&server, &[(1, 12)]);
        assert_eq!(durable.losses(), 1, "a batch was under way");
        drop(open);
        assert_eq!(durable.losses(), 1, "told once");
        tell(&server, &[(1, 12), (3, 30)]);
        assert_eq!(durable.losses(), 1, "a server that was met is no loss");
        tell(&server, &[(1, 12), (3, 31)]);
        assert_eq!(durable.losses(), 2, "and one that was met is remembered");
        durable.lock().written.clear();
        tell(&server, &[(1, 13), (3, 31)]);
        assert_eq!(durable.losses(), 2, "everything was flushed");
        durable.lock().flushing = true;
        tell(&server, &[(1, 14), (3, 31)]);
        assert_eq!(durable.losses(), 3, "a flush under way holds what it took");
    }

    /// Goal: what the master lists is all there is. Method: a server that is missing from a whole list and from a part.
    #[test]
    fn a_server_missing_from_the_whole_list_has_ended() {
        let (durable, server) = durable(true);
        drop(durable.open([&TableName::parse("t").unwrap()].into_iter()));
        tell(&server, &[(2, 20)]);
        assert_eq!(durable.losses(), 0, "who was not met lately may live");
        assert!(durable.lock().hear(&lives(&[(2, 20)]), true));
        assert!(!durable.lock().hear(&lives(&[(2, 20)]), true), "and is then known to be gone");
    }

    /// Goal: a synced store loses nothing. Method: the same restart with `wal: sync`.
    #[test]
    fn synced_writes_are_never_lost() {
        let (durable, server) = durable(false);
        let open = durable.open([&TableName::parse("t").unwrap()].into_iter());
        tell(&server, &[(1, 11)]);
        drop(open);
        assert_eq!(durable.losses(), 0);
        let state = durable.lock();
        assert_eq!((state.open, state.written.len()), (0, 0));
    }
}
