//! Scans: stretches of rows in key order, over as many regions as it takes.
//!
//! A page on its own leaves nothing behind on a server: the answer that fills it, or a call, closes its scanner. A [`Scanner`]
//! keeps the server's scanner between pages, under a lease that is renewed while its caller is busy elsewhere (`lease`).
//! Rows that came in parts are put together. Whatever interrupts either (a lease that ran out, a region that moved, a server
//! that died), the scan goes on behind the last whole row, in a scanner opened there. Knows nothing of batches.

use self::lease::{Held, Kept};
use super::backoff;
use super::batch::{self, Core};
use super::cell::{Cell, CellReader};
use super::error::{Advice, Class, Error};
use super::frame::{Reply, Service};
use super::locator::Region;
use super::multi::result_cells;
use super::node::Node;
use super::pb;
use super::types::{Columns, Filter, Scan, ScanPage, TableName, TimeRange};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

mod lease;

/// Bytes the server gathers before it answers.
const REPLY_BYTES: u64 = 2 << 20;
/// Rows asked for in one call.
const ROWS_PER_CALL: usize = 1000;

/// A scan that stays open over its pages: from [`Client::scanner`](super::client::Client::scanner).
///
/// Within a region its rows are as of the moment the server's scanner was opened; where that one got lost, rows are as of
/// the moment it was opened again. A row is never given twice, and never left out. Dropped, it closes the server's scanner.
///
/// ```no_run
/// # use widerow::io::hbase::{client::Client, error::Error, types::{Scan, TableName}};
/// # async fn example(client: Client, table: TableName) -> Result<(), Error> {
/// let mut scanner = client.scanner(&table, Scan::from("0042:", 1000));
/// while let Some(rows) = scanner.next().await? {
///     // However long this takes, the scanner stays open.
///     println!("{} rows", rows.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Scanner {
    core: Arc<Core>,
    table: TableName,
    scan: Scan,
    state: State,
    /// The server's scanner while nobody reads.
    kept: Option<Kept>,
    over: bool,
    /// Behind the last row that was given.
    position: Bytes,
}

impl Scanner {
    pub(super) fn new(core: Arc<Core>, table: TableName, scan: Scan) -> Self {
        let position = scan.start.clone();
        Self { core, table, state: State::at(position.clone()), scan, kept: None, over: false, position }
    }

    /// The next page: as many rows as `rows_max` and `bytes_max` of the scan say, or what is left; `None` at the end. A call
    /// that is dropped half-way loses nothing.
    ///
    /// # Errors
    /// What kept it from going on until the operation's end. Another call goes on where this one stood.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<Cell>>>, Error> {
        if !self.over {
            if let Some(kept) = self.kept.take() {
                self.state.held = kept.back().await;
            }
            let deadline = Instant::now() + self.core.limits.operation_timeout;
            let run = Run { core: &self.core, table: &self.table, scan: &self.scan, keeps: true, deadline };
            self.over = !run.page(&mut self.state).await?;
            let call_timeout = self.core.limits.call_timeout;
            self.kept = self.state.held.take().map(|held| Kept::new(held, call_timeout));
        }
        let page = self.state.progress.take();
        self.position.clone_from(&self.state.progress.at);
        Ok((!page.is_empty()).then_some(page))
    }

    /// Where a scan would have to start to go on after the last row that was given.
    pub fn position(&self) -> &Bytes {
        &self.position
    }
}

/// Reads one page and leaves no scanner behind.
pub(super) async fn page(core: &Core, table: &TableName, scan: &Scan) -> Result<ScanPage, Error> {
    let deadline = Instant::now() + core.limits.operation_timeout;
    let mut state = State::at(scan.start.clone());
    let more = Run { core, table, scan, keeps: false, deadline }.page(&mut state).await?;
    let Progress { rows, at, .. } = state.progress;
    let inside = scan.stop.is_empty() || at < scan.stop;
    Ok(ScanPage { rows, next: (more && inside).then_some(at) })
}

/// How far a scan is.
#[derive(Debug)]
struct State {
    progress: Progress,
    /// The server's scanner that stands there.
    held: Option<Held>,
}

impl State {
    fn at(start: Bytes) -> Self {
        Self { progress: Progress { at: start, ..Progress::default() }, held: None }
    }
}

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

/// One page under way.
#[derive(Clone, Copy)]
struct Run<'a> {
    core: &'a Core,
    table: &'a TableName,
    scan: &'a Scan,
    /// The scanner is wanted for another page.
    keeps: bool,
    deadline: Instant,
}

impl Run<'_> {
    /// Reads until the page is full (true) or the scan is over (false).
    async fn page(self, state: &mut State) -> Result<bool, Error> {
        let mut tries = 0;
        loop {
            let before = state.progress.at.clone();
            let error = match self.stretch(state).await {
                Ok(more) => return Ok(more),
                Err(error) => error,
            };
            // A page that grew is no vain try.
            tries = if state.progress.at == before { tries + 1 } else { 1 };
            let at_once = error.advice() == Advice::Reopen && tries == 1;
            let pause = if at_once { Duration::ZERO } else { backoff::pause(tries, &error) };
            let hopeless = matches!(error.advice(), Advice::Fail | Advice::Split) || (error.class == Class::Unknown && tries > 8);
            if hopeless || Instant::now() + pause >= self.deadline {
                return Err(error);
            }
            tracing::debug!(table = %self.table, error = %error, tries, "scan goes on after a pause");
            if batch::is_suspect(tries, error.class)
                && let Some(disabled) = self.core.disabled(self.table).await
            {
                return Err(disabled);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Region after region.
    async fn stretch(self, state: &mut State) -> Result<bool, Error> {
        let stop = &self.scan.stop;
        loop {
            let held = match state.held.take() {
                Some(held) => Ok(held),
                None => Err(self.region_at(&state.progress.at).await?),
            };
            let region = held.as_ref().map_or_else(Arc::clone, |held| Arc::clone(&held.region));
            let end = self.region_scan(held, state).await.inspect_err(|error| self.heed(error, &region))?;
            match end {
                End::Full => return Ok(true),
                End::Over => return Ok(false),
                End::RegionDone if region.end.is_empty() || (!stop.is_empty() && region.end >= *stop) => return Ok(false),
                End::RegionDone => {
                    state.progress.at = region.end.clone();
                    if self.is_full(&state.progress) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    async fn region_at(self, row: &[u8]) -> Result<Arc<Region>, Error> {
        let late = |_| Error::new(Class::Timeout, format_args!("scan of {}", self.table), "its region was not found in time");
        tokio::time::timeout_at(self.deadline, self.core.locator.locate(self.table, row)).await.map_err(late)?
    }

    /// Draws an error's conclusions for what we remember of regions.
    fn heed(self, error: &Error, region: &Arc<Region>) {
        let locator = &self.core.locator;
        match error.advice() {
            Advice::Relocate => locator.forget(self.table, region),
            Advice::Follow => match error.moved_to.as_deref() {
                Some(to) => locator.moved(self.table, region, to.clone()),
                None => locator.forget(self.table, region),
            },
            Advice::LeaveServer => locator.forget_server(&region.server),
            _ => {}
        }
    }

    /// Reads on in a scanner, or in one opened on this region.
    async fn region_scan(self, from: Result<Held, Arc<Region>>, state: &mut State) -> Result<End, Error> {
        let progress = &mut state.progress;
        let (region, mut held) = match from {
            Ok(held) => (Arc::clone(&held.region), Some(held)),
            Err(region) => (region, None),
        };
        if held.is_none() {
            // What another scanner had of a row comes again.
            progress.open.clear();
        }
        let node = self.core.pool.node(&region.server.address, Service::Client);
        let place = || format!("Scan on {}, region {}", node.address, String::from_utf8_lossy(&region.name));
        let garbled = |what: String| Error::new(Class::Garbled, place(), what);
        loop {
            let request = match &held {
                Some(held) => held.request(self.wishes(progress)),
                None => self.open_request(&region, progress),
            };
            let reply = self.call(&node, &request, &place).await?;
            let response = pb::ScanResponse::decode(reply.message).map_err(|e| garbled(e.to_string()))?;
            take(&response, CellReader::new(reply.cells), progress).map_err(garbled)?;
            let (more, here) = (response.more_results.unwrap_or(true), response.more_results_in_region.unwrap_or(true));
            if !(more && here) {
                // The server has closed its scanner. Where it was told a limit, its end may be no more than that.
                progress.close_row();
                let at_limit = self.is_full(progress) && !self.keeps;
                return Ok(if more {
                    End::RegionDone
                } else if at_limit {
                    End::Full
                } else {
                    End::Over
                });
            }
            let open = match held {
                Some(held) => held.after_a_call(),
                None => {
                    let id = response.scanner_id.ok_or_else(|| garbled("a scan without a scanner".to_owned()))?;
                    Held::opened(&node, &region, id, response.ttl)
                }
            };
            if self.is_full(progress) {
                if self.keeps {
                    state.held = Some(open);
                } else {
                    open.close(self.call_timeout()).await;
                }
                return Ok(End::Full);
            }
            held = Some(open);
        }
    }

    fn is_full(self, progress: &Progress) -> bool {
        progress.rows.len() >= self.scan.rows_max.max(1) || progress.bytes >= self.scan.bytes_max
    }

    fn call_timeout(self) -> Duration {
        self.core.limits.call_timeout.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    async fn call(self, node: &Node, request: &pb::ScanRequest, place: &(dyn Fn() -> String + Sync)) -> Result<Reply, Error> {
        let Ok(permit) = tokio::time::timeout_at(self.deadline, node.window.enter()).await else {
            return Err(Error::new(Class::Timeout, place(), "its window gave no room in time"));
        };
        let reply = node.call("Scan", request, [], self.call_timeout()).await.inspect_err(|error| {
            if error.advice() == Advice::SlowDown || error.overloaded {
                permit.refused();
            }
        })?;
        permit.answered();
        Ok(reply)
    }

    /// What is asked for in each call.
    fn wishes(self, progress: &Progress) -> pb::ScanRequest {
        let left = self.scan.rows_max.max(1).saturating_sub(progress.rows.len());
        pb::ScanRequest {
            number_of_rows: Some(left.min(ROWS_PER_CALL) as u32),
            // At this limit the server closes its scanner by itself.
            limit_of_rows: (!self.keeps).then(|| u32::try_from(left).unwrap_or(u32::MAX)),
            client_handles_partials: Some(true),
            client_handles_heartbeats: Some(true),
            ..Default::default()
        }
    }

    fn open_request(self, region: &Region, progress: &Progress) -> pb::ScanRequest {
        let scan = self.scan;
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
        let region = pb::RegionSpecifier::named(region.name.clone());
        pb::ScanRequest { region: Some(region), scan: Some(message), ..self.wishes(progress) }
    }
}

/// What one reply says of a fresh page: the rows it holds.
pub(super) fn read(reply: Reply) -> Result<Vec<Vec<Cell>>, String> {
    let mut progress = Progress::default();
    let response = pb::ScanResponse::decode(reply.message).map_err(|e| e.to_string())?;
    take(&response, CellReader::new(reply.cells), &mut progress)?;
    Ok(progress.rows)
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
    /// The page's rows; the next page begins.
    fn take(&mut self) -> Vec<Vec<Cell>> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }

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
