//! Calls of the data service: single gets and mutations, and what batches and they share: one mutation, a condition.

use super::faults::Fault;
use super::multi;
use super::scan;
use super::storage::{Log, Wanted};
use super::world::{Fail, META_REGION, World};
use super::{filters, master, meta};
use bytes::Bytes;
use prost::Message;
use widerow::io::hbase::cell::{Cell, CellReader, CellRun, CellType, LATEST};
use widerow::io::hbase::frame::Request;
use widerow::io::hbase::pb;

/// A reply's message and cells.
#[derive(Default)]
pub struct Answer {
    pub message: Vec<u8>,
    pub cells: CellRun,
}

impl Answer {
    pub fn of(message: &impl Message) -> Self {
        Self { message: message.encode_to_vec(), cells: CellRun::default() }
    }
}

/// Which server a call came to, and through which service.
#[derive(Clone, Debug)]
pub struct Place {
    /// `None`: the master.
    pub server: Option<usize>,
    pub service: String,
}

/// Reads a message, or says that it is none.
pub fn decode<M: Message + Default>(message: &Bytes) -> Result<M, Fail> {
    M::decode(message.clone()).map_err(|e| Fail::new("DoNotRetryIOException", e))
}

/// Does a call.
pub fn answer(world: &mut World, place: &Place, request: &Request, fault: Option<&Fault>) -> Result<Answer, Fail> {
    let method = request.header.method_name.clone().unwrap_or_default();
    if let Some(Fault::Fail(class)) = fault {
        return Err(Fail::new(class, "as the test wants it"));
    }
    if let (Some(Fault::FailRegion(class)), false) = (fault, method == "Multi") {
        return Err(Fail::new(class, "as the test wants it"));
    }
    let unknown = || Fail::new("UnsupportedOperationException", format!("{method} of {}", place.service));
    match (place.service.as_str(), place.server) {
        ("ClientMetaService", _) => {
            let message = meta::registry(world, &method).ok_or_else(unknown)?;
            Ok(Answer { message, cells: CellRun::default() })
        }
        ("MasterService", None) => master::answer(world, &method, &request.message),
        ("AdminService", Some(server)) if method == "FlushRegion" => {
            let asked: pb::FlushRegionRequest = decode(&request.message)?;
            let region = world.served(server, &asked.region.value)?;
            world.flush_region(region);
            Ok(Answer::of(&pb::FlushRegionResponse {
                last_flush_time: 1,
                flushed: Some(true),
                wrote_flush_wal_marker: Some(true),
            }))
        }
        ("ClientService", Some(server)) => match method.as_str() {
            "Get" => get(world, server, &decode(&request.message)?),
            "Mutate" => mutate(world, server, &decode(&request.message)?, &request.cells),
            "Multi" => multi::answer(world, server, &decode(&request.message)?, &request.cells, fault),
            "Scan" => scan::answer(world, server, &decode(&request.message)?),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// Cells as a reply's block.
pub fn run_of(cells: &[Cell]) -> CellRun {
    let mut run = CellRun::default();
    for cell in cells {
        // What was stored came in through the same bounds.
        run.push_cell(cell).expect("a stored cell has a cell's form");
    }
    run
}

fn get(world: &mut World, server: usize, request: &pb::GetRequest) -> Result<Answer, Fail> {
    let cells = read(world, server, &request.region.value, &request.get)?;
    let exists = (request.get.existence_only == Some(true)).then_some(!cells.is_empty());
    let cells = if exists.is_some() { Vec::new() } else { cells };
    let result = pb::Result { associated_cell_count: Some(cells.len() as i32), exists, ..Default::default() };
    Ok(Answer { message: pb::GetResponse { result: Some(result) }.encode_to_vec(), cells: run_of(&cells) })
}

/// A get's cells.
pub fn read(world: &mut World, server: usize, region: &[u8], get: &pb::Get) -> Result<Vec<Cell>, Fail> {
    let raw = get.attribute.iter().any(|a| a.name == "_raw_" && a.value.as_ref().is_some_and(|v| v.iter().any(|b| *b != 0)));
    if raw && get.column.iter().any(|column| !column.qualifier.is_empty()) {
        return Err(Fail::new("DoNotRetryIOException", "Cannot specify any column for a raw scan"));
    }
    let wanted = Wanted { raw, ..Wanted::of(&get.column, get.max_versions, get.time_range) };
    if region == META_REGION {
        let of_column = |c: &Cell| wanted.columns.is_empty() || wanted.columns.iter().any(|w| w.family == c.family);
        let row = meta::rows(world).into_iter().find(|(row, _)| *row == get.row);
        return Ok(row.map(|(_, cells)| cells.into_iter().filter(of_column).collect()).unwrap_or_default());
    }
    let at = world.served(server, region)?;
    let region = &world.regions[at];
    if !region.holds(&get.row) {
        return Err(Fail::new("WrongRegionException", "the row is not in this region"));
    }
    let table = &world.tables[&region.table];
    if let Some(column) = get.column.iter().find(|c| !table.storage.families.contains_key(&c.family)) {
        return Err(no_family(&column.family));
    }
    let cells = table.storage.read(&get.row, &wanted);
    get.filter.as_ref().map_or(Ok(cells.clone()), |filter| filters::left(filter, cells))
}

fn no_family(family: &[u8]) -> Fail {
    Fail::new("NoSuchColumnFamilyException", format!("Column family {} does not exist", String::from_utf8_lossy(family)))
}

/// One mutation with its cells.
#[derive(Clone, Debug)]
pub struct Mutation {
    pub index: u32,
    /// APPEND 0, INCREMENT 1, PUT 2, DELETE 3.
    pub kind: i32,
    pub row: Bytes,
    pub cells: Vec<Cell>,
    pub log: Log,
    pub nonce: Option<u64>,
    pub wants_result: bool,
}

impl Mutation {
    /// Takes the mutation's cells off the block.
    pub fn take(index: u32, proto: &pb::MutationProto, block: &mut CellReader) -> Result<Self, Fail> {
        let wrong = |text: String| Fail::new("DoNotRetryIOException", text);
        let count = usize::try_from(proto.associated_cell_count.unwrap_or(0)).unwrap_or(0);
        let mut cells = block.take(count).map_err(|e| wrong(e.to_string()))?;
        let row = proto.row.clone().or_else(|| cells.first().map(|c| c.row.clone())).unwrap_or_default();
        for family in &proto.column_value {
            for it in &family.qualifier_value {
                let stamp = it.timestamp.or(proto.timestamp).map_or(LATEST, |t| i64::try_from(t).unwrap_or(LATEST));
                let kind = match (proto.mutate_type, it.delete_type) {
                    (Some(3), Some(0)) => CellType::Delete,
                    (Some(3), Some(2)) => CellType::DeleteFamily,
                    (Some(3), Some(3)) => CellType::DeleteFamilyVersion,
                    (Some(3), _) => CellType::DeleteColumn,
                    _ => CellType::Put,
                };
                let (qualifier, value) = (it.qualifier.clone().unwrap_or_default(), it.value.clone().unwrap_or_default());
                cells.push(Cell { row: row.clone(), family: family.family.clone(), qualifier, timestamp: stamp, kind, value });
            }
        }
        let silent = proto.attribute.iter().any(|a| a.name == "_rr_" && a.value.as_deref() == Some(&[0]));
        Ok(Self {
            index,
            kind: proto.mutate_type.unwrap_or(0),
            row,
            cells,
            log: Log::of(proto.durability),
            nonce: proto.nonce.filter(|n| *n != 0),
            wants_result: !silent,
        })
    }

    /// Whether this region takes it, without doing it.
    pub fn check(&self, world: &World, region: usize) -> Result<(), Fail> {
        let region = &world.regions[region];
        if let Some(class) = world.poison.get(&self.row) {
            return Err(Fail::new(class, "a row that is never taken"));
        }
        if self.row.is_empty() || self.cells.iter().any(|c| c.row != self.row) {
            return Err(Fail::new("DoNotRetryIOException", "WrongRowIOException: a cell's row is not its mutation's"));
        }
        if !region.holds(&self.row) {
            return Err(Fail::new("WrongRegionException", "the row is not in this region"));
        }
        let storage = &world.tables[&region.table].storage;
        for cell in &self.cells {
            if !storage.families.contains_key(&cell.family) {
                return Err(no_family(&cell.family));
            }
            if cell.timestamp < 0 || cell.value.len() > 10 << 20 {
                return Err(Fail::new("DoNotRetryIOException", "KeyValue size too large, or a negative timestamp"));
            }
            let stored = || storage.read(&self.row, &of_cell(cell)).pop();
            if self.kind == 1 && (cell.value.len() != 8 || stored().is_some_and(|s| s.value.len() != 8)) {
                return Err(Fail::new("DoNotRetryIOException", "Field is not a long, it's wide"));
            }
        }
        if self.kind == 0 || self.kind > 3 {
            return Err(Fail::new("DoNotRetryIOException", format!("mutations of type {} are not done here", self.kind)));
        }
        Ok(())
    }

    /// The cells it writes: increments become sums with a timestamp of the server's. All of them read what was stored
    /// before any of the batch was written, which is how two increments of one cell lose one.
    pub fn resolve(&self, world: &World, region: usize) -> Vec<Cell> {
        if self.kind != 1 {
            return self.cells.clone();
        }
        let storage = &world.tables[&world.regions[region].table].storage;
        let sum = |cell: &Cell| {
            let number = |value: &[u8]| value.try_into().map(i64::from_be_bytes).unwrap_or(0);
            let old = storage.read(&self.row, &of_cell(cell)).pop();
            let value = old.as_ref().map_or(0, |o| number(&o.value)).wrapping_add(number(&cell.value));
            let timestamp = old.map_or(0, |o| o.timestamp.saturating_add(1)).max(world.now());
            Cell { timestamp, value: Bytes::copy_from_slice(&value.to_be_bytes()), ..cell.clone() }
        };
        self.cells.iter().map(sum).collect()
    }

    /// Writes resolved cells.
    pub fn write(&self, world: &mut World, region: usize, cells: &[Cell]) {
        let table = world.regions[region].table.clone();
        let seq = world.tick();
        let now = world.now();
        if let Some(table) = world.tables.get_mut(&table) {
            cells.iter().for_each(|cell| table.storage.write(cell, seq, self.log, now));
        }
    }
}

fn of_cell(cell: &Cell) -> Wanted {
    let column = pb::Column { family: cell.family.clone(), qualifier: vec![cell.qualifier.clone()] };
    Wanted::of(&[column], None, None)
}

/// Whether a condition holds: *supplied* OP *stored*; a cell that is not there matches only "nothing".
pub fn holds(world: &World, region: usize, condition: &pb::Condition) -> Result<bool, Fail> {
    let unknown = |what: &str| Fail::new("DoNotRetryIOException", format!("{what} is not known here"));
    let column = pb::Column {
        family: condition.family.clone().unwrap_or_default(),
        qualifier: vec![condition.qualifier.clone().unwrap_or_default()],
    };
    let table = &world.tables[&world.regions[region].table];
    if let Some(filter) = &condition.filter {
        let found = table.storage.read(&condition.row, &Wanted::of(&[], None, condition.time_range));
        return filters::left(filter, found).map(|left| !left.is_empty());
    }
    if !table.storage.families.contains_key(&column.family) {
        return Err(no_family(&column.family));
    }
    let stored = table.storage.read(&condition.row, &Wanted::of(&[column], None, condition.time_range)).pop();
    let comparator = condition.comparator.clone().unwrap_or_default();
    let wanted = match comparator.name.rsplit('.').next() {
        Some("NullComparator") => None,
        Some("BinaryComparator") => {
            let serialized = comparator.serialized_comparator.unwrap_or_default();
            let binary: pb::BinaryComparator = decode(&serialized)?;
            binary.comparable.value.filter(|value| !value.is_empty())
        }
        _ => return Err(unknown(&comparator.name)),
    };
    let equal = condition.compare_type == Some(2);
    Ok(match (wanted, stored) {
        (None, stored) => stored.is_none_or(|cell| cell.value.is_empty()) == equal,
        (Some(_), None) => false,
        (Some(wanted), Some(stored)) => {
            let compared = wanted.as_ref().cmp(&stored.value[..]);
            match condition.compare_type.unwrap_or(2) {
                0 => compared.is_lt(),
                1 => compared.is_le(),
                2 => compared.is_eq(),
                3 => compared.is_ne(),
                4 => compared.is_ge(),
                _ => compared.is_gt(),
            }
        }
    })
}

fn mutate(world: &mut World, server: usize, request: &pb::MutateRequest, block: &Bytes) -> Result<Answer, Fail> {
    let mutation = Mutation::take(0, &request.mutation, &mut CellReader::new(block.clone()))?;
    let region = world.served(server, &request.region.value)?;
    mutation.check(world, region)?;
    if let Some(condition) = &request.condition
        && !holds(world, region, condition)?
    {
        return Ok(Answer::of(&pb::MutateResponse { result: None, processed: Some(false) }));
    }
    let cells = multi::apply(world, server, region, std::slice::from_ref(&mutation), request.nonce_group);
    let cells = if mutation.kind == 1 && mutation.wants_result { cells } else { Vec::new() };
    let result = pb::Result { associated_cell_count: Some(cells.len() as i32), ..Default::default() };
    let message = pb::MutateResponse { result: Some(result), processed: Some(true) };
    Ok(Answer { message: message.encode_to_vec(), cells: run_of(&cells) })
}
