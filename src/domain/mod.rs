//! The pure rooms: no clock, no async, no client crate, no actors.

pub mod assignment;
pub mod backoff;
pub mod breadcrumb;
pub mod breaker;
pub mod change;
pub mod decimal;
pub mod decode;
pub mod document;
pub mod entity;
pub mod epoch;
pub mod fault;
pub mod frontier;
pub mod health;
pub mod ids;
pub mod job;
pub mod line;
pub mod mark;
pub mod merge;
mod packed;
pub mod portion;
pub mod quick;
pub mod record;
pub mod restart;
pub mod retrial;
pub mod route;
pub mod row;
pub mod schema;
pub mod steps;
pub mod template;
pub mod tide;
pub mod version;
pub mod write;

#[cfg(test)]
pub(crate) mod samples;
