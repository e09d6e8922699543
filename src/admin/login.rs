//! `/admin/login/` and `/admin/logout/`.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::SignedCookieJar;
use sqlx::PgPool;

use super::{
    console::Console,
    form::Form,
    operator::Operator,
    page::{Frame, Refusal, render},
    query::Query,
    session::{self, Current, Visitor},
};
use crate::access::{
    account,
    login::{Credentials, Login},
};

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    frame: Frame,
    form: &'a Form,
    next: &'a str,
    is_new: bool,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/login/", get(show).post(log_in))
        .route("/admin/logout/", post(log_out))
}

async fn show(
    State(db): State<PgPool>,
    operator: Option<Operator>,
    query: Query,
) -> Result<Response, Refusal> {
    let next = after(query.text("next"));
    if operator.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    let is_new = !account::exist(&db).await?;
    Ok(page(&Form::of([]), next, is_new))
}

async fn log_in(
    State(console): State<Console>,
    Visitor(visit): Visitor,
    jar: SignedCookieJar,
    mut form: Form,
) -> Result<Response, Refusal> {
    let credentials = Credentials {
        username: form.text("username").trim().to_owned(),
        password: form.text("password").into(),
    };
    let next = after(form.text("next")).to_owned();
    Ok(match console.logins.log_in(&credentials, &visit).await? {
        Login::Done(token) => {
            let jar = session::give(jar, &token, &console);
            (jar, Redirect::to(&next)).into_response()
        }
        Login::Wrong => {
            form.blame("", WRONG);
            page(&form, &next, false)
        }
        Login::TooOften(seconds) => {
            form.blame("", too_often(seconds));
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait, page(&form, &next, false)).into_response()
        }
    })
}

const WRONG: &str = "Username or password are wrong, or the account is not active. Case counts in both.";

/// Says that one has to wait.
pub fn too_often(seconds: i64) -> String {
    let wait = match seconds {
        ..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", (seconds + 59) / 60),
    };
    format!("Too many logins have failed. Try again in {wait}.")
}

async fn log_out(
    State(console): State<Console>,
    current: Option<Current>,
    Visitor(visit): Visitor,
    jar: SignedCookieJar,
) -> Result<Response, Refusal> {
    if let Some(Current(account)) = current {
        console.logins.log_out(&account, &visit).await?;
    }
    Ok((session::take(jar, &console), Redirect::to("/admin/login/")).into_response())
}

/// Where to go on after the login.
fn after(next: &str) -> &str {
    if session::is_page(next) { next } else { "/admin/" }
}

fn page(form: &Form, next: &str, is_new: bool) -> Response {
    let frame = Frame::alone("Log in");
    form.shown(render(&Page {
        frame,
        form,
        next,
        is_new,
    }))
}
