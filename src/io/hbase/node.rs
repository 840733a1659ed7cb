//! One service of one server as callers see it: a few sockets, opened when needed, and a window on calls in flight.
//!
//! The window grows by one after as many answers as it is wide, and halves when the server asks for less, once for all calls
//! that were in flight together. A connect that failed is not tried again for a moment: the same error answers meanwhile.
//! Knows nothing of regions.

use super::connection::{Connection, Dial};
use super::error::Error;
use super::frame::{Reply, Service};
use super::types::Address;
use prost::Message;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a server that could not be reached is left alone.
const BAD_FOR: Duration = Duration::from_secs(2);
/// Where a window begins, unless its greatest width is smaller.
const WINDOW_START: usize = 8;

/// Every server this client has spoken to.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) dial: Dial,
    connections: usize,
    in_flight_max: usize,
    /// Where sockets live: they must outlast whichever thread first needed them.
    runtime: Option<Handle>,
    nodes: RwLock<HashMap<(Address, Service), Arc<Node>>>,
}

impl Pool {
    /// `connections` sockets per region server, at most `in_flight_max` calls at once on each server. Sockets live on the
    /// runtime of the caller, if there is one.
    pub(super) fn new(dial: Dial, connections: usize, in_flight_max: usize) -> Self {
        let runtime = Handle::try_current().ok();
        Self { dial, connections: connections.max(1), in_flight_max: in_flight_max.max(1), runtime, nodes: RwLock::default() }
    }

    pub(super) fn node(&self, address: &Address, service: Service) -> Arc<Node> {
        let key = (address.clone(), service);
        if let Some(node) = self.nodes.read().unwrap_or_else(|e| e.into_inner()).get(&key) {
            return Arc::clone(node);
        }
        let mut nodes = self.nodes.write().unwrap_or_else(|e| e.into_inner());
        let node = nodes.entry(key).or_insert_with(|| {
            let sockets = if service == Service::Client { self.connections } else { 1 };
            Arc::new(Node {
                address: address.clone(),
                service,
                dial: self.dial.clone(),
                runtime: self.runtime.clone(),
                slots: (0..sockets).map(|_| Slot::default()).collect(),
                turn: AtomicUsize::new(0),
                bad: Mutex::new(None),
                window: Window::new(self.in_flight_max),
            })
        });
        Arc::clone(node)
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    service: Service,
    dial: Dial,
    runtime: Option<Handle>,
    slots: Vec<Slot>,
    turn: AtomicUsize,
    bad: Mutex<Option<(Instant, Error)>>,
    pub(super) window: Window,
}

#[derive(Debug, Default)]
struct Slot {
    open: Mutex<Option<Connection>>,
    /// Held while one caller connects for all.
    dialling: tokio::sync::Mutex<()>,
}

impl Slot {
    fn live(&self) -> Option<Connection> {
        let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        if open.as_ref().is_some_and(Connection::is_dead) {
            *open = None;
        }
        open.clone()
    }
}

impl Node {
    /// One call on one of the sockets.
    ///
    /// # Errors
    /// As [`Connection::open`] and [`Connection::call`].
    pub(super) async fn call<'a>(
        &self,
        method: &'static str,
        message: &impl Message,
        cells: impl IntoIterator<Item = &'a [u8]> + Clone,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let started = Instant::now();
        let connection = self.connection().await?;
        connection.call(method, message, cells, timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(1))).await
    }

    /// Closes every socket, when the server is known to be gone.
    pub(super) fn close(&self) {
        for slot in &self.slots {
            *slot.open.lock().unwrap_or_else(|e| e.into_inner()) = None;
        }
    }

    async fn connection(&self) -> Result<Connection, Error> {
        let slot = &self.slots[self.turn.fetch_add(1, Ordering::Relaxed) % self.slots.len()];
        if let Some(connection) = slot.live() {
            return Ok(connection);
        }
        let _dialling = slot.dialling.lock().await;
        if let Some(connection) = slot.live() {
            return Ok(connection);
        }
        if let Some((since, error)) = &*self.bad()
            && since.elapsed() < BAD_FOR
        {
            return Err(error.clone());
        }
        match self.dial().await {
            Ok(connection) => {
                *self.bad() = None;
                *slot.open.lock().unwrap_or_else(|e| e.into_inner()) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                *self.bad() = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn bad(&self) -> MutexGuard<'_, Option<(Instant, Error)>> {
        self.bad.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn dial(&self) -> Result<Connection, Error> {
        let Some(runtime) = &self.runtime else { return Connection::open(&self.address, self.service, &self.dial).await };
        let (address, service, dial) = (self.address.clone(), self.service, self.dial.clone());
        let opening = runtime.spawn(async move { Connection::open(&address, service, &dial).await });
        opening.await.unwrap_or_else(|e| {
            let place = format_args!("connection to {}", self.address);
            Err(Error::new(super::error::Class::Unreachable, place, format_args!("the client's runtime is gone: {e}")))
        })
    }
}

/// How many calls may be in flight.
#[derive(Debug)]
pub(super) struct Window {
    permits: Arc<Semaphore>,
    state: Mutex<Width>,
    max: usize,
}

#[derive(Debug)]
struct Width {
    limit: usize,
    /// Permits that are out and will not come back, because the window has narrowed since.
    debt: usize,
    answers: usize,
    /// How often it has narrowed: calls of an earlier count have been heard.
    narrowed: u64,
}

/// Room for one call; gives it back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    window: &'a Window,
    permit: Option<OwnedSemaphorePermit>,
    narrowed: u64,
}

impl Window {
    fn new(max: usize) -> Self {
        let limit = WINDOW_START.min(max);
        let state = Width { limit, debt: 0, answers: 0, narrowed: 0 };
        Self { permits: Arc::new(Semaphore::new(limit)), state: Mutex::new(state), max }
    }

    fn state(&self) -> MutexGuard<'_, Width> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits for room.
    pub(super) async fn enter(&self) -> Permit<'_> {
        // The semaphore is never closed; without a permit the call would go out all the same, only uncounted.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let narrowed = self.state().narrowed;
        Permit { window: self, permit, narrowed }
    }

    /// Its present width.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }
}

impl Permit<'_> {
    /// The call was answered as wished.
    pub(super) fn answered(&self) {
        let mut state = self.window.state();
        state.answers += 1;
        if state.answers >= state.limit && state.limit < self.window.max {
            state.answers = 0;
            state.limit += 1;
            if state.debt > 0 {
                state.debt -= 1;
            } else {
                self.window.permits.add_permits(1);
            }
        }
    }

    /// The server asked for less.
    pub(super) fn refused(&self) {
        let mut state = self.window.state();
        if state.narrowed != self.narrowed {
            return;
        }
        let limit = (state.limit / 2).max(1);
        let surplus = state.limit - limit;
        state.debt += surplus - self.window.permits.forget_permits(surplus);
        state.limit = limit;
        state.answers = 0;
        state.narrowed += 1;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.window.state();
        if state.debt > 0
            && let Some(permit) = self.permit.take()
        {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn enter(window: &Window) -> Option<Permit<'_>> {
        window.enter().now_or_never()
    }

    /// Goal: the window opens by one per round and halves once per round. Method: calls in and out by hand.
    #[test]
    fn the_window_breathes() {
        let window = Window::new(10);
        let calls: Vec<Permit> = std::iter::from_fn(|| enter(&window)).collect();
        assert_eq!(calls.len(), 8);
        calls.iter().for_each(Permit::answered);
        assert_eq!(window.limit(), 9);
        let ninth = enter(&window).unwrap();
        assert!(enter(&window).is_none());
        // All nine are refused, but they were sent together: that is one message, not nine.
        calls.iter().for_each(Permit::refused);
        ninth.refused();
        assert_eq!(window.limit(), 4);
        drop(calls);
        drop(ninth);
        let calls: Vec<Permit> = std::iter::from_fn(|| enter(&window)).collect();
        assert_eq!(calls.len(), 4);
        for _ in 0..5 {
            drop(enter(&window));
            calls[0].refused();
        }
        assert_eq!(window.limit(), 2);
    }

    /// Goal: however long the server complains, one call may go; however long it does not, the bound holds. Method: many rounds.
    #[test]
    fn the_window_has_two_ends() {
        let window = Window::new(3);
        for _ in 0..20 {
            enter(&window).unwrap().refused();
        }
        assert_eq!(window.limit(), 1);
        let only = enter(&window).unwrap();
        assert!(enter(&window).is_none());
        drop(only);
        for _ in 0..50 {
            enter(&window).unwrap().answered();
        }
        assert_eq!(std::iter::from_fn(|| enter(&window)).collect::<Vec<_>>().len(), 3);
    }
}
