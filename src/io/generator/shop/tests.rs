use super::*;
use crate::domain::decode::Format;
use crate::io::generator::Json;
use std::collections::{BTreeMap, HashMap, HashSet};

fn settings() -> GeneratorSettings {
    GeneratorSettings {
        seed: 7,
        entities: 40,
        events: Some(1_200),
        rate: None,
        disorder: 0.0,
        duplicates: 0.0,
        partitions: 3,
        format: Format::Debezium,
        skew: 0.8,
        hot: 0.0,
        big: 0.0,
        replay: 0.0,
    }
}

fn all(shop: &mut Shop) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let more = shop.next_records(97);
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

fn object(json: Json) -> BTreeMap<String, Json> {
    match json {
        Json::Object(members) => members,
        other => panic!("not an object: {other:?}"),
    }
}

fn member(of: &BTreeMap<String, Json>, name: &str) -> Json {
    of.get(name).cloned().unwrap_or_else(|| panic!("no {name} in {of:?}"))
}

fn word(json: &Json) -> String {
    match json {
        Json::Text(text) | Json::Number(text) => text.clone(),
        other => panic!("not a scalar: {other:?}"),
    }
}

type Columns = BTreeMap<String, Json>;

/// One row's change as a message tells it: table, key, image after, and what it was before where told.
struct Told {
    table: String,
    key: String,
    before: Option<Columns>,
    after: Option<Columns>,
}

/// Reads a message of any of the three formats, sharing no code with the engine's decoders.
fn read(record: &Record) -> Vec<Told> {
    let Some(value) = &record.value else { return Vec::new() };
    let message = object(Json::parse(value).unwrap());
    let optional = |json: Json| (json != Json::Null).then(|| object(json));
    if message.contains_key("op") {
        let (before, after) = (optional(member(&message, "before")), optional(member(&message, "after")));
        let key = object(Json::parse(record.key.as_deref().unwrap()).unwrap());
        let table = word(&member(&object(member(&message, "source")), "table"));
        return vec![Told { table, key: word(key.values().next().unwrap()), before, after }];
    }
    let list = |json: Json| match json {
        Json::List(items) => items,
        Json::Null => Vec::new(),
        one => vec![one],
    };
    let kind = word(&member(&message, "type")).to_uppercase();
    let table = word(&member(&message, "table"));
    let key_column = if table == "refund" { "refund_id" } else { "id" };
    let old = list(message.get("old").cloned().unwrap_or(Json::Null));
    let rows = list(member(&message, "data")).into_iter().enumerate();
    rows.flat_map(|(at, row)| {
        let row = object(row);
        let key = |row: &Columns| word(&member(row, key_column));
        let table = table.clone();
        match kind.as_str() {
            "INSERT" => vec![Told { table, key: key(&row), before: None, after: Some(row) }],
            "DELETE" => vec![Told { table, key: key(&row), before: Some(row), after: None }],
            _ => {
                let mut before = row.clone();
                before.extend(object(old[at].clone()));
                let (was, is) = (key(&before), key(&row));
                if was == is {
                    return vec![Told { table, key: is, before: Some(before), after: Some(row) }];
                }
                let gone = Told { table: table.clone(), key: was, before: Some(before), after: None };
                vec![gone, Told { table, key: is, before: None, after: Some(row) }]
            }
        }
    })
    .collect()
}

/// The rows after all records, by a plain fold: the highest offset of a row wins; the old half of a changed key, whose
/// offset is another partition's, is final, because the shop never uses such a key again.
fn fold(records: &[Record]) -> BTreeMap<(String, String), Columns> {
    let mut rows: HashMap<(String, String), (i64, Option<Columns>)> = HashMap::new();
    let mut moved: HashSet<(String, String)> = HashSet::new();
    for record in records {
        let told = read(record);
        let rekeyed = told.len() == 2 && told[0].after.is_none() && told[1].before.is_none();
        for (at, Told { table, key, after, .. }) in told.into_iter().enumerate() {
            let id = (table, key);
            if rekeyed && at == 0 {
                moved.insert(id);
                continue;
            }
            let held = rows.entry(id).or_insert((-1, None));
            if held.0 <= record.offset {
                *held = (record.offset, after);
            }
        }
    }
    let living = rows.into_iter().filter(|(id, _)| !moved.contains(id));
    living.filter_map(|(id, (_, row))| Some((id, row?))).collect()
}

fn number(json: &Json) -> Json {
    if *json == Json::Null { Json::Null } else { Json::Number(word(json)) }
}

/// A time as MySQL prints it, of Debezium's milliseconds.
fn time(json: &Json) -> Json {
    match json {
        Json::Number(ms) => {
            let at = jiff::Timestamp::from_millisecond(ms.parse().unwrap()).unwrap();
            Json::Text(at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string())
        }
        text => text.clone(),
    }
}

/// The two documents once more, from folded rows.
fn documents(rows: &BTreeMap<(String, String), Columns>) -> Documents {
    let of = |table: &'static str| rows.iter().filter(move |((t, _), _)| t == table).map(|(_, row)| row);
    let by_order = |table, no: &Json| of(table).filter(|row| member(row, "order_no") == *no).cloned().collect::<Vec<_>>();
    let mut out = Documents::new();
    let orders = out.entry("order_search".into()).or_default();
    for row in of("orders") {
        let no = member(row, "order_no");
        let mut document = BTreeMap::new();
        for column in ["order_no", "channel", "receiver", "city"] {
            document.insert(column.to_owned(), member(row, column));
        }
        for column in ["status", "amount", "pay_amount"] {
            document.insert(column.into(), number(&member(row, column)));
        }
        document.insert("created_at".into(), time(&member(row, "created_at")));
        let (payments, refunds) = (by_order("payment", &no), by_order("refund", &no));
        assert!(payments.len() <= 1 && refunds.len() <= 1, "at most one living payment and refund an order");
        let paid = payments.first().map_or(Json::Null, |p| number(&member(p, "paid")));
        document.insert("paid".into(), if paid == Json::Null { Json::Number("0".into()) } else { paid });
        if let Some(payment) = payments.first() {
            document.insert("pay_state".into(), number(&member(payment, "state")));
        }
        if let Some(refund) = refunds.first() {
            document.insert("refund_status".into(), number(&member(refund, "rp_status")));
        }
        let mut items = by_order("order_item", &no);
        items.sort_by_key(|item| word(&member(item, "id")).parse::<i64>().unwrap());
        let total: i64 = items.iter().map(|item| word(&member(item, "qty")).parse::<i64>().unwrap()).sum();
        document.insert("qty_total".into(), Json::Number(total.to_string()));
        document.insert("item_count".into(), Json::Number(items.len().to_string()));
        let item = |row: &Columns| {
            let mut item =
                BTreeMap::from([("name".to_owned(), member(row, "goods_name")), ("sku".to_owned(), member(row, "sku"))]);
            item.extend(["id", "qty", "price", "status"].map(|c| (c.to_owned(), number(&member(row, c)))));
            Json::Object(item)
        };
        document.insert("items".into(), Json::List(items.iter().map(item).collect()));
        orders.insert(word(&no), Json::Object(document));
    }
    let products = out.entry("product_search".into()).or_default();
    for row in of("product") {
        let mut document: Columns = ["name", "brand", "category", "tags"].map(|c| (c.to_owned(), member(row, c))).into();
        document.extend(["id", "price", "stock", "status"].map(|c| (c.to_owned(), number(&member(row, c)))));
        document.insert("updated_at".into(), time(&member(row, "updated_at")));
        products.insert(word(&member(row, "id")), Json::Object(document));
    }
    out
}

/// Every disturbance alone and all together.
fn disturbances() -> Vec<GeneratorSettings> {
    let calm = settings();
    let each = [
        GeneratorSettings { disorder: 0.05, ..calm.clone() },
        GeneratorSettings { duplicates: 0.2, ..calm.clone() },
        GeneratorSettings { replay: 3.0, ..calm.clone() },
        GeneratorSettings { hot: 0.3, skew: 1.2, ..calm.clone() },
        GeneratorSettings { disorder: 0.1, duplicates: 0.1, replay: 2.0, big: 0.01, skew: 0.0, partitions: 8, ..calm.clone() },
        GeneratorSettings { partitions: 1, disorder: 0.1, entities: 1, ..calm.clone() },
    ];
    std::iter::once(calm).chain(each).collect()
}

/// Goal: the truth is what the records say, in every format, however they are delivered. Method: fold the records by
/// offset with code of its own, build the documents, compare.
#[test]
fn the_records_fold_to_the_truth() {
    for base in disturbances() {
        for (seed, format) in [(1, Format::Debezium), (2, Format::Canal), (3, Format::Maxwell), (4, Format::Debezium)] {
            let settings = GeneratorSettings { seed, format, ..base.clone() };
            let mut shop = Shop::new(&settings);
            let records = all(&mut shop);
            assert_eq!(shop.events(), 1_200);
            let (got, want) = (documents(&fold(&records)), shop.expected());
            // An only order or product may be the last one deleted.
            assert!(want.len() == 2 && want.values().all(|documents| settings.entities == 1 || !documents.is_empty()));
            for (line, documents) in &want {
                for (id, document) in documents {
                    assert_eq!(got[line].get(id), Some(document), "{line}/{id} with {settings:?}");
                }
                assert_eq!(got[line].len(), documents.len(), "{line} with {settings:?}");
            }
        }
    }
}

/// Goal: what happens does not depend on delivery or format. Method: the truth of one seed under all of them.
#[test]
fn one_seed_is_one_trade() {
    let truth = |settings: &GeneratorSettings| {
        let mut shop = Shop::new(settings);
        let records = all(&mut shop);
        (records, shop.expected())
    };
    let (records, want) = truth(&settings());
    assert_eq!(truth(&settings()).0, records, "the same records from the same seed");
    for format in [Format::Canal, Format::Maxwell] {
        let disturbed = GeneratorSettings { format, disorder: 0.2, duplicates: 0.2, replay: 1.0, ..settings() };
        assert_eq!(truth(&disturbed).1, want);
    }
    assert_ne!(truth(&GeneratorSettings { seed: 8, ..settings() }).1, want);
}

/// Goal: a partition's log is one a broker could give: positions rise by one, offsets go on by one or fall back to one
/// that was delivered, and every record of one offset is the same record. Method: walk every partition.
#[test]
fn a_partition_only_goes_on_or_falls_back() {
    for settings in disturbances() {
        let records = all(&mut Shop::new(&settings));
        let mut logs: HashMap<Partition, Vec<Record>> = HashMap::new();
        for record in records {
            logs.entry(record.partition).or_default().push(record);
        }
        let mut fallen = 0;
        for log in logs.values() {
            let mut first: Vec<&Record> = Vec::new();
            for (at, record) in log.iter().enumerate() {
                assert_eq!(record.position.0, at as i64);
                let before = if at == 0 { -1 } else { log[at - 1].offset };
                assert!(record.offset == before + 1 || record.offset <= before, "{} after {before}", record.offset);
                fallen += usize::from(record.offset <= before);
                match first.get(record.offset as usize) {
                    Some(same) => assert_eq!((&same.key, &same.value), (&record.key, &record.value)),
                    None => first.push(record),
                }
            }
        }
        assert_eq!(fallen > 0, settings.duplicates + settings.replay > 0.0, "{settings:?}");
    }
}

/// Goal: disorder reorders across partitions. Method: the numbers of the transactions, as delivered, with and without it.
#[test]
fn disorder_is_between_partitions() {
    let late = |disorder| {
        let shop = GeneratorSettings { disorder, format: Format::Maxwell, ..settings() };
        let records = all(&mut Shop::new(&shop));
        let number = |record: &Record| word(&member(&object(Json::parse(record.value.as_deref().unwrap()).unwrap()), "xid"));
        let numbers: Vec<u64> = records.iter().map(|r| number(r).parse().unwrap()).collect();
        numbers.windows(2).filter(|pair| pair[1] < pair[0]).count()
    };
    assert_eq!(late(0.0), 0);
    assert!(late(0.05) > 30, "{}", late(0.05));
}

/// Goal: images are complete and true: what a message says was there is what the messages before left. Method: replay the
/// calm log, compare every before image with the row.
#[test]
fn before_images_are_what_was_there() {
    for format in [Format::Debezium, Format::Canal, Format::Maxwell] {
        let records = all(&mut Shop::new(&GeneratorSettings { format, events: Some(8_000), ..settings() }));
        let mut rows: HashMap<(String, String), Columns> = HashMap::new();
        let (mut rekeyed, mut moved, mut reborn) = (0, 0, 0);
        let mut dead: HashSet<(String, String)> = HashSet::new();
        for record in &records {
            let told = read(record);
            rekeyed += usize::from(told.len() == 2 && told[0].after.is_none() && told[1].before.is_none());
            for Told { table, key, before, after } in told {
                let id = (table, key);
                assert_eq!(rows.get(&id), before.as_ref(), "{id:?}");
                if let (Some(before), Some(after)) = (&before, &after) {
                    moved += usize::from(before.get("order_no") != after.get("order_no"));
                }
                match after {
                    Some(after) => {
                        reborn += usize::from(dead.remove(&id));
                        rows.insert(id, after);
                    }
                    None => {
                        rows.remove(&id);
                        dead.insert(id);
                    }
                }
            }
        }
        let many = records.iter().filter(|r| read(r).len() > 1).count();
        match format {
            Format::Debezium => assert!(records.iter().any(|r| r.value.is_none()), "a delete has its null body"),
            Format::Canal => assert!(many > rekeyed, "some messages hold several rows"),
            _ => assert_eq!(many, rekeyed),
        }
        assert!(moved > 10 && reborn > 10, "{format:?}: moves {moved}, born again {reborn}");
        assert!(format == Format::Debezium || rekeyed > 10, "{format:?}: keys changed {rekeyed}");
    }
}

/// Goal: the mix of 5.2. Method: shares of 20,000 events over enough entities, within two points of a hundred.
#[test]
fn the_mix_is_what_it_says() {
    let shop = GeneratorSettings { entities: 20_000, events: Some(20_000), hot: 0.2, big: 0.01, skew: 0.0, ..settings() };
    let records = all(&mut Shop::new(&shop));
    let mut tables: HashMap<&str, f64> = HashMap::new();
    let (mut rows, mut hot, mut big) = (0.0, 0, 0);
    for record in &records {
        let topic = record.partition.topic.as_str();
        let Some(value) = &record.value else { continue };
        rows += 1.0;
        *tables.entry(topic.strip_prefix("shop.shop.").unwrap()).or_default() += 1.0;
        hot += usize::from(std::str::from_utf8(value).unwrap().contains("\"order_no\":\"25030102000000000001\""));
        big += usize::from(value.len() > 10_000);
        assert!(value.len() < 1 << 20, "a record is below C8's limit");
    }
    for (table, share) in [("orders", 0.31), ("payment", 0.15), ("order_item", 0.36), ("refund", 0.10), ("product", 0.08)] {
        let got = tables[table] / rows;
        assert!((got - share).abs() < 0.02, "{table}: {got:.3} of {share}");
    }
    assert!(hot > 3_000, "the hot order: {hot}");
    assert!((10..1_000).contains(&big), "big rows: {big}");
    let sizes: Vec<usize> =
        records.iter().filter(|r| r.partition.topic.as_str() == "shop.shop.orders").map(Record::bytes).collect();
    let median = {
        let mut s = sizes;
        s.sort_unstable();
        s[s.len() / 2]
    };
    assert!((600..1_300).contains(&median), "an order's record is about 0.9 KB: {median}");
}

/// Goal: closing ends the trade with everything delivered. Method: close in the middle of a disordered run.
#[test]
fn a_closed_shop_owes_nothing() {
    let mut shop = Shop::new(&GeneratorSettings { events: None, disorder: 0.2, ..settings() });
    let mut records = shop.next_records(1_000);
    shop.close();
    records.extend(all(&mut shop));
    assert_eq!(documents(&fold(&records)), shop.expected());
}
