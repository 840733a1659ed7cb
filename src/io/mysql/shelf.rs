//! Jobs that lie aside, in a table that people and other tools can read (J8, J9).
//!
//! One row per (node, line, row key) with its reason, its place in the order of arrival and all a job carries, so that it
//! comes back as it went. Nodes share a table and see their own rows only: what overflows at one comes back there, and a
//! node that is started anew under its id finds its rows. The table is made when it is missing.
//! Every change is a transaction that has been committed when it answers.

use super::Mysql;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, Name, RowKey};
use crate::domain::job::{Hold, JobKey, KeyState, Lane, Load, Waiting};
use crate::io::jobbook::{Aside, Change, Entry, Shelf};
use crate::settings::{MysqlSettings, Queue};
use mysql_async::{Params, Row, Value};
use std::collections::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128;

/// Rows of one statement; its parameters stay far below MySQL's 65,535.
const ROWS_PER_STATEMENT: usize = 500;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS {table} (
    id BINARY(16) NOT NULL PRIMARY KEY COMMENT 'xxh3 of node, line and row key',
    node VARCHAR(128) NOT NULL,
    line VARCHAR(128) NOT NULL,
    reason VARCHAR(16) NOT NULL COMMENT 'spilled: its lane was full; parked: it was late; buried',
    lane VARCHAR(64) NOT NULL,
    seq BIGINT UNSIGNED NOT NULL COMMENT 'order of arrival',
    row_key TEXT NOT NULL,
    attempts INT UNSIGNED NOT NULL,
    first_offered BIGINT NOT NULL COMMENT 'ms since 1970, as the two below',
    oldest_change BIGINT NULL,
    newest_change BIGINT NULL,
    must_write BOOLEAN NOT NULL,
    run_late BOOLEAN NOT NULL,
    types TEXT NOT NULL COMMENT 'change types, a JSON list',
    detail TEXT NULL COMMENT 'why it was buried',
    KEY in_order (node, line, reason, lane, seq)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT = DYNAMIC";
const COLUMNS: usize = 15;
const REPLACE: &str = "REPLACE INTO {table} (id, node, line, reason, lane, seq, row_key, attempts, first_offered, oldest_change, \
                       newest_change, must_write, run_late, types, detail) VALUES ";
const LOAD: &str = "SELECT id, reason, lane, seq, attempts, first_offered, oldest_change, newest_change, must_write, run_late, \
                    types, detail FROM {table} WHERE id IN ";
const IN_ORDER: &str = "SELECT seq, row_key FROM {table} WHERE node = ? AND line = ? AND reason = ? AND lane = ? AND seq > ? \
                        ORDER BY seq LIMIT ?";
const ADOPT: &str = "UPDATE {table} SET lane = ? WHERE node = ? AND lane NOT IN ";

/// A shelf of one node for a queue elsewhere. The table is made, and rows of lanes that are no longer configured go to the
/// default lane, before it is used first.
///
/// # Errors
/// An address that cannot be used; the database is not reached yet.
pub fn overflow_shelf(settings: &MysqlSettings, node: &str, queue: &Queue) -> Result<Box<dyn Shelf>, Fault> {
    let lanes = queue.lanes.iter().map(|(name, _)| *name).collect();
    let way = Mysql::new(settings)?;
    Ok(Box::new(MysqlShelf {
        way,
        table: settings.table.clone(),
        node: node.to_owned(),
        lanes,
        default: queue.default_lane,
        ready: std::sync::OnceLock::new(),
    }))
}

struct MysqlShelf {
    way: Mysql,
    table: String,
    node: String,
    lanes: Vec<Name>,
    default: Lane,
    ready: std::sync::OnceLock<()>,
}

/// As `Aside`'s names in the table.
fn reason(aside: Aside) -> &'static str {
    match aside {
        Aside::Parked => "parked",
        Aside::Spilled => "spilled",
        Aside::Buried => "buried",
    }
}

impl MysqlShelf {
    fn ready(&self) -> Result<(), Fault> {
        if self.ready.get().is_some() {
            return Ok(());
        }
        let mut statements = vec![(self.text(CREATE), Params::Empty)];
        if !self.lanes.is_empty() {
            let names = self.lanes.iter().map(|lane| Value::from(lane.as_str()));
            let params = [Value::from(self.lane(self.default)), Value::from(self.node.as_str())].into_iter().chain(names);
            let text = format!("{}({})", self.text(ADOPT), marks(self.lanes.len()));
            statements.push((text, Params::Positional(params.collect())));
        }
        self.way.change(statements)?;
        // Another call may have been quicker; both did the same.
        let _ = self.ready.set(());
        Ok(())
    }

    fn text(&self, statement: &str) -> String {
        statement.replace("{table}", &self.table)
    }

    fn lane(&self, lane: Lane) -> &'static str {
        self.lanes.get(usize::from(lane.0)).map_or("", |name| name.as_str())
    }

    fn id(&self, key: &JobKey) -> Vec<u8> {
        let text = [self.node.as_str(), key.line.as_str(), key.row.as_str()].join("\0");
        xxh3_128(text.as_bytes()).to_be_bytes().to_vec()
    }

    fn corrupt(&self, key: &JobKey, what: &str) -> Fault {
        let what = format!("job of line {} row {} in table {}: {what}", key.line, key.row, self.table);
        Fault::new(FaultKind::Corrupt, self.way.place(), what)
    }

    fn values(&self, key: &JobKey, waiting: &Waiting, aside: Aside, seq: u64) -> Vec<Value> {
        let Waiting { lane, load, attempts, hold } = waiting;
        let types: Vec<&str> = load.types.iter().map(|name| name.as_str()).collect();
        let detail = match hold {
            Hold::Buried { reason } => Some(reason.as_str()),
            _ => None,
        };
        vec![
            Value::from(self.id(key)),
            Value::from(self.node.as_str()),
            Value::from(key.line.as_str()),
            Value::from(reason(aside)),
            Value::from(self.lane(*lane)),
            Value::from(seq),
            Value::from(key.row.as_str()),
            Value::from(*attempts),
            Value::from(load.first_offered.0),
            Value::from(load.oldest.map(|at| at.0)),
            Value::from(load.newest.map(|at| at.0)),
            Value::from(load.must_write),
            Value::from(load.run_late),
            // A list of texts: writing it cannot fail.
            Value::from(serde_json::to_string(&types).unwrap_or_default()),
            Value::from(detail),
        ]
    }

    fn entry(&self, key: &JobKey, row: &Row) -> Result<Entry, Fault> {
        let wrong = |column: &str| self.corrupt(key, &format!("column `{column}` cannot be read"));
        macro_rules! column {
            ($name:literal) => {
                row.get_opt($name).and_then(Result::ok).ok_or_else(|| wrong($name))?
            };
        }
        let (reason, lane, types): (String, String, String) = (column!("reason"), column!("lane"), column!("types"));
        let (oldest, newest, detail): (Option<i64>, Option<i64>, Option<String>) =
            (column!("oldest_change"), column!("newest_change"), column!("detail"));
        let hold = match reason.as_str() {
            "parked" => Hold::Parked,
            "spilled" => Hold::Spilled,
            "buried" => Hold::Buried { reason: detail.unwrap_or_default() },
            _ => return Err(wrong("reason")),
        };
        let types: Vec<String> = serde_json::from_str(&types).map_err(|_| wrong("types"))?;
        let types = types.iter().map(|name| Name::intern(name).map_err(|_| wrong("types"))).collect::<Result<_, _>>()?;
        let place = self.lanes.iter().position(|name| name.as_str() == lane);
        let load = Load {
            first_offered: Millis(column!("first_offered")),
            oldest: oldest.map(Millis),
            newest: newest.map(Millis),
            logged: None,
            types,
            must_write: column!("must_write"),
            run_late: column!("run_late"),
        };
        let lane = place.map_or(self.default, |at| Lane(at as u8));
        let waiting = Some(Waiting { lane, load, attempts: column!("attempts"), hold });
        Ok(Entry { state: KeyState { waiting, active: None }, seq: column!("seq") })
    }
}

fn marks(n: usize) -> String {
    vec!["?"; n].join(",")
}

impl Shelf for MysqlShelf {
    fn load(&self, key: &JobKey) -> Result<Option<Entry>, Fault> {
        Ok(self.load_all(&[key])?.pop().flatten())
    }

    fn load_all(&self, keys: &[&JobKey]) -> Result<Vec<Option<Entry>>, Fault> {
        self.ready()?;
        let mut found: HashMap<Vec<u8>, Row> = HashMap::new();
        let ids: Vec<Vec<u8>> = keys.iter().map(|key| self.id(key)).collect();
        for chunk in ids.chunks(ROWS_PER_STATEMENT) {
            let text = format!("{LOAD}({})", marks(chunk.len()));
            let ids = chunk.iter().cloned().map(Value::from).collect();
            let rows: Vec<Row> = self.way.rows(&text, &self.table, Params::Positional(ids))?;
            found.extend(rows.into_iter().filter_map(|row| Some((row.get("id")?, row))));
        }
        let entry = |(key, id): (&&JobKey, &Vec<u8>)| found.get(id).map(|row| self.entry(key, row)).transpose();
        keys.iter().zip(&ids).map(entry).collect()
    }

    fn filed(&self, line: Name, aside: Aside, lane: Lane, after: u64, max: usize) -> Result<Vec<(u64, RowKey)>, Fault> {
        self.ready()?;
        let place = [self.node.as_str(), line.as_str(), reason(aside), self.lane(lane)].map(Value::from);
        let params = place.into_iter().chain([Value::from(after), Value::from(max.min(u32::MAX as usize) as u64)]);
        let rows: Vec<(u64, String)> = self.way.rows(IN_ORDER, &self.table, Params::Positional(params.collect()))?;
        Ok(rows.into_iter().map(|(seq, row)| (seq, RowKey::new(&row))).collect())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), Fault> {
        self.ready()?;
        // The last change of a key counts; a key whose end is not aside has no row.
        let (mut put, mut gone): (Vec<Vec<Value>>, Vec<Value>) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for change in changes.iter().rev().filter(|change| seen.insert(change.key)) {
            let after = change.after.and_then(|entry| Some((entry, entry.filed()?, entry.state.waiting.as_ref()?)));
            match after {
                Some((entry, filed, waiting)) => put.push(self.values(change.key, waiting, filed.aside, entry.seq)),
                None => gone.push(self.id(change.key).into()),
            }
        }
        let mut statements = Vec::new();
        for ids in gone.chunks(ROWS_PER_STATEMENT) {
            let text = format!("DELETE FROM {} WHERE id IN ({})", self.table, marks(ids.len()));
            statements.push((text, Params::Positional(ids.to_vec())));
        }
        for rows in put.chunks(ROWS_PER_STATEMENT) {
            let one = format!("({})", marks(COLUMNS));
            let text = format!("{}{}", self.text(REPLACE), vec![one; rows.len()].join(","));
            statements.push((text, Params::Positional(rows.concat())));
        }
        if statements.is_empty() { Ok(()) } else { self.way.change(statements) }
    }
}
