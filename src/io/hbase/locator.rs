//! Which region holds a row, and which server holds the region: read from `hbase:meta`, kept until an error says otherwise.
//!
//! The first question about a table reads its regions from the start of meta's part for it; later ones look up a single row.
//! One question per table is under way at a time, the others wait for it and look again. A newer region removes the older
//! ones it overlaps, so splits and merges heal by themselves. Knows nothing of retries.

use super::cell::{Cell, CellReader};
use super::error::{Class, Error};
use super::flight::Flight;
use super::frame::{Reply, Service};
use super::node::Pool;
use super::pb;
use super::registry::{Life, Registry};
use super::types::{Address, TableName, TableState};
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

/// The one region of meta.
const META_REGION: &[u8] = b"hbase:meta,,1";
/// Regions read at once when a table is first asked for.
const FIRST_READ: u32 = 1000;
/// Regions looked at for one row: the newest may be a parent that has split.
const LOOKUP_READ: u32 = 5;

/// A region as meta shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Region {
    /// Its full name, as servers want it.
    pub(super) name: Bytes,
    pub(super) start: Bytes,
    /// Not included; empty is the table's end.
    pub(super) end: Bytes,
    pub(super) region_id: u64,
    pub(super) server: Life,
}

impl Region {
    pub(super) fn holds(&self, row: &[u8]) -> bool {
        self.start[..] <= *row && (self.end.is_empty() || *row < self.end[..])
    }

    /// The two have a row in common.
    fn overlaps(&self, other: &Self) -> bool {
        (self.end.is_empty() || other.start < self.end) && (other.end.is_empty() || self.start < other.end)
    }
}

/// The known regions of a table by start key; none of them overlap.
#[derive(Debug, Default)]
struct Regions {
    by_start: BTreeMap<Bytes, Arc<Region>>,
}

impl Regions {
    fn find(&self, row: &[u8]) -> Option<&Arc<Region>> {
        let (_, region) =
            self.by_start.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(row))).next_back()?;
        region.holds(row).then_some(region)
    }

    /// Puts a region in, unless a newer one stands there already.
    fn insert(&mut self, region: Arc<Region>) {
        let beside: Vec<Arc<Region>> = self.by_start.values().filter(|known| known.overlaps(&region)).cloned().collect();
        if beside.iter().any(|known| known.region_id > region.region_id) {
            return;
        }
        for known in beside {
            self.by_start.remove(&known.start);
        }
        self.by_start.insert(region.start.clone(), region);
    }
}

#[derive(Debug, Default)]
struct Table {
    regions: RwLock<Regions>,
    /// One caller reads meta for all; they remember whether the table's regions have been read once.
    asking: Flight<bool>,
}

impl Table {
    fn find(&self, row: &[u8]) -> Option<Arc<Region>> {
        self.regions.read().unwrap_or_else(|e| e.into_inner()).find(row).cloned()
    }
    fn insert(&self, region: Region) {
        self.regions.write().unwrap_or_else(|e| e.into_inner()).insert(Arc::new(region));
    }
}

#[derive(Debug)]
pub(super) struct Locator {
    pool: Arc<Pool>,
    registry: Arc<Registry>,
    call_timeout: Duration,
    tables: Mutex<HashMap<TableName, Arc<Table>>>,
}

impl Locator {
    pub(super) fn new(pool: Arc<Pool>, registry: Arc<Registry>, call_timeout: Duration) -> Self {
        Self { pool, registry, call_timeout, tables: Mutex::default() }
    }

    fn table(&self, name: &TableName) -> Arc<Table> {
        let mut tables = self.tables.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(table) = tables.get(name) {
            return Arc::clone(table);
        }
        Arc::clone(tables.entry(name.clone()).or_default())
    }

    /// The region of a row, from memory where it is known.
    ///
    /// # Errors
    /// `no_table`; `no_region` while meta shows none with a server; what kept meta from being read.
    pub(super) async fn locate(&self, name: &TableName, row: &[u8]) -> Result<Arc<Region>, Error> {
        let table = self.table(name);
        if let Some(region) = table.find(row) {
            return Ok(region);
        }
        let mut knows_table = table.asking.enter().await?;
        if let Some(region) = table.find(row) {
            return Ok(region);
        }
        let found = self.look_up(name, row, &table, &mut knows_table).await;
        // A hole concerns this row; whatever else it is, those who wait would meet it too.
        found.inspect_err(|error| {
            if error.class != Class::NoRegion {
                table.asking.fail(error);
            }
        })
    }

    async fn look_up(&self, name: &TableName, row: &[u8], table: &Table, knows_table: &mut bool) -> Result<Arc<Region>, Error> {
        if !*knows_table {
            let regions = self.regions_from(name, b"", FIRST_READ).await?;
            *knows_table = !regions.is_empty();
            regions.into_iter().for_each(|region| self.keep(table, region));
            if let Some(region) = table.find(row) {
                return Ok(region);
            }
        }
        let scan = pb::Scan {
            start_row: Some(meta_key(name, row, b"99999999999999")),
            stop_row: Some(meta_key(name, b"", b"")),
            reversed: Some(true),
            include_stop_row: Some(true),
            ..Default::default()
        };
        let rows = self.read_meta(scan, LOOKUP_READ).await?;
        let known = !rows.is_empty();
        for region in rows.into_iter().filter_map(|cells| region_of(&cells)) {
            self.keep(table, region);
        }
        if let Some(region) = table.find(row) {
            return Ok(region);
        }
        let place = format_args!("row {} of table {name}", String::from_utf8_lossy(row)).to_string();
        if known {
            Err(Error::new(Class::NoRegion, place, "no region with a server holds it at present"))
        } else {
            Err(Error::new(Class::NoTable, place, "meta knows no region of this table; create it, or see that its name is right"))
        }
    }

    /// Every region of a table as meta shows it now, those without a server left out.
    pub(super) async fn regions(&self, name: &TableName) -> Result<Vec<Region>, Error> {
        let mut all: Vec<Region> = Vec::new();
        let mut from = Bytes::new();
        loop {
            let page = self.regions_from(name, &from, FIRST_READ).await?;
            let end = page.last().map(|region| region.end.clone());
            all.extend(page);
            match end {
                Some(end) if !end.is_empty() && end > from => from = end,
                _ => break,
            }
        }
        let table = self.table(name);
        all.iter().for_each(|region| self.keep(&table, region.clone()));
        Ok(all)
    }

    /// What meta says of the table itself; `None` where it says nothing.
    pub(super) async fn table_state(&self, name: &TableName) -> Result<Option<TableState>, Error> {
        let get = pb::Get {
            row: Bytes::from(name.full()),
            column: vec![pb::Column { family: Bytes::from_static(b"table"), qualifier: vec![Bytes::from_static(b"state")] }],
            ..Default::default()
        };
        let request = pb::GetRequest { region: meta_region(), get };
        let (place, reply) = self.call_meta("Get", &request).await?;
        let garbled = |e: &dyn std::fmt::Display| Error::new(Class::Garbled, &place, e);
        let result = pb::GetResponse::decode(reply.message).map_err(|e| garbled(&e))?.result.unwrap_or_default();
        let count = usize::try_from(result.associated_cell_count.unwrap_or(0)).unwrap_or(0);
        let cells = CellReader::new(reply.cells).take(count).map_err(|e| garbled(&e))?;
        let Some(cell) = cells.first() else { return Ok(None) };
        let state = pb::TableState::decode(without_magic(&cell.value)).map_err(|e| garbled(&e))?;
        Ok(state_of(state.state))
    }

    /// The region is not where it was thought to be.
    pub(super) fn forget(&self, name: &TableName, region: &Arc<Region>) {
        let table = self.table(name);
        let mut regions = table.regions.write().unwrap_or_else(|e| e.into_inner());
        // Only the very entry that failed: another caller may have put a better one there.
        if regions.by_start.get(&region.start).is_some_and(|known| Arc::ptr_eq(known, region)) {
            regions.by_start.remove(&region.start);
        }
    }

    /// The server said where the region is now.
    pub(super) fn moved(&self, name: &TableName, region: &Arc<Region>, to: Address) {
        self.forget(name, region);
        let server = Life { address: to, start_code: 0 };
        self.table(name).insert(Region { server, ..Region::clone(region) });
    }

    /// This server, in this life, holds nothing any more.
    pub(super) fn forget_server(&self, life: &Life) {
        let tables: Vec<Arc<Table>> = self.tables.lock().unwrap_or_else(|e| e.into_inner()).values().cloned().collect();
        for table in tables {
            table.regions.write().unwrap_or_else(|e| e.into_inner()).by_start.retain(|_, region| region.server != *life);
        }
    }

    /// The table is gone, or made anew.
    pub(super) fn forget_table(&self, name: &TableName) {
        self.tables.lock().unwrap_or_else(|e| e.into_inner()).remove(name);
    }

    fn keep(&self, table: &Table, region: Region) {
        self.registry.met(&region.server);
        table.insert(region);
    }

    /// Regions from this start key on.
    async fn regions_from(&self, name: &TableName, start: &[u8], most: u32) -> Result<Vec<Region>, Error> {
        // A blank is lower than every letter of a name: `orders` does not sweep up `orders-old`.
        let stop = [&name.full()[..], b" ,,"].concat();
        let start_row = if start.is_empty() { meta_key(name, b"", b"") } else { meta_key(name, start, b"") };
        let scan = pb::Scan { start_row: Some(start_row), stop_row: Some(stop.into()), ..Default::default() };
        let rows = self.read_meta(scan, most).await?;
        Ok(rows.into_iter().filter_map(|cells| region_of(&cells)).collect())
    }

    /// Rows of meta in one call.
    async fn read_meta(&self, scan: pb::Scan, rows: u32) -> Result<Vec<Vec<Cell>>, Error> {
        let family = pb::Column { family: Bytes::from_static(b"info"), qualifier: Vec::new() };
        let request = pb::ScanRequest {
            region: Some(meta_region()),
            scan: Some(pb::Scan { column: vec![family], read_type: Some(2), ..scan }),
            number_of_rows: Some(rows),
            limit_of_rows: Some(rows),
            close_scanner: Some(true),
            ..Default::default()
        };
        let (place, reply) = self.call_meta("Scan", &request).await?;
        read_rows(reply).map_err(|e| Error::new(Class::Garbled, place, e))
    }

    async fn call_meta(&self, method: &'static str, request: &impl Message) -> Result<(String, Reply), Error> {
        let life = self.registry.meta().await?;
        let node = self.pool.node(&life.address, Service::Client);
        match node.call(method, request, [], self.call_timeout).await {
            Ok(reply) => Ok((format!("{method} of hbase:meta on {}", life.address), reply)),
            Err(error) => {
                // Whatever it was, asking where meta is costs little.
                self.registry.forget_meta(&life);
                Err(error)
            }
        }
    }
}

fn meta_region() -> pb::RegionSpecifier {
    pb::RegionSpecifier::named(Bytes::from_static(META_REGION))
}

fn meta_key(name: &TableName, row: &[u8], id: &[u8]) -> Bytes {
    [&name.full()[..], b",", row, b",", id].concat().into()
}

fn without_magic(value: &Bytes) -> Bytes {
    if value.starts_with(b"PBUF") { value.slice(4..) } else { value.clone() }
}

pub(super) fn state_of(code: i32) -> Option<TableState> {
    Some(match code {
        0 => TableState::Enabled,
        1 => TableState::Disabled,
        2 => TableState::Disabling,
        3 => TableState::Enabling,
        _ => return None,
    })
}

/// Rows of meta in a reply.
pub(super) fn read_rows(reply: Reply) -> Result<Vec<Vec<Cell>>, String> {
    let response = pb::ScanResponse::decode(reply.message).map_err(|e| e.to_string())?;
    let mut cells = CellReader::new(reply.cells);
    let row = |count: u32| cells.take(count as usize).map_err(|e| e.to_string());
    response.cells_per_result.into_iter().map(row).collect()
}

/// A row of meta as a region, unless it is a split parent, a replica, or has no server.
pub(super) fn region_of(cells: &[Cell]) -> Option<Region> {
    let of = |qualifier: &[u8]| cells.iter().find(|cell| cell.qualifier == qualifier).map(|cell| &cell.value);
    let info = pb::RegionInfo::decode(without_magic(of(b"regioninfo")?)).ok()?;
    if info.split == Some(true) || info.offline == Some(true) || info.replica_id.unwrap_or(0) != 0 {
        return None;
    }
    let server = std::str::from_utf8(of(b"server")?).ok()?;
    let (host, port) = server.rsplit_once(':')?;
    let address = Address { host: host.to_owned(), port: port.parse().ok()? };
    let start_code = of(b"serverstartcode").and_then(|v| <[u8; 8]>::try_from(&v[..]).ok()).map_or(0, u64::from_be_bytes);
    Some(Region {
        name: cells.first()?.row.clone(),
        start: info.start_key.unwrap_or_default(),
        end: info.end_key.unwrap_or_default(),
        region_id: info.region_id,
        server: Life { address, start_code },
    })
}

#[cfg(test)]
mod tests;
