//! Scanners: open, next with its sequence number, close; rows cut in parts, heartbeats, the end of a region.

use super::calls::{Answer, run_of};
use super::meta;
use super::storage::Wanted;
use super::world::{Fail, META_REGION, World};
use bytes::Bytes;
use prost::Message;
use std::cmp::Ordering;
use widerow::io::hbase::cell::Cell;
use widerow::io::hbase::pb;

/// An open scanner.
#[derive(Clone, Debug)]
pub struct Scanner {
    region: Bytes,
    scan: pb::Scan,
    next_call_seq: u64,
    /// The last row given, and how many of its cells.
    at: Option<(Bytes, usize)>,
    calls: usize,
}

pub fn answer(world: &mut World, server: usize, request: &pb::ScanRequest) -> Result<Answer, Fail> {
    world.renewals += usize::from(request.renew == Some(true));
    let (id, mut scanner) = if let Some(id) = request.scanner_id {
        let lost = || Fail::new("UnknownScannerException", format!("unknown scanner {id}"));
        let scanner = world.servers[server].scanners.get(&id).cloned().ok_or_else(lost)?;
        if let Some(seq) = request.next_call_seq.filter(|seq| *seq != scanner.next_call_seq) {
            world.servers[server].scanners.remove(&id);
            return Err(Fail::new("OutOfOrderScannerNextException", format!("expected {}, got {seq}", scanner.next_call_seq)));
        }
        (id, scanner)
    } else {
        let region = request.region.as_ref().map(|r| r.value.clone()).unwrap_or_default();
        let scan = request.scan.clone().unwrap_or_default();
        if let Some(filter) = &scan.filter {
            return Err(Fail::new("DoNotRetryIOException", format!("the filter {} is not known here", filter.name)));
        }
        (world.tick() << 8, Scanner { region, scan, next_call_seq: 0, at: None, calls: 0 })
    };
    if scanner.region != META_REGION {
        world.served(server, &scanner.region)?;
    }
    let opened = request.scanner_id.is_none();
    if !opened && request.next_call_seq.is_some() {
        scanner.next_call_seq += 1;
    }
    let mut response = pb::ScanResponse { scanner_id: Some(id), ttl: Some(world.limits.lease_ms), ..Default::default() };
    let wants = request.number_of_rows.unwrap_or(0) as usize;
    let renews = request.renew == Some(true) || wants == 0;
    world.scanners_opened += usize::from(opened && scanner.region != META_REGION);
    let mut cells = Vec::new();
    let mut open = true;
    response.more_results = Some(true);
    response.more_results_in_region = Some(true);
    if !renews {
        scanner.calls += 1;
        if world.limits.heartbeats && scanner.calls % 2 == 0 && request.client_handles_heartbeats == Some(true) {
            response.heartbeat_message = Some(true);
        } else {
            open = fill(world, &mut scanner, request, &mut response, &mut cells);
        }
    }
    if open && request.close_scanner != Some(true) {
        world.servers[server].scanners.insert(id, scanner);
    } else {
        world.servers[server].scanners.remove(&id);
    }
    Ok(Answer { message: response.encode_to_vec(), cells: run_of(&cells) })
}

/// Rows of the region not given yet, in the scan's order.
fn rest(world: &World, scanner: &Scanner) -> Vec<(Bytes, Vec<Cell>)> {
    let scan = &scanner.scan;
    let wanted = Wanted::of(&scan.column, scan.max_versions, scan.time_range);
    let is_meta = scanner.region == META_REGION;
    let order = |a: &[u8], b: &[u8]| if is_meta { meta::order(a, b) } else { a.cmp(b) };
    let mut rows: Vec<(Bytes, Vec<Cell>)> = if is_meta {
        let takes = |cell: &Cell| wanted.columns.is_empty() || wanted.columns.iter().any(|c| c.family == cell.family);
        let of_row = |(row, cells): (Bytes, Vec<Cell>)| (row, cells.into_iter().filter(takes).collect());
        meta::rows(world).into_iter().map(of_row).collect()
    } else {
        let Some(region) = world.regions.iter().find(|r| r.name == scanner.region) else { return Vec::new() };
        let storage = &world.tables[&region.table].storage;
        storage.keys((&region.start, &region.end)).map(|key| (key.clone(), storage.read(key, &wanted))).collect()
    };
    let reversed = scan.reversed == Some(true);
    if reversed {
        rows.reverse();
    }
    let way = |o: Ordering| if reversed { o.reverse() } else { o };
    let (start, stop) = (scan.start_row.clone().unwrap_or_default(), scan.stop_row.clone().unwrap_or_default());
    let after_start = |row: &[u8]| {
        start.is_empty()
            || match way(order(row, &start)) {
                Ordering::Equal => scan.include_start_row.unwrap_or(true),
                o => o.is_gt(),
            }
    };
    let before_stop = |row: &[u8]| {
        stop.is_empty()
            || match way(order(row, &stop)) {
                Ordering::Equal => scan.include_stop_row.unwrap_or(false),
                o => o.is_lt(),
            }
    };
    rows.retain(|(row, cells)| !cells.is_empty() && after_start(row) && before_stop(row));
    if let Some((at, given)) = &scanner.at {
        rows.retain(|(row, _)| way(order(row, at)).is_ge());
        if let Some((row, cells)) = rows.first_mut().filter(|(row, _)| row == at) {
            debug_assert!(!row.is_empty());
            cells.drain(..(*given).min(cells.len()));
        }
        rows.retain(|(_, cells)| !cells.is_empty());
    }
    rows
}

/// Fills one answer; says whether the scanner stays open.
fn fill(
    world: &World,
    scanner: &mut Scanner,
    request: &pb::ScanRequest,
    response: &mut pb::ScanResponse,
    out: &mut Vec<Cell>,
) -> bool {
    let rows = rest(world, scanner);
    let limit = request.limit_of_rows.filter(|n| *n > 0).map_or(usize::MAX, |n| n as usize);
    let rows_max = (request.number_of_rows.unwrap_or(1) as usize).min(world.limits.scan_rows);
    let partials = request.client_handles_partials == Some(true);
    let bytes_max = scanner.scan.max_result_size.filter(|n| *n > 0).map_or(usize::MAX, |n| n as usize);
    // The limit counts the rows of one answer, like the number of rows; reaching it ends the scan.
    let (mut bytes, mut given) = (0, 0);
    let total = rows.len();
    for (n, (row, mut cells)) in rows.into_iter().enumerate() {
        if n >= rows_max || bytes >= bytes_max || given >= limit {
            return end_of_answer(given < limit, response);
        }
        let room = world.limits.scan_cells.saturating_sub(out.len());
        let cut = partials && cells.len() > room;
        if cut && room == 0 {
            return end_of_answer(given < limit, response);
        }
        if cut {
            cells.truncate(room);
        }
        let before = scanner.at.as_ref().filter(|(at, _)| *at == row).map_or(0, |(_, given)| *given);
        scanner.at = Some((row, before + cells.len()));
        bytes += cells.iter().map(|c| 24 + c.row.len() + c.family.len() + c.qualifier.len() + c.value.len()).sum::<usize>();
        response.cells_per_result.push(cells.len() as u32);
        response.partial_flag_per_result.push(cut);
        out.extend(cells);
        if cut {
            return end_of_answer(given < limit, response);
        }
        given += 1;
        if n + 1 < total && given >= limit {
            return end_of_answer(given < limit, response);
        }
    }
    // Nothing is left here; the scan itself is over where the region reaches its stop row.
    response.more_results_in_region = Some(false);
    response.more_results = Some(given < limit && !reaches_stop(world, scanner));
    false
}

fn end_of_answer(more: bool, response: &mut pb::ScanResponse) -> bool {
    response.more_results = Some(more);
    more
}

fn reaches_stop(world: &World, scanner: &Scanner) -> bool {
    if scanner.region == META_REGION {
        return true;
    }
    let Some(region) = world.regions.iter().find(|r| r.name == scanner.region) else { return true };
    let stop = scanner.scan.stop_row.clone().unwrap_or_default();
    if scanner.scan.reversed == Some(true) {
        return region.start.is_empty() || (!stop.is_empty() && stop >= region.start);
    }
    region.end.is_empty() || (!stop.is_empty() && stop <= region.end)
}
