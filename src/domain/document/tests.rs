use super::*;
use crate::domain::samples::{dead, name, part, row, shop};
use crate::domain::schema::VersionKind;

fn from(table: &str, column: &str) -> ColumnRef {
    ColumnRef { table: name(table), column: name(column) }
}

fn scalar(shown_as: As) -> Scalar {
    Scalar { shown_as, default: None }
}

fn column(table: &str, column: &str, shown_as: As) -> Field {
    Field::Column { from: from(table, column), scalar: scalar(shown_as) }
}

fn document(fields: Vec<(&str, Field)>) -> Document {
    let fields = fields.into_iter().map(|(n, f)| (n.to_owned(), f)).collect();
    Document { id: Template::parse("o{order_no}").unwrap(), fields }
}

fn build(fields: Vec<(&str, Field)>, parts: Vec<Part>) -> Result<(String, u32), DocumentError> {
    let schema = shop(VersionKind::Weight);
    let built = document(fields).build(&row(parts), &schema.kinds[0], &schema)?;
    Ok((String::from_utf8(built.json).unwrap(), built.ambiguous))
}

fn json(fields: Vec<(&str, Field)>, parts: Vec<Part>) -> String {
    build(fields, parts).unwrap().0
}

/// Goal: each type's JSON is exact, and what is no such value is refused by name. Method: a table of text and outcome.
#[test]
fn a_value_is_written_as_its_type() {
    for (shown_as, text, want) in [
        (As::Long, "9007199254740993", Some("9007199254740993")),
        (As::Long, "18446744073709551615", Some("18446744073709551615")),
        (As::Long, "-9223372036854775808", Some("-9223372036854775808")),
        (As::Long, "007", Some("7")),
        (As::Long, "-0", Some("0")),
        (As::Long, "8.00", Some("8")),
        (As::Long, "8.50", None),
        (As::Long, "1e3", None),
        (As::Long, "", None),
        (As::Long, "-", None),
        (As::Long, "true", None),
        (As::Decimal, "8.80", Some("8.80")),
        (As::Decimal, "007", Some("7")),
        (As::Decimal, "+5", Some("5")),
        (As::Decimal, ".5", Some("0.5")),
        (As::Decimal, "5.", Some("5")),
        (As::Decimal, "-0.50", Some("-0.50")),
        (As::Decimal, "-0.00", Some("0.00")),
        (As::Decimal, "12345678901234567890.10", Some("12345678901234567890.10")),
        (As::Decimal, ".", None),
        (As::Decimal, "1.2.3", None),
        (As::Decimal, "0x10", None),
        (As::Decimal, "1e", None),
        (As::Double, "1.7976931348623157E308", Some("1.7976931348623157E308")),
        (As::Double, "2.5e-7", Some("2.5e-7")),
        (As::Double, "1e999", None),
        (As::Double, "NaN", None),
        (As::Double, "inf", None),
        (As::Bool, "1", Some("true")),
        (As::Bool, "0", Some("false")),
        (As::Bool, "TRUE", Some("true")),
        (As::Bool, "5", Some("true")),
        (As::Bool, "yes", None),
        (As::Bool, "", None),
        (As::DateTime, "2025-03-01 02:00:00.000", Some("\"2025-03-01 02:00:00.000\"")),
        (As::Date, "2025-03-01", Some("\"2025-03-01\"")),
        (As::String, "a\"\\\u{0}\n门", Some("\"a\\\"\\\\\\u0000\\n门\"")),
        (As::Json, r#"{"a": [1.50, "]"]}"#, Some(r#"{"a": [1.50, "]"]}"#)),
        (As::Json, "[1,\n2]", Some("[1, 2]")),
        (As::Json, "{", None),
        (As::Json, "1 2", None),
    ] {
        let got = build(vec![("f", column("orders", "x", shown_as))], vec![part("orders", "1", 5, &[("x", Some(text))])]);
        match want {
            Some(want) => {
                let got = got.unwrap().0;
                assert_eq!(got, format!("{{\"f\":{want}}}"), "{text} as {shown_as:?}");
                assert!(serde_json::from_str::<serde_json::Value>(&got).is_ok() || text.contains("E308"), "{got} is no JSON");
            }
            None => match got.unwrap_err() {
                DocumentError::NotA { field, value, .. } => assert_eq!((&*field, &*value), ("f", text), "as {shown_as:?}"),
                other => panic!("{text} as {shown_as:?}: {other}"),
            },
        }
    }
}

/// Goal: JSON from a column cannot nest past what readers take (C8). Method: just within and just past the cap.
#[test]
fn embedded_json_has_a_depth_cap() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let shown =
        |text: &str| build(vec![("f", column("orders", "x", As::Json))], vec![part("orders", "1", 5, &[("x", Some(text))])]);
    assert!(shown(&nested(128)).is_ok());
    assert!(shown(&nested(129)).is_err());
    assert!(shown(&nested(200_000)).is_err());
    assert!(shown(&format!("\"{}\"", "[\\\"".repeat(500))).is_ok(), "brackets inside a string do not nest");
}

/// Goal: absent, null, default and dead are told apart (K6, M5). Method: a table of the cell's state.
#[test]
fn absent_null_and_default() {
    let with_default = |shown_as, text: &str| Field::Column {
        from: from("orders", "x"),
        scalar: Scalar { shown_as, default: Some(text.to_owned()) },
    };
    let plain = || column("orders", "x", As::Long);
    let absent = || part("orders", "1", 5, &[("y", Some("1"))]);
    let null = || part("orders", "1", 5, &[("x", None)]);
    let mut half_dead = part("orders", "1", 5, &[("x", Some("3"))]);
    half_dead.merge(&dead(part("orders", "1", 7, &[("y", Some("1"))]), 6));
    for (field, parts, want) in [
        (plain(), vec![absent()], "{}"),
        (plain(), vec![null()], r#"{"f":null}"#),
        (plain(), vec![], "{}"),
        (plain(), vec![dead(part("orders", "1", 5, &[("x", Some("3"))]), 5)], "{}"),
        (plain(), vec![half_dead.clone()], "{}"),
        (with_default(As::Long, "0"), vec![half_dead], r#"{"f":0}"#),
        (with_default(As::Long, "0"), vec![absent()], r#"{"f":0}"#),
        (with_default(As::Long, "0"), vec![null()], r#"{"f":0}"#),
        (with_default(As::Decimal, "0.00"), vec![], r#"{"f":0.00}"#),
        (with_default(As::String, "none"), vec![], r#"{"f":"none"}"#),
        (with_default(As::Long, "0"), vec![part("orders", "1", 5, &[("x", Some("3"))])], r#"{"f":3}"#),
    ] {
        assert_eq!(json(vec![("f", field.clone())], parts), want, "{field:?}");
    }
    let error = build(vec![("f", with_default(As::Long, "none"))], vec![]).unwrap_err();
    assert_eq!(error.to_string(), "field `f`: `none` is not a whole number");
}

/// Goal: of several living rows the greatest key answers, by number where the id is one, and it is counted (M1).
/// Method: rows 9 and 10, and their tombstones.
#[test]
fn the_greatest_living_key_answers() {
    let paid = |child: &str, paid: &str| part("payment", child, 5, &[("paid", Some(paid))]);
    let fields = || vec![("paid", column("payment", "paid", As::Decimal)), ("n", column("payment", "n", As::Long))];
    for (parts, want, ambiguous) in [
        (vec![paid("9", "1"), paid("10", "2")], r#"{"paid":2}"#, 2),
        (vec![paid("9", "1"), dead(paid("10", "2"), 5)], r#"{"paid":1}"#, 0),
        (vec![paid("-3", "1"), paid("-20", "2")], r#"{"paid":1}"#, 2),
        (vec![paid("18446744073709551615", "1"), paid("9", "2")], r#"{"paid":1}"#, 2),
    ] {
        assert_eq!(build(fields(), parts).unwrap(), (want.to_owned(), ambiguous));
    }
}

/// Goal: `each` shows living rows in K6's order and is an array even when empty. Method: a table of orders.
#[test]
fn each_is_ordered_and_always_an_array() {
    let item = |id: &str, sort: Option<&str>| part("order_item", id, 5, &[("id", Some(id)), ("sort", sort)]);
    let each = |order_by: Option<(&str, bool)>| Field::Each {
        table: name("order_item"),
        order_by: order_by.map(|(column, numeric)| OrderBy { column: name(column), numeric }),
        fields: vec![("i".to_owned(), name("id"), scalar(As::Long))],
    };
    let items = || {
        vec![
            item("10", Some("1.5")),
            item("9", Some("10")),
            item("100", Some("9")),
            item("7", None),
            part("order_item", "8", 5, &[("id", Some("8"))]),
            dead(item("1", Some("0")), 5),
            item("11", Some("1.50")),
        ]
    };
    for (order_by, parts, want) in [
        (None, items(), "7 8 9 10 11 100"),
        (Some(("sort", true)), items(), "7 8 10 11 100 9"),
        (Some(("sort", false)), items(), "7 8 10 11 9 100"),
        (Some(("id", true)), items(), "7 8 9 10 11 100"),
        (Some(("id", true)), vec![], ""),
        (None, vec![dead(item("1", None), 9)], ""),
    ] {
        let want: Vec<String> = want.split_whitespace().map(|i| format!("{{\"i\":{i}}}")).collect();
        assert_eq!(json(vec![("f", each(order_by))], parts), format!("{{\"f\":[{}]}}", want.join(",")), "{order_by:?}");
    }
    let broken = vec![part("order_item", "1", 5, &[("id", Some("x"))])];
    assert!(matches!(build(vec![("f", each(None))], broken), Err(DocumentError::NotA { field, .. }) if field == "f.i"));
}

/// Goal: composite keys order part by part, each by its own type. Method: a numeric and a text part with separators.
#[test]
fn composite_keys_order_by_part() {
    let schema = shop(VersionKind::Weight);
    let keys = ["10,b", "9,b%2Cc", "9,b", "9,10", "9,9"];
    let parts = keys.iter().map(|k| part("product_attr", k, 5, &[("attr", Some(k))])).collect();
    let fields = vec![("f", Field::Join { from: from("product_attr", "attr"), with: " ".to_owned() })];
    let built = document(fields).build(&row(parts), &schema.kinds[1], &schema).unwrap();
    assert_eq!(String::from_utf8(built.json).unwrap(), r#"{"f":"9,10 9,9 9,b 9,b%2Cc 10,b"}"#);
}

/// Goal: aggregates are exact, skip nulls, and say the right nothing (K6). Method: a table.
#[test]
fn aggregates() {
    let item = |id: &str, value: Option<&str>| part("order_item", id, 5, &[("price", value), ("weight", value), ("s", value)]);
    let sum = |c: &str, shown_as| Field::Sum { from: from("order_item", c), shown_as };
    let min = |c: &str, shown_as| Field::Min { from: from("order_item", c), shown_as };
    let max = |c: &str, shown_as| Field::Max { from: from("order_item", c), shown_as };
    let count = || Field::Count { table: name("order_item") };
    let join = || Field::Join { from: from("order_item", "s"), with: ", ".to_owned() };
    let numbers = || vec![item("2", Some("8.80")), item("10", Some("1.2")), item("3", None), dead(item("4", Some("99")), 5)];
    let huge = || vec![item("1", Some("18446744073709551615")), item("2", Some("18446744073709551615"))];
    for (field, parts, want) in [
        (sum("price", As::Decimal), numbers(), "10.00"),
        (sum("price", As::Long), numbers(), "10"),
        (sum("s", As::String), numbers(), "10.00"),
        (sum("price", As::Long), huge(), "36893488147419103230"),
        (sum("weight", As::Double), numbers(), "10"),
        (sum("weight", As::Double), vec![item("1", Some("0.1")), item("2", Some("0.2"))], "0.30000000000000004"),
        (sum("price", As::Decimal), vec![item("1", Some("0.1")), item("2", Some("0.2"))], "0.3"),
        (sum("price", As::Decimal), vec![], "0"),
        (sum("weight", As::Double), vec![], "0"),
        (min("price", As::Decimal), numbers(), "1.2"),
        (max("price", As::Decimal), numbers(), "8.80"),
        (max("s", As::String), vec![item("1", Some("9")), item("2", Some("10"))], "\"9\""),
        (max("price", As::Decimal), vec![item("1", Some("9")), item("2", Some("10"))], "10"),
        (max("price", As::Decimal), vec![item("1", None)], "null"),
        (min("price", As::Decimal), vec![], "null"),
        (count(), numbers(), "3"),
        (count(), vec![], "0"),
        (join(), numbers(), "\"8.80, 1.2\""),
        (join(), vec![], "\"\""),
    ] {
        assert_eq!(json(vec![("f", field.clone())], parts), format!("{{\"f\":{want}}}"), "{field:?}");
    }
    for (field, text) in [(sum("price", As::Decimal), "x"), (sum("price", As::Long), "0.5"), (sum("weight", As::Double), "x")] {
        assert!(build(vec![("f", field.clone())], vec![item("1", Some(text))]).is_err(), "{field:?} of {text}");
    }
    let overflow = vec![item("1", Some("1e308")), item("2", Some("1e308"))];
    assert!(build(vec![("f", sum("weight", As::Double))], overflow).is_err(), "infinity is no number");
}

/// Goal: fields keep the declared order and names are escaped. Method: two fields, one with a quote in its name.
#[test]
fn fields_keep_their_order() {
    let fields = vec![("z", column("orders", "b", As::Long)), ("a\"", column("orders", "a", As::String))];
    assert_eq!(json(fields, vec![part("orders", "1", 5, &[("a", Some("x")), ("b", Some("2"))])]), r#"{"z":2,"a\"":"x"}"#);
}

/// Goal: a dead entity still has id and tombstone (K4, M9). Method: a row without parts, then one without keys.
#[test]
fn the_tombstone_names_the_document() {
    let schema = shop(VersionKind::Weight);
    let document = document(vec![]);
    let gone = row(vec![]);
    assert_eq!(document.id(&gone).unwrap(), "o7");
    assert_eq!(document.tombstone(&gone, &schema.kinds[0], &schema).unwrap(), br#"{"_deleted":true,"order_no":"7"}"#);
    let product = Document { id: Template::parse("p{product_id}").unwrap(), fields: vec![] };
    assert_eq!(product.tombstone(&gone, &schema.kinds[1], &schema).unwrap(), br#"{"_deleted":true,"product_id":7}"#);
    let no_keys = WideRow::default();
    assert_eq!(document.tombstone(&no_keys, &schema.kinds[0], &schema), Err(DocumentError::NoId(name("order_no"))));
}
