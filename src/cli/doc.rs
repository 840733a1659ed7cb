//! `doc get` and `doc list`: documents as their sink holds them, digit by digit.

use super::args::{Doc, Global};
use super::ask;
use super::exit::Exit;
use super::out;
use super::table::{Table, shown};
use crate::admin::answers::{DocumentAnswer, DocumentsAnswer, MAX, Problem};
use crate::admin::client::path;
use serde_json::value::RawValue;

/// Runs the verb.
pub fn run(args: &Doc, global: &Global) -> Exit {
    match args {
        Doc::Get { line, id, files } => {
            let online = |node: &crate::admin::client::Client| node.get(&path(&["documents", line, id], &[]));
            let asked = ask::ask(global, files, online, async |office| office.document(line, id).await);
            asked.map_or_else(|exit| exit, |document: DocumentAnswer| out::answer(global, &document, text))
        }
        Doc::List { line, page, files } => {
            let asked = ask::ask(
                global,
                files,
                |node| {
                    let mut pages = Pages::new(line, page.after.clone(), page.max);
                    while let Some((after, max)) = pages.next() {
                        let max = max.to_string();
                        let mut query = vec![("max", max.as_str())];
                        query.extend(after.as_deref().map(|after| ("after", after)));
                        pages.add(node.get(&path(&["documents", line], &query))?);
                    }
                    Ok(pages.all)
                },
                async |office| {
                    let mut pages = Pages::new(line, page.after.clone(), page.max);
                    while let Some((after, max)) = pages.next() {
                        pages.add(office.documents(line, after.as_deref(), max).await?);
                    }
                    Ok::<_, Problem>(pages.all)
                },
            );
            asked.map_or_else(|exit| exit, |documents: DocumentsAnswer| out::answer(global, &documents, list_text))
        }
    }
}

/// A list longer than one answer may be.
struct Pages {
    all: DocumentsAnswer,
    left: usize,
    begun: bool,
}

impl Pages {
    fn new(line: &str, after: Option<String>, max: usize) -> Self {
        Self {
            all: DocumentsAnswer { line: line.to_owned(), documents: Vec::new(), next: after },
            left: max.max(1),
            begun: false,
        }
    }

    /// What to ask next: after which id, how many.
    fn next(&self) -> Option<(Option<String>, usize)> {
        let goes_on = self.left > 0 && (!self.begun || self.all.next.is_some());
        goes_on.then(|| (self.all.next.clone(), self.left.min(MAX)))
    }

    fn add(&mut self, page: DocumentsAnswer) {
        self.begun = true;
        self.left = self.left.saturating_sub(page.documents.len());
        self.all.documents.extend(page.documents);
        self.all.next = page.next;
    }
}

fn text(document: &DocumentAnswer) -> String {
    let state = if document.deleted { ", deleted" } else { "" };
    let mut text = format!("{} {}, version {}{state}\n", document.line, shown(&document.id), document.version);
    if let Some(held) = &document.document {
        let mut table = Table::new(&["field", "value"]);
        for (name, value) in fields(held) {
            table.row([name, value]);
        }
        text.push('\n');
        text.push_str(&table.or("no fields"));
    }
    text
}

/// The document's own members as they are written, in their order.
fn fields(document: &RawValue) -> Vec<(String, String)> {
    struct Members(Vec<(String, String)>);
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                self.0.push((name, value.get().to_owned()));
            }
            Ok(self.0)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(document.get());
    // What a sink holds that is no object is shown whole.
    serde::Deserializer::deserialize_map(&mut reader, Members(Vec::new()))
        .unwrap_or_else(|_| vec![(String::new(), document.get().to_owned())])
}

fn list_text(all: &DocumentsAnswer) -> String {
    let mut table = Table::new(&["id", ">version", "document"]);
    for document in &all.documents {
        let held = document.document.as_ref().map_or("", |held| held.get());
        table.row([document.id.clone(), document.version.clone(), held.to_owned()]);
    }
    let mut text = table.or("no documents");
    if let Some(next) = &all.next {
        text.push_str(&format!("\nthere are more: --after {}\n", shown(next)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: digits and order stay as they are held. Method: a document whose numbers a float would change.
    #[test]
    fn fields_are_shown_as_they_are() {
        let raw = RawValue::from_string(r#"{"z":8.80,"a":9007199254740993,"l":[{"q":1.0}],"t":"x\ny"}"#.to_owned()).unwrap();
        let want = [("z", "8.80"), ("a", "9007199254740993"), ("l", r#"[{"q":1.0}]"#), ("t", r#""x\ny""#)];
        assert_eq!(fields(&raw), want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
