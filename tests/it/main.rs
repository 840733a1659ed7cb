//! Integration tests: one module per capability.

/// Real change sources, recorded, against the database's own tables.
mod recordings;
/// A trading shop in every format, against its own books.
mod shop;
