//! One transaction's row changes as the messages of a format: which partition, which key, which body.
//!
//! Debezium: schemas off, decimals as strings, DATETIME as milliseconds, a delete followed by its null body, a changed
//! primary key as a delete and an insert. Canal: flat messages, every value a string, rows of one partition and kind in
//! one message, a changed key in the new key's partition. Maxwell: bare numbers, one row a message.

use super::chance::mix;
use super::tables::{Cell, DATABASE, Row, Table, key_of, write_long};
use super::trade::RowEvent;
use crate::domain::decode::Format;
use bytes::Bytes;
use std::fmt::Write;

/// A record without its place in the log.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub table: Table,
    /// The partition's number.
    pub partition: u32,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
}

/// Writes the messages of one format.
#[derive(Debug)]
pub(super) struct Press {
    format: Format,
    partitions: u32,
    scratch: Vec<u8>,
    /// Canal's `mysqlType` to `sqlType` of each table, in the order of [`Table::ALL`].
    canal_types: Vec<String>,
    /// Transactions so far: Maxwell's xid, Canal's batch, and where the binlog stands.
    transactions: u64,
}

/// How a format writes values.
#[derive(Clone, Copy)]
enum Style {
    Debezium,
    Canal,
    Maxwell,
}

impl Press {
    /// A format the shop does not write is written as Debezium; settings refuse it before.
    pub(super) fn new(format: Format, partitions: u32) -> Self {
        let canal_types = Table::ALL.into_iter().map(canal_types).collect();
        Self { format, partitions: partitions.max(1), scratch: Vec::with_capacity(4096), canal_types, transactions: 0 }
    }

    /// Appends the messages of one transaction. `at_ms`: when the database made it.
    pub(super) fn print(&mut self, events: &[RowEvent], at_ms: i64, out: &mut Vec<Message>) {
        self.transactions += 1;
        match self.format {
            Format::Canal => self.canal(events, at_ms, out),
            Format::Maxwell => {
                for (at, event) in events.iter().enumerate() {
                    let message = self.maxwell(event, at, at + 1 == events.len(), at_ms);
                    out.push(message);
                }
            }
            Format::Debezium | Format::Auto | Format::Dts => {
                for (at, event) in events.iter().enumerate() {
                    self.debezium(event, at, at_ms, out);
                }
            }
        }
    }

    fn partition(&self, key: i64) -> u32 {
        (mix(key.unsigned_abs()) % u64::from(self.partitions)) as u32
    }

    fn take(&mut self) -> Bytes {
        let body = Bytes::copy_from_slice(&self.scratch);
        self.scratch.clear();
        body
    }

    /// Binlog file number and position of this transaction's row `at`.
    fn binlog(&self, at: usize) -> (u64, u64) {
        let written = self.transactions * 1_000 + at as u64 * 100;
        (1 + (written >> 30), 4 + (written & ((1 << 30) - 1)))
    }

    fn debezium(&mut self, event: &RowEvent, at: usize, at_ms: i64, out: &mut Vec<Message>) {
        let key = |row: &Row| Bytes::from(format!("{{\"{}\":{}}}", event.table.key(), key_of(row)));
        match (&event.before, &event.after) {
            (Some(before), Some(after)) if key_of(before) != key_of(after) => {
                let (old, new) = (key(before), key(after));
                let header = vec![("__debezium.newkey".to_owned(), new.clone())];
                self.debezium_row(event.table, (Some(before), None), (at, at_ms), old.clone(), header, out);
                self.tombstone(event.table, key_of(before), old.clone(), out);
                let header = vec![("__debezium.oldkey".to_owned(), old)];
                self.debezium_row(event.table, (None, Some(after)), (at, at_ms), new, header, out);
            }
            (Some(before), None) => {
                self.debezium_row(event.table, (Some(before), None), (at, at_ms), key(before), Vec::new(), out);
                self.tombstone(event.table, key_of(before), key(before), out);
            }
            (before, Some(after)) => {
                self.debezium_row(event.table, (before.as_ref(), Some(after)), (at, at_ms), key(after), Vec::new(), out);
            }
            (None, None) => {}
        }
    }

    fn tombstone(&self, table: Table, row: i64, key: Bytes, out: &mut Vec<Message>) {
        out.push(Message { table, partition: self.partition(row), key: Some(key), value: None, headers: Vec::new() });
    }

    fn debezium_row(
        &mut self,
        table: Table,
        (before, after): (Option<&Row>, Option<&Row>),
        (at, at_ms): (usize, i64),
        key: Bytes,
        headers: Vec<(String, Bytes)>,
        out: &mut Vec<Message>,
    ) {
        let (file, position) = self.binlog(at);
        let body = &mut self.scratch;
        for (name, row) in [("{\"before\":", before), (",\"after\":", after)] {
            put(body, name);
            match row {
                Some(row) => write_row(body, table, row, Style::Debezium),
                None => put(body, "null"),
            }
        }
        put(body, ",\"source\":{\"version\":\"3.5.0.Final\",\"connector\":\"mysql\",\"name\":\"shop\",\"ts_ms\":");
        write_long(body, at_ms / 1000 * 1000);
        put(body, ",\"snapshot\":\"false\",\"db\":\"");
        put(body, DATABASE);
        put(body, "\",\"sequence\":null,\"table\":\"");
        put(body, table.name());
        put(body, "\",\"server_id\":11,\"gtid\":null,\"file\":\"mysql-bin.");
        put_padded(body, file);
        put(body, "\",\"pos\":");
        write_long(body, position as i64);
        put(body, ",\"row\":0,\"thread\":7,\"query\":null},\"transaction\":null,\"op\":\"");
        put(
            body,
            if before.is_none() {
                "c"
            } else if after.is_none() {
                "d"
            } else {
                "u"
            },
        );
        put(body, "\",\"ts_ms\":");
        write_long(body, at_ms);
        put(body, "}");
        let value = self.take();
        let row = after.or(before).map_or(0, |row| key_of(row));
        out.push(Message { table, partition: self.partition(row), key: Some(key), value: Some(value), headers });
    }

    fn canal(&mut self, events: &[RowEvent], at_ms: i64, out: &mut Vec<Message>) {
        let place = |event: &RowEvent| {
            let row = event.after.as_ref().or(event.before.as_ref());
            (event.table, event.before.is_some(), event.after.is_some(), self.partition(row.map_or(0, |row| key_of(row))))
        };
        let places: Vec<_> = events.iter().map(place).collect();
        for (at, place) in places.iter().enumerate() {
            if places[..at].contains(place) {
                continue;
            }
            let rows: Vec<&RowEvent> = events.iter().zip(&places).filter(|(_, p)| *p == place).map(|(e, _)| e).collect();
            let value = self.canal_body(&rows, at_ms);
            out.push(Message { table: place.0, partition: place.3, key: None, value: Some(value), headers: Vec::new() });
        }
    }

    /// The column names in `old` are the union over the rows, as Canal writes them.
    fn canal_body(&mut self, rows: &[&RowEvent], at_ms: i64) -> Bytes {
        let first = rows[0];
        let table = first.table;
        let body = &mut self.scratch;
        put(body, "{\"data\":");
        write_list(body, rows, |body, event| {
            if let Some(row) = event.after.as_ref().or(event.before.as_ref()) {
                write_row(body, table, row, Style::Canal);
            }
        });
        put(body, ",\"database\":\"");
        put(body, DATABASE);
        put(body, "\",\"es\":");
        write_long(body, at_ms / 1000 * 1000);
        put(body, ",\"gtid\":\"\",\"id\":");
        write_long(body, self.transactions as i64);
        put(body, ",\"isDdl\":false,");
        put(body, &self.canal_types[table as usize]);
        put(body, ",\"old\":");
        let kind = match (&first.before, &first.after) {
            (Some(_), Some(_)) => {
                let differs = |column: usize| {
                    rows.iter().any(|e| matches!((&e.before, &e.after), (Some(b), Some(a)) if b[column] != a[column]))
                };
                let columns: Vec<usize> = (0..table.columns().len()).filter(|c| differs(*c)).collect();
                write_list(body, rows, |body, event| {
                    if let Some(row) = &event.before {
                        write_columns(body, table, row, &columns, Style::Canal);
                    }
                });
                "UPDATE"
            }
            (before, _) => {
                put(body, "null");
                if before.is_some() { "DELETE" } else { "INSERT" }
            }
        };
        put(body, ",\"sql\":\"\",\"table\":\"");
        put(body, table.name());
        put(body, "\",\"ts\":");
        write_long(body, at_ms);
        put(body, ",\"type\":\"");
        put(body, kind);
        put(body, "\"}");
        self.take()
    }

    fn maxwell(&mut self, event: &RowEvent, at: usize, last: bool, at_ms: i64) -> Message {
        let table = event.table;
        let (file, position) = self.binlog(at);
        let transactions = self.transactions;
        let (kind, row) = match (&event.before, &event.after) {
            (None, after) => ("insert", after.as_ref()),
            (Some(_), Some(after)) => ("update", Some(after)),
            (before, None) => ("delete", before.as_ref()),
        };
        let key = row.map_or(0, |row| key_of(row));
        let body = &mut self.scratch;
        put(body, "{\"database\":\"");
        put(body, DATABASE);
        put(body, "\",\"table\":\"");
        put(body, table.name());
        put(body, "\",\"type\":\"");
        put(body, kind);
        put(body, "\",\"ts\":");
        write_long(body, at_ms / 1000);
        put(body, ",\"xid\":");
        write_long(body, transactions as i64);
        if last {
            put(body, ",\"commit\":true");
        } else {
            put(body, ",\"xoffset\":");
            write_long(body, at as i64);
        }
        put(body, ",\"position\":\"mysql-bin.");
        put_padded(body, file);
        put(body, ":");
        write_long(body, position as i64);
        put(body, "\",\"server_id\":11,\"thread_id\":7,\"schema_id\":1,\"primary_key\":[");
        write_long(body, key);
        put(body, "],\"primary_key_columns\":[\"");
        put(body, table.key());
        put(body, "\"],\"data\":");
        match row {
            Some(row) => write_row(body, table, row, Style::Maxwell),
            None => put(body, "{}"),
        }
        if let (Some(before), Some(after)) = (&event.before, &event.after) {
            let columns: Vec<usize> = (0..before.len()).filter(|c| before[*c] != after[*c]).collect();
            put(body, ",\"old\":");
            write_columns(body, table, before, &columns, Style::Maxwell);
        }
        put(body, "}");
        let value = self.take();
        let name = format!("{{\"database\":\"{DATABASE}\",\"table\":\"{}\",\"pk.{}\":{key}}}", table.name(), table.key());
        Message { table, partition: self.partition(key), key: Some(Bytes::from(name)), value: Some(value), headers: Vec::new() }
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A binlog file's number, six digits wide.
fn put_padded(out: &mut Vec<u8>, n: u64) {
    put(out, &format!("{n:06}"));
}

fn write_list(out: &mut Vec<u8>, rows: &[&RowEvent], write: impl Fn(&mut Vec<u8>, &RowEvent)) {
    for (at, row) in rows.iter().enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        write(out, row);
    }
    out.push(b']');
}

fn write_row(out: &mut Vec<u8>, table: Table, row: &Row, style: Style) {
    for (at, (column, cell)) in table.columns().iter().zip(row).enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        write_member(out, column.name, *cell, style);
    }
    out.push(b'}');
}

fn write_columns(out: &mut Vec<u8>, table: Table, row: &Row, columns: &[usize], style: Style) {
    out.push(b'{');
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_member(out, table.columns()[*column].name, row[*column], style);
    }
    out.push(b'}');
}

fn write_member(out: &mut Vec<u8>, name: &str, cell: Cell, style: Style) {
    out.push(b'"');
    put(out, name);
    put(out, "\":");
    let bare = match (cell, style) {
        (Cell::Null, _) => return put(out, "null"),
        (Cell::Time(seconds), Style::Debezium) => return write_long(out, seconds * 1000),
        (Cell::Long(_), Style::Debezium | Style::Maxwell) | (Cell::Cents(_), Style::Maxwell) => true,
        _ => false,
    };
    if bare {
        return cell.write_text(out);
    }
    out.push(b'"');
    match cell {
        // The only texts that need escapes.
        Cell::Word(word) if word.contains(['"', '\\']) => {
            for c in word.chars() {
                if matches!(c, '"' | '\\') {
                    out.push(b'\\');
                }
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        _ => cell.write_text(out),
    }
    out.push(b'"');
}

fn canal_types(table: Table) -> String {
    let mut mysql = String::new();
    let mut sql = String::new();
    for (at, column) in table.columns().iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // java.sql.Types, as Canal numbers them.
        let number = match column.mysql {
            "bigint" => -5,
            "int" => 4,
            "longtext" => 2005,
            "datetime" => 93,
            decimal if decimal.starts_with("decimal") => 3,
            _ => 12,
        };
        // Writing to a String cannot fail.
        let _ = write!(mysql, "{comma}\"{}\":\"{}\"", column.name, column.mysql);
        let _ = write!(sql, "{comma}\"{}\":{number}", column.name);
    }
    format!("\"mysqlType\":{{{mysql}}},\"pkNames\":[\"{}\"],\"sqlType\":{{{sql}}}", table.key())
}
