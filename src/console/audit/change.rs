//! The changes of an audit entry, field by field.

use serde_json::{Map, Value};

use super::queries::Change;

/// A field of a subject, before and after.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// `None` where there was no such field.
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Field {
    pub fn is_changed(&self) -> bool {
        self.before != self.after
    }
}

/// The fields of both sides, in their order.
pub fn fields(change: &Change) -> Vec<Field> {
    let (before, after) = (object(change.before.as_deref()), object(change.after.as_deref()));
    let mut names: Vec<&String> = Vec::new();
    for name in after.keys().chain(before.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let field = |name: &String| Field {
        name: name.clone(),
        before: before.get(name).map(text),
        after: after.get(name).map(text),
    };
    names.into_iter().map(field).collect()
}

/// A value that is not an object becomes an object with one field.
fn object(json: Option<&str>) -> Map<String, Value> {
    match json.map(serde_json::from_str) {
        Some(Ok(Value::Object(fields))) => fields,
        Some(Ok(Value::Null)) | None => Map::new(),
        Some(Ok(other)) => Map::from_iter([("value".to_owned(), other)]),
        Some(Err(_)) => Map::from_iter([("value".to_owned(), json.unwrap_or_default().into())]),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        // A nested record is shown by its name.
        Value::Object(fields) => match fields.get("name").or_else(|| fields.get("title")) {
            Some(Value::String(name)) => match &fields.get("id") {
                Some(id) => format!("{name} ({id})"),
                None => name.clone(),
            },
            _ => value.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, before: Option<&str>, after: Option<&str>) -> Field {
        Field {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        }
    }

    #[test]
    fn fields_before_and_after_are_paired_by_name() {
        let change = Change {
            before: Some(r#"{"title":"Pen","is_active":true,"gone":null}"#.to_owned()),
            after: Some(
                r#"{"title":"Pen","is_active":false,"category":{"id":3,"name":"Desk"},"ids":[1,2]}"#
                    .to_owned(),
            ),
        };
        let mut found = fields(&change);
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let expected = [
            field("category", None, Some("Desk (3)")),
            field("gone", Some("none"), None),
            field("ids", None, Some("1, 2")),
            field("is_active", Some("yes"), Some("no")),
            field("title", Some("Pen"), Some("Pen")),
        ];
        assert_eq!(found, expected);
        let changed: Vec<bool> = found.iter().map(Field::is_changed).collect();
        assert_eq!(changed, [true, true, true, true, false]);
    }

    #[test]
    fn value_that_is_no_object_is_shown_as_one_field() {
        let change = Change {
            before: None,
            after: Some("[1,2]".to_owned()),
        };
        assert_eq!(fields(&change), [field("value", None, Some("1, 2"))]);
    }
}
