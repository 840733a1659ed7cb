//! The configuration: as written, as meant, and everything found wrong with it.

pub mod settings;

pub use settings::*;
