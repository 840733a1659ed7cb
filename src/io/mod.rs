//! The world: one room per outside thing, each behind a door of `ports`.

pub mod generator;
pub mod jsonl;

mod feed;
