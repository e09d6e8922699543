//! A form that was submitted after its session had ended. The login form carries the entry in hidden fields. After the login, the
//! operator sees the entry and decides whether to submit it: it may be the entry of another operator.

use askama::Template;
use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
    response::Response,
};
use form_urlencoded::{Serializer, byte_serialize};

use super::{
    error::ConsoleError,
    form::{Form, KEY, OF_STRANGERS, WAS, is_password},
    page::{Frame, render},
    query::Query,
    return_to::ReturnTo,
};
use crate::auth::TokenHash;

/// The longest entry with its address, in bytes of the encoded login form. The rest is for the other fields.
const LONGEST: usize = OF_STRANGERS.0 - 4 * 1024;
/// Fields that an operator does not type: they say what a button does, and to which records.
const OF_BUTTONS: [&str; 6] = [KEY, "of", "do", "id", "session", "another"];
/// Where selected rows are changed. Only their list leads to this page.
const SELECTED: &str = "/admin/selected/";

/// The fields of a form, and where they are sent.
#[derive(Debug)]
pub struct Entry {
    path: String,
    fields: Vec<(String, String)>,
    /// Whether a password was left out.
    drops_password: bool,
}

/// A typed value, as operators read it.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    /// The value before; `None` in a form without values before.
    pub was: Option<String>,
    pub now: String,
}

/// A form whose session has ended.
pub enum Late {
    /// The form of the login, with the entry.
    Kept(Form),
    /// The entry is too long: the form of the login without it, and the entry if it could be read.
    Lost(Form, Vec<Change>),
    /// Nothing was typed. The operator is asked again on this page.
    Nothing(String),
}

#[derive(Template)]
#[template(path = "resume.html")]
struct Page<'a> {
    frame: Frame,
    username: &'a str,
    entry: &'a Entry,
}

impl Late {
    /// Reads a form. `session` is the session that has ended.
    pub async fn of_request(request: Request, session: &TokenHash) -> Result<Self, ConsoleError> {
        let uri = request.uri().clone();
        let path = uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
        let form = match Form::from_request(request, &()).await {
            Err(ConsoleError::Unreadable(StatusCode::PAYLOAD_TOO_LARGE)) => {
                return Ok(Self::Lost(Form::of([("next", path)]), Vec::new()));
            }
            form => form?,
        };
        if uri.path() == SELECTED {
            let list = ReturnTo::from(&Query::from(uri.query().unwrap_or_default()));
            return Ok(Self::Nothing(list.list(&format!("/admin/{}/", form.text("of")))));
        }
        Ok(Entry::of_form(path, &form).late(session))
    }
}

impl Entry {
    fn of_form(path: String, form: &Form) -> Self {
        let mut fields = vec![(KEY.to_owned(), form.key().to_owned())];
        let typed = form.fields(|name| !is_password(name));
        fields.extend(typed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self {
            path,
            fields,
            drops_password: form.fields(is_password).any(|(_, value)| !value.is_empty()),
        }
    }

    fn late(self, session: &TokenHash) -> Late {
        let changes = self.changes();
        if changes.is_empty() {
            return Late::Nothing(self.path);
        }
        let login = Form::of([("next", self.path.clone())]);
        let entry = Serializer::new(String::new()).extend_pairs(&self.fields).finish();
        let encoded =
            [&entry, &self.path].map(|text| byte_serialize(text.as_bytes()).map(str::len).sum::<usize>());
        if encoded.iter().sum::<usize>() > LONGEST {
            return Late::Lost(login, changes);
        }
        let drops_password = if self.drops_password { "on" } else { "" };
        let login = login.and("entry", entry).and("session", session.to_string());
        Late::Kept(login.and("drops_password", drops_password.to_owned()))
    }

    /// The entry that the form of the login carries, if there is one.
    pub fn of_login(form: &Form) -> Option<Self> {
        let fields: Vec<(String, String)> = form_urlencoded::parse(form.text("entry").as_bytes())
            .into_owned()
            .collect();
        let path = form.text("next").to_owned();
        let drops_password = form.is_checked("drops_password");
        (!fields.is_empty()).then_some(Self {
            path,
            fields,
            drops_password,
        })
    }

    /// The page on which an operator decides whether to submit the entry.
    pub fn page(&self, username: &str) -> Response {
        render(&Page {
            frame: Frame::alone("Submit your changes?"),
            username,
            entry: self,
        })
    }

    /// The value of a field; `None` if it was not sent.
    fn value(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The fields whose values differ from those that the form was rendered with.
    fn changes(&self) -> Vec<Change> {
        let changes = self.fields.iter().filter_map(|(name, value)| {
            if let Some(cleared) = name.strip_prefix(WAS) {
                // A box that is not checked is not sent.
                let is_cleared = value == "on" && self.value(cleared).is_none();
                return is_cleared.then(|| Change::new(cleared, Some("on"), ""));
            }
            let was = self.value(&format!("{WAS}{name}"));
            let is_typed = !OF_BUTTONS.contains(&name.as_str()) && was.unwrap_or_default() != value;
            is_typed.then(|| Change::new(name, was, value))
        });
        changes.collect()
    }
}

impl Change {
    fn new(name: &str, was: Option<&str>, now: &str) -> Self {
        let is_box = now == "on" || was == Some("on");
        let shown = |value: &str| match value {
            "" if is_box => "No".to_owned(),
            "on" if is_box => "Yes".to_owned(),
            "" => "(blank)".to_owned(),
            value => value.to_owned(),
        };
        Self {
            name: name.trim_start_matches("is_").replace(['_', '.'], " "),
            was: was.map(shown),
            now: shown(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Entry {
            path: "/admin/stores/new/".to_owned(),
            fields: fields.collect(),
            drops_password: false,
        }
    }

    fn late(entry: Entry) -> Late {
        entry.late(&TokenHash::of_text("AAAA").unwrap())
    }

    #[test]
    fn login_form_returns_the_entry_that_it_carries() {
        let Late::Kept(login) = late(entry(&[(KEY, "k"), ("low_stock", "a=1&b; ü\n%")])) else {
            panic!("it is kept");
        };
        let kept = Entry::of_login(&login).unwrap();
        assert_eq!(kept.path, "/admin/stores/new/");
        assert_eq!(kept.value(KEY), Some("k"));
        assert_eq!(kept.changes(), [Change::new("low_stock", None, "a=1&b; ü\n%")]);
        assert!(Entry::of_login(&Form::of([("next", "/admin/".into())])).is_none());
    }

    #[test]
    fn entry_is_kept_up_to_its_length_in_the_login_form() {
        for text in ["x", " ", "ü", "\n"] {
            let encoded: usize =
                byte_serialize(byte_serialize(text.as_bytes()).collect::<String>().as_bytes())
                    .map(str::len)
                    .sum();
            let fits = text.repeat((LONGEST - 100) / encoded);
            let Late::Kept(form) = late(entry(&[("name", &fits)])) else {
                panic!("{text:?} is kept");
            };
            let sent = Serializer::new(String::new())
                .extend_pairs(form.fields(|_| true))
                .finish();
            assert!(sent.len() < OF_STRANGERS.0 - 2048, "{text:?}: {}", sent.len());
            let longer = text.repeat(LONGEST / encoded + 1);
            assert!(
                matches!(late(entry(&[("name", &longer)])), Late::Lost(..)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn only_changed_fields_are_shown_with_both_values() {
        let changes = entry(&[
            (KEY, "k"),
            ("was.name", "North"),
            ("name", "South"),
            ("was.location", "Road"),
            ("location", ""),
            ("was.title", "same"),
            ("title", "same"),
            ("was.is_active", "on"),
            ("was.sold", ""),
            ("sold", "on"),
            ("another", "on"),
        ])
        .changes();
        let shown = changes.iter().map(|change| {
            (
                change.name.as_str(),
                change.was.as_deref().unwrap_or_default(),
                change.now.as_str(),
            )
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                ("name", "North", "South"),
                ("location", "Road", "(blank)"),
                ("active", "Yes", "No"),
                ("sold", "No", "Yes"),
            ]
        );
    }

    #[test]
    fn confirmation_without_typed_values_is_asked_again() {
        let question = entry(&[(KEY, "k"), ("session", "abc")]);
        assert!(matches!(late(question), Late::Nothing(path) if path == "/admin/stores/new/"));
    }
}
