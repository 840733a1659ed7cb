//! Tables: made, described, flushed; and the cluster as its master sees it.
//!
//! Changes of tables are procedures of the master: they are started with a nonce, so that a repeated request starts no second
//! one, and asked after until they end. The master is found through the registry, and looked for again when it changes.

use super::backoff;
use super::batch;
use super::client::Client;
use super::error::{Advice, Class, Error};
use super::frame::Service;
use super::locator::{self, Region};
use super::pb;
use super::registry::Life;
use super::types::{ClusterStatus, Ensured, FamilyDescriptor, TableDescriptor, TableName, TableState};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often a procedure is asked after.
const ASKED_EVERY_MIN: Duration = Duration::from_millis(50);
const ASKED_EVERY_MAX: Duration = Duration::from_secs(1);
/// Regions that are flushed at once.
const FLUSHES_AT_ONCE: usize = 4;
/// The parts of a status that cost the master little: version, cluster, dead servers, master, names of servers.
const STATUS_PARTS: [i32; 5] = [0, 1, 3, 4, 10];

impl Client {
    /// Makes a table, cut at these row keys, unless it is there; then says where it differs. A namespace that is missing is
    /// made too.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn ensure_table(&self, wanted: &TableDescriptor, splits: &[Bytes]) -> Result<Ensured, Error> {
        if let Some(found) = self.describe_table(&wanted.name).await? {
            return Ok(Ensured::Existed { differences: wanted.missing_in(&found) });
        }
        self.ensure_namespace(wanted.name.namespace()).await?;
        let request = pb::CreateTableRequest {
            table_schema: schema_of(wanted),
            split_keys: splits.to_vec(),
            nonce_group: Some(self.core.nonce_group),
            nonce: Some(backoff::random()),
        };
        match self.procedure("CreateTable", &request).await {
            Ok(()) => Ok(Ensured::Created),
            Err(error) if error.class == Class::Exists => {
                let found = self.describe_table(&wanted.name).await?;
                Ok(Ensured::Existed { differences: found.map(|found| wanted.missing_in(&found)).unwrap_or_default() })
            }
            Err(error) => Err(error),
        }
    }

    async fn ensure_namespace(&self, name: &Bytes) -> Result<(), Error> {
        if name == "default"[..].as_bytes() {
            return Ok(());
        }
        let request = pb::CreateNamespaceRequest {
            namespace_descriptor: pb::NamespaceDescriptor { name: name.clone(), configuration: Vec::new() },
            nonce_group: Some(self.core.nonce_group),
            nonce: Some(backoff::random()),
        };
        match self.procedure("CreateNamespace", &request).await {
            Err(error) if error.class != Class::Exists => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a table with all its rows.
    ///
    /// # Errors
    /// What kept it from being removed; `no_table` when it is not there.
    pub async fn drop_table(&self, table: &TableName) -> Result<(), Error> {
        let request = || pb::ChangeTableRequest {
            table_name: table.to_pb(),
            nonce_group: Some(self.core.nonce_group),
            nonce: Some(backoff::random()),
        };
        if self.table_state(table).await? != Some(TableState::Disabled) {
            self.procedure("DisableTable", &request()).await?;
        }
        self.procedure("DeleteTable", &request()).await?;
        self.core.locator.forget_table(table);
        Ok(())
    }

    /// A table as it is; `None` when it is not there.
    ///
    /// # Errors
    /// What kept the master from saying it.
    pub async fn describe_table(&self, table: &TableName) -> Result<Option<TableDescriptor>, Error> {
        let request = pb::GetTableDescriptorsRequest { table_names: vec![table.to_pb()], regex: None, include_sys_tables: None };
        match self.master::<pb::GetTableDescriptorsResponse>("GetTableDescriptors", &request).await {
            Ok(reply) => Ok(reply.table_schema.first().map(|schema| descriptor_of(table, schema))),
            Err(error) if error.class == Class::NoTable => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a table answers; `None` when it is not there.
    ///
    /// # Errors
    /// What kept the master from saying it.
    pub async fn table_state(&self, table: &TableName) -> Result<Option<TableState>, Error> {
        let request = pb::GetTableStateRequest { table_name: table.to_pb() };
        match self.master::<pb::GetTableStateResponse>("GetTableState", &request).await {
            Ok(reply) => Ok(locator::state_of(reply.table_state.state)),
            Err(error) if error.class == Class::NoTable => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many regions of a table have a server.
    ///
    /// # Errors
    /// What kept meta from being read.
    pub async fn region_count(&self, table: &TableName) -> Result<usize, Error> {
        self.core.locator.regions(table).await.map(|regions| regions.len())
    }

    /// Writes what a table holds in memory to its files. What was acknowledged before the call, logged or not, survives any
    /// crash once it answers.
    ///
    /// # Errors
    /// A region could not be flushed until the operation's end.
    pub async fn flush_table(&self, table: &TableName) -> Result<(), Error> {
        let deadline = Instant::now() + self.core.limits.operation_timeout;
        let regions = self.core.locator.regions(table).await?;
        if regions.is_empty() {
            return Err(Error::new(Class::NoTable, format_args!("flush of table {table}"), "no region of it has a server"));
        }
        let flushes = regions.into_iter().map(|region| self.flush_region(table, region, deadline));
        stream::iter(flushes).buffer_unordered(FLUSHES_AT_ONCE).try_collect::<()>().await
    }

    /// Flushes a region, and where it has moved or split meanwhile, whatever holds its rows now.
    async fn flush_region(&self, table: &TableName, region: Region, deadline: Instant) -> Result<(), Error> {
        let mut tries = 0;
        let mut at = region.start.clone();
        loop {
            // From the second try on the region may be another one, or several.
            let current = if tries == 0 { region.clone() } else { Region::clone(&*self.core.locator.locate(table, &at).await?) };
            let error = match self.flush_once(&current).await {
                Ok(true)
                    if region.end.is_empty() && !current.end.is_empty()
                        || current.end < region.end && !current.end.is_empty() =>
                {
                    at = current.end;
                    tries = tries.max(1);
                    continue;
                }
                Ok(true) => return Ok(()),
                Ok(false) => Error::new(Class::TooBusy, format_args!("flush of table {table}"), "another flush is under way"),
                Err(error) => error,
            };
            tries += 1;
            let pause = backoff::pause(tries, &error);
            if error.advice() == Advice::Fail || Instant::now() + pause >= deadline {
                return Err(error);
            }
            if batch::is_suspect(tries, error.class)
                && let Some(disabled) = self.core.disabled(table).await
            {
                return Err(disabled);
            }
            self.core.locator.forget_server(&current.server);
            tokio::time::sleep(pause).await;
        }
    }

    /// False: a flush that began earlier is under way, and may leave out what came since.
    async fn flush_once(&self, region: &Region) -> Result<bool, Error> {
        let node = self.core.pool.node(&region.server.address, Service::Admin);
        let specifier = pb::RegionSpecifier::named(region.name.clone());
        let request = pb::FlushRegionRequest { region: specifier, if_older_than_ts: None, write_flush_wal_marker: Some(true) };
        // A flush writes files: it takes longer than a call for rows.
        let timeout = self.core.limits.operation_timeout;
        let reply = node.call("FlushRegion", &request, [], timeout).await?;
        let place = format_args!("FlushRegion on {}", node.address).to_string();
        let reply = pb::FlushRegionResponse::decode(reply.message).map_err(|e| Error::new(Class::Garbled, place, e))?;
        Ok(reply.flushed == Some(true) || reply.wrote_flush_wal_marker == Some(true))
    }

    /// The cluster as its master sees it. Start codes in it reach [`Client::servers`].
    ///
    /// # Errors
    /// What kept the master from saying it.
    pub async fn cluster(&self) -> Result<ClusterStatus, Error> {
        let request = pb::GetClusterStatusRequest { options: STATUS_PARTS.to_vec() };
        let status = self.master::<pb::GetClusterStatusResponse>("GetClusterStatus", &request).await?.cluster_status;
        let mut servers = BTreeMap::new();
        for life in status.servers_name.iter().filter_map(Life::from_pb) {
            self.core.registry.met(&life);
            servers.insert(life.address, life.start_code);
        }
        Ok(ClusterStatus {
            version: status.hbase_version.unwrap_or_default().version,
            cluster_id: status.cluster_id.unwrap_or_default().cluster_id,
            servers,
            dead: status.dead_servers.len(),
        })
    }

    /// Starts a procedure of the master and waits for its end.
    async fn procedure(&self, method: &'static str, request: &impl Message) -> Result<(), Error> {
        let deadline = Instant::now() + self.core.limits.operation_timeout;
        let started: pb::ProcedureResponse = self.master(method, request).await?;
        let Some(proc_id) = started.proc_id else { return Ok(()) };
        let mut pause = ASKED_EVERY_MIN;
        loop {
            let request = pb::GetProcedureResultRequest { proc_id };
            let reply: pb::GetProcedureResultResponse = self.master("getProcedureResult", &request).await?;
            match (reply.state, reply.exception) {
                (_, Some(exception)) => {
                    return Err(Error::from_foreign(format_args!("{method} (procedure {proc_id})"), &exception));
                }
                (1, None) => {}
                // The end is told once: a procedure that is gone had ended.
                _ => return Ok(()),
            }
            if Instant::now() + pause >= deadline {
                let place = format_args!("{method} (procedure {proc_id})");
                return Err(Error::new(Class::Timeout, place, "the master has not finished it in time").with_unknown_outcome());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASKED_EVERY_MAX);
        }
    }

    /// One call of the active master, tried again as the error says.
    async fn master<M: Message + Default>(&self, method: &'static str, request: &impl Message) -> Result<M, Error> {
        let deadline = Instant::now() + self.core.limits.operation_timeout;
        let mut tries = 0;
        loop {
            let error = match self.master_once(method, request).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            tries += 1;
            let pause = backoff::pause(tries, &error);
            let hopeless = matches!(error.advice(), Advice::Fail | Advice::Split) || (error.class == Class::Unknown && tries > 4);
            if hopeless || Instant::now() + pause >= deadline {
                return Err(error);
            }
            if !matches!(error.advice(), Advice::BackOff | Advice::SlowDown) {
                self.core.registry.forget_master();
            }
            tracing::debug!(error = %error, tries, "master is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn master_once<M: Message + Default>(&self, method: &'static str, request: &impl Message) -> Result<M, Error> {
        let master = self.core.registry.master().await?;
        let node = self.core.pool.node(&master, Service::Master);
        let reply = node.call(method, request, [], self.core.limits.call_timeout).await?;
        M::decode(reply.message).map_err(|e| Error::new(Class::Garbled, format_args!("{method} on {master}"), e))
    }
}

fn pairs(attributes: &BTreeMap<String, String>) -> Vec<pb::BytesBytesPair> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    attributes.iter().map(|(name, value)| pb::BytesBytesPair { first: bytes(name), second: bytes(value) }).collect()
}

fn texts(pairs: &[pb::BytesBytesPair]) -> BTreeMap<String, String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    pairs.iter().map(|pair| (text(&pair.first), text(&pair.second))).collect()
}

fn schema_of(table: &TableDescriptor) -> pb::TableSchema {
    let family = |family: &FamilyDescriptor| pb::ColumnFamilySchema {
        name: Bytes::copy_from_slice(family.name.as_bytes()),
        attributes: pairs(&family.attributes),
        configuration: Vec::new(),
    };
    pb::TableSchema {
        table_name: Some(table.name.to_pb()),
        attributes: pairs(&table.attributes),
        column_families: table.families.iter().map(family).collect(),
        configuration: Vec::new(),
    }
}

fn descriptor_of(table: &TableName, schema: &pb::TableSchema) -> TableDescriptor {
    let family = |family: &pb::ColumnFamilySchema| FamilyDescriptor {
        name: String::from_utf8_lossy(&family.name).into_owned(),
        attributes: texts(&family.attributes),
    };
    TableDescriptor {
        name: schema.table_name.as_ref().map_or_else(|| table.clone(), TableName::from_pb),
        families: schema.column_families.iter().map(family).collect(),
        attributes: texts(&schema.attributes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a table's shape survives the wire, and what differs is said. Method: there and back, then one attribute changed,
    /// one family missing.
    #[test]
    fn descriptors_are_compared() {
        let name = TableName::parse("shop:orders").unwrap();
        let families = vec![FamilyDescriptor::new("cf").with("BLOOMFILTER", "ROW"), FamilyDescriptor::new("m")];
        let wanted = TableDescriptor { name: name.clone(), families, attributes: BTreeMap::new() };
        let found = descriptor_of(&name, &pb::TableSchema::decode(&schema_of(&wanted).encode_to_vec()[..]).unwrap());
        assert_eq!(found, wanted);
        assert_eq!(wanted.missing_in(&found), Vec::<String>::new());
        let mut other = found;
        other.families.pop();
        other.families[0].attributes.insert("VERSIONS".into(), "3".into());
        other.families[0].attributes.insert("TTL".into(), "FOREVER".into());
        assert_eq!(wanted.missing_in(&other), ["family cf has VERSIONS 3, wanted is 1", "family m is missing"]);
    }
}
