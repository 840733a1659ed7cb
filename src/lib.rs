//! widerow keeps search indexes, caches and services equal to a MySQL database when one document is made of rows from
//! many tables.

#![deny(unsafe_code)]

pub mod actors;
pub mod admin;
pub mod cli;
pub mod domain;
pub mod io;
pub mod messages;
pub mod ports;
pub mod settings;
pub mod supervisor;
pub mod telemetry;
