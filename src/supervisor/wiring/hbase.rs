//! From settings to wide rows in HBase, and what `check --connect` says of them.

use super::probe::{Probe, from_fault};
use crate::domain::fault::Fault;
use crate::io::clients;
use crate::io::hbase::store::HbaseRowStore;
use crate::ports::rows::RowStore;
use crate::settings::{HbaseSettings, Settings};
use std::sync::Arc;

/// The row store. It connects with its first call.
///
/// # Errors
/// Settings that the client refuses.
pub fn rows(hbase: &HbaseSettings, settings: &Settings) -> Result<Arc<dyn RowStore>, Fault> {
    Ok(Arc::new(HbaseRowStore::open(hbase, Arc::clone(&settings.schema))?))
}

/// What is there of the tables, what is missing, and the command that mends it.
pub fn probe(hbase: &HbaseSettings, settings: &Settings) -> Vec<Probe> {
    let looked = HbaseRowStore::open(hbase, Arc::clone(&settings.schema)).and_then(|store| clients::wait(store.look()));
    match looked {
        Ok(seen) => {
            let probe = |seen: crate::io::hbase::store::setup::Seen| match seen.lacking {
                None => Probe::fine(seen.system, seen.found),
                Some((missing, remedy)) => Probe::lacking(seen.system, missing, remedy),
            };
            seen.into_iter().map(probe).collect()
        }
        Err(fault) => vec![from_fault("HBase", fault, "mend store.hbase as the message says")],
    }
}
