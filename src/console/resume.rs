//! A form that was sent after its session had ended. The login carries the entry in hidden fields. After the login the operator,
//! who may be another one, sees the entry and decides whether to submit it.

use askama::Template;
use axum::{
    extract::{FromRequest, Request},
    response::Response,
};
use form_urlencoded::Serializer;

use super::{
    form::{Form, KEY, WAS, is_password},
    page::{Frame, render},
    session::Visitor,
};

/// The longest entry that is kept, in bytes of its encoding. The form of the login has room for it.
const LONGEST: usize = 32 * 1024;

/// The fields of a form, and where they are sent.
#[derive(Debug)]
pub struct Entry {
    path: String,
    fields: Vec<(String, String)>,
    /// Whether a password was left out.
    drops_password: bool,
}

#[derive(Template)]
#[template(path = "resume.html")]
struct Page {
    frame: Frame,
    username: String,
    entry: Entry,
}

impl Entry {
    /// The entry of a request whose session has ended. Requests without a session cookie have none, so strangers cannot make
    /// the server keep anything.
    pub async fn of_request(request: Request) -> Option<Self> {
        let visitor = request.extensions().get::<Visitor>()?;
        visitor.0.token.as_ref()?;
        let path = request.uri().path_and_query()?.as_str().to_owned();
        let form = Form::from_request(request, &()).await.ok()?;
        let mut fields = vec![(KEY.to_owned(), form.key().to_owned())];
        let typed = form.fields(|name| !is_password(name));
        fields.extend(typed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Some(Self {
            path,
            fields,
            drops_password: form.fields(is_password).any(|(_, value)| !value.is_empty()),
        })
    }

    /// The form of the login with this entry, or without it if it is too long.
    pub fn for_login(&self) -> Form {
        let entry = Serializer::new(String::new()).extend_pairs(&self.fields).finish();
        let entry = Some(entry).filter(|entry| entry.len() <= LONGEST);
        let drops_password = if self.drops_password { "on" } else { "" };
        Form::of([
            ("next", self.path.clone()),
            ("entry", entry.unwrap_or_default()),
            ("drops_password", drops_password.to_owned()),
        ])
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
    pub fn page(self, username: String) -> Response {
        render(&Page {
            frame: Frame::alone("Submit your entry?"),
            username,
            entry: self,
        })
    }

    /// The fields that the operator filled in, each with a readable name.
    fn typed(&self) -> impl Iterator<Item = (String, &str)> {
        let typed = self.fields.iter().filter(|(name, value)| {
            let is_hidden = name == KEY || name.starts_with(WAS);
            !is_hidden && !value.is_empty()
        });
        typed.map(|(name, value)| (name.replace(['_', '.'], " "), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        Entry {
            path: "/admin/stores/new/".to_owned(),
            fields: vec![
                (KEY.to_owned(), "k".to_owned()),
                ("low_stock".to_owned(), value.to_owned()),
            ],
            drops_password: false,
        }
    }

    #[test]
    fn login_form_returns_the_entry_that_it_carries() {
        let kept = Entry::of_login(&entry("a=1&b; ü\n%").for_login()).unwrap();
        assert_eq!(kept.path, "/admin/stores/new/");
        assert_eq!(
            kept.typed().collect::<Vec<_>>(),
            [("low stock".to_owned(), "a=1&b; ü\n%")]
        );
        assert_eq!(kept.fields[0], (KEY.to_owned(), "k".to_owned()));
    }

    #[test]
    fn entry_that_is_too_long_is_not_kept() {
        assert!(Entry::of_login(&entry(&"ü".repeat(LONGEST / 6)).for_login()).is_none());
        assert!(Entry::of_login(&Form::of([("next", "/admin/".into())])).is_none());
    }
}
