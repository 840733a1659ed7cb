//! The configuration: as written, as meant, and everything found wrong with it.
//!
//! Read in this order: `tree` (what the files say and where), `merge`, `vars`, `spec` (the list of keys), `shape`
//! (checked and completed), `secrets` (read and starred), `build` with `rows`, `lines`, `fields` and `systems` (what it means), `origin` (what it shows),
//! `reference` (what may be written). Depends on the domain only.

mod build;
mod fields;
pub mod findings;
mod lines;
pub mod load;
mod merge;
pub mod origin;
mod read;
pub mod reference;
mod rows;
mod scalar;
mod secrets;
#[allow(clippy::module_inception)]
pub mod settings;
mod shape;
mod sinks;
pub mod spec;
pub mod systems;
pub mod tree;
mod values;
mod vars;

pub use findings::{Code, Finding, Severity};
pub use load::{Loaded, load, load_text};
pub use origin::Origin;
pub use secrets::{STARS, secret_property};
pub use settings::*;
pub use systems::*;

#[cfg(test)]
mod tests;
