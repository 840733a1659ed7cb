use super::*;
use crate::domain::row::{Keys, Part};
use crate::domain::samples::{part, part_id, told_keys, tombstone};
use crate::io::hbase::cell::CellType;
use proptest::prelude::*;
use std::collections::BTreeMap;

const FAMILY: &[u8] = b"cf";

/// What a server makes of puts with VERSIONS 1: the highest timestamp shows, of equal ones the later write.
#[derive(Default)]
struct Server(BTreeMap<Coordinates, Stored>);

/// Family and qualifier.
type Coordinates = (Vec<u8>, Vec<u8>);
/// Timestamp and value.
type Stored = (i64, Vec<u8>);

impl Server {
    fn put(&mut self, family: &[u8], qualifier: &[u8], timestamp: i64, value: &[u8]) -> Result<(), CellError> {
        let held = self.0.entry((family.to_vec(), qualifier.to_vec())).or_insert((timestamp, value.to_vec()));
        if timestamp >= held.0 {
            *held = (timestamp, value.to_vec());
        }
        Ok(())
    }

    fn take(&mut self, change: &WideRow) {
        data_cells(change, |q, t, v| self.put(FAMILY, q, t, v)).unwrap();
        own_cells(change, true, |q, t, v| self.put(OWN_FAMILY.as_bytes(), q, t, v)).unwrap();
        for (counter, by) in [(BASE, change.base), (COUNTER, change.counter)] {
            let (_, held) = self.0.entry((OWN_FAMILY.into(), counter.to_vec())).or_insert((9, vec![0; 8]));
            *held = (i64::from_be_bytes(held[..].try_into().unwrap()) + by).to_be_bytes().to_vec();
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let bytes = |b: &Vec<u8>| Bytes::copy_from_slice(b);
        let cell = |((family, qualifier), (timestamp, value)): (&Coordinates, &Stored)| Cell {
            row: Bytes::from_static(b"r"),
            family: bytes(family),
            qualifier: bytes(qualifier),
            timestamp: *timestamp,
            kind: CellType::Put,
            value: bytes(value),
        };
        self.0.iter().map(cell).collect()
    }

    fn row(&self) -> WideRow {
        let mut row = row_of(&self.cells(), FAMILY).unwrap().unwrap();
        row.marks.sort();
        row
    }
}

fn cell(family: &str, qualifier: &[u8], value: &[u8]) -> Cell {
    Cell {
        row: Bytes::from_static(b"r"),
        family: Bytes::copy_from_slice(family.as_bytes()),
        qualifier: Bytes::copy_from_slice(qualifier),
        timestamp: 7,
        kind: CellType::Put,
        value: Bytes::copy_from_slice(value),
    }
}

/// Any row that may be written: names with every character that means something here.
fn rows() -> impl Strategy<Value = WideRow> {
    let name = prop::sample::select(vec!["status", "#del", "#", "a:b", "%", "%3A", "k", "moved", "门店", "a\u{7}b", "base"]);
    let value = prop::option::of("[a\\x00-\\x02门]{0,4}");
    let tombstone = prop::option::of((0i64..1 << 61, any::<i64>(), any::<bool>()));
    let cell = (name.clone(), 0i64..1 << 61, value.clone());
    let part = (name.clone(), "[0-9,%:]{0,3}", tombstone, prop::collection::vec(cell, 0..6));
    let marks = prop::collection::btree_map("moved:[a-z:]{0,4}", 0i64..1 << 61, 0..3);
    let keys = prop::collection::vec((name, value), 0..3);
    (0i64..1 << 40, 0i64..1 << 40, keys, marks, prop::collection::vec(part, 0..5)).prop_map(
        |(base, counter, keys, marks, parts)| {
            let mut row = WideRow { base, counter, keys: Keys::default(), ..WideRow::default() };
            for (name, value) in &keys {
                row.keys.set(Name::of(name), value.as_deref().map_or(Value::Null, Value::Text));
            }
            row.marks = marks.into_iter().map(|(name, stamp)| (name, Stamp(stamp))).collect();
            for (table, child, tombstone, cells) in parts {
                let part = row.part_mut(&part_id(table, &child));
                part.tombstone = tombstone.map(|(stamp, written, revoked)| Tombstone {
                    stamp: Stamp(stamp),
                    written: Millis(written),
                    revoked,
                });
                for (name, stamp, value) in &cells {
                    part.cells.push(row::Cell { name: Name::of(name), stamp: Stamp(*stamp), value: value.as_deref() });
                }
            }
            row.parts.retain(|p| p.tombstone.is_some() || !p.cells.is_empty());
            row
        },
    )
}

/// A change under few names and stamps, so that cells meet; values follow from the stamp, as M4 has it.
fn changes() -> impl Strategy<Value = WideRow> {
    (0u8..3, prop::collection::vec(0u8..3, 1..4), 1i64..20, 0u8..4, any::<bool>()).prop_map(
        |(child, columns, stamp, kind, mark)| {
            let (child, value) = (child.to_string(), stamp.to_string());
            let names: Vec<String> = columns.iter().map(|c| format!("c{c}")).collect();
            let cells: Vec<_> = names.iter().map(|n| (n.as_str(), (stamp % 3 > 0).then_some(value.as_str()))).collect();
            let mut part = part("item", &child, stamp, if kind == 0 { &[][..] } else { &cells });
            part.tombstone = (kind < 2).then(|| tombstone(stamp - i64::from(kind)));
            let marks = if mark { vec![("moved:item:1:0".to_owned(), Stamp(stamp))] } else { Vec::new() };
            WideRow { keys: told_keys(&[("order_no", "7")]), counter: 1, base: stamp % 2, marks, parts: [part].into() }
        },
    )
}

proptest! {
    /// Goal: nothing is lost or mixed up on the way. Method: random rows there and back.
    #[test]
    fn a_row_comes_back_as_it_was(row in rows()) {
        let mut server = Server::default();
        server.take(&row);
        prop_assert_eq!(server.row(), row);
    }

    /// Goal: M4 by the server's own rule. Method: random changes put one by one, in any order, some twice; and merged here.
    #[test]
    fn puts_merge_as_rows_do(
        (straight, shuffled) in prop::collection::vec(changes(), 1..16).prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle())),
    ) {
        let (mut server, mut merged) = (Server::default(), WideRow::default());
        straight.iter().for_each(|change| merged.merge(change));
        shuffled.iter().for_each(|change| server.take(change));
        prop_assert_eq!(&server.row(), &merged);
        shuffled.iter().for_each(|change| server.take(&WideRow { base: 0, counter: 0, ..change.clone() }));
        prop_assert_eq!(server.row(), merged);
    }

    /// Goal: a table row's pattern finds its cells and no others. Method: against the qualifiers of random other rows, the
    /// few signs of the pattern read by hand.
    #[test]
    fn a_pattern_is_one_table_rows(row in rows()) {
        for of in &row.parts {
            let pattern = part_pattern(&of.id);
            for other in &row.parts {
                let mut qualifier = Vec::new();
                tombstone_qualifier(&other.id, &mut qualifier);
                // A child key never holds a `:` (M1), so such ones are left out here.
                if !other.id.child.contains(':') && !of.id.child.contains(':') {
                    prop_assert_eq!(finds(&pattern, std::str::from_utf8(&qualifier).unwrap()), of.id == other.id);
                }
            }
        }
    }

    /// Goal: whatever lies in a table, reading it ends in a row or an error. Method: random cells.
    #[test]
    fn any_cells_are_read(cells in prop::collection::vec(
        ("cf|m|x", prop_oneof!["[a-z%:#]{0,8}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..9)],
         prop::collection::vec(any::<u8>(), 0..9)), 0..6)) {
        let cells: Vec<Cell> = cells.iter().map(|(family, qualifier, value)| cell(family, qualifier, value)).collect();
        let _ = row_of(&cells, FAMILY);
    }
}

/// `^`, escaped letters, `[^:]*`, `\z`: all a pattern of ours is made of.
fn finds(pattern: &str, text: &str) -> bool {
    let (head, tail) = pattern.strip_prefix('^').unwrap().strip_suffix("\\z").unwrap().split_once("[^:]*").unwrap();
    let plain = |text: &str| text.replace("\\\\", "\u{1}").replace('\\', "").replace('\u{1}', "\\");
    let Some(rest) = text.strip_prefix(&plain(head)) else { return false };
    let between = rest.strip_suffix(&plain(tail));
    between.is_some_and(|between| !between.contains(':'))
}

/// Goal: M1, M3, M5, M9: what other services see. Method: one row's cells as text.
#[test]
fn other_services_read_plain_cells() {
    let mut row = WideRow { keys: told_keys(&[("order_no", "7")]), ..WideRow::default() };
    row.marks.push(("moved:order_item:1:0".into(), Stamp(5)));
    let mut dead = Part::new(part_id("order_item", "2,%2C"));
    dead.tombstone = Some(Tombstone { stamp: Stamp(9), written: Millis(1_740_000_000_000), revoked: false });
    let mut revoked = Part::new(part_id("order_item", "3"));
    revoked.tombstone = Some(Tombstone { stamp: Stamp(9), written: Millis(4), revoked: true });
    row.parts = vec![part("orders", "", 3, &[("status", Some("5")), ("note", None), ("odd", Some("\0x"))]), dead, revoked].into();
    let mut server = Server::default();
    server.take(&row);
    let seen: Vec<String> = server
        .cells()
        .iter()
        .filter(|c| c.qualifier != BASE && c.qualifier != COUNTER)
        .map(|c| {
            let text = |b: &Bytes| String::from_utf8_lossy(b).replace('\0', "\\0");
            format!("{}:{} @{} {}", text(&c.family), text(&c.qualifier), c.timestamp, text(&c.value))
        })
        .collect();
    assert_eq!(
        seen,
        [
            "cf:order_item:#del:2,%2C @9 1740000000000",
            "cf:order_item:#del:3 @9 revoked:4",
            "cf:orders:note @3 \\0",
            "cf:orders:odd @3 \\0\\0x",
            "cf:orders:status @3 5",
            "m:k:order_no @1 7",
            "m:moved:order_item:1:0 @6 5",
        ]
    );
}

/// Goal: what has no cell is refused with a reason. Method: a table of changes.
#[test]
fn what_has_no_place_is_refused() {
    for (stamp, refused) in [(-1, true), (0, false), (i64::MAX - 1, false), (i64::MAX, true)] {
        let change = WideRow { parts: [part("t", "", stamp, &[("a", None)])].into(), ..WideRow::default() };
        assert_eq!(data_cells(&change, |_, _, _| Ok(())) == Err(LayoutError::Stamp(stamp)), refused, "{stamp}");
    }
    for (mark, refused) in [("base", true), ("counter", true), ("k:x", true), ("moved:a:b:0", false), ("k", false)] {
        let change = WideRow { marks: vec![(mark.into(), Stamp(-4))], ..WideRow::default() };
        assert_eq!(own_cells(&change, true, |_, _, _| Ok(())).is_err(), refused, "{mark}");
    }
}

/// Goal: foreign cells do no harm, ours with foreign values are told. Method: a table of cells.
#[test]
fn foreign_cells_are_left_out_and_damage_is_told() {
    for (family, qualifier, value, found) in [
        ("x", "orders:status", "5", Some(false)),
        ("cf", "plain", "5", Some(false)),
        ("m", "some note", "text", Some(false)),
        ("cf", "orders:status", "5", Some(true)),
        ("m", "base", "5", None),
        ("cf", "orders:#del", "yesterday", None),
        ("cf", "orders:#del", "revokedly", None),
        ("cf", "orders:#del", "revoked", Some(true)),
        ("cf", "orders:status", "\0x", None),
    ] {
        let read = row_of(&[cell(family, qualifier.as_bytes(), value.as_bytes())], FAMILY);
        assert_eq!(read.ok().map(|row| row.is_some()), found, "{family}:{qualifier} = {value:?}");
    }
    assert_eq!(row_of(&[], FAMILY), Ok(None));
    let keys = row_of(&[cell("m", b"k:a:b", b"\0")], FAMILY).unwrap().unwrap().keys;
    assert_eq!(keys, Keys::from_iter([(Name::of("a:b"), Value::Null)]));
}

/// Goal: a value beside the rows comes back and is never empty on the server. Method: a table of texts.
#[test]
fn values_beside_the_rows_are_never_empty() {
    for text in ["", "1", "\0", "\0x", "门"] {
        let held = beside_value(text);
        assert!(!held.is_empty());
        assert_eq!(beside_text(&held), Ok(text));
    }
}
