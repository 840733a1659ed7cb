//! The gate before the server: as many requests pass as the window allows, the others wait without spinning.
//!
//! All workers of a line share one gate. Knows nothing of what passes.

use super::window::{Reply, Window};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub struct Gate {
    state: Mutex<State>,
    room: Notify,
}

struct State {
    window: Window,
    in_flight: usize,
}

/// The right to one request; ended by its drop, or by [`Pass::told`] with what became of it.
pub struct Pass<'a> {
    gate: &'a Gate,
}

impl Gate {
    pub fn new(in_flight: usize) -> Self {
        Self { state: Mutex::new(State { window: Window::new(in_flight), in_flight: 0 }), room: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Documents of one request, of `max` at full size.
    pub fn docs(&self, max: usize) -> usize {
        self.state().window.docs(max)
    }

    /// Waits until one more request may be in flight.
    pub async fn pass(&self) -> Pass<'_> {
        let mut room = std::pin::pin!(self.room.notified());
        loop {
            // Listening begins before the look, so that no room is missed.
            room.as_mut().enable();
            if let Some(pass) = self.try_pass() {
                return pass;
            }
            room.as_mut().await;
            room.set(self.room.notified());
        }
    }

    fn try_pass(&self) -> Option<Pass<'_>> {
        let mut state = self.state();
        let free = state.in_flight < state.window.requests();
        state.in_flight += usize::from(free);
        free.then(|| Pass { gate: self })
    }
}

impl Pass<'_> {
    pub fn told(self, reply: Reply) {
        let mut state = self.gate.state();
        let others = state.in_flight.saturating_sub(1);
        state.window.told(reply, others);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.state().in_flight -= 1;
        // The window may have grown by more than the one who leaves: all look, as many as fit pass.
        self.gate.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    /// Goal: no more pass than the window allows, and who waits passes when there is room. Method: poll by hand.
    #[test]
    fn as_many_pass_as_fit() {
        let gate = Gate::new(2);
        let first = gate.pass().now_or_never().expect("room for one");
        let second = gate.pass().now_or_never().expect("room for two");
        let mut third = Box::pin(gate.pass());
        assert!(third.as_mut().now_or_never().is_none(), "the window is two");
        second.told(Reply::PushedBack);
        assert!(third.as_mut().now_or_never().is_none(), "halved: the first fills it");
        first.told(Reply::Fine(Duration::from_millis(1)));
        let third = third.as_mut().now_or_never().expect("the first has left");
        let fourth = gate.pass().now_or_never().expect("and the window has grown to two");
        let mut fifth = Box::pin(gate.pass());
        assert!(fifth.as_mut().now_or_never().is_none());
        drop(fourth);
        assert!(fifth.as_mut().now_or_never().is_some(), "a pass that is dropped makes room");
        drop(third);
    }
}
