//! One `Multi`: building the request for rows of some regions of one server, and reading its reply.
//!
//! Gets, and plain puts, of a region share one region action; mutations of a row have one of their own, which makes them
//! atomic. Gets and puts never share a call: a server that cuts a reply short would shift their cells. Results belong to
//! region actions by position, and to actions by index; cells come from the cell block in the order of the reply, or inline.
//! Knows nothing of sockets and retries.

use super::cell::{Cell, CellReader, CellType};
use super::error::{Class, Error};
use super::frame::Reply;
use super::locator::Region;
use super::pb;
use super::types::{Condition, Durability, Get, MutationKind, Put, RowMutations};
use bytes::Bytes;
use prost::Message;
use std::ops::Range;
use std::sync::Arc;

/// What is asked of one row.
#[derive(Debug)]
pub(super) enum Item {
    Get(Get),
    Put(Put),
    Mutate(RowMutations, Option<Condition>),
}

impl Item {
    pub(super) fn row(&self) -> &Bytes {
        match self {
            Self::Get(get) => &get.row,
            Self::Put(put) => &put.row,
            Self::Mutate(mutations, _) => &mutations.row,
        }
    }

    /// About how much of a frame it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let cells = match self {
            Self::Get(get) => get.row.len(),
            Self::Put(put) => put.cells.bytes().len(),
            Self::Mutate(mutations, _) => mutations.mutations.iter().map(|m| m.cells.bytes().len()).sum(),
        };
        cells + self.row().len() + 40
    }

    /// Rows of a region share one region action.
    fn is_grouped(&self) -> bool {
        !matches!(self, Self::Mutate(..))
    }

    /// Sent twice, it may do something else than sent once, whatever its nonce.
    pub(super) fn is_conditional(&self) -> bool {
        matches!(self, Self::Mutate(_, Some(_)))
    }

    /// It holds an increment, which needs a nonce.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Mutate(m, _) if m.mutations.iter().any(|m| m.kind == MutationKind::Increment))
    }
}

/// What one row was answered.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Answer {
    pub(super) cells: Vec<Cell>,
    /// A condition held; true where there was none.
    pub(super) processed: bool,
}

/// One row of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) item: &'a Item,
    /// 0: none.
    pub(super) nonce: u64,
}

/// Rows of one region within a call: a range of the call's entries.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) region: Arc<Region>,
    pub(super) rows: Range<usize>,
}

/// Failure of a region action as a whole, or of one row.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// It stands for several rows that were refused together: one of them may be the cause.
    pub(super) whole: bool,
}

/// The request of a call. Its cells are those of [`cells`].
pub(super) fn request(entries: &[Entry<'_>], sections: &[Section], nonce_group: u64) -> pb::MultiRequest {
    let mut region_action = Vec::with_capacity(sections.len());
    for section in sections {
        let rows = &entries[section.rows.clone()];
        let region = || pb::RegionSpecifier::named(section.region.name.clone());
        if rows.first().is_some_and(|entry| entry.item.is_grouped()) {
            let action = rows.iter().enumerate().map(|(i, entry)| single_action(i, entry)).collect();
            region_action.push(pb::RegionAction { region: region(), atomic: None, action, condition: None });
        } else {
            region_action.extend(rows.iter().map(|entry| atomic_action(region(), entry)));
        }
    }
    let counts = entries.iter().any(|entry| entry.nonce != 0);
    pb::MultiRequest { region_action, nonce_group: counts.then_some(nonce_group) }
}

fn single_action(index: usize, entry: &Entry<'_>) -> pb::Action {
    let mut action = pb::Action { index: Some(index as u32), ..Default::default() };
    match entry.item {
        Item::Get(get) => action.get = Some(get.to_pb()),
        Item::Put(put) => {
            action.mutation = Some(mutation(&put.row, MutationKind::Put, put.durability, put.cells.count()));
        }
        Item::Mutate(..) => {}
    }
    action
}

fn atomic_action(region: pb::RegionSpecifier, entry: &Entry<'_>) -> pb::RegionAction {
    let mut out = pb::RegionAction { region, atomic: Some(true), action: Vec::new(), condition: None };
    if let Item::Mutate(mutations, condition) = entry.item {
        for (index, part) in mutations.mutations.iter().enumerate() {
            let mut mutation = mutation(&mutations.row, part.kind, part.durability, part.cells.count());
            if part.kind == MutationKind::Increment {
                // The last increment's nonce counts for the whole action, so all of them have the same one.
                mutation.nonce = Some(entry.nonce).filter(|nonce| *nonce != 0);
                if !mutations.wants_results {
                    mutation.attribute.push(without_results());
                }
            }
            out.action.push(pb::Action { index: Some(index as u32), mutation: Some(mutation), get: None });
        }
        out.condition = condition.as_ref().map(|condition| condition.to_pb(&mutations.row));
    }
    out
}

fn mutation(row: &Bytes, kind: MutationKind, durability: Durability, cells: u32) -> pb::MutationProto {
    pb::MutationProto {
        row: Some(row.clone()),
        mutate_type: Some(kind as i32),
        durability: Some(durability.code()),
        associated_cell_count: Some(cells as i32),
        ..Default::default()
    }
}

fn without_results() -> pb::NameBytesPair {
    pb::NameBytesPair { name: "_rr_".to_owned(), value: Some(Bytes::from_static(&[0])) }
}

/// The cell block of a call, in the order of its actions.
pub(super) fn cells<'a>(entries: &'a [Entry<'a>]) -> impl Iterator<Item = &'a [u8]> + Clone {
    entries.iter().flat_map(|entry| {
        let (put, mutations) = match entry.item {
            Item::Get(_) => (None, [].as_slice()),
            Item::Put(put) => (Some(put.cells.bytes()), [].as_slice()),
            Item::Mutate(mutations, _) => (None, mutations.mutations.as_slice()),
        };
        put.into_iter().chain(mutations.iter().map(|m| m.cells.bytes()))
    })
}

/// Reads a reply: one outcome per entry, in their order.
///
/// # Errors
/// The reply is not one to this request; nothing is known of any row then.
pub(super) fn outcomes(
    entries: &[Entry<'_>],
    sections: &[Section],
    reply: Reply,
    place: &str,
) -> Result<Vec<Result<Answer, Failure>>, Error> {
    let garbled = |what: &dyn std::fmt::Display| Error::new(Class::Garbled, place, what).with_unknown_outcome();
    let response = pb::MultiResponse::decode(reply.message).map_err(|e| garbled(&e))?;
    let mut cells = CellReader::new(reply.cells);
    let mut out: Vec<Option<Result<Answer, Failure>>> = vec![None; entries.len()];
    let mut results = response.region_action_result.into_iter();
    for section in sections {
        let grouped = entries.get(section.rows.start).is_some_and(|entry| entry.item.is_grouped());
        let actions: Vec<Range<usize>> =
            if grouped { vec![section.rows.clone()] } else { section.rows.clone().map(|row| row..row + 1).collect() };
        for rows in actions {
            let result = results.next().ok_or_else(|| garbled(&"an answer for a region is missing"))?;
            let failed = |pair: &pb::NameBytesPair| {
                let region = String::from_utf8_lossy(&section.region.name);
                Error::from_pair(format_args!("{place}, region {region}"), pair)
            };
            if let Some(exception) = &result.exception {
                out[rows].fill(Some(Err(Failure { error: failed(exception), whole: grouped })));
                continue;
            }
            let processed = result.processed.or(response.processed);
            for entry in result.result_or_exception {
                // In an atomic action all results are merged into the first entry, and positions are not ours.
                let at = if grouped { rows.start.saturating_add(entry.index.unwrap_or(0) as usize) } else { rows.start };
                let slot =
                    out[rows.clone()].get_mut(at - rows.start).ok_or_else(|| garbled(&"an index points outside its batch"))?;
                let outcome = match (&entry.exception, entry.result) {
                    (Some(exception), _) => Err(Failure { error: failed(exception), whole: false }),
                    (None, result) => {
                        let cells = result_cells(result.unwrap_or_default(), &mut cells).map_err(|e| garbled(&e))?;
                        Ok(Answer { cells, processed: processed.unwrap_or(true) })
                    }
                };
                merge(slot, outcome);
            }
            if !grouped && out[rows.start].is_none() {
                out[rows.start] = Some(Ok(Answer { cells: Vec::new(), processed: processed.unwrap_or(true) }));
            }
        }
    }
    if results.next().is_some() || !cells.is_empty() {
        return Err(garbled(&"the answer holds more than was asked for"));
    }
    let missing = || Failure { error: garbled(&"the answer says nothing of this row"), whole: false };
    Ok(out.into_iter().map(|slot| slot.unwrap_or_else(|| Err(missing()))).collect())
}

/// Several entries may speak of one row: a failure outweighs, cells add up.
fn merge(slot: &mut Option<Result<Answer, Failure>>, outcome: Result<Answer, Failure>) {
    match (slot.as_mut(), outcome) {
        (Some(Ok(known)), Ok(more)) => known.cells.extend(more.cells),
        (Some(Err(_)), _) => {}
        (_, outcome) => *slot = Some(outcome),
    }
}

/// A result's cells: inline, or from the reply's block.
pub(super) fn result_cells(result: pb::Result, block: &mut CellReader) -> Result<Vec<Cell>, String> {
    if !result.cell.is_empty() {
        return result.cell.into_iter().map(inline).collect();
    }
    let count = result.associated_cell_count.unwrap_or(0);
    let count = usize::try_from(count).map_err(|_| format!("{count} cells"))?;
    block.take(count).map_err(|e| e.to_string())
}

fn inline(cell: pb::Cell) -> Result<Cell, String> {
    let code = cell.cell_type.unwrap_or(CellType::Put as i32);
    let kind = u8::try_from(code).ok().and_then(CellType::from_wire).ok_or_else(|| format!("{code} is not a cell type"))?;
    Ok(Cell {
        row: cell.row.unwrap_or_default(),
        family: cell.family.unwrap_or_default(),
        qualifier: cell.qualifier.unwrap_or_default(),
        timestamp: i64::try_from(cell.timestamp.unwrap_or(0)).map_err(|_| "a timestamp beyond 63 bits".to_owned())?,
        kind,
        value: cell.value.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
