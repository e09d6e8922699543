//! Errors by field.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};

/// The errors of a request in the shape of the kept contract: `{"field": ["message"]}`, nested for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldErrors {
    /// Errors of a value.
    Messages(Vec<Cow<'static, str>>),
    /// Errors of an object by field, in the sequence of its fields.
    Fields(Vec<(&'static str, FieldErrors)>),
    /// Errors of a list by element.
    Elements(Vec<FieldErrors>),
}

impl FieldErrors {
    /// One message about a value.
    pub fn message(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Messages(vec![message.into()])
    }

    /// One message about one field.
    pub fn field(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Fields(vec![(name, Self::message(message))])
    }

    /// The elements of a list, or the errors of the list if one has an error. A valid element has an empty object in its place.
    pub fn of_elements<T>(
        list: &'static str,
        elements: impl Iterator<Item = Result<T, Self>>,
    ) -> Result<Vec<T>, Self> {
        let (mut good, mut errors, mut is_invalid) = (Vec::new(), Vec::new(), false);
        for element in elements {
            match element {
                Ok(element) => {
                    good.push(element);
                    errors.push(Self::Fields(Vec::new()));
                }
                Err(error) => {
                    is_invalid = true;
                    errors.push(error);
                }
            }
        }
        if is_invalid {
            return Err(Self::Fields(vec![(list, Self::Elements(errors))]));
        }
        Ok(good)
    }

    /// The errors of a field of an object.
    pub fn of(&self, name: &str) -> Option<&Self> {
        let Self::Fields(fields) = self else { return None };
        let field = fields.iter().find(|(known, _)| *known == name);
        field.map(|(_, errors)| errors)
    }

    /// All messages, in their order, as one text.
    pub fn text(&self) -> String {
        let parts: Vec<String> = match self {
            Self::Messages(messages) => messages.iter().map(ToString::to_string).collect(),
            Self::Fields(fields) => fields.iter().map(|(_, errors)| errors.text()).collect(),
            Self::Elements(elements) => elements.iter().map(Self::text).collect(),
        };
        parts.join(" ")
    }

    /// One message about an object as a whole.
    pub fn non_field(message: impl Into<Cow<'static, str>>) -> Self {
        Self::field("non_field_errors", message)
    }
}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Messages(messages) => messages.serialize(serializer),
            Self::Elements(elements) => elements.serialize(serializer),
            Self::Fields(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, errors) in fields {
                    map.serialize_entry(name, errors)?;
                }
                map.end()
            }
        }
    }
}
