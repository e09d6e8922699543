//! The rule for an object of texts whose names the client chooses, such as metadata.

use std::collections::BTreeMap;

use super::{
    rules::{Ruled, text_or_blank},
    value::{Value, object},
};

/// The limits of an object of texts.
#[derive(Clone, Copy, Debug)]
pub struct TextMapLimits {
    /// Members.
    pub members: usize,
    /// Characters of a name.
    pub name: usize,
    /// Characters of a text.
    pub text: usize,
}

/// An object of texts. A member that is null is `None`. The message names the member that is wrong.
pub fn text_map(limits: TextMapLimits) -> impl Fn(&Value<'_>) -> Ruled<BTreeMap<String, Option<String>>> {
    move |value| {
        let Value::Object(raw) = value else {
            let found = value.type_name();
            return Err(format!("Expected a dictionary of items but got type \"{found}\".").into());
        };
        let members = object(raw).map_err(|_| "Surrogate characters are not allowed.")?;
        let mut texts = BTreeMap::new();
        for (name, value) in members.iter() {
            texts.insert(
                checked_name(name, limits.name)?,
                text_of(name, &value, limits.text)?,
            );
            if texts.len() > limits.members {
                let most = limits.members;
                return Err(format!("Ensure this field has no more than {most} keys.").into());
            }
        }
        Ok(texts)
    }
}

fn checked_name(name: &str, longest: usize) -> Ruled<String> {
    if !(1..=longest).contains(&name.chars().count()) {
        return Err(format!("Ensure that each key has 1 to {longest} characters.").into());
    }
    if name.contains(char::is_control) {
        return Err("Control characters are not allowed in keys.".into());
    }
    Ok(name.to_owned())
}

fn text_of(name: &str, value: &Value<'_>, longest: usize) -> Ruled<Option<String>> {
    match value {
        Value::Null => Ok(None),
        value => text_or_blank(longest)(value)
            .map(Some)
            .map_err(|message| format!("{name}: {message}").into()),
    }
}
