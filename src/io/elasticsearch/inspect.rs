//! What `check --connect` says of a search server and its index: who answers, what is missing, what mends it.
//!
//! Looks only; nothing is made or changed.

use super::client::{Ask, Client, Method};
use super::mapping::{Difference, GC_DELETES, Mapping};
use super::setup::{self, Found, Product};
use crate::domain::fault::Fault;
use serde_json::{Value, json};
use std::time::Duration;

/// Rights a sink needs on its index.
const INDEX_RIGHTS: [&str; 4] = ["index", "delete", "read", "view_index_metadata"];
/// `gc_deletes` that leaves a request its time twice over.
const GC_DELETES_MIN: Duration = Duration::from_secs(600);

/// One thing seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Fine(String),
    Lacking { missing: String, remedy: String },
}

fn lacking(missing: impl Into<String>, remedy: impl Into<String>) -> Seen {
    Seen::Lacking { missing: missing.into(), remedy: remedy.into() }
}

/// Looks at the server and at one line's index. `create`: a missing index will be made.
pub async fn inspect(client: &Client, index: &str, mapping: &Mapping, create: bool) -> Vec<Seen> {
    match look(client, index, mapping, create).await {
        Ok(seen) => seen,
        Err(fault) => {
            let remedy = "see that the server runs and that `urls`, `auth` and `tls` are right";
            vec![lacking(format!("{}: {}", fault.place, fault.what), remedy)]
        }
    }
}

async fn look(client: &Client, index: &str, mapping: &Mapping, create: bool) -> Result<Vec<Seen>, Fault> {
    let product = setup::product(client).await?;
    let name = product.as_ref().map_or_else(|| "a server that does not tell its name".to_owned(), Product::to_string);
    let mut seen = vec![Seen::Fine(name)];
    seen.extend(rights(client, index, create).await?);
    match setup::gc_deletes(client, index).await? {
        Found::Missing if create => seen.push(Seen::Fine(format!("index `{index}` will be made by the first write"))),
        Found::Missing => {
            let body = mapping.index_body();
            seen.push(lacking(format!("index `{index}` is not there"), format!("set `create: true`, or PUT /{index} {body}")));
        }
        Found::Hidden => {}
        Found::There(gc_deletes) => {
            if gc_deletes < GC_DELETES_MIN {
                let missing = format!(
                    "index `{index}` forgets deletes after {} s: documents that waited half of it are read again before \
                     they are sent",
                    gc_deletes.as_secs()
                );
                let body = json!({ "index.gc_deletes": GC_DELETES });
                seen.push(lacking(missing, format!("PUT /{index}/_settings {body}")));
            }
            seen.extend(fields(client, index, mapping).await?);
        }
    }
    Ok(seen)
}

/// The mapping of every index behind the name.
async fn fields(client: &Client, index: &str, mapping: &Mapping) -> Result<Vec<Seen>, Fault> {
    let path = format!("{index}/_mapping");
    let reply = client.send(Ask::get(&path)).await?;
    if reply.status != 200 {
        return Err(setup::refusal(client, &reply));
    }
    let read: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let mut seen = Vec::new();
    for (name, held) in read.as_object().into_iter().flatten() {
        let mappings = &held["mappings"];
        let differences = mapping.differences(mappings);
        if differences.is_empty() {
            seen.push(Seen::Fine(format!("index `{name}` takes the line's documents")));
        }
        seen.extend(differences.into_iter().map(|difference| told(name, difference)));
        let dynamic = mappings.get("dynamic").map(|d| d.as_str().map_or_else(|| d.to_string(), str::to_owned));
        if !matches!(dynamic.as_deref(), Some("false" | "strict")) {
            let missing = format!("index `{name}` makes fields of whatever a document holds");
            seen.push(lacking(missing, format!(r#"PUT /{name}/_mapping {{"dynamic":false}}"#)));
        }
    }
    Ok(seen)
}

fn told(index: &str, difference: Difference) -> Seen {
    match difference {
        Difference::Missing { field, add } => {
            let missing = format!("index `{index}` has no field `{field}`: it is kept and cannot be searched");
            lacking(missing, format!("PUT /{index}/_mapping {}", json!({ "properties": add })))
        }
        Difference::Unfit { field, found, wanted } => {
            let missing = format!("field `{field}` of index `{index}` is {found}, and the document's values want {wanted}");
            let remedy = "a field cannot change: make a new index, point the line at it, and `widerow rebuild LINE`";
            lacking(missing, remedy)
        }
    }
}

/// What we may do there. OpenSearch and servers without security have nobody to ask.
async fn rights(client: &Client, index: &str, create: bool) -> Result<Vec<Seen>, Fault> {
    let mut wanted: Vec<&str> = INDEX_RIGHTS.to_vec();
    if create {
        wanted.push("create_index");
    }
    let cluster: &[&str] = if create { &["monitor", "manage_index_templates"] } else { &["monitor"] };
    let body = json!({ "cluster": cluster, "index": [{ "names": [index], "privileges": wanted }] });
    let reply = client.send(Ask::with(Method::Post, "_security/user/_has_privileges", body.to_string())).await?;
    if reply.status != 200 {
        return Ok(Vec::new());
    }
    let read: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let denied = |rights: Option<&Value>| -> Vec<String> {
        let rights = rights.and_then(Value::as_object).into_iter().flatten();
        rights.filter(|(_, has)| **has == Value::Bool(false)).map(|(right, _)| right.clone()).collect()
    };
    let on_index = denied(read.get("index").and_then(|all| all.get(index)));
    let on_cluster = denied(read.get("cluster"));
    let mut seen = Vec::new();
    if !on_index.is_empty() {
        let names = on_index.join(", ");
        seen.push(lacking(
            format!("no right on index `{index}`: {names}"),
            format!("give the user's role the index privileges {names} on `{index}`"),
        ));
    }
    if !on_cluster.is_empty() {
        let names = on_cluster.join(", ");
        seen.push(lacking(
            format!("no right on the cluster: {names}"),
            format!("give the user's role the cluster privileges {names}; without them the index is made without a template, and the size of requests is learnt from refusals"),
        ));
    }
    Ok(seen)
}
