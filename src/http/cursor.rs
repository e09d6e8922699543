//! Cursors: the start of the next page of a list, as an opaque text.
//!
//! A cursor holds the sort key of the last row of a page, which may be deleted meanwhile. It reveals nothing that the row did
//! not, and is not signed: its content is checked like any parameter.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Cursors of another version are refused.
const VERSION: u8 = 1;

/// The longest cursor that is read. The longest key has two texts of 200 characters, all escaped, and an id.
const LONGEST: usize = 4096;

/// The cursor of a row of that list.
pub(super) fn encode(list: &str, key: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json!([VERSION, list, key]).to_string())
}

/// The key in a cursor of that list, if it is valid.
pub(super) fn decode<K: DeserializeOwned>(list: &str, cursor: &str) -> Option<K> {
    if cursor.len() > LONGEST {
        return None;
    }
    let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, of, key): (u8, String, Value) = serde_json::from_slice(&json).ok()?;
    if version != VERSION || of != list || has_nul(&key) {
        return None;
    }
    serde_json::from_value(key).ok()
}

/// Whether a text in a value has a NUL, which PostgreSQL takes in no text.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(elements) => elements.iter().any(has_nul),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Key = (String, String, i64);

    fn read(json: &str) -> Option<Key> {
        decode("rows", &BASE64_URL_SAFE_NO_PAD.encode(json))
    }

    proptest! {
        #[test]
        fn keys_survive_encoding(name in "[^\0]{0,200}", title in "[^\0]{0,200}", id in any::<i64>()) {
            let key = (name, title, id);
            let cursor = encode("rows", &key);
            prop_assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(decode::<Key>("rows", &cursor), Some(key));
            prop_assert_eq!(decode::<Key>("other", &cursor), None);
        }

        #[test]
        fn arbitrary_text_is_no_cursor(text in any::<String>(), json in any::<String>()) {
            prop_assert_eq!(decode::<Key>("rows", &text), None);
            prop_assert_eq!(read(&json), None);
        }
    }

    #[test]
    fn longest_key_fits_into_a_cursor() {
        let text = "\u{1}".repeat(200);
        let cursor = encode("inventory", &(&text, &text, i64::MAX));
        assert!(decode::<Key>("inventory", &cursor).is_some(), "{}", cursor.len());
    }

    #[test]
    fn invalid_keys_are_refused() {
        let good = ("a\\u0000".to_owned(), String::new(), -1);
        assert_eq!(read(r#"[1,"rows",["a\\u0000","",-1]]"#), Some(good));
        for bad in [
            "",
            "null",
            "{}",
            "[]",
            r#"[1,"rows"]"#,
            r#"[1,"rows",["a","b",1],1]"#,
            r#"[1,"rows",["a","b",1]] 1"#,
            r#"[2,"rows",["a","b",1]]"#,
            r#"["1","rows",["a","b",1]]"#,
            r#"[1,"other",["a","b",1]]"#,
            r#"[1,"rows",null]"#,
            r#"[1,"rows",["a","b"]]"#,
            r#"[1,"rows",["a","b",1,1]]"#,
            r#"[1,"rows",["a","b","1"]]"#,
            r#"[1,"rows",["a",1,1]]"#,
            r#"[1,"rows",["a",null,1]]"#,
            r#"[1,"rows",["a","b",1.0]]"#,
            r#"[1,"rows",["a","b",9223372036854775808]]"#,
            r#"[1,"rows",["a","b\u0000",1]]"#,
            r#"[1,"rows",["a","\ud800",1]]"#,
            r#"[1,"rows",{"0":"a","1":"b","2":1}]"#,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert_eq!(read(&format!(r#"[1,"rows",{deep}]"#)), None);
        let long = "x".repeat(LONGEST);
        assert_eq!(read(&format!(r#"[1,"rows",["a","{long}",1]]"#)), None);
        let cursor = encode("rows", &("a", "b", 1));
        for text in [
            format!("{cursor}="),
            format!("{cursor}A"),
            format!(" {cursor}"),
            cursor[1..].to_owned(),
            BASE64_URL_SAFE_NO_PAD.encode([0xFF, 0xFE]),
        ] {
            assert_eq!(decode::<Key>("rows", &text), None, "{text}");
        }
    }
}
