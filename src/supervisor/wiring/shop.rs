//! The made-up shop in the hands of verbs: its records as a file, and its truth against what sinks hold.
//!
//! `cli` may not name `io`; what it needs of the generator stands here.

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Name;
use crate::io::generator::{GeneratorSource, Json, Shop, expected_json};
use crate::io::jsonl::line;
use crate::ports::Doors;
use crate::ports::sink::Sink;
use crate::settings::{GeneratorSettings, Settings, SourceKind};
use crate::supervisor::engine::{Parts, SourcePart};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Records made at once.
const BATCH: usize = 1_000;
/// Documents asked of a sink at once.
const PAGE: usize = 500;
/// Differences told one by one.
const TOLD_MAX: usize = 10;

/// What a recording holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    pub records: u64,
    /// Row changes; a record delivered twice is two records of one.
    pub events: u64,
    /// Documents that a run must end with.
    pub documents: u64,
}

/// Lets the shop trade to its end, its records into one file and the documents they must end as into another. `told` hears
/// the number of records now and then.
///
/// # Errors
/// A file that cannot be written.
pub fn record(
    settings: &GeneratorSettings,
    records: &Path,
    expected: &Path,
    mut told: impl FnMut(u64),
) -> Result<Recorded, Fault> {
    let mut shop = Shop::new(settings);
    let wrong = |path: &Path| {
        let place = path.display().to_string();
        move |e: std::io::Error| Fault::new(FaultKind::Full, place.clone(), format!("cannot be written: {e}"))
    };
    let mut out = BufWriter::new(File::create(records).map_err(wrong(records))?);
    let mut done = Recorded::default();
    loop {
        let batch = shop.next_records(BATCH);
        if batch.is_empty() {
            break;
        }
        let mut text = Vec::new();
        for record in &batch {
            line::print(record, &mut text);
            if text.last() != Some(&b'\n') {
                text.push(b'\n');
            }
        }
        out.write_all(&text).map_err(wrong(records))?;
        done.records += batch.len() as u64;
        told(done.records);
    }
    out.flush().map_err(wrong(records))?;
    let documents = shop.expected();
    done.events = shop.events();
    done.documents = documents.values().map(|ids| ids.len() as u64).sum();
    std::fs::write(expected, expected_json(&documents)).map_err(wrong(expected))?;
    Ok(done)
}

/// What the documents of a running shop must be.
#[derive(Clone)]
pub struct Truth {
    shop: Arc<Mutex<Shop>>,
}

/// What a look at every document found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    pub checked: u64,
    pub right: u64,
    /// The first that differ, in words.
    pub differences: Vec<String>,
}

impl Judged {
    fn wrong(&mut self, line: &str, id: &str, what: impl FnOnce() -> String) {
        if self.differences.len() < TOLD_MAX {
            self.differences.push(format!("{line} {id}: {}", what()));
        }
    }
}

/// The parts of a node that reads one generated shop, and the shop's truth.
///
/// # Errors
/// The settings have no generator source.
pub fn parts(settings: &Settings, doors: Doors) -> Result<(Parts, Truth), Fault> {
    let mut truth = None;
    let mut sources = Vec::new();
    for source in &settings.sources {
        if let SourceKind::Generator(generator) = &source.kind {
            let shop = GeneratorSource::new(source.name.clone(), generator);
            truth = Some(Truth { shop: shop.shop() });
            sources.push(SourcePart { settings: source.clone(), source: Box::new(shop) });
        }
    }
    let none = || Fault::new(FaultKind::Invalid, "sources", "no generator is configured, so there is no shop to judge by");
    Ok((Parts { doors, sources }, truth.ok_or_else(none)?))
}

impl Truth {
    fn shop(&self) -> MutexGuard<'_, Shop> {
        self.shop.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Ends trading: what was held back is delivered, nothing new happens.
    pub fn close(&self) {
        self.shop().close();
    }

    /// Nothing new will happen.
    pub fn is_over(&self) -> bool {
        self.shop().is_over()
    }

    /// Row changes so far.
    pub fn events(&self) -> u64 {
        self.shop().events()
    }

    /// Holds every document of the lines whose truth the shop knows against it, both ways, numbers digit by digit.
    ///
    /// # Errors
    /// A sink that cannot be asked.
    pub async fn judge(&self, doors: &Doors) -> Result<Judged, Fault> {
        let expected = self.shop().expected();
        let mut judged = Judged::default();
        for (line, mut wanted) in expected {
            let Some(sink) = doors.sinks.get(&Name::of(&line)) else { continue };
            judge_line(&line, &mut wanted, &**sink, &mut judged).await?;
            for id in wanted.keys() {
                judged.checked += 1;
                judged.wrong(&line, id, || "the sink holds no document".to_owned());
            }
        }
        Ok(judged)
    }
}

/// Takes what the sink holds from `wanted`; what stays there is missing.
async fn judge_line(line: &str, wanted: &mut BTreeMap<String, Json>, sink: &dyn Sink, judged: &mut Judged) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let page = sink.list(after, PAGE).await?;
        after = page.last().map(|held| held.id.clone());
        for held in &page {
            judged.checked += 1;
            let body = held.document.as_deref().unwrap_or_default();
            match (wanted.remove(&held.id), Json::parse(body)) {
                (Some(want), Ok(have)) if want == have => judged.right += 1,
                (Some(want), Ok(have)) => judged.wrong(line, &held.id, || difference(&want, &have)),
                (Some(_), Err(error)) => judged.wrong(line, &held.id, || format!("the document is no JSON: {error}")),
                (None, _) => judged.wrong(line, &held.id, || "the shop has no such document any more".to_owned()),
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// The first field that differs, both ways round.
fn difference(want: &Json, have: &Json) -> String {
    let text = |json: Option<&Json>| json.map_or_else(|| "nothing".to_owned(), |j| serde_json::to_string(j).unwrap_or_default());
    if let (Json::Object(want), Json::Object(have)) = (want, have) {
        let field = want.keys().chain(have.keys()).find(|field| want.get(*field) != have.get(*field));
        if let Some(field) = field {
            return format!("field {field} is {}, should be {}", text(have.get(field)), text(want.get(field)));
        }
    }
    format!("it is {}, should be {}", text(Some(have)), text(Some(want)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{RowKey, RowVersion};
    use crate::io::memory::MemoryDocuments;
    use crate::ports::sink::{Body, SinkWrite};

    fn write(id: &str, json: &str) -> SinkWrite {
        let body = Body::Index(bytes::Bytes::copy_from_slice(json.as_bytes()));
        SinkWrite { id: id.to_owned(), version: RowVersion(1), body, row: RowKey::new(id), types: Vec::new() }
    }

    /// Goal: every kind of difference is found, and nothing that is right. Method: one document of each sort, `1.0` against
    /// `1.00` among them.
    #[test]
    fn differences_are_found() {
        let sink = MemoryDocuments::new();
        let held = [("a", r#"{"x":1.00}"#), ("b", r#"{"x":1.0}"#), ("c", r#"{"x":1,"y":2}"#), ("gone", "{}")];
        let mut wanted: BTreeMap<String, Json> =
            [("a", r#"{"x":1.00}"#), ("b", r#"{"x":1.00}"#), ("c", r#"{"x":1}"#), ("d", "{}")]
                .map(|(id, json)| (id.to_owned(), Json::parse(json.as_bytes()).unwrap()))
                .into();
        let mut judged = Judged::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            sink.write(held.iter().map(|(id, json)| write(id, json)).collect()).await;
            judge_line("l", &mut wanted, &sink, &mut judged).await.unwrap();
        });
        assert_eq!((judged.checked, judged.right), (4, 1));
        let want = [
            "l b: field x is 1.0, should be 1.00",
            "l c: field y is 2, should be nothing",
            "l gone: the shop has no such document any more",
        ];
        assert_eq!(judged.differences, want);
        assert_eq!(wanted.into_keys().collect::<Vec<_>>(), ["d"]);
    }
}
