//! Plain writes: many rows in few calls.
//!
//! Keeps W1 (durabilities), V1 and V3 (when a counter moves with the cells), M8's raise of the base. Writes of one row in one
//! batch become one. Outcomes in the order of the batch; a row that fails keeps no other back.

use super::known::Acquaintance;
use super::layout::{self, LayoutError, OWN_FAMILY};
use super::tables::Place;
use super::{Inner, fault};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RowId;
use crate::domain::quick::QuickMap;
use crate::domain::row::WideRow;
use crate::io::hbase::cell::CellError;
use crate::io::hbase::types::{Durability, Put, RowMutations, TableName};
use crate::ports::rows::{RowWrite, WriteOutcome};
use crate::telemetry::RowKeyClash;
use bytes::Bytes;
use futures_util::future::join_all;
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// One row of a batch.
struct Staged {
    row: RowId,
    change: Arc<WideRow>,
    /// The writes of the batch that went into it.
    writes: SmallVec<[usize; 1]>,
}

/// What a change is sent as.
#[derive(Debug)]
enum Outgoing {
    Put(Put),
    Mutations(RowMutations),
}

/// The calls of one table, with which staged rows they carry.
#[derive(Default)]
struct Calls {
    puts: (Vec<usize>, Vec<Put>),
    mutations: (Vec<usize>, Vec<RowMutations>),
}

impl Inner {
    pub(super) async fn write(&self, batch: Vec<RowWrite>) -> Vec<WriteOutcome> {
        let mut outcomes: Vec<WriteOutcome> = vec![Ok(()); batch.len()];
        let staged = stage(batch);
        let mut calls: BTreeMap<TableName, Calls> = BTreeMap::new();
        let mut refuse = |row: &Staged, fault: &Fault| row.writes.iter().for_each(|write| outcomes[*write] = Err(fault.clone()));
        for (index, row) in staged.iter().enumerate() {
            let made = self.place(&row.row).and_then(|place| {
                let made = self.outgoing(row, place.row.clone());
                made.map(|made| (place, made)).map_err(|e| Fault::new(FaultKind::Rejected, format!("row {}", row.row), e))
            });
            match made {
                Ok((Place { table, .. }, Outgoing::Put(put))) => {
                    let (rows, puts) = &mut calls.entry(table).or_default().puts;
                    rows.push(index);
                    puts.push(put);
                }
                Ok((Place { table, .. }, Outgoing::Mutations(mutation))) => {
                    let (rows, mutations) = &mut calls.entry(table).or_default().mutations;
                    rows.push(index);
                    mutations.push(mutation);
                }
                Err(fault) => refuse(row, &fault),
            }
        }
        // Before anything is sent: a loss between a server's word and ours must find these writes noted (W3).
        let open = self.durable.open(calls.keys());
        for (index, outcome) in
            join_all(calls.into_iter().map(|(table, calls)| self.send(table, calls))).await.into_iter().flatten()
        {
            let row = &staged[index];
            match outcome {
                Ok(()) => self.known.note(&row.row, &row.change.keys),
                Err(error) => refuse(row, &fault(&error)),
            }
        }
        drop(open);
        outcomes
    }

    async fn send(&self, table: TableName, calls: Calls) -> Vec<(usize, Result<(), crate::io::hbase::error::Error>)> {
        let Calls { puts: (put_rows, puts), mutations: (mutated_rows, mutations) } = calls;
        let putting = self.client.put_many(&table, puts);
        let mutating = self.client.mutate_many(&table, mutations);
        let (put, mutated) = futures_util::join!(putting, mutating);
        let mutated = mutated_rows.into_iter().zip(mutated.into_iter().map(|outcome| outcome.map(|_| ())));
        put_rows.into_iter().zip(put).chain(mutated).collect()
    }

    /// A plain put unless something has to go with the cells in one step.
    fn outgoing(&self, staged: &Staged, row: Bytes) -> Result<Outgoing, LayoutError> {
        let change = &*staged.change;
        let with_keys = !change.keys.is_empty() && self.meets(&staged.row, change) != Acquaintance::Known;
        let own = with_keys || !change.marks.is_empty();
        let base = change.base + i64::from(has_fill(change));
        let counts = base != 0 || change.counter != 0;
        if counts || (own && !change.parts.is_empty() && self.wal != Durability::Sync) {
            return self.mutations(row, change, with_keys, base, self.wal).map(Outgoing::Mutations);
        }
        let durability = if own { Durability::Sync } else { self.wal };
        let bytes = layout::bytes_of(change, &row, &self.family);
        let mut put = Put::with_capacity(row, durability, bytes)?;
        layout::data_cells(change, |q, t, v| put.cell(&self.family, q, t, v))?;
        layout::own_cells(change, with_keys, |q, t, v| put.cell(OWN_FAMILY.as_bytes(), q, t, v))?;
        Ok(Outgoing::Put(put))
    }

    /// The same as one step of always synced mutations, key columns and all.
    pub(super) fn synced(&self, row: Bytes, change: &WideRow) -> Result<RowMutations, LayoutError> {
        self.mutations(row, change, true, change.base + i64::from(has_fill(change)), Durability::Sync)
    }

    fn mutations(
        &self,
        row: Bytes,
        change: &WideRow,
        with_keys: bool,
        base: i64,
        wal: Durability,
    ) -> Result<RowMutations, LayoutError> {
        let mut out = RowMutations::new(row)?;
        let own = OWN_FAMILY.as_bytes();
        layout::data_cells(change, |q, t, v| out.put(wal, &self.family, q, t, v))?;
        layout::own_cells(change, with_keys, |q, t, v| out.put(Durability::Sync, own, q, t, v))?;
        let mut add = |counter, by: i64| -> Result<(), CellError> {
            if by == 0 { Ok(()) } else { out.increment(Durability::Sync, own, counter, by) }
        };
        add(layout::BASE, base)?;
        add(layout::COUNTER, change.counter)?;
        Ok(out)
    }

    /// M9: tells of two entities under one row key, as far as this process has seen them.
    fn meets(&self, row: &RowId, change: &WideRow) -> Acquaintance {
        let met = self.known.meets(row, &change.keys);
        if met == Acquaintance::Other {
            let detail = format!("the row was written with other key columns before, this change says {:?}", change.keys);
            RowKeyClash { kind: row.kind, row: &row.key, detail: &detail }.emit();
        }
        met
    }
}

/// M8: a cell that may meet another fill of the same stamp.
fn has_fill(change: &WideRow) -> bool {
    change.parts.iter().any(|part| part.cells.iter().any(|cell| cell.stamp.is_fill()))
}

/// The rows of a batch, each once, in the order they first came.
fn stage(batch: Vec<RowWrite>) -> Vec<Staged> {
    let mut staged: Vec<Staged> = Vec::with_capacity(batch.len());
    let mut places: QuickMap<RowId, usize> = QuickMap::with_capacity_and_hasher(batch.len(), Default::default());
    for (index, RowWrite { row, change }) in batch.into_iter().enumerate() {
        match places.entry(row) {
            Entry::Occupied(at) => {
                let held = &mut staged[*at.get()];
                Arc::make_mut(&mut held.change).merge(&change);
                held.writes.push(index);
            }
            Entry::Vacant(free) => {
                staged.push(Staged { row: free.key().clone(), change, writes: smallvec![index] });
                free.insert(staged.len() - 1);
            }
        }
    }
    staged
}
