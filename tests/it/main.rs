//! Integration tests: one module per capability.

// Seeds are printed first, so that a failure can be played again.
#![allow(clippy::print_stderr)]

/// What our design relies on in actix.
mod actix_facts;
/// The admin endpoint of a real node.
mod admin;
/// What cannot be used: kept, counted, said.
mod bad_input;
/// Ceilings on what is in flight and on what is remembered.
mod bounds;
/// The command line: every verb of the real binary.
mod cli;
/// Jobs, runs and lost answers around one row.
mod delivery;
/// What the documents for people tell them to type.
#[cfg(all(feature = "elasticsearch", feature = "hbase", feature = "kafka", feature = "redis"))]
mod docs;
/// What the documents show.
mod documents;
/// Told to stop: in order, within a deadline, saying what was left.
mod drain;
/// Worked cases: straight, crashed at every step, with panics at every step.
mod golden;
/// Topics of a made-up broker: rebalances, rewinds, topics that change their life.
#[cfg(feature = "kafka")]
mod kafka;
/// kill -9, again and again.
mod kill;
/// The queue loses its content, with the node running and down.
mod lost_queue;
/// The row store loses what it had not made durable.
mod lost_rows;
/// The queues that need no server.
mod queues;
/// A partition that leaves and comes back.
mod rebalance;
/// Real change sources, recorded, against the database's own tables.
mod recordings;
/// A trading shop in every format, against its own books.
mod shop;
/// Failing actors, stores, queues and sinks.
mod supervision;
/// Events of a running node, shown as they happen.
mod tap;
/// What the other modules stand on.
mod world;
