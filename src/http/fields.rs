//! The fields of a request body: a rule reads each, and all errors are reported at once.

use std::borrow::Cow;

use super::{
    ApiError, FieldErrors,
    rules::Ruled,
    value::{FormFields, Object, Value, object},
};

/// Whether a request must contain the required fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// POST and PUT: required fields are required.
    Complete,
    /// PATCH: omitted fields keep their values.
    Partial,
}

/// The source of a command's fields: a JSON body or a form.
pub trait FieldSource: Sync {
    /// The fields. Required ones may be missing if `presence` is partial.
    fn fields(&self, presence: Presence) -> Result<Fields<'_>, ApiError>;
}

impl FieldSource for FormFields<'_> {
    fn fields(&self, presence: Presence) -> Result<Fields<'_>, ApiError> {
        Ok(Fields::new(Members::Form(self.clone()), presence))
    }
}

/// A field that may be null or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nullable<T> {
    /// It was left out.
    Absent,
    /// It is null.
    Null,
    /// It has a value.
    Value(T),
}

impl<T> Nullable<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value, if there is one.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl Nullable<String> {
    /// The value as a slice.
    pub fn as_deref(&self) -> Nullable<&str> {
        match self {
            Self::Absent => Nullable::Absent,
            Self::Null => Nullable::Null,
            Self::Value(value) => Nullable::Value(value),
        }
    }
}

/// The members of an object.
#[derive(Debug)]
pub(super) enum Members<'a> {
    Json(Object<'a>),
    Form(FormFields<'a>),
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(object) => object.get(name),
            Self::Form(fields) => fields.get(name),
        }
    }
}

/// The fields of an object, and their errors.
#[derive(Debug)]
pub struct Fields<'a> {
    members: Members<'a>,
    presence: Presence,
    asked: Vec<&'static str>,
    errors: Vec<(&'static str, FieldErrors)>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(members: Members<'a>, presence: Presence) -> Self {
        Self {
            members,
            presence,
            asked: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Reads a field that must be there, unless the request is partial. `None` when it is absent or wrong.
    pub fn required<T>(&mut self, name: &'static str, rule: impl Fn(&Value<'_>) -> Ruled<T>) -> Option<T> {
        let read = self.optional(name, rule);
        if self.presence == Presence::Complete && self.members.get(name).is_none() {
            self.reject(name, "This field is required.");
        }
        read
    }

    /// Reads a field that may be left out, but not null. `None` when it is absent or wrong.
    pub fn optional<T>(&mut self, name: &'static str, rule: impl Fn(&Value<'_>) -> Ruled<T>) -> Option<T> {
        self.asked.push(name);
        let read = match self.members.get(name)? {
            Value::Null => Err("This field may not be null.".into()),
            value => rule(&value),
        };
        read.map_err(|message| self.reject(name, message)).ok()
    }

    /// Reads a field that may be null or left out. `Absent` also when it is wrong.
    pub fn nullable<T>(&mut self, name: &'static str, rule: impl Fn(&Value<'_>) -> Ruled<T>) -> Nullable<T> {
        match self.members.get(name) {
            Some(Value::Null) => {
                self.asked.push(name);
                Nullable::Null
            }
            _ => self
                .optional(name, rule)
                .map_or(Nullable::Absent, Nullable::Value),
        }
    }

    /// From here on, required fields may be missing.
    pub fn allow_missing(&mut self) {
        self.presence = Presence::Partial;
    }

    /// Reads an object that may be null or left out. `Absent` also when anything in it is wrong.
    pub fn nullable_object<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Nullable<T> {
        self.asked.push(name);
        let (good, errors) = match self.members.get(name) {
            None => return Nullable::Absent,
            Some(Value::Null) => return Nullable::Null,
            Some(value) => element(value, &read),
        };
        if let Some(good) = good {
            return Nullable::Value(good);
        }
        self.errors.push((name, errors));
        Nullable::Absent
    }

    /// Reads an object that must be there. `None` when it is absent or anything in it is wrong.
    pub fn required_object<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        match self.members.get(name) {
            None => self.reject(name, "This field is required."),
            Some(Value::Null) => self.reject(name, "This field may not be null."),
            Some(_) => {}
        }
        self.nullable_object(name, read).into_value()
    }

    /// Whether no field had an error so far.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds an error about the object as a whole.
    pub fn reject_all(&mut self, message: impl Into<Cow<'static, str>>) {
        self.reject("non_field_errors", message);
    }

    /// Reads a list of one to `most` objects. `None` when it is absent or anything in it is wrong.
    pub fn required_list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let all = self.optional_list(name, most, read);
        if self.members.get(name).is_none() {
            self.reject(name, "This field is required.");
        } else if all.as_ref().is_some_and(Vec::is_empty) {
            self.reject(name, "At least one item is required");
            return None;
        }
        all
    }

    /// Reads a list of up to `most` objects, which may be left out. `None` when it is absent or anything in it is wrong.
    pub fn optional_list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.asked.push(name);
        let errors = match self.members.get(name)? {
            Value::Null => FieldErrors::message("This field may not be null."),
            value @ (Value::List(_) | Value::FormList(_)) => {
                let elements = value.elements();
                if elements.len() > most {
                    FieldErrors::message(format!("Ensure this field has no more than {most} elements."))
                } else {
                    let (good, errors): (Vec<_>, Vec<_>) =
                        elements.into_iter().map(|value| element(value, &read)).unzip();
                    match good.into_iter().collect() {
                        Some(all) => return Some(all),
                        None => FieldErrors::Elements(errors),
                    }
                }
            }
            other => FieldErrors::non_field(format!(
                "Expected a list of items but got type \"{}\".",
                other.type_name()
            )),
        };
        self.errors.push((name, errors));
        None
    }

    /// Reads a list of one to `most` objects, which may be null or left out. `Absent` also when anything in it is wrong.
    pub fn nullable_list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        read: impl Fn(&mut Fields<'_>) -> Option<T>,
    ) -> Nullable<Vec<T>> {
        if let Some(Value::Null) = self.members.get(name) {
            self.asked.push(name);
            return Nullable::Null;
        }
        let all = self.optional_list(name, most, read);
        if all.as_ref().is_some_and(Vec::is_empty) {
            self.reject(name, "At least one item is required");
        }
        all.map_or(Nullable::Absent, Nullable::Value)
    }

    /// Adds an error that only the database could find. The first error of a field counts.
    pub fn reject(&mut self, name: &'static str, message: impl Into<Cow<'static, str>>) {
        if self.errors.iter().all(|(rejected, _)| *rejected != name) {
            self.errors.push((name, FieldErrors::message(message)));
        }
    }

    /// Returns `read`, unless a field had an error.
    pub fn finish<T>(self, read: T) -> Result<T, ApiError> {
        if self.errors.is_empty() {
            Ok(read)
        } else {
            Err(ApiError::Invalid(self.into_errors()))
        }
    }

    /// Returns `read`, unless it is `None` or a field had an error.
    pub fn finish_all<T>(self, read: Option<T>) -> Result<T, ApiError> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(ApiError::Invalid(self.into_errors())),
        }
    }

    fn into_errors(mut self) -> FieldErrors {
        self.errors
            .sort_by_key(|(name, _)| self.asked.iter().position(|asked| asked == name));
        FieldErrors::Fields(self.errors)
    }
}

/// Reads an element of a list. The errors of a valid element are an empty object.
fn element<T>(value: Value<'_>, read: impl Fn(&mut Fields<'_>) -> Option<T>) -> (Option<T>, FieldErrors) {
    let members = match value {
        Value::Object(raw) => Ok(Members::Json(object(raw).unwrap_or_default())),
        Value::Form(fields) => Ok(Members::Form(fields)),
        other => Err(other),
    };
    match members {
        Ok(members) => {
            let mut fields = Fields::new(members, Presence::Complete);
            let good = read(&mut fields).filter(|_| fields.errors.is_empty());
            (good, fields.into_errors())
        }
        Err(Value::Null) => (None, FieldErrors::message("This field may not be null.")),
        Err(other) => (
            None,
            FieldErrors::non_field(format!(
                "Invalid data. Expected a dictionary, but got {}.",
                other.type_name()
            )),
        ),
    }
}
