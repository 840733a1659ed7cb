//! Integration tests: one module per capability.

// Seeds are printed first, so that a failure can be played again.
#![allow(clippy::print_stderr)]

/// What our design relies on in actix.
mod actix_facts;
/// The command line: every verb of the real binary.
mod cli;
/// The admin endpoint of a real node.
mod admin;
/// Worked cases: straight, crashed at every step, with panics at every step.
mod golden;
/// The queue loses its content, with the node running and down.
mod lost_queue;
/// Real change sources, recorded, against the database's own tables.
mod recordings;
/// A trading shop in every format, against its own books.
mod shop;
/// What the other modules stand on.
mod world;
