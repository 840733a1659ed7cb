//! What is there before the first document is sent: which server, which index, for how long it remembers deletes.
//!
//! Makes the index and its template where they are missing and we may; changes neither where they exist. Keeps K2's bound
//! on a body's age by the index's own `gc_deletes`. Knows nothing of documents.

use super::client::{Ask, Client, Method, Reply};
use super::mapping::Mapping;
use super::verdict::whole;
use crate::domain::fault::{Fault, FaultKind};
use serde_json::Value;
use std::time::Duration;

/// `gc_deletes` where an index does not say.
const GC_DELETES_DEFAULT: Duration = Duration::from_secs(60);
/// A body is not older than this, however long the server remembers deletes.
const AGE_MAX: Duration = Duration::from_secs(1_800);
/// An index that forgets at once would let nothing through; `check --connect` says so.
const AGE_MIN: Duration = Duration::from_secs(5);

/// A search server's kind and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub opensearch: bool,
    pub number: String,
    major: u32,
    minor: u32,
}

impl Product {
    /// Reads the answer to `GET /`.
    fn read(reply: &[u8]) -> Option<Self> {
        let banner: Value = serde_json::from_slice(reply).ok()?;
        let version = banner.get("version")?;
        let number = version.get("number")?.as_str()?.to_owned();
        let mut parts = number.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let (major, minor) = (parts.next()?, parts.next().unwrap_or(0));
        let opensearch = version.get("distribution").and_then(Value::as_str) == Some("opensearch");
        Some(Self { opensearch, number, major, minor })
    }

    /// Whether it takes versions and bulk requests as we send them.
    fn is_known(&self) -> bool {
        self.opensearch || self.major >= 7
    }

    /// Whether it has templates for one index and their settings (`_index_template`).
    fn has_templates(&self) -> bool {
        self.opensearch || (self.major, self.minor) >= (7, 8)
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", if self.opensearch { "OpenSearch" } else { "Elasticsearch" }, self.number)
    }
}

/// What must hold before documents are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// `None` where we may not ask.
    pub product: Option<Product>,
    /// K2: no body older than this is sent.
    pub age_max: Duration,
    /// The server's own bound on a request, where it tells.
    pub request_bytes_max: Option<usize>,
}

/// Finds out what is there, and makes the index where it is missing and `mapping` is given.
///
/// # Errors
/// A server that cannot be reached, is of another kind, or lets us not; a missing index that we shall not make.
pub async fn prepare(client: &Client, index: &str, mapping: Option<&Mapping>) -> Result<Ready, Fault> {
    let product = product(client).await?;
    let gc_deletes = match self::gc_deletes(client, index).await? {
        Found::There(gc_deletes) => gc_deletes,
        Found::Hidden => GC_DELETES_DEFAULT,
        Found::Missing => match mapping {
            Some(mapping) => {
                create(client, index, mapping, product.as_ref()).await?;
                match self::gc_deletes(client, index).await? {
                    Found::There(gc_deletes) => gc_deletes,
                    Found::Hidden | Found::Missing => GC_DELETES_DEFAULT,
                }
            }
            None => {
                let what = format!("index `{index}` is missing; make it, or set `create: true`");
                return Err(Fault::new(FaultKind::Incompatible, client.place(), what));
            }
        },
    };
    Ok(Ready { product, age_max: (gc_deletes / 2).clamp(AGE_MIN, AGE_MAX), request_bytes_max: request_bytes_max(client).await })
}

/// Which server answers; `None` where we may not ask.
///
/// # Errors
/// No answer, refused credentials, or something that is no search server.
pub async fn product(client: &Client) -> Result<Option<Product>, Fault> {
    let reply = client.send(Ask::get("")).await?;
    match reply.status {
        200 => match Product::read(&reply.body) {
            Some(product) if product.is_known() => Ok(Some(product)),
            Some(product) => {
                let what = format!("{product} is too old; versions 7 to 9 and OpenSearch are known");
                Err(Fault::new(FaultKind::Incompatible, client.place(), what))
            }
            None => Err(Fault::new(FaultKind::Incompatible, client.place(), "what answers there is no search server")),
        },
        403 | 404 => Ok(None),
        _ => Err(refusal(client, &reply)),
    }
}

pub enum Found<T> {
    There(T),
    Missing,
    /// We may not look.
    Hidden,
}

/// How long the index remembers deletes; of several behind one alias, the shortest.
pub async fn gc_deletes(client: &Client, index: &str) -> Result<Found<Duration>, Fault> {
    let path = format!("{index}/_settings");
    let reply = client.send(Ask::get(&path)).await?;
    match reply.status {
        200 => {
            let read: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let text = |held: &Value| held.pointer("/settings/index/gc_deletes").and_then(Value::as_str).map(str::to_owned);
            let each = read.as_object().into_iter().flat_map(|all| all.values());
            let each = each.map(|held| text(held).and_then(|text| duration(&text)).unwrap_or(GC_DELETES_DEFAULT));
            Ok(Found::There(each.min().unwrap_or(GC_DELETES_DEFAULT)))
        }
        404 => Ok(Found::Missing),
        403 => Ok(Found::Hidden),
        _ => Err(refusal(client, &reply)),
    }
}

async fn create(client: &Client, index: &str, mapping: &Mapping, product: Option<&Product>) -> Result<(), Fault> {
    if product.is_none_or(Product::has_templates) {
        // For whoever makes the index anew; one that is there already is somebody's choice.
        let path = format!("_index_template/widerow-{index}");
        let body = mapping.template_body(index).to_string();
        let reply = client.send(Ask::with(Method::Put, &path, body).query(&[("create", "true")])).await?;
        if reply.status >= 300 && !said(&reply, "already exists") {
            let fault = refusal(client, &reply);
            tracing::warn!(index, %fault, "no index template was made, the index is made without");
        }
    }
    let reply = client.send(Ask::with(Method::Put, index, mapping.index_body().to_string())).await?;
    match reply.status {
        200..=299 => {
            tracing::info!(index, "index made");
            Ok(())
        }
        // Another node was quicker.
        400 if said(&reply, "resource_already_exists_exception") => Ok(()),
        _ => Err(refusal(client, &reply)),
    }
}

/// The least `http.max_content_length` of the nodes.
async fn request_bytes_max(client: &Client) -> Option<usize> {
    let filter = [("filter_path", "nodes.*.http.max_content_length_in_bytes")];
    let reply = client.send(Ask::get("_nodes/http").query(&filter)).await.ok()?;
    let read: Value = serde_json::from_slice(&reply.body).ok()?;
    let nodes = read.get("nodes")?.as_object()?;
    let bytes = nodes.values().filter_map(|node| node.pointer("/http/max_content_length_in_bytes")?.as_u64());
    bytes.min().and_then(|bytes| usize::try_from(bytes).ok())
}

fn said(reply: &Reply, words: &str) -> bool {
    String::from_utf8_lossy(&reply.body).contains(words)
}

pub fn refusal(client: &Client, reply: &Reply) -> Fault {
    whole(reply.status, &reply.body, &client.place())
}

/// A time as the server writes it: `60s`, `1h`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let ms = match unit {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1_000,
        "ms" => 1,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: who answers. Method: banners of the servers we know, and of others.
    #[test]
    fn banners() {
        let read = |text: &str| Product::read(text.as_bytes());
        let table = [
            (r#"{"version":{"number":"7.0.1"}}"#, "Elasticsearch 7.0.1", true, false),
            (r#"{"version":{"number":"7.8.0"}}"#, "Elasticsearch 7.8.0", true, true),
            (r#"{"version":{"number":"9.1.0-SNAPSHOT"}}"#, "Elasticsearch 9.1.0-SNAPSHOT", true, true),
            (r#"{"version":{"number":"6.8.23"}}"#, "Elasticsearch 6.8.23", false, false),
            (r#"{"version":{"distribution":"opensearch","number":"2.19.6"}}"#, "OpenSearch 2.19.6", true, true),
            (r#"{"version":{"distribution":"opensearch","number":"1.0.0"}}"#, "OpenSearch 1.0.0", true, true),
        ];
        for (banner, name, known, templates) in table {
            let product = read(banner).unwrap();
            assert_eq!((product.to_string().as_str(), product.is_known(), product.has_templates()), (name, known, templates));
        }
        for other in ["", "<html>", "{}", r#"{"version":"1.2"}"#, r#"{"version":{"number":"x"}}"#] {
            assert!(read(other).is_none_or(|product| !product.is_known()), "{other}");
        }
    }

    /// Goal: the server's times. Method: a table.
    #[test]
    fn times() {
        for (text, ms) in [("60s", 60_000), ("1h", 3_600_000), ("2d", 172_800_000), ("500ms", 500), ("5m", 300_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "-1", "60", "1y", "99999999999999999999s", "s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
