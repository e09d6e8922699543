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

use super::{
    console::Console,
    operator::Operator,
    page::{Frame, Refusal, render},
    query::Query,
    session::{self, Current, Visitor},
    typed::Typed,
};
use crate::access::{
    HashError,
    login::{Credentials, Login, LoginError},
};

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    frame: Frame,
    username: &'a str,
    next: &'a str,
    alarm: String,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/login/", get(show).post(log_in))
        .route("/admin/logout/", post(log_out))
}

async fn show(operator: Option<Operator>, query: Query) -> Response {
    let next = after(query.text("next"));
    if operator.is_some() {
        return Redirect::to(next).into_response();
    }
    page("", next, String::new())
}

async fn log_in(
    State(console): State<Console>,
    Visitor(visit): Visitor,
    jar: SignedCookieJar,
    typed: Typed,
) -> Result<Response, Refusal> {
    let credentials = Credentials {
        username: typed.text("username").to_owned(),
        password: typed.exact("password").into(),
    };
    let next = after(typed.text("next"));
    let refused = |alarm: String| page(&credentials.username, next, alarm);
    Ok(match console.logins.log_in(&credentials, &visit).await {
        Ok(Login::Done(token)) => {
            let jar = session::give(jar, &token, &console);
            (jar, Redirect::to(next)).into_response()
        }
        Ok(Login::Wrong) => (StatusCode::BAD_REQUEST, refused(WRONG.to_owned())).into_response(),
        Ok(Login::TooOften(seconds)) => {
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait, refused(too_often(seconds))).into_response()
        }
        Err(LoginError::Database(error)) => return Err(error.into()),
        Err(LoginError::Password(HashError::Busy)) => {
            let wait = [(header::RETRY_AFTER, "5")];
            (StatusCode::SERVICE_UNAVAILABLE, wait, refused(BUSY.to_owned())).into_response()
        }
        Err(LoginError::Password(error)) => {
            tracing::error!(%error, "nobody can log in");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    })
}

const WRONG: &str = "Username or password are wrong, or the account is not active. Case counts in both.";
const BUSY: &str = "Many log in at this moment. Try again in a few seconds.";

fn too_often(seconds: i64) -> String {
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

fn page(username: &str, next: &str, alarm: String) -> Response {
    let frame = Frame::alone("Log in");
    render(&Page {
        frame,
        username,
        next,
        alarm,
    })
}
