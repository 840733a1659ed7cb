//! Wide rows in HBase: the row store of many nodes.
//!
//! A write is one plain put where it can be (V1 `weight`): idempotent, read by nobody before it, sent again unchanged when its
//! outcome is unknown. One atomic mutation of the row instead where a counter moves with the cells: `version: counter`, a raised
//! base (V3), and a fill, which may meet a fill of another value that nobody has read, so that every fill raises the base
//! (M8, V4); and where cells of two durabilities belong together. Checked writes and purges are conditions the server holds
//! (`checked`). A read is one Get over both families: one moment (V2).
//!
//! W1: data cells are written as `wal:` says, everything in family `m`, checked writes and purges always synced. What that
//! means for commits and losses is `durable`'s. Key columns stand in the row (M9) and never change, so they travel with a row's
//! first write of a process and once an hour after it (`known`).
//!
//! `layout` what the cells are · `tables` where they lie · `setup` tables made and looked at. Knows nothing of sockets, retries
//! and regions: those are the client's.

pub mod checked;
mod durable;
mod known;
pub mod layout;
pub mod setup;
mod tables;
mod writes;

use self::durable::Durable;
use self::known::KnownKeys;
use self::tables::{Place, Tables};
use super::client::Client;
use super::error::{Class, Error};
use super::types::{CheckAndMutate, Columns, Compare, Condition, Durability, Get, RowMutations, Scan};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Name, RowId, RowKey};
use crate::domain::row::{Part, Purged, WideRow};
use crate::domain::schema::Schema;
use crate::io::clients;
use crate::ports::Answer;
use crate::ports::rows::{Checked, CheckedWrite, Horizon, Page, RowStore, RowWrite, StoredRow, WriteOutcome};
use crate::settings::{HbaseSettings, Wal};
use bytes::Bytes;
use futures_util::future::join_all;
use layout::OWN_FAMILY;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// A page of a scan holds no more rows, whatever was asked for.
const PAGE_ROWS_MAX: usize = 10_000;
/// The value beside the rows that names the layout, and the layout of this version.
const FORMAT: &str = "format";
const FORMAT_VERSION: &str = "1";
/// Where a value beside the rows stands in its row.
const VALUE: &[u8] = b"v";

/// The door to rows. Cheap to clone.
#[derive(Clone)]
pub struct HbaseRowStore {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    tables: Tables,
    family: Bytes,
    /// W1: of data cells.
    wal: Durability,
    schema: Arc<Schema>,
    settings: HbaseSettings,
    known: KnownKeys,
    durable: Durable,
    /// Tables and format were looked at.
    ready: OnceCell<()>,
}

impl HbaseRowStore {
    /// The rows of these settings. Nothing is connected yet: the first call looks at the tables, and makes those that are
    /// missing where the settings allow it.
    ///
    /// # Errors
    /// `incompatible`: servers, table or family that HBase cannot have.
    pub fn open(settings: &HbaseSettings, schema: Arc<Schema>) -> Result<Self, Fault> {
        Self::on(setup::client(settings)?, settings, schema)
    }

    /// The same on a client that is there already.
    ///
    /// # Errors
    /// As [`HbaseRowStore::open`].
    pub fn on(client: Client, settings: &HbaseSettings, schema: Arc<Schema>) -> Result<Self, Fault> {
        let wrong = |what: &dyn fmt::Display| Fault::new(FaultKind::Incompatible, "store.hbase", what);
        if settings.family == OWN_FAMILY {
            return Err(wrong(&format!(
                "family `{OWN_FAMILY}` is kept for what widerow needs itself; name another for the data"
            )));
        }
        let tables = Tables::new(&settings.table, &schema).map_err(|e| wrong(&e))?;
        let wal = match settings.wal {
            Wal::Sync => Durability::Sync,
            Wal::Async => Durability::Async,
            Wal::Skip => Durability::Skip,
        };
        let inner = Inner {
            tables,
            family: settings.family.clone().into(),
            wal,
            schema,
            known: KnownKeys::default(),
            durable: Durable::new(settings.wal != Wal::Sync, client.servers()),
            client,
            settings: settings.clone(),
            ready: OnceCell::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What is there of the cluster and the tables, and what is missing; makes nothing.
    pub fn look(&self) -> Answer<'static, Result<Vec<setup::Seen>, Fault>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(clients::run(async move { Ok(setup::look(&inner.client, &inner.tables, &inner.schema, &inner.settings).await) }))
    }

    /// Runs a call on the clients' own threads: a caller's thread may end while sockets live on.
    fn call<T, W>(&self, work: impl FnOnce(Arc<Inner>) -> W) -> Answer<'static, Result<T, Fault>>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let working = work(Arc::clone(&inner));
        Box::pin(clients::run(async move {
            inner.ready().await?;
            working.await
        }))
    }
}

impl Inner {
    async fn ready(&self) -> Result<(), Fault> {
        let making = || async {
            setup::ensure(&self.client, &self.tables, &self.schema, &self.settings).await?;
            self.check_format().await?;
            self.durable.begin(&self.client).await
        };
        self.ready.get_or_try_init(making).await.map(|_| ())
    }

    async fn check_format(&self) -> Result<(), Fault> {
        let held = match self.meta(FORMAT).await? {
            None if self.set_meta(FORMAT, None, FORMAT_VERSION).await? => return Ok(()),
            None => self.meta(FORMAT).await?,
            held => held,
        };
        if held.as_deref() == Some(FORMAT_VERSION) {
            return Ok(());
        }
        let what = format!(
            "its rows were written in format {}, this version knows {FORMAT_VERSION}; use the version that wrote them, or other tables",
            held.as_deref().unwrap_or("none")
        );
        Err(Fault::new(FaultKind::Incompatible, self.place_of(&self.tables.beside()), what))
    }

    fn place_of(&self, thing: &dyn fmt::Display) -> String {
        format!("HBase, table {thing}")
    }

    fn place(&self, row: &RowId) -> Result<Place, Fault> {
        self.tables.place(row).map_err(|e| Fault::new(FaultKind::Rejected, format!("row {row}"), e))
    }

    /// Both families and no others, so that what strangers add costs nothing.
    fn columns(&self) -> Vec<Columns> {
        vec![Columns::family(self.family.clone()), Columns::family(OWN_FAMILY)]
    }

    fn get_of(&self, row: Bytes) -> Get {
        Get { columns: self.columns(), ..Get::new(row) }
    }

    fn decode(&self, row: &dyn fmt::Display, cells: &[super::cell::Cell]) -> Result<Option<WideRow>, Fault> {
        layout::row_of(cells, &self.family).map_err(|e| Fault::new(FaultKind::Corrupt, format!("row {row} in HBase"), e))
    }

    async fn read_one(&self, row: &RowId, place: &Place) -> Result<Option<WideRow>, Fault> {
        let cells = self.client.get(&place.table, self.get_of(place.row.clone())).await.map_err(|e| fault(&e))?;
        self.decode(row, &cells)
    }

    async fn read(&self, rows: Vec<RowId>) -> Result<Vec<Option<WideRow>>, Fault> {
        let mut calls: BTreeMap<_, (Vec<usize>, Vec<Get>)> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            let Place { table, row } = self.place(row)?;
            let (indexes, gets) = calls.entry(table).or_default();
            indexes.push(index);
            gets.push(self.get_of(row));
        }
        let reads = calls.iter_mut().map(|(table, (_, gets))| self.client.newest_many(table, std::mem::take(gets)));
        let read = join_all(reads).await;
        let mut out = vec![None; rows.len()];
        for ((indexes, _), answers) in calls.into_values().zip(read) {
            for (index, cells) in indexes.into_iter().zip(answers) {
                out[index] = self.decode(&rows[index], &cells.map_err(|e| fault(&e))?)?;
            }
        }
        Ok(out)
    }

    /// One condition over the table row's cells, held by the server.
    async fn write_checked(&self, write: CheckedWrite) -> Result<Checked, Fault> {
        let CheckedWrite { write: RowWrite { row, change }, part, highest } = write;
        let place = self.place(&row)?;
        let held = self.read_one(&row, &place).await?;
        if held.as_ref().and_then(|row| row.part(&part)).and_then(Part::highest) != highest {
            return Ok(Checked::Refused);
        }
        let rejected = |e: layout::LayoutError| Fault::new(FaultKind::Rejected, format!("row {row}"), e);
        let mutations = self.synced(place.row.clone(), &change).map_err(rejected)?;
        if mutations.is_empty() {
            return Ok(Checked::Applied);
        }
        if held.is_none() {
            // A condition over cells never holds of a row without any.
            let mut first = RowMutations::new(place.row.clone()).map_err(|e| rejected(e.into()))?;
            first.increment(Durability::Sync, OWN_FAMILY.as_bytes(), layout::BASE, 1).map_err(|e| rejected(e.into()))?;
            let done = self.client.mutate_many(&place.table, vec![first]).await;
            done.into_iter().try_for_each(|done| done.map(|_| ()).map_err(|e| fault(&e)))?;
        }
        let condition = checked::unchanged(&self.family, &part, held.as_ref().and_then(|row| row.part(&part)));
        let check = CheckAndMutate { condition, mutations };
        let done = self.client.check_and_mutate(&place.table, check).await.map_err(|e| fault(&e))?;
        Ok(if done { Checked::Applied } else { Checked::Refused })
    }

    async fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Result<Page, Fault> {
        let stretch = self.tables.stretch(kind, from.as_ref(), to.as_ref());
        let stretch = stretch.map_err(|e| Fault::new(FaultKind::Rejected, format!("scan of row kind {kind}"), e))?;
        let mut page = Page::default();
        let Some(stretch) = stretch else { return Ok(page) };
        let max = max.clamp(1, PAGE_ROWS_MAX);
        // One row more tells whether there is another page.
        let scan = Scan { stop: stretch.stop, columns: self.columns(), ..Scan::from(stretch.start, max + 1) };
        let found = match self.client.scan(&stretch.table, &scan).await {
            // A kind that is in no configuration has no table.
            Err(error) if error.class == Class::NoTable && self.schema.kind(kind).is_none() => return Ok(page),
            found => found.map_err(|e| fault(&e))?,
        };
        let foreign = |e| Fault::new(FaultKind::Corrupt, self.place_of(&stretch.table), e);
        page.next = found.next.map(|next| self.tables.key_of(kind, &next)).transpose().map_err(foreign)?;
        for (index, cells) in found.rows.iter().enumerate() {
            let Some(first) = cells.first() else { continue };
            let key = self.tables.key_of(kind, &first.row).map_err(foreign)?;
            if index == max {
                page.next = Some(key);
                break;
            }
            let row = RowId { kind, key };
            if let Some(content) = self.decode(&row, cells)? {
                page.rows.push(StoredRow { row, content });
            }
        }
        Ok(page)
    }

    /// M5: one atomic step for each deleted table row.
    async fn purge(&self, row: RowId, horizon: Horizon) -> Result<Purged, Fault> {
        let Some(kind) = self.schema.kind(row.kind) else {
            let what = "its kind is not in the configuration; allowed: kinds under `rows:`";
            return Err(Fault::new(FaultKind::Invalid, format!("purge of row {row}"), what));
        };
        let place = self.place(&row)?;
        let mut total = Purged::default();
        let Some(held) = self.read_one(&row, &place).await? else { return Ok(total) };
        for part in &held.parts {
            let Some(tombstone) = part.tombstone.filter(|t| t.written < horizon.written_before && !t.revoked) else { continue };
            let step = checked::purge(&self.family, &place.row, &held, part, tombstone, kind.version);
            let (check, purged) = step.map_err(|e| Fault::new(FaultKind::Rejected, format!("purge of row {row}"), e))?;
            // Where it does not hold, the table row was deleted again or the delete revoked: its time begins anew.
            if self.client.check_and_mutate(&place.table, check).await.map_err(|e| fault(&e))? {
                total.cells += purged.cells;
                total.tombstones += purged.tombstones;
                total.marks += purged.marks;
            }
        }
        Ok(total)
    }

    async fn meta(&self, key: &str) -> Result<Option<String>, Fault> {
        let place = self.place_beside(key)?;
        let columns = vec![Columns { family: OWN_FAMILY.into(), qualifiers: vec![Bytes::from_static(VALUE)] }];
        let get = Get { columns, ..Get::new(place.row) };
        let cells = self.client.get(&place.table, get).await.map_err(|e| fault(&e))?;
        let Some(cell) = cells.first() else { return Ok(None) };
        let corrupt = |e| Fault::new(FaultKind::Corrupt, format!("value `{key}` in HBase"), e);
        layout::beside_text(&cell.value).map(|text| Some(text.to_owned())).map_err(corrupt)
    }

    async fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Result<bool, Fault> {
        let place = self.place_beside(key)?;
        let (family, qualifier) = (Bytes::from_static(OWN_FAMILY.as_bytes()), Bytes::from_static(VALUE));
        let condition = match expected {
            None => Condition::Absent { family, qualifier, time_range: None },
            Some(held) => Condition::Value {
                family,
                qualifier,
                compare: Compare::Equal,
                value: layout::beside_value(held).into(),
                time_range: None,
            },
        };
        let rejected = |e| Fault::new(FaultKind::Rejected, format!("value `{key}`"), e);
        let mut mutations = RowMutations::new(place.row).map_err(rejected)?;
        let value = layout::beside_value(value);
        let put = mutations.put(Durability::Sync, OWN_FAMILY.as_bytes(), VALUE, layout::FIXED_TIMESTAMP, &value);
        put.map_err(rejected)?;
        let check = CheckAndMutate { condition, mutations };
        self.client.check_and_mutate(&place.table, check).await.map_err(|e| fault(&e))
    }

    fn place_beside(&self, key: &str) -> Result<Place, Fault> {
        self.tables.place_beside(key).map_err(|e| Fault::new(FaultKind::Rejected, format!("value `{key}`"), e))
    }
}

/// What an error of the client means to callers of the door.
fn fault(error: &Error) -> Fault {
    let kind = match error.class {
        Class::TooBusy | Class::LockTimeout | Class::Overloaded | Class::ReplyFull | Class::Throttled => FaultKind::Throttled,
        Class::Timeout => FaultKind::Timeout,
        Class::RequestTooBig | Class::Refused | Class::Invalid => FaultKind::Rejected,
        Class::Forbidden => FaultKind::Forbidden,
        Class::NoTable | Class::NoFamily | Class::Exists | Class::Handshake => FaultKind::Incompatible,
        // A disabled table is enabled again by whoever disabled it.
        Class::TableDisabled
        | Class::NotServing
        | Class::Moved
        | Class::Opening
        | Class::Stopping
        | Class::Starting
        | Class::MasterGone
        | Class::ScannerLost
        | Class::Unreachable
        | Class::Lost
        | Class::Garbled
        | Class::NoRegion
        | Class::Unknown => FaultKind::Unreachable,
    };
    Fault::new(kind, format!("HBase, {}", error.place), &error.text)
}

impl RowStore for HbaseRowStore {
    fn write(&self, batch: Vec<RowWrite>) -> Answer<'_, Vec<WriteOutcome>> {
        let count = batch.len();
        let written = self.call(|inner| async move { Ok(inner.write(batch).await) });
        Box::pin(async move { written.await.unwrap_or_else(|fault| vec![Err(fault); count]) })
    }

    fn read(&self, rows: Vec<RowId>) -> Answer<'_, Result<Vec<Option<WideRow>>, Fault>> {
        self.call(|inner| async move { inner.read(rows).await })
    }

    fn write_checked(&self, write: CheckedWrite) -> Answer<'_, Result<Checked, Fault>> {
        self.call(|inner| async move { inner.write_checked(write).await })
    }

    fn scan(&self, kind: Name, from: Option<RowKey>, to: Option<RowKey>, max: usize) -> Answer<'_, Result<Page, Fault>> {
        self.call(move |inner| async move { inner.scan(kind, from, to, max).await })
    }

    fn purge(&self, row: RowId, horizon: Horizon) -> Answer<'_, Result<Purged, Fault>> {
        self.call(move |inner| async move { inner.purge(row, horizon).await })
    }

    fn meta(&self, key: &str) -> Answer<'_, Result<Option<String>, Fault>> {
        let key = key.to_owned();
        self.call(|inner| async move { inner.meta(&key).await })
    }

    fn set_meta(&self, key: &str, expected: Option<&str>, value: &str) -> Answer<'_, Result<bool, Fault>> {
        let (key, expected, value) = (key.to_owned(), expected.map(str::to_owned), value.to_owned());
        self.call(|inner| async move { inner.set_meta(&key, expected.as_deref(), &value).await })
    }

    fn make_durable(&self) -> Answer<'_, Result<(), Fault>> {
        self.call(|inner| async move { inner.durable.flush(&inner.client).await })
    }

    fn losses(&self) -> u64 {
        self.inner.durable.losses()
    }

    fn commit_pause(&self) -> Duration {
        if self.inner.settings.wal == Wal::Sync { Duration::ZERO } else { self.inner.settings.flush_every }
    }

    fn approximate_rows(&self, _: Name) -> Option<u64> {
        None
    }
}
