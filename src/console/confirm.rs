//! The confirmation page of a destructive action: its effects, or why it is not possible.

use askama::Template;
use axum::response::{IntoResponse, Response};

use super::{
    form::Form,
    page::{Frame, render},
};

/// What a deletion also removes, in a sentence; or why it is not possible.
pub type DeletePreview = Result<String, &'static str>;

/// The confirmation page.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct Confirm {
    /// With the question as its title.
    pub frame: Frame,
    /// The effects of the action, a sentence each.
    pub effects: Vec<String>,
    /// Why the action is not possible; blank if it is.
    pub obstacle: String,
    /// Where the form is sent.
    pub action: String,
    /// The label of its button.
    pub yes: &'static str,
    /// The link of *Back*.
    pub back: String,
    /// An alternative: the path of its POST, and the label of its button.
    pub instead: Option<(String, &'static str)>,
    /// The form, with the error of a failed attempt.
    pub form: Form,
}

impl IntoResponse for Confirm {
    fn into_response(self) -> Response {
        let page = render(&self);
        self.form.shown(page)
    }
}

/// `1 product`, `2 products`, for sentences.
pub fn plural(number: i64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        super::format::count(number),
        if number == 1 { one } else { many }
    )
}
