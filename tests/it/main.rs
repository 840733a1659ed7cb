//! Integration tests: one module per capability.

// Seeds are printed first, so that a failure can be played again.
#![allow(clippy::print_stderr)]

/// Real change sources, recorded, against the database's own tables.
mod recordings;
/// A trading shop in every format, against its own books.
mod shop;
