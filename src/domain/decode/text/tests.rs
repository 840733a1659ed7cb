//! Tables of values: one row per type, encoding and oddity.

use super::*;
use proptest::prelude::*;

fn kind(declared: &str) -> ColumnType {
    ColumnType::parse(declared).unwrap()
}

fn read(declared: &str, wire: Wire, raw: &str) -> Result<String, Unfit> {
    let declared = kind(declared);
    let mut out = String::new();
    write(&mut out, &Json::of(raw).unwrap(), &Kind::declared(&declared), wire).map(|()| out)
}

/// Goal: every declared type reads Debezium's default encoding into what MySQL prints (C2). Method: a table.
#[test]
fn debezium_values() {
    for (declared, raw, want) in [
        ("string", r#""x""#, "x"),
        ("string", "12.50", "12.50"),
        ("string", "true", "1"),
        ("string", r#"{"a": 1}"#, r#"{"a":1}"#),
        ("long", "9007199254740993", "9007199254740993"),
        ("long", "-1", "-1"),
        ("long", "18446744073709551615", "18446744073709551615"),
        ("long", "true", "1"),
        ("long", r#""7""#, "7"),
        ("long", r#""007""#, "7"),
        // BIGINT UNSIGNED, precise: base64 even where decimals are strings.
        ("long", r#""AQ==""#, "1"),
        ("long", r#""G1k=""#, "7001"),
        ("long", r#""AP//////////""#, "18446744073709551615"),
        ("decimal(18,2)", r#""8.80""#, "8.80"),
        ("decimal(18,2)", r#""1234567890123456.78""#, "1234567890123456.78"),
        ("decimal(18,2)", "8.8", "8.80"),
        ("decimal(18,2)", "8", "8.00"),
        ("decimal(18,2)", r#""-0.00""#, "0.00"),
        ("decimal(18,2)", r#""A+g=""#, "10.00"),
        ("decimal(18,2)", r#""Azw=""#, "8.28"),
        ("decimal(18,2)", r#""zg==""#, "-0.50"),
        ("decimal(18,2)", r#""AA==""#, "0.00"),
        // Digits alone are base64 where the scale says that a plain number would show its point.
        ("decimal(18,2)", r#""2222""#, "-23967.46"),
        ("decimal(18,0)", r#""2222""#, "2222"),
        ("decimal(30,10)", r#""AQ==""#, "0.0000000001"),
        ("decimal", r#""8.80""#, "8.80"),
        ("decimal", "1E-10", "0.0000000001"),
        ("decimal", "1.50e3", "1500"),
        ("double", "0.1", "0.1"),
        ("double", "-0.0", "-0"),
        ("double", "0.0", "0"),
        ("double", "16777216.0", "16777216"),
        ("double", "1.7976931348623157E308", "1.7976931348623157e308"),
        ("double", "1.0E-20", "1e-20"),
        ("double", "1.5E-5", "0.000015"),
        ("double", "123456789012345.5", "123456789012345.5"),
        ("double", "1234567890123456.5", "1.2345678901234565e15"),
        ("bool", "true", "1"),
        ("bool", "0", "0"),
        ("bool", r#""false""#, "0"),
        ("date", "20148", "2025-03-01"),
        ("date", "-1", "1969-12-31"),
        ("date", "-719528", "0000-01-01"),
        ("date", r#""2025-03-01Z""#, "2025-03-01"),
        ("time(6)", "36672500000", "10:11:12.500000"),
        ("time", "36672000000", "10:11:12"),
        ("time(6)", "-3020399000000", "-838:59:59.000000"),
        ("time(1)", "-3600500000", "-01:00:00.5"),
        ("time(6)", r#""10:11:12.5Z""#, "10:11:12.500000"),
        ("datetime", "1740823200000", "2025-03-01 10:00:00"),
        ("datetime(3)", "1740823200123", "2025-03-01 10:00:00.123"),
        ("datetime(3)", "1740823200000", "2025-03-01 10:00:00.000"),
        ("datetime(6)", "1740823200123456", "2025-03-01 10:00:00.123456"),
        ("datetime(6)", "-1", "1969-12-31 23:59:59.999999"),
        ("datetime", "253402300799000", "9999-12-31 23:59:59"),
        ("datetime", "-30610224000000", "1000-01-01 00:00:00"),
        ("datetime(3)", r#""2025-03-01T10:00:00.1Z""#, "2025-03-01 10:00:00.100"),
        ("timestamp", r#""2025-03-01T02:00:00Z""#, "2025-03-01 02:00:00"),
        ("timestamp(6)", r#""2026-11-21T05:14:31.757358Z""#, "2026-11-21 05:14:31.757358"),
        ("timestamp", r#""2025-03-01T00:30:00+08:00""#, "2025-02-28 16:30:00"),
        ("timestamp(3)", r#""2024-12-31T20:00:00.5-0530""#, "2025-01-01 01:30:00.500"),
        ("year", "2025", "2025"),
        ("year", "1900", "0000"),
        ("json", r#""{\"a\": [1, 2.50]}""#, r#"{"a":[1,2.50]}"#),
        ("json", r#""null""#, "null"),
        ("binary", r#""AP8QgA==""#, "AP8QgA=="),
        ("binary", r#""""#, ""),
        ("bit(10)", r#""qgI=""#, "682"),
        ("bit(10)", r#""AQI=""#, "513"),
        ("bit(1)", "true", "1"),
        ("enum('web','门店')", r#""门店""#, "门店"),
        ("enum('web')", r#""""#, ""),
        ("set('gift','rush','cod')", r#""gift,cod""#, "gift,cod"),
        ("set('gift')", r#""""#, ""),
    ] {
        assert_eq!(read(declared, Wire::Debezium, raw).as_deref(), Ok(want), "{raw} as {declared}");
    }
}

/// Goal: Canal's strings, and Maxwell's values, as MySQL prints them. Method: a table of what 4.6 of the notes lists.
#[test]
fn canal_and_maxwell_values() {
    use Wire::{Canal, Maxwell};
    for (declared, wire, raw, want) in [
        ("long", Canal, r#""18446744073709551615""#, "18446744073709551615"),
        ("decimal(10,2)", Canal, r#""3.0""#, "3.00"),
        ("decimal(10,2)", Canal, r#""-0.5""#, "-0.50"),
        ("decimal(30,10)", Canal, r#""1E-10""#, "0.0000000001"),
        ("double", Canal, r#""1.6777216E7""#, "16777216"),
        ("bit(10)", Canal, r#""513""#, "513"),
        ("binary", Canal, r#""\u0000ÿ\u0010\u0080""#, "AP8QgA=="),
        ("enum('web','app','门店')", Canal, r#""3""#, "门店"),
        ("enum('web')", Canal, r#""0""#, ""),
        ("enum('web')", Canal, r#""web""#, "web"),
        ("set('gift','rush','cod')", Canal, r#""5""#, "gift,cod"),
        ("set('gift')", Canal, r#""0""#, ""),
        ("datetime", Canal, r#""0000-00-00 00:00:00""#, "0000-00-00 00:00:00"),
        ("datetime(3)", Canal, r#""0000-00-00 00:00:00.000""#, "0000-00-00 00:00:00.000"),
        ("timestamp(6)", Canal, r#""2026-11-21 05:14:31.757519""#, "2026-11-21 05:14:31.757519"),
        ("date", Canal, r#""0000-00-00""#, "0000-00-00"),
        ("time(6)", Canal, r#""-838:59:59.000000""#, "-838:59:59.000000"),
        ("year", Canal, r#""0000""#, "0000"),
        ("bool", Canal, r#""1""#, "1"),
        ("decimal(18,2)", Maxwell, "1234567890123456.78", "1234567890123456.78"),
        ("decimal(30,10)", Maxwell, "1E-10", "0.0000000001"),
        ("decimal(30,10)", Maxwell, "-12345678901234567890.0123456789", "-12345678901234567890.0123456789"),
        ("bit(10)", Maxwell, "513", "513"),
        ("set('gift','rush')", Maxwell, r#"["gift","rush"]"#, "gift,rush"),
        ("set('gift')", Maxwell, "[]", ""),
        ("string", Maxwell, r#"["gift", "rush"]"#, r#"["gift","rush"]"#),
        ("json", Maxwell, r#"{"k": [1,2.50]}"#, r#"{"k":[1,2.50]}"#),
        ("json", Maxwell, r#""{\"k\":1}""#, r#"{"k":1}"#),
        ("json", Maxwell, r#""bare""#, r#""bare""#),
        ("json", Maxwell, "true", "true"),
        ("datetime(3)", Maxwell, r#""2025-03-01 10:00:00""#, "2025-03-01 10:00:00.000"),
        ("year", Maxwell, "1999", "1999"),
    ] {
        assert_eq!(read(declared, wire, raw).as_deref(), Ok(want), "{raw} as {declared} of {wire:?}");
    }
}

/// Goal: a value its type cannot hold is refused, never bent (C7). Method: a table of near misses.
#[test]
fn what_a_type_cannot_hold_is_refused() {
    for (declared, raw) in [
        ("long", "1.5"),
        ("long", r#""abc""#),
        ("long", "18446744073709551616"),
        ("long", r#""AQAAAAAAAAAA""#),
        ("long", "{}"),
        ("decimal(10,2)", r#""1.234""#),
        ("decimal(10,2)", r#""x!""#),
        ("decimal(10,2)", "true"),
        ("decimal", r#""A+g=""#),
        ("decimal", "1E9000"),
        ("decimal", "1E2000000000"),
        ("double", r#""NaN""#),
        ("double", "1E999"),
        ("bool", "2"),
        ("date", r#""2025-13-01""#),
        ("date", r#""2025-3-1""#),
        ("date", "99999999999999"),
        ("time", r#""25""#),
        ("time", "36672500000"),
        ("time", r#""839:00:00""#),
        ("time", "3024000000000"),
        // Microseconds under a declaration that says milliseconds.
        ("datetime(3)", "1740823200123456"),
        ("datetime", "1740823200123"),
        ("datetime", r#""2025-03-01T10:00:00+08:00""#),
        ("datetime", r#""2025-03-01 24:00:00""#),
        ("datetime", r#""yesterday""#),
        ("timestamp", r#""0000-00-00T00:00:00+08:00""#),
        ("timestamp", r#""2025-03-01T10:00:00+99:00""#),
        ("year", "1850"),
        ("json", r#""{\"a\":""#),
        ("binary", r#""no base64!""#),
        ("binary", "7"),
        ("bit(2)", "4"),
        ("bit(10)", r#""////""#),
        ("enum('web')", r#""app""#),
        ("set('gift')", r#""gift,rush""#),
    ] {
        assert!(read(declared, Wire::Debezium, raw).is_err(), "{raw} was taken for {declared}");
    }
    for (declared, raw) in [("enum('web')", r#""2""#), ("set('gift')", r#""2""#), ("binary", r#""中""#), ("json", r#""bare""#)] {
        assert!(read(declared, Wire::Canal, raw).is_err(), "{raw} was taken for {declared} of canal");
    }
    let deep = format!("\"{}\"", "[".repeat(200));
    assert!(read("json", Wire::Debezium, &deep).is_err(), "C8 holds inside a JSON column too");
}

/// Goal: what the event leaves open, the declaration fills in; what it tells, wins. Method: a table.
#[test]
fn the_event_goes_before_the_declaration() {
    let millis = Kind::DateTime { unit: Unit::Millis, digits: None, utc: false };
    for (told, declared, want) in [
        (Kind::AsIs, "json", Kind::Json),
        (Kind::AsIs, "long", Kind::Long),
        (Kind::Double, "decimal(10,2)", Kind::Decimal { scale: Some(2) }),
        (Kind::Decimal { scale: Some(0) }, "long", Kind::Decimal { scale: Some(0) }),
        (millis, "datetime(6)", Kind::DateTime { unit: Unit::Millis, digits: Some(6), utc: false }),
        (Kind::Time { unit: Unit::Nanos, digits: None }, "time(2)", Kind::Time { unit: Unit::Nanos, digits: Some(2) }),
    ] {
        let declared = kind(declared);
        assert_eq!(told.clone().refined(Some(Kind::declared(&declared))), want, "{told:?} with {declared:?}");
        assert_eq!(told.clone().refined(None), told);
    }
}

/// Goal: times without declared digits show what they need. Method: a table over the units.
#[test]
fn open_digits_show_what_is_there() {
    let mut out = String::new();
    for (unit, raw, want) in [
        (Unit::Millis, "0", "1970-01-01 00:00:00"),
        (Unit::Millis, "120", "1970-01-01 00:00:00.120"),
        (Unit::Micros, "1", "1970-01-01 00:00:00.000001"),
        (Unit::Nanos, "1999", "1970-01-01 00:00:00.000001"),
    ] {
        out.clear();
        let kind = Kind::DateTime { unit, digits: None, utc: false };
        write(&mut out, &Json::Number(raw), &kind, Wire::Debezium).unwrap();
        assert_eq!(out, want, "{raw} {unit:?}");
    }
}

/// Goal: days become dates as a library of dates says, and none outside MySQL's years does. Method: days all over them, and
/// their edges.
#[test]
fn days_become_dates() {
    let first = jiff::civil::date(0, 1, 1);
    let of = |days: i64| read("date", Wire::Debezium, &days.to_string());
    let (mut day, mut days) = (first, -719_528);
    while let Ok(next) = day.checked_add(jiff::Span::new().days(13)) {
        assert_eq!(of(days).unwrap(), day.to_string());
        (day, days) = (next, days + 13);
    }
    assert_eq!((of(-719_528).unwrap(), of(2_932_896).unwrap()), ("0000-01-01".to_owned(), "9999-12-31".to_owned()));
    for outside in [-719_529, 2_932_897, -2_932_897, i64::MIN, i64::MAX] {
        assert!(of(outside).is_err(), "{outside}");
    }
}

fn any_type() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "string",
        "long",
        "decimal",
        "decimal(18,2)",
        "decimal(65,30)",
        "double",
        "bool",
        "date",
        "time",
        "time(6)",
        "datetime",
        "datetime(6)",
        "timestamp(3)",
        "year",
        "json",
        "binary",
        "bit(10)",
        "enum('a','b')",
        "set('a','b')",
    ])
}

fn any_wire() -> impl Strategy<Value = Wire> {
    prop::sample::select(vec![Wire::Debezium, Wire::Canal, Wire::Maxwell])
}

proptest! {
    /// Goal: no text panics, and none grows out of hand. Method: any text, number-like and time-like texts, any type.
    #[test]
    fn no_value_panics(
        declared in any_type(),
        wire in any_wire(),
        text in prop_oneof![
            any::<String>(),
            "[-+]?[0-9]{0,30}(\\.[0-9]{0,40})?([eE][-+]?[0-9]{1,11})?",
            "[-0-9]{8,12}[T ]?[-0-9:.+Z]{0,20}",
            "[A-Za-z0-9+/]{0,60}={0,2}",
        ],
    ) {
        let quoted = serde_json::to_string(&text).unwrap();
        for json in [Json::of(&quoted).unwrap(), Json::Number(&text)] {
            let mut out = String::new();
            let fit = write(&mut out, &json, &Kind::declared(&kind(declared)), wire);
            prop_assert!(fit.is_err() || out.len() <= 4 * text.len() + 120, "{text} grew to {out}");
        }
    }

    /// Goal: the unscaled integer of any length and sign is exact. Method: against i128, and negation for longer ones.
    #[test]
    fn unscaled_integers_are_exact(number: i128, scale in 0u32..30) {
        let mut out = String::new();
        let text = STANDARD.encode(number.to_be_bytes());
        number::unscaled_of_base64(&mut out, &text, scale).unwrap();
        let digits: String = out.chars().filter(|c| *c != '.').collect();
        prop_assert_eq!(digits.parse::<i128>().unwrap(), number);
        prop_assert_eq!(out.split_once('.').map_or(0, |(_, f)| f.len()), scale as usize);
        // The same number in 20 bytes takes the other way.
        let mut long = vec![if number < 0 { 0xff } else { 0 }; 4];
        long.extend(number.to_be_bytes());
        let mut again = String::new();
        number::unscaled_of_base64(&mut again, &STANDARD.encode(long), scale).unwrap();
        prop_assert_eq!(again, out);
    }

    /// Goal: what is taken as it stands is what it would come to. Method: texts of a number's characters, both ways.
    #[test]
    fn a_plain_decimal_is_canonical(text in "[0-9.eE+-]{0,10}|[0-9]{60,70}|[1-9][0-9]{0,5}[.][0-9]{2}", scale in prop::option::of(0u32..4)) {
        if number::is_plain_decimal(&text, scale) {
            let mut out = String::new();
            prop_assert_eq!(number::exact(&mut out, &text, scale), Ok(()));
            prop_assert_eq!(&out, &text);
            prop_assert!(!number::is_unscaled(&text, scale));
        }
    }

    /// Goal: microseconds and their text are the same moment. Method: read both ways, the second from the first.
    #[test]
    fn a_moment_reads_the_same_as_number_and_text(micros in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
        let from_number = read("datetime(6)", Wire::Debezium, &micros.to_string()).unwrap();
        let from_text = read("datetime(6)", Wire::Canal, &format!("\"{from_number}\"")).unwrap();
        prop_assert_eq!(&from_number, &from_text);
        let seconds = read("timestamp(6)", Wire::Debezium, &format!("\"{}Z\"", from_number.replace(' ', "T"))).unwrap();
        prop_assert_eq!(seconds, from_number);
    }
}
