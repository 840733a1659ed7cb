//! Own supervision: starts an actor on a thread and tells the supervisor how it ended.
//!
//! actix restarts nothing after a panic and reuses the same value after a stop, so the context's future is spawned here
//! and its join handle awaited: a panic, a fault and an ordinary end are told apart (4.4).

use crate::domain::fault::panic_text;
use crate::domain::restart::ExitReason;
use crate::messages::control::{ActorExited, ActorId};
use actix::dev::channel::channel;
use actix::prelude::*;
use std::sync::{Arc, Mutex};

/// actix's own default; the mailbox is not what bounds us (4.4).
const MAILBOX: usize = 16;

/// Where an actor leaves why it ends, before it stops.
pub type LastWords = Arc<Mutex<Option<(ExitReason, String)>>>;

/// Starts an actor made by `build` on `arbiter`; `exits` hears of its end, with `life` to tell it from others of the id.
pub fn spawn_watched<A>(
    arbiter: &ArbiterHandle,
    id: ActorId,
    life: u64,
    last_words: LastWords,
    exits: Recipient<ActorExited>,
    build: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let (sender, receiver) = channel(MAILBOX);
    let name = id.to_string();
    let gone = exits.clone();
    let gone_id = id.clone();
    let started = arbiter.spawn_fn(move || {
        let watching = async move {
            let running = actix_rt::spawn(async move {
                let mut ctx = Context::with_receiver(receiver);
                let actor = build(&mut ctx);
                ctx.into_future(actor).await;
            });
            let (exit, cause) = match running.await {
                Ok(()) => {
                    last_words.lock().unwrap_or_else(|e| e.into_inner()).take().unwrap_or((ExitReason::Finished, String::new()))
                }
                Err(error) if error.is_panic() => (ExitReason::Panicked, panic_text(&*error.into_panic())),
                Err(_) => (ExitReason::Asked, "its thread stopped".to_owned()),
            };
            exits.do_send(ActorExited { id, life, exit, cause });
        };
        actix_rt::spawn(watching);
    });
    if !started {
        tracing::error!(actor = name, "actor thread is gone, the actor was not started");
        gone.do_send(ActorExited { id: gone_id, life, exit: ExitReason::Stuck, cause: "its thread is gone".to_owned() });
    }
    Addr::new(sender)
}
