//! Goal: what our design relies on in actix is still so. Method: each row of the design's table as a tiny test, so that an
//! upgrade that changes one is noticed here and not in a node.

use crate::world::run;
use actix::dev::channel::channel;
use actix::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
struct Counter {
    handled: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
}

impl Actor for Counter {
    type Context = Context<Self>;
    fn stopped(&mut self, _: &mut Self::Context) {
        self.stopped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

enum Act {
    Count,
    Panic,
    Stop,
}

/// Counts its own drops: what an actor's mailbox does with messages that nobody handles.
struct Guard(Arc<AtomicUsize>);
impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Do(Act, #[expect(dead_code, reason = "it only counts its drop")] Guard);

impl Handler<Do> for Counter {
    type Result = ();
    fn handle(&mut self, message: Do, ctx: &mut Self::Context) {
        match message.0 {
            Act::Count => {
                self.handled.fetch_add(1, Ordering::SeqCst);
            }
            Act::Panic => panic!("scripted"),
            Act::Stop => ctx.stop(),
        }
    }
}

struct Counts {
    handled: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
    guards: Arc<AtomicUsize>,
}

fn counter() -> (Counter, Counts) {
    let counter = Counter::default();
    let counts = Counts {
        handled: Arc::clone(&counter.handled),
        dropped: Arc::clone(&counter.dropped),
        stopped: Arc::clone(&counter.stopped),
        guards: Arc::default(),
    };
    (counter, counts)
}

impl Counts {
    fn act(&self, act: Act) -> Do {
        Do(act, Guard(Arc::clone(&self.guards)))
    }
}

/// Spawns as `supervisor/watch.rs` does, so that the end can be awaited.
fn spawn(counter: Counter) -> (Addr<Counter>, actix_rt::task::JoinHandle<()>) {
    let (sender, receiver) = channel(16);
    let running = actix_rt::spawn(async move {
        let ctx = Context::with_receiver(receiver);
        ctx.into_future(counter).await;
    });
    (Addr::new(sender), running)
}

/// A panic in a handler ends the actor, closes its mailbox, drops what waits in it, and shows in the join handle. The
/// actor's `stopped` still runs: what it gives back (the byte budget of a partition) is given back after a panic too.
#[test]
fn a_panic_closes_the_mailbox() {
    run(async {
        let (actor, counts) = counter();
        let (address, running) = spawn(actor);
        address.do_send(counts.act(Act::Panic));
        address.do_send(counts.act(Act::Count));
        let error = running.await.unwrap_err();
        assert!(error.is_panic());
        assert!(!address.connected());
        assert!(address.send(counts.act(Act::Count)).await.is_err());
        address.do_send(counts.act(Act::Count));
        let seen = [&counts.handled, &counts.stopped, &counts.dropped, &counts.guards].map(|c| c.load(Ordering::SeqCst));
        assert_eq!(seen, [0, 1, 1, 4], "handled, stopped, actors dropped, messages dropped");
    });
}

/// `do_send` takes no notice of the mailbox's capacity, nor does `try_send` of an address cloned for each message: the
/// bound is the ticket.
#[test]
fn capacity_bounds_nothing() {
    run(async {
        let (actor, counts) = counter();
        let (address, running) = spawn(actor);
        for _ in 0..200 {
            address.do_send(counts.act(Act::Count));
            assert!(address.clone().try_send(counts.act(Act::Count)).is_ok());
        }
        drop(address);
        running.await.unwrap();
        assert_eq!(counts.handled.load(Ordering::SeqCst), 400);
    });
}

/// A stop drops the messages behind it: a drain is a message with a reply.
#[test]
fn stop_drops_what_waits() {
    run(async {
        let (actor, counts) = counter();
        let (address, running) = spawn(actor);
        for act in [Act::Count, Act::Stop, Act::Count, Act::Count] {
            address.do_send(counts.act(act));
        }
        running.await.unwrap();
        let seen = [&counts.handled, &counts.stopped, &counts.guards].map(|c| c.load(Ordering::SeqCst));
        assert_eq!(seen, [1, 1, 4], "handled, stopped, messages dropped");
    });
}

/// An actor whose last address goes handles what was sent and ends: passivation drops the address and loses nothing.
#[test]
fn the_last_address_ends_the_actor_after_its_messages() {
    run(async {
        let (actor, counts) = counter();
        let (address, running) = spawn(actor);
        (0..50).for_each(|_| address.do_send(counts.act(Act::Count)));
        drop(address);
        running.await.unwrap();
        assert_eq!([&counts.handled, &counts.stopped].map(|c| c.load(Ordering::SeqCst)), [50, 1]);
    });
}

struct Sleeper(Vec<u32>, Option<tokio::sync::oneshot::Sender<()>>, Option<tokio::sync::oneshot::Receiver<()>>);
impl Actor for Sleeper {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "Vec<u32>")]
struct Slow(u32);

impl Handler<Slow> for Sleeper {
    type Result = ResponseActFuture<Self, Vec<u32>>;
    fn handle(&mut self, message: Slow, _: &mut Self::Context) -> Self::Result {
        // The first waits for the second, which begins while the first still runs.
        let (wait, wake) = if message.0 == 1 { (self.2.take(), None) } else { (None, self.1.take()) };
        let working = async move {
            if let Some(wake) = wake {
                let _ = wake.send(());
            }
            if let Some(wait) = wait {
                let _ = wait.await;
            }
        };
        Box::pin(working.into_actor(self).map(move |(), act, _| {
            act.0.push(message.0);
            act.0.clone()
        }))
    }
}

/// Two asynchronous handlers of one actor run side by side and end out of order: handlers are synchronous or atomic.
#[test]
fn asynchronous_handlers_overlap() {
    run(async {
        let (wake, woken) = tokio::sync::oneshot::channel();
        let address = Sleeper(Vec::new(), Some(wake), Some(woken)).start();
        let first = address.send(Slow(1));
        let second = address.send(Slow(2));
        let (first, second) = futures_util::future::join(first, second).await;
        assert_eq!((first.unwrap(), second.unwrap()), (vec![2, 1], vec![2]));
    });
}
