use super::*;
use proptest::prelude::*;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("`{text}` was refused"))
}

/// Goal: every form in, plain digits out. Method: a table.
#[test]
fn forms_become_plain_digits() {
    for (text, want) in [
        ("8.80", "8.80"),
        ("007", "7"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0.50", "-0.50"),
        ("-0.00", "0.00"),
        ("-0", "0"),
        ("0", "0"),
        ("0.001", "0.001"),
        ("1.5E3", "1500"),
        ("1e-3", "0.001"),
        ("12.34e1", "123.4"),
        ("0e9", "0"),
        ("18446744073709551615", "18446744073709551615"),
        (
            "12345678901234567890123456789012345.123456789012345678901234567890",
            "12345678901234567890123456789012345.123456789012345678901234567890",
        ),
    ] {
        assert_eq!(decimal(text).to_string(), want, "{text}");
    }
    for text in ["", "-", "+", ".", "1.2.3", "1e", "e5", "0x1", "1 ", " 1", "--1", "1e401", "NaN", "1,000", "１"] {
        assert!(Decimal::parse(text).is_none(), "`{text}` was read as a number");
    }
}

/// Goal: sums beyond every machine integer stay exact. Method: a table of terms and their sum.
#[test]
fn sums_are_exact() {
    for (terms, want) in [
        (&["18446744073709551615", "18446744073709551615"][..], "36893488147419103230"),
        (&["0.1", "0.2"], "0.3"),
        (&["8.80", "1.2"], "10.00"),
        (&["1", "-1"], "0"),
        (&["1.5", "-2"], "-0.5"),
        (&["-2", "1.5"], "-0.5"),
        (
            &["99999999999999999999999999999999999.999999999999999999999999999999", "0.000000000000000000000000000001"],
            "100000000000000000000000000000000000.000000000000000000000000000000",
        ),
        (&["1", "-0.000000000000000000000000000001"], "0.999999999999999999999999999999"),
    ] {
        let mut sum = Decimal::default();
        terms.iter().for_each(|t| sum.add(&decimal(t)));
        assert_eq!(sum.to_string(), want, "{terms:?}");
    }
}

fn scaled(mantissa: i64, scale: u32) -> String {
    let (sign, digits) = (if mantissa < 0 { "-" } else { "" }, format!("{:0>12}", mantissa.unsigned_abs()));
    let point = digits.len() - scale as usize;
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

proptest! {
    /// Goal: order and sum agree with integers. Method: the same numbers as i128 at one scale.
    #[test]
    fn as_integers_do(a in any::<i64>(), b in any::<i64>(), sa in 0u32..12, sb in 0u32..12) {
        let at_12 = |m: i64, s: u32| i128::from(m) * 10i128.pow(12 - s);
        let (x, y) = (decimal(&scaled(a, sa)), decimal(&scaled(b, sb)));
        prop_assert_eq!(x.cmp(&y), at_12(a, sa).cmp(&at_12(b, sb)));
        let mut sum = x.clone();
        sum.add(&y);
        let want = at_12(a, sa) + at_12(b, sb);
        prop_assert_eq!(&sum, &decimal(&format!("{want}E-12")));
        prop_assert_eq!(&decimal(&sum.to_string()), &sum);
        prop_assert_eq!(x == y, at_12(a, sa) == at_12(b, sb));
    }
}
