//! The page between a destructive act and its being done: it says what would go with it, or why it cannot be.

use askama::Template;
use axum::response::{IntoResponse, Response};

use super::{
    form::Form,
    page::{Frame, render},
};

/// What goes along with something that is deleted, in a sentence; or why it cannot be.
pub type DeletePreview = Result<String, &'static str>;

/// A question, and the form that says yes.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct Confirm {
    /// With the question as its title.
    pub frame: Frame,
    /// What follows from a yes, a sentence each.
    pub effects: Vec<String>,
    /// Why there is no yes; blank where there is.
    pub obstacle: String,
    /// Where the yes is sent.
    pub action: String,
    /// What it says.
    pub yes: &'static str,
    /// Where a no leads.
    pub back: String,
    /// What else can be done: where a POST does it, and what its button says.
    pub instead: Option<(String, &'static str)>,
    /// What was said of the yes, if it was refused.
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
