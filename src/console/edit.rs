//! Edits: which fields of a form the operator changed, and which of these another operator has changed since.
//!
//! A form carries the values that it was rendered with in hidden fields. Only fields with other values are written. A field is in
//! conflict if the record has neither the rendered value nor the typed one. `59.9` and `59.90` are one value.

use std::collections::BTreeSet;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

use super::{
    audit::{self, LatestChange},
    error::ConsoleError,
    form::{FieldKind, Form, WAS, check, is_password, with_point},
    format,
    page::{Frame, render},
};
use crate::{
    db::ReadPool,
    http::{FormFields, Precondition},
};

/// Before the name of a field: whose value is to be written after a conflict.
const CHOICE: &str = "choice.";

/// A field of a form that edits a record.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the form, which is the one that the command reads.
    pub name: &'static str,
    /// What operators call it.
    pub label: &'static str,
    /// How it is read.
    pub kind: FieldKind,
    /// Where the record has it, as a JSON pointer.
    pub pointer: &'static str,
    /// What stands below it.
    pub hint: &'static str,
    /// How many characters it may have.
    pub longest: u32,
    /// The values to choose from, with what operators call them; empty for a field that is typed.
    pub choices: &'static [(&'static str, &'static str)],
}

impl Field {
    /// A text of at most `longest` characters.
    pub const fn text(name: &'static str, label: &'static str, pointer: &'static str, longest: u32) -> Self {
        Self {
            name,
            label,
            kind: FieldKind::Text,
            pointer,
            hint: "",
            longest,
            choices: &[],
        }
    }

    /// A choice of one value.
    pub const fn choice(
        name: &'static str,
        label: &'static str,
        pointer: &'static str,
        choices: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            choices,
            ..Self::text(name, label, pointer, u32::MAX)
        }
    }

    /// An amount.
    pub const fn amount(name: &'static str, label: &'static str, pointer: &'static str) -> Self {
        Self {
            kind: FieldKind::Amount,
            ..Self::text(name, label, pointer, 20)
        }
    }

    /// A set of ids.
    pub const fn ids(name: &'static str, label: &'static str, pointer: &'static str) -> Self {
        Self {
            kind: FieldKind::Ids,
            ..Self::text(name, label, pointer, u32::MAX)
        }
    }

    /// A checkbox.
    pub const fn checkbox(name: &'static str, label: &'static str, pointer: &'static str) -> Self {
        Self {
            kind: FieldKind::Checkbox,
            ..Self::text(name, label, pointer, 0)
        }
    }

    /// The same with a hint.
    pub const fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// The value that a record has, as a form has it.
    pub fn of(&self, record: &Value) -> String {
        record.pointer(self.pointer).map(text).unwrap_or_default()
    }

    /// Whether two texts are the same value of this field.
    fn is_same(&self, one: &str, other: &str) -> bool {
        let amount = |text: &str| text.trim().parse::<Decimal>().ok();
        let ids = |text: &str| text.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
        one == other
            || match self.kind {
                FieldKind::Amount => amount(one).is_some_and(|one| amount(other) == Some(one)),
                FieldKind::Ids => ids(one) == ids(other),
                _ => false,
            }
    }

    /// The value that was typed.
    pub fn typed(&self, form: &Form) -> String {
        match self.kind {
            FieldKind::Checkbox => check(form.is_checked(self.name)),
            FieldKind::Amount => with_point(form.text(self.name)).into_owned(),
            FieldKind::Text | FieldKind::Optional | FieldKind::Ids => form.text(self.name).to_owned(),
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace("\r\n", "\n").replace('\r', "\n"),
        Value::Bool(is_checked) => check(*is_checked),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Null | Value::Object(_) => String::new(),
    }
}

/// A form that is filled in with a record, and remembers its values.
pub fn form_of(record: &impl Serialize, fields: &[Field]) -> Form {
    let record = serde_json::to_value(record).unwrap_or_default();
    fields.iter().fold(Form::of([]), |form, field| {
        let value = field.of(&record);
        form.and(field.name, value.clone())
            .and(&format!("{WAS}{}", field.name), value)
    })
}

/// A form as an edit of a record.
#[derive(Debug)]
pub struct Edit<'a> {
    form: &'a Form,
    fields: &'static [Field],
}

impl<'a> Edit<'a> {
    /// Reads a form. Fields for which the page of a conflict says *Keep theirs* get the value that the record had then.
    pub fn new(form: &'a mut Form, fields: &'static [Field]) -> Self {
        for field in fields {
            if keeps_theirs(form, field.name) {
                let theirs = form.text(&format!("{WAS}{}", field.name)).to_owned();
                form.set(field.name, theirs);
            }
        }
        Self { form, fields }
    }

    /// The value that a field began with; `None` where the form does not say so, and any value counts as changed.
    fn was(&self, field: &Field) -> Option<&'a str> {
        let name = format!("{WAS}{}", field.name);
        let mut values = self.form.fields(|known| known == name);
        values.next().map(|(_, value)| value)
    }

    /// The fields that were changed. A field that was not sent has no input: only a box that is not checked is not sent.
    pub fn changed(&self) -> impl Iterator<Item = &'static Field> {
        let sent = self
            .fields
            .iter()
            .filter(|field| field.kind == FieldKind::Checkbox || self.form.sends(field.name));
        sent.filter(|field| {
            let was = self.was(field);
            was.is_none_or(|was| !field.is_same(was, &field.typed(self.form)))
        })
    }

    /// Whether a field was changed.
    pub fn is_changed(&self, name: &str) -> bool {
        self.changed().any(|field| field.name == name)
    }

    /// What a command is to write: the fields that were changed.
    pub fn source(&self) -> FormFields<'a> {
        self.changed().fold(FormFields::default(), |source, field| {
            self.form.add_to(source, field.name, field.kind)
        })
    }

    /// The fields that somebody else changed too, with the value that the record has now.
    fn conflicts(&self, record: &Value) -> Vec<(&'static Field, String)> {
        let conflict = |field: &'static Field| {
            let (was, now) = (self.was(field)?, field.of(record));
            let is_known = field.is_same(&now, was) || field.is_same(&now, &field.typed(self.form));
            (!is_known).then_some((field, now))
        };
        self.changed().filter_map(conflict).collect()
    }
}

/// The record may be written if no field is in conflict.
impl Precondition for Edit<'_> {
    fn permits(&self, current: &impl Serialize) -> bool {
        serde_json::to_value(current).is_ok_and(|record| self.conflicts(&record).is_empty())
    }
}

/// Whether the page of a conflict says that the value of the record stays.
pub fn keeps_theirs(form: &Form, name: &str) -> bool {
    form.has(&format!("{CHOICE}{name}"), "theirs")
}

/// A field in conflict, with both values as operators read them.
struct Conflict {
    field: &'static Field,
    theirs: String,
    mine: String,
    /// Who wrote their value and when, if the audit log knows.
    change: Option<LatestChange>,
}

#[derive(Template)]
#[template(path = "conflict.html")]
struct Page {
    frame: Frame,
    form: Form,
    conflicts: Vec<Conflict>,
    back: String,
    /// Whether a password was typed, which has to be typed again.
    drops_password: bool,
}

impl Page {
    /// What the form sends once more.
    fn repeated(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_repeated = |name: &str| !name.starts_with(WAS) && !name.starts_with(CHOICE);
        self.form
            .fields(move |name| is_repeated(name) && !is_password(name))
    }
}

/// The fields of a form that are in conflict with a record, with the value that the record has.
pub fn conflicts(
    form: &Form,
    (record, fields): (&impl Serialize, &'static [Field]),
) -> Vec<(&'static Field, String)> {
    let record = serde_json::to_value(record).unwrap_or_default();
    Edit { form, fields }.conflicts(&record)
}

/// The page on which an operator decides between their own values and those of another operator.
/// `subject` names the record in the audit log. A field comes with the value that the record has, and with both values as
/// operators read them.
pub async fn conflict_page(
    db: &ReadPool,
    (frame, back): (Frame, String),
    subject: &str,
    fields: Vec<(&'static Field, String, (String, String))>,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let mut conflicts = Vec::new();
    for (field, now, (theirs, mine)) in fields {
        form.set(&format!("{WAS}{}", field.name), now);
        let change = audit::latest_change(db, subject, field.pointer).await?;
        conflicts.push(Conflict {
            field,
            theirs,
            mine,
            change,
        });
    }
    let drops_password = form.fields(is_password).any(|(_, value)| !value.is_empty());
    let page = render(&Page {
        frame,
        form,
        conflicts,
        back,
        drops_password,
    });
    Ok((StatusCode::CONFLICT, page).into_response())
}

/// A value as operators read it.
pub fn plain(field: &Field, value: String) -> String {
    match (field.kind, value.as_str()) {
        (FieldKind::Checkbox, "") => "No".to_owned(),
        (FieldKind::Checkbox, _) => "Yes".to_owned(),
        (_, "") => "(blank)".to_owned(),
        _ => {
            let choice = field.choices.iter().find(|(name, _)| *name == value);
            choice.map_or(value, |(_, label)| (*label).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[Field] = &[
        Field::text("title", "Title", "/title", 9),
        Field::text("group", "Group", "/group/id", 9),
        Field::checkbox("is_active", "Active", "/is_active"),
    ];

    fn record(title: &str, group: i64, is_active: bool) -> Value {
        json!({ "title": title, "group": { "id": group }, "is_active": is_active })
    }

    fn changed(form: &mut Form) -> Vec<&'static str> {
        Edit::new(form, FIELDS)
            .changed()
            .map(|field| field.name)
            .collect()
    }

    #[test]
    fn only_fields_that_differ_from_the_rendered_values_are_written() {
        let mut form = form_of(&record("a\r\nb", 7, true), FIELDS);
        assert_eq!(changed(&mut form), <[&str; 0]>::default());
        form.set("title", "c".into());
        form.set("is_active", String::new());
        assert_eq!(changed(&mut form), ["title", "is_active"]);
        let mut without_values = Form::of([("title", "a".into())]);
        assert_eq!(changed(&mut without_values), ["title", "is_active"]);
    }

    #[test]
    fn a_conflict_is_a_changed_field_with_another_value_now() {
        let mut form = form_of(&record("a", 7, true), FIELDS);
        form.set("title", "b".into());
        let edit = Edit::new(&mut form, FIELDS);
        assert!(
            edit.permits(&record("a", 8, false)),
            "the others were not changed"
        );
        assert!(edit.permits(&record("b", 7, true)), "both typed the same");
        assert!(!edit.permits(&record("c", 7, true)));
    }

    #[test]
    fn the_same_value_in_another_spelling_is_no_change() {
        const PRICED: &[Field] = &[
            Field::amount("price", "Price", "/price"),
            Field::ids("stores", "Stores", "/stores"),
        ];
        let record = |price: &str, stores: &[i64]| json!({ "price": price, "stores": stores });
        let mut form = form_of(&record("59.90", &[2, 10]), PRICED);
        form.set("price", "59,9".into());
        form.set("stores", "10,2".into());
        assert!(Edit::new(&mut form, PRICED).source().is_empty());
        form.set("price", "69.9".into());
        form.set("stores", "2".into());
        let edit = Edit::new(&mut form, PRICED);
        assert!(edit.permits(&record("69.90", &[2])), "both entered the same");
        assert!(edit.permits(&record("59.9", &[10, 2])), "no other change");
        assert!(!edit.permits(&record("70.00", &[2])));
    }

    #[test]
    fn keep_theirs_writes_nothing() {
        let mut form = form_of(&record("c", 7, true), FIELDS);
        form.set("title", "b".into());
        form.set("choice.title", "mine".into());
        assert_eq!(changed(&mut form), ["title"]);
        form.set("choice.title", "theirs".into());
        assert_eq!(changed(&mut form), <[&str; 0]>::default());
    }
}
