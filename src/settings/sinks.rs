//! What sinks need of the rest of the configuration: keys that lead back to documents (K3, K7), lives that outlast the
//! purge horizon (K3) and the hashes of equal documents (K5).
//!
//! Knows nothing of clients.

use super::findings::{Code, Findings};
use super::read::At;
use super::settings::{LineSettings, Settings, SinkKind};
use super::systems::{HashForm, RedisSinkSettings};
use crate::domain::document::Document;
use std::collections::HashMap;
use std::time::Duration;

/// K5: a hash of the document last written counts for an hour; what it vouches for must live twice as long.
const LIFE_MIN: Duration = Duration::from_secs(7_200);

/// Checks every sink that the settings name. `root` is where they were read from.
pub fn check(root: At<'_>, settings: &Settings, findings: &mut Findings) {
    let mut writers: HashMap<String, &str> = HashMap::new();
    for line in &settings.lines {
        let SinkKind::Redis(redis) = &line.sink else { continue };
        let at = root.get("lines").get(line.line.name.as_str()).get("sink").get("redis");
        life(redis, at, settings.purge_horizon, findings);
        if let Some(document) = &line.line.document {
            key(redis, document, at, findings);
        }
        shared(redis, line, at, &mut writers, findings);
    }
}

/// An older write must find the version of what was deleted or expired.
fn life(redis: &RedisSinkSettings, at: At<'_>, horizon: Duration, findings: &mut Findings) {
    let Some(ttl) = redis.ttl else { return };
    let min = horizon.max(LIFE_MIN);
    if ttl < min {
        let message = format!("documents that live {} end before an older write is out of the way", at.get("ttl").text());
        let finding = findings.add(Code::OutOfRange, at.get("ttl").place(), message);
        finding.help(format!("at least {} s: the longer of `purge.horizon` and two hours; or `none`", min.as_secs()));
    }
}

fn key(redis: &RedisSinkSettings, document: &Document, at: At<'_>, findings: &mut Findings) {
    let place = at.get("key").place();
    let known = document.id.columns();
    let names = || known.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(stranger) = redis.key.columns().into_iter().find(|column| !known.contains(column)) {
        let message = format!("`{stranger}` does not stand in the document's id `{}`", document.id.source());
        let finding = findings.add(Code::IdNotKey, place, message);
        finding.nearest(stranger.as_str(), known.iter().map(|c| c.as_str()));
        finding.help(format!("a sink finds a hash by the document's id; its columns: {}", names()));
    } else if let Some(missing) = known.iter().find(|column| !redis.key.columns().contains(column)) {
        let message = format!("two documents can have one hash: `{missing}` does not stand in its key");
        findings.add(Code::SharedDocument, place, message).help(format!("use every column of the id: {}", names()));
    } else if !redis.key.is_readable() {
        let finding = findings.add(Code::BadTemplate, place, "no document can be read back from this key");
        finding.help("let every column stand whole, with a text between them");
    } else if !document.id.is_readable() {
        let message = format!("the document's id `{}` does not tell the columns of this key", document.id.source());
        findings.add(Code::BadTemplate, place, message).help("let every column stand whole in the id, with a text between them");
    }
    let version = document.fields.iter().any(|(name, _)| name.as_str() == "v");
    if redis.form == HashForm::Fields && version {
        let message = "the document has a field `v`, which is where a hash keeps the version";
        findings
            .add(Code::BadField, at.get("form").place(), message)
            .help("give the field another name, or use `form: document`");
    }
}

/// K7: two lines with one key would take each other's versions for their own.
fn shared<'a>(
    redis: &RedisSinkSettings,
    line: &'a LineSettings,
    at: At<'_>,
    writers: &mut HashMap<String, &'a str>,
    findings: &mut Findings,
) {
    let mut hosts = redis.redis.hosts.clone();
    hosts.sort_unstable();
    let hash = format!("{} {} {}", hosts.join(","), redis.redis.database, redis.key.source());
    let name = line.line.name.as_str();
    match writers.get(&hash) {
        Some(first) => {
            let message = format!("lines `{first}` and `{name}` write the same hashes");
            let finding = findings.add(Code::SharedDocument, at.get("key").place(), message);
            finding.help("documents of two lines would overwrite each other: give each line a key of its own");
        }
        None => {
            writers.insert(hash, name);
        }
    }
}
