//! A recipient that can be replaced: actors keep links, so that a restarted actor is reached by everyone at once.

use actix::dev::{Message, Recipient};
use std::sync::{Arc, RwLock};

/// Shared handle to whoever plays a role now.
pub struct Link<M: Message + Send + 'static>(Arc<RwLock<Option<Recipient<M>>>>)
where
    M::Result: Send;

impl<M: Message + Send + 'static> Clone for Link<M>
where
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message + Send + 'static> Default for Link<M>
where
    M::Result: Send,
{
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<M: Message + Send + 'static> Link<M>
where
    M::Result: Send,
{
    /// Sends to whoever plays the role now. With nobody there the message drops, and its guards speak for it.
    pub fn send(&self, message: M) {
        if let Some(recipient) = &*self.0.read().unwrap_or_else(|e| e.into_inner()) {
            recipient.do_send(message);
        }
    }

    /// A new player of the role.
    pub fn point_to(&self, recipient: Recipient<M>) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = Some(recipient);
    }

    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = None;
    }

    pub fn current(&self) -> Option<Recipient<M>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}
