//! Tables: made where they are missing, looked at where they are there. An existing table is never changed: what is wrong
//! with it is said with the command of the HBase shell that mends it.

use super::layout::OWN_FAMILY;
use super::tables::Tables;
use super::{Class, Client, VALUE, fault};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::schema::Schema;
use crate::io::clients;
use crate::io::hbase::client::ClientSettings;
use crate::io::hbase::connection::{Identity, Tls};
use crate::io::hbase::error::Error;
use crate::io::hbase::types::{
    CheckAndMutate, Compare, Condition, Durability, FamilyDescriptor, RowMutations, TableDescriptor, TableName, TableState,
};
use crate::settings::{self, HbaseSettings};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Something about a table that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub what: String,
    /// A command of the HBase shell.
    pub remedy: String,
    /// Rows would be lost or wrong; otherwise it only costs.
    pub fatal: bool,
}

/// What was seen of one table, or of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub system: String,
    pub found: String,
    /// What is wrong, and what mends it.
    pub lacking: Option<(String, String)>,
}

/// The client of these settings.
///
/// # Errors
/// Servers that are no addresses, a certificate that cannot be read, TLS settings that the client does not know.
pub fn client(settings: &HbaseSettings) -> Result<Client, Fault> {
    let tls = settings.tls.as_ref().map(tls_of).transpose()?;
    let client = ClientSettings {
        user: settings.user.clone(),
        connections: settings.connections,
        in_flight: settings.in_flight,
        call_timeout: settings.timeout,
        operation_timeout: settings.timeout * 2,
        tls,
        ..ClientSettings::new(settings.servers.clone())
    };
    let clients = clients::handle()?;
    let _on_the_clients_threads = clients.enter();
    Client::new(client).map_err(|e| fault(&e))
}

fn tls_of(tls: &settings::Tls) -> Result<Tls, Fault> {
    let invalid = |key: &str, what: String| Fault::new(FaultKind::Invalid, format!("store.hbase.tls.{key}"), what);
    if !tls.verify {
        return Err(invalid("verify", "HBase is not offered without verification; give its authority as `ca`".to_owned()));
    }
    let read = |key: &str, path: &Path| std::fs::read(path).map_err(|e| invalid(key, format!("{}: {e}", path.display())));
    let identity = match (&tls.certificate, &tls.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(Identity { certificates_pem: read("certificate", certificate)?, key_pem: read("key", key)? })
        }
        _ => return Err(invalid("certificate", "a certificate and its key come together: write both".to_owned())),
    };
    Ok(Tls { ca_pem: tls.ca.as_ref().map(|path| read("ca", path)).transpose()?, identity })
}

/// Makes what is missing, where that is allowed, and refuses what would lose rows.
pub(super) async fn ensure(client: &Client, tables: &Tables, schema: &Schema, settings: &HbaseSettings) -> Result<(), Fault> {
    for (table, splits) in tables.splits(schema, settings.regions) {
        let wanted = wanted(&table, tables, &settings.family);
        let place = || format!("HBase, table {table}");
        let Some(found) = client.describe_table(&table).await.map_err(|e| fault(&e))? else {
            if !settings.create {
                let what = format!("it is not there, and `create` is off; in the HBase shell: {}", create(&wanted, &splits));
                return Err(Fault::new(FaultKind::Incompatible, place(), what));
            }
            client.ensure_table(&wanted, &splits).await.map_err(|e| denied(&e, &table, settings))?;
            tracing::info!(table = %table, regions = splits.len() + 1, "table made");
            continue;
        };
        let flaws = flaws(&wanted, &found);
        let fatal: Vec<String> =
            flaws.iter().filter(|f| f.fatal).map(|f| format!("{}; in the HBase shell: {}", f.what, f.remedy)).collect();
        if !fatal.is_empty() {
            return Err(Fault::new(FaultKind::Incompatible, place(), fatal.join(". ")));
        }
        for flaw in flaws {
            tracing::warn!(table = %table, flaw = flaw.what, remedy = flaw.remedy, "table is not as it should be");
        }
    }
    Ok(())
}

/// Reaches the cluster and every table; leaves nothing behind.
pub(super) async fn look(client: &Client, tables: &Tables, schema: &Schema, settings: &HbaseSettings) -> Vec<Seen> {
    let servers = settings.servers.join(", ");
    let cluster = match client.cluster().await {
        Ok(cluster) => cluster,
        Err(error) => {
            let remedy =
                "start HBase, open its ports (16000 masters, 16020 region servers), or set store.hbase.servers".to_owned();
            let lacking = Some((error.to_string(), remedy));
            return vec![Seen { system: format!("HBase at {servers}"), found: String::new(), lacking }];
        }
    };
    let found = format!("version {}, {} region servers live, {} dead", cluster.version, cluster.servers.len(), cluster.dead);
    let old = version(&cluster.version).is_some_and(|version| version < (2, 5)).then(|| {
        let what = format!("version {}; the client needs 2.5 at least", cluster.version);
        (what, "use a newer HBase".to_owned())
    });
    let mut all = vec![Seen { system: format!("HBase at {servers}"), found, lacking: old }];
    for (table, splits) in tables.splits(schema, settings.regions) {
        let system = format!("HBase, table {table}");
        let seen = look_at(client, &table, &splits, &wanted(&table, tables, &settings.family), settings).await;
        let (found, lacking) = seen.unwrap_or_else(|error| {
            let remedy = remedy(&error, &table, settings);
            (String::new(), Some((error.to_string(), remedy)))
        });
        all.push(Seen { system, found, lacking });
    }
    all
}

type Look = (String, Option<(String, String)>);

async fn look_at(
    client: &Client,
    table: &TableName,
    splits: &[Bytes],
    wanted: &TableDescriptor,
    settings: &HbaseSettings,
) -> Result<Look, Error> {
    let Some(found) = client.describe_table(table).await? else {
        if settings.create {
            return Ok((format!("a run makes it with {} regions", splits.len() + 1), None));
        }
        return Ok((String::new(), Some(("it is not there, and `create` is off".to_owned(), create(wanted, splits)))));
    };
    if client.table_state(table).await? != Some(TableState::Enabled) {
        return Ok((String::new(), Some(("it is not enabled".to_owned(), format!("enable '{table}'")))));
    }
    let flaws = flaws(wanted, &found);
    if let Some(flaw) = flaws.iter().find(|flaw| flaw.fatal) {
        return Ok((String::new(), Some((flaw.what.clone(), flaw.remedy.clone()))));
    }
    let regions = client.region_count(table).await?;
    knock(client, table, wanted).await?;
    let mut text = format!("{regions} regions, may be read and written");
    if regions == 1 && !splits.is_empty() {
        let _ = write!(
            text,
            "; one region serves every write until it splits: split '{table}', '{}'",
            shown(&splits[splits.len() / 2])
        );
    }
    for flaw in flaws {
        let _ = write!(text, "; {}: {}", flaw.what, flaw.remedy);
    }
    Ok((text, None))
}

/// Reads and would write each family of a row that is never there: the rights are asked before the condition is.
async fn knock(client: &Client, table: &TableName, wanted: &TableDescriptor) -> Result<(), Error> {
    let row = Bytes::from_static(b"\0check");
    let invalid = |e| Error::new(Class::Invalid, format_args!("table {table}"), e);
    let mut mutations = RowMutations::new(row).map_err(invalid)?;
    for family in &wanted.families {
        mutations.put(Durability::Sync, family.name.as_bytes(), VALUE, 1, b"-").map_err(invalid)?;
    }
    let condition = Condition::Value {
        family: Bytes::from_static(OWN_FAMILY.as_bytes()),
        qualifier: Bytes::from_static(VALUE),
        compare: Compare::Equal,
        value: Bytes::from_static(b"never"),
        time_range: None,
    };
    client.check_and_mutate(table, CheckAndMutate { condition, mutations }).await.map(|_| ())
}

/// Every write puts every column (M7), so a server's memory fills with cells that nothing will read again, and a read walks
/// through all of them until they are flushed; only this drops them early.
const COMPACTION: &str = "IN_MEMORY_COMPACTION";
const COMPACTED: &str = "EAGER";
/// Dropping copies all of a store's memory, so it happens after each tenth of what memory takes before a flush, not after
/// each seventieth.
const COMPACTED_EACH: (&str, &str) = ("hbase.memstore.inmemoryflush.threshold.factor", "0.1");

fn compacted(family: FamilyDescriptor) -> FamilyDescriptor {
    family.with(COMPACTION, COMPACTED).with(COMPACTED_EACH.0, COMPACTED_EACH.1)
}

/// A table as we make it.
fn wanted(table: &TableName, tables: &Tables, family: &str) -> TableDescriptor {
    // Counters are rewritten all the time and read with every row.
    let own = FamilyDescriptor::new(OWN_FAMILY).with("BLOOMFILTER", "ROW").with("IN_MEMORY", "true");
    let mut families = vec![compacted(own)];
    if tables.is_shared() || table != tables.beside() {
        let data = FamilyDescriptor::new(family).with("BLOOMFILTER", "ROW").with("DATA_BLOCK_ENCODING", "FAST_DIFF");
        families.insert(0, compacted(data.with("BLOCKSIZE", "32768")));
    }
    TableDescriptor { name: table.clone(), families, attributes: BTreeMap::new() }
}

/// What is wrong with a table for these families.
fn flaws(wanted: &TableDescriptor, found: &TableDescriptor) -> Vec<Flaw> {
    let table = &wanted.name;
    let mut flaws = Vec::new();
    let mut flaw = |what: String, remedy: String, fatal| flaws.push(Flaw { what, remedy, fatal });
    let is = |value: Option<&String>, wanted: &str| value.is_some_and(|value| value.eq_ignore_ascii_case(wanted));
    if is(found.attributes.get("READONLY"), "true") {
        flaw("it is read-only".into(), format!("alter '{table}', READONLY => false"), true);
    }
    for family in wanted.families.iter().map(|f| &f.name) {
        let Some(held) = found.families.iter().find(|f| f.name == *family) else {
            let command = format!("alter '{table}', {{NAME => '{family}', VERSIONS => 1, TTL => 'FOREVER'}}");
            flaw(format!("family `{family}` is missing"), command, true);
            continue;
        };
        let mut attribute = |name: &str, fine: &[&str], should: &str, why: &str, fatal| {
            let value = held.attributes.get(name);
            if let Some(value) = value.filter(|_| !fine.iter().any(|fine| is(value, fine))) {
                let command = format!("alter '{table}', {{NAME => '{family}', {name} => {should}}}");
                flaw(format!("family `{family}` has {name} {value}: {why}"), command, fatal);
            }
        };
        let expires = "timestamps are log positions, so every cell expires at once";
        attribute("TTL", &["2147483647", "FOREVER"], "'FOREVER'", expires, true);
        let order = "cells count by when they came, not by their stamps";
        attribute("NEW_VERSION_BEHAVIOR", &["false"], "false", order, true);
        attribute("VERSIONS", &["1"], "1", "one version of a cell is ever read", false);
        attribute("KEEP_DELETED_CELLS", &["false"], "'FALSE'", "a purge frees nothing", false);
        let compaction = held.attributes.get(COMPACTION);
        if !is(compaction, COMPACTED) {
            let what = format!(
                "family `{family}` has {COMPACTION} {}: memory keeps what was overwritten, and rows that change often cost \
                 several times as much to read",
                compaction.map_or("unset", |value| value)
            );
            flaw(what, format!("alter '{table}', {{NAME => '{family}', {}}}", in_shell()), false);
        }
    }
    flaws
}

/// What [`compacted`] sets, in HBase's shell.
fn in_shell() -> String {
    let (key, value) = COMPACTED_EACH;
    format!("{COMPACTION} => '{COMPACTED}', CONFIGURATION => {{'{key}' => '{value}'}}")
}

/// The command that makes a table.
fn create(wanted: &TableDescriptor, splits: &[Bytes]) -> String {
    let mut out = format!("create '{}'", wanted.name);
    for family in &wanted.families {
        let _ = write!(out, ", {{NAME => '{}', VERSIONS => 1", family.name);
        let said = ["VERSIONS", "MIN_VERSIONS", "TTL", COMPACTION, COMPACTED_EACH.0];
        for (name, value) in family.attributes.iter().filter(|(name, _)| !said.contains(&name.as_str())) {
            let _ = write!(out, ", {name} => '{value}'");
        }
        let _ = write!(out, ", {}}}", in_shell());
    }
    if !splits.is_empty() {
        let keys: Vec<String> = splits.iter().map(|key| format!("'{}'", shown(key))).collect();
        let _ = write!(out, ", SPLITS => [{}]", keys.join(", "));
    }
    out
}

fn shown(key: &Bytes) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn denied(error: &Error, table: &TableName, settings: &HbaseSettings) -> Fault {
    let fault = fault(error);
    let what = format!("{}; {}", fault.what, remedy(error, table, settings));
    Fault { what, ..fault }
}

fn remedy(error: &Error, table: &TableName, settings: &HbaseSettings) -> String {
    match error.class {
        Class::Forbidden => format!("grant '{}', 'RWC', '{table}'", settings.user),
        Class::NoFamily | Class::NoTable => "make the table as a run would, or let a run make it (`create: true`)".to_owned(),
        _ => "look at the region servers' logs and the master's page".to_owned(),
    }
}

/// Major and minor number.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::shop;
    use crate::domain::schema::VersionKind;

    fn tables() -> Tables {
        Tables::new("w_{row}", &shop(VersionKind::Weight)).unwrap()
    }

    fn table() -> TableDescriptor {
        wanted(&TableName::parse("w_order").unwrap(), &tables(), "cf")
    }

    /// Goal: what would lose rows is told with its remedy, and what only costs is not fatal. Method: a made table with one
    /// attribute changed at a time.
    #[test]
    fn a_wrong_table_is_told_with_its_remedy() {
        assert_eq!(flaws(&table(), &table()), [], "a table as we make it has no flaw");
        for (family, attribute, value, fatal, remedy) in [
            (0, "TTL", "86400", true, "alter 'w_order', {NAME => 'cf', TTL => 'FOREVER'}"),
            (1, "NEW_VERSION_BEHAVIOR", "TRUE", true, "alter 'w_order', {NAME => 'm', NEW_VERSION_BEHAVIOR => false}"),
            (0, "VERSIONS", "3", false, "alter 'w_order', {NAME => 'cf', VERSIONS => 1}"),
            (
                0,
                "IN_MEMORY_COMPACTION",
                "NONE",
                false,
                "alter 'w_order', {NAME => 'cf', IN_MEMORY_COMPACTION => 'EAGER', \
                 CONFIGURATION => {'hbase.memstore.inmemoryflush.threshold.factor' => '0.1'}}",
            ),
            (0, "KEEP_DELETED_CELLS", "TTL", false, "alter 'w_order', {NAME => 'cf', KEEP_DELETED_CELLS => 'FALSE'}"),
        ] {
            let mut found = table();
            found.families[family].attributes.insert(attribute.into(), value.into());
            let flaws = flaws(&table(), &found);
            assert_eq!(flaws.len(), 1, "{attribute}");
            assert_eq!((flaws[0].fatal, flaws[0].remedy.as_str()), (fatal, remedy));
        }
        let mut found = table();
        found.families.remove(1);
        found.families[0].attributes.insert("TTL".into(), "forever".into());
        found.attributes.insert("READONLY".into(), "true".into());
        let whats: Vec<_> = flaws(&table(), &found).into_iter().map(|f| f.what).collect();
        assert_eq!(whats, ["it is read-only", "family `m` is missing"]);
    }

    /// Goal: the command makes what a run would. Method: read it.
    #[test]
    fn the_command_makes_the_table() {
        let splits = [Bytes::from_static(b"5000")];
        let data = format!(
            "{{NAME => 'cf', VERSIONS => 1, BLOCKSIZE => '32768', BLOOMFILTER => 'ROW', DATA_BLOCK_ENCODING => 'FAST_DIFF', {}}}",
            in_shell()
        );
        let own = format!("{{NAME => 'm', VERSIONS => 1, BLOOMFILTER => 'ROW', IN_MEMORY => 'true', {}}}", in_shell());
        let made = format!("create 'w_order', {data}, {own}, SPLITS => ['5000']");
        assert_eq!(create(&table(), &splits), made);
        let beside = wanted(tables().beside(), &tables(), "cf");
        assert_eq!(create(&beside, &[]), format!("create 'w__meta', {own}"));
        assert_eq!((version("2.6.4-hadoop3"), version("3.0.0"), version("x")), (Some((2, 6)), Some((3, 0)), None));
    }
}
