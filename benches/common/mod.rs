//! What the benches share: the made-up shop, the clocks, the count of allocations, the naive way, a whole run.
//!
//! Each bench takes what it needs, so not every bench uses everything.
#![allow(dead_code)]

pub mod count;
pub mod measure;
pub mod naive;
pub mod node;
pub mod shop;
