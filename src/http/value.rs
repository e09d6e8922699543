//! A JSON value of a request body, before a rule reads it.
//!
//! Integers stay text, because each field has its own range. Messages name types as in the kept contract: `dict`, `list`,
//! `str`, `int`, `float`, `bool`.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A value that borrows from the body.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    /// An integer, as it was written.
    Integer(&'a str),
    /// A number with a fraction or an exponent, read as a double; infinite beyond its range.
    Float(f64),
    Text(Cow<'a, str>),
    /// A text with an unpaired surrogate.
    InvalidText,
    List(&'a RawValue),
    Object(&'a RawValue),
    /// The fields of a form.
    Form(FormFields<'a>),
    /// A list of the fields of forms.
    FormList(Vec<FormFields<'a>>),
}

impl<'a> Value<'a> {
    /// Reads a value whose syntax has been checked.
    pub fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'n') | None => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => serde_json::from_str(json).map_or(Self::InvalidText, |Text(text)| Self::Text(text)),
            Some(b'[') => Self::List(raw),
            Some(b'{') => Self::Object(raw),
            Some(_) if json.contains(['.', 'e', 'E']) => Self::Float(json.parse().unwrap_or(f64::NAN)),
            Some(_) => Self::Integer(if json == "-0" { "0" } else { json }),
        }
    }

    /// The name of the value's type in messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) | Self::InvalidText => "str",
            Self::List(_) | Self::FormList(_) => "list",
            Self::Object(_) | Self::Form(_) => "dict",
        }
    }

    /// The elements of a list; none of anything else.
    pub(super) fn elements(self) -> Vec<Self> {
        match self {
            Self::List(raw) => list(raw).unwrap_or_default().into_iter().map(Self::of).collect(),
            Self::FormList(forms) => forms.into_iter().map(Self::Form).collect(),
            _ => Vec::new(),
        }
    }
}

/// The fields of a form. A blank text is a text, and a checkbox is a boolean whether it is checked or not.
#[derive(Clone, Debug, Default)]
pub struct FormFields<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> FormFields<'a> {
    /// Adds a text.
    pub fn text(mut self, name: &'static str, text: impl Into<Cow<'a, str>>) -> Self {
        self.0.push((name, Value::Text(text.into())));
        self
    }

    /// Adds a checkbox.
    pub fn checkbox(mut self, name: &'static str, is_checked: bool) -> Self {
        self.0.push((name, Value::Bool(is_checked)));
        self
    }

    /// Adds a list of objects.
    pub fn list(mut self, name: &'static str, items: Vec<Self>) -> Self {
        self.0.push((name, Value::FormList(items)));
        self
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field of that name.
    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        let field = self.0.iter().find(|(known, _)| *known == name);
        field.map(|(_, value)| value.clone())
    }
}

/// The members of an object in the order they were written.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// The member of that name; of several, the last.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, raw)| Value::of(raw))
    }

    /// All members, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.0.iter().map(|(name, raw)| (name.as_ref(), Value::of(raw)))
    }
}

/// Reads an object whose syntax has been checked.
pub(super) fn object(raw: &RawValue) -> serde_json::Result<Object<'_>> {
    serde_json::from_str(raw.get())
}

/// Reads a list whose syntax has been checked.
fn list(raw: &RawValue) -> serde_json::Result<Vec<&RawValue>> {
    serde_json::from_str(raw.get())
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A text, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_surrogate_pairs_are_characters() {
        let raw: &RawValue = serde_json::from_str(r#""a\ud83dz""#).unwrap();
        assert!(matches!(Value::of(raw), Value::InvalidText));
        let raw: &RawValue = serde_json::from_str(r#""\ud83d\ude00""#).unwrap();
        assert!(matches!(Value::of(raw), Value::Text(text) if text == "😀"));
    }
}
