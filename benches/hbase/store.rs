//! The same work through the row store: rows of both kinds of version, as writers and deliverers ask for them.
//!
//! Rows are new in each round, as those of the others are, and come without key columns: those stand in a row from its first
//! write on, and are not sent with the next ones.

use super::{qualifier, row, value};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use widerow::domain::ids::{Name, RowId, RowKey, Stamp};
use widerow::domain::row::{Cell, PartId, WideRow};
use widerow::domain::schema::{RowKind, Schema, VersionKind};
use widerow::domain::template::Template;
use widerow::io::hbase::store::HbaseRowStore;
use widerow::ports::rows::{RowStore, RowWrite, version_of};
use widerow::settings::{HbaseSettings, Wal};

/// Where its rows lie, by kind of version.
pub const TABLES: [&str; 2] = ["bench_weight", "bench_counter"];
/// Rows read at once when a round is looked over.
const PAGE: usize = 5000;

pub struct Store {
    rows: HbaseRowStore,
}

impl Store {
    /// Its tables are there before the first call.
    pub fn open(servers: &[String]) -> Self {
        let kind = |name: &str, version| RowKind {
            name: Name::of(name),
            key: Template::parse("{id}").expect("a key template"),
            key_columns: vec![Name::of("id")],
            root: None,
            version,
            tables: vec![],
        };
        let kinds = vec![kind("weight", VersionKind::Weight), kind("counter", VersionKind::Counter)];
        let settings = HbaseSettings {
            servers: servers.to_vec(),
            table: "bench_{row}".to_owned(),
            family: "cf".to_owned(),
            wal: Wal::Sync,
            create: true,
            regions: 1,
            user: "bench".to_owned(),
            connections: 2,
            in_flight: 16,
            timeout: Duration::from_secs(30),
            flush_every: Duration::from_secs(3600),
            tls: None,
        };
        let rows = HbaseRowStore::open(&settings, Arc::new(Schema::new(vec![], kinds, vec![])));
        Self { rows: rows.unwrap_or_else(|e| panic!("{e}")) }
    }

    /// Writes rows of this round, or reads those it put, as one batch.
    pub async fn batch(&self, verb: &str, round: usize, rows: Range<usize>, cells: usize) {
        if verb == "get" {
            let ids = rows.map(|n| id("put", round, cells, n)).collect();
            let found = self.rows.read(ids).await.unwrap_or_else(|e| panic!("{e}"));
            for found in found {
                let held = found.as_ref().and_then(|row| row.parts.first()).map_or(0, |part| part.cells.len());
                assert_eq!(held, cells, "cells of a row");
            }
            return;
        }
        let batch = rows.map(|n| RowWrite { row: id(verb, round, cells, n), change: change(verb, n, cells).into() }).collect();
        self.rows.write(batch).await.into_iter().for_each(|outcome| outcome.unwrap_or_else(|e| panic!("{e}")));
    }

    /// Every row is as the round left it, at the version that follows from it.
    pub async fn check(&self, verb: &str, round: usize, rows: usize, cells: usize) {
        if verb == "get" {
            return;
        }
        let version = if verb == "mutate" { VersionKind::Counter } else { VersionKind::Weight };
        for from in (0..rows).step_by(PAGE) {
            let page = from..(from + PAGE).min(rows);
            let held =
                self.rows.read(page.clone().map(|n| id(verb, round, cells, n)).collect()).await.unwrap_or_else(|e| panic!("{e}"));
            for (n, held) in page.zip(held) {
                let wanted = change(verb, n, cells);
                assert_eq!(version_of(held.as_ref(), version), wanted.version(version), "row {n}");
                assert_eq!(held.unwrap_or_default().parts, wanted.parts, "row {n}");
            }
        }
    }
}

fn id(verb: &str, round: usize, cells: usize, n: usize) -> RowId {
    let kind = if verb == "mutate" { "counter" } else { "weight" };
    RowId { kind: Name::of(kind), key: RowKey::new(&row(&format!("{verb}{cells}s{round}-"), n)) }
}

fn change(verb: &str, n: usize, cells: usize) -> WideRow {
    let mut out = WideRow { counter: i64::from(verb == "mutate"), ..WideRow::default() };
    let part = out.part_mut(&PartId { table: Name::of("orders"), child: "".into() });
    for cell in 0..cells {
        let (name, value) = (qualifier(cell), value(n, cell));
        let [name, value] = [&name["orders:".len()..], &value[..]].map(|bytes| std::str::from_utf8(bytes).expect("text"));
        part.cells.push(Cell { name: Name::of(name), stamp: Stamp(1 + n as i64), value: Some(value) });
    }
    out
}
