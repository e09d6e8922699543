//! One JSON value of a request body, before it is known what it should be.
//!
//! Numbers stay text: clients may send integers of any size, and how they are read depends on the field. Types have the
//! names that clients of the original see in messages: `dict`, `list`, `str`, `int`, `float`, `bool`.

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
    Text(Text<'a>),
    List(&'a RawValue),
    Object(&'a RawValue),
    /// The fields of a form.
    Form(FormFields<'a>),
    /// A list of the fields of forms.
    FormList(Vec<FormFields<'a>>),
}

/// A text. JSON can escape half of a surrogate pair, which is no character: it is kept apart.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    pub text: Cow<'a, str>,
    pub lone_surrogate: Option<u16>,
}

impl<'a> Value<'a> {
    /// Reads a value whose syntax has been checked.
    pub fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'n') | None => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(Text::of(json)),
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
            Self::Text(_) => "str",
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
    #[must_use]
    pub fn text(mut self, name: &'static str, text: &'a str) -> Self {
        self.0.push((name, Value::from(text)));
        self
    }

    /// Adds a checkbox.
    #[must_use]
    pub fn checkbox(mut self, name: &'static str, is_checked: bool) -> Self {
        self.0.push((name, Value::Bool(is_checked)));
        self
    }

    /// Adds a list of objects.
    #[must_use]
    pub fn list(mut self, name: &'static str, items: Vec<Self>) -> Self {
        self.0.push((name, Value::FormList(items)));
        self
    }

    /// Whether it has no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field of that name.
    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        let field = self.0.iter().find(|(known, _)| *known == name);
        field.map(|(_, value)| value.clone())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Text {
            text: text.into(),
            lone_surrogate: None,
        })
    }
}

impl<'a> Text<'a> {
    /// Reads a text whose syntax has been checked: what is no character in it is half of a surrogate pair.
    fn of(json: &'a str) -> Self {
        let Bytes(bytes) = serde_json::from_str(json).unwrap_or_default();
        let lone_surrogate = match std::str::from_utf8(&bytes) {
            Ok(_) => None,
            Err(_) => bytes
                .windows(3)
                .find(|window| window[0] == 0xED && window[1] >= 0xA0)
                .map(|window| 0xD000 | u16::from(window[1] & 0x3F) << 6 | u16::from(window[2] & 0x3F)),
        };
        Self {
            text: lossy(bytes),
            lone_surrogate,
        }
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
                while let Some((Bytes(name), value)) = map.next_entry::<Bytes<'de>, &'de RawValue>()? {
                    members.push((lossy(name), value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The bytes of a text, borrowed unless it holds escapes. Read as bytes, it may hold half of a surrogate pair.
#[derive(Default)]
struct Bytes<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Bytes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyBytes;
        impl<'de> Visitor<'de> for AnyBytes {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(Cow::Owned(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(AnyBytes)
    }
}

/// The text of bytes, with a sign for what is no character.
fn lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

/// A float as Python writes it, which is how the original turned numbers into text: the shortest digits that read back
/// as the same number, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_text(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        format!(
            "{digits}e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (value, text) in [
            (10.10, "10.1"),
            (1e2, "100.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(float_text(value), text);
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_found_and_a_whole_one_is_a_character() {
        let raw: &RawValue = serde_json::from_str(r#""a\ud83dz""#).unwrap();
        let Value::Text(text) = Value::of(raw) else {
            panic!("{raw} is a text")
        };
        assert_eq!(text.lone_surrogate, Some(0xD83D));
        let raw: &RawValue = serde_json::from_str(r#""\ud83d\ude00""#).unwrap();
        let Value::Text(text) = Value::of(raw) else {
            panic!("{raw} is a text")
        };
        assert_eq!((text.text.as_ref(), text.lone_surrogate), ("😀", None));
    }
}
