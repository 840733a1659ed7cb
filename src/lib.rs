//! widerow keeps search indexes, caches and services equal to a MySQL database when one document is made of rows from
//! many tables.

pub mod cli;
pub mod domain;
pub mod ports;
pub mod settings;
