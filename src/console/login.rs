//! `/admin/login/` and `/admin/logout/`.

use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state, map_response},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::SignedCookieJar;
use sqlx::PgPool;

use super::{
    error::ConsoleError,
    form::Form,
    operator::Operator,
    page::{Frame, render},
    query::Query,
    session::{self, Current, SessionCookie, Visitor},
    state::Console,
};
use crate::auth::{
    account,
    login::{Credentials, Login},
};
use redis_rate_limit::RateLimitLayer;

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    frame: Frame,
    form: &'a Form,
    next: &'a str,
    is_new: bool,
}

pub fn router(console: &Console, limit: RateLimitLayer) -> Router<Console> {
    let throttle = from_fn_with_state(console.clone(), refuse_throttled);
    Router::new()
        .route(
            "/admin/login/",
            // Refusing from memory comes first: it costs least.
            get(show).merge(
                post(log_in)
                    .layer(limit)
                    .layer(map_response(as_page))
                    .layer(throttle),
            ),
        )
        .route("/admin/logout/", post(log_out))
}

async fn show(
    State(db): State<PgPool>,
    operator: Option<Operator>,
    query: Query,
) -> Result<Response, ConsoleError> {
    let next = after(query.text("next"));
    if operator.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    let is_new = !account::exist(&db).await?;
    Ok(page(&Form::of([]), next, is_new))
}

/// Refuses logins from an address that is known to be throttled, before their form is received.
async fn refuse_throttled(
    State(console): State<Console>,
    Visitor(visit): Visitor,
    request: Request,
    next: Next,
) -> Response {
    match console.logins.address_wait(&visit) {
        Some(seconds) => refused(Form::of([]), "/admin/", seconds),
        None => next.run(request).await,
    }
}

/// Makes a page of the rate limit's refusal, which is JSON.
async fn as_page(response: Response) -> Response {
    let json = HeaderValue::from_static("application/json");
    if response.headers().get(header::CONTENT_TYPE) != Some(&json) {
        return response;
    }
    let (mut limited, _) = response.into_parts();
    limited.headers.remove(header::CONTENT_TYPE);
    let wait = limited.headers.get(header::RETRY_AFTER);
    let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    let sentence = format!(
        "Too many logins. Try again in {}.",
        wait_text(seconds.unwrap_or(1))
    );
    let mut form = Form::of([]);
    form.add_error("", sentence);
    let page = page(&form, "/admin/", false);
    (limited, page).into_response()
}

async fn log_in(
    State(console): State<Console>,
    Visitor(visit): Visitor,
    cookie: SessionCookie,
    jar: SignedCookieJar,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let credentials = Credentials {
        username: form.text("username").trim().to_owned(),
        password: form.text("password").into(),
    };
    let next = after(form.text("next")).to_owned();
    Ok(match console.logins.log_in(&credentials, &visit).await? {
        Login::Done(token) => (cookie.give(jar, &token), Redirect::to(&next)).into_response(),
        Login::Wrong => {
            form.add_error("", WRONG);
            page(&form, &next, false)
        }
        Login::TooOften(seconds) => refused(form, &next, seconds),
    })
}

/// 429, with the form of the login.
fn refused(mut form: Form, next: &str, seconds: i64) -> Response {
    form.add_error("", too_often(seconds));
    let wait = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, wait, page(&form, next, false)).into_response()
}

const WRONG: &str = "Username or password are wrong, or the account is not active. Case counts in both.";

/// Says that one has to wait.
pub fn too_often(seconds: i64) -> String {
    format!(
        "Too many logins have failed. Try again in {}.",
        wait_text(seconds)
    )
}

fn wait_text(seconds: i64) -> String {
    match seconds {
        ..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", (seconds + 59) / 60),
    }
}

async fn log_out(
    State(console): State<Console>,
    current: Option<Current>,
    Visitor(visit): Visitor,
    cookie: SessionCookie,
    jar: SignedCookieJar,
) -> Result<Response, ConsoleError> {
    if let Some(Current(account)) = current {
        console.logins.log_out(&account, &visit).await?;
    }
    Ok((cookie.take(jar), Redirect::to("/admin/login/")).into_response())
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
