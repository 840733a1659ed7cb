//! Requests against their messages, replies against the rules by which results find their rows.

use super::*;
use crate::io::hbase::cell::CellRun;
use crate::io::hbase::registry::Life;
use crate::io::hbase::types::{Address, Compare};
use proptest::prelude::*;

fn region(n: u8) -> Arc<Region> {
    let server = Life { address: Address { host: "rs".into(), port: 1 }, start_code: 7 };
    let name = Bytes::from(format!("t,{n},1.x."));
    Arc::new(Region { name, start: Bytes::from(vec![n]), end: Bytes::from(vec![n + 1]), region_id: 1, server })
}

fn sections(sizes: &[usize]) -> Vec<Section> {
    let mut at = 0;
    let section = |(n, size): (usize, &usize)| {
        at += size;
        Section { region: region(n as u8), rows: at - size..at }
    };
    sizes.iter().enumerate().map(section).collect()
}

fn get(row: &str) -> Item {
    Item::Get(Get::new(row.as_bytes().to_vec()))
}

fn put(row: &str) -> Item {
    let mut put = Put::new(row.as_bytes().to_vec(), Durability::Sync).unwrap();
    put.cell(b"cf", b"q", 3, row.as_bytes()).unwrap();
    Item::Put(put)
}

fn count(row: &str, condition: Option<Condition>) -> Item {
    let mut mutations = RowMutations::new(row.as_bytes().to_vec()).unwrap();
    mutations.put(Durability::Skip, b"cf", b"q", 3, b"v").unwrap();
    mutations.put(Durability::Skip, b"cf", b"r", 3, b"v").unwrap();
    mutations.increment(Durability::Sync, b"m", b"n", 1).unwrap();
    Item::Mutate(mutations, condition)
}

fn entries(items: &[Item]) -> Vec<Entry<'_>> {
    items.iter().map(|item| Entry { item, nonce: if item.counts() { 11 } else { 0 } }).collect()
}

fn exception(name: &str) -> Option<pb::NameBytesPair> {
    Some(pb::NameBytesPair { name: format!("org.x.{name}"), value: None })
}

fn reply(results: Vec<pb::RegionActionResult>, cells: &[(&str, &str)]) -> Reply {
    let mut run = CellRun::default();
    for (row, value) in cells {
        run.push(row.as_bytes(), b"cf", b"q", 3, CellType::Put, value.as_bytes()).unwrap();
    }
    let message = pb::MultiResponse { region_action_result: results, processed: None }.encode_to_vec();
    let header = pb::ResponseHeader { call_id: Some(1), ..Default::default() };
    Reply { header, message: message.into(), cells: Bytes::copy_from_slice(run.bytes()) }
}

fn entry(index: u32, cells: i32) -> pb::ResultOrException {
    let result = pb::Result { associated_cell_count: (cells != 0).then_some(cells), ..Default::default() };
    pb::ResultOrException { index: Some(index), result: Some(result), exception: None }
}

fn failed(index: u32, name: &str) -> pb::ResultOrException {
    pb::ResultOrException { index: Some(index), result: None, exception: exception(name) }
}

fn action(entries: Vec<pb::ResultOrException>) -> pb::RegionActionResult {
    pb::RegionActionResult { result_or_exception: entries, exception: None, processed: None }
}

/// Goal: plain puts share an action per region, and cells follow in their order. Method: five puts over two regions.
#[test]
fn puts_of_a_region_share_an_action() {
    let items: Vec<Item> = ["a", "b", "c", "d", "e"].map(put).into();
    let entries = entries(&items);
    let request = request(&entries, &sections(&[3, 2]), 9);
    assert_eq!(request.nonce_group, None);
    let shape: Vec<_> = request.region_action.iter().map(|a| (a.region.value.clone(), a.atomic, a.action.len())).collect();
    assert_eq!(shape, [(region(0).name.clone(), None, 3), (region(1).name.clone(), None, 2)]);
    let mutation = request.region_action[1].action[1].mutation.clone().unwrap();
    assert_eq!((mutation.row.as_deref(), mutation.mutate_type, mutation.durability), (Some(&b"e"[..]), Some(2), Some(3)));
    assert_eq!((mutation.associated_cell_count, mutation.nonce), (Some(1), None));
    let block: Vec<u8> = cells(&entries).flatten().copied().collect();
    let read = CellReader::new(block.into()).take(5).unwrap();
    assert_eq!(read.iter().map(|cell| &cell.row[..]).collect::<Vec<_>>(), [b"a", b"b", b"c", b"d", b"e"]);
}

/// Goal: a row's mutations are one atomic action, with its nonce on every increment and its condition. Method: two rows.
#[test]
fn mutations_of_a_row_are_atomic() {
    let condition = Condition::Value {
        family: Bytes::from_static(b"m"),
        qualifier: Bytes::from_static(b"q"),
        compare: Compare::Equal,
        value: Bytes::from_static(b"v"),
        time_range: None,
    };
    let items = [count("a", None), count("b", Some(condition))];
    let entries = entries(&items);
    let request = request(&entries, &sections(&[2]), 9);
    assert_eq!(request.nonce_group, Some(9));
    assert_eq!(request.region_action.len(), 2);
    for (action, row) in request.region_action.iter().zip([b"a", b"b"]) {
        assert_eq!((action.atomic, action.action.len()), (Some(true), 2));
        let [put, increment] = [0, 1].map(|i| action.action[i].mutation.clone().unwrap());
        assert_eq!((put.associated_cell_count, put.durability, put.nonce), (Some(2), Some(1), None));
        assert_eq!((increment.mutate_type, increment.nonce, increment.attribute.len()), (Some(1), Some(11), 1));
        assert_eq!(increment.row.as_deref(), Some(&row[..]));
        assert_eq!(action.condition.as_ref().map(|c| c.row.to_vec()), (row == b"b").then(|| b"b".to_vec()));
    }
    let comparator = request.region_action[1].condition.clone().and_then(|c| c.comparator).unwrap();
    assert_eq!(comparator.serialized_comparator.as_deref(), Some(&[10, 3, 10, 1, b'v'][..]));
}

/// Goal: results find their rows by index and their cells by the reply's order. Method: gets answered out of order, one of
/// them refused, in two regions.
#[test]
fn results_are_matched_by_index() {
    let items: Vec<Item> = ["a", "b", "c", "d"].map(get).into();
    let entries = entries(&items);
    let first = action(vec![entry(2, 1), failed(0, "MultiActionResultTooLarge"), entry(1, 0)]);
    let second = action(vec![pb::ResultOrException { index: None, ..entry(0, 2) }]);
    let reply = reply(vec![first, second], &[("c", "1"), ("d", "2"), ("d", "3")]);
    let outcomes = outcomes(&entries, &sections(&[3, 1]), reply, "here").unwrap();
    let values = |at: usize| match &outcomes[at] {
        Ok(answer) => answer.cells.iter().map(|cell| String::from_utf8_lossy(&cell.value).into_owned()).collect(),
        Err(failure) => vec![failure.error.class.label().to_owned(), failure.whole.to_string()],
    };
    assert_eq!(
        [values(0), values(1), values(2), values(3)],
        [vec!["reply_full".into(), "false".into()], vec![], vec!["1".to_owned()], vec!["2".into(), "3".into()]]
    );
}

/// Goal: an action that failed as a whole fails its rows and no others. Method: puts of two regions, the first not served;
/// and atomic rows, where an action is one row and so not "whole".
#[test]
fn a_failed_action_fails_its_rows() {
    let gone = || pb::RegionActionResult { exception: exception("NotServingRegionException"), ..Default::default() };
    let items: Vec<Item> = ["a", "b", "c"].map(put).into();
    let outcomes_of = |items: &[Item], results| {
        let outcomes = outcomes(&entries(items), &sections(&[2, 1]), reply(results, &[]), "here").unwrap();
        outcomes.into_iter().map(|o| o.map(|a| a.processed).map_err(|f| (f.error.class, f.whole))).collect::<Vec<_>>()
    };
    let not_serving = |whole| Err((Class::NotServing, whole));
    assert_eq!(outcomes_of(&items, vec![gone(), action(vec![entry(0, 0)])]), [not_serving(true), not_serving(true), Ok(true)]);
    let items: Vec<Item> = ["a", "b", "c"].map(|row| count(row, None)).into();
    let refused = pb::RegionActionResult { processed: Some(false), ..Default::default() };
    let results = vec![refused, gone(), action(vec![entry(0, 0), entry(1, 0)])];
    assert_eq!(outcomes_of(&items, results), [Ok(false), not_serving(false), Ok(true)]);
}

/// Goal: an increment's result comes inline in the first entry, whatever the indexes. Method: an atomic row's reply.
#[test]
fn atomic_results_are_inline() {
    let items = [count("a", None)];
    let cell = pb::Cell { row: Some(Bytes::from_static(b"a")), value: Some(Bytes::from_static(b"n")), ..Default::default() };
    let mut first = entry(0, 0);
    first.result = Some(pb::Result { cell: vec![cell.clone()], ..Default::default() });
    let results = vec![action(vec![first, entry(1, 0)])];
    let outcomes = outcomes(&entries(&items), &sections(&[1]), reply(results, &[]), "here").unwrap();
    let answer = outcomes[0].as_ref().unwrap();
    assert_eq!(answer.cells.iter().map(|cell| &cell.value[..]).collect::<Vec<_>>(), [b"n"]);
    assert!(inline(pb::Cell { cell_type: Some(3), ..cell }).is_err());
}

/// Goal: a reply that does not belong to the request is refused as a whole. Method: too few, too many, wrong indexes and counts.
#[test]
fn foreign_replies_are_refused() {
    let items: Vec<Item> = ["a", "b"].map(get).into();
    let one = |entries| vec![action(entries)];
    for (what, reply) in [
        ("no result", reply(vec![], &[])),
        ("two results", reply(vec![action(vec![]), action(vec![])], &[])),
        ("an index outside", reply(one(vec![entry(2, 0)]), &[])),
        ("a huge index", reply(one(vec![entry(u32::MAX, 0)]), &[])),
        ("more cells said than sent", reply(one(vec![entry(0, 2)]), &[("a", "1")])),
        ("a negative count", reply(one(vec![entry(0, -1)]), &[])),
        ("cells left over", reply(one(vec![entry(0, 0)]), &[("a", "1")])),
    ] {
        let error = outcomes(&entries(&items), &sections(&[2]), reply, "here").unwrap_err();
        assert_eq!((error.class, error.outcome_unknown), (Class::Garbled, true), "{what}");
    }
    let silent = outcomes(&entries(&items), &sections(&[2]), reply(one(vec![entry(1, 0)]), &[]), "here").unwrap();
    assert!(silent[0].is_err() && silent[1].is_ok(), "a row the reply does not speak of is not done");
}

proptest! {
    /// Goal: hostile replies are an error or outcomes for every row, never a panic. Method: a good reply with bytes changed.
    #[test]
    fn hostile_replies_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let items: Vec<Item> = ["a", "b", "c", "d"].map(get).into();
        let first = action(vec![entry(2, 1), failed(0, "RegionTooBusyException"), entry(1, 0)]);
        let mut hostile = reply(vec![first, action(vec![entry(0, 2)])], &[("c", "1"), ("d", "2"), ("d", "3")]);
        let mut message = hostile.message.to_vec();
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        hostile.message = message.into();
        hostile.cells.truncate(cut.index(hostile.cells.len() + 1));
        if let Ok(outcomes) = outcomes(&entries(&items), &sections(&[3, 1]), hostile, "here") {
            prop_assert_eq!(outcomes.len(), 4);
        }
    }
}
