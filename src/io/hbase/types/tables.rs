//! Tables, their families and states; servers, their addresses and lives.

use crate::io::hbase::pb;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// A table: namespace and name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    namespace: Bytes,
    qualifier: Bytes,
}

/// A text that names no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is not a table name; allowed is `name` or `namespace:name` of letters, digits, `_`, `-` and `.`, the namespace without the last two"
)]
pub struct TableNameError {
    found: String,
}

impl TableName {
    /// `name`, or `namespace:name`.
    ///
    /// # Errors
    /// Other letters than HBase allows.
    pub fn parse(text: &str) -> Result<Self, TableNameError> {
        let (namespace, qualifier) = text.split_once(':').unwrap_or(("default", text));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let fits = !namespace.is_empty()
            && namespace.chars().all(plain)
            && !qualifier.is_empty()
            && !qualifier.starts_with(['.', '-'])
            && qualifier.chars().all(|c| plain(c) || c == '-' || c == '.');
        if !fits {
            return Err(TableNameError { found: text.to_owned() });
        }
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Ok(Self { namespace: bytes(namespace), qualifier: bytes(qualifier) })
    }

    /// The name as it stands in region names and keys of meta: without the namespace `default`.
    pub fn full(&self) -> Vec<u8> {
        if self.namespace == "default"[..] {
            return self.qualifier.to_vec();
        }
        [&self.namespace[..], b":", &self.qualifier[..]].concat()
    }

    /// The namespace; `default` when none was said.
    pub fn namespace(&self) -> &Bytes {
        &self.namespace
    }

    pub(in crate::io::hbase) fn to_pb(&self) -> pb::TableName {
        pb::TableName { namespace: self.namespace.clone(), qualifier: self.qualifier.clone() }
    }

    pub(in crate::io::hbase) fn from_pb(name: &pb::TableName) -> Self {
        Self { namespace: name.namespace.clone(), qualifier: name.qualifier.clone() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.full()))
    }
}
impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A column family: its name and attributes, all of them texts (`VERSIONS`, `TTL`, `BLOOMFILTER`, …).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FamilyDescriptor {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
}

impl FamilyDescriptor {
    /// A family with one version a cell that never expires.
    pub fn new(name: impl Into<String>) -> Self {
        let fixed = [("VERSIONS", "1"), ("MIN_VERSIONS", "0"), ("TTL", "2147483647")];
        Self { name: name.into(), attributes: fixed.map(|(k, v)| (k.to_owned(), v.to_owned())).into() }
    }

    /// The same with one attribute more.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: &str) -> Self {
        self.attributes.insert(attribute.to_owned(), value.to_owned());
        self
    }
}

/// A table as it is, or as it is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableDescriptor {
    pub name: TableName,
    pub families: Vec<FamilyDescriptor>,
    /// `SPLIT_POLICY`, `MEMSTORE_FLUSHSIZE`, …
    pub attributes: BTreeMap<String, String>,
}

impl TableDescriptor {
    /// What this descriptor asks for and another table has not, a text each; what it does not name is free.
    pub fn missing_in(&self, actual: &Self) -> Vec<String> {
        let mut out = Vec::new();
        for family in &self.families {
            let Some(found) = actual.families.iter().find(|f| f.name == family.name) else {
                out.push(format!("family {} is missing", family.name));
                continue;
            };
            differences(&format!("family {}", family.name), &family.attributes, &found.attributes, &mut out);
        }
        differences("the table", &self.attributes, &actual.attributes, &mut out);
        out
    }
}

fn differences(what: &str, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>, out: &mut Vec<String>) {
    for (name, wanted) in wanted {
        let has = found.get(name);
        // The master writes some of its defaults in words.
        let same = has
            .is_some_and(|has| has.eq_ignore_ascii_case(wanted) || (name == "TTL" && wanted == "2147483647" && has == "FOREVER"));
        if !same {
            out.push(format!("{what} has {name} {}, wanted is {wanted}", has.map_or("unset", String::as_str)));
        }
    }
}

/// What `ensure_table` found or did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ensured {
    Created,
    /// It was there; the texts say where it differs from what was asked for.
    Existed {
        differences: Vec<String>,
    },
}

/// The cluster as its master sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterStatus {
    /// As `2.6.4`.
    pub version: String,
    pub cluster_id: String,
    /// Region servers that live, with their start codes.
    pub servers: BTreeMap<Address, u64>,
    pub dead: usize,
}

/// Whether a table answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableState {
    Enabled,
    Disabled,
    Disabling,
    Enabling,
}

/// A server's address: host and port, without its life.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    /// `host:port`, or `[address]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The start code of each region server, as last heard. Another code at one address is another process: what the old one
/// had not flushed or logged is gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerLives {
    pub lives: BTreeMap<Address, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: names and addresses are read as HBase writes them, and others refused. Method: tables of both.
    #[test]
    fn names_and_addresses_are_read() {
        for (text, full) in [("orders", "orders"), ("default:orders", "orders"), ("shop:order-item.v2", "shop:order-item.v2")] {
            assert_eq!(TableName::parse(text).unwrap().to_string(), full);
        }
        for text in ["", ":", "a:", ":a", "a:b:c", "-a", ".a", "a b", "a-b:c", "ü"] {
            assert!(TableName::parse(text).is_err(), "{text}");
        }
        let parsed = |text| Address::parse(text).map(|address| (address.host, address.port));
        assert_eq!(parsed("rs.shop:16020"), Some(("rs.shop".into(), 16020)));
        assert_eq!(parsed("[::1]:1"), Some(("::1".into(), 1)));
        for text in ["", "rs", "rs:", ":1", "rs:0", "rs:99999", "[::1:1"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
