//! Batches, with the rules of a real server: actions of a region in order, puts held back, atomic groups all or nothing.

use super::calls::{Answer, Mutation, holds, read};
use super::faults::Fault;
use super::storage::Log;
use super::world::{Fail, World};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use widerow::io::hbase::cell::{Cell, CellReader, CellRun};
use widerow::io::hbase::pb;

/// Actions a real server warns about.
const ACTIONS_MAX: usize = 5_000;

/// One batch while it is done.
struct Batch<'a> {
    world: &'a mut World,
    server: usize,
    nonce_group: Option<u64>,
    reply: CellRun,
    /// Actions done so far, and after how many the reply is full.
    done: usize,
    full_after: usize,
}

enum Act {
    Mutate(Mutation),
    Get(u32, pb::Get),
    /// An action that could not be read.
    Bad(u32, Fail),
}

pub fn answer(
    world: &mut World,
    server: usize,
    request: &pb::MultiRequest,
    block: &Bytes,
    fault: Option<&Fault>,
) -> Result<Answer, Fail> {
    let actions: usize = request.region_action.iter().map(|r| r.action.len()).sum();
    if actions > ACTIONS_MAX {
        world.complain(format!("a batch of {actions} actions"));
    }
    let mut nonces = BTreeSet::new();
    for region in &request.region_action {
        let of_region: BTreeSet<u64> =
            region.action.iter().filter_map(|a| a.mutation.as_ref()?.nonce).filter(|n| *n != 0).collect();
        if of_region.iter().any(|nonce| !nonces.insert(*nonce)) {
            world.complain("one nonce in two region actions: the second increment is lost");
        }
    }
    let mut reader = CellReader::new(block.clone());
    let full_after = if let Some(Fault::ReplyFull(n)) = fault { *n } else { usize::MAX };
    let mut batch = Batch { world, server, nonce_group: request.nonce_group, reply: CellRun::default(), done: 0, full_after };
    let mut response = pb::MultiResponse::default();
    for region in &request.region_action {
        // Cells are taken off even when the region is not here: the next region's follow them.
        let acts: Vec<Act> = region.action.iter().map(|action| take(action, &mut reader)).collect();
        let failed =
            if let Some(Fault::FailRegion(class)) = fault { Err(Fail::new(class, "as the test wants it")) } else { Ok(()) };
        let result = failed.and_then(|()| batch.region(region, acts));
        response
            .region_action_result
            .push(result.unwrap_or_else(|fail| pb::RegionActionResult { exception: Some(fail.to_pair()), ..Default::default() }));
    }
    if !reader.is_empty() {
        batch.world.complain("cells were left over after the last action");
    }
    Ok(Answer { message: response.encode_to_vec(), cells: batch.reply })
}

fn take(action: &pb::Action, reader: &mut CellReader) -> Act {
    let index = action.index.unwrap_or(0);
    match (&action.mutation, &action.get) {
        (Some(mutation), _) => Mutation::take(index, mutation, reader).map_or_else(|fail| Act::Bad(index, fail), Act::Mutate),
        (None, Some(get)) => Act::Get(index, get.clone()),
        (None, None) => Act::Bad(index, Fail::new("DoNotRetryIOException", "an action that does nothing")),
    }
}

impl Batch<'_> {
    fn region(&mut self, action: &pb::RegionAction, acts: Vec<Act>) -> Result<pb::RegionActionResult, Fail> {
        if action.region.kind != pb::REGION_NAME {
            self.world.complain("a region named by its encoded name is never found");
        }
        let region = self.world.served(self.server, &action.region.value)?;
        if action.condition.is_some() || action.atomic == Some(true) {
            return self.atomic(region, action.condition.as_ref(), acts);
        }
        let puts = acts.iter().any(|a| matches!(a, Act::Mutate(_)));
        if puts && acts.iter().any(|a| matches!(a, Act::Get(..))) {
            self.world.complain("gets among the mutations of a plain region action: they do not see the puts before them");
        }
        let mut out = Vec::new();
        let mut held = Vec::new();
        for act in acts {
            self.done += 1;
            let index = match &act {
                Act::Mutate(m) => m.index,
                Act::Get(index, _) | Act::Bad(index, _) => *index,
            };
            if self.done > self.full_after || self.reply.bytes().len() > self.world.limits.reply_bytes {
                out.push(failed(index, &Fail::new("MultiActionResultTooLarge", "Max size exceeded")));
                continue;
            }
            match act {
                Act::Bad(index, fail) => out.push(failed(index, &fail)),
                Act::Get(index, get) => out.push(self.get(index, &action.region.value, &get)),
                Act::Mutate(mutation) if mutation.kind == 1 => {
                    self.flush(region, &mut held, &mut out);
                    out.push(self.increment(region, &mutation));
                }
                Act::Mutate(mutation) => held.push(mutation),
            }
        }
        self.flush(region, &mut held, &mut out);
        Ok(pb::RegionActionResult { result_or_exception: out, exception: None, processed: None })
    }

    fn get(&mut self, index: u32, region: &Bytes, get: &pb::Get) -> pb::ResultOrException {
        match read(self.world, self.server, region, get) {
            Err(fail) => failed(index, &fail),
            Ok(cells) => {
                for cell in &cells {
                    self.reply.push_cell(cell).expect("a stored cell has a cell's form");
                }
                let result = pb::Result { associated_cell_count: Some(cells.len() as i32), ..Default::default() };
                pb::ResultOrException { index: Some(index), result: Some(result), exception: None }
            }
        }
    }

    fn increment(&mut self, region: usize, mutation: &Mutation) -> pb::ResultOrException {
        if let Err(fail) = mutation.check(self.world, region) {
            return failed(mutation.index, &fail);
        }
        let cells = apply(self.world, self.server, region, std::slice::from_ref(mutation), self.nonce_group);
        let cells = if mutation.wants_result { cells } else { Vec::new() };
        for cell in &cells {
            self.reply.push_cell(cell).expect("a stored cell has a cell's form");
        }
        let result = pb::Result { associated_cell_count: Some(cells.len() as i32), ..Default::default() };
        pb::ResultOrException { index: Some(mutation.index), result: Some(result), exception: None }
    }

    /// Puts and deletes that were held back: sorted by row, each alone, answered in that order.
    fn flush(&mut self, region: usize, held: &mut Vec<Mutation>, out: &mut Vec<pb::ResultOrException>) {
        held.sort_by(|a, b| a.row.cmp(&b.row));
        for mutation in held.drain(..) {
            match mutation.check(self.world, region) {
                Err(fail) => out.push(failed(mutation.index, &fail)),
                Ok(()) => {
                    apply(self.world, self.server, region, std::slice::from_ref(&mutation), None);
                    out.push(done(mutation.index));
                }
            }
        }
    }

    /// All or nothing. What increments made comes merged in the first entry, inside the message; indexes are positions.
    fn atomic(
        &mut self,
        region: usize,
        condition: Option<&pb::Condition>,
        acts: Vec<Act>,
    ) -> Result<pb::RegionActionResult, Fail> {
        let mut mutations = Vec::new();
        for act in acts {
            match act {
                Act::Mutate(mutation) => mutations.push(mutation),
                Act::Get(..) => return Err(Fail::new("DoNotRetryIOException", "Atomic put and/or delete only, not Get")),
                Act::Bad(_, fail) => return Err(fail),
            }
        }
        if mutations.windows(2).any(|pair| pair[1].row < pair[0].row) {
            self.world.complain("rows of an atomic action do not ascend: two of them lock each other out");
        }
        for mutation in &mutations {
            mutation.check(self.world, region)?;
        }
        let count = mutations.len() as u32;
        if let Some(condition) = condition {
            if mutations.iter().any(|m| m.row != condition.row) {
                return Err(Fail::new("DoNotRetryIOException", "a condition on another row than the mutations'"));
            }
            if !holds(self.world, region, condition)? {
                let entries = (0..count.min(1)).map(done).collect();
                return Ok(pb::RegionActionResult { result_or_exception: entries, exception: None, processed: Some(false) });
            }
        }
        let made = apply(self.world, self.server, region, &mutations, self.nonce_group);
        let mut entries: Vec<pb::ResultOrException> = (0..count).map(done).collect();
        if let Some(first) = entries.first_mut().filter(|_| !made.is_empty()) {
            first.result = Some(pb::Result { cell: made.iter().map(inline).collect(), ..Default::default() });
        }
        Ok(pb::RegionActionResult { result_or_exception: entries, exception: None, processed: Some(true) })
    }
}

/// Does checked mutations in one step. Says what their increments made, as far as they want it told.
///
/// Only the last increment's nonce counts, for all of them: known, every increment is skipped and the puts are written again.
pub fn apply(world: &mut World, server: usize, region: usize, mutations: &[Mutation], nonce_group: Option<u64>) -> Vec<Cell> {
    let last = mutations.iter().rev().find(|m| m.kind == 1).and_then(|m| m.nonce);
    let nonce = last.map(|nonce| (nonce_group.unwrap_or(0), nonce));
    let before = nonce.is_some_and(|nonce| world.servers[server].nonces.contains_key(&nonce));
    let resolved: Vec<Vec<Cell>> = mutations.iter().map(|m| m.resolve(world, region)).collect();
    let mut made = Vec::new();
    for (mutation, cells) in mutations.iter().zip(resolved) {
        if mutation.kind == 1 && before {
            let storage = &world.tables[&world.regions[region].table].storage;
            let held = storage.read(&mutation.row, &super::storage::Wanted::all());
            let same = |h: &&Cell| cells.iter().any(|c| c.family == h.family && c.qualifier == h.qualifier);
            made.extend(held.iter().filter(same).filter(|_| mutation.wants_result).cloned());
            continue;
        }
        mutation.write(world, region, &cells);
        if mutation.kind == 1 && mutation.wants_result {
            made.extend(cells);
        }
    }
    if let Some(nonce) = nonce {
        let seq = world.tick();
        world.servers[server].nonces.insert(nonce, seq);
    }
    if mutations.iter().any(|m| m.log == Log::Synced) {
        world.sync(server);
    }
    made
}

fn done(index: u32) -> pb::ResultOrException {
    pb::ResultOrException { index: Some(index), result: Some(pb::Result::default()), exception: None }
}

fn failed(index: u32, fail: &Fail) -> pb::ResultOrException {
    pb::ResultOrException { index: Some(index), result: None, exception: Some(fail.to_pair()) }
}

fn inline(cell: &Cell) -> pb::Cell {
    pb::Cell {
        row: Some(cell.row.clone()),
        family: Some(cell.family.clone()),
        qualifier: Some(cell.qualifier.clone()),
        timestamp: Some(cell.timestamp as u64),
        cell_type: Some(cell.kind as i32),
        value: Some(cell.value.clone()),
    }
}
