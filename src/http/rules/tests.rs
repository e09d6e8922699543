//! Tests of the rules.

use super::*;
use serde_json::value::RawValue;

fn ruled<T>(rule: impl Fn(&Value<'_>) -> Ruled<T>, json: &str) -> Result<T, String> {
    let raw: &RawValue = serde_json::from_str(json).unwrap();
    rule(&Value::of(raw)).map_err(Cow::into_owned)
}

#[test]
fn prices_are_parsed_from_numbers_and_strings() {
    for (json, shown) in [
        ("\"10.00\"", "10.00"),
        ("10.10", "10.10"),
        ("\" +5 \"", "5.00"),
        ("\".5\"", "0.50"),
        ("\"5.\"", "5.00"),
        ("\"0005.10\"", "5.10"),
        ("\"1e2\"", "100.00"),
        ("\"1e-2\"", "0.01"),
        ("1.00000000000000000001", "1.00"),
        ("\"99999999.99\"", "99999999.99"),
    ] {
        assert_eq!(
            ruled(price, json).map(|price| price.to_string()),
            Ok(shown.to_owned()),
            "{json}"
        );
    }
}

#[test]
fn invalid_prices_are_rejected_with_drf_messages() {
    const TOTAL: &str = "Ensure that there are no more than 10 digits in total.";
    const PLACES: &str = "Ensure that there are no more than 2 decimal places.";
    const WHOLE: &str = "Ensure that there are no more than 8 digits before the decimal point.";
    const LEAST: &str = "Ensure this value is greater than or equal to 0.01.";
    const NUMBER: &str = "A valid number is required.";
    for (json, message) in [
        ("10.555", PLACES),
        ("0.30000000000000004", TOTAL),
        ("\"10.000\"", PLACES),
        ("\"100000000\"", WHOLE),
        ("\"100000000.00\"", TOTAL),
        ("\"99999999.999\"", TOTAL),
        ("1e300", TOTAL),
        ("0", LEAST),
        ("-5", LEAST),
        ("1e400", NUMBER),
        ("\"NaN\"", NUMBER),
        ("\"Infinity\"", NUMBER),
        ("\"1_000\"", NUMBER),
        ("\"\"", NUMBER),
        ("true", NUMBER),
        ("[]", NUMBER),
    ] {
        assert_eq!(
            ruled(price, json).map(|price| price.to_string()),
            Err(message.to_owned()),
            "{json}"
        );
    }
}

#[test]
fn integers_are_parsed_from_numbers_and_strings() {
    for (json, number) in [
        ("5", 5),
        ("1.0", 1),
        ("1e3", 1000),
        ("\" 5 \"", 5),
        ("\"+5\"", 5),
        ("\"0005\"", 5),
        ("\"1.0\"", 1),
        ("-0.0", 0),
    ] {
        assert_eq!(ruled(integer, json), Ok(number), "{json}");
    }
    for json in [
        "1.5",
        "\"5e0\"",
        "\"\"",
        "true",
        "[]",
        "{}",
        "1e300",
        "1e400",
        "\"1_000\"",
        "\"٥\"",
        "\"1.5\"",
    ] {
        assert_eq!(
            ruled(integer, json),
            Err("A valid integer is required.".into()),
            "{json}"
        );
    }
    assert_eq!(
        ruled(integer, "-1"),
        Err("Ensure this value is greater than or equal to 0.".into())
    );
    for json in ["2147483648", &"9".repeat(4000)] {
        assert_eq!(
            ruled(integer, json),
            Err("Ensure this value is less than or equal to 2147483647.".into())
        );
    }
    assert_eq!(
        ruled(integer, &format!("\"{}\"", "1".repeat(1001))),
        Err("String value too large.".into())
    );
}

#[test]
fn positive_integers_have_64_bits() {
    assert_eq!(ruled(positive, "9223372036854775807"), Ok(i64::MAX));
    for json in ["9223372036854775808", "\"99999999999999999999\""] {
        assert_eq!(
            ruled(positive, json),
            Err("Ensure this value is less than or equal to 9223372036854775807.".into()),
            "{json}"
        );
    }
    for json in ["0", "-1", "-99999999999999999999"] {
        assert_eq!(
            ruled(positive, json),
            Err("Ensure this value is greater than or equal to 1.".into()),
            "{json}"
        );
    }
}

#[test]
fn references_are_parsed_from_integers_and_digits() {
    assert_eq!(ruled(reference, "5").map(|r| r.id), Ok(5));
    assert_eq!(ruled(reference, "5.0").map(|r| r.id), Ok(5));
    assert_eq!(ruled(reference, "\"007\"").map(|r| r.id), Ok(7));
    let far = ruled(reference, "99999999999999999999").unwrap();
    assert_eq!(
        (far.id, far.missing().as_ref()),
        (0, "Invalid pk \"99999999999999999999\" - object does not exist.")
    );
    for (json, name) in [
        ("\"abc\"", "str"),
        ("true", "bool"),
        ("[]", "list"),
        ("{}", "dict"),
        ("5.5", "float"),
    ] {
        assert_eq!(
            ruled(reference, json),
            Err(format!("Incorrect type. Expected pk value, received {name}."))
        );
    }
    assert_eq!(
        ruled(reference, "\"\""),
        Err("This field may not be null.".into())
    );
}

#[test]
fn texts_are_trimmed_before_validation() {
    assert_eq!(ruled(text(5), "\"  abc\\u001f\""), Ok("abc".into()));
    assert_eq!(ruled(text(5), "123"), Ok("123".into()));
    assert_eq!(ruled(text(5), "\"äöüßé\""), Ok("äöüßé".into()));
    assert_eq!(
        ruled(text(5), "\" \\t \""),
        Err("This field may not be blank.".into())
    );
    assert_eq!(
        ruled(text(5), "\"abcdef\""),
        Err("Ensure this field has no more than 5 characters.".into())
    );
    assert_eq!(
        ruled(text(5), "\"a\\u0000\""),
        Err("Null characters are not allowed.".into())
    );
    assert_eq!(ruled(text(5), "\"\\ud800\""), Err("Not a valid string.".into()));
    assert_eq!(ruled(text(5), "false"), Err("Not a valid string.".into()));
}

#[test]
fn booleans_are_parsed_from_common_spellings() {
    for json in ["true", "1", "1.0", "\"TRUE\"", "\"Yes\"", "\"on\""] {
        assert_eq!(ruled(boolean, json), Ok(true), "{json}");
    }
    for json in ["false", "0", "0.0", "\"No\"", "\"F\""] {
        assert_eq!(ruled(boolean, json), Ok(false), "{json}");
    }
    for json in ["2", "\"\"", "\"null\"", "[]", "1.5"] {
        assert_eq!(
            ruled(boolean, json),
            Err("Must be a valid boolean.".into()),
            "{json}"
        );
    }
}
