//! Whether a schema change harms a configured table (C6).
//!
//! Knows nothing of formats: they tell the table they name and the statement.

use super::{Decoded, Ignored};
use crate::domain::schema::{Schema, TableId};

/// `hit` is the configured table that the record says was truncated, dropped or altered. A rename is told under one of
/// its names only, so the statement is searched for the others.
pub(super) fn verdict(hit: Option<TableId>, db: &str, sql: &str, schema: &Schema) -> Decoded {
    Decoded::Ignored(match hit.or_else(|| renamed(db, sql, schema)) {
        Some(id) => Ignored::Destructive { table: schema.table(id).name },
        None => Ignored::Ddl,
    })
}

/// A dropped database takes its tables along: the first configured one stands for all.
pub(super) fn first_of(db: &str, schema: &Schema) -> Option<TableId> {
    let of_db = |name: &str| name.split_once('.').is_some_and(|(own, _)| own == db);
    schema.tables.iter().position(|t| of_db(t.name.as_str())).map(|at| TableId(at as u16))
}

fn renamed(db: &str, sql: &str, schema: &Schema) -> Option<TableId> {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let words = || sql.split(|c| !is_word(c)).filter(|w| !w.is_empty());
    if !words().any(|w| w.eq_ignore_ascii_case("rename")) {
        return None;
    }
    let mut before = "";
    words().find_map(|word| {
        let found = schema.find(db, word).or_else(|| schema.find(before, word));
        before = word;
        found
    })
}
