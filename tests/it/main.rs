//! Integration tests: one module per capability.

/// What our design relies on in actix.
mod actix_facts;
/// Ceilings on what is in flight and on what is remembered.
mod bounds;
/// Worked cases: straight, crashed at every step, with panics at every step.
mod golden;
/// Real change sources, recorded, against the database's own tables.
mod recordings;
/// Failing actors, stores, queues and sinks.
mod supervision;
/// What the other modules stand on.
mod world;
