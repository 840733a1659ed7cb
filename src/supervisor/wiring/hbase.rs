//! From settings to wide rows in HBase, and what `check --connect` says of them.

use super::probe::Probe;
use crate::domain::fault::{Fault, FaultKind};
use crate::ports::rows::RowStore;
use crate::settings::{HbaseSettings, Settings};
use std::sync::Arc;

/// The row store.
///
/// # Errors
/// Settings that the client refuses.
pub fn rows(hbase: &HbaseSettings, _settings: &Settings) -> Result<Arc<dyn RowStore>, Fault> {
    Err(Fault::new(FaultKind::Incompatible, "row store", format!("no client for {:?}", hbase.servers)))
}

/// What is there of the tables, what is missing, and the command that mends it.
pub fn probe(hbase: &HbaseSettings, _settings: &Settings) -> Vec<Probe> {
    vec![Probe::lacking("store", format!("no client for {:?}", hbase.servers), "use another store")]
}
