//! One page of a scan: a stretch of rows in key order, over as many regions as it takes.
//!
//! A scanner on a server lives under a lease, so none is kept between pages: a page opens its own, reads on without a pause,
//! and the last answer or a call of its own closes it. Rows that came in parts are put together. Whatever interrupts it, the
//! scan goes on behind the last whole row. Knows nothing of batches.

use super::backoff;
use super::batch::{self, Core};
use super::cell::{Cell, CellReader};
use super::error::{Advice, Class, Error};
use super::frame::Service;
use super::locator::Region;
use super::multi::result_cells;
use super::node::Node;
use super::pb;
use super::types::{Columns, Filter, Scan, ScanPage, TableName, TimeRange};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes the server gathers before it answers.
const REPLY_BYTES: u64 = 2 << 20;
/// Rows asked for in one call.
const ROWS_PER_CALL: usize = 1000;

/// What a page has so far.
#[derive(Debug, Default)]
struct Progress {
    rows: Vec<Vec<Cell>>,
    /// The row that is not known to be whole yet.
    open: Vec<Cell>,
    bytes: usize,
    /// Where the scan goes on.
    at: Bytes,
}

/// How one region's scan ended.
enum End {
    /// The page is full.
    Full,
    /// The server says that nothing more follows anywhere.
    Over,
    RegionDone,
}

/// Reads one page.
pub(super) async fn page(core: &Core, table: &TableName, scan: &Scan) -> Result<ScanPage, Error> {
    let deadline = Instant::now() + core.limits.operation_timeout;
    let mut progress = Progress { at: scan.start.clone(), ..Progress::default() };
    let mut tries = 0;
    loop {
        let before = progress.at.clone();
        let error = match stretch(core, table, scan, &mut progress, deadline).await {
            Ok(true) => return Ok(finish(progress, scan, true)),
            Ok(false) => return Ok(finish(progress, scan, false)),
            Err(error) => error,
        };
        // A page that grew is no vain try.
        tries = if progress.at == before { tries + 1 } else { 1 };
        progress.open.clear();
        let pause =
            if error.advice() == Advice::Reopen && tries == 1 { Default::default() } else { backoff::pause(tries, &error) };
        let hopeless = matches!(error.advice(), Advice::Fail | Advice::Split) || (error.class == Class::Unknown && tries > 8);
        if hopeless || Instant::now() + pause >= deadline {
            return Err(error);
        }
        tracing::debug!(table = %table, error = %error, tries, "scan goes on after a pause");
        if batch::is_suspect(tries, error.class)
            && let Some(disabled) = core.disabled(table).await
        {
            return Err(disabled);
        }
        tokio::time::sleep(pause).await;
    }
}

fn finish(progress: Progress, scan: &Scan, more: bool) -> ScanPage {
    let inside = scan.stop.is_empty() || progress.at < scan.stop;
    ScanPage { rows: progress.rows, next: (more && inside).then_some(progress.at) }
}

/// Reads region after region until the page is full (true) or the scan is over (false).
async fn stretch(core: &Core, table: &TableName, scan: &Scan, progress: &mut Progress, deadline: Instant) -> Result<bool, Error> {
    loop {
        let region = tokio::time::timeout_at(deadline, core.locator.locate(table, &progress.at))
            .await
            .map_err(|_| Error::new(Class::Timeout, format_args!("scan of {table}"), "its region was not found in time"))??;
        let node = core.pool.node(&region.server.address, Service::Client);
        let end = region_scan(core, &node, &region, scan, progress, deadline).await;
        let end = end.inspect_err(|error| match error.advice() {
            Advice::Relocate => core.locator.forget(table, &region),
            Advice::Follow => match error.moved_to.as_deref() {
                Some(to) => core.locator.moved(table, &region, to.clone()),
                None => core.locator.forget(table, &region),
            },
            Advice::LeaveServer => core.locator.forget_server(&region.server),
            _ => {}
        })?;
        match end {
            End::Full => return Ok(true),
            End::Over => return Ok(false),
            End::RegionDone if region.end.is_empty() || (!scan.stop.is_empty() && region.end >= scan.stop) => return Ok(false),
            End::RegionDone => progress.at = region.end.clone(),
        }
    }
}

async fn region_scan(
    core: &Core,
    node: &Node,
    region: &Arc<Region>,
    scan: &Scan,
    progress: &mut Progress,
    deadline: Instant,
) -> Result<End, Error> {
    let rows_max = scan.rows_max.max(1);
    let mut scanner: Option<(u64, u64)> = None;
    let mut request = open_request(region, scan, progress, rows_max);
    loop {
        let timeout = core.limits.call_timeout.min(deadline.saturating_duration_since(Instant::now()));
        let place = || format!("Scan on {}, region {}", node.address, String::from_utf8_lossy(&region.name));
        let Ok(permit) = tokio::time::timeout_at(deadline, node.window.enter()).await else {
            return Err(Error::new(Class::Timeout, place(), "its window gave no room in time"));
        };
        let reply = node.call("Scan", &request, [], timeout).await.inspect_err(|error| {
            if error.advice() == Advice::SlowDown || error.overloaded {
                permit.refused();
            }
        })?;
        permit.answered();
        drop(permit);
        let garbled = |what: String| Error::new(Class::Garbled, place(), what);
        let response = pb::ScanResponse::decode(reply.message).map_err(|e| garbled(e.to_string()))?;
        take(&response, CellReader::new(reply.cells), progress).map_err(garbled)?;
        let (more, here) = (response.more_results.unwrap_or(true), response.more_results_in_region.unwrap_or(true));
        if !more || !here {
            progress.close_row();
        }
        if progress.rows.len() >= rows_max || progress.bytes >= scan.bytes_max {
            progress.open.clear();
            // What was asked for is there; the server has closed its scanner unless it had more to give.
            if more
                && here
                && let Some(id) = response.scanner_id.or(scanner.map(|(id, _)| id))
            {
                close(node, id, timeout).await;
            }
            return Ok(End::Full);
        }
        match (more, here) {
            (false, _) => return Ok(End::Over),
            (true, false) => return Ok(End::RegionDone),
            (true, true) => {}
        }
        let (id, seq) = match scanner {
            Some((id, seq)) => (id, seq + 1),
            None => (response.scanner_id.ok_or_else(|| garbled("a scan without a scanner".to_owned()))?, 0),
        };
        scanner = Some((id, seq));
        let left = rows_max - progress.rows.len();
        request = pb::ScanRequest {
            scanner_id: Some(id),
            next_call_seq: Some(seq),
            number_of_rows: Some(left.min(ROWS_PER_CALL) as u32),
            limit_of_rows: Some(u32::try_from(left).unwrap_or(u32::MAX)),
            client_handles_partials: Some(true),
            client_handles_heartbeats: Some(true),
            ..Default::default()
        };
    }
}

fn open_request(region: &Region, scan: &Scan, progress: &Progress, rows_max: usize) -> pb::ScanRequest {
    let left = rows_max - progress.rows.len();
    let message = pb::Scan {
        column: scan.columns.iter().map(Columns::to_pb).collect(),
        start_row: Some(progress.at.clone()),
        stop_row: Some(scan.stop.clone()),
        filter: scan.filter.as_ref().map(Filter::to_pb),
        time_range: scan.time_range.map(TimeRange::to_pb),
        max_versions: (scan.max_versions != 1).then_some(scan.max_versions),
        cache_blocks: Some(scan.cache_blocks),
        max_result_size: Some(REPLY_BYTES),
        ..Default::default()
    };
    pb::ScanRequest {
        region: Some(pb::RegionSpecifier::named(region.name.clone())),
        scan: Some(message),
        number_of_rows: Some(left.min(ROWS_PER_CALL) as u32),
        limit_of_rows: Some(u32::try_from(left).unwrap_or(u32::MAX)),
        client_handles_partials: Some(true),
        client_handles_heartbeats: Some(true),
        ..Default::default()
    }
}

/// Tells the server that the scanner is done with; if it does not hear it, the lease ends.
async fn close(node: &Node, id: u64, timeout: std::time::Duration) {
    let request =
        pb::ScanRequest { scanner_id: Some(id), close_scanner: Some(true), number_of_rows: Some(0), ..Default::default() };
    if let Err(error) = node.call("Scan", &request, [], timeout).await {
        tracing::debug!(error = %error, "scanner was not closed");
    }
}

/// Puts a reply's results to the page.
fn take(response: &pb::ScanResponse, mut cells: CellReader, progress: &mut Progress) -> Result<(), String> {
    let partial = |at: usize| response.partial_flag_per_result.get(at).copied();
    if response.cells_per_result.is_empty() {
        for (at, result) in response.results.iter().enumerate() {
            let part = partial(at).or(result.partial).unwrap_or(false);
            progress.push(result_cells(result.clone(), &mut cells)?, part);
        }
    }
    for (at, count) in response.cells_per_result.iter().enumerate() {
        progress.push(cells.take(*count as usize).map_err(|e| e.to_string())?, partial(at).unwrap_or(false));
    }
    if cells.is_empty() { Ok(()) } else { Err("the answer holds more cells than it says".to_owned()) }
}

impl Progress {
    /// One result: a row, or a part of one.
    fn push(&mut self, cells: Vec<Cell>, partial: bool) {
        let Some(first) = cells.first() else { return };
        if self.open.first().is_some_and(|open| open.row != first.row) {
            self.close_row();
        }
        if self.open.is_empty() {
            self.open = cells;
        } else {
            self.open.extend(cells);
        }
        if !partial {
            self.close_row();
        }
    }

    /// The open row is whole.
    fn close_row(&mut self) {
        let Some(first) = self.open.first() else { return };
        // The row after this one in key order: the same with a zero byte.
        self.at = [&first.row[..], &[0]].concat().into();
        let size = |cell: &Cell| cell.row.len() + cell.family.len() + cell.qualifier.len() + cell.value.len() + 40;
        self.bytes += self.open.iter().map(size).sum::<usize>();
        self.rows.push(std::mem::take(&mut self.open));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::hbase::cell::{CellRun, CellType};

    fn reply(results: &[(&str, u32, bool)]) -> (pb::ScanResponse, CellReader) {
        let mut run = CellRun::default();
        for (row, count, _) in results {
            for n in 0..*count {
                run.push(row.as_bytes(), b"d", &n.to_be_bytes(), 1, CellType::Put, b"v").unwrap();
            }
        }
        let response = pb::ScanResponse {
            cells_per_result: results.iter().map(|r| r.1).collect(),
            partial_flag_per_result: results.iter().map(|r| r.2).collect(),
            ..Default::default()
        };
        (response, CellReader::new(Bytes::copy_from_slice(run.bytes())))
    }

    /// Goal: rows that come in parts become whole, whichever way a server marks them. Method: parts over two replies, the
    /// last part with and without its mark.
    #[test]
    fn parts_become_rows() {
        let mut progress = Progress::default();
        let (response, cells) = reply(&[("a", 2, false), ("b", 2, true)]);
        take(&response, cells, &mut progress).unwrap();
        assert_eq!((progress.rows.len(), &progress.at[..], progress.open.len()), (1, &b"a\0"[..], 2));
        let (response, cells) = reply(&[("b", 3, true), ("c", 1, true)]);
        take(&response, cells, &mut progress).unwrap();
        assert_eq!(progress.rows.iter().map(Vec::len).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(&progress.at[..], b"b\0");
        progress.close_row();
        assert_eq!((progress.rows.len(), &progress.at[..]), (3, &b"c\0"[..]));
    }

    /// Goal: an answer that contradicts itself is an error. Method: fewer cells than counted, and more.
    #[test]
    fn counts_must_agree() {
        for wrong in [1, 3, u32::MAX] {
            let (mut response, cells) = reply(&[("a", 2, false)]);
            response.cells_per_result = vec![wrong];
            assert!(take(&response, cells, &mut Progress::default()).is_err(), "{wrong}");
        }
    }
}
