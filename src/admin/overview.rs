//! `/admin/`: how things stand.

use askama::Template;
use axum::{Router, response::Response, routing::get};

use super::{
    console::Console,
    operator::Operator,
    page::{Frame, Refusal, render},
};

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/", get(show))
}

async fn show(operator: Operator) -> Result<Response, Refusal> {
    let frame = Frame::new(&operator, "/admin/", "Overview");
    Ok(render(&Page { frame }))
}
