//! What a person at a terminal meets. Thin: each verb asks a room and shows the answer.

pub mod config;
pub mod findings;
