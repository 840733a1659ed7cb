//! The job queue on Redis in asynq's format: Go workers, asynq's command line and its web page work on it, our workers on theirs.
//!
//! Keeps J1–J11 and K5. Tasks, lists, leases, counters and server entries are asynq 0.26's, byte for byte (`keys`,
//! `message`). Beside them each line has a book of records, one per row key, that says where its jobs lie and carries what
//! coalescing keeps (J4); `scripts/common.lua` describes it. asynq's own states decide: a record that a foreign worker
//! or a person has overtaken is mended where it is met, so a lost record costs a double run at most.
//!
//! - `queue`: the port; `offers`, `takes`, `verdicts`: each one script call for many jobs of a line
//! - `upkeep`: leases, retries, what comes back from the overflow, server entries; `inspect`: counts, lists, releases
//! - `former`: jobs that a former life of this node had in hand (J10)
//! - `overflow`: spilled and parked jobs, which do not lie in Redis (J8, J9)
//! - `diversion`: a line that stays too long is worked from its lowest lane until it is calm (J9)
//! - `guard`: what a server must be, and its life (J11)
//!
//! On Cluster a line's lanes lie in different slots: every script sees one lane, an offer goes to each in turn, and a key
//! may have a double in two lanes, which is harmless (J4). Documents are skipped only where a line has one lane (K5).
//! Knows nothing of actors or of what a job does.

mod diversion;
mod former;
mod guard;
mod inspect;
pub mod keys;
pub mod message;
mod offers;
mod overflow;
mod queue;
mod record;
mod scripts;
mod servers;
mod takes;
mod upkeep;
mod verdicts;

pub use guard::{Server, look};
pub use queue::{AsynqQueue, Setup};
