//! E5: whether the configured row kinds can go on with the rows that are there.
//!
//! A fingerprint of each kind lies beside its rows. A kind may gain tables: rows only get more cells, and versions only rise.
//! Anything else that would orphan rows, cells or versions is refused. Knows nothing of how a store keeps the fingerprint.

use crate::domain::fault::{Fault, FaultKind};
use crate::domain::schema::{RowKind, Schema};
use crate::ports::rows::RowStore;
use crate::settings::Settings;

/// What stands before the tables of a fingerprint.
const TABLES: &str = " tables ";
/// How often another process may have been quicker to note a kind, before that is a fault.
const TRIES_MAX: usize = 5;

/// E5: refuses a run whose row kinds differ from those that wrote the store, and notes the kinds and tables that are new.
///
/// # Errors
/// [`FaultKind::Incompatible`] with both fingerprints and what to do; what the store answers.
pub async fn check_fingerprints(rows: &dyn RowStore, schema: &Schema, settings: &Settings) -> Result<(), Fault> {
    for kind in &schema.kinds {
        check(rows, kind.name.as_str(), &fingerprint(kind, schema, settings)).await?;
    }
    Ok(())
}

async fn check(rows: &dyn RowStore, kind: &str, wanted: &str) -> Result<(), Fault> {
    let key = format!("fingerprint/{kind}");
    for _ in 0..TRIES_MAX {
        let held = rows.meta(&key).await?;
        let change = held.as_deref().map_or(Change::Grown, |held| change(held, wanted));
        let done = match change {
            Change::None => true,
            Change::Grown => rows.set_meta(&key, held.as_deref(), wanted).await?,
            Change::Other => {
                let held = held.unwrap_or_default();
                let what = format!(
                    "row kind `{kind}` was written as `{held}` and is configured as `{wanted}`; its rows would be orphaned or \
                     their versions fall (E5). Put the configuration back, or give the kind another name, or use another data_dir"
                );
                return Err(Fault::new(FaultKind::Incompatible, "row store", what));
            }
        };
        if done {
            return Ok(());
        }
    }
    let what = format!("row kind `{kind}` is noted anew by other processes all the time; let one of them start first");
    Err(Fault::new(FaultKind::Incompatible, "row store", what))
}

/// How a fingerprint differs from the one that is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// It has more tables.
    Grown,
    Other,
}

fn change(held: &str, wanted: &str) -> Change {
    if held == wanted {
        return Change::None;
    }
    let (Some((held_head, held)), Some((head, tables))) = (held.rsplit_once(TABLES), wanted.rsplit_once(TABLES)) else {
        return Change::Other;
    };
    let held: Vec<&str> = held.split(' ').collect();
    let tables: Vec<&str> = tables.split(' ').collect();
    // A second table of one bare name puts the database before both names (M1), and the old cells would be nobody's.
    let renames = |added: &str| held.iter().any(|known| bare(known) == bare(added));
    let kept = held.iter().all(|known| tables.contains(known));
    let clear = tables.iter().filter(|table| !held.contains(table)).all(|added| !renames(added));
    if held_head == head && kept && clear { Change::Grown } else { Change::Other }
}

/// `item` of `trade.item(id)`.
fn bare(table: &str) -> &str {
    let name = table.split('(').next().unwrap_or(table);
    name.rsplit('.').next().unwrap_or(name)
}

/// What must not change under rows that exist: key template, ids, stamp and version kinds.
fn fingerprint(kind: &RowKind, schema: &Schema, settings: &Settings) -> String {
    let mut tables: Vec<String> = kind
        .tables
        .iter()
        .map(|t| {
            let ids: Vec<_> = t.id.iter().map(|n| n.as_str()).collect();
            format!("{}({})", schema.table(t.table).name, ids.join(","))
        })
        .collect();
    tables.sort_unstable();
    let mut stamps: Vec<String> = settings.sources.iter().map(|s| format!("{:?}", s.stamp)).collect();
    stamps.sort_unstable();
    stamps.dedup();
    format!("key {} version {} stamp {}{TABLES}{}", kind.key.source(), kind.version, stamps.join("+"), tables.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: E5, a kind may grow and nothing else. Method: a table of fingerprints beside the one that is noted.
    #[test]
    fn kinds_may_grow() {
        let held = "key {no} version weight stamp Offset tables shop.item(id) shop.orders(id)";
        for (wanted, change_wanted) in [
            (held, Change::None),
            ("key {no} version weight stamp Offset tables shop.item(id) shop.orders(id) shop.ship(id)", Change::Grown),
            ("key {no} version weight stamp Offset tables shop.item(id)", Change::Other),
            ("key {no} version weight stamp Offset tables shop.item(sku) shop.orders(id) shop.ship(id)", Change::Other),
            ("key {no} version counter stamp Offset tables shop.item(id) shop.orders(id)", Change::Other),
            ("key {id} version weight stamp Offset tables shop.item(id) shop.orders(id) shop.ship(id)", Change::Other),
            ("key {no} version weight stamp Offset tables old.item(id) shop.item(id) shop.orders(id)", Change::Other),
        ] {
            assert_eq!(change(held, wanted), change_wanted, "{wanted}");
        }
    }
}
